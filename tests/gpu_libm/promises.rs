//! What is promised of each function, and what is right.

use wavelift_translator::ir::MathOp;

/// The largest arguments of sines, cosines and tangents that are reduced well.
pub const PERIODIC_LIMIT: f32 = 262_144.0;

/// The largest quotients of which `fmodf` gives the remainder.
pub const QUOTIENT_LIMIT: f32 = 68_719_476_736.0;

/// The largest arguments of `hypotf`; beyond, GPUs that flush subnormals lose the smaller one.
pub const HYPOT_LIMIT: f32 = 1e37;

/// The error of a function over arguments in these ranges.
pub struct Promise {
    pub op: MathOp,
    pub arguments: [[f32; 2]; 3],
    /// In units in the last place of the right result.
    pub units: f64,
    /// An error up to this is allowed in any case.
    pub absolute: f64,
}

const ONE: [f32; 2] = [1.0, 1.0];

const fn of(op: MathOp, range: [f32; 2], units: f64, absolute: f64) -> Promise {
    Promise { op, arguments: [range, ONE, ONE], units, absolute }
}

const fn of_two(op: MathOp, x: [f32; 2], y: [f32; 2], units: f64) -> Promise {
    Promise { op, arguments: [x, y, ONE], units, absolute: 0.0 }
}

/// On lavapipe (Mesa 25) and NVIDIA's driver (580).
pub const PROMISES: &[Promise] = &[
    of(MathOp::Sin, [-100.0, 100.0], 4.0, 1e-6),
    of(MathOp::Sin, [-PERIODIC_LIMIT, PERIODIC_LIMIT], 4.0, 1e-6),
    of(MathOp::Cos, [-100.0, 100.0], 4.0, 1e-6),
    of(MathOp::Cos, [-PERIODIC_LIMIT, PERIODIC_LIMIT], 4.0, 1e-6),
    of(MathOp::Tan, [-1.5, 1.5], 64.0, 1e-6),
    of(MathOp::Asin, [-1.0, 1.0], 512.0, 0.0),
    of(MathOp::Acos, [-1.0, 1.0], 512.0, 0.0),
    of(MathOp::Atan, [-1e6, 1e6], 512.0, 0.0),
    of_two(MathOp::Atan2, [-100.0, 100.0], [-100.0, 100.0], 512.0),
    of(MathOp::Sinh, [-88.0, 88.0], 96.0, 0.0),
    of(MathOp::Cosh, [-88.0, 88.0], 96.0, 0.0),
    of(MathOp::Tanh, [-20.0, 20.0], 16.0, 0.0),
    of(MathOp::Exp, [-87.0, 88.0], 96.0, 0.0),
    of(MathOp::Exp, [-1.0, 1.0], 4.0, 0.0),
    of(MathOp::Exp2, [-126.0, 127.0], 4.0, 0.0),
    of(MathOp::Exp10, [-37.0, 38.0], 96.0, 0.0),
    of(MathOp::Expm1, [-80.0, 88.0], 96.0, 0.0),
    of(MathOp::Log, [1e-37, 3e38], 4.0, 1e-6),
    of(MathOp::Log, [0.5, 2.0], 4.0, 1e-6),
    of(MathOp::Log2, [1e-37, 3e38], 4.0, 1e-6),
    of(MathOp::Log10, [1e-37, 3e38], 4.0, 1e-6),
    of(MathOp::Log1p, [-0.9, 1e6], 16.0, 1e-6),
    of_two(MathOp::Pow, [0.001, 100.0], [-4.0, 4.0], 64.0),
    of_two(MathOp::Pow, [0.5, 2.0], [-100.0, 100.0], 256.0),
    of(MathOp::Cbrt, [-1e6, 1e6], 4.0, 0.0),
    of_two(MathOp::Hypot, [-1e20, 1e20], [-1e20, 1e20], 4.0),
    of_two(MathOp::Fmod, [-1e6, 1e6], [0.01, 100.0], 0.0),
    of_two(MathOp::Fmin, [-10.0, 10.0], [-10.0, 10.0], 0.0),
    of_two(MathOp::Fmax, [-10.0, 10.0], [-10.0, 10.0], 0.0),
    of_two(MathOp::Fdim, [-10.0, 10.0], [-10.0, 10.0], 0.5),
    of(MathOp::Round, [-1e7, 1e7], 0.0, 0.0),
    Promise { op: MathOp::Fma, arguments: [[-10.0, 10.0]; 3], units: 0.5, absolute: 1e-5 },
];

/// Arguments that are special to one function or another.
pub const EDGES: &[f32] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    -2.5,
    2.0,
    -2.0,
    3.0,
    -3.0,
    0.25,
    1e-3,
    -1e-3,
    1e-10,
    7.0,
    -10.0,
    12.5,
    20.0,
    -30.0,
    50.0,
    -80.0,
    100.0,
    -150.0,
    1000.0,
    -1e5,
    1e6,
    1e10,
    -1e20,
    3e38,
    -3e38,
    1e-37,
    -1e-37,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

/// The function's value to 64 bits.
pub fn exact(op: MathOp, [x, y, z]: [f64; 3]) -> f64 {
    match op {
        MathOp::Sin => x.sin(),
        MathOp::Cos => x.cos(),
        MathOp::Tan => x.tan(),
        MathOp::Asin => x.asin(),
        MathOp::Acos => x.acos(),
        MathOp::Atan => x.atan(),
        MathOp::Atan2 => x.atan2(y),
        MathOp::Sinh => x.sinh(),
        MathOp::Cosh => x.cosh(),
        MathOp::Tanh => x.tanh(),
        MathOp::Exp => x.exp(),
        MathOp::Exp2 => x.exp2(),
        MathOp::Exp10 => 10f64.powf(x),
        MathOp::Expm1 => x.exp_m1(),
        MathOp::Log => x.ln(),
        MathOp::Log2 => x.log2(),
        MathOp::Log10 => x.log10(),
        MathOp::Log1p => x.ln_1p(),
        MathOp::Pow => x.powf(y),
        MathOp::Cbrt => x.cbrt(),
        MathOp::Hypot => x.hypot(y),
        MathOp::Fmod => x % y,
        MathOp::Fmin => x.min(y),
        MathOp::Fmax => x.max(y),
        MathOp::Fdim => {
            if x > y {
                x - y
            } else {
                0.0
            }
        }
        MathOp::Round => x.round(),
        MathOp::Fma => x.mul_add(y, z),
    }
}
