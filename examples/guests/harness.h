/* harness.h - what the example guests share: arguments, times, comparison of floats.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Every guest takes positional sizes and these options:
 *   --serial        run the kernel in a plain loop in the guest instead of by parallel_for
 *   --repeat N      measure N times, each from the same initial state
 *   --tolerance T   accept relative errors up to T (default 0: results must be equal bit for bit), for hosts that
 *                   are told to compute less exactly
 *   --output PATH   where there is an image: write it there
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_SIZES = 3 };

struct options {
    bool serial;
    uint32_t repeat;
    double tolerance;
    const char *output;
    uint32_t sizes[MAX_SIZES]; /* positional arguments */
};

/* Seconds. `first` and `best` are kernel times of one repetition; the first may contain the kernel's translation. */
struct times {
    double upload, kernel, download, first, best;
    uint64_t launches;
};

static inline void fail_usage(const char *usage, const char *problem, const char *argument) {
    fprintf(stderr, "%s%s\nusage: %s [--serial] [--repeat N] [--tolerance T]\n", problem, argument, usage);
    exit(2);
}

static inline uint32_t parse_count(const char *text, const char *usage) {
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end || *text == '-' || value == 0 || value > INT32_MAX) {
        fail_usage(usage, "not a positive number: ", text);
    }
    return (uint32_t)value;
}

/* `usage` is "name [SIZE ...]"; `defaults` holds `count` sizes. Exits with status 2 on arguments that make no sense. */
static inline struct options parse_options(int argc, char **argv, const char *usage, int count, const uint32_t *defaults) {
    struct options o = {.repeat = 1};
    memcpy(o.sizes, defaults, count * sizeof *defaults);
    int given = 0;
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (strcmp(argument, "--serial") == 0) {
            o.serial = true;
        } else if (argument[0] != '-') {
            if (given == count) {
                fail_usage(usage, "one argument too many: ", argument);
            }
            o.sizes[given++] = parse_count(argument, usage);
        } else if (i + 1 == argc) {
            fail_usage(usage, "unknown option, or no value after it: ", argument);
        } else if (strcmp(argument, "--repeat") == 0) {
            o.repeat = parse_count(argv[++i], usage);
        } else if (strcmp(argument, "--tolerance") == 0) {
            char *end;
            o.tolerance = strtod(argv[++i], &end);
            if (*end || !(o.tolerance >= 0)) {
                fail_usage(usage, "not a tolerance: ", argv[i]);
            }
        } else if (strcmp(argument, "--output") == 0 && strstr(usage, "--output")) {
            o.output = argv[++i];
        } else {
            fail_usage(usage, "unknown option: ", argument);
        }
    }
    return o;
}

/* Seconds since some fixed moment. */
static inline double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Adds the kernel time of one repetition of `launches` launches. */
static inline void add_kernel_time(struct times *t, double seconds, uint32_t launches) {
    if (t->launches == 0) {
        t->first = t->best = seconds;
    }
    t->best = seconds < t->best ? seconds : t->best;
    t->kernel += seconds;
    t->launches += launches;
}

/* The line that a benchmark reads. */
static inline void print_times(const char *kernel, bool serial, const struct times *t) {
    printf("time_s kernel=%s mode=%s launches=%llu upload=%.9f kernel_s=%.9f first=%.9f best=%.9f download=%.9f total=%.9f\n",
           kernel, serial ? "serial" : "parallel", (unsigned long long)t->launches, t->upload, t->kernel, t->first, t->best,
           t->download, t->upload + t->kernel + t->download);
}

/* Zeroed memory for `count` elements of `size` bytes, or the end of the guest. */
static inline void *allocate(uint64_t count, uint64_t size) {
    void *memory = count * size <= UINT32_MAX ? calloc((size_t)count, (size_t)size) : NULL;
    if (!memory) {
        fprintf(stderr, "there is no memory for %llu bytes\n", (unsigned long long)(count * size));
        exit(1);
    }
    return memory;
}

/* Numbers in [0, 1) that are the same everywhere, for test data. */
static inline float next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) * (1.0f / 16777216.0f);
}

/* Whether `got` is `expected`: bit for bit, or within a relative error if the tolerance is above 0. */
static inline bool same_float(float got, float expected, double tolerance) {
    if (tolerance > 0) {
        return fabs((double)got - expected) <= tolerance * fmax(fabs((double)expected), 1e-6);
    }
    return memcmp(&got, &expected, sizeof got) == 0;
}

/* Compares all elements; on a difference it names the first one and ends the guest with status 1. */
static inline void require_same(const char *what, const float *got, const float *expected, size_t count, double tolerance) {
    for (size_t i = 0; i < count; i++) {
        if (!same_float(got[i], expected[i], tolerance)) {
            fprintf(stderr, "%s is wrong: element %zu is %.9g instead of %.9g\n", what, i, got[i], expected[i]);
            exit(1);
        }
    }
}

#endif
