/* sha256 - FIPS 180-4's hash of many messages of 64 bytes, one invocation for each message.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * sha256 [MESSAGES] */
#include "bench.h"

static const uint32_t ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int by) { return x >> by | x << (32 - by); }

/* One block; the schedule is kept as its last 16 words. */
static void compress(uint32_t state[8], uint32_t w[16]) {
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
    /* Written out, the schedule's places are constants. */
#pragma unroll
    for (int t = 0; t < 64; t++) {
        if (t >= 16) {
            uint32_t x = w[(t + 1) & 15], y = w[(t + 14) & 15];
            w[t & 15] += (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) + w[(t + 9) & 15] + (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
        }
        uint32_t first = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) + ROUND[t] + w[t & 15];
        uint32_t second = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b)));
        h = g;
        g = f;
        f = e;
        e = d + first;
        d = c;
        c = b;
        b = a;
        a = first + second;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

/* Messages and digests are words of bytes in order; SHA-256 takes the first byte for the highest. */
KERNEL(sha256, ARRAY(const uint32_t, messages), ARRAY(uint32_t, digests)) {
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}, w[16];
    for (int k = 0; k < 16; k++) {
        w[k] = __builtin_bswap32(messages[iteration_id * 16 + k]);
    }
    compress(state, w);
    for (int k = 1; k < 15; k++) {
        w[k] = 0;
    }
    w[0] = 0x80000000;
    w[15] = 64 * 8;
    compress(state, w);
    for (int k = 0; k < 8; k++) {
        digests[iteration_id * 8 + k] = __builtin_bswap32(state[k]);
    }
}

/* As the standard describes it, byte by byte and with the whole schedule. */
static void digest(const uint8_t message[64], uint8_t out[32]) {
    uint8_t padded[128] = {0};
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(padded, message, 64);
    padded[64] = 0x80;
    padded[126] = 2;
    for (int block = 0; block < 2; block++) {
        uint32_t w[64], v[8];
        for (int t = 0; t < 64; t++) {
            if (t < 16) {
                const uint8_t *at = padded + 64 * block + 4 * t;
                w[t] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
            } else {
                w[t] = w[t - 16] + (rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3) + w[t - 7] +
                       (rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10);
            }
        }
        memcpy(v, state, sizeof v);
        for (int t = 0; t < 64; t++) {
            uint32_t first = v[7] + (rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)) +
                             ((v[4] & v[5]) ^ (~v[4] & v[6])) + ROUND[t] + w[t];
            uint32_t second = (rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)) +
                              ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
            memmove(v + 1, v, 7 * sizeof *v);
            v[4] += first;
            v[0] = first + second;
        }
        for (int k = 0; k < 8; k++) {
            state[k] += v[k];
        }
    }
    for (int k = 0; k < 32; k++) {
        out[k] = (uint8_t)(state[k / 4] >> (24 - 8 * (k % 4)));
    }
}

int main(int argc, char **argv) {
    static const uint32_t defaults[] = {1 << 14};
    uint32_t count = *start(argc, argv, "sha256 [MESSAGES]", 1, defaults), state = 1;
    uint8_t *messages = allocate(count, 64), *digests = allocate(count, 32), expected[32];
    /* The hash of 64 times `a` begins with these bytes: a known value for the check itself. */
    uint8_t known[64];
    memset(known, 'a', sizeof known);
    digest(known, expected);
    require(expected[0] == 0xff && expected[1] == 0xe0 && expected[2] == 0x54, "the known hash", expected[0], 0xff);
    for (uint32_t i = 0; i < count * 64; i++) {
        state = state * 1664525u + 1013904223u;
        messages[i] = (uint8_t)(state >> 24);
    }
    wl_buffer messages_buffer = give(messages, count * 64, WL_READ), digests_buffer = room(count * 32);
    while (next_round()) {
        WL_LAUNCH(sha256, count, 64, 1, messages_buffer, digests_buffer);
        end_round(digests_buffer, 1);
    }
    take(digests_buffer, digests, count * 32);
    for (uint32_t i = 0; i < count; i++) {
        digest(messages + i * 64, expected);
        require(memcmp(expected, digests + i * 32, 32) == 0, "a digest's first byte, or another one,", digests[i * 32], expected[0]);
    }
    return finish("sha256");
}
