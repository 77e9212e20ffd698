//! Whether lifted float operators give Wasm's results on a device: each is made a kernel, run on many operands, and
//! compared with what the translator's evaluator computes on the host.

use std::fmt::Write;

use wavelift_translator as translator;
use wavelift_translator::ir::eval::eval;
use wavelift_translator::ir::{Const, Op, Type, WasmOp};
use wavelift_translator::{Emulate, FloatSupport, Module, Shape};

use crate::device::gpu::dump::dump;
use crate::device::gpu::{GpuDevice, operands};
use crate::device::{Access, BufferId, BufferSpec, Context, Device, DeviceError, LaunchError};

/// Operators of one kernel: drivers take long to compile many memory operations.
const OPERATORS: usize = 6;
/// Bytes of a row of operands: two of 8.
const ROW: usize = 16;
/// Bytes of a result.
const CELL: usize = 8;

/// How an operator fared on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperatorCheck {
    /// The operator.
    pub operator: WasmOp,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It can't be lifted for this device: kernels with it run on the CPU.
    NotLifted,
    /// It ran.
    Ran {
        /// How the device comes to give exact results.
        support: FloatSupport,
        /// Operands tried.
        rows: usize,
        /// Results that differ from the host's, NaN payloads excepted.
        wrong: usize,
        /// The first operands, as bits, whose result differs.
        first: Option<[u64; 2]>,
    },
}

/// See [`GpuDevice::check_floats`].
pub(super) fn run(device: &GpuDevice, random: usize) -> Result<Vec<OperatorCheck>, LaunchError> {
    let mut checks = Vec::new();
    for ty in [Type::F32, Type::F64, Type::I32, Type::I64] {
        let all = WasmOp::ALL.iter().copied().filter(|op| op.params()[0] == ty && is_checked(*op));
        let (lifted, refused): (Vec<WasmOp>, Vec<WasmOp>) = all.partition(|op| is_lifted(device, *op));
        checks.extend(refused.into_iter().map(|operator| OperatorCheck { operator, outcome: Outcome::NotLifted }));
        let rows = operands::pairs(ty, random);
        for operators in lifted.chunks(OPERATORS) {
            checks.extend(run_operators(device, operators, &rows)?);
        }
    }
    checks.sort_by_key(|check| check.operator);
    Ok(checks)
}

fn is_checked(op: WasmOp) -> bool {
    let has_float = op.result().is_float() || op.params()[0].is_float();
    has_float && !op.can_trap() && !op.text().contains("reinterpret")
}

fn is_lifted(device: &GpuDevice, op: WasmOp) -> bool {
    support(device, op) != FloatSupport::Unsupported
}

/// How the device comes to give the operator's exact result; on integers where it lacks a type.
fn support(device: &GpuDevice, op: WasmOp) -> FloatSupport {
    let (options, types) = (device.options(), [op.params(), &[op.result()]].concat());
    let Emulate { i64, f64 } = options.emulated();
    match i64 && types.contains(&Type::I64) || f64 && types.contains(&Type::F64) {
        true => FloatSupport::Corrected,
        false => options.features.float_support(op),
    }
}

/// A kernel that applies each operator to its row of operands and stores the results side by side.
fn kernel_text(operators: &[WasmOp]) -> String {
    let ty = operators[0].params()[0].to_string();
    let mut text = format!(
        "(module (memory 1) (func $check (param $i i32) (param i32 i32) (param $in i32) (param i32) (param $out i32)
           (param i32) (local $a {ty}) (local $b {ty})
         (local.set $in (i32.add (local.get $in) (i32.mul (local.get $i) (i32.const {ROW}))))
         (local.set $out (i32.add (local.get $out) (i32.mul (local.get $i) (i32.const {}))))
         (local.set $a ({ty}.load (local.get $in))) (local.set $b ({ty}.load offset={CELL} (local.get $in)))",
        operators.len() * CELL
    );
    for (column, op) in operators.iter().enumerate() {
        let second = if op.params().len() == 2 { "(local.get $b)" } else { "" };
        let store = format!("{}.store offset={} (local.get $out)", op.result(), column * CELL);
        // Writing to a string can't fail.
        let _ = write!(text, "({store} ({} (local.get $a) {second}))", op.text());
    }
    text + "))"
}

fn run_operators(
    device: &GpuDevice,
    operators: &[WasmOp],
    rows: &[[u64; 2]],
) -> Result<Vec<OperatorCheck>, LaunchError> {
    let results = apply(device, operators, rows)?;
    let judge = |(column, op): (usize, &WasmOp)| {
        let wrong = |row: &usize| !is_right(*op, rows[*row], results[row * operators.len() + column]);
        let wrong: Vec<usize> = (0..rows.len()).filter(wrong).collect();
        let outcome = Outcome::Ran {
            support: support(device, *op),
            rows: rows.len(),
            wrong: wrong.len(),
            first: wrong.first().map(|row| rows[*row]),
        };
        OperatorCheck { operator: *op, outcome }
    };
    Ok(operators.iter().enumerate().map(judge).collect())
}

/// What the device makes of each row of operands with each of these operators, which take operands of one type: a row of
/// results for each row.
pub(super) fn apply(device: &GpuDevice, operators: &[WasmOp], rows: &[[u64; 2]]) -> Result<Vec<u64>, LaunchError> {
    let internal = |error: String| LaunchError::Internal(format!("A check of float operators can't be made: {error}."));
    let bytes = wat::parse_str(kernel_text(operators)).map_err(|error| internal(error.to_string()))?;
    let module = Module::parse(bytes).map_err(|error| internal(error.to_string()))?;
    let shader = translator::translate(&module, 0, &Shape::distinct(2), device.options())
        .map_err(|error| internal(error.to_string()))?;
    dump(&shader.words, device.options().profile);
    // SAFETY: the words are the translator's: valid SPIR-V with a bounds check on every access.
    let kernel = unsafe { device.prepare(shader) }?;
    let mut context = device.new_gpu_context();
    let spec = |id: u64, size: usize| -> Result<BufferSpec, DeviceError> {
        let size = u32::try_from(size)
            .map_err(|_| DeviceError::OutOfMemory { device: device.info().name.clone(), bytes: size as u64 })?;
        // Far apart, so that no address of one is an address of the other.
        Ok(BufferSpec { id: BufferId(id), address: 0x4000_0000 * (1 + id as u32), size, access: Access::ReadWrite })
    };
    let (input, output) = (spec(0, rows.len() * ROW)?, spec(1, rows.len() * operators.len() * CELL)?);
    context.create_buffer(&input)?;
    context.create_buffer(&output)?;
    context.write_buffer(input.id, 0, bytemuck::cast_slice(rows))?;
    context.run(&kernel, rows.len() as u32, 1, &[input, output])?;
    let mut results = vec![0u64; rows.len() * operators.len()];
    context.read_buffer(output.id, 0, bytemuck::cast_slice_mut(&mut results))?;
    Ok(results)
}

/// Whether `got` are the low bits of what the operator gives, whatever lies above them.
pub(super) fn is_right(op: WasmOp, operands: [u64; 2], got: u64) -> bool {
    let args: Vec<Const> = op.params().iter().zip(operands).map(|(ty, bits)| constant(*ty, bits)).collect();
    let got = constant(op.result(), got);
    eval(&Op::Wasm(op), &args).is_ok_and(|right| got == right || is_nan(right) && is_nan(got))
}

fn constant(ty: Type, bits: u64) -> Const {
    match ty {
        Type::F32 => Const::F32(bits as u32),
        Type::F64 => Const::F64(bits),
        Type::I64 => Const::I64(bits),
        Type::V128 => Const::V128(u128::from(bits).into()),
        Type::I32 | Type::Bool => Const::I32(bits as u32),
    }
}

fn is_nan(value: Const) -> bool {
    match value {
        Const::F32(bits) => f32::from_bits(bits).is_nan(),
        Const::F64(bits) => f64::from_bits(bits).is_nan(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_results_are_seen_and_any_nan_is_right() {
        let (one, third) = (u64::from(1f32.to_bits()), u64::from((1f32 / 3.0).to_bits()));
        let three = u64::from(3f32.to_bits());
        assert!(is_right(WasmOp::F32Div, [one, three], third));
        assert!(!is_right(WasmOp::F32Div, [one, three], third + 1));
        assert!(is_right(WasmOp::F32Div, [0, 0], 0xffc0_0001));
        assert!(!is_right(WasmOp::F32Div, [0, 0], 0));
        assert!(!is_right(WasmOp::F32Add, [1 << 31, 1 << 31], 0));
    }

    #[test]
    fn every_kernel_of_the_checks_can_be_lifted() {
        for ty in [Type::F32, Type::F64, Type::I32, Type::I64] {
            let all: Vec<_> =
                WasmOp::ALL.iter().copied().filter(|op| op.params()[0] == ty && is_checked(*op)).collect();
            for operators in all.chunks(OPERATORS) {
                let module = Module::parse(wat::parse_str(kernel_text(operators)).unwrap()).unwrap();
                translator::translate(&module, 0, &Shape::distinct(2), &translator::Options::default()).unwrap();
            }
        }
    }
}
