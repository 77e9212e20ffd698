// black_scholes: prices of European options, a call and a put for each, one invocation for each option.
//
// binding 0: options (spot, strike, years, unused)   binding 1: prices (call, put)
// Workgroups of 64. At least ceil(count / 64) of them, as a row or a rectangle (x, y, 1).

const rate = 0.02;
const volatility = 0.3;

@group(0) @binding(0) var<storage, read> options: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> prices: array<vec2<f32>>;

// The cumulative normal distribution by Abramowitz and Stegun's polynomial 26.2.17.
fn normal(d: f32) -> f32 {
    let k = 1.0 / (1.0 + 0.2316419 * abs(d));
    let sum = k * (0.31938153 + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429))));
    let tail = 0.39894228 * exp(-0.5 * d * d) * sum;
    return select(tail, 1.0 - tail, d > 0.0);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i >= arrayLength(&options) {
        return;
    }
    let option = options[i];
    let root = volatility * sqrt(option.z);
    let d1 = (log(option.x / option.y) + (rate + 0.5 * volatility * volatility) * option.z) / root;
    let discounted = option.y * exp(-rate * option.z);
    let first = normal(d1);
    let second = normal(d1 - root);
    prices[i] = vec2(option.x * first - discounted * second, discounted * (1.0 - second) - option.x * (1.0 - first));
}
