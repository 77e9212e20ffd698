// kmeans: each point joins the nearest of 16 centres in four dimensions, one invocation for each point.
//
// binding 0: points
// binding 1: centres
// binding 2: the nearest centre of each
// binding 3: of each centre: four sums of coordinates, number of points, three unused
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<storage, read> points: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> centres: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> sums: array<atomic<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i >= arrayLength(&labels) {
        return;
    }
    let point = points[i];
    var nearest = 0u;
    var least = 1e38;
    for (var k = 0u; k < 16u; k++) {
        let by = point - centres[k];
        let distance = by.x * by.x + by.y * by.y + by.z * by.z + by.w * by.w;
        if distance < least {
            least = distance;
            nearest = k;
        }
    }
    labels[i] = nearest;
    for (var d = 0u; d < 4u; d++) {
        atomicAdd(&sums[nearest * 8u + d], u32(point[d]));
    }
    atomicAdd(&sums[nearest * 8u + 4u], 1u);
}
