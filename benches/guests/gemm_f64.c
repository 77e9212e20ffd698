/* gemm_f64 - see gemm.h; with the published tolerance.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * gemm_f64 [ORDER] */
#define REAL double
#define GEMM gemm_f64
#define CHECKSUM_ERROR 1e-8
#include "gemm.h"
