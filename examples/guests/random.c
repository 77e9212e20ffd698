/* random - updates of a table at random places, which atomic exclusive ors make safe where invocations meet: the
 * Parallel Research Kernel of that name, HPC Challenge's RandomAccess.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * random [LOG2_SIZE [UPDATES]]: a table of 2^LOG2_SIZE numbers of 64 bits, and so many updates for each of them. All
 * updates are done twice, which must leave the table as it was. Built with -matomics. */
#include "harness.h"
#include "wavelift.h"

/* The random numbers are powers of x modulo the primitive polynomial x^63 + x^2 + x + 1 over GF(2), with the overflow
 * kept in bit 63, as HPC Challenge has them. */
enum { POLYNOMIAL = 7, STREAMS = 1024 };

static uint64_t next(uint64_t number) { return number << 1 ^ ((int64_t)number < 0 ? POLYNOMIAL : 0); }

/* The number at a position of the sequence, whose first is 1: x to that power, by squaring, as HPC Challenge's
 * HPCC_starts does it. */
static uint64_t start_of(uint64_t position) {
    if (position == 0) {
        return 1;
    }
    /* Squaring is linear in the bits: squares[i] is that of bit i. */
    uint64_t squares[64], square = 1, number = 2;
    for (int i = 0; i < 64; i++) {
        squares[i] = square;
        square = next(next(square));
    }
    int bit = 63 - __builtin_clzll(position);
    while (bit > 0) {
        uint64_t squared = 0;
        for (int i = 0; i < 64; i++) {
            squared ^= number >> i & 1 ? squares[i] : 0;
        }
        bit--;
        number = position >> bit & 1 ? next(squared) : squared;
    }
    return number;
}

/* Invocation i does its stream's updates, from starts[i] on. */
static void random_updates(int32_t iteration_id, int32_t num_iterations, int32_t block_size,
                           const uint64_t *starts, uint32_t starts_bytes, const uint32_t *updates, uint32_t updates_bytes,
                           uint64_t *table, uint32_t table_bytes) {
    uint64_t number = starts[iteration_id];
    uint32_t mask = table_bytes / 8 - 1;
    for (uint32_t update = *updates; update > 0; update--) {
        number = next(number);
        __atomic_fetch_xor(&table[number & mask], number, __ATOMIC_RELAXED);
    }
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {16, 4};
    const char *usage = "random [LOG2_SIZE [UPDATES]]";
    struct options o = parse_options(argc, argv, usage, 2, defaults);
    if (o.sizes[0] < 10 || o.sizes[0] > 26) {
        fail_usage(usage, "LOG2_SIZE must be 10 to 26", "");
    }
    uint32_t size = 1u << o.sizes[0], updates = o.sizes[1] * (size / STREAMS), bytes = size * 8;
    uint64_t *table = allocate(size, 8), starts[STREAMS];
    for (uint32_t i = 0; i < size; i++) {
        table[i] = i;
    }
    for (uint32_t stream = 0; stream < STREAMS; stream++) {
        starts[stream] = start_of((uint64_t)stream * updates);
    }

    wl_buffer buffers[3] = {0};
    struct times t = {0};
    if (!o.serial) {
        wl_device device = wl_open(WL_DISCRETE_GPU);
        buffers[0] = wl_new(device, sizeof starts, WL_READ);
        buffers[1] = wl_new(device, sizeof updates, WL_READ);
        buffers[2] = wl_new(device, bytes, WL_READ_WRITE);
        double start = now();
        wl_upload(buffers[0], starts, sizeof starts);
        wl_upload(buffers[1], &updates, sizeof updates);
        wl_upload(buffers[2], table, bytes);
        t.upload = now() - start;
    }
    uint64_t once = 0; /* of the bits that the updates of the first round change, all together */
    for (uint32_t round = 0; round < 2 * o.repeat; round++) {
        double start = now();
        if (o.serial) {
            for (uint32_t i = 0; i < STREAMS; i++) {
                random_updates(i, STREAMS, 64, starts, sizeof starts, &updates, sizeof updates, table, bytes);
            }
        } else {
            WL_LAUNCH(random_updates, STREAMS, 64, 2, buffers[0], buffers[1], buffers[2]);
            wl_wait(buffers[2]);
        }
        add_kernel_time(&t, now() - start, 1);
        if (round == 0) {
            if (!o.serial) {
                wl_download(buffers[2], table, bytes);
            }
            for (uint32_t i = 0; i < size; i++) {
                once ^= table[i] ^ i;
            }
        }
    }
    if (!o.serial) {
        double start = now();
        wl_download(buffers[2], table, bytes);
        t.download = now() - start;
    }
    for (uint32_t i = 0; i < size; i++) {
        if (table[i] != i) {
            fprintf(stderr, "entry %u is %llx after two rounds\n", i, (unsigned long long)table[i]);
            return 1;
        }
    }
    /* The updates of all streams are the numbers 1 to STREAMS * updates of one sequence. */
    uint64_t all = 0, number = 1;
    for (uint64_t i = 0; i < (uint64_t)STREAMS * updates; i++) {
        number = next(number);
        all ^= number;
    }
    if (all != once) {
        fprintf(stderr, "one round changed the bits %llx, not %llx\n", (unsigned long long)once, (unsigned long long)all);
        return 1;
    }
    printf("the table is as it was after two rounds of %u updates\n", STREAMS * updates);
    printf("GUPS: %f (best)\n", 1e-9 * STREAMS * updates / t.best);
    print_times("random", o.serial, &t);
    return 0;
}
