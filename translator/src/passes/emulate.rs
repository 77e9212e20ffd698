//! What the device lacks becomes calls of functions that compute it on integers, and these are inlined: operators of
//! `f64`, whose values become `I64`s of their bits, and those of `i64` that are no short sequence on words.
//!
//! The functions are Wasm themselves, compiled from the sources in `translator/emulation`, and lifted as kernels are. Each
//! bears the name of the operator that it stands for. Those called `hindrance` say why a conversion traps, or give 0. For
//! operands of which enough is known (`analysis/float_facts.rs`) there are shorter ones (`emulate/variants.rs`).

mod variants;

use smallvec::smallvec;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::OnceLock;

use crate::analysis::dataflow;
use crate::analysis::float_facts::{self, Operands};
use crate::call_graph::Slice;
use crate::error::{Error, Result, TrapKind};
use crate::frontend;
use crate::ir::builder::ListBuilder;
use crate::ir::operator::MemoryAccess;
use crate::ir::{Const, Exit, Function, Op, RegionId, Stmt, StmtKind, Type, Value, WasmOp};
use crate::module::Module;
use crate::options::{Emulate, Environment};
use crate::passes::inline;
use crate::targets::Targets;
use variants::Variant;

/// The functions, as `scripts/build-emulation` compiles them.
const EMULATION: &[u8] = include_bytes!("../../emulation/emulation.wasm");

/// Most statements of a quick phase or a near function; they have some hundreds.
const MAX_LIBRARY_FUNCTION: u32 = 10_000;

/// What a function called `hindrance` gives for NaN, and for what does not fit.
const HINDRANCES: [(u32, TrapKind); 2] = [(1, TrapKind::BadConversion), (2, TrapKind::IntegerOverflow)];

/// Replaces what is to be emulated in an inlined kernel without vectors; says whether there was anything.
///
/// # Errors
/// [`Error::Unsupported`] when the result has more than `max_operators` statements.
pub fn emulate(kernel: &mut Function, emulated: Emulate, max_operators: u32) -> Result<bool> {
    let has = |ty| kernel.values.contains(&ty);
    if !(emulated.f64 && has(Type::F64) || emulated.i64 && has(Type::I64)) {
        return Ok(false);
    }
    let module = functions()?;
    let regions = dataflow::regions(kernel);
    let known = if emulated.f64 { float_facts::operands(kernel) } else { Operands::default() };
    let mut emulator =
        Emulator { module, emulated, known, function: kernel, names: HashMap::new(), list: ListBuilder::default() };
    // Regions come before those below them, so what a statement uses was renamed before it.
    regions.into_iter().try_for_each(|id| emulator.region(id))?;
    if emulated.f64 {
        kernel.values.iter_mut().filter(|ty| **ty == Type::F64).for_each(|ty| *ty = Type::I64);
    }
    let environment = Environment::default();
    *kernel = inline::inline_foreign(
        &mut Slice::new(module, &environment, frontend::Known::default()),
        kernel,
        max_operators,
    )?;
    Ok(true)
}

/// The module of the functions.
fn functions() -> Result<&'static Module> {
    static MODULE: OnceLock<std::result::Result<Module, String>> = OnceLock::new();
    let module = MODULE.get_or_init(|| Module::parse(EMULATION).map_err(|error| error.to_string()));
    module.as_ref().map_err(|error| Error::Internal(format!("the emulation's module can't be read: {error}")))
}

/// The quick phase of a function of C's library, without calls.
///
/// # Errors
/// [`Error::Internal`] if there is none.
pub fn quick_phase(name: &str) -> Result<Rc<Function>> {
    library_function(name)?.ok_or_else(|| Error::Internal(format!("there is no quick phase of `{name}`")))
}

/// What gives nearly what a function of C's library does, without calls, if there is something.
///
/// # Errors
/// [`Error::Internal`] if it can't be lifted.
pub fn near_function(name: &str) -> Result<Option<Rc<Function>>> {
    library_function(&format!("near.{name}"))
}

fn library_function(name: &str) -> Result<Option<Rc<Function>>> {
    let module = functions()?;
    let Some(function) = module.exported_function(name) else { return Ok(None) };
    let environment = Environment::default();
    let mut slice = Slice::new(module, &environment, frontend::Known::default());
    inline::inline(&mut slice, function, &Targets::default(), MAX_LIBRARY_FUNCTION)
        .map(|function| Some(Rc::new(function)))
}

/// The name of the function that gives an operator's result.
fn name_of(op: WasmOp) -> String {
    match op.can_trap() && is_truncation(op) {
        true => op.text().replace("trunc_", "trunc_sat_"),
        false => op.text().into(),
    }
}

fn is_truncation(op: WasmOp) -> bool {
    op.params().iter().any(|ty| ty.is_float()) && op.result().is_int()
}

struct Emulator<'a> {
    module: &'static Module,
    emulated: Emulate,
    /// What is known of the operands of operators of `f64`.
    known: Operands,
    function: &'a mut Function,
    /// What stands for a value now.
    names: HashMap<Value, Value>,
    list: ListBuilder,
}

impl Emulator<'_> {
    fn region(&mut self, id: RegionId) -> Result<()> {
        let stmts = std::mem::take(&mut self.function.region_mut(id).stmts);
        self.list = ListBuilder::default();
        for stmt in stmts {
            self.list.at = stmt.at;
            self.stmt(stmt)?;
        }
        let mut exit = self.function.region(id).exit.clone();
        exit.values_mut().iter_mut().for_each(|value| *value = self.name(*value));
        let stmts = std::mem::take(&mut self.list.stmts);
        let region = self.function.region_mut(id);
        region.stmts = stmts;
        region.exit = exit;
        Ok(())
    }

    fn name(&self, value: Value) -> Value {
        self.names.get(&value).copied().unwrap_or(value)
    }

    fn stmt(&mut self, mut stmt: Stmt) -> Result<()> {
        stmt.kind.args_mut().iter_mut().for_each(|arg| *arg = self.name(*arg));
        let StmtKind::Op { op, args, result } = &mut stmt.kind else {
            self.list.stmts.push(stmt);
            return Ok(());
        };
        match (&mut *op, *result) {
            (Op::Wasm(WasmOp::I64ReinterpretF64 | WasmOp::F64ReinterpretI64), Some(result)) if self.emulated.f64 => {
                self.names.insert(result, args[0]);
                return Ok(());
            }
            (Op::Wasm(wasm), Some(result)) if self.is_emulated(*wasm) => return self.replace(*wasm, args, result),
            (Op::Const(constant), _) if self.emulated.f64 => {
                if let Const::F64(bits) = *constant {
                    *constant = Const::I64(bits);
                }
            }
            (Op::Load(MemoryAccess { ty, .. }) | Op::Store(MemoryAccess { ty, .. }), _)
                if self.emulated.f64 && *ty == Type::F64 =>
            {
                *ty = Type::I64;
            }
            _ => {}
        }
        self.list.stmts.push(stmt);
        Ok(())
    }

    /// Whether an operator becomes a call.
    fn is_emulated(&self, op: WasmOp) -> bool {
        use WasmOp::*;
        let of_floats = op.result() == Type::F64 || op.params().contains(&Type::F64);
        let of_integers = matches!(
            op,
            I64DivS
                | I64DivU
                | I64RemS
                | I64RemU
                | I64TruncF32S
                | I64TruncF32U
                | I64TruncSatF32S
                | I64TruncSatF32U
                | F32ConvertI64S
                | F32ConvertI64U
        );
        self.emulated.f64 && of_floats || self.emulated.i64 && of_integers
    }

    fn replace(&mut self, op: WasmOp, args: &[Value], result: Value) -> Result<()> {
        let mut bits = Vec::with_capacity(args.len());
        for arg in args {
            bits.push(match self.function.ty(*arg) {
                Type::F32 => self.list.wasm(self.function, WasmOp::I32ReinterpretF32, &[*arg]),
                _ => *arg,
            });
        }
        let variant = self.known.get(&result).and_then(|known| variants::choose(op, known));
        let name = match variant {
            // It is given nothing that traps.
            Some(variant) => self.prepare(variant, &mut bits),
            None => {
                if op.can_trap() {
                    self.check(op, &bits)?;
                }
                name_of(op)
            }
        };
        if op.result() != Type::F32 {
            return self.call(&name, bits, result);
        }
        let word = self.function.new_value(Type::I32);
        self.call(&name, bits, word)?;
        self.list.push(StmtKind::Op {
            op: Op::Wasm(WasmOp::F32ReinterpretI32),
            args: smallvec![word],
            result: Some(result),
        });
        Ok(())
    }

    /// Makes of an operator's operands those of a variant; gives its name.
    fn prepare(&mut self, variant: Variant, bits: &mut [Value]) -> String {
        if variant.negates {
            let sign = self.list.constant(self.function, Const::I64(1 << 63));
            bits[1] = self.list.wasm(self.function, WasmOp::I64Xor, &[bits[1], sign]);
        }
        if variant.swaps {
            bits.swap(0, 1);
        }
        variant.name()
    }

    fn call(&mut self, name: &str, args: Vec<Value>, result: Value) -> Result<()> {
        let callee = self.module.exported_function(name);
        let callee = callee.ok_or_else(|| Error::Internal(format!("there is no function `{name}` to emulate with")))?;
        self.list.push(StmtKind::Call { callee, args, results: vec![result] });
        Ok(())
    }

    /// The traps of an operator.
    fn check(&mut self, op: WasmOp, bits: &[Value]) -> Result<()> {
        if !is_truncation(op) {
            self.check_division(op, bits);
            return Ok(());
        }
        let hindrance = self.function.new_value(Type::I32);
        self.call(&format!("hindrance.{}", op.text()), bits.to_vec(), hindrance)?;
        for (number, kind) in HINDRANCES {
            let number = self.list.i32(self.function, number);
            let hinders = self.list.wasm(self.function, WasmOp::I32Eq, &[hindrance, number]);
            self.trap_if(hinders, kind);
        }
        Ok(())
    }

    /// The traps of a division of 64-bit integers.
    fn check_division(&mut self, op: WasmOp, args: &[Value]) {
        let zero = self.list.wasm(self.function, WasmOp::I64Eqz, &[args[1]]);
        self.trap_if(zero, TrapKind::DivideByZero);
        if op == WasmOp::I64DivS {
            let mut is = |value: Value, number: u64| {
                let number = self.list.constant(self.function, Const::I64(number));
                self.list.wasm(self.function, WasmOp::I64Eq, &[value, number])
            };
            let (least, negates) = (is(args[0], 1 << 63), is(args[1], u64::MAX));
            let overflows = self.list.wasm(self.function, WasmOp::I32And, &[least, negates]);
            self.trap_if(overflows, TrapKind::IntegerOverflow);
        }
    }

    fn trap_if(&mut self, cond: Value, kind: TrapKind) {
        self.list.exit_if(self.function, cond, Exit::Trap(kind));
    }
}
