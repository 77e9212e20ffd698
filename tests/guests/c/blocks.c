/* blocks - what C's library and compilers do with blocks of memory: lengths known at run time only,
 * structures by value, moves across one another. `across` copies by memcpy upwards into what it copies, which
 * C leaves open: every device does what the library's code does.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "harness.h"

static void moves(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    uint8_t b[64];
    memcpy(b, x + i * 16, 64);
    uint32_t a = x[i * 16] % 32, c = x[i * 16 + 1] % 32, n = x[i * 16 + 2] % 32;
    memmove(b + a, b + c, n);
    memset(b + c, (int)n, a / 2);
    memcpy(y + i * 16, b, 64);
}

static void copies(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    uint32_t n = x[i * 16] % 60;
    uint8_t *o = (uint8_t *)(y + i * 16);
    memset(o, 7, 64);
    memcpy(o + 1, (const uint8_t *)(x + i * 16) + 3, n);
    memmove(o + 5, o + 1, n / 2);
}

static void compares(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    const uint8_t *a = (const uint8_t *)(x + i * 4), *b = (const uint8_t *)(x + ((i + 1) % 60) * 4);
    uint32_t n = x[i * 4] % 16;
    int c = memcmp(a, b, n);
    y[i] = (uint32_t)((c > 0) - (c < 0));
}

static void across(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    for (int k = 0; k < 24; k++) {
        y[i * 24 + k] = x[i * 24 + k];
    }
    uint8_t *bytes = (uint8_t *)(y + i * 24) + 8;
    memcpy(bytes + x[i * 24] % 7, bytes, 20 + x[i * 24 + 1] % 40);
}

struct big {
    uint32_t w[24];
};

static struct big twist(struct big b, int k) {
    for (int j = 0; j < 24; j++) {
        b.w[j] = b.w[j] * 3 + (uint32_t)k;
    }
    return b;
}

static void by_value(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    struct big b;
    for (int k = 0; k < 24; k++) {
        b.w[k] = x[i * 24 + k];
    }
    b = twist(twist(b, 1), 2);
    struct big c = b;
    c.w[i % 24]++;
    memcpy(y + i * 24, &c, 96);
}

static void rows(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    uint32_t store[4][8], *row[4];
    for (int r = 0; r < 4; r++) {
        row[r] = store[r ^ 1];
        for (int c = 0; c < 8; c++) {
            row[r][c] = x[i * 8 + c] + (uint32_t)r;
        }
    }
    uint32_t s = 0;
    for (int r = 0; r < 4; r++) {
        for (int c = 0; c < 8; c++) {
            s = s * 31 + store[r][c];
        }
    }
    y[i] = s;
}

int main(void) {
    RUN(moves, 60, 16, 16);
    RUN(copies, 60, 16, 16);
    RUN(compares, 60, 4, 1);
    RUN(across, 60, 24, 24);
    RUN(by_value, 40, 24, 24);
    RUN(rows, 60, 8, 1);
    return finish();
}
