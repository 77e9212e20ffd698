/* kmeans - one step of Lloyd's algorithm for 16 centres in four dimensions: each point joins the nearest centre, which moves to
 * the middle of its points. Coordinates are whole numbers, and so sums of any order are equal.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * kmeans [POINTS]: 2^22 at most. Built with -matomics. */
#include "bench.h"

enum { CENTRES = 16, DIMENSIONS = 4 };

struct sums {
    uint32_t coordinates[DIMENSIONS], points, unused[3];
};

KERNEL(kmeans, ARRAY(const float, points), ARRAY(const float, centres), ARRAY(uint32_t, labels), ARRAY(struct sums, sums)) {
    const float *point = points + iteration_id * DIMENSIONS;
    uint32_t nearest = 0;
    float least = INFINITY;
    for (uint32_t k = 0; k < CENTRES; k++) {
        float distance = 0;
        for (uint32_t d = 0; d < DIMENSIONS; d++) {
            float difference = point[d] - centres[k * DIMENSIONS + d];
            distance += difference * difference;
        }
        if (distance < least) {
            least = distance;
            nearest = k;
        }
    }
    labels[iteration_id] = nearest;
    for (uint32_t d = 0; d < DIMENSIONS; d++) {
        __atomic_fetch_add(&sums[nearest].coordinates[d], (uint32_t)point[d], __ATOMIC_RELAXED);
    }
    __atomic_fetch_add(&sums[nearest].points, 1, __ATOMIC_RELAXED);
}

/* One invocation for each centre; the sums are zero again. */
KERNEL(kmeans_move, ARRAY(struct sums, sums), ARRAY(float, centres)) {
    struct sums *sum = &sums[iteration_id];
    for (uint32_t d = 0; d < DIMENSIONS; d++) {
        if (sum->points > 0) {
            centres[iteration_id * DIMENSIONS + d] = (float)sum->coordinates[d] / (float)sum->points;
        }
        sum->coordinates[d] = 0;
    }
    sum->points = 0;
}

/* All rounds, one point after the other. */
static void check(const float *points, uint32_t count, float *centres, const float *got, const uint32_t *labels) {
    for (uint32_t round = 0; round < bench.rounds; round++) {
        double sums[CENTRES][DIMENSIONS + 1] = {0};
        for (uint32_t i = 0; i < count; i++) {
            const float *p = points + i * DIMENSIONS;
            uint32_t nearest = 0;
            float distances[CENTRES];
            for (uint32_t k = 0; k < CENTRES; k++) {
                distances[k] = 0;
                for (uint32_t d = 0; d < DIMENSIONS; d++) {
                    distances[k] += (p[d] - centres[k * DIMENSIONS + d]) * (p[d] - centres[k * DIMENSIONS + d]);
                }
                nearest = distances[k] < distances[nearest] ? k : nearest;
            }
            if (round + 1 == bench.rounds) {
                /* Less exact floats may find another one as near. */
                float by = fabsf(distances[labels[i]] - distances[nearest]);
                require(by <= 1e-5f * distances[nearest], "a point's centre", labels[i], nearest);
            }
            for (uint32_t d = 0; d < DIMENSIONS; d++) {
                sums[nearest][d] += p[d];
            }
            sums[nearest][DIMENSIONS]++;
        }
        for (uint32_t k = 0; k < CENTRES * DIMENSIONS; k++) {
            double points_of = sums[k / DIMENSIONS][DIMENSIONS];
            centres[k] = points_of > 0 ? (float)(sums[k / DIMENSIONS][k % DIMENSIONS] / points_of) : centres[k];
        }
    }
    for (uint32_t k = 0; k < CENTRES * DIMENSIONS; k++) {
        require(near(got[k], centres[k], 1e-3), "a centre's coordinate", got[k], centres[k]);
    }
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {1 << 16};
    uint32_t count = *start(argc, argv, "kmeans [POINTS]", 1, defaults), state = 1;
    if (count > 1 << 22) {
        fail_usage("kmeans [POINTS]", "there may be 2^22 points at most", "");
    }
    float *points = allocate(count, 4 * DIMENSIONS), centres[CENTRES * DIMENSIONS], got[CENTRES * DIMENSIONS];
    uint32_t *labels = allocate(count, 4);
    for (uint32_t i = 0; i < count * DIMENSIONS; i++) {
        points[i] = (float)(uint32_t)(next_random(&state) * 1024.0f);
    }
    memcpy(centres, points, sizeof centres);
    wl_buffer points_buffer = give(points, count * 4 * DIMENSIONS, WL_READ),
              centres_buffer = give(centres, sizeof centres, WL_READ_WRITE), labels_buffer = room(count * 4),
              sums = room(CENTRES * sizeof(struct sums));
    while (next_round()) {
        WL_LAUNCH(kmeans, count, 64, 2, points_buffer, centres_buffer, labels_buffer, sums);
        WL_LAUNCH(kmeans_move, CENTRES, 16, 0, sums, centres_buffer);
        end_round(centres_buffer, 2);
    }
    take(labels_buffer, labels, count * 4);
    take(centres_buffer, got, sizeof got);
    check(points, count, centres, got, labels);
    return finish("kmeans");
}
