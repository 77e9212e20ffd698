// gemm_f32: c += a * b for square row-major matrices of f32, one invocation for each element of c.
//
// binding 0: rows and columns, uniform  binding 1: a  binding 2: b  binding 3: c (f32 each)
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<uniform> order: vec4<u32>;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    let n = order.x;
    if i >= n * n {
        return;
    }
    let row = i / n;
    let column = i % n;
    var sum = 0.0;
    for (var k = 0u; k < n; k++) {
        sum += a[row * n + k] * b[k * n + column];
    }
    c[i] += sum;
}
