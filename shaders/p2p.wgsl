// p2p: the points of one anti-diagonal of a square grid, from their neighbours above and to the left; one invocation for each point.
//
// binding 0: rows and columns of the grid, the place of the first point (the uppermost), uniform  binding 1: grid, f32
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<uniform> diagonal: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> grid: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    let n = diagonal.x;
    let first = diagonal.y;
    if i >= min(first % n, n - first / n) {
        return;
    }
    let at = first + i * (n - 1u);
    grid[at] = grid[at - n] + grid[at - 1u] - grid[at - n - 1u];
}
