/* reduce - the sum of many vectors, element by element: the Parallel Research Kernel of that name, in f32, whose whole numbers
 * here are exact. Each of P threads has two vectors there; here all lie behind each other, and invocations take every PARTS-th.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * reduce [LENGTH [P]]: P is 2,048 at most. */
#include "bench.h"

enum { PARTS = 16 };

/* The sums of every PARTS-th vector. */
KERNEL(reduce, ARRAY(const uint32_t, size), ARRAY(const float, vectors), ARRAY(float, parts)) {
    uint32_t length = size[0], count = size[1], element = iteration_id % length, part = iteration_id / length;
    float sum = 0;
    for (uint32_t v = part; v < count; v += PARTS) {
        sum += vectors[v * length + element];
    }
    parts[iteration_id] = sum;
}

KERNEL(reduce_parts, ARRAY(const uint32_t, size), ARRAY(const float, parts), ARRAY(float, result)) {
    uint32_t length = size[0];
    float sum = 0;
    for (uint32_t part = 0; part < PARTS; part++) {
        sum += parts[part * length + iteration_id];
    }
    result[iteration_id] = sum;
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {1024, 256};
    const uint32_t *sizes = start(argc, argv, "reduce [LENGTH [P]]", 2, defaults);
    uint32_t length = sizes[0], count = 2 * sizes[1], params[4] = {length, count};
    float *vectors = allocate((uint64_t)length * count, 4), *result = allocate(length, 4);
    for (uint32_t v = 0; v < count; v++) {
        for (uint32_t i = 0; i < length; i++) {
            vectors[v * length + i] = (float)(v + 1);
        }
    }
    wl_buffer size = give(params, sizeof params, WL_READ), vectors_buffer = give(vectors, length * count * 4, WL_READ),
              parts = room(length * PARTS * 4), result_buffer = room(length * 4);
    while (next_round()) {
        WL_LAUNCH(reduce, length * PARTS, 64, 2, size, vectors_buffer, parts);
        WL_LAUNCH(reduce_parts, length, 64, 2, size, parts, result_buffer);
        end_round(result_buffer, 2);
    }
    take(result_buffer, result, length * 4);
    double expected = (double)sizes[1] * (2.0 * sizes[1] + 1);
    for (uint32_t i = 0; i < length; i++) {
        require(result[i] == expected, "an element of the sum", result[i], expected);
    }
    return finish("reduce");
}
