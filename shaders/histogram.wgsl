// histogram: bins[data[i] % bins] += 1, one invocation for each element. The number of bins is a power of two.
//
// binding 0: data, u32   binding 1: bins, u32
// Workgroups of 64. At least ceil(length / 64) of them, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<storage, read> data: array<u32>;
@group(0) @binding(1) var<storage, read_write> bins: array<atomic<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i >= arrayLength(&data) {
        return;
    }
    atomicAdd(&bins[data[i] & (arrayLength(&bins) - 1u)], 1u);
}
