// fft: a stage of the Fourier transform by Stockham's algorithm, one invocation for each pair.
//
// binding 0: half the length, number of transforms so far, uniform
// binding 1: roots of unity
// binding 2: numbers before
// binding 3: numbers after
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<uniform> stage: vec4<u32>;
@group(0) @binding(1) var<storage, read> factors: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> source: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> result: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    let half = stage.x;
    if i >= half {
        return;
    }
    let q = i & (stage.y - 1u);
    let p = i - q;
    let a = source[i];
    let b = source[i + half];
    let w = factors[p];
    let difference = a - b;
    result[2u * p + q] = a + b;
    result[2u * p + q + stage.y] = vec2(
        difference.x * w.x - difference.y * w.y,
        difference.x * w.y + difference.y * w.x,
    );
}
