/* native.c - wavelift.h for native programs: buffers on the heap, kernels on OpenMP threads.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * It exists to build a guest's source into its own native baseline. It checks handles and lengths as the host does, but
 * not what a kernel does with its pointers: that is what the sandbox is for. */
#include "wavelift.h"

#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

enum { ALIGNMENT = 256, BUFFERS_AT_ONCE = 64, CHUNKS_PER_THREAD = 8, LARGEST_LIST = 8 };

struct buffer {
    void *at;
    uint32_t size;
    wl_device device;
};

static struct buffer *buffers;
static int32_t buffer_count, buffer_capacity;

static struct buffer *find(wl_buffer handle) {
    return handle >= 0 && handle < buffer_count ? &buffers[handle] : NULL;
}

int32_t wl_get_device(int32_t hint, wl_device *device) {
    if (hint < WL_CPU || hint > WL_SEQUENTIAL) {
        fprintf(stderr, "get_device: there is no device hint %d\n", (int)hint);
        abort();
    }
    *device = WL_CPU;
    return WL_SUCCESS;
}

int32_t wl_create_buffer(wl_device device, uint32_t size, int32_t access, wl_buffer *buffer) {
    if (access < WL_READ || access > WL_READ_WRITE) {
        fprintf(stderr, "create_buffer: there is no access kind %d\n", (int)access);
        abort();
    }
    if (device != WL_CPU) {
        return WL_BAD_HANDLE;
    }
    if (buffer_count == buffer_capacity) {
        struct buffer *more = realloc(buffers, (buffer_capacity + BUFFERS_AT_ONCE) * sizeof *more);
        if (!more) {
            return WL_OUT_OF_MEMORY;
        }
        buffers = more;
        buffer_capacity += BUFFERS_AT_ONCE;
    }
    size_t rounded = ((size_t)size + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    void *at = aligned_alloc(ALIGNMENT, rounded);
    if (!at) {
        return WL_OUT_OF_MEMORY;
    }
    memset(at, 0, rounded);
    buffers[buffer_count] = (struct buffer){at, size, device};
    *buffer = buffer_count++;
    return WL_SUCCESS;
}

int32_t wl_write_buffer(const void *data, uint32_t size, wl_buffer buffer) {
    struct buffer *b = find(buffer);
    if (!b) {
        return WL_BAD_HANDLE;
    }
    if (size > b->size) {
        return WL_OUT_OF_BOUNDS;
    }
    memcpy(b->at, data, size);
    return WL_SUCCESS;
}

int32_t wl_read_buffer(wl_buffer buffer, void *data, uint32_t size) {
    struct buffer *b = find(buffer);
    if (!b) {
        return WL_BAD_HANDLE;
    }
    if (size > b->size) {
        return WL_OUT_OF_BOUNDS;
    }
    memcpy(data, b->at, size);
    return WL_SUCCESS;
}

void *wl_native_address(wl_buffer buffer) {
    struct buffer *b = find(buffer);
    return b ? b->at : NULL;
}

uint32_t wl_native_size(wl_buffer buffer) {
    struct buffer *b = find(buffer);
    return b ? b->size : 0;
}

uint32_t wl_native_chunk(uint32_t num_iterations) {
#ifdef _OPENMP
    uint32_t chunks = CHUNKS_PER_THREAD * (uint32_t)omp_get_max_threads();
#else
    uint32_t chunks = 1;
#endif
    uint32_t chunk = num_iterations / chunks + (num_iterations % chunks != 0);
    return chunk ? chunk : 1;
}

/* A kernel's type by its number of buffers. Its pointers have the kernel's own types there, but every data pointer is
 * passed alike on the platforms that have OpenMP. */
#define P void *, uint32_t
#define A(k) at[k], size[k]
typedef void (*kernel0)(int32_t, int32_t, int32_t);
typedef void (*kernel1)(int32_t, int32_t, int32_t, P);
typedef void (*kernel2)(int32_t, int32_t, int32_t, P, P);
typedef void (*kernel3)(int32_t, int32_t, int32_t, P, P, P);
typedef void (*kernel4)(int32_t, int32_t, int32_t, P, P, P, P);
typedef void (*kernel5)(int32_t, int32_t, int32_t, P, P, P, P, P);
typedef void (*kernel6)(int32_t, int32_t, int32_t, P, P, P, P, P, P);
typedef void (*kernel7)(int32_t, int32_t, int32_t, P, P, P, P, P, P, P);
typedef void (*kernel8)(int32_t, int32_t, int32_t, P, P, P, P, P, P, P, P);

static void run_one(wl_kernel k, uint32_t count, int32_t i, int32_t n, int32_t b, void *const *at, const uint32_t *size) {
    switch (count) {
    case 0: ((kernel0)k)(i, n, b); break;
    case 1: ((kernel1)k)(i, n, b, A(0)); break;
    case 2: ((kernel2)k)(i, n, b, A(0), A(1)); break;
    case 3: ((kernel3)k)(i, n, b, A(0), A(1), A(2)); break;
    case 4: ((kernel4)k)(i, n, b, A(0), A(1), A(2), A(3)); break;
    case 5: ((kernel5)k)(i, n, b, A(0), A(1), A(2), A(3), A(4)); break;
    case 6: ((kernel6)k)(i, n, b, A(0), A(1), A(2), A(3), A(4), A(5)); break;
    case 7: ((kernel7)k)(i, n, b, A(0), A(1), A(2), A(3), A(4), A(5), A(6)); break;
    case 8: ((kernel8)k)(i, n, b, A(0), A(1), A(2), A(3), A(4), A(5), A(6), A(7)); break;
    }
}

int32_t wl_parallel_for(wl_kernel kernel, uint32_t num_iterations, uint32_t block_size,
                        const wl_buffer *inputs, uint32_t input_count,
                        const wl_buffer *outputs, uint32_t output_count) {
    void *at[LARGEST_LIST];
    uint32_t size[LARGEST_LIST];
    if (!kernel) {
        return WL_BAD_KERNEL;
    }
    if (input_count > LARGEST_LIST || output_count > LARGEST_LIST - input_count) {
        return WL_UNSUPPORTED;
    }
    uint32_t count = input_count + output_count;
    for (uint32_t k = 0; k < count; k++) {
        struct buffer *b = find(k < input_count ? inputs[k] : outputs[k - input_count]);
        if (!b) {
            return WL_BAD_HANDLE;
        }
        at[k] = b->at;
        size[k] = b->size;
    }
    uint32_t chunk = wl_native_chunk(num_iterations);
#pragma omp parallel for schedule(dynamic, chunk)
    for (int64_t i = 0; i < (int64_t)num_iterations; i++) {
        run_one(kernel, count, (int32_t)(uint32_t)i, (int32_t)num_iterations, (int32_t)block_size, at, size);
    }
    return WL_SUCCESS;
}
