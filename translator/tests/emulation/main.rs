//! The functions that stand for missing operators, against the host's floats and integers: natively, and lifted.

mod granted;
mod library;
mod native;
#[path = "../common/mod.rs"]
mod oracle;
mod values;

use rspirv::dr::Operand;
use rspirv::spirv::Op as Spirv;

use native::{FUNCTIONS, Native};
use values::Random;
use wavelift_translator::ir::eval::{EvalError, eval};
use wavelift_translator::ir::{Const, Op, Type, WasmOp};
use wavelift_translator::{Emulate, Error, Features, Module, Options, Profile, Shape, TrapKind, translate};

/// A function, and the operator that it stands for.
struct Pair {
    name: &'static str,
    native: Native,
    op: WasmOp,
}

impl Pair {
    fn all() -> impl Iterator<Item = Pair> {
        FUNCTIONS.iter().map(|(name, native)| {
            let text = granted::operator(name);
            let op = WasmOp::ALL.iter().copied().find(|op| op.text() == text).expect("each function is an operator's");
            Pair { name, native: *native, op }
        })
    }

    /// What the operator gives by the host's arithmetic, or what hinders it; `None` where the function may give anything.
    fn expected(&self, args: &[u64]) -> Option<u64> {
        if !granted::holds(self.name, args) {
            return None;
        }
        let consts: Vec<Const> = self.op.params().iter().zip(args).map(|(ty, bits)| constant(*ty, *bits)).collect();
        let result = eval(&Op::Wasm(self.op), &consts);
        match (self.name.starts_with("hindrance."), result) {
            (true, Ok(_)) => Some(0),
            (true, Err(EvalError::Trap(TrapKind::BadConversion))) => Some(1),
            (true, Err(EvalError::Trap(TrapKind::IntegerOverflow))) => Some(2),
            (false, Ok(value)) => Some(bits(value)),
            (false, Err(EvalError::Trap(TrapKind::DivideByZero | TrapKind::IntegerOverflow))) => None,
            (_, other) => panic!("{}: {other:?}", self.name),
        }
    }

    /// Compares one result; says whether there was one to compare with.
    fn check(&self, args: &[u64]) -> Result<bool, String> {
        let Some(expected) = self.expected(args) else { return Ok(false) };
        let found = (self.native)(args);
        match found == expected {
            true => Ok(true),
            false => Err(format!("{}({args:x?}) is {found:x}, not {expected:x}", self.name)),
        }
    }

    fn edges(&self) -> Vec<Vec<u64>> {
        let of = |ty: &Type| match ty {
            Type::F64 => values::f64_edges(),
            Type::F32 => values::f32_edges(),
            Type::I32 => values::i64_edges().into_iter().map(|v| v & 0xffff_ffff).collect(),
            _ => values::i64_edges(),
        };
        match self.op.params() {
            [a] => of(a).into_iter().map(|a| vec![a]).collect(),
            [a, b] => of(a).iter().flat_map(|a| of(b).into_iter().map(|b| vec![*a, b])).collect(),
            _ => Vec::new(),
        }
    }

    fn random(&self, random: &mut Random) -> Vec<u64> {
        let mut args: Vec<u64> = Vec::new();
        for ty in self.op.params() {
            let value = match (ty, args.first()) {
                (Type::F64, Some(first)) if granted::is_variant(self.name) => random.related(*first),
                (Type::F64, Some(first)) if random.next() & 1 == 0 => random.near(*first),
                (Type::F64, _) => random.f64(),
                (Type::F32, _) => random.f32(),
                (Type::I32, _) if granted::is_variant(self.name) => (random.i64() as i32 >> 7) as u32 as u64,
                (Type::I32, _) => random.i64() & 0xffff_ffff,
                _ => random.i64(),
            };
            args.push(value);
        }
        args
    }
}

fn constant(ty: Type, bits: u64) -> Const {
    match ty {
        Type::I32 => Const::I32(bits as u32),
        Type::F32 => Const::F32(bits as u32),
        Type::F64 => Const::F64(bits),
        _ => Const::I64(bits),
    }
}

fn bits(value: Const) -> u64 {
    match value {
        Const::I32(bits) | Const::F32(bits) => bits.into(),
        Const::I64(bits) | Const::F64(bits) => bits,
        other => panic!("{other:?} is no number"),
    }
}

/// Runs so many random operands of each function.
fn random(count: u32) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for pair in Pair::all() {
        let checked = (0..count).filter(|_| pair.check(&pair.random(&mut random)).unwrap()).count();
        assert!(checked > count as usize / 16, "{}: {checked} of {count} operands are granted", pair.name);
    }
}

/// A kernel that applies the operator to loaded operands and stores the result.
fn kernel(op: WasmOp) -> Module {
    let load = |(number, ty): (usize, &Type)| format!("({ty}.load offset={} (local.get 3))", 8 * number);
    let loads: String = op.params().iter().enumerate().map(load).collect();
    let text = format!(
        "(module (memory 1) (func (param i32 i32 i32 i32 i32)
           ({}.store offset=16 (local.get 3) ({} {loads}))))",
        op.result(),
        op.text()
    );
    Module::parse(wat::parse_str(text).unwrap()).unwrap()
}

/// The widths of the types that a module declares.
fn widths(words: &[u32]) -> Vec<(Spirv, u32)> {
    let module = rspirv::dr::load_words(words).unwrap();
    let width = |inst: &rspirv::dr::Instruction| match (inst.class.opcode, inst.operands.first()) {
        (class @ (Spirv::TypeInt | Spirv::TypeFloat), Some(Operand::LiteralBit32(width))) => Some((class, *width)),
        _ => None,
    };
    module.types_global_values.iter().filter_map(width).collect()
}

#[test]
fn no_operator_needs_what_a_device_lacks() {
    for op in WasmOp::ALL {
        let module = kernel(*op);
        for profile in [Profile::Vulkan, Profile::Portable] {
            for (int64, float64) in [(false, true), (true, false), (false, false)] {
                let features = Features { int64, float64, ..Features::all() };
                let options = Options { profile, features, ..Options::default() };
                let words = translate(&module, 0, &Shape::distinct(1), &options).unwrap().words;
                let found = widths(&words);
                let lacks = |ty| !found.contains(&(ty, 64));
                assert!(int64 || lacks(Spirv::TypeInt) && lacks(Spirv::TypeFloat), "{}: {found:?}", op.text());
                assert!(float64 || lacks(Spirv::TypeFloat), "{}: {found:?}", op.text());
                oracle::assert_valid(&words);
                if profile == Profile::Portable {
                    oracle::assert_portable(&words);
                }
            }
        }
    }
}

#[test]
fn a_kernel_that_becomes_too_long_is_refused() {
    let module = kernel(WasmOp::F64Mul);
    let lift = |max_operators| {
        let emulate = Emulate { i64: true, f64: true };
        let options = Options { emulate, max_operators, ..Options::default() };
        translate(&module, 0, &Shape::distinct(1), &options)
    };
    assert!(lift(1000).is_ok());
    match lift(100) {
        Err(Error::Unsupported { what, at: Some(_), .. }) => assert_eq!(what, "more than 100 operators after inlining"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn edge_values() {
    let mut failures = Vec::new();
    for pair in Pair::all() {
        failures.extend(pair.edges().iter().find_map(|args| pair.check(args).err()));
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn random_values() {
    random(100_000);
}

#[test]
#[ignore = "takes a minute when optimised"]
fn many_random_values() {
    random(10_000_000);
}
