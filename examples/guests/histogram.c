/* histogram - counts how often each of a number of values occurs, with atomic additions to one counter each.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * histogram [LENGTH [BINS]]: BINS is a power of two. Built with -matomics: without it, clang makes plain additions of
 * atomic ones, which lose counts where invocations meet. */
#include "harness.h"
#include "wavelift.h"

static void histogram(int32_t iteration_id, int32_t num_iterations, int32_t block_size,
                      const uint32_t *data, uint32_t data_bytes, uint32_t *bins, uint32_t bins_bytes) {
    uint32_t bin = data[iteration_id] & (bins_bytes / 4 - 1);
    __atomic_fetch_add(&bins[bin], 1, __ATOMIC_RELAXED);
}

static void initialise(uint32_t *data, uint32_t length) {
    uint32_t state = 1;
    for (uint32_t i = 0; i < length; i++) {
        state = state * 1664525u + 1013904223u;
        data[i] = state >> 12;
    }
}

/* Takes each value out of its bin again: all must be empty then. */
static void check(const uint32_t *data, uint32_t length, uint32_t *bins, uint32_t count) {
    for (uint32_t i = 0; i < length; i++) {
        bins[data[i] % count]--;
    }
    for (uint32_t bin = 0; bin < count; bin++) {
        if (bins[bin] != 0) {
            fprintf(stderr, "bin %u is wrong by %d\n", bin, (int32_t)bins[bin]);
            exit(1);
        }
    }
    printf("all %u bins are right\n", count);
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {1 << 20, 256};
    struct options o = parse_options(argc, argv, "histogram [LENGTH [BINS]]", 2, defaults);
    uint32_t length = o.sizes[0], count = o.sizes[1];
    if (count & (count - 1)) {
        fail_usage("histogram [LENGTH [BINS]]", "the number of bins must be a power of two", "");
    }
    uint32_t *data = allocate(length, 4), *bins = allocate(count, 4);
    initialise(data, length);

    wl_buffer buffers[2] = {0};
    struct times t = {0};
    if (!o.serial) {
        wl_device device = wl_open(WL_DISCRETE_GPU);
        buffers[0] = wl_new(device, length * 4, WL_READ);
        buffers[1] = wl_new(device, count * 4, WL_READ_WRITE);
        double start = now();
        wl_upload(buffers[0], data, length * 4);
        t.upload = now() - start;
    }
    for (uint32_t repetition = 0; repetition < o.repeat; repetition++) {
        memset(bins, 0, count * 4);
        if (!o.serial) {
            wl_upload(buffers[1], bins, count * 4);
        }
        double start = now();
        if (o.serial) {
            for (uint32_t i = 0; i < length; i++) {
                histogram(i, length, 64, data, length * 4, bins, count * 4);
            }
        } else {
            WL_LAUNCH(histogram, length, 64, 1, buffers[0], buffers[1]);
            wl_wait(buffers[1]);
        }
        add_kernel_time(&t, now() - start, 1);
    }
    if (!o.serial) {
        double start = now();
        wl_download(buffers[1], bins, count * 4);
        t.download = now() - start;
    }
    check(data, length, bins, count);
    printf("Melements/s: %f (best)\n", 1e-6 * length / t.best);
    print_times("histogram", o.serial, &t);
    return 0;
}
