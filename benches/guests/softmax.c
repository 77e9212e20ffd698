/* softmax - each row of a matrix becomes shares of its exponentials' sum, one invocation for each row. It calls the C library's
 * expf.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * softmax [ROWS [COLUMNS]] */
#include "bench.h"

KERNEL(softmax, ARRAY(const uint32_t, columns), ARRAY(const float, from), ARRAY(float, to)) {
    uint32_t count = *columns;
    const float *in = from + (uint32_t)iteration_id * count;
    float *out = to + (uint32_t)iteration_id * count, most = in[0], sum = 0;
    for (uint32_t k = 1; k < count; k++) {
        most = in[k] > most ? in[k] : most;
    }
    for (uint32_t k = 0; k < count; k++) {
        float value = expf(in[k] - most);
        out[k] = value;
        sum += value;
    }
    for (uint32_t k = 0; k < count; k++) {
        out[k] /= sum;
    }
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {1024, 64};
    const uint32_t *sizes = start(argc, argv, "softmax [ROWS [COLUMNS]]", 2, defaults);
    uint32_t rows = sizes[0], columns = sizes[1], count = rows * columns, state = 1, params[4] = {columns};
    float *from = allocate(count, 4), *to = allocate(count, 4);
    for (uint32_t i = 0; i < count; i++) {
        from[i] = 16.0f * next_random(&state) - 8.0f;
    }
    wl_buffer params_buffer = give(params, sizeof params, WL_READ), from_buffer = give(from, count * 4, WL_READ),
              to_buffer = room(count * 4);
    while (next_round()) {
        WL_LAUNCH(softmax, rows, 64, 2, params_buffer, from_buffer, to_buffer);
        end_round(to_buffer, 1);
    }
    take(to_buffer, to, count * 4);
    for (uint32_t row = 0; row < rows; row++) {
        double sum = 0, most = -INFINITY;
        for (uint32_t k = 0; k < columns; k++) {
            most = fmax(most, from[row * columns + k]);
        }
        for (uint32_t k = 0; k < columns; k++) {
            sum += exp(from[row * columns + k] - most);
        }
        for (uint32_t k = 0; k < columns; k++) {
            double expected = exp(from[row * columns + k] - most) / sum;
            require(fabs(to[row * columns + k] - expected) <= 2e-5 * expected + 1e-12, "a share", to[row * columns + k], expected);
        }
    }
    return finish("softmax");
}
