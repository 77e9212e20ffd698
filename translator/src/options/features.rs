//! What a device has and does, as far as shaders depend on it.

use serde::Serialize;

/// The largest error, in units in the last place, of a device's quotient or root that can still be corrected. All APIs
/// promise less: Vulkan, with the widest bounds, 2.5 for a quotient and about 5 for a root.
pub const MAX_GUESS_ERROR: u64 = 8;

/// What the device has, as far as the shader's text depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Features {
    /// 64-bit integers.
    pub int64: bool,
    /// Atomic operations on 64-bit integers in storage buffers; of no use in the portable profile.
    pub int64_atomics: bool,
    /// 64-bit floats.
    pub float64: bool,
    /// Bytes of storage buffers can be stored by themselves; of no use in the portable profile, which has none.
    pub storage8: bool,
    /// The same of 16-bit words.
    pub storage16: bool,
    /// The driver moves loads in front of stores to the same place of a buffer, unless that is declared coherent.
    pub moves_loads: bool,
    /// The time that the driver takes to compile grows with the square of the number of accesses of an array, unless some
    /// lie in front of a barrier and others behind it. So it is with Mesa's software driver.
    pub quadratic_arrays: bool,
    /// The driver unrolls loops whose number of rounds it knows, whatever their loads and stores cost it: 20 blocks of LLVM
    /// for each word of a storage buffer, in Mesa's software driver.
    pub unrolls_accesses: bool,
    /// Most bytes of known tables that are bound as a uniform buffer, not as a storage buffer; 0: none. Mesa's software
    /// driver makes branches for each lane of each load of a storage buffer, and none for those of a uniform one. GPUs
    /// may be slow where invocations load different words of a uniform buffer.
    pub uniform_data: u32,
    /// `SignedZeroInfNanPreserve` for 32-bit floats may be declared.
    pub preserve_f32: bool,
    /// `SignedZeroInfNanPreserve` for 64-bit floats may be declared.
    pub preserve_f64: bool,
    /// `DenormPreserve` for 32-bit floats may be declared.
    pub denorm_preserve_f32: bool,
    /// `DenormPreserve` for 64-bit floats may be declared.
    pub denorm_preserve_f64: bool,
    /// `RoundingModeRTE` for 32-bit floats may be declared.
    pub rounding_rte_f32: bool,
    /// `RoundingModeRTE` for 64-bit floats may be declared.
    pub rounding_rte_f64: bool,
    /// The device's `f32` arithmetic keeps subnormals, whether or not that may be declared.
    pub subnormals_f32: bool,
    /// The device's `f64` arithmetic keeps subnormals, whether or not that may be declared.
    pub subnormals_f64: bool,
    /// The device's `f32` comparisons keep subnormals. NVIDIA's do not, even where its arithmetic does.
    pub compares_subnormals_f32: bool,
    /// The device's `f64` comparisons keep subnormals.
    pub compares_subnormals_f64: bool,
    /// Conversions between the float types keep subnormals.
    pub converts_subnormals: bool,
    /// Sums and products of normal `f32` numbers, where they are normal, are correctly rounded.
    pub exact_arithmetic_f32: bool,
    /// Sums and products of normal `f64` numbers, where they are normal, are correctly rounded.
    pub exact_arithmetic_f64: bool,
    /// Conversions of 32-bit integers to `f32` are correctly rounded.
    pub exact_conversions_f32: bool,
    /// Conversions of 64-bit integers to floats are correctly rounded.
    pub exact_conversions_i64: bool,
    /// `f32` quotients and roots of numbers of ordinary size (2^-8 to 2^64) are within [`MAX_GUESS_ERROR`].
    pub close_f32: bool,
    /// `f64` quotients and roots of numbers of ordinary size are within [`MAX_GUESS_ERROR`].
    pub close_f64: bool,
    /// `f32` division is correctly rounded.
    pub exact_div_f32: bool,
    /// `f32` square root is correctly rounded.
    pub exact_sqrt_f32: bool,
    /// `f64` division is correctly rounded.
    pub exact_div_f64: bool,
    /// `f64` square root is correctly rounded.
    pub exact_sqrt_f64: bool,
}

impl Features {
    /// How this operator comes to be exact in strict mode.
    pub fn float_support(&self, op: crate::ir::WasmOp) -> FloatSupport {
        use crate::ir::WasmOp::*;
        use FloatSupport::{Corrected, Native, Unsupported};
        let ty = if op.result().is_float() { op.result() } else { op.params()[0] };
        let is_f64 = ty == crate::ir::Type::F64;
        let pick = |of_f32: bool, of_f64: bool| if is_f64 { of_f64 } else { of_f32 };
        let subnormals = pick(self.subnormals_f32, self.subnormals_f64);
        let exact = match op {
            F32Div | F64Div | F32Sqrt | F64Sqrt => {
                let is_division = matches!(op, F32Div | F64Div);
                let quotients = pick(self.exact_div_f32, self.exact_div_f64);
                let exact = if is_division { quotients } else { pick(self.exact_sqrt_f32, self.exact_sqrt_f64) };
                return match exact && subnormals {
                    true => Native,
                    false if pick(self.close_f32, self.close_f64) => Corrected,
                    false => Unsupported,
                };
            }
            F32Add | F32Sub | F32Mul | F64Add | F64Sub | F64Mul => {
                subnormals && pick(self.exact_arithmetic_f32, self.exact_arithmetic_f64)
            }
            F32DemoteF64 | F64PromoteF32 => self.subnormals_f32 && self.subnormals_f64 && self.converts_subnormals,
            F32Ceil | F32Floor | F32Trunc | F32Nearest | F64Ceil | F64Floor | F64Trunc | F64Nearest => subnormals,
            F32ConvertI32S | F32ConvertI32U => self.exact_conversions_f32,
            F32ConvertI64S | F32ConvertI64U | F64ConvertI64S | F64ConvertI64U => self.exact_conversions_i64,
            _ => true,
        };
        if exact { Native } else { Corrected }
    }

    /// Everything: what lavapipe has, and what tests without a device lift for.
    pub fn all() -> Self {
        Features {
            int64: true,
            int64_atomics: true,
            float64: true,
            storage8: true,
            storage16: true,
            moves_loads: false,
            quadratic_arrays: false,
            unrolls_accesses: false,
            uniform_data: 0,
            preserve_f32: true,
            preserve_f64: true,
            denorm_preserve_f32: false,
            denorm_preserve_f64: false,
            rounding_rte_f32: true,
            rounding_rte_f64: true,
            subnormals_f32: true,
            subnormals_f64: true,
            compares_subnormals_f32: true,
            compares_subnormals_f64: true,
            converts_subnormals: true,
            exact_arithmetic_f32: true,
            exact_arithmetic_f64: true,
            exact_conversions_f32: true,
            exact_conversions_i64: true,
            close_f32: true,
            close_f64: true,
            exact_div_f32: true,
            exact_sqrt_f32: true,
            exact_div_f64: true,
            exact_sqrt_f64: true,
        }
    }
}

/// How a device comes to give an operator's exact result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloatSupport {
    /// Its own instruction gives it.
    Native,
    /// Its own result is corrected, or the operator is computed on integers.
    Corrected,
    /// It can't.
    Unsupported,
}
