// sgemm: c = a * b for square row-major matrices of n rows, one invocation for each element of c.
//
// binding 0: params, uniform   binding 1: a   binding 2: b   binding 3: c   (n * n f32 each)
// Workgroups of 64. At least ceil(n * n / 64) of them, as a row or a rectangle (x, y, 1).

struct Params {
    n: u32,
    unused0: u32,
    unused1: u32,
    unused2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    let n = params.n;
    if i >= n * n {
        return;
    }
    let row = i / n;
    let column = i % n;
    var sum = 0.0;
    for (var k = 0u; k < n; k++) {
        sum += a[row * n + k] * b[k * n + column];
    }
    c[i] = sum;
}
