/* gemm_f32 - see gemm.h. A sum of f32 is off by some 2^-24 in each of its additions.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * gemm_f32 [ORDER] */
#define REAL float
#define GEMM gemm_f32
#define CHECKSUM_ERROR 1e-5
#include "gemm.h"
