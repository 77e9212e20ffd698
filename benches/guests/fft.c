/* fft - the Fourier transform of 2^BITS complex numbers by Stockham's algorithm of radix 2: one launch for each of BITS stages,
 * from one array to the other. The factors come from a table.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * fft [BITS] */
#include "bench.h"

struct number {
    float re, im;
};

struct stage {
    uint32_t half, stride; /* half the length of all; how many transforms there are already */
    uint32_t unused[2];
};

KERNEL(fft, ARRAY(const struct stage, stage), ARRAY(const struct number, factors), ARRAY(const struct number, from),
       ARRAY(struct number, to)) {
    uint32_t i = iteration_id, half = stage->half, stride = stage->stride, q = i & (stride - 1), p = i - q;
    struct number a = from[i], b = from[i + half], w = factors[p];
    struct number sum = {a.re + b.re, a.im + b.im}, difference = {a.re - b.re, a.im - b.im};
    to[2 * p + q] = sum;
    to[2 * p + q + stride] = (struct number){difference.re * w.re - difference.im * w.im, difference.re * w.im + difference.im * w.re};
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {14};
    uint32_t bits = *start(argc, argv, "fft [BITS]", 1, defaults), n = 1u << bits, half = n / 2, bytes = n * sizeof(struct number);
    struct number *data = allocate(n, sizeof *data), *out = allocate(n, sizeof *out), *factors = allocate(half, sizeof *factors);
    double turn = 2 * 3.14159265358979323846;
    for (uint32_t i = 0; i < half; i++) {
        double angle = -turn * i / n;
        factors[i] = (struct number){(float)cos(angle), (float)sin(angle)};
    }
    /* Two waves: their frequencies are all that the transform has. */
    float scale = 1.0f / (float)n;
    uint32_t low = n / 8 + 1, high = n / 2 + 3;
    for (uint32_t i = 0; i < n; i++) {
        double a = turn * (double)((uint64_t)low * i % n) / n, b = turn * (double)((uint64_t)high * i % n) / n;
        data[i] = (struct number){scale * (float)(cos(a) + 0.5 * cos(b)), scale * (float)(sin(a) + 0.5 * sin(b))};
    }
    wl_buffer stages[31], source = give(data, bytes, WL_READ), factors_buffer = give(factors, half * sizeof *factors, WL_READ),
                          turns[2] = {room(bytes), room(bytes)};
    for (uint32_t k = 0; k < bits; k++) {
        stages[k] = give(&(struct stage){half, 1u << k, {0}}, sizeof(struct stage), WL_READ);
    }
    wl_buffer result = turns[(bits - 1) % 2];
    while (next_round()) {
        for (uint32_t k = 0; k < bits; k++) {
            wl_buffer from = k == 0 ? source : turns[(k - 1) % 2];
            WL_LAUNCH(fft, half, 64, 3, stages[k], factors_buffer, from, turns[k % 2]);
        }
        end_round(result, bits);
    }
    take(result, out, bytes);
    for (uint32_t i = 0; i < n; i++) {
        double expected = i == low ? 1 : i == high ? 0.5 : 0;
        /* An amplitude is off by some 2^-24 in each stage. */
        require(fabs(out[i].re - expected) <= 1e-6 * bits && fabs(out[i].im) <= 1e-6 * bits, "an amplitude", out[i].re,
                expected);
    }
    return finish("fft");
}
