/* The kernel of saxpy_module: y = 2 * x + y.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <stdint.h>

void kernel(int32_t iteration_id, int32_t num_iterations, int32_t block_size,
            const float *x, uint32_t x_bytes, float *y, uint32_t y_bytes) {
    uint32_t i = iteration_id;
    y[i] = 2.0f * x[i] + y[i];
}
