/* nbody - bodies that attract each other, all pairs, one invocation for each body.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * nbody [BODIES [STEPS]]: two buffers of positions swap roles, one launch a step. */
#include "harness.h"
#include "wavelift.h"

struct nbody_params {
    uint32_t bodies;
    float dt, softening;
    uint32_t unused;
};

struct body {
    float x, y, z, mass;
};

struct velocity {
    float x, y, z, unused;
};

static void nbody(int32_t iteration_id, int32_t num_iterations, int32_t block_size,
                  const struct nbody_params *params, uint32_t params_bytes, const struct body *from, uint32_t from_bytes,
                  struct velocity *velocity, uint32_t velocity_bytes, struct body *to, uint32_t to_bytes) {
    uint32_t i = iteration_id, bodies = params->bodies;
    float dt = params->dt, softening = params->softening;
    struct body me = from[i];
    float ax = 0.0f, ay = 0.0f, az = 0.0f;
    for (uint32_t j = 0; j < bodies; j++) {
        float dx = from[j].x - me.x, dy = from[j].y - me.y, dz = from[j].z - me.z;
        float inverse = 1.0f / __builtin_sqrtf(dx * dx + dy * dy + dz * dz + softening);
        float pull = from[j].mass * inverse * inverse * inverse;
        ax += pull * dx;
        ay += pull * dy;
        az += pull * dz;
    }
    struct velocity v = velocity[i];
    v.x += ax * dt;
    v.y += ay * dt;
    v.z += az * dt;
    velocity[i] = v;
    me.x += v.x * dt;
    me.y += v.y * dt;
    me.z += v.z * dt;
    to[i] = me;
}

static void initialise(struct body *bodies, struct velocity *velocities, uint32_t count) {
    uint32_t random = 1;
    for (uint32_t i = 0; i < count; i++) {
        bodies[i].x = next_random(&random) * 2.0f - 1.0f;
        bodies[i].y = next_random(&random) * 2.0f - 1.0f;
        bodies[i].z = next_random(&random) * 2.0f - 1.0f;
        bodies[i].mass = next_random(&random) / (float)count;
        velocities[i] = (struct velocity){0};
    }
}

/* The same steps with arrays by coordinate: all accelerations first, in the kernel's order of additions, then the moves. */
static void check(const struct body *result, uint32_t count, uint32_t steps, const struct nbody_params *p, double tolerance) {
    struct body *at = allocate(count, sizeof *at);
    struct velocity *v = allocate(count, sizeof *v);
    float(*sums)[3] = allocate(count, sizeof *sums);
    initialise(at, v, count);
    for (uint32_t step = 0; step < steps; step++) {
        memset(sums, 0, count * sizeof *sums);
        for (uint32_t j = 0; j < count; j++) {
            for (uint32_t i = 0; i < count; i++) {
                float dx = at[j].x - at[i].x, dy = at[j].y - at[i].y, dz = at[j].z - at[i].z;
                float inverse = 1.0f / __builtin_sqrtf(dx * dx + dy * dy + dz * dz + p->softening);
                float pull = at[j].mass * inverse * inverse * inverse;
                sums[i][0] += pull * dx;
                sums[i][1] += pull * dy;
                sums[i][2] += pull * dz;
            }
        }
        for (uint32_t i = 0; i < count; i++) {
            v[i].x += sums[i][0] * p->dt;
            v[i].y += sums[i][1] * p->dt;
            v[i].z += sums[i][2] * p->dt;
            at[i].x += v[i].x * p->dt;
            at[i].y += v[i].y * p->dt;
            at[i].z += v[i].z * p->dt;
        }
    }
    require_same("the positions (x, y, z, mass of each body)", &result->x, &at->x, (size_t)count * 4, tolerance);
    printf("all %u bodies are right after %u steps\n", count, steps);
    free(at);
    free(v);
    free(sums);
}

/* One repetition; leaves the result in bodies[0]. */
static void run_serial(struct body **bodies, struct velocity *v, const struct nbody_params *p, uint32_t steps, struct times *t) {
    uint32_t bytes = p->bodies * sizeof **bodies;
    double start = now();
    for (uint32_t step = 0; step < steps; step++) {
        for (uint32_t i = 0; i < p->bodies; i++) {
            nbody(i, p->bodies, 64, p, sizeof *p, bodies[0], bytes, v, bytes, bodies[1], bytes);
        }
        struct body *swap = bodies[0];
        bodies[0] = bodies[1];
        bodies[1] = swap;
    }
    add_kernel_time(t, now() - start, steps);
}

/* One repetition; `buffers` are the parameters, the velocities and the two sets of positions. */
static void run_parallel(struct body *bodies, const struct velocity *v, uint32_t count, const wl_buffer *buffers,
                         uint32_t steps, struct times *t) {
    wl_buffer from = buffers[2], to = buffers[3];
    uint32_t bytes = count * sizeof *bodies;
    double start = now();
    wl_upload(from, bodies, bytes);
    wl_upload(buffers[1], v, bytes);
    double uploaded = now();
    for (uint32_t step = 0; step < steps; step++) {
        WL_LAUNCH(nbody, count, 64, 2, buffers[0], from, buffers[1], to);
        wl_buffer swap = from;
        from = to;
        to = swap;
    }
    wl_wait(from);
    double end = now();
    wl_download(from, bodies, bytes);
    t->upload += uploaded - start;
    t->download += now() - end;
    add_kernel_time(t, end - uploaded, steps);
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {1024, 10};
    struct options o = parse_options(argc, argv, "nbody [BODIES [STEPS]]", 2, defaults);
    const struct nbody_params params = {.bodies = o.sizes[0], .dt = 0.01f, .softening = 0.001f};
    uint32_t count = params.bodies, steps = o.sizes[1];
    struct body *bodies[2] = {allocate(count, sizeof **bodies), allocate(count, sizeof **bodies)};
    struct velocity *velocities = allocate(count, sizeof *velocities);

    wl_buffer buffers[4] = {0};
    if (!o.serial) {
        wl_device device = wl_open(WL_DISCRETE_GPU);
        buffers[0] = wl_new(device, sizeof params, WL_READ);
        for (int k = 1; k < 4; k++) {
            buffers[k] = wl_new(device, count * (uint32_t)sizeof **bodies, WL_READ_WRITE);
        }
        wl_upload(buffers[0], &params, sizeof params);
    }
    struct times t = {0};
    for (uint32_t repetition = 0; repetition < o.repeat; repetition++) {
        initialise(bodies[0], velocities, count);
        if (o.serial) {
            run_serial(bodies, velocities, &params, steps, &t);
        } else {
            run_parallel(bodies[0], velocities, count, buffers, steps, &t);
        }
    }
    check(bodies[0], count, steps, &params, o.tolerance);
    printf("Mpairs/s: %f (best)\n", 1e-6 * (double)count * count * steps / t.best);
    print_times("nbody", o.serial, &t);
    return 0;
}
