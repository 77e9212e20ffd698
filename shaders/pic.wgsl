// pic: a step of particles in a field of fixed charges, one invocation for each particle.
//
// binding 0: cells of a row and column, uniform  binding 1: charges, f32, column by column  binding 2: particles
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

struct Particle {
    x: f32,
    y: f32,
    vx: f32,
    vy: f32,
    charge: f32,
    x0: f32,
    y0: f32,
    unused: f32,
}

@group(0) @binding(0) var<uniform> cells: vec4<u32>;
@group(0) @binding(1) var<storage, read> grid: array<f32>;
@group(0) @binding(2) var<storage, read_write> particles: array<Particle>;

fn coulomb(dx: f32, dy: f32, q1: f32, q2: f32) -> vec2<f32> {
    let r2 = dx * dx + dy * dy;
    return q1 * q2 / r2 / sqrt(r2) * vec2(dx, dy);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i >= arrayLength(&particles) {
        return;
    }
    let p = particles[i];
    let g = cells.x + 1u;
    let x = u32(p.x);
    let y = u32(p.y);
    let dx = p.x - f32(x);
    let dy = p.y - f32(y);
    let left_above = coulomb(dx, dy, p.charge, grid[y + x * g]);
    let left_below = coulomb(dx, 1.0 - dy, p.charge, grid[y + 1u + x * g]);
    let right_above = coulomb(1.0 - dx, dy, p.charge, grid[y + (x + 1u) * g]);
    let right_below = coulomb(1.0 - dx, 1.0 - dy, p.charge, grid[y + 1u + (x + 1u) * g]);
    let ax = left_above.x + left_below.x - right_above.x - right_below.x;
    let ay = left_above.y - left_below.y + right_above.y - right_below.y;
    let size = f32(cells.x);
    let new_x = p.x + p.vx + 0.5 * ax + size;
    let new_y = p.y + p.vy + 0.5 * ay + size;
    particles[i].x = new_x - size * floor(new_x / size);
    particles[i].y = new_y - size * floor(new_y / size);
    particles[i].vx = p.vx + ax;
    particles[i].vy = p.vy + ay;
}
