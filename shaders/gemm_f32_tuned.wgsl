// gemm_f32_tuned: c += a * b for square row-major matrices of f32: tiles of 64 x 64, of which each invocation computes 4 x 4 elements
// from strips of a and b in shared memory.
//
// binding 0: rows and columns, uniform  binding 1: a  binding 2: b  binding 3: c (f32 each)
// Workgroups of 256, ceil(n / 64) in both directions.

@group(0) @binding(0) var<uniform> order: vec4<u32>;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

var<workgroup> strip_a: array<f32, 1024>;
var<workgroup> strip_b: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) index: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let n = order.x;
    let top = group.y * 64u;
    let left = group.x * 64u;
    let row = index / 16u * 4u;
    let column = index % 16u * 4u;
    var sums = array<vec4<f32>, 4>();
    for (var first = 0u; first < n; first += 16u) {
        // Each invocation loads four elements of both strips.
        let strip_row = index / 4u;
        let strip_column = index % 4u * 4u;
        for (var k = 0u; k < 4u; k++) {
            let y = top + strip_row;
            let x = first + strip_column + k;
            // Column by column, so that four rows lie beside each other.
            strip_a[(strip_column + k) * 64u + strip_row] = select(0.0, a[min(y * n + x, n * n - 1u)], y < n && x < n);
        }
        var words = vec4<f32>();
        for (var k = 0u; k < 4u; k++) {
            let y = first + index / 16u;
            let x = left + column + k;
            words[k] = select(0.0, b[min(y * n + x, n * n - 1u)], y < n && x < n);
        }
        strip_b[index] = words;
        workgroupBarrier();
        for (var k = 0u; k < 16u; k++) {
            let right = strip_b[k * 16u + column / 4u];
            let at = k * 64u + row;
            sums[0] += strip_a[at] * right;
            sums[1] += strip_a[at + 1u] * right;
            sums[2] += strip_a[at + 2u] * right;
            sums[3] += strip_a[at + 3u] * right;
        }
        workgroupBarrier();
    }
    for (var r = 0u; r < 4u; r++) {
        for (var k = 0u; k < 4u; k++) {
            let y = top + row + r;
            let x = left + column + k;
            if y < n && x < n {
                c[y * n + x] += sums[r][k];
            }
        }
    }
}
