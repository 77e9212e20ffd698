/* virtual - methods of objects in frames and in static data. Among the functions of their type is one that calls itself,
 * which no kernel here comes to.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <cstdint>

#include "harness.h"

constexpr uint32_t N = 200;

struct Rule {
    virtual uint32_t apply(uint32_t x) const = 0;
};

struct Add : Rule {
    uint32_t more;
    constexpr explicit Add(uint32_t more) : more(more) {}
    uint32_t apply(uint32_t x) const override { return x + more; }
};

struct Turn : Rule {
    uint32_t apply(uint32_t x) const override { return (x << 7) | (x >> 25); }
};

struct Both : Rule {
    const Rule &first, &second;
    Both(const Rule &first, const Rule &second) : first(first), second(second) {}
    uint32_t apply(uint32_t x) const override { return second.apply(first.apply(x)); }
};

/* It calls itself. */
struct Collatz : Rule {
    uint32_t apply(uint32_t x) const override {
        const Rule &again = *this;
        return x < 2 ? 1 : again.apply(x % 2 ? 3 * x + 1 : x / 2) + 1;
    }
};

static void one_of_two(IDS, const uint32_t *x, uint32_t, uint32_t *y, uint32_t) {
    Add add(x[i]);
    Turn turn;
    const Rule *rule = x[i] % 3 == 0 ? static_cast<const Rule *>(&add) : &turn;
    y[i] = rule->apply(x[i] ^ 12345);
}

static void listed(IDS, const uint32_t *x, uint32_t, uint32_t *y, uint32_t) {
    Add a(x[i]), b(x[i] / 2);
    Turn turn;
    const Rule *rules[4] = {&a, &turn, &b, &turn};
    uint32_t value = x[i];
    for (uint32_t k = 0; k < 8; k++) {
        value = rules[(value + k) % 4]->apply(value);
    }
    y[i] = value;
}

static void nested(IDS, const uint32_t *x, uint32_t, uint32_t *y, uint32_t) {
    Add add(x[i]);
    Turn turn;
    Both both(add, turn);
    const Rule &rule = both;
    y[i] = rule.apply(i);
}

static const Add five(5), many(77777);
static const Turn turned{};
static const Rule *const RULES[3] = {&five, &turned, &many};

static void constant(IDS, const uint32_t *x, uint32_t, uint32_t *y, uint32_t) {
    y[i] = RULES[x[i] % 3]->apply(RULES[i % 3]->apply(x[i]));
}

int main() {
    static uint32_t x[N], y[N];
    uint32_t state = 1;
    for (uint32_t k = 0; k < N; k++) {
        x[k] = state = state * 1664525u + 1013904223u;
    }
    const Rule *volatile recursive = new Collatz;
    y[0] = recursive->apply(27);
    array x_array = ARRAY(x, WL_READ), y_array = ARRAY(y, WL_READ_WRITE);
    LAUNCH(one_of_two, N, 64, 1, &x_array, &y_array);
    LAUNCH(listed, N, 64, 1, &x_array, &y_array);
    LAUNCH(nested, N, 64, 1, &x_array, &y_array);
    LAUNCH(constant, N, 64, 1, &x_array, &y_array);
    return finish();
}
