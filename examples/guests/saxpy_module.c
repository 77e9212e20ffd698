/* saxpy_module - a guest that brings its kernel as a module of its own, and chooses the device of the launch.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The kernel is saxpy_module.kernel.c. Such a module need not be known when the guest is built: it may be loaded, or
 * written at run time. */
#define WL_PARALLEL_EXEC
#include "wavelift.h"

enum { N = 1 << 20 };

static const unsigned char kernel[] = {
#embed "saxpy_module.kernel.wasm"
};

static float x[N], y[N];

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
    wl_check(wl_parallel_exec(gpu, kernel, sizeof kernel, N, 64, &x_buffer, 1, &y_buffer, 1), "parallel_exec");
    wl_check(wl_parallel_for_module(kernel, sizeof kernel, N, 64, &x_buffer, 1, &y_buffer, 1), "parallel_for");
    wl_download(y_buffer, y, sizeof y);

    for (int i = 0; i < N; i++) {
        if (y[i] != 4.0f * (float)i + 1.0f) {
            fprintf(stderr, "y[%d] is %g\n", i, y[i]);
            return 1;
        }
    }
    printf("A kernel of %d bytes ran twice: y[%d] = %.0f, and all others are right, too\n", (int)sizeof kernel, N - 1,
           y[N - 1]);
    return 0;
}
