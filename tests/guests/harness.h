/* harness.h - what the guests in C and C++ of this corpus share: arrays that live on both sides, launches, checks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * LAUNCH runs a kernel by parallel_for on the arrays' buffers, then in a plain loop on the arrays themselves, and
 * compares each array that it may write, byte by byte. For each launch it prints one line: the kernel's name and a
 * checksum of those bytes. There is no stdio here, to keep the committed modules small. */
#ifndef HARNESS_H
#define HARNESS_H

#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "wavelift.h"

enum { MAX_ARRAYS = 6, MAX_BYTES = 1 << 16 };

/* The same bytes in the guest's memory and in a buffer. */
struct array {
    void *data;
    uint32_t size;
    wl_access access;
    wl_buffer buffer;
};

/* The first parameters of every kernel. */
#define IDS int32_t i, int32_t num_iterations, int32_t block_size

static int failures;
static wl_device device = -1;

static void put(int file, const char *text) {
    if (write(file, text, strlen(text)) < 0) {
        _exit(3);
    }
}

static void put_hex(int file, uint64_t value) {
    char text[17] = {0};
    for (int digit = 15; digit >= 0; digit--, value >>= 4) {
        text[digit] = "0123456789abcdef"[value & 15];
    }
    put(file, text);
}

/* Says what is wrong with a kernel or a call; the guest will end with status 1. */
static void wrong(const char *name, const char *what, uint64_t value) {
    failures++;
    put(2, name);
    put(2, ": ");
    put(2, what);
    put(2, " 0x");
    put_hex(2, value);
    put(2, "\n");
}

static void expect(const char *name, const char *call, int32_t error) {
    if (error != WL_SUCCESS) {
        wrong(name, call, (uint64_t)error);
        _exit(1);
    }
}

static struct array new_array(void *data, uint32_t size, wl_access access) {
    struct array made = {data, size, access, -1};
    if (device < 0) {
        expect("harness", "get_device returned", wl_get_device(WL_DISCRETE_GPU, &device));
    }
    expect("harness", "create_buffer returned", wl_create_buffer(device, size, access, &made.buffer));
    expect("harness", "write_buffer returned", wl_write_buffer(data, size, made.buffer));
    return made;
}

/* ARRAY(name, access): an array of what is in the C array `name`. */
#define ARRAY(name, access) new_array((void *)(name), sizeof(name), access)

typedef void (*kernel1)(IDS, void *, uint32_t);
typedef void (*kernel2)(IDS, void *, uint32_t, void *, uint32_t);
typedef void (*kernel3)(IDS, void *, uint32_t, void *, uint32_t, void *, uint32_t);
typedef void (*kernel4)(IDS, void *, uint32_t, void *, uint32_t, void *, uint32_t, void *, uint32_t);
typedef void (*kernel5)(IDS, void *, uint32_t, void *, uint32_t, void *, uint32_t, void *, uint32_t, void *, uint32_t);
typedef void (*kernel6)(IDS, void *, uint32_t, void *, uint32_t, void *, uint32_t, void *, uint32_t, void *, uint32_t,
                        void *, uint32_t);

static void run_serially(const char *name, wl_kernel kernel, int32_t n, int32_t block, struct array **a, uint32_t count) {
    for (int32_t i = 0; i < n; i++) {
#define A(k) a[k]->data, a[k]->size
        switch (count) {
        case 1: ((kernel1)kernel)(i, n, block, A(0)); break;
        case 2: ((kernel2)kernel)(i, n, block, A(0), A(1)); break;
        case 3: ((kernel3)kernel)(i, n, block, A(0), A(1), A(2)); break;
        case 4: ((kernel4)kernel)(i, n, block, A(0), A(1), A(2), A(3)); break;
        case 5: ((kernel5)kernel)(i, n, block, A(0), A(1), A(2), A(3), A(4)); break;
        case 6: ((kernel6)kernel)(i, n, block, A(0), A(1), A(2), A(3), A(4), A(5)); break;
        default: wrong(name, "too many arrays:", count); return;
        }
#undef A
    }
}

static uint64_t add_to_checksum(uint64_t sum, const uint8_t *bytes, uint32_t size) {
    for (uint32_t i = 0; i < size; i++) {
        sum = (sum ^ bytes[i]) * 0x100000001b3u;
    }
    return sum;
}

/* Compares what the launch wrote, and prints the kernel's line. */
static void compare(const char *name, struct array **arrays, uint32_t count) {
    static uint8_t got[MAX_BYTES];
    uint64_t sum = 0xcbf29ce484222325u;
    for (uint32_t k = 0; k < count; k++) {
        struct array *a = arrays[k];
        const uint8_t *expected = (const uint8_t *)a->data;
        if (a->access == WL_READ) {
            continue;
        }
        if (a->size > sizeof got) {
            wrong(name, "too large an array:", a->size);
            continue;
        }
        expect(name, "read_buffer returned", wl_read_buffer(a->buffer, got, a->size));
        sum = add_to_checksum(sum, got, a->size);
        for (uint32_t at = 0; at < a->size; at++) {
            if (got[at] != expected[at]) {
                wrong(name, "the first wrong byte of an array is at", at);
                break;
            }
        }
    }
    put(1, name);
    put(1, " ");
    put_hex(1, sum);
    put(1, "\n");
}

static void launch(const char *name, wl_kernel kernel, uint32_t n, uint32_t block, uint32_t inputs, struct array **arrays,
                   uint32_t count) {
    wl_buffer list[MAX_ARRAYS];
    for (uint32_t k = 0; k < count; k++) {
        list[k] = arrays[k]->buffer;
    }
    expect(name, "parallel_for returned",
           wl_parallel_for(kernel, n, block, list, inputs, list + inputs, count - inputs));
    run_serially(name, kernel, (int32_t)n, (int32_t)block, arrays, count);
    compare(name, arrays, count);
}

/* LAUNCH(kernel, num_iterations, block_size, input_count, &array...) */
#define LAUNCH(kernel, n, block, inputs, ...)                                                            \
    do {                                                                                                 \
        struct array *arrays_[] = {__VA_ARGS__};                                                         \
        launch(#kernel, (wl_kernel)(kernel), n, block, inputs, arrays_, sizeof arrays_ / sizeof *arrays_); \
    } while (0)

/* RUN(kernel, n, inputs, outputs): n iterations over random words, so many of input and of output for each. */
#define RUN(kernel, n, inputs, outputs)                                                       \
    do {                                                                                      \
        static uint32_t x_[(n) * (inputs)], y_[(n) * (outputs)];                              \
        random_words(x_, (n) * (inputs), (n) + 77u * (inputs));                                 \
        random_words(y_, (n) * (outputs), 5);                                                   \
        struct array x_array_ = ARRAY(x_, WL_READ), y_array_ = ARRAY(y_, WL_READ_WRITE);      \
        LAUNCH(kernel, n, 64, 1, &x_array_, &y_array_);                                       \
    } while (0)

/* The guest's exit status. */
static int finish(void) { return failures != 0; }

/* Numbers that are the same everywhere, for test data. */
static uint32_t next_word(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8 ^ *state << 9;
}

/* A number in [low, high). */
static inline float next_float(uint32_t *state, float low, float high) {
    return low + (high - low) * ((float)(next_word(state) >> 8) * (1.0f / 16777216.0f));
}

static inline void fill_floats(float *to, uint32_t count, uint32_t seed, float low, float high) {
    for (uint32_t i = 0; i < count; i++) {
        to[i] = next_float(&seed, low, high);
    }
}

static inline void random_words(uint32_t *to, uint32_t count, uint32_t seed) {
    for (uint32_t i = 0; i < count; i++) {
        to[i] = next_word(&seed);
    }
}

/* A word as a number in [0, 1). */
static inline float unit(uint32_t word) { return (float)(word >> 8) * (1.0f / 16777216.0f); }

/* A number's bits, of which those of NaNs are left open. */
static inline void put_float(uint32_t *to, float number) {
    number = number != number ? 12345.0f : number;
    memcpy(to, &number, sizeof number);
}

static inline void fill_bytes(uint8_t *to, uint32_t count, uint32_t seed) {
    for (uint32_t i = 0; i < count; i++) {
        to[i] = (uint8_t)(next_word(&seed) >> 12);
    }
}

#endif
