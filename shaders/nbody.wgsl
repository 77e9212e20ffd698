// nbody: one time step of bodies that attract each other, all pairs, one invocation for each body.
//
// binding 0: params, uniform   binding 1: before (x, y, z, mass)   binding 2: velocity (x, y, z, unused)
// binding 3: after (x, y, z, mass)   (one vec4 of f32 for each body)
// Workgroups of 64. At least ceil(bodies / 64) of them, as a row or a rectangle (x, y, 1).

struct Params {
    bodies: u32,
    dt: f32,
    softening: f32,
    unused0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> before: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> velocity: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> after: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    let bodies = params.bodies;
    if i >= bodies {
        return;
    }
    let me = before[i];
    let softening = params.softening;
    var sum = vec3<f32>(0.0);
    for (var j = 0u; j < bodies; j++) {
        let other = before[j];
        let d = other.xyz - me.xyz;
        // Written out, as the order of a dot product's additions is the driver's choice.
        let inverse = 1.0 / sqrt(d.x * d.x + d.y * d.y + d.z * d.z + softening);
        let pull = other.w * inverse * inverse * inverse;
        sum += pull * d;
    }
    let v = velocity[i].xyz + sum * params.dt;
    velocity[i] = vec4<f32>(v, velocity[i].w);
    after[i] = vec4<f32>(me.xyz + v * params.dt, me.w);
}
