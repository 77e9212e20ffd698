/* tail_calls - functions that go on with one another: a bytecode machine whose handlers each call the next one, and parity.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "harness.h"

#define GO_ON __attribute__((musttail)) return

enum { RUNS = 300, FUEL = 300 };

/* What the machine's handlers hand on: where they are, the two numbers on top, a counter, and the fuel. */
#define STATE const uint8_t *at, uint32_t top, uint32_t below, uint32_t count, uint32_t fuel
typedef uint32_t handler(STATE);
#define HANDLER(name) __attribute__((noinline)) static uint32_t name(STATE)

enum operation { PUSH, ADD, MULTIPLY, SWAP, COUNT, JUMP_IF, HALT, OPERATIONS };
static handler push, add, multiply, swap, counter, jump_if, halt;
static handler *const handlers[OPERATIONS] = {push, add, multiply, swap, counter, jump_if, halt};

#define NEXT(at, top, below, count)                                            \
    do {                                                                       \
        if (fuel == 0) {                                                       \
            return 0xdead0000 + (top);                                         \
        }                                                                      \
        GO_ON handlers[*(at)]((at) + 1, (top), (below), (count), fuel - 1);    \
    } while (0)

HANDLER(push) { (void)below; NEXT(at + 1, *at, top, count); }
HANDLER(add) { NEXT(at, top + below, below, count); }
HANDLER(multiply) { NEXT(at, top * below, below, count); }
HANDLER(swap) { NEXT(at, below, top, count); }
HANDLER(counter) { NEXT(at, top + count, below, count); }
HANDLER(jump_if) {
    if (count > 0) {
        NEXT(at + (int8_t)*at, top, below, count - 1);
    }
    NEXT(at + 1, top, below, count);
}
HANDLER(halt) {
    (void)at;
    (void)count;
    return top ^ (below << 16) ^ fuel;
}

/* Runs the program; each invocation has another counter. */
static void threaded(IDS, const uint8_t *code, uint32_t code_size, const uint32_t *inputs, uint32_t inputs_size,
                     uint32_t *results, uint32_t results_size) {
    results[i] = push(code, 0, 1, inputs[i] % 90, FUEL);
}

__attribute__((noinline)) static uint32_t odd(uint64_t sum, uint32_t n);
__attribute__((noinline)) static uint32_t even(uint32_t n, uint64_t sum) {
    if (n == 0) {
        return (uint32_t)(sum ^ sum >> 32);
    }
    return odd(sum * 3 + n, n - 1);
}
static uint32_t odd(uint64_t sum, uint32_t n) {
    if (n == 0) {
        return ~(uint32_t)sum;
    }
    return even(n - 1, sum << 7 ^ n);
}

/* Plain calls in front of a return. */
static void parity(IDS, const uint32_t *inputs, uint32_t inputs_size, uint32_t *results, uint32_t results_size) {
    results[i] = inputs[i] & 64 ? even(inputs[i] % 8, inputs[i]) : odd(inputs[i], inputs[i] % 7);
}

int main(void) {
    static uint8_t code[] = {7, ADD, SWAP, PUSH, 3, MULTIPLY, COUNT, SWAP, PUSH, 5, ADD, JUMP_IF, 0xf5, HALT};
    static uint32_t inputs[RUNS], results[RUNS];
    random_words(inputs, RUNS, 5);
    struct array code_array = ARRAY(code, WL_READ), inputs_array = ARRAY(inputs, WL_READ),
                 results_array = ARRAY(results, WL_WRITE);
    LAUNCH(threaded, RUNS, 64, 2, &code_array, &inputs_array, &results_array);
    LAUNCH(parity, RUNS, 64, 1, &inputs_array, &results_array);
    return finish();
}
