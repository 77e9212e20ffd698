//! Every numeric operator at edge values, with operands that differ, one that is the same for all, and in a branch that some take.

use wavelift_translator::ir::eval::eval;
use wavelift_translator::ir::{Const, Op, Type, WasmOp};

use super::{compare, module};

const I32: [u32; 10] = [0, 1, 2, 31, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_ffff, 0x1234_5678, 0xffff_ff80];
const F32: [u32; 14] = [
    0,
    0x8000_0000,
    0x3f80_0000,
    0xbf00_0000,
    0x3fc0_0000,
    0x4020_0000,
    1,
    0x8000_0001,
    0x7f7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x4f00_0000,
    0xcf00_0000,
];
const I64: [u64; 9] =
    [0, 1, 63, 0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, u64::MAX, 0xffff_ffff, 0x1234_5678_9abc_def0, 0x8000_0000];
const F64: [u64; 12] = [
    0,
    1 << 63,
    0x3ff0_0000_0000_0000,
    0xbfe0_0000_0000_0000,
    1,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0x41df_ffff_ffc0_0000,
    0xc1e0_0000_0000_0000,
    0x43e0_0000_0000_0000,
];

fn edges(ty: Type) -> Vec<Const> {
    match ty {
        Type::I32 => I32.map(Const::I32).to_vec(),
        Type::F32 => F32.map(Const::F32).to_vec(),
        Type::I64 => I64.map(Const::I64).to_vec(),
        _ => F64.map(Const::F64).to_vec(),
    }
}

fn words(value: Const) -> [u32; 2] {
    match value {
        Const::I32(bits) | Const::F32(bits) => [bits, 0xaaaa_aaaa],
        Const::I64(bits) | Const::F64(bits) => [bits as u32, (bits >> 32) as u32],
        other => panic!("{other:?} is no number"),
    }
}

fn name(ty: Type) -> &'static str {
    match ty {
        Type::I32 => "i32",
        Type::I64 => "i64",
        Type::F32 => "f32",
        _ => "f64",
    }
}

/// All pairs of operands that do not trap, over and over until there are enough; then only those with the first second operand.
fn operands(op: WasmOp) -> Vec<Vec<Const>> {
    let params = op.params();
    let seconds = params.get(1).map_or(vec![None], |ty| edges(*ty).into_iter().map(Some).collect());
    let all = edges(params[0]).into_iter().flat_map(|a| {
        let seconds = seconds.clone();
        seconds.into_iter().map(move |b| [Some(a), b].into_iter().flatten().collect::<Vec<_>>())
    });
    let fine: Vec<Vec<Const>> = all.filter(|args| eval(&Op::Wasm(op), args).is_ok()).collect();
    fine.iter().cycle().take(fine.len().max(40) + 3).cloned().collect()
}

/// `address` is what an element's address is, in terms of the buffer's and the id.
fn kernel(op: WasmOp, second: &str, around: (&str, &str)) -> String {
    let element = |buffer: u32| format!("(i32.add (local.get {buffer}) (i32.shl (local.get 0) (i32.const 3)))");
    let load = |number: usize| format!("({}.load {})", name(op.params()[number]), element(3 + 2 * number as u32));
    let second = match (op.params().len(), second) {
        (1, _) => String::new(),
        (_, "") => load(1),
        (_, given) => given.to_string(),
    };
    module(&format!(
        r#"(func (export "kernel") (param i32 i32 i32 i32 i32 i32 i32 i32 i32)
             {} ({}.store {} ({} {} {second})) {})"#,
        around.0,
        name(op.result()),
        element(7),
        op.text(),
        load(0),
        around.1,
    ))
}

fn buffers(cases: &[Vec<Const>]) -> Vec<Vec<u32>> {
    let column =
        |number: usize| cases.iter().flat_map(|case| case.get(number).map_or([0, 0], |arg| words(*arg))).collect();
    vec![column(0), column(1), vec![0x5555_5555; 2 * cases.len()]]
}

/// NaNs differ in what Wasm leaves open; all else must be equal.
fn has_nan(case: &[Const], op: WasmOp) -> bool {
    match eval(&Op::Wasm(op), case) {
        Ok(Const::F32(bits)) => f32::from_bits(bits).is_nan(),
        Ok(Const::F64(bits)) => f64::from_bits(bits).is_nan(),
        _ => false,
    }
}

#[test]
fn operators_on_operands_that_differ() {
    for op in WasmOp::ALL {
        let mut cases = operands(*op);
        cases.retain(|case| !has_nan(case, *op));
        compare(&kernel(*op, "", ("", "")), cases.len() as u32, &buffers(&cases));
    }
}

#[test]
fn operators_with_an_operand_that_is_the_same_for_all() {
    for op in WasmOp::ALL.iter().filter(|op| op.params().len() == 2) {
        let ty = op.params()[1];
        for second in edges(ty) {
            let mut cases = operands(*op);
            cases.iter_mut().for_each(|case| case[1] = second);
            cases.retain(|case| eval(&Op::Wasm(*op), case).is_ok() && !has_nan(case, *op));
            if cases.len() < 16 {
                continue;
            }
            // It is loaded, so that nothing is known of it.
            let load = format!("({}.load (local.get 5))", name(ty));
            compare(&kernel(*op, &load, ("", "")), cases.len() as u32, &buffers(&cases));
        }
    }
}

/// The others would trap.
#[test]
fn operators_of_some_invocations() {
    for op in WasmOp::ALL {
        let mut cases = operands(*op);
        cases.retain(|case| !has_nan(case, *op));
        let mut data = buffers(&cases);
        let trapping: &[[u32; 2]] = match op.params()[0] {
            Type::I32 => &[[0x8000_0000, 0]],
            Type::I64 => &[[0, 0x8000_0000]],
            Type::F32 => &[[0x7fc0_0000, 0]],
            _ => &[[0, 0x7ff8_0000]],
        };
        for id in (0..cases.len()).filter(|id| id % 3 == 1) {
            data[0][2 * id..2 * id + 2].copy_from_slice(&trapping[0]);
            data[1][2 * id..2 * id + 2].copy_from_slice(&[0, 0]);
        }
        let some = "(if (i32.ne (i32.rem_u (local.get 0) (i32.const 3)) (i32.const 1)) (then";
        compare(&kernel(*op, "", (some, "))")), cases.len() as u32, &data);
    }
}

#[test]
fn selects_and_conditions_as_numbers() {
    let element = |buffer: u32| format!("(i32.add (local.get {buffer}) (i32.shl (local.get 0) (i32.const 2)))");
    let (a, b, out) = (element(3), element(5), element(7));
    let less = format!("(i32.lt_s (i32.load {a}) (i32.load {b}))");
    let odd = format!("(i32.and (i32.load {a}) (i32.const 1))");
    for value in [
        format!("(select (i32.load {a}) (i32.load {b}) {less})"),
        format!("(select (i32.const 7) (local.get 0) {odd})"),
        format!("(select (i32.load {a}) (i32.const 5) (i32.eqz (i32.load (local.get 5))))"),
        format!("(i32.add {less} (i32.mul {less} (i32.const 10)))"),
        format!("(i32.and {less} (i32.eqz {odd}))"),
        format!("(i32.or {less} (i32.const 1))"),
        format!("(i32.xor {less} (i32.eqz (i32.load (local.get 5))))"),
        format!("(i32.eqz {less})"),
        format!("(i32.shl {less} (i32.load {b}))"),
        format!("(i32.wrap_i64 (i64.extend_i32_u {less}))"),
        format!("(i32.trunc_sat_f64_s (select (f64.const 3) (f64.convert_i32_s (i32.load {b})) {less}))"),
    ] {
        let text = module(&format!(
            r#"(func (export "kernel") (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (i32.store {out} {value}))"#
        ));
        compare(&text, 101, &[super::noise(101, 1), super::noise(101, 2), vec![0; 101]]);
    }
}
