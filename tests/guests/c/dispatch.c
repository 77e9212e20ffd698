/* dispatch - a bytecode machine with a switch, and functions called through tables and structs.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "harness.h"

enum { RUNS = 500, STACK = 16, FUEL = 400 };

enum operation { PUSH, ADD, SUBTRACT, MULTIPLY, LESS, DUPLICATE, SWAP, OVER, JUMP, JUMP_IF, LOAD_INPUT, XOR, HALT };

/* Runs the program on a stack of its own; each invocation has another input. The result is what is on top, and the fuel. */
static void machine(IDS, const uint8_t *code, uint32_t code_size, const int32_t *inputs, uint32_t inputs_size,
                    int32_t *results, uint32_t results_size) {
    int32_t stack[STACK] = {0}, kept;
    uint32_t top = 0, at = 0, fuel = FUEL;
    while (fuel > 0 && at < code_size && top < STACK - 1) {
        fuel--;
        switch (code[at++]) {
        case PUSH: stack[++top] = (int8_t)code[at++]; break;
        case ADD: top--; stack[top] += stack[top + 1]; break;
        case SUBTRACT: top--; stack[top] -= stack[top + 1]; break;
        case MULTIPLY: top--; stack[top] = (int32_t)((uint32_t)stack[top] * (uint32_t)stack[top + 1]); break;
        case LESS: top--; stack[top] = stack[top] < stack[top + 1]; break;
        case DUPLICATE: stack[top + 1] = stack[top]; top++; break;
        case SWAP: kept = stack[top]; stack[top] = stack[top - 1]; stack[top - 1] = kept; break;
        case OVER: stack[top + 1] = stack[top - 1]; top++; break;
        case JUMP: at += (uint32_t)(int8_t)code[at]; break;
        case JUMP_IF:
            if (stack[top--]) {
                at += (uint32_t)(int8_t)code[at];
            } else {
                at++;
            }
            break;
        case LOAD_INPUT: stack[++top] = inputs[i]; break;
        case XOR: top--; stack[top] ^= stack[top + 1]; break;
        case HALT: at = code_size; break;
        default: stack[top] = -1; at = code_size; break;
        }
    }
    results[2 * i] = stack[top];
    results[2 * i + 1] = (int32_t)fuel;
}

typedef float (*curve)(float x, float parameter);

static float line(float x, float parameter) { return x * parameter + 1; }
static float square(float x, float parameter) { return (x - parameter) * (x - parameter); }
static float ramp(float x, float parameter) { return x > parameter ? x - parameter : 0; }
static float wave(float x, float parameter) {
    float turn = x * parameter;
    turn -= (float)(int32_t)turn;
    return turn < 0.5f ? turn : 1 - turn;
}

/* A table of pointers in static data: it is read, and then called through. */
static const curve CURVES[4] = {line, square, ramp, wave};

static void function_table(IDS, const float *x, uint32_t x_size, float *y, uint32_t y_size) {
    y[i] = CURVES[i % 4](x[i], 0.75f) + CURVES[(i / 4) % 4](x[i], -1.5f);
}

/* What a struct of pointers and parameters says, step by step. */
struct stage {
    curve function;
    float parameter;
    struct stage const *next;
};

static const struct stage LAST = {ramp, 0.25f, NULL}, MIDDLE = {wave, 3.5f, &LAST}, FIRST = {square, 0.5f, &MIDDLE};

static void function_list(IDS, const float *x, uint32_t x_size, float *y, uint32_t y_size) {
    float value = x[i];
    for (const struct stage *stage = i % 3 ? &FIRST : &MIDDLE; stage; stage = stage->next) {
        value = stage->function(value, stage->parameter);
    }
    y[i] = value;
}

/* A pointer that is chosen by the data and handed to another function. */
static float integrate(curve function, float from, float to) {
    float sum = 0;
    for (int k = 0; k < 8; k++) {
        sum += function(from + (to - from) * ((float)k + 0.5f) / 8, 2);
    }
    return sum * (to - from) / 8;
}

static void function_argument(IDS, const float *x, uint32_t x_size, float *y, uint32_t y_size) {
    y[i] = integrate(x[i] < 0 ? square : x[i] < 1 ? wave : line, 0, x[i]);
}

int main(void) {
    /* For the input n: 3 more than the exclusive or of k * k for k from n down to 1. */
    static uint8_t code[] = {LOAD_INPUT, PUSH, 0, OVER, PUSH, 1, LESS, JUMP_IF, 12, OVER, DUPLICATE, MULTIPLY, XOR, SWAP,
                             PUSH, 1, SUBTRACT, SWAP, JUMP, 0xf0, PUSH, 3, ADD, HALT};
    static int32_t inputs[RUNS], results[2 * RUNS];
    static float x[RUNS], y[RUNS];
    for (int32_t k = 0; k < RUNS; k++) {
        inputs[k] = k % 45 - 3; /* fuel is not enough for the largest */
    }
    fill_floats(x, RUNS, 18, -2, 3);
    struct array code_array = ARRAY(code, WL_READ), inputs_array = ARRAY(inputs, WL_READ),
                 results_array = ARRAY(results, WL_WRITE), x_array = ARRAY(x, WL_READ), y_array = ARRAY(y, WL_WRITE);
    LAUNCH(machine, RUNS, 64, 2, &code_array, &inputs_array, &results_array);
    for (int32_t k = 0; k < RUNS; k++) {
        int32_t expected = 3;
        for (int32_t n = 1, sum = 0; n <= inputs[k]; n++) {
            sum ^= n * n;
            expected = sum + 3;
        }
        if (results[2 * k + 1] > 0 && results[2 * k] != expected) {
            wrong("machine", "another result than C's for input", (uint64_t)inputs[k]);
        }
    }
    LAUNCH(function_table, RUNS, 64, 1, &x_array, &y_array);
    LAUNCH(function_list, RUNS, 64, 1, &x_array, &y_array);
    LAUNCH(function_argument, RUNS, 64, 1, &x_array, &y_array);
    return finish();
}
