/* black_scholes - prices of European options, a call and a put for each; what it takes is the C library's expf and logf.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * black_scholes [COUNT]: the check is in double precision, and allows for single precision beside the tolerance. */
#include "harness.h"
#include "wavelift.h"

static const float RATE = 0.02f, VOLATILITY = 0.3f;

/* What single precision may be off by, relative to the sum of spot and strike price. */
static const double SINGLE = 2e-6;

struct option {
    float spot, strike, years, unused;
};

struct prices {
    float call, put;
};

/* The cumulative normal distribution by Abramowitz and Stegun's polynomial 26.2.17. */
static float normal(float d) {
    float k = 1.0f / (1.0f + 0.2316419f * fabsf(d));
    float sum = k * (0.31938153f + k * (-0.356563782f + k * (1.781477937f + k * (-1.821255978f + k * 1.330274429f))));
    float tail = 0.39894228f * expf(-0.5f * d * d) * sum;
    return d > 0 ? 1.0f - tail : tail;
}

static void black_scholes(int32_t iteration_id, int32_t num_iterations, int32_t block_size, const struct option *options,
                          uint32_t options_bytes, struct prices *prices, uint32_t prices_bytes) {
    const struct option *o = &options[iteration_id];
    float root = VOLATILITY * sqrtf(o->years);
    float d1 = (logf(o->spot / o->strike) + (RATE + 0.5f * VOLATILITY * VOLATILITY) * o->years) / root;
    float discounted = o->strike * expf(-RATE * o->years), first = normal(d1), second = normal(d1 - root);
    prices[iteration_id].call = o->spot * first - discounted * second;
    prices[iteration_id].put = discounted * (1.0f - second) - o->spot * (1.0f - first);
}

static double exact_normal(double d) {
    return 0.5 * erfc(-d * 0.70710678118654752440);
}

/* The polynomial is within 7.5e-8 of the distribution. */
static void check(const struct option *options, const struct prices *prices, uint32_t count, double tolerance) {
    for (uint32_t i = 0; i < count; i++) {
        double spot = options[i].spot, strike = options[i].strike, years = options[i].years;
        double rate = RATE, volatility = VOLATILITY, root = volatility * sqrt(years);
        double d1 = (log(spot / strike) + (rate + 0.5 * volatility * volatility) * years) / root;
        double discounted = strike * exp(-rate * years), first = exact_normal(d1), second = exact_normal(d1 - root);
        double call = spot * first - discounted * second, put = discounted * (1 - second) - spot * (1 - first);
        double allowed = (SINGLE + tolerance) * (spot + strike);
        if (!(fabs(call - prices[i].call) <= allowed && fabs(put - prices[i].put) <= allowed)) {
            fprintf(stderr, "option %u: %.9g and %.9g, not %.9g and %.9g\n", i, prices[i].call, prices[i].put, call, put);
            exit(1);
        }
    }
    printf("all %u options are right\n", count);
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {10000};
    struct options o = parse_options(argc, argv, "black_scholes [COUNT]", 1, defaults);
    uint32_t count = o.sizes[0];
    struct option *options = allocate(count, sizeof *options);
    struct prices *prices = allocate(count, sizeof *prices);
    uint32_t random = 1;
    for (uint32_t i = 0; i < count; i++) {
        options[i].spot = 5.0f + 25.0f * next_random(&random);
        options[i].strike = 1.0f + 99.0f * next_random(&random);
        options[i].years = 0.25f + 9.75f * next_random(&random);
    }
    wl_buffer buffers[2] = {0};
    struct times t = {0};
    if (!o.serial) {
        wl_device device = wl_open(WL_DISCRETE_GPU);
        buffers[0] = wl_new(device, count * sizeof *options, WL_READ);
        buffers[1] = wl_new(device, count * sizeof *prices, WL_WRITE);
        wl_upload(buffers[0], options, count * sizeof *options);
    }
    for (uint32_t repetition = 0; repetition < o.repeat; repetition++) {
        double start = now();
        if (o.serial) {
            for (uint32_t i = 0; i < count; i++) {
                black_scholes(i, count, 64, options, count * sizeof *options, prices, count * sizeof *prices);
            }
        } else {
            WL_LAUNCH(black_scholes, count, 64, 1, buffers[0], buffers[1]);
            wl_wait(buffers[1]);
        }
        add_kernel_time(&t, now() - start, 1);
    }
    if (!o.serial) {
        wl_download(buffers[1], prices, count * sizeof *prices);
    }
    check(options, prices, count, o.tolerance);
    printf("Moptions/s: %f (best)\n", 1e-6 * count / t.best);
    print_times("black_scholes", o.serial, &t);
    return 0;
}
