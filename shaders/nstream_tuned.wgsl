// nstream_tuned: a += b + 3 * c, one invocation for each four elements. The length is a multiple of four.
//
// binding 0: b   binding 1: c   binding 2: a   (f32 each, of one length)
// Workgroups of 64. At least ceil(length / 256) of them, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> c: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> a: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i >= arrayLength(&a) {
        return;
    }
    a[i] += b[i] + 3.0 * c[i];
}
