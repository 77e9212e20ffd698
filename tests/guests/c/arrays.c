/* arrays - local arrays of a length that is known only when the kernel runs, and alloca, in functions that call nothing and in others.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "harness.h"

enum { RUNS = 96, WORDS = 16 };

#define KERNEL(name) \
    static void name(IDS, const uint32_t *in, uint32_t in_size, uint32_t *results, uint32_t results_size)

#define WORDS_OF(i) const uint32_t *words = in + (i) * WORDS;

/* One array in each round, longer and longer. */
KERNEL(longer) {
    WORDS_OF(i)
    uint32_t sum = 0;
    for (uint32_t length = 1; length < 9; length++) {
        uint8_t bytes[length];
        for (uint32_t at = 0; at < length; at++) {
            bytes[at] = (uint8_t)(words[at] >> length);
        }
        for (uint32_t at = 0; at + 1 < length; at++) {
            if (bytes[at] > bytes[at + 1]) {
                uint8_t other = bytes[at];
                bytes[at] = bytes[at + 1];
                bytes[at + 1] = other;
            }
        }
        sum = sum * 31 + bytes[length - 1];
    }
    results[i] = sum;
}

KERNEL(jumps) {
    WORDS_OF(i)
    uint32_t sum = 0, round = 0;
again:;
    {
        uint32_t length = 1 + (words[round] & 7), items[length];
        for (uint32_t at = 0; at < length; at++) {
            items[at] = words[at] + sum;
        }
        sum = sum * 3 + items[length - 1];
        if (++round < 7) {
            goto again;
        }
    }
    results[i] = sum;
}

struct node {
    struct node *left, *right;
    uint32_t value;
};

/* Nodes of one size, as many as there are different words. */
KERNEL(trees) {
    WORDS_OF(i)
    struct node *root = 0, *open[WORDS];
    for (uint32_t at = 0; at < WORDS; at++) {
        struct node **place = &root;
        uint32_t value = words[at] >> 28;
        while (*place && (*place)->value != value) {
            place = value < (*place)->value ? &(*place)->left : &(*place)->right;
        }
        if (!*place) {
            *place = __builtin_alloca(sizeof(struct node));
            **place = (struct node){0, 0, value};
        }
    }
    uint32_t sum = 0, count = 0;
    for (struct node *node = root; node || count;) {
        if (node) {
            open[count++] = node;
            node = node->left;
        } else {
            node = open[--count];
            sum = sum * 17 + node->value;
            node = node->right;
        }
    }
    results[i] = sum;
}

/* The array lives on when the round is over. */
KERNEL(rounds) {
    WORDS_OF(i)
    uint32_t *last = 0;
    for (uint32_t round = 0; round < 1 + (words[0] & 7); round++) {
        uint32_t *items = __builtin_alloca(8);
        items[0] = (uint32_t)(uintptr_t)last;
        items[1] = words[round];
        last = items;
    }
    uint32_t sum = 0;
    for (; last; last = (uint32_t *)(uintptr_t)last[0]) {
        sum = sum * 33 + last[1];
    }
    results[i] = sum;
}

/* The same below an array that is aligned to more than the stack is. */
KERNEL(aligned) {
    _Alignas(64) uint32_t words[WORDS];
    for (uint32_t at = 0; at < WORDS; at++) {
        words[at] = in[WORDS * i + at];
    }
    uint32_t *last = 0;
    for (uint32_t round = 0; round < 1 + (words[0] & 7); round++) {
        uint32_t *items = __builtin_alloca(8);
        items[0] = (uint32_t)(uintptr_t)last;
        items[1] = words[(words[round] + round) % WORDS];
        last = items;
    }
    uint32_t sum = 0;
    for (; last; last = (uint32_t *)(uintptr_t)last[0]) {
        sum = sum * 33 + last[1];
    }
    results[i] = sum;
}

KERNEL(squares) {
    WORDS_OF(i)
    uint32_t length = 3 + words[0] % 6, items[length][length], sum = 0;
    for (uint32_t at = 0; at < length * length; at++) {
        items[at / length][at % length] = words[at % WORDS] + at;
    }
    for (uint32_t round = 0; round < 4; round++) {
        uint32_t count = 1 + words[round] % 7;
        uint16_t halves[count];
        for (uint32_t at = 0; at < count; at++) {
            halves[at] = (uint16_t)items[at % length][(at + round) % length];
        }
        sum = sum * 31 + halves[count - 1];
    }
    results[i] = sum;
}

__attribute__((noinline)) static uint32_t reversed(const uint32_t *words, uint32_t length) {
    uint32_t items[length], sum = 0;
    for (uint32_t at = 0; at < length; at++) {
        items[length - 1 - at] = words[at];
    }
    for (uint32_t at = 0; at < length; at++) {
        sum = sum * 5 + items[at];
    }
    return sum;
}

KERNEL(called) {
    WORDS_OF(i)
    uint32_t length = 1 + words[0] % 9, items[length];
    for (uint32_t at = 0; at < length; at++) {
        items[at] = reversed(words, 1 + words[at] % 12);
    }
    results[i] = reversed(items, length);
}

int main(void) {
    RUN(longer, RUNS, WORDS, 1);
    RUN(jumps, RUNS, WORDS, 1);
    RUN(trees, RUNS, WORDS, 1);
    RUN(rounds, RUNS, WORDS, 1);
    RUN(aligned, RUNS, WORDS, 1);
    RUN(squares, RUNS, WORDS, 1);
    RUN(called, RUNS, WORDS, 1);
    return finish();
}
