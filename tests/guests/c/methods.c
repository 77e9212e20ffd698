/* methods - structures of functions in constant data. Among the functions of their type is one that calls itself, which no
 * kernel here comes to.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "harness.h"

enum { N = 200 };

struct rule {
    const char *name;
    uint32_t (*apply)(uint32_t x, uint32_t y);
    uint32_t (*undo)(uint32_t x, uint32_t y);
};

static uint32_t add(uint32_t x, uint32_t y) { return x + y; }
static uint32_t subtract(uint32_t x, uint32_t y) { return x - y; }
static uint32_t turn(uint32_t x, uint32_t y) { return x << (y & 31) | x >> (-y & 31); }
static uint32_t turn_back(uint32_t x, uint32_t y) { return x >> (y & 31) | x << (-y & 31); }
static uint32_t flip(uint32_t x, uint32_t y) { return x ^ y; }

/* It calls itself. */
static uint32_t collatz(uint32_t x, uint32_t y);
static uint32_t (*volatile again)(uint32_t x, uint32_t y) = collatz;
static uint32_t collatz(uint32_t x, uint32_t y) { return x < 2 ? y : again(x % 2 ? 3 * x + 1 : x / 2, y + 1); }

static const struct rule RULES[3] = {{"add", add, subtract}, {"turn", turn, turn_back}, {"flip", flip, flip}};

/* Which one is computed. */
static void indexed(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    y[i] = RULES[x[i] % 3].apply(x[i], RULES[i % 3].undo((uint32_t)i, 5));
}

/* One of two. */
static void chosen(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    const struct rule *rule = x[i] > 1u << 31 ? &RULES[0] : &RULES[2];
    y[i] = rule->apply(x[i], rule->undo(x[i], 99));
}

/* It is looked for. */
static void found(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    uint32_t value = x[i];
    for (uint32_t k = 0; k < 3; k++) {
        if ((value >> k & 1) == 0) {
            value = RULES[k].apply(value, 3);
        }
    }
    y[i] = value;
}

int main(void) {
    static uint32_t x[N], y[N];
    uint32_t state = 1;
    for (uint32_t k = 0; k < N; k++) {
        x[k] = state = state * 1664525u + 1013904223u;
    }
    y[0] = again(27, 0);
    struct array x_array = ARRAY(x, WL_READ), y_array = ARRAY(y, WL_READ_WRITE);
    LAUNCH(indexed, N, 64, 1, &x_array, &y_array);
    LAUNCH(chosen, N, 64, 1, &x_array, &y_array);
    LAUNCH(found, N, 64, 1, &x_array, &y_array);
    return finish();
}
