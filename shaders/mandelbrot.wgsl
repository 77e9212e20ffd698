// mandelbrot: how many steps each point takes to escape, one invocation for each point.
//
// binding 0: params, uniform   binding 1: steps (width * height u32)
// Workgroups of 64. At least ceil(width * height / 64) of them, as a row or a rectangle (x, y, 1).

struct Params {
    width: u32,
    height: u32,
    max_steps: u32,
    left: f32,
    top: f32,
    dx: f32,
    dy: f32,
    unused0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> steps: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i >= params.width * params.height {
        return;
    }
    let cx = params.left + f32(i % params.width) * params.dx;
    let cy = params.top + f32(i / params.width) * params.dy;
    let max_steps = params.max_steps;
    var x = 0.0;
    var y = 0.0;
    var step = 0u;
    while step < max_steps {
        let xx = x * x;
        let yy = y * y;
        if xx + yy > 4.0 {
            break;
        }
        y = 2.0 * x * y + cy;
        x = xx - yy + cx;
        step++;
    }
    steps[i] = step;
}
