/* hello_parallel - the smallest useful guest: y = 2 * x + y for a million elements.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "wavelift.h"

enum { N = 1 << 20 };

static float x[N], y[N];

static void saxpy(int32_t iteration_id, int32_t num_iterations, int32_t block_size,
                  const float *x, uint32_t x_bytes, float *y, uint32_t y_bytes) {
    uint32_t i = iteration_id;
    y[i] = 2.0f * x[i] + y[i];
}

int main(void) {
    for (int i = 0; i < N; i++) {
        x[i] = (float)i;
        y[i] = 1.0f;
    }

    wl_device gpu = wl_open(WL_DISCRETE_GPU);
    wl_buffer x_buffer = wl_new(gpu, sizeof x, WL_READ);
    wl_buffer y_buffer = wl_new(gpu, sizeof y, WL_READ_WRITE);
    wl_upload(x_buffer, x, sizeof x);
    wl_upload(y_buffer, y, sizeof y);
    WL_LAUNCH(saxpy, N, 64, 1, x_buffer, y_buffer); /* one input; the rest are outputs */
    wl_download(y_buffer, y, sizeof y);

    for (int i = 0; i < N; i++) {
        if (y[i] != 2.0f * (float)i + 1.0f) {
            fprintf(stderr, "y[%d] is %g\n", i, y[i]);
            return 1;
        }
    }
    printf("Hello from %d parallel iterations: y[%d] = %.0f, and all others are right, too\n", N, N - 1, y[N - 1]);
    return 0;
}
