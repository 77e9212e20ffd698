/* nstream_blocks - the stream triad A += B + 3 * C by blocks, as guests were written for few processors: each invocation loops
 * over a block of neighbouring elements. Prints how long that takes in terms of one invocation for each element.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * nstream_blocks [LENGTH [BLOCK]]: blocks of BLOCK elements or, without, of 64, 1024, 16384 and a quarter of all. */
#include "bench.h"

KERNEL(nstream, ARRAY(const float, b), ARRAY(const float, c), ARRAY(float, a)) {
    uint32_t i = iteration_id;
    a[i] += b[i] + 3.0f * c[i];
}

KERNEL(nstream_block, ARRAY(const float, b), ARRAY(const float, c), ARRAY(float, a)) {
    uint32_t length = a_bytes / 4, first = (uint32_t)iteration_id * (uint32_t)block_size;
    uint32_t end = first + block_size < length ? first + block_size : length;
    for (uint32_t i = first; i < end; i++) {
        a[i] += b[i] + 3.0f * c[i];
    }
}

/* Launches of each form, in turns. */
enum { LAUNCHES = 20 };

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times) {
    qsort(times, LAUNCHES, sizeof *times, compare);
    return times[LAUNCHES / 2];
}

static void measure(uint32_t length, uint32_t block, wl_buffer b, wl_buffer c, wl_buffer a) {
    double single[LAUNCHES], blocks[LAUNCHES];
    /* The first two are not timed. */
    for (int32_t number = -1; number < LAUNCHES; number++) {
        double begun = now();
        WL_LAUNCH(nstream, length, 64, 2, b, c, a);
        wl_wait(a);
        double middle = now();
        WL_LAUNCH(nstream_block, (length + block - 1) / block, block, 2, b, c, a);
        wl_wait(a);
        if (number >= 0) {
            single[number] = middle - begun;
            blocks[number] = now() - middle;
        }
    }
    double one = median(single), many = median(blocks);
    printf("blocks of %u: %.3f ms, one element each: %.3f ms, ratio %.2f\n", block, many * 1e3, one * 1e3, many / one);
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {1 << 22, 0};
    const uint32_t *sizes = start(argc, argv, "nstream_blocks [LENGTH [BLOCK]]", 2, defaults);
    uint32_t length = sizes[0], blocks[] = {64, 1024, 16384, (length + 3) / 4};
    float *a = allocate(length, 4), *b = allocate(length, 4), *c = allocate(length, 4);
    for (uint32_t i = 0; i < length; i++) {
        a[i] = 0.0f;
        b[i] = (float)(i % 3);
        c[i] = (float)(i % 5);
    }
    wl_buffer b_buffer = give(b, length * 4, WL_READ), c_buffer = give(c, length * 4, WL_READ);
    wl_buffer a_buffer = give(a, length * 4, WL_READ_WRITE);
    uint32_t launches = 0;
    for (uint32_t number = 0; number < (sizes[1] ? 1 : 4); number++) {
        measure(length, sizes[1] ? sizes[1] : blocks[number], b_buffer, c_buffer, a_buffer);
        launches += 2 * (LAUNCHES + 1);
    }
    take(a_buffer, a, length * 4);
    for (uint32_t i = 0; i < length; i++) {
        /* All sums are whole numbers. */
        require(a[i] == (float)(launches * (i % 3 + 3 * (i % 5))), "an element of A", a[i], launches * (i % 3 + 3 * (i % 5)));
    }
    return 0;
}
