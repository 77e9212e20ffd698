/* codec - decoders and encoders with tables and buffers of their own: LZ4, Huffman codes, packed bits,
 * base64, the cosine transform of JPEG.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "harness.h"
#include <math.h>

static const uint8_t Q[64] = {16, 11, 10, 16, 24,  40,  51,  61,  12, 12, 14, 19, 26,  58,  60,  55,
                              14, 13, 16, 24, 40,  57,  69,  56,  14, 17, 22, 29, 51,  87,  80,  62,
                              18, 22, 37, 56, 68,  109, 103, 77,  24, 35, 55, 64, 81,  104, 113, 92,
                              49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99};
static const uint8_t zz[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,
                               12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
                               35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
                               58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};
static float cosines[8][8];

static void dct(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    float b[8][8], t[8][8];
    const uint8_t *p = (const uint8_t *)(x + i * 16);
    for (int r = 0; r < 8; r++) {
        for (int c = 0; c < 8; c++) {
            b[r][c] = (float)p[r * 8 + c] - 128;
        }
    }
    for (int r = 0; r < 8; r++) {
        for (int u = 0; u < 8; u++) {
            float s = 0;
            for (int c = 0; c < 8; c++) {
                s += b[r][c] * cosines[u][c];
            }
            t[r][u] = s;
        }
    }
    for (int c = 0; c < 8; c++) {
        for (int u = 0; u < 8; u++) {
            float s = 0;
            for (int r = 0; r < 8; r++) {
                s += t[r][c] * cosines[u][r];
            }
            b[u][c] = s;
        }
    }
    int16_t *o = (int16_t *)(y + i * 32);
    for (int k = 0; k < 64; k++) {
        int z = zz[k];
        o[k] = (int16_t)lrintf(b[z / 8][z % 8] / Q[z]);
    }
}

static void idct1(int *v, int st) {
    int a = v[0] + v[4 * st], b = v[0] - v[4 * st], c = v[2 * st] - (v[6 * st] >> 1),
        d = (v[2 * st] >> 1) + v[6 * st];
    int e = a + d, f = b + c, g = b - c, h = a - d;
    int o1 = v[st] + (v[3 * st] >> 1), o3 = v[3 * st] - (v[5 * st] >> 2), o5 = v[5 * st] + (v[7 * st] >> 1),
        o7 = v[7 * st] - (v[st] >> 2);
    v[0] = e + o1;
    v[7 * st] = e - o1;
    v[st] = f + o3;
    v[6 * st] = f - o3;
    v[2 * st] = g + o5;
    v[5 * st] = g - o5;
    v[3 * st] = h + o7;
    v[4 * st] = h - o7;
}

static void idct_int(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    int v[64];
    for (int k = 0; k < 64; k++) {
        v[zz[k]] = (int)(int8_t)(x[i * 16 + k / 4] >> k % 4 * 8) * (k < 12);
    }
    for (int k = 0; k < 8; k++) {
        idct1(v + 8 * k, 1);
    }
    for (int k = 0; k < 8; k++) {
        idct1(v + k, 8);
    }
    uint8_t *o = (uint8_t *)(y + i * 16);
    for (int k = 0; k < 64; k++) {
        int q = (v[k] >> 6) + 128;
        o[k] = (uint8_t)(q < 0 ? 0 : q > 255 ? 255 : q);
    }
}

static void lz4(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y,
                uint32_t y_size) { /* random bytes are a valid-enough stream: bounds are checked by hand */
    const uint8_t *in = (const uint8_t *)(x + i * 16), *end = in + 64;
    uint8_t out[128];
    uint32_t o = 0;
    memset(out, 0, sizeof out);
    while (in < end && o < 120) {
        uint32_t t = *in++, lit = t >> 4;
        if (lit == 15) {
            uint8_t b;
            do {
                if (in >= end) {
                    goto done;
                }
                b = *in++;
                lit += b;
            } while (b == 255);
        }
        if (lit > (uint32_t)(end - in)) {
            lit = (uint32_t)(end - in);
        }
        if (lit > 128 - o) {
            lit = 128 - o;
        }
        memcpy(out + o, in, lit);
        o += lit;
        in += lit;
        if (end - in < 2) {
            break;
        }
        uint32_t off = (in[0] | in[1] << 8) % (o ? o : 1) + 1;
        in += 2;
        uint32_t len = (t & 15) + 4;
        if (off > o) {
            break;
        }
        while (len-- && o < 128) {
            out[o] = out[o - off];
            o++;
        }
    }
done:
    memcpy(y + i * 33, out, 128);
    y[i * 33 + 32] = o;
}

static uint16_t code[32];

static void huffman(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y,
                    uint32_t y_size) { /* 5-bit lookup: symbol << 4 | length */
    const uint8_t *in = (const uint8_t *)(x + i * 8);
    uint32_t acc = 0, n = 0, at = 0;
    uint8_t *out = (uint8_t *)(y + i * 8);
    for (int k = 0; k < 32; k++) {
        while (n < 5) {
            acc |= (uint32_t)in[at++ % 32] << n;
            n += 8;
        }
        uint32_t e = code[acc & 31];
        out[k] = (uint8_t)(e >> 4);
        acc >>= e & 15;
        n -= e & 15;
    }
}

static void bitpack(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    uint32_t bits = 1 + i % 31, words[32];
    memset(words, 0, sizeof words);
    uint32_t at = 0;
    for (int k = 0; k < 32; k++) {
        uint64_t v = (uint64_t)(x[i * 32 + k] & ((1u << bits) - 1)) << (at & 31);
        words[at >> 5] |= (uint32_t)v;
        if ((at & 31) + bits > 32) {
            words[(at >> 5) + 1] |= (uint32_t)(v >> 32);
        }
        at += bits;
    }
    memcpy(y + i * 32, words, 128);
}

static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void base64(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    const uint8_t *p = (const uint8_t *)(x + i * 6);
    char *o = (char *)(y + i * 8);
    for (int k = 0; k < 8; k++, p += 3, o += 4) {
        uint32_t v = p[0] << 16 | p[1] << 8 | p[2];
        o[0] = b64[v >> 18];
        o[1] = b64[v >> 12 & 63];
        o[2] = b64[v >> 6 & 63];
        o[3] = b64[v & 63];
    }
}

static void unbase64(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    const uint8_t *p = (const uint8_t *)(x + i * 8);
    uint8_t *o = (uint8_t *)(y + i * 6);
    for (int k = 0; k < 8; k++) {
        uint32_t v = 0;
        for (int q = 0; q < 4; q++) {
            uint8_t c = p[k * 4 + q] & 127;
            int d = c >= 'A' && c <= 'Z'   ? c - 'A'
                    : c >= 'a' && c <= 'z' ? c - 'a' + 26
                    : c >= '0' && c <= '9' ? c - '0' + 52
                    : c == '+'             ? 62
                    : c == '/'             ? 63
                                           : 0;
            v = v << 6 | (uint32_t)d;
        }
        o[k * 3] = (uint8_t)(v >> 16);
        o[k * 3 + 1] = (uint8_t)(v >> 8);
        o[k * 3 + 2] = (uint8_t)v;
    }
}

int main(void) {
    for (int u = 0; u < 8; u++) {
        for (int c = 0; c < 8; c++) {
            cosines[u][c] = (u ? 0.5f : 0.35355339f) * cosf((float)((2 * c + 1) * u) * 0.19634954f);
        }
    }
    for (int k = 0; k < 32; k++) {
        code[k] = (uint16_t)((k & 1) == 0    ? 'a' << 4 | 1
                             : (k & 3) == 1  ? 'b' << 4 | 2
                             : (k & 7) == 3  ? 'c' << 4 | 3
                             : (k & 15) == 7 ? 'd' << 4 | 4
                                             : ('e' + (k >> 4)) << 4 | 5);
    }
    RUN(dct, 60, 16, 32);
    RUN(idct_int, 60, 16, 16);
    RUN(lz4, 60, 16, 33);
    RUN(huffman, 60, 8, 8);
    RUN(bitpack, 62, 32, 32);
    RUN(base64, 60, 6, 8);
    RUN(unbase64, 60, 8, 6);
    return finish();
}
