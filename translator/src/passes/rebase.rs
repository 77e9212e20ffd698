//! Makes pointers relative to the buffers they point into, and to the stack pointer.
//!
//! A value that is an exact linear combination of such bases' addresses and a number ([`roots`])
//! becomes that number alone. Additions, subtractions, scalings and joins stay the operators they are, since both
//! sides wrap modulo 2^32; the pointer parameters and the stack pointer become 0, and the address of each access of one
//! base becomes an offset from it. Whatever else uses such a value gets the absolute address back, computed once after its
//! definition. A pointer of the shape is no longer loaded: its value is an input, and its base the buffer that it lies in.

use smallvec::smallvec;

use std::collections::BTreeMap;

use crate::analysis::dataflow::{self, Targets};
use crate::analysis::roots::{self, Roots, STACK};
use crate::error::{Error, Location, Result};
use crate::ir::builder::ListBuilder;
use crate::ir::{Args, Const, Exit, Function, LowOp, Op, Region, Stmt, StmtKind, Type, Value, WasmOp};
use crate::options::{Input, LINEAR, Shape, immediate};
use crate::pointers::Target;

/// Rebases a kernel. Values keep their numbers, so what `roots` says of an access's address still holds, and `roots` learns
/// of those that are made; the parameters become statements at the start: the iteration id, immediates, and 0 for each pointer.
///
/// # Errors
/// [`Error::Internal`] when the parameters are not those of the shape, or a region yields to two statements that
/// need it to yield different numbers.
pub fn rebase(function: &Function, roots: &mut Roots, shape: &Shape, stack_pointer: Option<u32>) -> Result<Function> {
    if function.params.len() != 3 + 2 * shape.buffers.len() {
        return Err(Error::Internal(format!(
            "function `{}` has {} parameters, but its launch has {} buffers",
            function.name,
            function.params.len(),
            shape.buffers.len()
        )));
    }
    let mut rebase = Rebase {
        roots,
        stack_pointer,
        constants: dataflow::constants(function),
        out: function.clone(),
        absolute: vec![None; function.values.len()],
        inputs: BTreeMap::new(),
        addresses: BTreeMap::new(),
    };
    let targets = Targets::new(function);
    let regions = dataflow::regions(function);
    for id in &regions {
        let exit = Exit::Yield(Vec::new());
        let empty = Region { params: Vec::new(), stmts: Vec::new(), exit, exit_at: function.region(*id).exit_at };
        let mut region = std::mem::replace(rebase.out.region_mut(*id), empty);
        for stmt in &mut region.stmts {
            rebase.stmt(function, &mut stmt.kind);
        }
        rebase.exit(&mut region, &targets.of_exit(*id))?;
        *rebase.out.region_mut(*id) = region;
    }
    for id in &regions {
        rebase.define_absolutes(*id);
    }
    rebase.define_parameters(function, shape);
    Ok(rebase.out)
}

struct Rebase<'a> {
    roots: &'a mut Roots,
    stack_pointer: Option<u32>,
    constants: Vec<Option<Const>>,
    out: Function,
    /// The absolute address of a relative value, where one is needed.
    absolute: Vec<Option<Value>>,
    /// The inputs that pointers of the shape are made of, by what is made of them.
    inputs: BTreeMap<Value, Input>,
    /// The address of each slot and the stack pointer, where it is needed.
    addresses: BTreeMap<u32, Value>,
}

impl Rebase<'_> {
    /// Whether the value is computed relative to at least one buffer.
    fn is_relative(&self, value: Value) -> bool {
        self.roots.terms(value).is_some_and(|terms| !terms.is_empty())
    }

    fn make_absolute(&mut self, value: &mut Value) {
        if !self.is_relative(*value) {
            return;
        }
        for (base, _) in self.roots.terms(*value).unwrap_or_default() {
            let base = self.roots.slot_of(*base).unwrap_or(STACK);
            self.addresses.entry(base).or_insert_with(|| self.out.new_value(Type::I32));
        }
        *value = match self.absolute[value.index()] {
            Some(absolute) => absolute,
            None => {
                let absolute = self.out.new_value(Type::I32);
                self.absolute[value.index()] = Some(absolute);
                self.roots.note_absolute(absolute, *value);
                absolute
            }
        };
    }

    fn stmt(&mut self, function: &Function, kind: &mut StmtKind) {
        if let StmtKind::Op { op, args, result: Some(result) } = kind
            && let Some((number, target)) = self.roots.pointer(*result)
        {
            (*op, *args) = self.pointer(number, target, *result);
            return;
        }
        match kind {
            StmtKind::Op { op: op @ Op::GlobalGet(_), result: Some(result), .. } if self.is_relative(*result) => {
                *op = Op::Const(Const::I32(0));
            }
            StmtKind::Op { op, args, result } => self.op(op, args, *result),
            StmtKind::Loop { inits, body, .. } => {
                for (init, param) in inits.iter_mut().zip(&function.region(*body).params) {
                    if self.roots.terms(*param).is_none() {
                        self.make_absolute(init);
                    }
                }
            }
            other => other.args_mut().iter_mut().for_each(|arg| self.make_absolute(arg)),
        }
    }

    /// The operator and operands that make a pointer of the shape relative to the buffer that it points into.
    fn pointer(&mut self, number: u32, target: Target, result: Value) -> (Op, Args) {
        let input = Input::Pointer { number, word_aligned: target.word_aligned };
        if target.place == LINEAR {
            return (Op::Low(LowOp::Input(input)), Args::new());
        }
        let start = *self.addresses.entry(target.place).or_insert_with(|| self.out.new_value(Type::I32));
        let absolute = self.out.new_value(Type::I32);
        self.absolute[result.index()] = Some(absolute);
        self.roots.note_absolute(absolute, result);
        self.inputs.insert(result, input);
        (Op::Low(LowOp::ISub), smallvec![absolute, start])
    }

    fn op(&mut self, op: &Op, args: &mut [Value], result: Option<Value>) {
        let exact = result.is_some_and(|result| self.roots.terms(result).is_some());
        let relative = result.is_some_and(|result| self.is_relative(result));
        let relative_args = match op {
            Op::Wasm(WasmOp::I32Add) if relative && self.same_terms(args[0], result.unwrap_or(args[0])) => 1,
            Op::Wasm(WasmOp::I32Add) if relative && self.same_terms(args[1], result.unwrap_or(args[1])) => {
                // The first is an index.
                self.make_absolute(&mut args[0]);
                2
            }
            Op::Wasm(WasmOp::I32Add | WasmOp::I32Sub) if exact => 2,
            Op::Wasm(wasm) if relative && roots::scaled_operand(*wasm, args, &self.constants).is_some() => 2,
            Op::Wasm(WasmOp::I32Eq | WasmOp::I32Ne) if self.same_terms(args[0], args[1]) => 2,
            Op::Select if exact => 2,
            op if op.memory_access().is_some() && self.roots.is_relative(args[0]) => 1,
            _ => 0,
        };
        args.iter_mut().skip(relative_args).for_each(|arg| self.make_absolute(arg));
    }

    fn same_terms(&self, a: Value, b: Value) -> bool {
        self.roots.terms(a).is_some() && self.roots.terms(a) == self.roots.terms(b)
    }

    fn exit(&mut self, region: &mut Region, targets: &[&[Value]]) -> Result<()> {
        for (index, value) in region.exit.values_mut().iter_mut().enumerate() {
            let is_exact = |target: &&[Value]| target.get(index).is_some_and(|v| self.roots.terms(*v).is_some());
            let exact = targets.iter().filter(|target| is_exact(target)).count();
            if exact == 0 {
                self.make_absolute(value);
            } else if exact < targets.len() && self.is_relative(*value) {
                return Err(Error::Internal("a region yields a pointer to two statements".into()));
            }
        }
        Ok(())
    }

    /// Computes the absolute addresses that are needed of what a region defines.
    fn define_absolutes(&mut self, id: crate::ir::RegionId) {
        let at = start(self.out.region(id));
        let params = self.out.region(id).params.clone();
        let mut list = ListBuilder::new(at);
        params.iter().for_each(|param| self.define_absolute(&mut list, *param));
        for stmt in std::mem::take(&mut self.out.region_mut(id).stmts) {
            list.at = stmt.at;
            let results = stmt.kind.results().to_vec();
            for result in &results {
                if let (Some(input), Some(absolute)) = (self.inputs.get(result), self.absolute[result.index()]) {
                    let op = Op::Low(LowOp::Input(*input));
                    list.push(StmtKind::Op { op, args: Args::new(), result: Some(absolute) });
                }
            }
            list.stmts.push(stmt);
            results.iter().for_each(|result| self.define_absolute(&mut list, *result));
        }
        self.out.region_mut(id).stmts = list.stmts;
    }

    fn define_absolute(&mut self, list: &mut ListBuilder, value: Value) {
        let Some(Some(absolute)) = self.absolute.get(value.index()).copied() else { return };
        if self.inputs.contains_key(&value) {
            return;
        }
        let terms = self.roots.terms(value).unwrap_or_default();
        let mut sum = value;
        for (index, (base, coefficient)) in terms.iter().enumerate() {
            let address = self.addresses[&self.roots.slot_of(*base).unwrap_or(STACK)];
            let (op, term) = match *coefficient {
                1 => (LowOp::IAdd, address),
                u32::MAX => (LowOp::ISub, address),
                factor => {
                    let factor = list.i32(&mut self.out, factor);
                    (LowOp::IAdd, list.low(&mut self.out, LowOp::IMul, &[address, factor], Type::I32))
                }
            };
            let last = index + 1 == terms.len();
            let result = if last { absolute } else { self.out.new_value(Type::I32) };
            list.push(StmtKind::Op { op: Op::Low(op), args: smallvec![sum, term], result: Some(result) });
            sum = result;
        }
    }

    /// Turns the parameters into statements at the start of the body.
    fn define_parameters(&mut self, function: &Function, shape: &Shape) {
        let at = start(function.region(function.body));
        let mut list = ListBuilder::new(at);
        let mut define = |op: Op, result: Value| {
            list.push(StmtKind::Op { op, args: Args::new(), result: Some(result) });
        };
        let word = |word: u32| Op::Low(LowOp::Immediate(word));
        define(Op::Low(LowOp::IterationId), function.params[0]);
        define(word(immediate::ITERATIONS), function.params[1]);
        define(word(immediate::BLOCK_SIZE), function.params[2]);
        for (pair, buffer) in function.params[3..].chunks_exact(2).zip(&shape.buffers) {
            let address = immediate::SLOTS + 2 * buffer.slot;
            define(Op::Const(Const::I32(0)), pair[0]);
            define(word(address + 1), pair[1]);
            if let Some(absolute) = self.absolute[pair[0].index()] {
                define(word(address), absolute);
            }
        }
        for (base, value) in &self.addresses {
            match (*base, self.stack_pointer) {
                (STACK, Some(global)) => define(Op::Low(LowOp::Input(Input::StackPointer(global))), *value),
                (slot, _) => define(word(immediate::SLOTS + 2 * slot), *value),
            }
        }
        self.out.params.clear();
        let body = self.out.body;
        let stmts: &mut Vec<Stmt> = &mut self.out.region_mut(body).stmts;
        stmts.splice(0..0, list.stmts);
    }
}

/// The place where a region starts.
fn start(region: &Region) -> Location {
    region.stmts.first().map_or(region.exit_at, |stmt| stmt.at)
}
