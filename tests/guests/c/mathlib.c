/* mathlib - kernels that call the C library's mathematics: option prices, softmax, curves, a Monte Carlo sum.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <math.h>

#include "harness.h"

enum { OPTIONS = 600, ROWS = 64, ROW = 24, POINTS = 500, WALKS = 256 };

struct option {
    float price, strike, years;
};

static const float RATE = 0.02f, VOLATILITY = 0.3f;

/* The cumulative normal distribution by Abramowitz and Stegun's polynomial. */
static float normal(float d) {
    static const float COEFFICIENTS[5] = {0.31938153f, -0.356563782f, 1.781477937f, -1.821255978f, 1.330274429f};
    float k = 1.0f / (1.0f + 0.2316419f * fabsf(d)), sum = 0, power = k;
    for (int j = 0; j < 5; j++, power *= k) {
        sum += COEFFICIENTS[j] * power;
    }
    float tail = 0.39894228f * expf(-0.5f * d * d) * sum;
    return d > 0 ? 1.0f - tail : tail;
}

/* Call and put by Black and Scholes. */
static void black_scholes(IDS, const struct option *options, uint32_t options_size, float *prices, uint32_t prices_size) {
    const struct option *o = &options[i];
    float root = VOLATILITY * sqrtf(o->years);
    float d1 = (logf(o->price / o->strike) + (RATE + 0.5f * VOLATILITY * VOLATILITY) * o->years) / root;
    float discounted = o->strike * expf(-RATE * o->years), first = normal(d1), second = normal(d1 - root);
    prices[2 * i] = o->price * first - discounted * second;
    prices[2 * i + 1] = discounted * (1.0f - second) - o->price * (1.0f - first);
}

/* One invocation a row. */
static void softmax(IDS, const float *rows, uint32_t rows_size, float *to, uint32_t to_size) {
    const float *row = rows + i * ROW;
    float largest = row[0], sum = 0;
    for (int k = 1; k < ROW; k++) {
        largest = fmaxf(largest, row[k]);
    }
    for (int k = 0; k < ROW; k++) {
        to[i * ROW + k] = expf(row[k] - largest);
        sum += to[i * ROW + k];
    }
    for (int k = 0; k < ROW; k++) {
        to[i * ROW + k] /= sum;
    }
}

static void curves_sine(IDS, const float *points, uint32_t points_size, float *to, uint32_t to_size) {
    to[i] = sinf(points[i]);
}

static void curves_power(IDS, const float *points, uint32_t points_size, float *to, uint32_t to_size) {
    to[i] = powf(fabsf(points[i]), 1.7f) + powf(points[i], 3.0f);
}

static void curves_tanh(IDS, const float *points, uint32_t points_size, double *to, uint32_t to_size) {
    to[i] = tanh((double)points[i]);
}

/* xorshift64*. */
static uint64_t draw(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1d;
}

/* Points in the unit square that are in its circle, and the mean of x*y. */
static void monte_carlo(IDS, uint32_t *inside, uint32_t inside_size, float *means, uint32_t means_size) {
    uint64_t state = 0x9e3779b97f4a7c15u * (uint64_t)(i + 1);
    uint32_t hits = 0;
    float sum = 0;
    for (int k = 0; k < 100; k++) {
        uint64_t word = draw(&state);
        float x = (float)(word >> 40) * (1.0f / 16777216.0f), y = (float)(uint32_t)(word << 8 >> 40) * (1.0f / 16777216.0f);
        hits += x * x + y * y < 1.0f;
        sum += x * y;
    }
    inside[i] = hits;
    means[i] = sum / 100.0f;
}

int main(void) {
    static struct option options[OPTIONS];
    static float prices[2 * OPTIONS], rows[ROWS * ROW], shares[ROWS * ROW], points[POINTS], sines[POINTS], powers[POINTS],
        means[WALKS];
    static double tanhs[POINTS];
    static uint32_t inside[WALKS];
    uint32_t random = 9;
    for (uint32_t i = 0; i < OPTIONS; i++) {
        options[i].price = next_float(&random, 5, 30);
        options[i].strike = next_float(&random, 1, 100);
        options[i].years = next_float(&random, 0.25f, 10);
    }
    fill_floats(rows, ROWS * ROW, 10, -5, 5);
    fill_floats(points, POINTS, 11, -12, 12);
    points[0] = 0;
    points[1] = -0.0f;
    points[2] = 1e-30f;
    points[3] = 1e6f; /* a large sine argument takes another path */
    points[4] = -3e5f;
    struct array options_array = ARRAY(options, WL_READ), prices_array = ARRAY(prices, WL_WRITE),
                 rows_array = ARRAY(rows, WL_READ), shares_array = ARRAY(shares, WL_WRITE),
                 points_array = ARRAY(points, WL_READ), sines_array = ARRAY(sines, WL_WRITE),
                 powers_array = ARRAY(powers, WL_WRITE), tanhs_array = ARRAY(tanhs, WL_WRITE),
                 inside_array = ARRAY(inside, WL_WRITE), means_array = ARRAY(means, WL_WRITE);
    LAUNCH(black_scholes, OPTIONS, 64, 1, &options_array, &prices_array);
    LAUNCH(softmax, ROWS, 64, 1, &rows_array, &shares_array);
    LAUNCH(curves_sine, POINTS, 64, 1, &points_array, &sines_array);
    LAUNCH(curves_power, POINTS, 64, 1, &points_array, &powers_array);
    LAUNCH(curves_tanh, POINTS, 64, 1, &points_array, &tanhs_array);
    LAUNCH(monte_carlo, WALKS, 64, 0, &inside_array, &means_array);
    return finish();
}
