/* wavelift.h - the guest's side of Wavelift: run a C function in parallel on whatever device the host has.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A kernel is an ordinary function without a result. It gets its iteration's number, the number of iterations, the
 * block size, and then one pointer and one length in bytes for each buffer, inputs first:
 *
 *     static void saxpy(int32_t iteration_id, int32_t num_iterations, int32_t block_size,
 *                       const float *x, uint32_t x_bytes, float *y, uint32_t y_bytes) {
 *         uint32_t i = iteration_id;
 *         y[i] = 2.0f * x[i] + y[i];
 *     }
 *
 * A buffer lives on a device. Its pointer means something in a kernel only; the guest reaches the contents with
 * wl_write_buffer and wl_read_buffer.
 *
 * Compiled for WebAssembly, the functions below are imports of the module `wasi_ephemeral_parallel`. Compiled for
 * anything else, `native.c` implements them with OpenMP, so that one source gives a guest and its native twin.
 */
#ifndef WAVELIFT_H
#define WAVELIFT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What every function returns. */
typedef enum wl_error {
    WL_SUCCESS = 0,
    WL_BAD_HANDLE = 1,    /* unknown or freed device or buffer */
    WL_BAD_DEVICE = 2,    /* buffers of another device than the launch's */
    WL_OUT_OF_BOUNDS = 3, /* a length beyond a buffer's size */
    WL_OUT_OF_MEMORY = 4, /* device memory, address space or a quota is used up */
    WL_BAD_KERNEL = 5,    /* no such function, one of a type that does not fit the buffers, or no kernel's module */
    WL_UNSUPPORTED = 6,   /* the embedder forbade the fallback that this launch needs */
    WL_DEVICE_LOST = 7    /* the device went away, and the buffers on it */
} wl_error;

/* What kernels may do with a buffer. A store to a WL_READ buffer traps; a WL_WRITE buffer may be loaded, too. */
typedef enum wl_access { WL_READ = 0, WL_WRITE = 1, WL_READ_WRITE = 2 } wl_access;

/* The kind of device wished for. Where there is none, the host gives the next best; its user can override the wish.
 * A guest that calls wl_parallel_exec numbers the kinds otherwise: it defines WL_PARALLEL_EXEC in each of its source files
 * before it includes this header. No other guest may define it, for the host goes by what a module imports. */
#ifdef WL_PARALLEL_EXEC
typedef enum wl_device_hint {
    WL_SEQUENTIAL = 0, /* in order, on one thread */
    WL_CPU = 1,
    WL_DISCRETE_GPU = 2,
    WL_INTEGRATED_GPU = 3
} wl_device_hint;
#else
typedef enum wl_device_hint {
    WL_CPU = 0,
    WL_DISCRETE_GPU = 1,
    WL_INTEGRATED_GPU = 2,
    WL_SEQUENTIAL = 3 /* in order, on one thread */
} wl_device_hint;
#endif

/* Handles. */
typedef int32_t wl_device;
typedef int32_t wl_buffer;

/* Any kernel. Cast the function to this type; in WebAssembly its value is the function's index in the table. */
typedef void (*wl_kernel)(void);

#ifdef __wasm__
#define WL_IMPORT(name) __attribute__((import_module("wasi_ephemeral_parallel"), import_name(name)))
#else
#define WL_IMPORT(name)
#endif

/* Stores in *device a device of the hinted kind, or the next best. */
WL_IMPORT("get_device")
int32_t wl_get_device(int32_t hint, wl_device *device);

/* Stores in *buffer a new buffer of `size` bytes, all zero, which lives until the guest ends or frees it. */
WL_IMPORT("create_buffer")
int32_t wl_create_buffer(wl_device device, uint32_t size, int32_t access, wl_buffer *buffer);

/* Copies `size` bytes to the buffer's start. */
WL_IMPORT("write_buffer")
int32_t wl_write_buffer(const void *data, uint32_t size, wl_buffer buffer);

/* Copies `size` bytes from the buffer's start, after every launch made so far. */
WL_IMPORT("read_buffer")
int32_t wl_read_buffer(wl_buffer buffer, void *data, uint32_t size);

/* Runs kernel(0, n, ...) to kernel(n - 1, n, ...) in any order. Counts are numbers of handles. `block_size` is passed to
 * the kernel, and tells the host what group size may suit. A launch may still be running when the call returns. */
WL_IMPORT("parallel_for")
int32_t wl_parallel_for(wl_kernel kernel, uint32_t num_iterations, uint32_t block_size,
                        const wl_buffer *inputs, uint32_t input_count,
                        const wl_buffer *outputs, uint32_t output_count);

/* ---- Our own functions, of the module `wavelift`. Other hosts may not have them. ---- */
#ifdef __wasm__
#define WL_OWN_IMPORT(name) __attribute__((import_module("wavelift"), import_name(name)))

/* Gives a buffer's memory back. Launches that were made before go on with it; its handle means nothing any more. */
WL_OWN_IMPORT("free_buffer")
int32_t wl_free_buffer(wl_buffer buffer);

/* Copies `size` bytes to the buffer, from byte `offset` on. */
WL_OWN_IMPORT("buffer_copy_in")
int32_t wl_buffer_copy_in(wl_buffer buffer, uint32_t offset, const void *data, uint32_t size);

/* Copies `size` bytes of the buffer, from byte `offset` on, after every launch made so far. */
WL_OWN_IMPORT("buffer_copy_out")
int32_t wl_buffer_copy_out(wl_buffer buffer, uint32_t offset, void *data, uint32_t size);

/* Waits for every launch made so far. A kernel's trap is raised here. */
WL_OWN_IMPORT("synchronize")
int32_t wl_synchronize(wl_device device);

/* What wl_device_info tells. */
typedef enum wl_device_fact {
    WL_FACT_KIND = 0,           /* one of wl_device_kind */
    WL_FACT_MEMORY = 1,         /* bytes that all the guest's buffers may take, its linear memory aside */
    WL_FACT_LARGEST_BUFFER = 2, /* bytes of the largest buffer */
    WL_FACT_LARGEST_GROUP = 3   /* most invocations of a group */
} wl_device_fact;

/* What a device is: the numbers are the same in all guests, whatever those of hints are. */
typedef enum wl_device_kind {
    WL_KIND_SEQUENTIAL = 0,
    WL_KIND_CPU = 1,
    WL_KIND_DISCRETE_GPU = 2,
    WL_KIND_INTEGRATED_GPU = 3,
    WL_KIND_SOFTWARE_GPU = 4 /* a GPU's driver that runs on the CPU */
} wl_device_kind;

/* Stores in *value what is to be known of the device that the host chose. */
WL_OWN_IMPORT("device_info")
int32_t wl_device_info(wl_device device, int32_t fact, uint64_t *value);
#endif

/* ---- Kernels that are modules of their own ----
 *
 * Both functions take the bytes of a WebAssembly module instead of a function. It exports a function `kernel`, of the
 * usual type, and may import one memory, which then is the guest's own; it imports nothing else. A module that defines its
 * memory (as one with static data must) gets a new one for each launch. The bytes are compared at each launch, so that the
 * guest may change them; the host compiles equal ones once.
 *
 * A kernel in C becomes such a module by
 *
 *     clang --target=wasm32 -O3 -nostdlib -Wl,--no-entry -Wl,--export=kernel -Wl,--import-memory -o kernel.wasm kernel.c
 *
 * and a guest holds it in an array, by #embed or as a list of numbers. Native programs can't run it. */
#ifdef __wasm__

/* wl_parallel_for with a kernel's module: on the device of the buffers. */
WL_IMPORT("parallel_for")
int32_t wl_parallel_for_module(const void *kernel, uint32_t kernel_size, uint32_t num_iterations, uint32_t block_size,
                               const wl_buffer *inputs, uint32_t input_count,
                               const wl_buffer *outputs, uint32_t output_count);

#ifdef WL_PARALLEL_EXEC
/* The same on the given device, on which the buffers must be. */
WL_IMPORT("parallel_exec")
int32_t wl_parallel_exec(wl_device device, const void *kernel, uint32_t kernel_size, uint32_t num_iterations,
                         uint32_t block_size, const wl_buffer *inputs, uint32_t input_count,
                         const wl_buffer *outputs, uint32_t output_count);
#endif

#endif

/* ---- Conveniences: on an error they say which call failed and why on standard error, and exit with status 1. ---- */

/* The name of an error code. */
static inline const char *wl_error_name(int32_t error) {
    static const char *const names[] = {"success",       "bad_handle",  "bad_device",  "out_of_bounds",
                                        "out_of_memory", "bad_kernel",  "unsupported", "device_lost"};
    return error >= 0 && error < (int32_t)(sizeof names / sizeof names[0]) ? names[error] : "unknown error";
}

/* Returns if `error` is WL_SUCCESS; else names the call and the error, and exits. */
static inline void wl_check(int32_t error, const char *call) {
    if (error != WL_SUCCESS) {
        fprintf(stderr, "%s: %s (error %d)\n", call, wl_error_name(error), (int)error);
        exit(1);
    }
}

/* A device of the hinted kind, or the next best. */
static inline wl_device wl_open(wl_device_hint hint) {
    wl_device device = -1;
    wl_check(wl_get_device(hint, &device), "get_device");
    return device;
}

/* A new buffer of `size` bytes, all zero. */
static inline wl_buffer wl_new(wl_device device, uint32_t size, wl_access access) {
    wl_buffer buffer = -1;
    wl_check(wl_create_buffer(device, size, access, &buffer), "create_buffer");
    return buffer;
}

/* Copies `size` bytes to the buffer's start. */
static inline void wl_upload(wl_buffer buffer, const void *data, uint32_t size) {
    wl_check(wl_write_buffer(data, size, buffer), "write_buffer");
}

/* Copies `size` bytes from the buffer's start, after every launch made so far. */
static inline void wl_download(wl_buffer buffer, void *data, uint32_t size) {
    wl_check(wl_read_buffer(buffer, data, size), "read_buffer");
}

/* Waits until every launch that writes the buffer is done, by reading its first four bytes (its size must be 4 or more). */
static inline void wl_wait(wl_buffer buffer) {
    uint32_t word;
    wl_download(buffer, &word, sizeof word);
}

/* WL_LAUNCH(kernel, num_iterations, block_size, input_count, buffer...): launches `kernel` with one to eight buffers, of
 * which the first `input_count` are inputs and the rest outputs. The compiler checks that the kernel takes that many. */
#define WL_LAUNCH(kernel, num_iterations, block_size, input_count, ...)                                        \
    do {                                                                                                       \
        (void)sizeof((kernel)(0, 0, 0, WL_PASTE(WL_NULLS_, WL_COUNT(__VA_ARGS__))), 0);                        \
        WL_RUN(kernel, num_iterations, block_size, input_count, WL_COUNT(__VA_ARGS__), __VA_ARGS__);           \
    } while (0)

#define WL_PASTE(a, b) WL_PASTE_(a, b)
#define WL_PASTE_(a, b) a##b
#define WL_COUNT(...) WL_COUNT_(__VA_ARGS__, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define WL_COUNT_(b1, b2, b3, b4, b5, b6, b7, b8, count, ...) count
#define WL_NULLS_1 0, 0
#define WL_NULLS_2 WL_NULLS_1, 0, 0
#define WL_NULLS_3 WL_NULLS_2, 0, 0
#define WL_NULLS_4 WL_NULLS_3, 0, 0
#define WL_NULLS_5 WL_NULLS_4, 0, 0
#define WL_NULLS_6 WL_NULLS_5, 0, 0
#define WL_NULLS_7 WL_NULLS_6, 0, 0
#define WL_NULLS_8 WL_NULLS_7, 0, 0

#ifdef __wasm__

#define WL_RUN(kernel, num_iterations, block_size, input_count, buffer_count, ...)                             \
    const wl_buffer wl_list[] = {__VA_ARGS__};                                                                 \
    wl_check(wl_parallel_for((wl_kernel)(kernel), num_iterations, block_size, wl_list, input_count,            \
                             wl_list + (input_count), (buffer_count) - (input_count)),                         \
             "parallel_for " #kernel)

#else /* native */

/* The buffer's bytes, or null and size 0 if there is no such buffer. */
void *wl_native_address(wl_buffer buffer);
uint32_t wl_native_size(wl_buffer buffer);
/* How many consecutive iterations of `num_iterations` one thread should take at a time. Never 0. */
uint32_t wl_native_chunk(uint32_t num_iterations);

/* A call through a function pointer keeps a compiler from vectorising across iterations. A native twin is a fair measure
 * only if its compiler sees the kernel, so this calls it by name. */
#define WL_RUN(kernel, num_iterations, block_size, input_count, buffer_count, ...)                             \
    const wl_buffer wl_list[] = {__VA_ARGS__};                                                                 \
    void *wl_at[buffer_count];                                                                                 \
    uint32_t wl_size[buffer_count];                                                                            \
    for (int wl_b = 0; wl_b < (buffer_count); wl_b++) {                                                        \
        wl_at[wl_b] = wl_native_address(wl_list[wl_b]);                                                        \
        wl_size[wl_b] = wl_native_size(wl_list[wl_b]);                                                         \
        wl_check(wl_at[wl_b] ? WL_SUCCESS : WL_BAD_HANDLE, "parallel_for " #kernel);                           \
    }                                                                                                          \
    WL_PASTE(WL_POINTERS_, buffer_count)                                                                       \
    const uint32_t wl_n = (num_iterations), wl_block = (block_size), wl_chunk = wl_native_chunk(wl_n);         \
    const int64_t wl_chunks = ((int64_t)wl_n + wl_chunk - 1) / wl_chunk;                                       \
    WL_OMP_PARALLEL_FOR                                                                                        \
    for (int64_t wl_c = 0; wl_c < wl_chunks; wl_c++) {                                                         \
        const uint32_t wl_low = (uint32_t)wl_c * wl_chunk;                                                     \
        const uint32_t wl_high = wl_n - wl_low < wl_chunk ? wl_n : wl_low + wl_chunk;                          \
        for (uint32_t wl_i = wl_low; wl_i < wl_high; wl_i++) {                                                 \
            kernel((int32_t)wl_i, (int32_t)wl_n, (int32_t)wl_block, WL_PASTE(WL_ARGUMENTS_, buffer_count));    \
        }                                                                                                      \
    }

#ifdef _OPENMP
#define WL_OMP_PARALLEL_FOR _Pragma("omp parallel for schedule(dynamic, 1)")
#else
#define WL_OMP_PARALLEL_FOR
#endif

#define WL_POINTER(k) void *const wl_p##k = wl_at[k]; const uint32_t wl_s##k = wl_size[k];
#define WL_POINTERS_1 WL_POINTER(0)
#define WL_POINTERS_2 WL_POINTERS_1 WL_POINTER(1)
#define WL_POINTERS_3 WL_POINTERS_2 WL_POINTER(2)
#define WL_POINTERS_4 WL_POINTERS_3 WL_POINTER(3)
#define WL_POINTERS_5 WL_POINTERS_4 WL_POINTER(4)
#define WL_POINTERS_6 WL_POINTERS_5 WL_POINTER(5)
#define WL_POINTERS_7 WL_POINTERS_6 WL_POINTER(6)
#define WL_POINTERS_8 WL_POINTERS_7 WL_POINTER(7)
#define WL_ARGUMENTS_1 wl_p0, wl_s0
#define WL_ARGUMENTS_2 WL_ARGUMENTS_1, wl_p1, wl_s1
#define WL_ARGUMENTS_3 WL_ARGUMENTS_2, wl_p2, wl_s2
#define WL_ARGUMENTS_4 WL_ARGUMENTS_3, wl_p3, wl_s3
#define WL_ARGUMENTS_5 WL_ARGUMENTS_4, wl_p4, wl_s4
#define WL_ARGUMENTS_6 WL_ARGUMENTS_5, wl_p5, wl_s5
#define WL_ARGUMENTS_7 WL_ARGUMENTS_6, wl_p6, wl_s6
#define WL_ARGUMENTS_8 WL_ARGUMENTS_7, wl_p7, wl_s7

#endif

#ifdef __cplusplus
}
#endif

#endif
