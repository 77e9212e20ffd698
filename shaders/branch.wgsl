// branch: a branch that depends on data inside a loop, one invocation for each element.
//
// binding 0: iterations, uniform  binding 1: index, u32  binding 2: vector, i32
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<uniform> iterations: vec4<u32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> vector: array<i32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i >= arrayLength(&vector) {
        return;
    }
    let value = 3 - i32(i & 7u);
    for (var iteration = 0u; iteration < iterations.x; iteration += 2u) {
        if vector[index[i]] > 0 {
            vector[i] -= 2 * vector[i];
        } else {
            vector[i] -= -2 * value;
        }
        if vector[index[i]] > 0 {
            vector[i] -= 2 * vector[i];
        } else {
            vector[i] -= 2 * value;
        }
    }
}
