/* scan - each element becomes the sum of all before it (mod 2^32): sums of blocks of 64 upwards, level by level, and places
 * downwards again.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * scan [LENGTH] */
#include "bench.h"

enum { BLOCK = 64, MOST_LEVELS = 6 };

/* The sum of a block. */
KERNEL(scan_sums, ARRAY(const uint32_t, data), ARRAY(uint32_t, sums)) {
    uint32_t first = (uint32_t)iteration_id * BLOCK, length = data_bytes / 4, end = first + BLOCK < length ? first + BLOCK : length;
    uint32_t sum = 0;
    for (uint32_t i = first; i < end; i++) {
        sum += data[i];
    }
    sums[iteration_id] = sum;
}

/* The sums before each element of a block, from the sum before the block on. */
KERNEL(scan_blocks, ARRAY(const uint32_t, data), ARRAY(const uint32_t, before), ARRAY(uint32_t, out)) {
    uint32_t first = (uint32_t)iteration_id * BLOCK, length = data_bytes / 4, end = first + BLOCK < length ? first + BLOCK : length;
    uint32_t sum = before[iteration_id];
    for (uint32_t i = first; i < end; i++) {
        out[i] = sum;
        sum += data[i];
    }
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {1 << 20};
    uint32_t length = *start(argc, argv, "scan [LENGTH]", 1, defaults), state = 1;
    uint32_t *data = allocate(length, 4), *out = allocate(length, 4);
    for (uint32_t i = 0; i < length; i++) {
        data[i] = state = state * 1664525u + 1013904223u;
    }
    /* Of level k: what is to be scanned, and the result. */
    wl_buffer in[MOST_LEVELS + 1] = {give(data, length * 4, WL_READ)}, to[MOST_LEVELS + 1] = {room(length * 4)};
    uint32_t lengths[MOST_LEVELS + 1] = {length}, levels = 0;
    do {
        lengths[levels + 1] = (lengths[levels] + BLOCK - 1) / BLOCK;
        levels++;
        in[levels] = room(lengths[levels] * 4);
        to[levels] = room(lengths[levels] * 4);
    } while (lengths[levels] > 1);
    while (next_round()) {
        for (uint32_t k = 0; k + 1 < levels; k++) {
            WL_LAUNCH(scan_sums, lengths[k + 1], 64, 1, in[k], in[k + 1]);
        }
        /* Before the one block of the last level there is nothing: to[levels] stays zero. */
        for (uint32_t k = levels; k-- > 0;) {
            WL_LAUNCH(scan_blocks, lengths[k + 1], 64, 2, in[k], to[k + 1], to[k]);
        }
        end_round(to[0], 2 * levels - 1);
    }
    take(to[0], out, length * 4);
    for (uint32_t i = 0, sum = 0; i < length; i++) {
        require(out[i] == sum, "a sum", out[i], sum);
        sum += data[i];
    }
    return finish("scan");
}
