/* branch - a branch that depends on data inside a loop: the Parallel Research Kernel of that name, type `vector_stop`.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * branch [LENGTH [ITERATIONS]]: ITERATIONS is even. Each invocation makes all iterations of one element. */
#include "bench.h"

KERNEL(branch, ARRAY(const uint32_t, iterations), ARRAY(const uint32_t, index), ARRAY(int32_t, vector)) {
    uint32_t i = iteration_id;
    for (uint32_t iteration = 0; iteration < *iterations; iteration += 2) {
        int32_t value = 3 - (int32_t)(i & 7);
        vector[i] -= vector[index[i]] > 0 ? 2 * vector[i] : -2 * value;
        vector[i] -= vector[index[i]] > 0 ? 2 * vector[i] : 2 * value;
    }
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {1 << 16, 100};
    const uint32_t *sizes = start(argc, argv, "branch [LENGTH [ITERATIONS]]", 2, defaults);
    uint32_t length = sizes[0], params[4] = {sizes[1] & ~1u};
    int32_t *vector = allocate(length, 4);
    uint32_t *index = allocate(length, 4);
    for (uint32_t i = 0; i < length; i++) {
        vector[i] = 3 - (int32_t)(i & 7);
        index[i] = i;
    }
    wl_buffer iterations = give(params, sizeof params, WL_READ), index_buffer = give(index, length * 4, WL_READ),
              vector_buffer = give(vector, length * 4, WL_READ_WRITE);
    while (next_round()) {
        WL_LAUNCH(branch, length, 64, 2, iterations, index_buffer, vector_buffer);
        end_round(vector_buffer, 1);
    }
    take(vector_buffer, vector, length * 4);
    for (uint32_t i = 0; i < length; i++) {
        /* The published check looks at the same loop without branches, which runs last there. What the branches leave is bounded,
         * too: positive elements go back and forth between their negative and three times that. */
        int32_t value = 3 - (int32_t)(i & 7), expected = value > 0 ? -3 * value : value;
        require(vector[i] == expected, "an element of the vector", vector[i], expected);
    }
    return finish("branch");
}
