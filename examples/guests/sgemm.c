/* sgemm - C = A * B for square row-major f32 matrices, one invocation for each element of C.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * sgemm [N]: N rows and columns. All of C is checked up to N = 256; above that, 64 rows spread over it. */
#include "harness.h"
#include "wavelift.h"

struct sgemm_params {
    uint32_t n, unused[3];
};

static void sgemm(int32_t iteration_id, int32_t num_iterations, int32_t block_size,
                  const struct sgemm_params *params, uint32_t params_bytes, const float *a, uint32_t a_bytes,
                  const float *b, uint32_t b_bytes, float *c, uint32_t c_bytes) {
    uint32_t i = iteration_id, n = params->n;
    uint32_t row = i / n, column = i % n;
    float sum = 0.0f;
    for (uint32_t k = 0; k < n; k++) {
        sum += a[row * n + k] * b[k * n + column];
    }
    c[i] = sum;
}

/* Another loop order than the kernel's that adds the same products in the same order: each row of C is a sum of rows of B.
 * `tolerance` is a share of the sum of the products' magnitudes, for the sum itself may be next to nothing. */
static void check(const float *a, const float *b, const float *c, uint32_t n, double tolerance) {
    uint32_t rows = n <= 256 ? n : 64;
    float *expected = allocate(n, 4), *magnitude = allocate(n, 4);
    for (uint32_t r = 0; r < rows; r++) {
        uint32_t row = (uint32_t)((uint64_t)r * (n - 1) / (rows > 1 ? rows - 1 : 1));
        memset(expected, 0, n * sizeof *expected);
        memset(magnitude, 0, n * sizeof *magnitude);
        for (uint32_t k = 0; k < n; k++) {
            for (uint32_t column = 0; column < n; column++) {
                float product = a[row * n + k] * b[k * n + column];
                expected[column] += product;
                magnitude[column] += fabsf(product);
            }
        }
        for (uint32_t column = 0; column < n; column++) {
            float *got = &expected[column];
            double error = fabs((double)c[row * n + column] - *got);
            if (tolerance > 0.0 && error <= tolerance * magnitude[column]) {
                *got = c[row * n + column];
            }
        }
        require_same("a row of the product", c + row * n, expected, n, 0.0);
    }
    free(magnitude);
    free(expected);
    printf("%u of %u rows are right\n", rows, n);
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {256};
    struct options o = parse_options(argc, argv, "sgemm [N]", 1, defaults);
    const struct sgemm_params params = {.n = o.sizes[0]};
    uint32_t n = params.n, bytes = n * n * 4, count = n * n, random = 1;
    float *a = allocate((uint64_t)n * n, 4), *b = allocate((uint64_t)n * n, 4), *c = allocate((uint64_t)n * n, 4);
    for (uint32_t i = 0; i < count; i++) {
        a[i] = next_random(&random) - 0.5f;
        b[i] = next_random(&random) - 0.5f;
    }

    struct times t = {0};
    if (o.serial) {
        for (uint32_t repetition = 0; repetition < o.repeat; repetition++) {
            double start = now();
            for (uint32_t i = 0; i < count; i++) {
                sgemm(i, count, 64, &params, sizeof params, a, bytes, b, bytes, c, bytes);
            }
            add_kernel_time(&t, now() - start, 1);
        }
    } else {
        wl_device device = wl_open(WL_DISCRETE_GPU);
        wl_buffer params_buffer = wl_new(device, sizeof params, WL_READ), a_buffer = wl_new(device, bytes, WL_READ),
                  b_buffer = wl_new(device, bytes, WL_READ), c_buffer = wl_new(device, bytes, WL_WRITE);
        double start = now();
        wl_upload(params_buffer, &params, sizeof params);
        wl_upload(a_buffer, a, bytes);
        wl_upload(b_buffer, b, bytes);
        t.upload = now() - start;
        for (uint32_t repetition = 0; repetition < o.repeat; repetition++) {
            start = now();
            WL_LAUNCH(sgemm, count, 64, 3, params_buffer, a_buffer, b_buffer, c_buffer);
            wl_wait(c_buffer);
            add_kernel_time(&t, now() - start, 1);
        }
        start = now();
        wl_download(c_buffer, c, bytes);
        t.download = now() - start;
    }
    check(a, b, c, n, o.tolerance);
    printf("GFLOP/s: %f (best)\n", 2e-9 * n * n * (double)n / t.best);
    print_times("sgemm", o.serial, &t);
    return 0;
}
