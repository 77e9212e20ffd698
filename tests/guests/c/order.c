/* order - a histogram in two kernels, scan and bitonic sort step by step, k-means' assignment.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "harness.h"

enum { SAMPLES = 4096, PARTS = 64, BINS = 32, SCANNED = 256, SCAN_STEPS = 8, SORTED = 64, SORT_STEPS = 21, POINTS = 700, CENTRES = 9, DIMENSIONS = 4 };

/* Each invocation counts its part of the samples into bins of its own. */
static void count_bins(IDS, const uint8_t *samples, uint32_t samples_size, uint16_t *bins, uint32_t bins_size) {
    uint32_t part = samples_size / (uint32_t)num_iterations;
    uint16_t *own = bins + i * BINS;
    for (uint32_t k = i * part; k < (i + 1) * part; k++) {
        own[samples[k] * BINS / 256]++;
    }
}

static void merge_bins(IDS, const uint16_t *bins, uint32_t bins_size, uint32_t *total, uint32_t total_size) {
    uint32_t sum = 0;
    for (uint32_t k = i; k < bins_size / sizeof *bins; k += BINS) {
        sum += bins[k];
    }
    total[i] = sum;
}

/* One step of Hillis' and Steele's scan. */
static void scan_step(IDS, const uint32_t *distance, uint32_t distance_size, const int32_t *from, uint32_t from_size,
                      int32_t *to, uint32_t to_size) {
    uint32_t at = (uint32_t)i;
    to[at] = at >= *distance ? from[at] + from[at - *distance] : from[at];
}

struct step {
    uint32_t block, distance;
};

struct entry {
    int32_t key;
    uint8_t tag[4];
};

static void swap(struct entry *a, struct entry *b) {
    struct entry kept = *a;
    *a = *b;
    *b = kept;
}

static void bitonic_step(IDS, const struct step *step, uint32_t step_size, struct entry *entries, uint32_t entries_size) {
    uint32_t other = (uint32_t)i ^ step->distance;
    if (other > (uint32_t)i && (((uint32_t)i & step->block) == 0) == (entries[i].key > entries[other].key)) {
        swap(&entries[i], &entries[other]);
    }
}

/* The number of the nearest centre, and its squared distance. */
static void assign(IDS, const float *points, uint32_t points_size, const float *centres, uint32_t centres_size,
                   uint8_t *nearest, uint32_t nearest_size, float *distances, uint32_t distances_size) {
    float best = 1e30f;
    uint8_t found = 255;
    for (uint32_t c = 0; c < CENTRES; c++) {
        float distance = 0;
        for (uint32_t d = 0; d < DIMENSIONS; d++) {
            float apart = points[i * DIMENSIONS + d] - centres[c * DIMENSIONS + d];
            distance += apart * apart;
        }
        if (distance < best) {
            best = distance;
            found = (uint8_t)c;
        }
    }
    nearest[i] = found;
    distances[i] = best;
}

static void histogram(void) {
    static uint8_t samples[SAMPLES];
    static uint16_t bins[PARTS * BINS];
    static uint32_t total[BINS];
    fill_bytes(samples, SAMPLES, 13);
    struct array samples_array = ARRAY(samples, WL_READ), bins_array = ARRAY(bins, WL_READ_WRITE),
                 total_array = ARRAY(total, WL_WRITE);
    LAUNCH(count_bins, PARTS, 64, 1, &samples_array, &bins_array);
    bins_array.access = WL_READ; /* compared already */
    LAUNCH(merge_bins, BINS, 32, 1, &bins_array, &total_array);
    uint32_t sum = 0;
    for (uint32_t bin = 0; bin < BINS; bin++) {
        sum += total[bin];
    }
    if (sum != SAMPLES) {
        wrong("merge_bins", "the sum of all bins is", sum);
    }
}

static void scan(void) {
    static uint32_t distances[SCAN_STEPS];
    static int32_t buffers[2][SCANNED];
    fill_bytes((uint8_t *)buffers[0], sizeof buffers[0], 14);
    struct array arrays[2] = {ARRAY(buffers[0], WL_READ_WRITE), ARRAY(buffers[1], WL_READ_WRITE)};
    for (uint32_t k = 0; k < SCAN_STEPS; k++) {
        distances[k] = 1u << k;
        struct array distance_array = new_array(&distances[k], sizeof distances[k], WL_READ);
        LAUNCH(scan_step, SCANNED, 64, 2, &distance_array, &arrays[k % 2], &arrays[(k + 1) % 2]);
    }
}

static void sort(void) {
    static struct entry entries[SORTED];
    static struct step steps[SORT_STEPS];
    fill_bytes((uint8_t *)entries, sizeof entries, 15);
    struct array entries_array = ARRAY(entries, WL_READ_WRITE);
    uint32_t count = 0;
    for (uint32_t block = 2; block <= SORTED; block *= 2) {
        for (uint32_t distance = block / 2; distance > 0; distance /= 2, count++) {
            steps[count] = (struct step){block, distance};
            struct array step_array = new_array(&steps[count], sizeof *steps, WL_READ);
            LAUNCH(bitonic_step, SORTED, 64, 1, &step_array, &entries_array);
        }
    }
    for (uint32_t k = 1; k < SORTED; k++) {
        if (entries[k - 1].key > entries[k].key) {
            wrong("bitonic_step", "there is no order at", k);
        }
    }
}

static void cluster(void) {
    static float points[POINTS * DIMENSIONS], centres[CENTRES * DIMENSIONS], distances[POINTS];
    static uint8_t nearest[POINTS];
    fill_floats(points, POINTS * DIMENSIONS, 16, -3, 3);
    fill_floats(centres, CENTRES * DIMENSIONS, 17, -2, 2);
    struct array points_array = ARRAY(points, WL_READ), centres_array = ARRAY(centres, WL_READ),
                 nearest_array = ARRAY(nearest, WL_WRITE), distances_array = ARRAY(distances, WL_WRITE);
    LAUNCH(assign, POINTS, 64, 2, &points_array, &centres_array, &nearest_array, &distances_array);
}

int main(void) {
    histogram();
    scan();
    sort();
    cluster();
    return finish();
}
