// sha256: the hash of messages of 64 bytes, one invocation for each message.
//
// binding 0: messages, four bytes a word  binding 1: digests, the same
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<storage, read> messages: array<u32>;
@group(0) @binding(1) var<storage, read_write> digests: array<u32>;

const ROUND = array<u32, 64>(
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
    0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
    0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
    0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
    0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
);

fn rotate(x: u32, by: u32) -> u32 {
    return (x >> by) | (x << (32u - by));
}

fn compress(before: array<u32, 8>, words: array<u32, 16>) -> array<u32, 8> {
    var w = words;
    var a = before[0];
    var b = before[1];
    var c = before[2];
    var d = before[3];
    var e = before[4];
    var f = before[5];
    var g = before[6];
    var h = before[7];
    for (var first = 0u; first < 64u; first += 16u) {
        // Sixteen rounds have constant places in the schedule, which is so kept in registers.
        let t0 = h + (rotate(e, 6u) ^ rotate(e, 11u) ^ rotate(e, 25u)) + (g ^ (e & (f ^ g))) + ROUND[first + 0u] + w[0];
        d += t0;
        h = t0 + (rotate(a, 2u) ^ rotate(a, 13u) ^ rotate(a, 22u)) + ((a & b) | (c & (a | b)));
        let t1 = g + (rotate(d, 6u) ^ rotate(d, 11u) ^ rotate(d, 25u)) + (f ^ (d & (e ^ f))) + ROUND[first + 1u] + w[1];
        c += t1;
        g = t1 + (rotate(h, 2u) ^ rotate(h, 13u) ^ rotate(h, 22u)) + ((h & a) | (b & (h | a)));
        let t2 = f + (rotate(c, 6u) ^ rotate(c, 11u) ^ rotate(c, 25u)) + (e ^ (c & (d ^ e))) + ROUND[first + 2u] + w[2];
        b += t2;
        f = t2 + (rotate(g, 2u) ^ rotate(g, 13u) ^ rotate(g, 22u)) + ((g & h) | (a & (g | h)));
        let t3 = e + (rotate(b, 6u) ^ rotate(b, 11u) ^ rotate(b, 25u)) + (d ^ (b & (c ^ d))) + ROUND[first + 3u] + w[3];
        a += t3;
        e = t3 + (rotate(f, 2u) ^ rotate(f, 13u) ^ rotate(f, 22u)) + ((f & g) | (h & (f | g)));
        let t4 = d + (rotate(a, 6u) ^ rotate(a, 11u) ^ rotate(a, 25u)) + (c ^ (a & (b ^ c))) + ROUND[first + 4u] + w[4];
        h += t4;
        d = t4 + (rotate(e, 2u) ^ rotate(e, 13u) ^ rotate(e, 22u)) + ((e & f) | (g & (e | f)));
        let t5 = c + (rotate(h, 6u) ^ rotate(h, 11u) ^ rotate(h, 25u)) + (b ^ (h & (a ^ b))) + ROUND[first + 5u] + w[5];
        g += t5;
        c = t5 + (rotate(d, 2u) ^ rotate(d, 13u) ^ rotate(d, 22u)) + ((d & e) | (f & (d | e)));
        let t6 = b + (rotate(g, 6u) ^ rotate(g, 11u) ^ rotate(g, 25u)) + (a ^ (g & (h ^ a))) + ROUND[first + 6u] + w[6];
        f += t6;
        b = t6 + (rotate(c, 2u) ^ rotate(c, 13u) ^ rotate(c, 22u)) + ((c & d) | (e & (c | d)));
        let t7 = a + (rotate(f, 6u) ^ rotate(f, 11u) ^ rotate(f, 25u)) + (h ^ (f & (g ^ h))) + ROUND[first + 7u] + w[7];
        e += t7;
        a = t7 + (rotate(b, 2u) ^ rotate(b, 13u) ^ rotate(b, 22u)) + ((b & c) | (d & (b | c)));
        let t8 = h + (rotate(e, 6u) ^ rotate(e, 11u) ^ rotate(e, 25u)) + (g ^ (e & (f ^ g))) + ROUND[first + 8u] + w[8];
        d += t8;
        h = t8 + (rotate(a, 2u) ^ rotate(a, 13u) ^ rotate(a, 22u)) + ((a & b) | (c & (a | b)));
        let t9 = g + (rotate(d, 6u) ^ rotate(d, 11u) ^ rotate(d, 25u)) + (f ^ (d & (e ^ f))) + ROUND[first + 9u] + w[9];
        c += t9;
        g = t9 + (rotate(h, 2u) ^ rotate(h, 13u) ^ rotate(h, 22u)) + ((h & a) | (b & (h | a)));
        let t10 = f + (rotate(c, 6u) ^ rotate(c, 11u) ^ rotate(c, 25u)) + (e ^ (c & (d ^ e))) + ROUND[first + 10u] + w[10];
        b += t10;
        f = t10 + (rotate(g, 2u) ^ rotate(g, 13u) ^ rotate(g, 22u)) + ((g & h) | (a & (g | h)));
        let t11 = e + (rotate(b, 6u) ^ rotate(b, 11u) ^ rotate(b, 25u)) + (d ^ (b & (c ^ d))) + ROUND[first + 11u] + w[11];
        a += t11;
        e = t11 + (rotate(f, 2u) ^ rotate(f, 13u) ^ rotate(f, 22u)) + ((f & g) | (h & (f | g)));
        let t12 = d + (rotate(a, 6u) ^ rotate(a, 11u) ^ rotate(a, 25u)) + (c ^ (a & (b ^ c))) + ROUND[first + 12u] + w[12];
        h += t12;
        d = t12 + (rotate(e, 2u) ^ rotate(e, 13u) ^ rotate(e, 22u)) + ((e & f) | (g & (e | f)));
        let t13 = c + (rotate(h, 6u) ^ rotate(h, 11u) ^ rotate(h, 25u)) + (b ^ (h & (a ^ b))) + ROUND[first + 13u] + w[13];
        g += t13;
        c = t13 + (rotate(d, 2u) ^ rotate(d, 13u) ^ rotate(d, 22u)) + ((d & e) | (f & (d | e)));
        let t14 = b + (rotate(g, 6u) ^ rotate(g, 11u) ^ rotate(g, 25u)) + (a ^ (g & (h ^ a))) + ROUND[first + 14u] + w[14];
        f += t14;
        b = t14 + (rotate(c, 2u) ^ rotate(c, 13u) ^ rotate(c, 22u)) + ((c & d) | (e & (c | d)));
        let t15 = a + (rotate(f, 6u) ^ rotate(f, 11u) ^ rotate(f, 25u)) + (h ^ (f & (g ^ h))) + ROUND[first + 15u] + w[15];
        e += t15;
        a = t15 + (rotate(b, 2u) ^ rotate(b, 13u) ^ rotate(b, 22u)) + ((b & c) | (d & (b | c)));
        if first < 48u {
            w[0] += (rotate(w[1], 7u) ^ rotate(w[1], 18u) ^ (w[1] >> 3u)) + w[9] + (rotate(w[14], 17u) ^ rotate(w[14], 19u) ^ (w[14] >> 10u));
            w[1] += (rotate(w[2], 7u) ^ rotate(w[2], 18u) ^ (w[2] >> 3u)) + w[10] + (rotate(w[15], 17u) ^ rotate(w[15], 19u) ^ (w[15] >> 10u));
            w[2] += (rotate(w[3], 7u) ^ rotate(w[3], 18u) ^ (w[3] >> 3u)) + w[11] + (rotate(w[0], 17u) ^ rotate(w[0], 19u) ^ (w[0] >> 10u));
            w[3] += (rotate(w[4], 7u) ^ rotate(w[4], 18u) ^ (w[4] >> 3u)) + w[12] + (rotate(w[1], 17u) ^ rotate(w[1], 19u) ^ (w[1] >> 10u));
            w[4] += (rotate(w[5], 7u) ^ rotate(w[5], 18u) ^ (w[5] >> 3u)) + w[13] + (rotate(w[2], 17u) ^ rotate(w[2], 19u) ^ (w[2] >> 10u));
            w[5] += (rotate(w[6], 7u) ^ rotate(w[6], 18u) ^ (w[6] >> 3u)) + w[14] + (rotate(w[3], 17u) ^ rotate(w[3], 19u) ^ (w[3] >> 10u));
            w[6] += (rotate(w[7], 7u) ^ rotate(w[7], 18u) ^ (w[7] >> 3u)) + w[15] + (rotate(w[4], 17u) ^ rotate(w[4], 19u) ^ (w[4] >> 10u));
            w[7] += (rotate(w[8], 7u) ^ rotate(w[8], 18u) ^ (w[8] >> 3u)) + w[0] + (rotate(w[5], 17u) ^ rotate(w[5], 19u) ^ (w[5] >> 10u));
            w[8] += (rotate(w[9], 7u) ^ rotate(w[9], 18u) ^ (w[9] >> 3u)) + w[1] + (rotate(w[6], 17u) ^ rotate(w[6], 19u) ^ (w[6] >> 10u));
            w[9] += (rotate(w[10], 7u) ^ rotate(w[10], 18u) ^ (w[10] >> 3u)) + w[2] + (rotate(w[7], 17u) ^ rotate(w[7], 19u) ^ (w[7] >> 10u));
            w[10] += (rotate(w[11], 7u) ^ rotate(w[11], 18u) ^ (w[11] >> 3u)) + w[3] + (rotate(w[8], 17u) ^ rotate(w[8], 19u) ^ (w[8] >> 10u));
            w[11] += (rotate(w[12], 7u) ^ rotate(w[12], 18u) ^ (w[12] >> 3u)) + w[4] + (rotate(w[9], 17u) ^ rotate(w[9], 19u) ^ (w[9] >> 10u));
            w[12] += (rotate(w[13], 7u) ^ rotate(w[13], 18u) ^ (w[13] >> 3u)) + w[5] + (rotate(w[10], 17u) ^ rotate(w[10], 19u) ^ (w[10] >> 10u));
            w[13] += (rotate(w[14], 7u) ^ rotate(w[14], 18u) ^ (w[14] >> 3u)) + w[6] + (rotate(w[11], 17u) ^ rotate(w[11], 19u) ^ (w[11] >> 10u));
            w[14] += (rotate(w[15], 7u) ^ rotate(w[15], 18u) ^ (w[15] >> 3u)) + w[7] + (rotate(w[12], 17u) ^ rotate(w[12], 19u) ^ (w[12] >> 10u));
            w[15] += (rotate(w[0], 7u) ^ rotate(w[0], 18u) ^ (w[0] >> 3u)) + w[8] + (rotate(w[13], 17u) ^ rotate(w[13], 19u) ^ (w[13] >> 10u));
        }
    }
    return array(
        before[0] + a, before[1] + b, before[2] + c, before[3] + d, before[4] + e, before[5] + f, before[6] + g, before[7] + h,
    );
}

fn swap(x: u32) -> u32 {
    return (x >> 24u) | (x >> 8u & 0xff00u) | (x << 8u & 0xff0000u) | (x << 24u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i >= arrayLength(&digests) / 8u {
        return;
    }
    var w = array<u32, 16>();
    for (var k = 0u; k < 16u; k++) {
        w[k] = swap(messages[i * 16u + k]);
    }
    var state = array(
        0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au, 0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u,
    );
    state = compress(state, w);
    state = compress(state, array(0x80000000u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 512u));
    for (var k = 0u; k < 8u; k++) {
        digests[i * 8u + k] = swap(state[k]);
    }
}
