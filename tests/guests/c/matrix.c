/* matrix - transpose, a matrix product in register tiles, a sparse matrix times a vector.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "harness.h"

enum { ROWS = 37, COLUMNS = 29, N = 48, TILE = 4, SPARSE_ROWS = 500, MAX_VALUES = 8 * SPARSE_ROWS };

struct shape {
    uint32_t rows, columns;
};

static void transpose(IDS, const struct shape *shape, uint32_t shape_size, const float *a, uint32_t a_size, float *out,
                      uint32_t out_size) {
    uint32_t row = (uint32_t)i / shape->columns, column = (uint32_t)i % shape->columns;
    out[column * shape->rows + row] = a[i];
}

/* Each invocation computes TILE by TILE elements in a local array. */
static void gemm_tiled(IDS, const struct shape *shape, uint32_t shape_size, const float *a, uint32_t a_size,
                       const float *b, uint32_t b_size, float *c, uint32_t c_size) {
    uint32_t n = shape->rows, tiles = n / TILE;
    uint32_t row = (uint32_t)i / tiles * TILE, column = (uint32_t)i % tiles * TILE;
    float sums[TILE][TILE] = {{0}};
    for (uint32_t k = 0; k < n; k++) {
        for (int y = 0; y < TILE; y++) {
            for (int x = 0; x < TILE; x++) {
                sums[y][x] += a[(row + y) * n + k] * b[k * n + column + x];
            }
        }
    }
    for (int y = 0; y < TILE; y++) {
        for (int x = 0; x < TILE; x++) {
            c[(row + y) * n + column + x] = sums[y][x];
        }
    }
}

/* Compressed sparse rows: row r has the values starts[r] to starts[r + 1]. */
static void spmv(IDS, const uint32_t *starts, uint32_t starts_size, const uint32_t *columns, uint32_t columns_size,
                 const float *values, uint32_t values_size, const float *x, uint32_t x_size, float *y, uint32_t y_size) {
    float sum = 0;
    for (uint32_t k = starts[i]; k < starts[i + 1]; k++) {
        sum += values[k] * x[columns[k]];
    }
    y[i] = sum;
}

static void dense(void) {
    static struct shape small = {ROWS, COLUMNS}, square = {N, N};
    static float from[ROWS * COLUMNS], to[ROWS * COLUMNS], a[N * N], b[N * N], c[N * N];
    fill_floats(from, ROWS * COLUMNS, 1, -1, 1);
    fill_floats(a, N * N, 2, -1, 1);
    fill_floats(b, N * N, 3, -1, 1);
    struct array small_array = new_array(&small, sizeof small, WL_READ), from_array = ARRAY(from, WL_READ),
                 to_array = ARRAY(to, WL_WRITE), square_array = new_array(&square, sizeof square, WL_READ),
                 a_array = ARRAY(a, WL_READ), b_array = ARRAY(b, WL_READ), c_array = ARRAY(c, WL_WRITE);
    LAUNCH(transpose, ROWS * COLUMNS, 64, 2, &small_array, &from_array, &to_array);
    LAUNCH(gemm_tiled, N / TILE * (N / TILE), 64, 3, &square_array, &a_array, &b_array, &c_array);
}

static void sparse(void) {
    static uint32_t starts[SPARSE_ROWS + 1], columns[MAX_VALUES];
    static float values[MAX_VALUES], x[SPARSE_ROWS], y[SPARSE_ROWS];
    uint32_t random = 4;
    for (uint32_t row = 0; row < SPARSE_ROWS; row++) {
        uint32_t length = next_word(&random) % 8;
        starts[row + 1] = starts[row] + length;
        for (uint32_t k = starts[row]; k < starts[row + 1]; k++) {
            columns[k] = next_word(&random) % SPARSE_ROWS;
        }
    }
    fill_floats(values, MAX_VALUES, 5, -2, 2);
    fill_floats(x, SPARSE_ROWS, 6, -1, 1);
    struct array starts_array = ARRAY(starts, WL_READ), columns_array = ARRAY(columns, WL_READ),
                 values_array = ARRAY(values, WL_READ), x_array = ARRAY(x, WL_READ), y_array = ARRAY(y, WL_WRITE);
    LAUNCH(spmv, SPARSE_ROWS, 64, 4, &starts_array, &columns_array, &values_array, &x_array, &y_array);
}

int main(void) {
    dense();
    sparse();
    return finish();
}
