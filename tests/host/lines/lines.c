/* lines.c - kernels that trap or can't be lifted, each at one line that tests know: keep the lines where they are.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "guest.h"

static inline int32_t share(int32_t all, int32_t of) {
    return quotient(all, 3 - of) + quotient(of, 7);
}

KERNEL(divides) {
    to[i] = i + 1;
    to[i] += share(1000, i);
}

KERNEL(writes_outside) {
    if (i >= 5) {
        to[bytes + (uint32_t)i] = 1;
    }
}

KERNEL(gives_up) {
    to[i] = i;
    if (i == 9) {
        __builtin_trap();
    }
}

/* In order on the calling thread. */
KERNEL(grows) {
    to[i] = i;
    to[i] += (int32_t)__builtin_wasm_memory_grow(0, 0);
}

KERNEL(never_ends) {
    volatile int32_t *word = to + i;
    while (*word != -1) {
        *word = i;
    }
}

typedef KERNEL(kernel);
static kernel *const kernels[] = {divides, writes_outside, gives_up, grows, never_ends};

EXPORT("launch") int32_t launch(int32_t kernel, int32_t n) {
    int32_t device, buffer;
    int32_t error = get_device(1, &device);
    error = error ? error : create_buffer(device, 400, 2, &buffer);
    return error ? error : parallel_for((const void *)kernels[kernel], (uint32_t)n, 1, 0, 0, &buffer, 1);
}

/* The guest's own trap. */
EXPORT("divide") int32_t divide(int32_t a, int32_t b) {
    return quotient(a, b);
}
