// kmeans_move: centres move to the middle of their points, and the sums are zero again; one invocation for each centre.
//
// binding 0: as in `kmeans`  binding 1: centres
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<storage, read_write> sums: array<u32>;
@group(0) @binding(1) var<storage, read_write> centres: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i >= arrayLength(&centres) {
        return;
    }
    let points = sums[i * 8u + 4u];
    if points > 0u {
        centres[i] = vec4<f32>(vec4(sums[i * 8u], sums[i * 8u + 1u], sums[i * 8u + 2u], sums[i * 8u + 3u])) / f32(points);
    }
    for (var k = 0u; k < 5u; k++) {
        sums[i * 8u + k] = 0u;
    }
}
