/* sorting - the C library's qsort with functions that compare numbers, floats and structures; a search; digests made of helpers.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <stdlib.h>

#include "harness.h"

enum { LISTS = 96, LENGTH = 24, FLOATS = 17, RECORDS = 12, KEYS = 200, SORTED = 300, MESSAGES = 80, MESSAGE = 100 };

static int by_value(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int downwards(const void *a, const void *b) { return by_value(b, a); }

static int by_float(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

struct record {
    uint8_t tag[4];
    float weight;
    uint32_t number;
};

/* By tag, then the heavier first. */
static int by_record(const void *a, const void *b) {
    const struct record *x = a, *y = b;
    int tags = memcmp(x->tag, y->tag, 2);
    if (tags != 0) {
        return tags;
    }
    return x->weight > y->weight ? -1 : x->weight < y->weight;
}

/* Each invocation sorts a list where it lies, every other one downwards. */
static void integers(IDS, int32_t *lists, uint32_t lists_size) {
    qsort(lists + i * LENGTH, LENGTH, sizeof *lists, i % 2 ? downwards : by_value);
}

/* The lower quartile, median and upper quartile of a list, sorted in a local copy. */
static void quartiles(IDS, const float *lists, uint32_t lists_size, float *found, uint32_t found_size) {
    float list[FLOATS];
    for (int k = 0; k < FLOATS; k++) {
        list[k] = lists[i * FLOATS + k];
    }
    qsort(list, FLOATS, sizeof *list, by_float);
    for (int k = 0; k < 3; k++) {
        found[3 * i + k] = list[(k + 1) * (FLOATS - 1) / 4];
    }
}

static void records(IDS, struct record *lists, uint32_t lists_size) {
    struct record *list = lists + i * RECORDS;
    qsort(list, RECORDS, sizeof *list, by_record);
    for (int k = 0; k < RECORDS; k++) {
        list[k].number = list[k].number << 8 | (uint32_t)k;
    }
}

/* Where a key is in what is sorted; -1 if it is not there. */
static void searched(IDS, const int32_t *keys, uint32_t keys_size, const int32_t *sorted, uint32_t sorted_size, int32_t *at,
                     uint32_t at_size) {
    const int32_t *found = bsearch(&keys[i], sorted, sorted_size / sizeof *sorted, sizeof *sorted, by_value);
    at[i] = found ? (int32_t)(found - sorted) : -1;
}

/* SHA-1 and MD5 as textbooks have them: each step calls its helpers. */
static uint32_t rotated(uint32_t x, uint32_t by) { return x << by | x >> (32 - by); }

static uint32_t big_endian(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static uint32_t little_endian(const uint8_t *bytes) {
    return (uint32_t)bytes[3] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[1] << 8 | bytes[0];
}

struct digest {
    uint32_t words[5];
    uint8_t block[64];
    uint32_t filled, total;
    void (*run)(struct digest *);
};

static uint32_t choice(uint32_t x, uint32_t y, uint32_t z) { return (x & y) | (~x & z); }
static uint32_t parity(uint32_t x, uint32_t y, uint32_t z) { return x ^ y ^ z; }
static uint32_t majority(uint32_t x, uint32_t y, uint32_t z) { return (x & y) ^ (x & z) ^ (y & z); }

static void sha1_block(struct digest *digest) {
    uint32_t w[80];
    for (int t = 0; t < 80; t++) {
        w[t] = t < 16 ? big_endian(digest->block + 4 * t) : rotated(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    }
    uint32_t a = digest->words[0], b = digest->words[1], c = digest->words[2], d = digest->words[3], e = digest->words[4];
    for (int t = 0; t < 80; t++) {
        uint32_t mixed;
        if (t < 20) {
            mixed = choice(b, c, d) + 0x5a827999;
        } else if (t < 40) {
            mixed = parity(b, c, d) + 0x6ed9eba1;
        } else if (t < 60) {
            mixed = majority(b, c, d) + 0x8f1bbcdc;
        } else {
            mixed = parity(b, c, d) + 0xca62c1d6;
        }
        uint32_t next = rotated(a, 5) + mixed + e + w[t];
        e = d;
        d = c;
        c = rotated(b, 30);
        b = a;
        a = next;
    }
    digest->words[0] += a;
    digest->words[1] += b;
    digest->words[2] += c;
    digest->words[3] += d;
    digest->words[4] += e;
}

static const uint8_t md5_turns[16] = {7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21};

static void md5_step(uint32_t w[4], uint32_t f, uint32_t word, uint32_t constant, uint32_t turn) {
    uint32_t next = w[1] + rotated(w[0] + f + word + constant, turn);
    w[0] = w[3];
    w[3] = w[2];
    w[2] = w[1];
    w[1] = next;
}

/* floor(2^32 |sin(t + 1)|) is a table elsewhere; any constants do to be compared. */
static uint32_t md5_constant(int t) { return 0xd76aa478u * (2 * (uint32_t)t + 1); }

static void md5_block(struct digest *digest) {
    uint32_t w[4];
    memcpy(w, digest->words, sizeof w);
    for (int t = 0; t < 64; t++) {
        const uint8_t *block = digest->block;
        uint32_t turn = md5_turns[t / 16 * 4 + t % 4];
        if (t < 16) {
            md5_step(w, choice(w[1], w[2], w[3]), little_endian(block + 4 * t), md5_constant(t), turn);
        } else if (t < 32) {
            md5_step(w, choice(w[3], w[1], w[2]), little_endian(block + 4 * ((5 * t + 1) % 16)), md5_constant(t), turn);
        } else if (t < 48) {
            md5_step(w, parity(w[1], w[2], w[3]), little_endian(block + 4 * ((3 * t + 5) % 16)), md5_constant(t), turn);
        } else {
            md5_step(w, w[2] ^ (w[1] | ~w[3]), little_endian(block + 4 * (7 * t % 16)), md5_constant(t), turn);
        }
    }
    for (int k = 0; k < 4; k++) {
        digest->words[k] += w[k];
    }
}

static void start(struct digest *digest, void (*run)(struct digest *)) {
    static const uint32_t initial[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    memset(digest, 0, sizeof *digest);
    memcpy(digest->words, initial, sizeof initial);
    digest->run = run;
}

static void add_byte(struct digest *digest, uint8_t byte) {
    digest->block[digest->filled++] = byte;
    digest->total += 8;
    if (digest->filled == sizeof digest->block) {
        digest->run(digest);
        digest->filled = 0;
    }
}

static void add(struct digest *digest, const uint8_t *bytes, uint32_t count) {
    for (uint32_t k = 0; k < count; k++) {
        add_byte(digest, bytes[k]);
    }
}

static void end(struct digest *digest, int is_big) {
    uint32_t total = digest->total;
    add_byte(digest, 0x80);
    while (digest->filled != 56) {
        add_byte(digest, 0);
    }
    for (int k = 0; k < 8; k++) {
        int at = is_big ? 7 - k : k;
        add_byte(digest, at < 4 ? (uint8_t)(total >> 8 * at) : 0);
    }
}

/* SHA-1 of a message keyed as HMAC keys it, roughly: with a block before it. */
static void sha1(IDS, const uint8_t *messages, uint32_t messages_size, uint32_t *digests, uint32_t digests_size) {
    struct digest digest;
    uint8_t pad[4] = {0x36, 0x5c, (uint8_t)i, 0};
    start(&digest, sha1_block);
    add(&digest, pad, sizeof pad);
    add(&digest, messages + i * MESSAGE, (uint32_t)(i * 7 % MESSAGE));
    end(&digest, 1);
    for (int k = 0; k < 5; k++) {
        digests[i * 5 + k] = digest.words[k];
    }
}

static void md5(IDS, const uint8_t *messages, uint32_t messages_size, uint32_t *digests, uint32_t digests_size) {
    struct digest digest;
    start(&digest, md5_block);
    add(&digest, messages + i * MESSAGE, (uint32_t)(i * 11 % MESSAGE));
    end(&digest, 0);
    for (int k = 0; k < 4; k++) {
        digests[i * 4 + k] = digest.words[k];
    }
}

static void sort_lists(void) {
    static int32_t numbers[LISTS * LENGTH];
    static float floats[LISTS * FLOATS], found[LISTS * 3];
    static struct record entries[LISTS * RECORDS];
    fill_bytes((uint8_t *)numbers, sizeof numbers, 31);
    fill_floats(floats, LISTS * FLOATS, 32, -5, 5);
    for (uint32_t k = 0; k < LISTS * RECORDS; k++) {
        entries[k] = (struct record){{k * 7 % 3, k % 2, 0, 1}, (float)(k * 37 % 11), k};
    }
    struct array numbers_array = ARRAY(numbers, WL_READ_WRITE), floats_array = ARRAY(floats, WL_READ),
                 found_array = ARRAY(found, WL_WRITE), entries_array = ARRAY(entries, WL_READ_WRITE);
    LAUNCH(integers, LISTS, 32, 0, &numbers_array);
    LAUNCH(quartiles, LISTS, 32, 1, &floats_array, &found_array);
    LAUNCH(records, LISTS, 32, 0, &entries_array);
    for (uint32_t k = 1; k < LISTS * LENGTH; k++) {
        if (k % LENGTH != 0 && (k / LENGTH % 2 ? numbers[k - 1] < numbers[k] : numbers[k - 1] > numbers[k])) {
            wrong("integers", "there is no order at", k);
        }
    }
}

static void search(void) {
    static int32_t keys[KEYS], sorted[SORTED], at[KEYS];
    for (int k = 0; k < SORTED; k++) {
        sorted[k] = 3 * k - 100;
    }
    for (int k = 0; k < KEYS; k++) {
        keys[k] = 5 * k - 130;
    }
    struct array keys_array = ARRAY(keys, WL_READ), sorted_array = ARRAY(sorted, WL_READ), at_array = ARRAY(at, WL_WRITE);
    LAUNCH(searched, KEYS, 64, 2, &keys_array, &sorted_array, &at_array);
}

static void digest(void) {
    static uint8_t messages[MESSAGES * MESSAGE];
    static uint32_t sha1s[MESSAGES * 5], md5s[MESSAGES * 4];
    fill_bytes(messages, sizeof messages, 33);
    struct array messages_array = ARRAY(messages, WL_READ), sha1_array = ARRAY(sha1s, WL_WRITE),
                 md5_array = ARRAY(md5s, WL_WRITE);
    LAUNCH(sha1, MESSAGES, 16, 1, &messages_array, &sha1_array);
    LAUNCH(md5, MESSAGES, 16, 1, &messages_array, &md5_array);
}

int main(void) {
    sort_lists();
    search();
    digest();
    return finish();
}
