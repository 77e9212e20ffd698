/* sparse - a sparse matrix times a vector: the Parallel Research Kernel of that name, in f32, with scrambled indices. The
 * matrix is that of a star-shaped stencil on a periodic grid; all rows have as many entries.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * sparse [LOG2_N [RADIUS]]: a grid of 2^LOG2_N rows and columns. */
#include "bench.h"

/* Adds the row's number, counted from 1. */
KERNEL(sparse_fill, ARRAY(float, vector)) { vector[iteration_id] += (float)(iteration_id + 1); }

KERNEL(sparse, ARRAY(const uint32_t, entries), ARRAY(const float, matrix), ARRAY(const uint32_t, columns),
       ARRAY(const float, vector), ARRAY(float, result)) {
    uint32_t row = iteration_id, each = *entries, first = row * each;
    float sum = 0;
    for (uint32_t k = first; k < first + each; k++) {
        sum += matrix[k] * vector[columns[k]];
    }
    result[row] += sum;
}

static uint32_t reverse(uint32_t x, uint32_t bits) { return __builtin_bitreverse32(x) >> (32 - bits); }

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {9, 4};
    const uint32_t *sizes = start(argc, argv, "sparse [LOG2_N [RADIUS]]", 2, defaults);
    uint32_t bits = sizes[0], n = 1u << bits, rows = n * n, radius = sizes[1], each = 4 * radius + 1, params[4] = {each};
    uint64_t entries = (uint64_t)rows * each;
    float *matrix = allocate(entries, 4), *vector = allocate(rows, 4), *result = allocate(rows, 4);
    uint32_t *columns = allocate(entries, 4);
    for (uint32_t row = 0; row < rows; row++) {
        uint32_t x = row % n, y = row / n, *column = columns + row * each;
        *column = reverse(row, 2 * bits);
        for (uint32_t r = 1; r <= radius; r++) {
            column[4 * r - 3] = reverse((x + r) % n + (y << bits), 2 * bits);
            column[4 * r - 2] = reverse((x + n - r) % n + (y << bits), 2 * bits);
            column[4 * r - 1] = reverse(x + ((y + r) % n << bits), 2 * bits);
            column[4 * r] = reverse(x + ((y + n - r) % n << bits), 2 * bits);
        }
        qsort(column, each, sizeof *column, compare);
        for (uint32_t k = 0; k < each; k++) {
            matrix[row * each + k] = 1.0f / (float)(column[k] + 1);
        }
    }
    wl_buffer params_buffer = give(params, sizeof params, WL_READ), matrix_buffer = give(matrix, (uint32_t)entries * 4, WL_READ),
              columns_buffer = give(columns, (uint32_t)entries * 4, WL_READ),
              vector_buffer = give(vector, rows * 4, WL_READ_WRITE), result_buffer = give(result, rows * 4, WL_READ_WRITE);
    while (next_round()) {
        WL_LAUNCH(sparse_fill, rows, 64, 0, vector_buffer);
        WL_LAUNCH(sparse, rows, 64, 4, params_buffer, matrix_buffer, columns_buffer, vector_buffer, result_buffer);
        end_round(result_buffer, 2);
    }
    take(result_buffer, result, rows * 4);
    double sum = 0, rounds = bench.rounds, expected = 0.5 * (double)entries * rounds * (rounds + 1);
    for (uint32_t row = 0; row < rows; row++) {
        sum += result[row];
    }
    /* Published for f64: 1e-8. */
    require(near(sum, expected, 1e-6), "the sum of the vector", sum, expected);
    return finish("sparse");
}
