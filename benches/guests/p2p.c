/* p2p - each point of a grid follows from its neighbours above and to the left: the Parallel Research Kernel of that name
 * (synch_p2p), in f32, whose whole numbers here are exact. One launch for each anti-diagonal.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * p2p [N]: rows and columns, 4096 at most. */
#include "bench.h"

struct diagonal {
    uint32_t n, first; /* the place of its first point */
    uint32_t unused[2];
};

KERNEL(p2p, ARRAY(const struct diagonal, diagonal), ARRAY(float, grid)) {
    uint32_t n = diagonal->n, i = diagonal->first + (uint32_t)iteration_id * (n - 1);
    grid[i] = grid[i - n] + grid[i - 1] - grid[i - n - 1];
}

/* For the next round. */
KERNEL(p2p_corner, ARRAY(float, grid)) { grid[0] = -grid[grid_bytes / 4 - 1]; }

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {256};
    uint32_t n = *start(argc, argv, "p2p [N]", 1, defaults), diagonals = 2 * n - 3;
    if (n < 2 || n > 4096) {
        fail_usage("p2p [N]", "N must be 2 to 4096", "");
    }
    float *grid = allocate(n * n, 4);
    for (uint32_t i = 0; i < n; i++) {
        grid[i] = grid[i * n] = (float)i;
    }
    wl_buffer grid_buffer = give(grid, n * n * 4, WL_READ_WRITE), *diagonal = allocate(diagonals, sizeof *diagonal);
    for (uint32_t d = 0; d < diagonals; d++) {
        /* From the upper right to the lower left, without the first row and column. */
        uint32_t row = d < n - 1 ? 1 : d - n + 3, column = d < n - 1 ? d + 1 : n - 1;
        diagonal[d] = give(&(struct diagonal){n, row * n + column, {0}}, sizeof(struct diagonal), WL_READ);
    }
    while (next_round()) {
        for (uint32_t d = 0; d < diagonals; d++) {
            uint32_t points = d < n - 1 ? d + 1 : diagonals - d;
            WL_LAUNCH(p2p, points, 64, 1, diagonal[d], grid_buffer);
        }
        WL_LAUNCH(p2p_corner, 1, 64, 0, grid_buffer);
        end_round(grid_buffer, diagonals + 1);
    }
    take(grid_buffer, grid, n * n * 4);
    double expected = (double)bench.rounds * (n + n - 2);
    require(grid[n * n - 1] == expected, "the last corner", grid[n * n - 1], expected);
    return finish("p2p");
}
