/* nstream - the stream triad A += B + scalar * C of the Parallel Research Kernels, with their verification rule.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * nstream [ITERATIONS [LENGTH]]: ITERATIONS timed launches over LENGTH f32 elements, after one that is not timed. */
#include "harness.h"
#include "wavelift.h"

#define SCALAR 3.0f

static void nstream(int32_t iteration_id, int32_t num_iterations, int32_t block_size,
                    const float *b, uint32_t b_bytes, const float *c, uint32_t c_bytes, float *a, uint32_t a_bytes) {
    uint32_t i = iteration_id;
    a[i] += b[i] + SCALAR * c[i];
}

static void run_serial(const float *b, const float *c, float *a, uint32_t iterations, uint32_t length, struct times *t) {
    double start = 0;
    for (uint32_t iteration = 0; iteration <= iterations; iteration++) {
        if (iteration == 1) {
            start = now();
        }
        for (uint32_t i = 0; i < length; i++) {
            nstream(i, length, 64, b, length * 4, c, length * 4, a, length * 4);
        }
    }
    add_kernel_time(t, now() - start, iterations);
}

static void run_parallel(const float *b, const float *c, float *a, const wl_buffer *buffers, uint32_t iterations,
                         uint32_t length, struct times *t) {
    double start = now();
    wl_upload(buffers[0], b, length * 4);
    wl_upload(buffers[1], c, length * 4);
    wl_upload(buffers[2], a, length * 4);
    t->upload += now() - start;
    for (uint32_t iteration = 0; iteration <= iterations; iteration++) {
        if (iteration == 1) {
            wl_wait(buffers[2]);
            start = now();
        }
        WL_LAUNCH(nstream, length, 64, 2, buffers[0], buffers[1], buffers[2]);
    }
    wl_wait(buffers[2]);
    double end = now();
    add_kernel_time(t, end - start, iterations);
    wl_download(buffers[2], a, length * 4);
    t->download += now() - end;
}

/* The rule: the sum over A equals length times the value that one element must have, within 1e-8 of it. */
static void validate(const float *a, uint32_t iterations, uint32_t length, double tolerance) {
    double expected = 0, sum = 0;
    for (uint32_t iteration = 0; iteration <= iterations; iteration++) {
        expected += 2.0 + (double)SCALAR * 2.0;
    }
    expected *= (double)length;
    for (uint32_t i = 0; i < length; i++) {
        sum += fabs((double)a[i]);
    }
    if (!(fabs(expected - sum) / expected <= fmax(1e-8, tolerance))) {
        printf("Failed Validation on output array\n"
               "        Expected checksum: %f\n        Observed checksum: %f\n"
               "ERROR: solution did not validate\n",
               expected, sum);
        exit(1);
    }
    printf("Solution validates\n");
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {10, 1 << 20};
    struct options o = parse_options(argc, argv, "nstream [ITERATIONS [LENGTH]]", 2, defaults);
    uint32_t iterations = o.sizes[0], length = o.sizes[1];
    printf("Parallel Research Kernels\nStream triad: A += B + scalar * C\n"
           "Number of iterations = %u\nVector length        = %u\n", iterations, length);

    float *a = allocate(length, 4), *b = allocate(length, 4), *c = allocate(length, 4);
    wl_buffer buffers[3] = {0};
    if (!o.serial) {
        wl_device device = wl_open(WL_DISCRETE_GPU);
        buffers[0] = wl_new(device, length * 4, WL_READ);
        buffers[1] = wl_new(device, length * 4, WL_READ);
        buffers[2] = wl_new(device, length * 4, WL_READ_WRITE);
    }
    struct times t = {0};
    for (uint32_t repetition = 0; repetition < o.repeat; repetition++) {
        for (uint32_t i = 0; i < length; i++) {
            a[i] = 0.0f;
            b[i] = 2.0f;
            c[i] = 2.0f;
        }
        if (o.serial) {
            run_serial(b, c, a, iterations, length, &t);
        } else {
            run_parallel(b, c, a, buffers, iterations, length, &t);
        }
        validate(a, iterations, length, o.tolerance);
    }
    double average = t.kernel / (double)t.launches, bytes = 4.0 * sizeof(float) * (double)length;
    printf("Rate (MB/s): %f Avg time (s): %f\n", 1e-6 * bytes / average, average);
    print_times("nstream", o.serial, &t);
    return 0;
}
