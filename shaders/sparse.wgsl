// sparse: a sparse matrix, whose rows have equally many entries, times a vector; one invocation for each row.
//
// binding 0: entries of a row, uniform
// binding 1: entries, f32
// binding 2: their columns, u32
// binding 3: vector, f32
// binding 4: result, f32
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<uniform> entries: vec4<u32>;
@group(0) @binding(1) var<storage, read> matrix: array<f32>;
@group(0) @binding(2) var<storage, read> columns: array<u32>;
@group(0) @binding(3) var<storage, read> vector: array<f32>;
@group(0) @binding(4) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i >= arrayLength(&result) {
        return;
    }
    let each = entries.x;
    var sum = 0.0;
    for (var k = i * each; k < (i + 1u) * each; k++) {
        sum += matrix[k] * vector[columns[k]];
    }
    result[i] += sum;
}
