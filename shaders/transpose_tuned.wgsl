// transpose_tuned: b += a transposed, a += 1, by tiles of 32 x 32 in shared memory, so that both are read and written in rows.
//
// binding 0: rows and columns, uniform  binding 1: a  binding 2: b (f32 each, row by row)
// Workgroups of 32 x 8, ceil(n / 32) in both directions.

@group(0) @binding(0) var<uniform> order: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;

// A column more than there is, so that no two rows of a column lie in one bank.
var<workgroup> tile: array<f32, 1056>;

@compute @workgroup_size(32, 8)
fn main(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let n = order.x;
    let x = group.x * 32u + local.x;
    for (var k = 0u; k < 32u; k += 8u) {
        let y = group.y * 32u + local.y + k;
        if x < n && y < n {
            let value = a[y * n + x];
            tile[(local.y + k) * 33u + local.x] = value;
            a[y * n + x] = value + 1.0;
        }
    }
    workgroupBarrier();
    let column = group.y * 32u + local.x;
    for (var k = 0u; k < 32u; k += 8u) {
        let row = group.x * 32u + local.y + k;
        if column < n && row < n {
            b[row * n + column] += tile[local.x * 33u + local.y + k];
        }
    }
}
