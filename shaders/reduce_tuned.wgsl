// reduce_tuned: sums of every 16th vector, element by element: a workgroup sums 64 elements, four rows of invocations take turns
// at the vectors, and their sums meet in shared memory.
//
// binding 0: length of a vector, number of vectors, uniform  binding 1: vectors, f32  binding 2: 16 sums, f32
// Workgroups of 64 x 4, ceil(length / 64) x 16 of them.

@group(0) @binding(0) var<uniform> size: vec4<u32>;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;

var<workgroup> sums: array<f32, 256>;

@compute @workgroup_size(64, 4)
fn main(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let length = size.x;
    let element = group.x * 64u + local.x;
    var sum = 0.0;
    if element < length {
        for (var v = group.y + 16u * local.y; v < size.y; v += 64u) {
            sum += vectors[v * length + element];
        }
    }
    sums[local.y * 64u + local.x] = sum;
    workgroupBarrier();
    if local.y == 0u && element < length {
        let at = local.x;
        parts[group.y * length + element] = sums[at] + sums[at + 64u] + sums[at + 128u] + sums[at + 192u];
    }
}
