// gemm_f64_tuned: c += a * b for square row-major matrices of f64: tiles of 16 x 16 in shared memory.
//
// binding 0: rows and columns, uniform  binding 1: a  binding 2: b  binding 3: c (f64 each)
// Workgroups of 16 x 16, ceil(n / 16) in both directions.

@group(0) @binding(0) var<uniform> order: vec4<u32>;
@group(0) @binding(1) var<storage, read> a: array<f64>;
@group(0) @binding(2) var<storage, read> b: array<f64>;
@group(0) @binding(3) var<storage, read_write> c: array<f64>;

var<workgroup> tile_a: array<f64, 256>;
var<workgroup> tile_b: array<f64, 256>;

@compute @workgroup_size(16, 16)
fn main(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let n = order.x;
    let row = group.y * 16u + local.y;
    let column = group.x * 16u + local.x;
    let at = local.y * 16u + local.x;
    var sum = f64(0);
    for (var first = 0u; first < n; first += 16u) {
        let x = first + local.x;
        let y = first + local.y;
        tile_a[at] = f64(0);
        tile_b[at] = f64(0);
        if row < n && x < n {
            tile_a[at] = a[row * n + x];
        }
        if y < n && column < n {
            tile_b[at] = b[y * n + column];
        }
        workgroupBarrier();
        for (var k = 0u; k < 16u; k++) {
            sum += tile_a[local.y * 16u + k] * tile_b[k * 16u + local.x];
        }
        workgroupBarrier();
    }
    if row < n && column < n {
        c[row * n + column] += sum;
    }
}
