/* signal - stages of a Fourier transform, heat in f64, tables in static data.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <math.h>

#include "harness.h"

enum { SAMPLES = 256, STAGES = 8, ROD = 400, STEPS = 4, CURVE = 17, POINTS = 800, STATES = 5, CLASSES = 4, TEXTS = 200, TEXT = 12 };

struct complex {
    float re, im;
};

/* One stage of the Stockham transform: half = 1, 2, 4, and so on; one invocation a butterfly. */
static void fft_stage(IDS, const uint32_t *half, uint32_t half_size, const struct complex *from, uint32_t from_size,
                      struct complex *to, uint32_t to_size) {
    uint32_t butterfly = (uint32_t)i, k = butterfly & (*half - 1), place = ((butterfly - k) << 1) + k;
    float angle = -3.14159265f * (float)k / (float)*half;
    struct complex turn = {cosf(angle), sinf(angle)}, a = from[butterfly], b = from[butterfly + (uint32_t)num_iterations];
    struct complex turned = {b.re * turn.re - b.im * turn.im, b.re * turn.im + b.im * turn.re};
    to[place] = (struct complex){a.re + turned.re, a.im + turned.im};
    to[place + *half] = (struct complex){a.re - turned.re, a.im - turned.im};
}

struct rod {
    double conductivity, left, right;
    int32_t length, unused;
};

static void heat(IDS, const struct rod *rod, uint32_t rod_size, const double *from, uint32_t from_size, double *to,
                 uint32_t to_size) {
    double left = i == 0 ? rod->left : from[i - 1], right = i == rod->length - 1 ? rod->right : from[i + 1];
    to[i] = from[i] + rod->conductivity * (left - 2 * from[i] + right);
}

/* A curve of points in static data, between which this interpolates; found by bisection. */
static const float KNOTS[CURVE][2] = {{-4, 0.02f},  {-3.5f, 0.1f}, {-3, 0.3f},   {-2.2f, 0.25f}, {-1.9f, 0.4f}, {-1.5f, 1.5f},
                                      {-1, 1.2f},   {-0.5f, 0.9f}, {0, 1},       {0.4f, 1.3f},   {0.8f, 2},     {1.3f, 1.7f},
                                      {1.8f, 1.1f}, {2.5f, 0.6f},  {3, 0.5f},    {3.5f, 0.2f},   {4, 0.1f}};

static void interpolate(IDS, const float *x, uint32_t x_size, float *y, uint32_t y_size) {
    uint32_t low = 0, high = CURVE - 1;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (KNOTS[middle][0] <= x[i]) {
            low = middle;
        } else {
            high = middle;
        }
    }
    float share = (x[i] - KNOTS[low][0]) / (KNOTS[high][0] - KNOTS[low][0]);
    y[i] = KNOTS[low][1] + share * (KNOTS[high][1] - KNOTS[low][1]);
}

/* A finite automaton in tables of bytes and of strings: finds numbers such as -12.5. */
static const uint8_t NEXT[STATES][CLASSES] = {{1, 1, 4, 4}, {2, 4, 4, 4}, {2, 4, 3, 4}, {3, 4, 4, 4}, {4, 4, 4, 4}};
static const char *const NAMES[STATES] = {"empty", "sign", "integer", "decimal", "no number"};

static uint32_t class_of(char letter) {
    return letter >= '0' && letter <= '9' ? 0 : letter == '-' || letter == '+' ? 1 : letter == '.' ? 2 : 3;
}

static void automaton(IDS, const char *texts, uint32_t texts_size, char *names, uint32_t names_size) {
    uint32_t state = 0;
    for (uint32_t k = 0; k < TEXT && texts[i * TEXT + k]; k++) {
        state = NEXT[state][class_of(texts[i * TEXT + k])];
    }
    const char *name = NAMES[state];
    for (uint32_t k = 0; k < TEXT; k++) {
        names[i * TEXT + k] = *name;
        name += *name != 0;
    }
}

static void transform(void) {
    static struct complex samples[2][SAMPLES];
    static uint32_t halves[STAGES];
    fill_floats((float *)samples[0], 2 * SAMPLES, 22, -1, 1);
    float sum = 0;
    for (uint32_t k = 0; k < SAMPLES; k++) {
        sum += samples[0][k].re;
    }
    struct array arrays[2] = {ARRAY(samples[0], WL_READ_WRITE), ARRAY(samples[1], WL_READ_WRITE)};
    for (uint32_t stage = 0; stage < STAGES; stage++) {
        halves[stage] = 1u << stage;
        struct array half_array = new_array(&halves[stage], sizeof halves[stage], WL_READ);
        LAUNCH(fft_stage, SAMPLES / 2, 64, 2, &half_array, &arrays[stage % 2], &arrays[(stage + 1) % 2]);
    }
    if (fabsf(samples[STAGES % 2][0].re - sum) > 1e-4f) {
        wrong("fft_stage", "the first frequency is not the sum of all samples", 0);
    }
}

static void heat_rod(void) {
    static struct rod rod = {0.24, 1, -0.5, ROD, 0};
    static double temperatures[2][ROD];
    uint32_t random = 23;
    for (uint32_t k = 0; k < ROD; k++) {
        temperatures[0][k] = (double)next_float(&random, -1, 1) / 3;
    }
    struct array rod_array = new_array(&rod, sizeof rod, WL_READ),
                 arrays[2] = {ARRAY(temperatures[0], WL_READ_WRITE), ARRAY(temperatures[1], WL_READ_WRITE)};
    for (uint32_t step = 0; step < STEPS; step++) {
        LAUNCH(heat, ROD, 64, 2, &rod_array, &arrays[step % 2], &arrays[(step + 1) % 2]);
    }
}

static void tables(void) {
    static float x[POINTS], y[POINTS];
    static char texts[TEXTS * TEXT], names[TEXTS * TEXT];
    uint32_t random = 24;
    fill_floats(x, POINTS, 25, -4.5f, 4.5f);
    for (uint32_t text = 0; text < TEXTS; text++) {
        uint32_t length = next_word(&random) % 8;
        for (uint32_t k = 0; k < length; k++) {
            texts[text * TEXT + k] = (k == 0 ? "-+01" : "0123456789.0123456789.x")[next_word(&random) % (k == 0 ? 4 : 23)];
        }
    }
    struct array x_array = ARRAY(x, WL_READ), y_array = ARRAY(y, WL_WRITE), texts_array = ARRAY(texts, WL_READ),
                 names_array = ARRAY(names, WL_WRITE);
    LAUNCH(interpolate, POINTS, 64, 1, &x_array, &y_array);
    LAUNCH(automaton, TEXTS, 64, 1, &texts_array, &names_array);
}

int main(void) {
    transform();
    heat_rod();
    tables();
    return finish();
}
