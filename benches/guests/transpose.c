/* transpose - B += A transposed, A += 1: the Parallel Research Kernel of that name, in f32.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * transpose [ORDER]: rows and columns. */
#include "bench.h"

KERNEL(transpose, ARRAY(const uint32_t, order), ARRAY(float, a), ARRAY(float, b)) {
    uint32_t n = *order, row = iteration_id / n, column = iteration_id % n;
    b[row * n + column] += a[column * n + row];
    a[column * n + row] += 1.0f;
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {512};
    uint32_t n = *start(argc, argv, "transpose [ORDER]", 1, defaults), count = n * n, params[4] = {n};
    float *a = allocate(count, 4), *b = allocate(count, 4);
    for (uint32_t i = 0; i < count; i++) {
        a[i] = (float)i;
    }
    wl_buffer order = give(params, sizeof params, WL_READ), a_buffer = give(a, count * 4, WL_READ_WRITE),
              b_buffer = give(b, count * 4, WL_READ_WRITE);
    while (next_round()) {
        WL_LAUNCH(transpose, count, 64, 1, order, a_buffer, b_buffer);
        end_round(b_buffer, 1);
    }
    take(b_buffer, b, count * 4);
    double rounds = bench.rounds, added = rounds * (rounds - 1) / 2;
    for (uint32_t row = 0; row < n; row++) {
        for (uint32_t column = 0; column < n; column++) {
            double expected = ((double)column * n + row) * rounds + added, got = b[row * n + column];
            /* Whole numbers of f32 are exact up to 2^24; beyond, each addition to B, and to A, is off by 2^-24 of its sum. */
            require(near(got, expected, expected < 1 << 24 ? 0 : (rounds + 1) * 0x1p-23), "an element of B", got, expected);
        }
    }
    return finish("transpose");
}
