/* sorts - sorts of arrays in the frame: by insertion, with a stack of ranges, by merging, in a heap, of a
 * linked list, by digits.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "harness.h"

static void insertion(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    uint32_t a[16];
    for (int k = 0; k < 16; k++) {
        uint32_t v = x[i * 16 + k];
        int j = k;
        for (; j && a[j - 1] > v; j--) {
            a[j] = a[j - 1];
        }
        a[j] = v;
    }
    memcpy(y + i * 16, a, 64);
}

static void quick(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    uint32_t a[32];

    struct {
        int lo, hi;
    } st[32];

    int top = 0;
    memcpy(a, x + i * 32, 128);
    st[top].lo = 0;
    st[top++].hi = 31;
    while (top) {
        int lo = st[--top].lo, hi = st[top].hi;
        if (lo >= hi) {
            continue;
        }
        uint32_t p = a[(lo + hi) / 2];
        int l = lo, r = hi;
        while (l <= r) {
            while (a[l] < p) {
                l++;
            }
            while (a[r] > p) {
                r--;
            }
            if (l <= r) {
                uint32_t t = a[l];
                a[l++] = a[r];
                a[r--] = t;
            }
        }
        st[top].lo = lo;
        st[top++].hi = r;
        st[top].lo = l;
        st[top++].hi = hi;
    }
    memcpy(y + i * 32, a, 128);
}

static void merge(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    uint32_t a[32], b[32], *s = a, *d = b;
    memcpy(a, x + i * 32, 128);
    for (int w = 1; w < 32; w *= 2) {
        for (int lo = 0; lo < 32; lo += 2 * w) {
            int l = lo, r = lo + w, le = lo + w, re = lo + 2 * w;
            for (int k = lo; k < re; k++) {
                d[k] = l < le && (r >= re || s[l] <= s[r]) ? s[l++] : s[r++];
            }
        }
        uint32_t *t = s;
        s = d;
        d = t;
    }
    memcpy(y + i * 32, s, 128);
}

static void heap_top(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y,
                     uint32_t y_size) { /* the 8 least of 40 by a binary heap */
    uint32_t h[40];
    int n = 40;
    for (int k = 0; k < n; k++) {
        int c = k;
        h[k] = x[i * 40 + k];
        while (c && h[(c - 1) / 2] > h[c]) {
            uint32_t t = h[c];
            h[c] = h[(c - 1) / 2];
            h[(c - 1) / 2] = t;
            c = (c - 1) / 2;
        }
    }
    for (int k = 0; k < 8; k++) {
        y[i * 8 + k] = h[0];
        h[0] = h[--n];
        int c = 0;
        for (;;) {
            int l = 2 * c + 1;
            if (l >= n) {
                break;
            }
            if (l + 1 < n && h[l + 1] < h[l]) {
                l++;
            }
            if (h[c] <= h[l]) {
                break;
            }
            uint32_t t = h[c];
            h[c] = h[l];
            h[l] = t;
            c = l;
        }
    }
}

struct item {
    struct item *next;
    uint32_t value;
};

static void list_sort(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y,
                      uint32_t y_size) { /* insertion into a linked list in the frame, by pointers */
    struct item items[16], *head = 0;
    for (int k = 0; k < 16; k++) {
        struct item **p = &head;
        items[k].value = x[i * 16 + k];
        while (*p && (*p)->value < items[k].value) {
            p = &(*p)->next;
        }
        items[k].next = *p;
        *p = &items[k];
    }
    int k = 0;
    for (struct item *p = head; p; p = p->next) {
        y[i * 16 + k++] = p->value;
    }
}

static void bitonic(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    uint32_t a[16];
    memcpy(a, x + i * 16, 64);
    for (int k = 2; k <= 16; k *= 2) {
        for (int j = k / 2; j; j /= 2) {
            for (int p = 0; p < 16; p++) {
                int q = p ^ j;
                if (q > p && (a[p] > a[q]) == !(p & k)) {
                    uint32_t t = a[p];
                    a[p] = a[q];
                    a[q] = t;
                }
            }
        }
    }
    memcpy(y + i * 16, a, 64);
}

static void radix(IDS, const uint32_t *x, uint32_t x_size, uint32_t *y, uint32_t y_size) {
    uint32_t a[32], b[32];
    memcpy(a, x + i * 32, 128);
    for (int sh = 0; sh < 32; sh += 8) {
        uint16_t c[257] = {0};
        for (int k = 0; k < 32; k++) {
            c[(a[k] >> sh & 255) + 1]++;
        }
        for (int k = 0; k < 256; k++) {
            c[k + 1] = (uint16_t)(c[k + 1] + c[k]);
        }
        for (int k = 0; k < 32; k++) {
            b[c[a[k] >> sh & 255]++] = a[k];
        }
        memcpy(a, b, 128);
    }
    memcpy(y + i * 32, a, 128);
}

int main(void) {
    RUN(insertion, 60, 16, 16);
    RUN(quick, 40, 32, 32);
    RUN(merge, 40, 32, 32);
    RUN(heap_top, 60, 40, 8);
    RUN(list_sort, 60, 16, 16);
    RUN(bitonic, 60, 16, 16);
    RUN(radix, 20, 32, 32);
    return finish();
}
