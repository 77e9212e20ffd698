// transpose: b += a transposed, a += 1, one invocation for each element.
//
// binding 0: rows and columns, uniform  binding 1: a  binding 2: b (f32 each, row by row)
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<uniform> order: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    let n = order.x;
    if i >= n * n {
        return;
    }
    let row = i / n;
    let column = i % n;
    b[i] += a[column * n + row];
    a[column * n + row] += 1.0;
}
