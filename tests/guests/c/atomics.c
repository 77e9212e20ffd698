/* atomics - what C makes of atomic accesses: GNU's builtins and <stdatomic.h>, at all widths.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Built with -matomics: without it, clang makes plain accesses of atomic ones. What is left never depends on the order in
 * which invocations run. */
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "harness.h"

enum { N = 4096, BINS = 64 };

/* Sum, least and greatest of 32 bits, and all bits that differ somewhere. */
struct totals {
    int32_t sum, least, greatest;
    uint32_t ones, zeroes;
};

static void reduce(IDS, const int32_t *x, uint32_t x_size, struct totals *totals, uint32_t totals_size) {
    __atomic_fetch_add(&totals->sum, x[i], __ATOMIC_RELAXED);
    int32_t seen = __atomic_load_n(&totals->least, __ATOMIC_RELAXED);
    while (x[i] < seen && !__atomic_compare_exchange_n(&totals->least, &seen, x[i], true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    __atomic_fetch_max(&totals->greatest, x[i], __ATOMIC_RELAXED); /* a loop of the compiler's */
    __atomic_fetch_or(&totals->ones, x[i], __ATOMIC_RELAXED);
    __atomic_fetch_and(&totals->zeroes, x[i], __ATOMIC_RELAXED);
}

/* The same of 64 bits. */
struct wide_totals {
    int64_t sum, least;
    uint64_t parity;
};

static void reduce_wide(IDS, const int32_t *x, uint32_t x_size, struct wide_totals *totals, uint32_t totals_size) {
    int64_t square = (int64_t)x[i] * x[i] - ((int64_t)1 << 60);
    __atomic_fetch_add(&totals->sum, square, __ATOMIC_SEQ_CST);
    int64_t seen = __atomic_load_n(&totals->least, __ATOMIC_SEQ_CST);
    while (square < seen && !__atomic_compare_exchange_n(&totals->least, &seen, square, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    __atomic_fetch_xor(&totals->parity, square, __ATOMIC_SEQ_CST);
}

/* Counters of 8 and 16 bits, of which several share a word. */
struct narrow {
    _Atomic uint8_t bytes[BINS];
    _Atomic uint16_t halves[BINS];
};

static void narrow_histogram(IDS, const uint32_t *x, uint32_t x_size, struct narrow *bins, uint32_t bins_size) {
    atomic_fetch_add_explicit(&bins->bytes[x[i] % BINS], 1, memory_order_relaxed);
    bins->halves[x[i] / BINS % BINS] -= 3;
    atomic_fetch_xor(&bins->bytes[x[i] / 4096 % BINS], 0x80);
}

/* Each invocation takes the next free place of a list, which then has every number once; only their bits' sums are compared. */
struct list {
    atomic_uint length;
    uint32_t taken[N];
};

static void append(IDS, const uint32_t *x, uint32_t x_size, struct list *list, uint32_t list_size) {
    unsigned place = atomic_fetch_add(&list->length, 1);
    atomic_fetch_add((atomic_uint *)&list->taken[place], 1);
}

/* Floats are added by exchanging their bits. They are small integers, so that every order gives one sum. */
static void add_floats(IDS, const uint32_t *x, uint32_t x_size, float *sums, uint32_t sums_size) {
    uint32_t *bits = (uint32_t *)&sums[x[i] % 4], seen = __atomic_load_n(bits, __ATOMIC_RELAXED), next;
    do {
        float sum;
        memcpy(&sum, &seen, sizeof sum);
        sum += (float)(x[i] / 4 % 8);
        memcpy(&next, &sum, sizeof next);
    } while (!__atomic_compare_exchange_n(bits, &seen, next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

/* The first of each bin to come takes its flag. */
static void flags(IDS, const uint32_t *x, uint32_t x_size, atomic_uchar *taken, uint32_t taken_size) {
    uint32_t bin = x[i] % BINS;
    if (!atomic_exchange(&taken[bin], 1)) {
        atomic_fetch_add(&taken[BINS + bin], 1);
    }
}

int main(void) {
    static uint32_t x[N];
    static struct totals totals = {0, INT_MAX, INT_MIN, 0, ~0u};
    static struct wide_totals wide_totals = {0, INT64_MAX, 0};
    static struct narrow bins;
    static struct list list;
    static float sums[4];
    static atomic_uchar taken[2 * BINS];
    uint32_t state = 5;
    for (uint32_t k = 0; k < N; k++) {
        x[k] = next_word(&state);
    }
    struct array x_array = ARRAY(x, WL_READ);
    struct array totals_array = new_array(&totals, sizeof totals, WL_READ_WRITE),
                 wide_array = new_array(&wide_totals, sizeof wide_totals, WL_READ_WRITE),
                 bins_array = new_array(&bins, sizeof bins, WL_READ_WRITE),
                 list_array = new_array(&list, sizeof list, WL_READ_WRITE),
                 sums_array = ARRAY(sums, WL_READ_WRITE), taken_array = ARRAY(taken, WL_READ_WRITE);
    LAUNCH(reduce, N, 64, 1, &x_array, &totals_array);
    LAUNCH(reduce_wide, N, 64, 1, &x_array, &wide_array);
    LAUNCH(narrow_histogram, N, 64, 1, &x_array, &bins_array);
    LAUNCH(append, N, 64, 1, &x_array, &list_array);
    LAUNCH(add_floats, N, 64, 1, &x_array, &sums_array);
    LAUNCH(flags, N, 64, 1, &x_array, &taken_array);
    return finish();
}
