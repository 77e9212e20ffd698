// scan_sums: sums of blocks of 64, one invocation for each block.
//
// binding 0: numbers, u32  binding 1: sums, u32
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<storage, read> data: array<u32>;
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    let first = i * 64u;
    if first >= arrayLength(&data) {
        return;
    }
    let end = min(first + 64u, arrayLength(&data));
    var sum = 0u;
    for (var k = first; k < end; k++) {
        sum += data[k];
    }
    sums[i] = sum;
}
