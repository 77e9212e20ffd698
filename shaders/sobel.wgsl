// sobel: edges of a grey image of bytes, one invocation for each four pixels, which are a word.
//
// binding 0: width (a multiple of 4), height, uniform  binding 1: image, four bytes a word  binding 2: edges, the same
// Workgroups of 64. At least ceil(width * height / 256) of them, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<uniform> size: vec4<u32>;
@group(0) @binding(1) var<storage, read> image: array<u32>;
@group(0) @binding(2) var<storage, read_write> edges: array<u32>;

// The pixels of a word, and one more on both sides where there are such.
fn row(word: u32, x: u32, words: u32) -> array<i32, 6> {
    let here = image[word];
    let before = image[select(word - 1u, word, x == 0u)];
    let after = image[select(word + 1u, word, x == words - 1u)];
    return array(
        i32(before >> 24u),
        i32(here & 255u),
        i32(here >> 8u & 255u),
        i32(here >> 16u & 255u),
        i32(here >> 24u),
        i32(after & 255u),
    );
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    let words = size.x / 4u;
    if i >= words * size.y {
        return;
    }
    let y = i / words;
    if y == 0u || y == size.y - 1u {
        edges[i] = 0u;
        return;
    }
    let x = i % words;
    let above = row(i - words, x, words);
    let at = row(i, x, words);
    let below = row(i + words, x, words);
    var packed = 0u;
    for (var k = 0u; k < 4u; k++) {
        let column = x * 4u + k;
        if column > 0u && column < size.x - 1u {
            let across = above[k + 2u] - above[k] + 2 * (at[k + 2u] - at[k]) + below[k + 2u] - below[k];
            let down = below[k] - above[k] + 2 * (below[k + 1u] - above[k + 1u]) + below[k + 2u] - above[k + 2u];
            let edge = min(u32(sqrt(f32(across * across + down * down))), 255u);
            packed |= edge << (8u * k);
        }
    }
    edges[i] = packed;
}
