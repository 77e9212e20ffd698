// p2p_corner: the first corner of a grid becomes the negative last one; one invocation.
//
// binding 0: grid, f32
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<storage, read_write> grid: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i > 0u {
        return;
    }
    grid[0] = -grid[arrayLength(&grid) - 1u];
}
