// saxpy_tuned: y = 2 x + y, one invocation for each four elements. The length is a multiple of four.
//
// binding 0: x   binding 1: y   (f32 each, of one length)
// Workgroups of 64. At least ceil(length / 256) of them, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i >= arrayLength(&y) {
        return;
    }
    y[i] = 2.0 * x[i] + y[i];
}
