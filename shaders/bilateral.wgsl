// bilateral: a smoothing filter of radius 2 that keeps edges, one invocation for each pixel.
//
// binding 0: width, height, uniform  binding 1: image, f32  binding 2: result, f32
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<uniform> size: vec4<i32>;
@group(0) @binding(1) var<storage, read> image: array<f32>;
@group(0) @binding(2) var<storage, read_write> smooth_image: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i >= arrayLength(&image) {
        return;
    }
    let x = i32(i) % size.x;
    let y = i32(i) / size.x;
    let here = image[i];
    var sum = 0.0;
    var weights = 0.0;
    for (var dy = -2; dy <= 2; dy++) {
        let row = clamp(y + dy, 0, size.y - 1) * size.x;
        for (var dx = -2; dx <= 2; dx++) {
            let there = image[row + clamp(x + dx, 0, size.x - 1)];
            let difference = there - here;
            let weight = exp(-0.125 * f32(dx * dx + dy * dy) - 50.0 * difference * difference);
            sum += weight * there;
            weights += weight;
        }
    }
    smooth_image[i] = sum / weights;
}
