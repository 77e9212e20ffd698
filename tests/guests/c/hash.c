/* hash - SHA-256, xxHash64 and CRC-32, one message an invocation.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "harness.h"

enum { MESSAGES = 300, LENGTH = 75 };

static const uint32_t ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int by) { return x >> by | x << (32 - by); }

static void compress(uint32_t state[8], const uint8_t block[64]) {
    uint32_t w[64];
    for (int t = 0; t < 16; t++) {
        w[t] = (uint32_t)block[4 * t] << 24 | block[4 * t + 1] << 16 | block[4 * t + 2] << 8 | block[4 * t + 3];
    }
    for (int t = 16; t < 64; t++) {
        uint32_t a = w[t - 15], b = w[t - 2];
        w[t] = w[t - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[t - 7] + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    uint32_t v[8];
    memcpy(v, state, sizeof v);
#pragma nounroll
    for (int t = 0; t < 64; t++) {
        uint32_t e = v[4], a = v[0];
        uint32_t first = v[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & v[5]) ^ (~e & v[6])) + ROUND[t] + w[t];
        uint32_t second = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        for (int k = 7; k > 0; k--) {
            v[k] = v[k - 1];
        }
        v[4] += first;
        v[0] = first + second;
    }
    for (int k = 0; k < 8; k++) {
        state[k] += v[k];
    }
}

static void sha256(IDS, const uint8_t *messages, uint32_t messages_size, uint8_t *digests, uint32_t digests_size) {
    const uint8_t *message = messages + i * LENGTH;
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint8_t block[64];
    uint32_t at = 0;
    for (; at + 64 <= LENGTH; at += 64) {
        compress(state, message + at);
    }
    memset(block, 0, sizeof block);
    memcpy(block, message + at, LENGTH - at);
    block[LENGTH - at] = 0x80;
    block[62] = (uint8_t)(LENGTH * 8 >> 8);
    block[63] = (uint8_t)(LENGTH * 8);
    compress(state, block);
    for (int k = 0; k < 32; k++) {
        digests[i * 32 + k] = (uint8_t)(state[k / 4] >> (24 - 8 * (k % 4)));
    }
}

static const uint64_t P1 = 0x9e3779b185ebca87, P2 = 0xc2b2ae3d27d4eb4f, P3 = 0x165667b19e3779f9, P4 = 0x85ebca77c2b2ae63,
                      P5 = 0x27d4eb2f165667c5;

static uint64_t rotate64(uint64_t x, int by) { return x << by | x >> (64 - by); }

static uint64_t mix(uint64_t sum, uint64_t input) { return rotate64(sum + input * P2, 31) * P1; }

/* A message starts at any byte: its words are unaligned. */
static uint64_t word64(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static void xxhash64(IDS, const uint8_t *messages, uint32_t messages_size, uint64_t *hashes, uint32_t hashes_size) {
    const uint8_t *at = messages + i * LENGTH, *end = at + LENGTH;
    uint64_t seed = (uint64_t)i, lane[4] = {seed + P1 + P2, seed + P2, seed, seed - P1};
    for (; end - at >= 32; at += 32) {
        for (int k = 0; k < 4; k++) {
            lane[k] = mix(lane[k], word64(at + 8 * k));
        }
    }
    uint64_t hash = rotate64(lane[0], 1) + rotate64(lane[1], 7) + rotate64(lane[2], 12) + rotate64(lane[3], 18);
    for (int k = 0; k < 4; k++) {
        hash = (hash ^ mix(0, lane[k])) * P1 + P4;
    }
    hash += LENGTH;
    for (; end - at >= 8; at += 8) {
        hash = rotate64(hash ^ mix(0, word64(at)), 27) * P1 + P4;
    }
    for (; at < end; at++) {
        hash = rotate64(hash ^ *at * P5, 11) * P1;
    }
    hash = (hash ^ hash >> 33) * P2;
    hash = (hash ^ hash >> 29) * P3;
    hashes[i] = hash ^ hash >> 32;
}

static const uint32_t NIBBLE[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                    0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                    0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};

static void crc32(IDS, const uint8_t *messages, uint32_t messages_size, uint32_t *sums, uint32_t sums_size) {
    uint32_t sum = ~0u;
    for (uint32_t k = 0; k < LENGTH; k++) {
        sum ^= messages[i * LENGTH + k];
        sum = sum >> 4 ^ NIBBLE[sum & 15];
        sum = sum >> 4 ^ NIBBLE[sum & 15];
    }
    sums[i] = ~sum;
}

int main(void) {
    static uint8_t messages[MESSAGES * LENGTH], digests[MESSAGES * 32];
    static uint64_t hashes[MESSAGES];
    static uint32_t sums[MESSAGES];
    fill_bytes(messages, sizeof messages, 8);
    struct array messages_array = ARRAY(messages, WL_READ), digests_array = ARRAY(digests, WL_WRITE),
                 hashes_array = ARRAY(hashes, WL_WRITE), sums_array = ARRAY(sums, WL_WRITE);
    LAUNCH(sha256, MESSAGES, 64, 1, &messages_array, &digests_array);
    LAUNCH(xxhash64, MESSAGES, 64, 1, &messages_array, &hashes_array);
    LAUNCH(crc32, MESSAGES, 64, 1, &messages_array, &sums_array);
    return finish();
}
