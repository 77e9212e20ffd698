// sparse_fill: adds to each element its number, counted from 1.
//
// binding 0: vector, f32
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<storage, read_write> vector: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i >= arrayLength(&vector) {
        return;
    }
    vector[i] += f32(i + 1u);
}
