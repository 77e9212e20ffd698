// reduce_parts: the sum of the 16 sums of `reduce`, one invocation for each element.
//
// binding 0: length of a vector, uniform  binding 1: 16 sums, f32  binding 2: sum, f32
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<uniform> size: vec4<u32>;
@group(0) @binding(1) var<storage, read> parts: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    let length = size.x;
    if i >= length {
        return;
    }
    var sum = 0.0;
    for (var part = 0u; part < 16u; part++) {
        sum += parts[part * length + i];
    }
    result[i] = sum;
}
