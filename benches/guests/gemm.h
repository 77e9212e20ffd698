/* gemm.h - C += A * B for square row-major matrices of REAL, one invocation for each element of C: the Parallel Research
 * Kernel `dgemm`. GEMM is the kernel's name, CHECKSUM_ERROR what the checksum may be off by, relatively.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "bench.h"

#define TEXT_(name) #name
#define TEXT(name) TEXT_(name)

KERNEL(GEMM, ARRAY(const uint32_t, order), ARRAY(const REAL, a), ARRAY(const REAL, b), ARRAY(REAL, c)) {
    uint32_t n = *order, row = iteration_id / n, column = iteration_id % n;
    REAL sum = 0;
    for (uint32_t k = 0; k < n; k++) {
        sum += a[row * n + k] * b[k * n + column];
    }
    c[iteration_id] += sum;
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {256};
    uint32_t n = *start(argc, argv, TEXT(GEMM) " [ORDER]", 1, defaults), params[4] = {n}, bytes = n * n * sizeof(REAL);
    REAL *a = allocate(n * n, sizeof(REAL)), *c = allocate(n * n, sizeof(REAL));
    for (uint32_t i = 0; i < n * n; i++) {
        a[i] = (REAL)(i % n);
    }
    wl_buffer order = give(params, sizeof params, WL_READ), a_buffer = give(a, bytes, WL_READ),
              b_buffer = give(a, bytes, WL_READ), c_buffer = give(c, bytes, WL_READ_WRITE);
    while (next_round()) {
        WL_LAUNCH(GEMM, n * n, 64, 3, order, a_buffer, b_buffer, c_buffer);
        end_round(c_buffer, 1);
    }
    take(c_buffer, c, bytes);
    double sum = 0, order_ = n, expected = 0.25 * order_ * order_ * order_ * (order_ - 1) * (order_ - 1) * bench.rounds;
    for (uint32_t i = 0; i < n * n; i++) {
        sum += c[i];
    }
    require(fabs(sum / expected - 1) <= CHECKSUM_ERROR, "the checksum", sum, expected);
    return finish(TEXT(GEMM));
}
