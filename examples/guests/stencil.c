/* stencil - a five-point average, swept many times over a grid; two buffers swap roles, one launch a sweep.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * stencil [WIDTH [HEIGHT [STEPS]]]: the grid's border keeps its values. */
#include "harness.h"
#include "wavelift.h"

struct stencil_params {
    uint32_t width, height, unused[2];
};

static void stencil(int32_t iteration_id, int32_t num_iterations, int32_t block_size,
                    const struct stencil_params *params, uint32_t params_bytes,
                    const float *from, uint32_t from_bytes, float *to, uint32_t to_bytes) {
    uint32_t i = iteration_id, width = params->width;
    uint32_t x = i % width, y = i / width;
    if (x == 0 || y == 0 || x == width - 1 || y == params->height - 1) {
        to[i] = from[i];
    } else {
        to[i] = 0.2f * (from[i] + from[i - 1] + from[i + 1] + from[i - width] + from[i + width]);
    }
}

static void initialise(float *grid, uint32_t width, uint32_t height) {
    uint32_t random = 1;
    for (uint32_t i = 0; i < width * height; i++) {
        grid[i] = next_random(&random) * 100.0f;
    }
}

/* The same sweeps, row by row over the interior only. */
static void check(const float *result, uint32_t width, uint32_t height, uint32_t steps, double tolerance) {
    float *from = allocate((uint64_t)width * height, 4), *to = allocate((uint64_t)width * height, 4);
    initialise(from, width, height);
    initialise(to, width, height);
    for (uint32_t step = 0; step < steps; step++) {
        for (uint32_t y = 1; y + 1 < height; y++) {
            const float *above = from + (y - 1) * width, *here = above + width, *below = here + width;
            for (uint32_t x = 1; x + 1 < width; x++) {
                to[y * width + x] = 0.2f * (here[x] + here[x - 1] + here[x + 1] + above[x] + below[x]);
            }
        }
        float *swap = from;
        from = to;
        to = swap;
    }
    require_same("the grid", result, from, (size_t)width * height, tolerance);
    printf("all %u x %u points are right after %u steps\n", width, height, steps);
    free(from);
    free(to);
}

/* One repetition; leaves the result in grids[0]. */
static void run_serial(float **grids, const struct stencil_params *params, uint32_t steps, struct times *t) {
    uint32_t count = params->width * params->height, bytes = count * 4;
    double start = now();
    for (uint32_t step = 0; step < steps; step++) {
        for (uint32_t i = 0; i < count; i++) {
            stencil(i, count, 64, params, sizeof *params, grids[0], bytes, grids[1], bytes);
        }
        float *swap = grids[0];
        grids[0] = grids[1];
        grids[1] = swap;
    }
    add_kernel_time(t, now() - start, steps);
}

/* One repetition; `buffers` are the parameters and the two grids. */
static void run_parallel(float *grid, uint32_t count, const wl_buffer *buffers, uint32_t steps, struct times *t) {
    wl_buffer from = buffers[1], to = buffers[2];
    double start = now();
    wl_upload(from, grid, count * 4);
    double uploaded = now();
    for (uint32_t step = 0; step < steps; step++) {
        WL_LAUNCH(stencil, count, 64, 2, buffers[0], from, to);
        wl_buffer swap = from;
        from = to;
        to = swap;
    }
    wl_wait(from);
    double end = now();
    wl_download(from, grid, count * 4);
    t->upload += uploaded - start;
    t->download += now() - end;
    add_kernel_time(t, end - uploaded, steps);
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {256, 256, 100};
    struct options o = parse_options(argc, argv, "stencil [WIDTH [HEIGHT [STEPS]]]", 3, defaults);
    const struct stencil_params params = {.width = o.sizes[0], .height = o.sizes[1]};
    uint32_t steps = o.sizes[2];
    uint64_t count = (uint64_t)params.width * params.height;
    float *grids[2] = {allocate(count, 4), allocate(count, 4)};

    wl_buffer buffers[3] = {0};
    if (!o.serial) {
        wl_device device = wl_open(WL_DISCRETE_GPU);
        buffers[0] = wl_new(device, sizeof params, WL_READ);
        buffers[1] = wl_new(device, (uint32_t)count * 4, WL_READ_WRITE);
        buffers[2] = wl_new(device, (uint32_t)count * 4, WL_READ_WRITE);
        wl_upload(buffers[0], &params, sizeof params);
    }
    struct times t = {0};
    for (uint32_t repetition = 0; repetition < o.repeat; repetition++) {
        initialise(grids[0], params.width, params.height);
        if (o.serial) {
            run_serial(grids, &params, steps, &t);
        } else {
            run_parallel(grids[0], (uint32_t)count, buffers, steps, &t);
        }
    }
    check(grids[0], params.width, params.height, steps, o.tolerance);
    printf("Mpoints/s: %f (best)\n", 1e-6 * (double)count * steps / t.best);
    print_times("stencil", o.serial, &t);
    return 0;
}
