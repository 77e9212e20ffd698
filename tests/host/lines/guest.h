/* guest.h - what the guests with source lines share: the host's functions, and one launch of a kernel by number.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("wasi_ephemeral_parallel"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))
#define KERNEL(name) void name(int32_t i, int32_t n, int32_t block_size, int32_t *to, uint32_t bytes)

IMPORT("get_device") int32_t get_device(int32_t hint, int32_t *device);
IMPORT("create_buffer") int32_t create_buffer(int32_t device, uint32_t size, int32_t access, int32_t *buffer);
IMPORT("parallel_for")
int32_t parallel_for(const void *kernel, uint32_t n, uint32_t block_size, const int32_t *inputs, uint32_t input_count,
                     const int32_t *outputs, uint32_t output_count);

/* Inlined into what calls it, where the compiler inlines anything. */
static inline int32_t quotient(int32_t a, int32_t b) {
    return a / b; /* by zero */
}
