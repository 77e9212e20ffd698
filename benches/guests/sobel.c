/* sobel - edges of a grey image of bytes, one invocation for each pixel.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * sobel [WIDTH [HEIGHT]]: WIDTH is a multiple of 4. */
#include "bench.h"

struct size {
    int32_t width, height, unused[2];
};

static int32_t root(int32_t square) {
    int32_t value = (int32_t)sqrtf((float)square);
    return value < 255 ? value : 255;
}

/* The image's border is black. */
KERNEL(sobel, ARRAY(const struct size, size), ARRAY(const uint8_t, from), ARRAY(uint8_t, to)) {
    int32_t width = size->width, x = iteration_id % width, y = iteration_id / width;
    if (x == 0 || y == 0 || x == width - 1 || y == size->height - 1) {
        to[iteration_id] = 0;
        return;
    }
    const uint8_t *at = from + iteration_id, *above = at - width, *below = at + width;
    int32_t across = above[1] - above[-1] + 2 * (at[1] - at[-1]) + below[1] - below[-1];
    int32_t down = below[-1] - above[-1] + 2 * (below[0] - above[0]) + below[1] - above[1];
    to[iteration_id] = (uint8_t)root(across * across + down * down);
}

/* The other way: with the weights as a matrix. */
static void check(const uint8_t *from, const uint8_t *to, int32_t width, int32_t height) {
    static const int32_t weights[3] = {1, 2, 1};
    for (int32_t y = 0; y < height; y++) {
        for (int32_t x = 0; x < width; x++) {
            int32_t across = 0, down = 0, expected = 0;
            if (x > 0 && y > 0 && x < width - 1 && y < height - 1) {
                for (int32_t d = -1; d <= 1; d++) {
                    across += weights[d + 1] * (from[(y + d) * width + x + 1] - from[(y + d) * width + x - 1]);
                    down += weights[d + 1] * (from[(y + 1) * width + x + d] - from[(y - 1) * width + x + d]);
                }
                expected = root(across * across + down * down);
            }
            require(to[y * width + x] == expected, "a pixel", to[y * width + x], expected);
        }
    }
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {640, 480};
    const uint32_t *sizes = start(argc, argv, "sobel [WIDTH [HEIGHT]]", 2, defaults);
    struct size params = {(int32_t)(sizes[0] & ~3u), (int32_t)sizes[1], {0}};
    uint32_t count = (uint32_t)(params.width * params.height), state = 1;
    uint8_t *from = allocate(count, 1), *to = allocate(count, 1);
    for (uint32_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        from[i] = (uint8_t)(state >> 27) + (uint8_t)(i >> 4);
    }
    wl_buffer size = give(&params, sizeof params, WL_READ), from_buffer = give(from, count, WL_READ), to_buffer = room(count);
    while (next_round()) {
        WL_LAUNCH(sobel, count, 64, 2, size, from_buffer, to_buffer);
        end_round(to_buffer, 1);
    }
    take(to_buffer, to, count);
    check(from, to, params.width, params.height);
    return finish("sobel");
}
