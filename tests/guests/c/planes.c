/* planes - geometry of the plane and of space: hulls, clipping, rasters, curves that fill a square, a tree of
 * boxes.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "harness.h"
#include <math.h>
#include <stdbool.h>

typedef struct {
    float x, y;
} p2;

static float cross(p2 o, p2 a, p2 b) {
    return (a.x - o.x) * (b.y - o.y) - (a.y - o.y) * (b.x - o.x);
}

static void hull(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    p2 p[10], h[20];
    for (int k = 0; k < 10; k++) {
        p[k] = (p2){unit(x[i * 20 + 2 * k]), unit(x[i * 20 + 2 * k + 1])};
    }
    for (int a = 1; a < 10; a++) {
        for (int b = a; b && (p[b - 1].x > p[b].x || (p[b - 1].x == p[b].x && p[b - 1].y > p[b].y)); b--) {
            p2 t = p[b];
            p[b] = p[b - 1];
            p[b - 1] = t;
        }
    }
    int n = 0;
    for (int k = 0; k < 10; k++) {
        while (n >= 2 && cross(h[n - 2], h[n - 1], p[k]) <= 0) {
            n--;
        }
        h[n++] = p[k];
    }
    for (int k = 8, t = n + 1; k >= 0; k--) {
        while (n >= t && cross(h[n - 2], h[n - 1], p[k]) <= 0) {
            n--;
        }
        h[n++] = p[k];
    }
    float ar = 0;
    for (int k = 0; k + 1 < n; k++) {
        ar += h[k].x * h[k + 1].y - h[k].y * h[k + 1].x;
    }
    y[i * 2] = n;
    put_float(y + i * 2 + 1, ar / 2);
}

static void clip(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    p2 in[12], out[12];
    int n = 3;
    for (int k = 0; k < 3; k++) {
        in[k] = (p2){unit(x[i * 6 + 2 * k]) * 2 - .5f, unit(x[i * 6 + 2 * k + 1]) * 2 - .5f};
    }
    for (int e = 0; e < 4; e++) {
        int m = 0;
        for (int k = 0; k < n; k++) {
            p2 a = in[k], b = in[(k + 1) % n];
            float da = e == 0   ? a.x
                       : e == 1 ? 1 - a.x
                       : e == 2 ? a.y
                                : 1 - a.y,
                  db = e == 0   ? b.x
                       : e == 1 ? 1 - b.x
                       : e == 2 ? b.y
                                : 1 - b.y;
            if (da >= 0) {
                out[m++] = a;
            }
            if ((da >= 0) != (db >= 0)) {
                float t = da / (da - db);
                out[m++] = (p2){a.x + (b.x - a.x) * t, a.y + (b.y - a.y) * t};
            }
        }
        n = m;
        for (int k = 0; k < n; k++) {
            in[k] = out[k];
        }
    }
    float ar = 0;
    for (int k = 0; k < n; k++) {
        ar += in[k].x * in[(k + 1) % n].y - in[k].y * in[(k + 1) % n].x;
    }
    y[i * 2] = n;
    put_float(y + i * 2 + 1, ar / 2);
}

static void raster(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    p2 t[3];
    for (int k = 0; k < 3; k++) {
        t[k] = (p2){unit(x[i * 6 + 2 * k]) * 16, unit(x[i * 6 + 2 * k + 1]) * 16};
    }
    uint16_t rows[16];
    for (int r = 0; r < 16; r++) {
        rows[r] = 0;
        for (int c = 0; c < 16; c++) {
            p2 q = {(float)c + .5f, (float)r + .5f};
            float a = cross(t[0], t[1], q), b = cross(t[1], t[2], q), d = cross(t[2], t[0], q);
            if ((a >= 0 && b >= 0 && d >= 0) || (a <= 0 && b <= 0 && d <= 0)) {
                rows[r] |= (uint16_t)(1 << c);
            }
        }
    }
    memcpy(y + i * 8, rows, 32);
}

static uint32_t spread(uint32_t v) {
    v &= 0xffff;
    v = (v | v << 8) & 0xff00ff;
    v = (v | v << 4) & 0xf0f0f0f;
    v = (v | v << 2) & 0x33333333;
    return (v | v << 1) & 0x55555555;
}

static void curves(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    uint32_t a = x[i] & 0xffff, b = x[i] >> 16, d = 0;
    y[i * 2] = spread(a) | spread(b) << 1;
    for (uint32_t s = 32768; s; s /= 2) {
        uint32_t rx = (a & s) > 0, ry = (b & s) > 0;
        d += s * s * ((3 * rx) ^ ry);
        if (!ry) {
            if (rx) {
                a = s - 1 - a;
                b = s - 1 - b;
            }
            uint32_t t = a;
            a = b;
            b = t;
        }
    }
    y[i * 2 + 1] = d;
}

typedef struct {
    float lo[3], hi[3];
    int left, right;
} node;

static node nodes[127];

static void build(void) {
    uint32_t s = 5;
    for (int k = 126; k >= 0; k--) {
        node *n = &nodes[k];
        if (k >= 63) {
            for (int a = 0; a < 3; a++) {
                n->lo[a] = unit(next_word(&s));
                n->hi[a] = n->lo[a] + 0.15f;
            }
            n->left = -1;
            n->right = k;
        } else {
            node *l = &nodes[2 * k + 1], *r = &nodes[2 * k + 2];
            for (int a = 0; a < 3; a++) {
                n->lo[a] = fminf(l->lo[a], r->lo[a]);
                n->hi[a] = fmaxf(l->hi[a], r->hi[a]);
            }
            n->left = 2 * k + 1;
            n->right = 2 * k + 2;
        }
    }
}

static bool slab(const node *n, const float o[3], const float inv[3], float *t) {
    float t0 = 0, t1 = 1e30f;
    for (int a = 0; a < 3; a++) {
        float u = (n->lo[a] - o[a]) * inv[a], v = (n->hi[a] - o[a]) * inv[a];
        if (u > v) {
            float w = u;
            u = v;
            v = w;
        }
        t0 = u > t0 ? u : t0;
        t1 = v < t1 ? v : t1;
    }
    *t = t0;
    return t0 <= t1;
}

static void bvh(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    float o[3], inv[3];
    for (int a = 0; a < 3; a++) {
        o[a] = unit(x[i * 6 + a]) * 2 - .5f;
        inv[a] = 1 / (unit(x[i * 6 + 3 + a]) - .5f);
    }
    int stack[32], top = 0, visits = 0, hit = -1;
    float best = 1e30f;
    stack[top++] = 0;
    while (top) {
        const node *n = &nodes[stack[--top]];
        float t;
        visits++;
        if (!slab(n, o, inv, &t) || t > best) {
            continue;
        }
        if (n->left < 0) {
            best = t;
            hit = n->right;
        } else {
            stack[top++] = n->left;
            stack[top++] = n->right;
        }
    }
    y[i * 3] = hit;
    y[i * 3 + 1] = visits;
    put_float(y + i * 3 + 2, best);
}

int main(void) {
    build();
    RUN(hull, 40, 20, 2);
    RUN(clip, 40, 6, 2);
    RUN(raster, 40, 6, 8);
    RUN(curves, 60, 1, 2);
    RUN(bvh, 200, 6, 3);
    return finish();
}
