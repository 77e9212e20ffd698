/* saxpy - y = 2 x + y, one invocation for each element.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * saxpy [LENGTH] */
#include "bench.h"

KERNEL(saxpy, ARRAY(const float, x), ARRAY(float, y)) {
    uint32_t i = iteration_id;
    y[i] = 2.0f * x[i] + y[i];
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {1 << 20};
    uint32_t length = *start(argc, argv, "saxpy [LENGTH]", 1, defaults);
    float *x = allocate(length, 4), *y = allocate(length, 4);
    for (uint32_t i = 0; i < length; i++) {
        x[i] = (float)(i % 16);
        y[i] = (float)(i % 21);
    }
    wl_buffer x_buffer = give(x, length * 4, WL_READ), y_buffer = give(y, length * 4, WL_READ_WRITE);
    while (next_round()) {
        WL_LAUNCH(saxpy, length, 64, 1, x_buffer, y_buffer);
        end_round(y_buffer, 1);
    }
    take(y_buffer, y, length * 4);
    for (uint32_t i = 0; i < length; i++) {
        /* All sums are whole numbers. */
        float expected = (float)(i % 21 + 2 * bench.rounds * (i % 16));
        require(y[i] == expected, "an element of y", y[i], expected);
    }
    return finish("saxpy");
}
