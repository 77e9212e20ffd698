/* pic - particles in a field of fixed charges: the Parallel Research Kernel of that name, in f32. Every cell of the grid has
 * as many particles at first (its distribution PATCH, with the whole grid for the patch), which fly 2k + 1 cells to the right
 * or left and m up in a step.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * pic [CELLS [PARTICLES]]: CELLS, even, of a row and column, and PARTICLES of each; k is 1, m is 1. */
#include "bench.h"

enum { K = 1, M = 1 };

struct particle {
    float x, y, vx, vy, charge, x0, y0, unused;
};

static void coulomb(float dx, float dy, float q1, float q2, float *fx, float *fy) {
    float r2 = dx * dx + dy * dy, r = sqrtf(r2), force = q1 * q2 / r2;
    *fx = force * dx / r;
    *fy = force * dy / r;
}

KERNEL(pic, ARRAY(const uint32_t, cells), ARRAY(const float, grid), ARRAY(struct particle, particles)) {
    struct particle *p = &particles[iteration_id];
    uint32_t length = *cells, g = length + 1, x = (uint32_t)p->x, y = (uint32_t)p->y;
    float dx = p->x - (float)x, dy = p->y - (float)y, left = grid[y + x * g], right = grid[y + (x + 1) * g];
    float left_below = grid[y + 1 + x * g], right_below = grid[y + 1 + (x + 1) * g], fx, fy, ax, ay;
    coulomb(dx, dy, p->charge, left, &ax, &ay);
    coulomb(dx, 1.0f - dy, p->charge, left_below, &fx, &fy);
    ax += fx;
    ay -= fy;
    coulomb(1.0f - dx, dy, p->charge, right, &fx, &fy);
    ax -= fx;
    ay += fy;
    coulomb(1.0f - dx, 1.0f - dy, p->charge, right_below, &fx, &fy);
    ax -= fx;
    ay -= fy;
    /* A step of time 1, mass 1; the world is a torus. */
    float size = (float)length, new_x = p->x + p->vx + 0.5f * ax + size, new_y = p->y + p->vy + 0.5f * ay + size;
    p->x = new_x - size * floorf(new_x / size);
    p->y = new_y - size * floorf(new_y / size);
    p->vx += ax;
    p->vy += ay;
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {64, 4};
    const uint32_t *sizes = start(argc, argv, "pic [CELLS [PARTICLES]]", 2, defaults);
    uint32_t length = sizes[0] & ~1u, g = length + 1, each = sizes[1], count = length * length * each, params[4] = {length};
    float *grid = allocate(g * g, 4);
    struct particle *particles = allocate(count, sizeof *particles);
    for (uint32_t x = 0; x < g; x++) {
        for (uint32_t y = 0; y < g; y++) {
            grid[y + x * g] = x % 2 == 0 ? 1.0f : -1.0f;
        }
    }
    /* Of a particle in a cell's middle: cos(theta) / r1^2 + cos(phi) / r2^2. */
    double base = 1.0 / (2 * sqrt(0.5) / 0.5);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t x = i / each / length, y = i / each % length;
        float charge = (float)((2 * K + 1) * base);
        particles[i] = (struct particle){.x = (float)x + 0.5f, .y = (float)y + 0.5f, .vy = M,
                                         .charge = x % 2 == 0 ? charge : -charge, .x0 = (float)x + 0.5f, .y0 = (float)y + 0.5f};
    }
    wl_buffer cells = give(params, sizeof params, WL_READ), grid_buffer = give(grid, g * g * 4, WL_READ),
              particles_buffer = give(particles, count * (uint32_t)sizeof *particles, WL_READ_WRITE);
    while (next_round()) {
        WL_LAUNCH(pic, count, 64, 2, cells, grid_buffer, particles_buffer);
        end_round(particles_buffer, 1);
    }
    take(particles_buffer, particles, count * (uint32_t)sizeof *particles);
    double steps = bench.rounds;
    for (uint32_t i = 0; i < count; i++) {
        const struct particle *p = &particles[i];
        /* All fly to the right: charges of equal sign lie on their left. */
        double x = fmod(p->x0 + steps * (2 * K + 1), length), y = fmod(p->y0 + steps * M, length);
        /* Published for f64: 1e-6. */
        require(fabs(p->x - x) <= 1e-3, "a particle's x", p->x, x);
        require(fabs(p->y - y) <= 1e-3, "a particle's y", p->y, y);
    }
    return finish("pic");
}
