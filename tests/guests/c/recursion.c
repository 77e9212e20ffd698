/* recursion - functions that call themselves and each other: with values that live across the calls, frames of their own, and
 * arrays of those that they share.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "harness.h"

#define KERNEL(name) static void name(IDS, const uint32_t *x, uint32_t xn, uint32_t *y, uint32_t yn)

static uint32_t fibonacci(uint32_t n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

KERNEL(fibonaccis) { y[i] = fibonacci(x[i] % 10) + 1; }

__attribute__((noinline)) static int is_even(uint32_t n, double w, uint64_t z, float q, double *out);

__attribute__((noinline)) static int is_odd(uint32_t n, double w, uint64_t z, float q, double *out) {
    if (n == 0) {
        return 0;
    }
    int r = is_even(n - 1, w * 1.5, z ^ n, q + 1, out);
    *out += w + (double)z * 0.25 + q;
    return r;
}

__attribute__((noinline)) static int is_even(uint32_t n, double w, uint64_t z, float q, double *out) {
    if (n == 0) {
        return 1;
    }
    int r = is_odd(n - 1, w + 2, z * 3 + n, q * 2, out);
    *out += w * (double)(z & 255) - q;
    return r;
}

KERNEL(mutual) {
    double out = 0;
    int even = is_even(x[i] % 13, 1.25, x[i], 0.5f, &out);
    y[i] = (uint32_t)(int64_t)out * 2 + even;
}

static void quicksort(uint32_t *a, int low, int high) {
    while (low < high) {
        uint32_t pivot = a[(low + high) / 2];
        int l = low, h = high;
        while (l <= h) {
            while (a[l] < pivot) {
                l++;
            }
            while (a[h] > pivot) {
                h--;
            }
            if (l <= h) {
                uint32_t t = a[l];
                a[l++] = a[h];
                a[h--] = t;
            }
        }
        if (h - low < high - l) {
            quicksort(a, low, h);
            low = l;
        } else {
            quicksort(a, l, high);
            high = h;
        }
    }
}

KERNEL(quicksorts) {
    for (int k = 0; k < 32; k++) {
        y[i * 32 + k] = x[i * 32 + k] % 1000;
    }
    quicksort(y + i * 32, 0, 31);
}

/* Each activation has an array, and reads and writes that of the one that called it. */
__attribute__((noinline)) static uint32_t split(uint32_t *above, int n, int k, uint32_t mix) {
    uint32_t own[6], sum = mix;
    for (int j = 0; j < 6; j++) {
        own[j] = above[j] * 3 + j + mix;
        above[j] ^= sum << j;
    }
    for (int j = 0; k > 0 && j < n; j++) {
        own[j] += 1;
        sum = sum * 31 + split(own, n, k - 1, sum & 7);
        sum += own[(j + k) % 6];
    }
    for (int j = 0; j < 6; j++) {
        sum = sum * 17 + own[j];
    }
    return sum;
}

KERNEL(frames) {
    uint32_t top[6];
    for (int j = 0; j < 6; j++) {
        top[j] = x[i] >> j;
    }
    y[i] = split(top, 2, 3, x[i] & 15) + top[5];
}

struct node {
    int32_t left, right;
    uint32_t value;
};

static uint32_t walk(const struct node *tree, int32_t at, uint32_t depth) {
    if (at < 0) {
        return depth;
    }
    uint32_t left = walk(tree, tree[at].left, depth + 1), right = walk(tree, tree[at].right, depth + 2);
    return left * 3 + right * 5 + tree[at].value;
}

KERNEL(trees) {
    struct node tree[15];
    for (int k = 0; k < 15; k++) {
        tree[k].left = 2 * k + 1 < 15 ? 2 * k + 1 : -1;
        tree[k].right = 2 * k + 2 < 15 ? 2 * k + 2 : -1;
        tree[k].value = x[i] >> (k % 7);
    }
    y[i] = walk(tree, 0, x[i] & 3);
}

static int solve(int n, int row, uint32_t columns, uint32_t rising, uint32_t falling) {
    if (row == n) {
        return 1;
    }
    int count = 0;
    for (int k = 0; k < n; k++) {
        uint32_t column = 1u << k, r = 1u << (row + k), f = 1u << (row - k + n);
        if (!(columns & column) && !(rising & r) && !(falling & f)) {
            count += solve(n, row + 1, columns | column, rising | r, falling | f);
        }
    }
    return count;
}

KERNEL(queens) { y[i] = (uint32_t)solve((int)(x[i] % 4) + 3, 0, 0, 0, 0); }

static void merge_sort(uint32_t *a, int n) {
    if (n < 2) {
        return;
    }
    uint32_t merged[16];
    int half = n / 2, l = 0, r = half;
    merge_sort(a, half);
    merge_sort(a + half, n - half);
    for (int k = 0; k < n; k++) {
        merged[k] = r >= n || (l < half && a[l] <= a[r]) ? a[l++] : a[r++];
    }
    for (int k = 0; k < n; k++) {
        a[k] = merged[k];
    }
}

KERNEL(merge_sorts) {
    for (int k = 0; k < 16; k++) {
        y[i * 16 + k] = x[i * 16 + k] % 777;
    }
    merge_sort(y + i * 16, 16);
}

/* An expression by recursive descent: its functions call each other, and move on one place in the text. */
__attribute__((noinline)) static uint32_t expression(const uint8_t *text, int *at, int level);

__attribute__((noinline)) static uint32_t term(const uint8_t *text, int *at, int level) {
    uint32_t value;
    if (text[*at % 32] & 1 && level < 5) {
        ++*at;
        value = expression(text, at, level + 1);
    } else {
        value = text[*at % 32] * 3u;
        ++*at;
    }
    while (text[*at % 32] % 5 == 0) {
        ++*at;
        value *= text[*at % 32] + 1u;
    }
    return value;
}

__attribute__((noinline)) static uint32_t expression(const uint8_t *text, int *at, int level) {
    uint32_t value = term(text, at, level);
    while (text[*at % 32] % 3 == 0 && *at < 28) {
        ++*at;
        value += term(text, at, level) ^ (uint32_t)level;
    }
    return value;
}

KERNEL(expressions) {
    uint8_t text[40];
    for (int k = 0; k < 40; k++) {
        text[k] = (uint8_t)(x[(i * 5 + k) % num_iterations] >> 3);
    }
    int at = 0;
    y[i] = expression(text, &at, 0) + (uint32_t)at;
}

int main(void) {
    RUN(fibonaccis, 64, 1, 1);
    RUN(mutual, 64, 1, 1);
    RUN(quicksorts, 32, 32, 32);
    RUN(frames, 64, 1, 1);
    RUN(trees, 64, 1, 1);
    RUN(queens, 32, 1, 1);
    RUN(merge_sorts, 32, 16, 16);
    RUN(expressions, 64, 1, 1);
    return finish();
}
