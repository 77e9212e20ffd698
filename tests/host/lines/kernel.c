/* kernel.c - a kernel that is a module of its own, and traps at a line that tests know.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <stdint.h>

__attribute__((export_name("kernel"))) void kernel(int32_t i, int32_t n, int32_t block_size, int32_t *to, uint32_t bytes) {
    to[i] = n;
    to[i] = 1000 / (3 - i);
}
