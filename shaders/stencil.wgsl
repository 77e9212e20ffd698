// stencil: one sweep of a five-point average over a grid whose border keeps its values, one invocation for each point.
//
// binding 0: params, uniform   binding 1: before   binding 2: after   (width * height f32 each)
// Workgroups of 64. At least ceil(width * height / 64) of them, as a row or a rectangle (x, y, 1).

struct Params {
    width: u32,
    height: u32,
    unused0: u32,
    unused1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> before: array<f32>;
@group(0) @binding(2) var<storage, read_write> after: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    let width = params.width;
    if i >= width * params.height {
        return;
    }
    let x = i % width;
    let y = i / width;
    if x == 0u || y == 0u || x == width - 1u || y == params.height - 1u {
        after[i] = before[i];
    } else {
        after[i] = 0.2 * (before[i] + before[i - 1u] + before[i + 1u] + before[i - width] + before[i + width]);
    }
}
