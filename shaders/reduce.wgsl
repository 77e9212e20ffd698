// reduce: sums of every 16th vector, element by element; one invocation for each element of each of 16 sums.
//
// binding 0: length of a vector, number of vectors, uniform  binding 1: vectors, f32  binding 2: 16 sums, f32
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<uniform> size: vec4<u32>;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i >= arrayLength(&parts) {
        return;
    }
    let length = size.x;
    var sum = 0.0;
    for (var v = i / length; v < size.y; v += 16u) {
        sum += vectors[v * length + i % length];
    }
    parts[i] = sum;
}
