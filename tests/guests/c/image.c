/* image - Sobel's edges, a bilateral filter and a median, on bytes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <math.h>

#include "harness.h"

enum { WIDTH = 45, HEIGHT = 31, PIXELS = WIDTH * HEIGHT, CHANNELS = 4 };

struct size {
    int32_t width, height;
};

static int clamp(int value, int low, int high) { return value < low ? low : value > high ? high : value; }

static int texel(const uint8_t *image, const struct size *size, int x, int y, int channel) {
    x = clamp(x, 0, size->width - 1);
    y = clamp(y, 0, size->height - 1);
    return image[(y * size->width + x) * CHANNELS + channel];
}

/* One invocation a byte, so that four of them write one word. The alpha channel is copied. */
static void sobel(IDS, const struct size *size, uint32_t size_size, const uint8_t *from, uint32_t from_size, uint8_t *to,
                  uint32_t to_size) {
    int channel = i % CHANNELS, x = i / CHANNELS % size->width, y = i / CHANNELS / size->width;
    if (channel == 3) {
        to[i] = from[i];
        return;
    }
    int across = 0, down = 0;
    for (int d = -1; d <= 1; d++) {
        int weight = d == 0 ? 2 : 1;
        across += weight * (texel(from, size, x + 1, y + d, channel) - texel(from, size, x - 1, y + d, channel));
        down += weight * (texel(from, size, x + d, y + 1, channel) - texel(from, size, x + d, y - 1, channel));
    }
    to[i] = (uint8_t)clamp((int)sqrtf((float)(across * across + down * down)), 0, 255);
}

/* One invocation a pixel of one channel. */
static void bilateral(IDS, const struct size *size, uint32_t size_size, const uint8_t *from, uint32_t from_size,
                      uint8_t *to, uint32_t to_size) {
    int x = i % size->width, y = i / size->width, here = texel(from, size, x, y, 0);
    float sum = 0, weights = 0;
    for (int dy = -2; dy <= 2; dy++) {
        for (int dx = -2; dx <= 2; dx++) {
            int there = texel(from, size, x + dx, y + dy, 0);
            float distance = (float)(dx * dx + dy * dy), difference = (float)(there - here);
            float weight = expf(-distance / 8.0f - difference * difference / 2000.0f);
            sum += weight * (float)there;
            weights += weight;
        }
    }
    to[i] = (uint8_t)(sum / weights + 0.5f);
}

/* Sorts a pixel's neighbourhood in a local array. */
static void median(IDS, const struct size *size, uint32_t size_size, const uint8_t *from, uint32_t from_size, uint8_t *to,
                   uint32_t to_size) {
    int x = i % size->width, y = i / size->width;
    uint8_t window[9];
    for (int k = 0; k < 9; k++) {
        uint8_t value = (uint8_t)texel(from, size, x + k % 3 - 1, y + k / 3 - 1, 1);
        int at = k;
        for (; at > 0 && window[at - 1] > value; at--) {
            window[at] = window[at - 1];
        }
        window[at] = value;
    }
    to[i] = window[4];
}

int main(void) {
    static struct size size = {WIDTH, HEIGHT};
    static uint8_t from[PIXELS * CHANNELS], edges[PIXELS * CHANNELS], smooth[PIXELS], middle[PIXELS];
    fill_bytes(from, sizeof from, 7);
    struct array size_array = new_array(&size, sizeof size, WL_READ), from_array = ARRAY(from, WL_READ),
                 edges_array = ARRAY(edges, WL_WRITE), smooth_array = ARRAY(smooth, WL_WRITE),
                 middle_array = ARRAY(middle, WL_WRITE);
    LAUNCH(sobel, PIXELS * CHANNELS, 64, 2, &size_array, &from_array, &edges_array);
    LAUNCH(bilateral, PIXELS, 64, 2, &size_array, &from_array, &smooth_array);
    LAUNCH(median, PIXELS, 32, 2, &size_array, &from_array, &middle_array);
    return finish();
}
