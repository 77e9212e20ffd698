// softmax: each row becomes shares of its exponentials' sum, one invocation for each row.
//
// binding 0: columns, uniform  binding 1: numbers, row by row  binding 2: shares, the same
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<uniform> columns: vec4<u32>;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    let count = columns.x;
    if i >= arrayLength(&source) / count {
        return;
    }
    let first = i * count;
    var most = source[first];
    for (var k = 1u; k < count; k++) {
        most = max(most, source[first + k]);
    }
    var sum = 0.0;
    for (var k = 0u; k < count; k++) {
        let value = exp(source[first + k] - most);
        result[first + k] = value;
        sum += value;
    }
    for (var k = 0u; k < count; k++) {
        result[first + k] /= sum;
    }
}
