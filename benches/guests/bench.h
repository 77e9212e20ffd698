/* bench.h - what the guests of the benchmark suite share, on top of the example guests' harness.h.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A guest gives its arrays to buffers, makes its rounds of launches, takes the results back and checks them. The first round
 * is not timed, as the Parallel Research Kernels have it; --repeat N makes N more (default 1). A round ends when its result
 * can be read. */
#ifndef BENCH_H
#define BENCH_H

#include "harness.h"
#include "wavelift.h"

static struct {
    struct options options;
    wl_device device;
    struct times times;
    double begun;
    uint32_t rounds; /* that have ended */
} bench;

/* Parses the arguments and opens the device; gives the sizes. */
static inline const uint32_t *start(int argc, char **argv, const char *usage, int count, const uint32_t *defaults) {
    bench.options = parse_options(argc, argv, usage, count, defaults);
    bench.device = wl_open(WL_DISCRETE_GPU);
    return bench.options.sizes;
}

/* A new buffer with these bytes. */
static inline wl_buffer give(const void *data, uint32_t bytes, wl_access access) {
    wl_buffer buffer = wl_new(bench.device, bytes, access);
    double begun = now();
    wl_upload(buffer, data, bytes);
    bench.times.upload += now() - begun;
    return buffer;
}

/* A new buffer of zeros that kernels write. */
static inline wl_buffer room(uint32_t bytes) { return wl_new(bench.device, bytes, WL_READ_WRITE); }

/* The buffer's bytes. */
static inline void take(wl_buffer buffer, void *data, uint32_t bytes) {
    double begun = now();
    wl_download(buffer, data, bytes);
    bench.times.download += now() - begun;
}

/* Whether another round is to be made; it begins. */
static inline bool next_round(void) {
    bench.begun = now();
    return bench.rounds <= bench.options.repeat;
}

/* Waits for the round's launches, of which the last one writes the buffer. */
static inline void end_round(wl_buffer result, uint32_t launches) {
    wl_wait(result);
    double took = now() - bench.begun;
    if (bench.rounds++ > 0) {
        add_kernel_time(&bench.times, took, launches);
    }
}

/* Ends the guest with a message if something that was checked is false. */
static inline void require(bool right, const char *what, double got, double expected) {
    if (!right) {
        fprintf(stderr, "%s is %.9g instead of %.9g\n", what, got, expected);
        exit(1);
    }
}

/* Whether a number is within a relative error of what is expected. */
static inline bool near(double got, double expected, double error) {
    return fabs(got - expected) <= error * fmax(fabs(expected), 1.0);
}

/* Prints the times; the guest's exit code. */
static inline int finish(const char *kernel) {
    print_times(kernel, false, &bench.times);
    return 0;
}

#define KERNEL(name, ...) static void name(int32_t iteration_id, int32_t num_iterations, int32_t block_size, __VA_ARGS__)
#define ARRAY(type, name) type *name, uint32_t name##_bytes

#endif
