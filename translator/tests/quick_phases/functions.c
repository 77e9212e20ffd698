/* functions - one kernel for each function of the C library that has a quick phase.
 * scripts/build-test-guests compiles it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <math.h>

#define KERNEL(name, value)                                                                                          \
    __attribute__((export_name(#name))) void name(int i, int n, int block, const float *x, unsigned x_size,          \
                                                  float *to, unsigned to_size) {                                     \
        to[i] = value;                                                                                               \
    }

KERNEL(exponential, expf(x[i]))
KERNEL(logarithm, logf(x[i]))
KERNEL(power, powf(x[2 * i], x[2 * i + 1]))
