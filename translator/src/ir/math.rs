//! Functions of C's mathematical library, of 32-bit floats, that devices have or that are made of what they have.
//!
//! Their meaning here is that of the crate `libm`, a port of musl's: the same words on every machine that lifts.

use rspirv::spirv::GlslStd450Op;
use serde::{Deserialize, Serialize};

use super::Type;

macro_rules! math_operators {
    ($($name:ident = $text:literal : $arity:literal, $glsl:expr, |$args:ident| $value:expr;)*) => {
        /// A function of C's mathematical library. Operands and result are `F32`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum MathOp {
            $(#[doc = concat!("`", $text, "`")] $name,)*
        }

        impl MathOp {
            /// All of them, in table order.
            pub const ALL: &[MathOp] = &[$(MathOp::$name,)*];

            /// The function's name in C.
            pub fn name(self) -> &'static str {
                match self { $(MathOp::$name => $text,)* }
            }

            /// Number of its operands, 1 to 3.
            pub fn arity(self) -> usize {
                match self { $(MathOp::$name => $arity,)* }
            }

            /// The instruction of devices that computes it where it is defined; `None` for those that are made of others.
            pub fn on_device(self) -> Option<GlslStd450Op> {
                match self { $(MathOp::$name => $glsl,)* }
            }

            /// The function's value; operands beyond its own are not looked at.
            pub fn eval(self, args: [f32; 3]) -> f32 {
                match self { $(MathOp::$name => { let $args = args; $value })* }
            }
        }
    };
}

math_operators! {
    Sin = "sinf": 1, Some(GlslStd450Op::Sin), |a| libm::sinf(a[0]);
    Cos = "cosf": 1, Some(GlslStd450Op::Cos), |a| libm::cosf(a[0]);
    Tan = "tanf": 1, Some(GlslStd450Op::Tan), |a| libm::tanf(a[0]);
    Asin = "asinf": 1, None, |a| libm::asinf(a[0]);
    Acos = "acosf": 1, None, |a| libm::acosf(a[0]);
    Atan = "atanf": 1, Some(GlslStd450Op::Atan), |a| libm::atanf(a[0]);
    Atan2 = "atan2f": 2, Some(GlslStd450Op::Atan2), |a| libm::atan2f(a[0], a[1]);
    Sinh = "sinhf": 1, Some(GlslStd450Op::Sinh), |a| libm::sinhf(a[0]);
    Cosh = "coshf": 1, Some(GlslStd450Op::Cosh), |a| libm::coshf(a[0]);
    Tanh = "tanhf": 1, Some(GlslStd450Op::Tanh), |a| libm::tanhf(a[0]);
    Exp = "expf": 1, Some(GlslStd450Op::Exp), |a| libm::expf(a[0]);
    Exp2 = "exp2f": 1, Some(GlslStd450Op::Exp2), |a| libm::exp2f(a[0]);
    Exp10 = "exp10f": 1, None, |a| libm::exp10f(a[0]);
    Expm1 = "expm1f": 1, None, |a| libm::expm1f(a[0]);
    Log = "logf": 1, Some(GlslStd450Op::Log), |a| libm::logf(a[0]);
    Log2 = "log2f": 1, Some(GlslStd450Op::Log2), |a| libm::log2f(a[0]);
    Log10 = "log10f": 1, None, |a| libm::log10f(a[0]);
    Log1p = "log1pf": 1, None, |a| libm::log1pf(a[0]);
    Pow = "powf": 2, Some(GlslStd450Op::Pow), |a| libm::powf(a[0], a[1]);
    Cbrt = "cbrtf": 1, None, |a| libm::cbrtf(a[0]);
    Hypot = "hypotf": 2, None, |a| libm::hypotf(a[0], a[1]);
    Fmod = "fmodf": 2, None, |a| libm::fmodf(a[0], a[1]);
    Fmin = "fminf": 2, None, |a| libm::fminf(a[0], a[1]);
    Fmax = "fmaxf": 2, None, |a| libm::fmaxf(a[0], a[1]);
    Fdim = "fdimf": 2, None, |a| libm::fdimf(a[0], a[1]);
    Round = "roundf": 1, None, |a| libm::roundf(a[0]);
    Fma = "fmaf": 3, Some(GlslStd450Op::Fma), |a| libm::fmaf(a[0], a[1], a[2]);
}

impl MathOp {
    /// The function with this name in C.
    pub fn from_name(name: &str) -> Option<MathOp> {
        MathOp::ALL.iter().copied().find(|op| op.name() == name)
    }

    /// Whether these are its operands' types.
    pub fn takes(self, args: &[Type]) -> bool {
        args.len() == self.arity() && args.iter().all(|ty| *ty == Type::F32)
    }
}
