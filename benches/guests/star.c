/* star - a star-shaped stencil of radius 2 over a square grid: the Parallel Research Kernel `stencil`, in f32. A second launch
 * adds 1 to the grid, so that no round can reuse what it read before.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * star [N]: rows and columns of the grid. */
#include "bench.h"

enum { RADIUS = 2 };

KERNEL(star, ARRAY(const uint32_t, size), ARRAY(const float, in), ARRAY(float, out)) {
    uint32_t i = iteration_id, n = *size, x = i % n, y = i / n;
    if (x < RADIUS || y < RADIUS || x >= n - RADIUS || y >= n - RADIUS) {
        return;
    }
    float sum = out[i];
    for (int d = -RADIUS; d <= RADIUS; d++) {
        if (d != 0) {
            sum += 1.0f / (float)(2 * d * RADIUS) * in[i + (uint32_t)d * n];
        }
    }
    for (int d = -RADIUS; d <= RADIUS; d++) {
        if (d != 0) {
            sum += 1.0f / (float)(2 * d * RADIUS) * in[i + (uint32_t)d];
        }
    }
    out[i] = sum;
}

KERNEL(star_refresh, ARRAY(float, in)) { in[iteration_id] += 1.0f; }

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {512};
    uint32_t n = *start(argc, argv, "star [N]", 1, defaults), count = n * n, params[4] = {n};
    float *in = allocate(count, 4), *out = allocate(count, 4);
    for (uint32_t i = 0; i < count; i++) {
        in[i] = (float)(i % n + i / n);
    }
    wl_buffer size = give(params, sizeof params, WL_READ), in_buffer = give(in, count * 4, WL_READ_WRITE),
              out_buffer = give(out, count * 4, WL_READ_WRITE);
    while (next_round()) {
        WL_LAUNCH(star, count, 64, 2, size, in_buffer, out_buffer);
        WL_LAUNCH(star_refresh, count, 64, 0, in_buffer);
        end_round(in_buffer, 2);
    }
    take(out_buffer, out, count * 4);
    double norm = 0;
    for (uint32_t y = RADIUS; y < n - RADIUS; y++) {
        for (uint32_t x = RADIUS; x < n - RADIUS; x++) {
            norm += fabs(out[y * n + x]);
        }
    }
    norm /= (double)(n - 2 * RADIUS) * (n - 2 * RADIUS);
    /* The published tolerance of the f32 version. */
    require(fabs(norm - 2.0 * bench.rounds) <= 1e-4, "the L1 norm", norm, 2.0 * bench.rounds);
    return finish("star");
}
