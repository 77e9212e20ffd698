/* bilateral - a smoothing filter of radius 2 that keeps edges, on a grey image of floats, one invocation for each pixel. It
 * calls the C library's expf.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * bilateral [WIDTH [HEIGHT]] */
#include "bench.h"

enum { RADIUS = 2 };

struct size {
    int32_t width, height, unused[2];
};

static int32_t clamp(int32_t value, int32_t high) { return value < 0 ? 0 : value > high ? high : value; }

KERNEL(bilateral, ARRAY(const struct size, size), ARRAY(const float, from), ARRAY(float, to)) {
    int32_t width = size->width, x = iteration_id % width, y = iteration_id / width;
    float here = from[iteration_id], sum = 0, weights = 0;
    for (int32_t dy = -RADIUS; dy <= RADIUS; dy++) {
        for (int32_t dx = -RADIUS; dx <= RADIUS; dx++) {
            float there = from[clamp(y + dy, size->height - 1) * width + clamp(x + dx, width - 1)], difference = there - here;
            float weight = expf(-0.125f * (float)(dx * dx + dy * dy) - 50.0f * difference * difference);
            sum += weight * there;
            weights += weight;
        }
    }
    to[iteration_id] = sum / weights;
}

/* In f64, at points spread over the image. */
static void check(const float *from, const float *to, int32_t width, int32_t height) {
    for (int32_t i = 0; i < width * height; i += width * height > 1 << 16 ? 61 : 1) {
        int32_t x = i % width, y = i / width;
        double sum = 0, weights = 0;
        for (int32_t dy = -RADIUS; dy <= RADIUS; dy++) {
            for (int32_t dx = -RADIUS; dx <= RADIUS; dx++) {
                double there = from[clamp(y + dy, height - 1) * width + clamp(x + dx, width - 1)], difference = there - from[i];
                double weight = exp(-0.125 * (dx * dx + dy * dy) - 50.0 * difference * difference);
                sum += weight * there;
                weights += weight;
            }
        }
        require(fabs(to[i] - sum / weights) <= 2e-5, "a pixel", to[i], sum / weights);
    }
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {256, 256};
    const uint32_t *sizes = start(argc, argv, "bilateral [WIDTH [HEIGHT]]", 2, defaults);
    struct size params = {(int32_t)sizes[0], (int32_t)sizes[1], {0}};
    uint32_t count = sizes[0] * sizes[1], state = 1;
    float *from = allocate(count, 4), *to = allocate(count, 4);
    for (uint32_t i = 0; i < count; i++) {
        from[i] = 0.2f * next_random(&state) + (i / 37 % 2 == 0 ? 0.1f : 0.7f);
    }
    wl_buffer size = give(&params, sizeof params, WL_READ), from_buffer = give(from, count * 4, WL_READ),
              to_buffer = room(count * 4);
    while (next_round()) {
        WL_LAUNCH(bilateral, count, 64, 2, size, from_buffer, to_buffer);
        end_round(to_buffer, 1);
    }
    take(to_buffer, to, count * 4);
    check(from, to, params.width, params.height);
    return finish("bilateral");
}
