/* lanes - kernels for four lanes: two loops that compilers vectorise, and n-body, Sobel's edges on RGBA, a tile of a
 * matrix product, and xxHash32 with clang's vector intrinsics.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Built with -msimd128 and without: the scalar twin does the same in the same order. Sizes come from the buffers. */
#ifdef __wasm_simd128__
#include <wasm_simd128.h>
#endif

#include "harness.h"

enum { LENGTH = 1536, BLOCK = 48, BODIES = 64, EDGES_WIDTH = 42, EDGES_HEIGHT = 20, N = 40, ROWS = 64, ROW_BYTES = 112 };

/* Each invocation takes block_size elements. */
static void saxpy(IDS, const float *restrict x, uint32_t x_size, float *restrict y, uint32_t y_size) {
    const float *from = x + (uint32_t)i * (uint32_t)block_size;
    float *to = y + (uint32_t)i * (uint32_t)block_size;
    for (int32_t k = 0; k < block_size; k++) {
        to[k] = 2.5f * from[k] + to[k];
    }
}

static void nstream(IDS, const float *restrict b, uint32_t b_size, const float *restrict c, uint32_t c_size,
                    float *restrict a, uint32_t a_size) {
    uint32_t first = (uint32_t)i * (uint32_t)block_size;
    for (uint32_t k = first; k < first + (uint32_t)block_size; k++) {
        a[k] += b[k] + 3.0f * c[k];
    }
}

struct nbody_params {
    float dt, softening;
};

/* Four bodies at once. A set of bodies is all x, all y, all z, then all masses or nothing. */
static void nbody(IDS, const struct nbody_params *params, uint32_t params_size, const float *from, uint32_t from_size,
                  float *velocity, uint32_t velocity_size, float *to, uint32_t to_size) {
    uint32_t count = from_size / 16, me = 4 * (uint32_t)i;
    const float *x = from, *y = from + count, *z = from + 2 * count, *mass = from + 3 * count;
#ifdef __wasm_simd128__
    v128_t my_x = *(const v128_t *)(x + me), my_y = *(const v128_t *)(y + me), my_z = *(const v128_t *)(z + me);
    v128_t ax = wasm_f32x4_splat(0), ay = ax, az = ax, softening = wasm_f32x4_splat(params->softening);
    for (uint32_t j = 0; j < count; j++) {
        v128_t dx = wasm_f32x4_sub(wasm_f32x4_splat(x[j]), my_x), dy = wasm_f32x4_sub(wasm_f32x4_splat(y[j]), my_y),
               dz = wasm_f32x4_sub(wasm_f32x4_splat(z[j]), my_z);
        v128_t square = wasm_f32x4_add(wasm_f32x4_mul(dx, dx), wasm_f32x4_mul(dy, dy));
        square = wasm_f32x4_add(wasm_f32x4_add(square, wasm_f32x4_mul(dz, dz)), softening);
        v128_t inverse = wasm_f32x4_div(wasm_f32x4_splat(1), wasm_f32x4_sqrt(square));
        v128_t pull = wasm_f32x4_mul(wasm_f32x4_mul(wasm_f32x4_splat(mass[j]), inverse), wasm_f32x4_mul(inverse, inverse));
        ax = wasm_f32x4_add(ax, wasm_f32x4_mul(pull, dx));
        ay = wasm_f32x4_add(ay, wasm_f32x4_mul(pull, dy));
        az = wasm_f32x4_add(az, wasm_f32x4_mul(pull, dz));
    }
    v128_t dt = wasm_f32x4_splat(params->dt), sums[3] = {ax, ay, az}, mine[3] = {my_x, my_y, my_z};
    for (uint32_t axis = 0; axis < 3; axis++) {
        v128_t *v = (v128_t *)(velocity + axis * count + me);
        *v = wasm_f32x4_add(*v, wasm_f32x4_mul(sums[axis], dt));
        *(v128_t *)(to + axis * count + me) = wasm_f32x4_add(mine[axis], wasm_f32x4_mul(*v, dt));
    }
    *(v128_t *)(to + 3 * count + me) = *(const v128_t *)(mass + me);
#else
    for (uint32_t body = me; body < me + 4; body++) {
        float sums[3] = {0, 0, 0};
        for (uint32_t j = 0; j < count; j++) {
            float dx = x[j] - x[body], dy = y[j] - y[body], dz = z[j] - z[body];
            float inverse = 1 / __builtin_sqrtf(dx * dx + dy * dy + dz * dz + params->softening);
            float pull = mass[j] * inverse * (inverse * inverse);
            sums[0] += pull * dx;
            sums[1] += pull * dy;
            sums[2] += pull * dz;
        }
        for (uint32_t axis = 0; axis < 3; axis++) {
            float *v = velocity + axis * count + body;
            *v += sums[axis] * params->dt;
            to[axis * count + body] = from[axis * count + body] + *v * params->dt;
        }
        to[3 * count + body] = mass[body];
    }
#endif
}

struct size {
    uint32_t width, height;
};

#ifdef __wasm_simd128__
/* Sobel's sum of magnitudes of eight bytes, the lower or the upper half of each vector: rows above, here and below, each
 * with the pixel to the left, here, and to the right. */
#define HALF(half, v) wasm_u16x8_extend_##half##_u8x16(v)
#define EDGES(half, p) \
    edges(HALF(half, p[0][0]), HALF(half, p[0][1]), HALF(half, p[0][2]), HALF(half, p[1][0]), HALF(half, p[1][2]), \
          HALF(half, p[2][0]), HALF(half, p[2][1]), HALF(half, p[2][2]))

static inline v128_t edges(v128_t nw, v128_t n, v128_t ne, v128_t w, v128_t e, v128_t sw, v128_t s, v128_t se) {
    v128_t across = wasm_i16x8_add(wasm_i16x8_sub(ne, nw), wasm_i16x8_sub(se, sw));
    across = wasm_i16x8_add(across, wasm_i16x8_shl(wasm_i16x8_sub(e, w), 1));
    v128_t down = wasm_i16x8_add(wasm_i16x8_sub(sw, nw), wasm_i16x8_sub(se, ne));
    down = wasm_i16x8_add(down, wasm_i16x8_shl(wasm_i16x8_sub(s, n), 1));
    return wasm_i16x8_add(wasm_i16x8_abs(across), wasm_i16x8_abs(down));
}
#else
static int magnitude(int value) { return value < 0 ? -value : value; }
#endif

/* Four pixels of four bytes in an invocation; the alpha channel is copied. The image's border is left alone, so that
 * no pixel has a missing neighbour: its width is a multiple of four, and two. */
static void sobel(IDS, const struct size *size, uint32_t size_size, const uint8_t *from, uint32_t from_size, uint8_t *to,
                  uint32_t to_size) {
    uint32_t parts = (size->width - 2) / 4, row = 4 * size->width;
    uint32_t at = ((uint32_t)i / parts + 1) * row + ((uint32_t)i % parts * 4 + 1) * 4;
#ifdef __wasm_simd128__
    v128_t pixels[3][3];
    for (uint32_t y = 0; y < 3; y++) {
        for (uint32_t x = 0; x < 3; x++) {
            pixels[y][x] = wasm_v128_load(from + at + y * row + x * 4 - row - 4);
        }
    }
    v128_t colours = wasm_u8x16_narrow_i16x8(EDGES(low, pixels), EDGES(high, pixels));
    wasm_v128_store(to + at, wasm_v128_bitselect(pixels[1][1], colours, wasm_u32x4_const_splat(0xff000000)));
#else
    for (uint32_t b = 0; b < 16; b++) {
        const uint8_t *here = from + at + b, *above = here - row, *below = here + row;
        int across = above[4] - above[-4] + (below[4] - below[-4]) + 2 * (here[4] - here[-4]);
        int down = below[-4] - above[-4] + (below[4] - above[4]) + 2 * (below[0] - above[0]);
        int sum = magnitude(across) + magnitude(down);
        to[at + b] = (uint8_t)(b % 4 == 3 ? here[0] : sum > 255 ? 255 : sum);
    }
#endif
}

/* A tile of four rows and eight columns in registers; a, b and c are square. */
static void gemm(IDS, const uint32_t *size, uint32_t size_size, const float *a, uint32_t a_size, const float *b,
                 uint32_t b_size, float *c, uint32_t c_size) {
    uint32_t n = *size, row = (uint32_t)i / (n / 8) * 4, column = (uint32_t)i % (n / 8) * 8;
#ifdef __wasm_simd128__
    v128_t sums[4][2];
    for (uint32_t y = 0; y < 4; y++) {
        sums[y][0] = sums[y][1] = wasm_f32x4_splat(0);
    }
    for (uint32_t k = 0; k < n; k++) {
        const v128_t *right = (const v128_t *)(b + k * n + column);
        for (uint32_t y = 0; y < 4; y++) {
            v128_t left = wasm_f32x4_splat(a[(row + y) * n + k]);
            sums[y][0] = wasm_f32x4_add(sums[y][0], wasm_f32x4_mul(left, right[0]));
            sums[y][1] = wasm_f32x4_add(sums[y][1], wasm_f32x4_mul(left, right[1]));
        }
    }
    for (uint32_t y = 0; y < 4; y++) {
        v128_t *out = (v128_t *)(c + (row + y) * n + column);
        out[0] = sums[y][0];
        out[1] = sums[y][1];
    }
#else
    float sums[4][8] = {{0}};
    for (uint32_t k = 0; k < n; k++) {
        for (uint32_t y = 0; y < 4; y++) {
            for (uint32_t x = 0; x < 8; x++) {
                sums[y][x] += a[(row + y) * n + k] * b[k * n + column + x];
            }
        }
    }
    for (uint32_t y = 0; y < 4; y++) {
        for (uint32_t x = 0; x < 8; x++) {
            c[(row + y) * n + column + x] = sums[y][x];
        }
    }
#endif
}

static const uint32_t PRIME1 = 2654435761u, PRIME2 = 2246822519u, PRIME3 = 3266489917u;

static uint32_t rotated(uint32_t value, int bits) { return value << bits | value >> (32 - bits); }

/* xxHash32 of a row of the data, seed 0; rows are multiples of 16 bytes. Its four sums are the lanes. */
static void xxhash32(IDS, const uint8_t *data, uint32_t data_size, uint32_t *hashes, uint32_t hashes_size) {
    uint32_t length = data_size / (hashes_size / 4);
    const uint8_t *row = data + (uint32_t)i * length;
    uint32_t lanes[4] = {PRIME1 + PRIME2, PRIME2, 0, 0 - PRIME1};
#ifdef __wasm_simd128__
    v128_t sums = wasm_v128_load(lanes), first = wasm_u32x4_splat(PRIME1), second = wasm_u32x4_splat(PRIME2);
    for (uint32_t at = 0; at < length; at += 16) {
        v128_t sum = wasm_i32x4_add(sums, wasm_i32x4_mul(wasm_v128_load(row + at), second));
        sums = wasm_i32x4_mul(wasm_v128_or(wasm_i32x4_shl(sum, 13), wasm_u32x4_shr(sum, 19)), first);
    }
    wasm_v128_store(lanes, sums);
#else
    for (uint32_t at = 0; at < length; at += 16) {
        for (uint32_t lane = 0; lane < 4; lane++) {
            uint32_t word;
            memcpy(&word, row + at + 4 * lane, sizeof word);
            lanes[lane] = rotated(lanes[lane] + word * PRIME2, 13) * PRIME1;
        }
    }
#endif
    uint32_t hash = rotated(lanes[0], 1) + rotated(lanes[1], 7) + rotated(lanes[2], 12) + rotated(lanes[3], 18) + length;
    hash = (hash ^ hash >> 15) * PRIME2;
    hash = (hash ^ hash >> 13) * PRIME3;
    hashes[i] = hash ^ hash >> 16;
}

static void streams(void) {
    static float x[LENGTH], y[LENGTH], a[LENGTH];
    fill_floats(x, LENGTH, 1, -1, 1);
    fill_floats(y, LENGTH, 2, -1, 1);
    fill_floats(a, LENGTH, 3, -1, 1);
    struct array x_array = ARRAY(x, WL_READ), y_array = ARRAY(y, WL_READ_WRITE), a_array = ARRAY(a, WL_READ_WRITE);
    LAUNCH(saxpy, LENGTH / BLOCK, BLOCK, 1, &x_array, &y_array);
    /* Blocks that are no multiple of four. */
    LAUNCH(nstream, 30, 51, 2, &x_array, &y_array, &a_array);
}

static void bodies(void) {
    static struct nbody_params params = {0.01f, 0.001f};
    static _Alignas(16) float from[4 * BODIES], velocity[3 * BODIES], to[4 * BODIES];
    fill_floats(from, 4 * BODIES, 4, -1, 1);
    fill_floats(velocity, 3 * BODIES, 5, -0.1f, 0.1f);
    struct array params_array = new_array(&params, sizeof params, WL_READ), from_array = ARRAY(from, WL_READ),
                 velocity_array = ARRAY(velocity, WL_READ_WRITE), to_array = ARRAY(to, WL_WRITE);
    LAUNCH(nbody, BODIES / 4, 16, 2, &params_array, &from_array, &velocity_array, &to_array);
}

static void picture(void) {
    static struct size size = {EDGES_WIDTH, EDGES_HEIGHT};
    static uint8_t from[4 * EDGES_WIDTH * EDGES_HEIGHT], to[4 * EDGES_WIDTH * EDGES_HEIGHT];
    fill_bytes(from, sizeof from, 6);
    for (uint32_t b = 0; b < sizeof from; b++) {
        from[b] /= b / 4 % EDGES_WIDTH < EDGES_WIDTH / 2 ? 8 : 1; /* in the left half, few sums saturate */
    }
    struct array size_array = new_array(&size, sizeof size, WL_READ), from_array = ARRAY(from, WL_READ),
                 to_array = ARRAY(to, WL_WRITE);
    LAUNCH(sobel, (EDGES_WIDTH - 2) / 4 * (EDGES_HEIGHT - 2), 32, 2, &size_array, &from_array, &to_array);
}

static void product(void) {
    static uint32_t size = N;
    static _Alignas(16) float a[N * N], b[N * N], c[N * N];
    fill_floats(a, N * N, 7, -1, 1);
    fill_floats(b, N * N, 8, -1, 1);
    struct array size_array = new_array(&size, sizeof size, WL_READ), a_array = ARRAY(a, WL_READ),
                 b_array = ARRAY(b, WL_READ), c_array = ARRAY(c, WL_WRITE);
    LAUNCH(gemm, N / 4 * (N / 8), 32, 3, &size_array, &a_array, &b_array, &c_array);
}

static void hashes(void) {
    static uint8_t data[ROWS * ROW_BYTES];
    static uint32_t of_rows[ROWS];
    fill_bytes(data, sizeof data, 9);
    struct array data_array = ARRAY(data, WL_READ), rows_array = ARRAY(of_rows, WL_WRITE);
    LAUNCH(xxhash32, ROWS, 32, 1, &data_array, &rows_array);
}

int main(void) {
    streams();
    bodies();
    picture();
    product();
    hashes();
    return finish();
}
