/* mandelbrot - how many steps each point of the plane takes to escape, and a picture of it.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * mandelbrot [WIDTH [HEIGHT [MAX_STEPS]]] [--output PATH]: PATH gets a grey image in PGM format. */
#include "harness.h"
#include "wavelift.h"

struct mandelbrot_params {
    uint32_t width, height, max_steps;
    float left, top, dx, dy;
    uint32_t unused;
};

static void mandelbrot(int32_t iteration_id, int32_t num_iterations, int32_t block_size,
                       const struct mandelbrot_params *params, uint32_t params_bytes,
                       uint32_t *steps, uint32_t steps_bytes) {
    uint32_t i = iteration_id;
    float cx = params->left + (float)(i % params->width) * params->dx;
    float cy = params->top + (float)(i / params->width) * params->dy;
    uint32_t max_steps = params->max_steps, step = 0;
    float x = 0.0f, y = 0.0f;
    while (step < max_steps) {
        float xx = x * x, yy = y * y;
        if (xx + yy > 4.0f) {
            break;
        }
        y = 2.0f * x * y + cy;
        x = xx - yy + cx;
        step++;
    }
    steps[i] = step;
}

/* Row by row; `tolerance` is the share of points that may differ. */
static void check(const uint32_t *steps, const struct mandelbrot_params *p, double tolerance) {
    uint64_t wrong = 0, allowed = (uint64_t)(tolerance * p->width * (double)p->height);
    for (uint32_t row = 0; row < p->height; row++) {
        for (uint32_t column = 0; column < p->width; column++) {
            float cx = p->left + (float)column * p->dx, cy = p->top + (float)row * p->dy, x = 0.0f, y = 0.0f;
            uint32_t expected = 0;
            for (; expected < p->max_steps && !(x * x + y * y > 4.0f); expected++) {
                float next = x * x - y * y + cx;
                y = 2.0f * x * y + cy;
                x = next;
            }
            uint32_t got = steps[row * p->width + column];
            if (got != expected && wrong++ >= allowed) {
                fprintf(stderr, "point %u of row %u is wrong: it has %u steps instead of %u\n", column, row, got, expected);
                exit(1);
            }
        }
    }
    printf("%llu of %u x %u points are wrong\n", (unsigned long long)wrong, p->width, p->height);
}

static void write_image(const char *path, const uint32_t *steps, const struct mandelbrot_params *p) {
    FILE *file = fopen(path, "wb");
    if (!file) {
        perror(path);
        exit(1);
    }
    fprintf(file, "P5\n%u %u\n255\n", p->width, p->height);
    uint8_t *line = allocate(p->width, 1);
    for (uint32_t row = 0; row < p->height; row++) {
        for (uint32_t column = 0; column < p->width; column++) {
            uint32_t s = steps[row * p->width + column];
            line[column] = s == p->max_steps ? 0 : (uint8_t)(255 - s * 5 % 200);
        }
        fwrite(line, 1, p->width, file);
    }
    free(line);
    bool failed = ferror(file);
    if (fclose(file) || failed) {
        perror(path);
        exit(1);
    }
    printf("wrote %s\n", path);
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {640, 480, 256};
    struct options o =
        parse_options(argc, argv, "mandelbrot [WIDTH [HEIGHT [MAX_STEPS]]] [--output PATH]", 3, defaults);
    const struct mandelbrot_params params = {
        .width = o.sizes[0], .height = o.sizes[1], .max_steps = o.sizes[2],
        .left = -2.25f, .top = -1.25f, .dx = 3.0f / (float)o.sizes[0], .dy = 2.5f / (float)o.sizes[1]};
    uint32_t *steps = allocate((uint64_t)params.width * params.height, 4);
    uint32_t count = params.width * params.height;

    struct times t = {0};
    if (o.serial) {
        for (uint32_t repetition = 0; repetition < o.repeat; repetition++) {
            double start = now();
            for (uint32_t i = 0; i < count; i++) {
                mandelbrot(i, count, 64, &params, sizeof params, steps, count * 4);
            }
            add_kernel_time(&t, now() - start, 1);
        }
    } else {
        wl_device device = wl_open(WL_DISCRETE_GPU);
        wl_buffer params_buffer = wl_new(device, sizeof params, WL_READ), steps_buffer = wl_new(device, count * 4, WL_WRITE);
        double start = now();
        wl_upload(params_buffer, &params, sizeof params);
        t.upload = now() - start;
        for (uint32_t repetition = 0; repetition < o.repeat; repetition++) {
            start = now();
            WL_LAUNCH(mandelbrot, count, 64, 1, params_buffer, steps_buffer);
            wl_wait(steps_buffer);
            add_kernel_time(&t, now() - start, 1);
        }
        start = now();
        wl_download(steps_buffer, steps, count * 4);
        t.download = now() - start;
    }
    check(steps, &params, o.tolerance);
    if (o.output) {
        write_image(o.output, steps, &params);
    }
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += steps[i];
    }
    printf("Msteps/s: %f (best)\n", 1e-6 * (double)sum / t.best);
    print_times("mandelbrot", o.serial, &t);
    return 0;
}
