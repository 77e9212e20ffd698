/* parts - pointers that go through memory in bytes, halves and bit fields, in pairs of 64 bits, or as other numbers, and are
 * whole again.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "harness.h"

enum { RUNS = 200, ITEMS = 8 };

#define KERNEL(name) \
    static void name(IDS, const uint32_t *in, uint32_t in_size, uint32_t *results, uint32_t results_size)

/* A local array of which a pointer goes around. */
#define ITEMS_OF(i)                              \
    uint32_t items[ITEMS];                       \
    for (uint32_t at_ = 0; at_ < ITEMS; at_++) { \
        items[at_] = in[i] + at_ * 3;            \
    }

static uint32_t sum_of(const uint32_t *items) {
    uint32_t sum = 0;
    for (uint32_t at = 0; at < ITEMS; at++) {
        sum = sum * 31 + items[at];
    }
    return sum;
}

/* Byte by byte, of the stack, and of both buffers. */
static uint32_t *through_bytes(const void *pointer) {
    volatile uint8_t bytes[4];
    uint32_t word = (uint32_t)(uintptr_t)pointer;
    bytes[0] = (uint8_t)word;
    bytes[1] = (uint8_t)(word >> 8);
    bytes[2] = (uint8_t)(word >> 16);
    bytes[3] = (uint8_t)(word >> 24);
    return (uint32_t *)(uintptr_t)(bytes[0] | bytes[1] << 8 | bytes[2] << 16 | (uint32_t)bytes[3] << 24);
}

KERNEL(bytes) {
    ITEMS_OF(i)
    uint32_t *at = through_bytes(items + (in[i] & 3));
    at[1] += 5;
    at[0] ^= 9;
    *through_bytes(results + i) = sum_of(items) + at[1] + *through_bytes(in + i);
}

KERNEL(halves) {
    ITEMS_OF(i)
    volatile uint16_t parts[2];
    uint32_t word = (uint32_t)(uintptr_t)(items + (in[i] & 3));
    parts[0] = (uint16_t)word;
    parts[1] = (uint16_t)(word >> 16);
    uint32_t *at = (uint32_t *)(uintptr_t)(parts[0] | (uint32_t)parts[1] << 16);
    at[1] += 5;
    results[i] = sum_of(items) + at[1];
}

/* Bytes in words, added. */
KERNEL(sums) {
    ITEMS_OF(i)
    volatile uint32_t parts[4];
    uint32_t word = (uint32_t)(uintptr_t)(items + (in[i] & 3));
    for (uint32_t part = 0; part < 4; part++) {
        parts[part] = word >> 8 * part & 0xff;
    }
    uint32_t *at = (uint32_t *)(uintptr_t)(parts[0] + (parts[1] << 8) + (parts[2] << 16) + (parts[3] << 24));
    at[1] += 5;
    results[i] = sum_of(items);
}

/* In loops: the highest byte first, and by a shift that is not known. */
KERNEL(loops) {
    volatile uint8_t parts[4], others[4];
    uint32_t to = (uint32_t)(uintptr_t)(results + i), from = (uint32_t)(uintptr_t)(in + i), word = 0, other = 0;
    for (uint32_t part = 0; part < 4; part++) {
        parts[part] = (uint8_t)(to >> 8 * part);
        others[part] = (uint8_t)(from >> 8 * part);
    }
#pragma clang loop unroll(disable)
    for (uint32_t part = 4; part-- > 0;) {
        word = word << 8 | parts[part];
    }
#pragma clang loop unroll(disable)
    for (uint32_t part = 0; part < 4; part++) {
        other |= (uint32_t)others[part] << 8 * part;
    }
    *(uint32_t *)(uintptr_t)word = *(const uint32_t *)(uintptr_t)other + 1;
}

/* A pointer of thirty bits beside a tag. */
struct tagged {
    uint32_t tag : 2;
    uint32_t pointer : 30;
};

KERNEL(bit_fields) {
    ITEMS_OF(i)
    volatile struct tagged field;
    field.tag = in[i] & 3;
    field.pointer = (uint32_t)(uintptr_t)(items + (in[i] >> 4 & 3)) >> 2;
    uint32_t *at = (uint32_t *)(uintptr_t)(field.pointer << 2);
    at[1] += 5 + field.tag;
    results[i] = sum_of(items);
}

/* A structure with a pointer, and functions, copied byte by byte. */
typedef uint32_t function(uint32_t, uint32_t);
__attribute__((noinline)) static uint32_t sum(uint32_t a, uint32_t b) { return a + b; }
__attribute__((noinline)) static uint32_t product(uint32_t a, uint32_t b) { return a * b; }
__attribute__((noinline)) static uint32_t difference(uint32_t a, uint32_t b) { return a ^ b; }
static function *const functions[] = {sum, product, difference};

struct object {
    function *const *methods;
    uint32_t *items;
    function *own;
};

__attribute__((noinline)) static void copy(volatile char *to, const volatile char *from, uint32_t size) {
    for (uint32_t at = 0; at < size; at++) {
        to[at] = from[at];
    }
}

KERNEL(objects) {
    ITEMS_OF(i)
    struct object made = {functions, items + 1, functions[in[i] % 3]}, copied;
    copy((char *)&copied, (const char *)&made, sizeof made);
    copied.items[0] = copied.methods[in[i] / 3 % 3](copied.items[1], copied.items[-1]);
    results[i] = copied.own(sum_of(items), 3);
}

/* A list whose links are halves of pointers. */
struct node {
    uint32_t value;
    uint16_t low, high;
};

KERNEL(lists) {
    struct node nodes[6];
    for (uint32_t at = 0; at < 6; at++) {
        uint32_t next = at < 5 ? (uint32_t)(uintptr_t)&nodes[at + 1] : 0;
        nodes[at] = (struct node){in[(i + at) % RUNS], (uint16_t)next, (uint16_t)(next >> 16)};
    }
    uint32_t sum = 0;
    for (const struct node *at = &nodes[in[i] % 3]; at;) {
        sum = sum * 3 + at->value;
        at = (const struct node *)(uintptr_t)(at->low | (uint32_t)at->high << 16);
    }
    results[i] = sum;
}

/* Seven bits in each byte but the last. */
KERNEL(varints) {
    ITEMS_OF(i)
    uint8_t bytes[5];
    uint32_t count = 0, at = 0, word = (uint32_t)(uintptr_t)(items + (in[i] & 3)), read = 0;
    do {
        bytes[count++] = (uint8_t)((word & 127) | (word > 127) << 7);
        word >>= 7;
    } while (word);
    do {
        read |= (uint32_t)(bytes[at] & 127) << 7 * at;
    } while (bytes[at++] & 128);
    ((uint32_t *)(uintptr_t)read)[1] += 5;
    results[i] = sum_of(items);
}

/* Pairs: one pointer to constant data, to data, to a local array, or to a buffer, and another one. */
static const uint32_t table[16] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
static uint32_t data[16] = {2, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4, 5, 9, 0, 4, 5};

static uint64_t pair(const void *low, const void *high) {
    return (uint32_t)(uintptr_t)low | (uint64_t)(uint32_t)(uintptr_t)high << 32;
}
static uint32_t *low(uint64_t pair) { return (uint32_t *)(uintptr_t)(uint32_t)pair; }
static uint32_t *high(uint64_t pair) { return (uint32_t *)(uintptr_t)(uint32_t)(pair >> 32); }

KERNEL(chosen_pairs) {
    uint64_t chosen = in[i] & 1 ? pair(table, in) : pair(data, results);
    results[i] = low(chosen)[in[i] >> 4 & 15] + (in[i] & 1 ? high(chosen)[i] : 7);
}

KERNEL(swapped_pairs) {
    uint64_t swapped = pair(table, in);
    uint32_t sum = 0;
#pragma clang loop unroll(disable)
    for (uint32_t round = 0; round < (in[i] & 7); round++) {
        sum = sum * 7 + low(swapped)[round];
        swapped = swapped << 32 | swapped >> 32;
    }
    results[i] = sum + low(swapped)[1];
}

KERNEL(listed_pairs) {
    ITEMS_OF(i)
    uint64_t pairs[] = {pair(data, results), pair(table, results), pair(in, results), pair(items, results)};
    uint64_t listed = pairs[in[i] & 3];
    high(listed)[i] = low(listed)[i & 7] + in[i] % 4;
}

KERNEL(pairs_of_locals) {
    ITEMS_OF(i)
    uint64_t local = in[i] & 1 ? pair(table, items) : pair(items, table);
    results[i] = low(local)[i & 7] * 10 + high(local)[i & 7];
}

/* What becomes of a pointer that other code computes with: any number may be one then. */
static uint32_t *through_digits(const void *pointer) {
    volatile char text[8];
    for (int digit = 0; digit < 8; digit++) {
        text[digit] = "0123456789abcdef"[(uint32_t)(uintptr_t)pointer >> (28 - 4 * digit) & 15];
    }
    uint32_t word = 0;
    for (int digit = 0; digit < 8; digit++) {
        char c = text[digit];
        word = word << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return (uint32_t *)(uintptr_t)word;
}

KERNEL(digits) {
    ITEMS_OF(i)
    uint32_t *at = through_digits(items + (in[i] & 3));
    at[1] += 5;
    at[0] ^= 9;
    *through_digits(results + i) = sum_of(items) + at[1] + *through_digits(in + i);
}

KERNEL(decimals) {
    ITEMS_OF(i)
    volatile char text[12];
    uint32_t length = 0, word = (uint32_t)(uintptr_t)(items + (in[i] & 3));
    do {
        text[length++] = (char)('0' + word % 10);
    } while (word /= 10);
    while (length > 0) {
        word = word * 10 + (uint32_t)(text[--length] - '0');
    }
    uint32_t *at = (uint32_t *)(uintptr_t)word;
    at[1] += 5;
    results[i] = sum_of(items) + at[1];
}

KERNEL(products) {
    ITEMS_OF(i)
    volatile uint32_t product = (uint32_t)(uintptr_t)items * 3u;
    volatile double real = (uint32_t)(uintptr_t)(items + (in[i] & 3));
    uint32_t *at = (uint32_t *)(uintptr_t)(uint32_t)real;
    at[1] += 5;
    ((uint32_t *)(uintptr_t)(product * 0xaaaaaaabu))[in[i] & 7] ^= 9;
    results[i] = sum_of(items) + at[1];
}

/* Places of a table by a hash of addresses. */
KERNEL(hashed) {
    ITEMS_OF(i)
    const uint32_t *known[16] = {0};
    for (uint32_t at = 0; at < ITEMS; at++) {
        uint32_t place = ((uint32_t)(uintptr_t)&items[at] >> 2) * 2654435761u >> 28;
        while (known[place]) {
            place = (place + 1) & 15;
        }
        known[place] = &items[at];
    }
    uint32_t sum = 0;
    for (uint32_t place = 0; place < 16; place++) {
        sum += known[place] ? *known[place] * 7 : 0;
    }
    results[i] = sum;
}

int main(void) {
    RUN(bytes, RUNS, 1, 1);
    RUN(halves, RUNS, 1, 1);
    RUN(sums, RUNS, 1, 1);
    RUN(loops, RUNS, 1, 1);
    RUN(bit_fields, RUNS, 1, 1);
    RUN(objects, RUNS, 1, 1);
    RUN(lists, RUNS, 1, 1);
    RUN(varints, RUNS, 1, 1);
    RUN(chosen_pairs, RUNS, 1, 1);
    RUN(swapped_pairs, RUNS, 1, 1);
    RUN(listed_pairs, RUNS, 1, 1);
    RUN(pairs_of_locals, RUNS, 1, 1);
    RUN(digits, RUNS, 1, 1);
    RUN(decimals, RUNS, 1, 1);
    RUN(products, RUNS, 1, 1);
    RUN(hashed, RUNS, 1, 1);
    return finish();
}
