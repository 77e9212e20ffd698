// star: a star-shaped stencil of radius 2 over a square grid, one invocation for each point.
//
// binding 0: rows and columns, uniform  binding 1: the grid  binding 2: the sum (f32 each)
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<uniform> size: vec4<u32>;
@group(0) @binding(1) var<storage, read> in: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    let n = size.x;
    if i >= n * n {
        return;
    }
    let x = i % n;
    let y = i / n;
    if x < 2u || y < 2u || x >= n - 2u || y >= n - 2u {
        return;
    }
    var sum = out[i];
    sum += -0.125 * in[i - 2u * n];
    sum += -0.25 * in[i - n];
    sum += 0.25 * in[i + n];
    sum += 0.125 * in[i + 2u * n];
    sum += -0.125 * in[i - 2u];
    sum += -0.25 * in[i - 1u];
    sum += 0.25 * in[i + 1u];
    sum += 0.125 * in[i + 2u];
    out[i] = sum;
}
