//! From Wasm's operators to operators that are one SPIR-V instruction each: every trap becomes a branch, every memory
//! access a word of a buffer with its bounds check in front, every float operator what keeps Wasm's results in the
//! mode and profile asked for.
//!
//! The input is one inlined kernel. The output has [`Op::Const`] and [`Op::Low`] only, `Bool` conditions, and no
//! parameters; blocks, loops, switches and their results stay.

mod atomic;
mod control;
mod convert;
mod division;
mod emulation;
mod float;
mod guard;
mod integer;
mod math;
mod memory;
mod significand;
mod store;

use crate::analysis::alignment::{Alignment, alignment};
use crate::analysis::bottoms;
use crate::analysis::dataflow;
use crate::analysis::fitting::fitting;
use crate::analysis::frames::Frames;
use crate::analysis::roots::{Roots, roots};
use crate::analysis::stack_offsets::{StackOffsets, stack_offsets};
use crate::error::{Error, Result, TrapKind};
use crate::frontend::type_of;
use crate::hash::{HashMap, HashMapExt, HashSet, HashSetExt};
use crate::ir::builder::ListBuilder;
use crate::ir::{Args, Const, Exit, Function, LowOp, Op, RegionId, Stmt, StmtKind, Type, Value, WasmOp};
use crate::module::{ConstInit, Module};
use crate::options::{FloatMode, Input, Options, Profile, Shape, immediate};
use crate::passes::rebase::rebase;
use crate::passes::stack_slots::unproved;
use crate::seen::Observed;
use crate::work;

use control::Uses;
use guard::StackGuard;
use memory::Address;

/// Lowers a kernel for launches of this shape.
///
/// # Errors
/// [`Error::Unsupported`] with the place for accesses outside buffers, narrow or possibly unaligned stores, mutable
/// globals, and what the device can't do exactly in the float mode asked for; [`Error::Internal`] when `function` is
/// not an inlined kernel with this shape's parameters.
pub fn lower(
    function: &Function,
    module: &Module,
    shape: &Shape,
    options: &Options,
    frames: Frames,
) -> Result<Function> {
    let mut roots = roots(function, shape, frames.stack_pointer);
    let rebased = rebase(function, &mut roots, shape, frames.stack_pointer)?;
    let offsets = frames.stack_pointer.map(|pointer| stack_offsets(function, pointer));
    let depth = frames.depth(function, offsets.as_ref(), options.speculation.frames);
    let guard = frames.stack_pointer.zip(frames.guards).map(|(pointer, guards)| {
        let unproved = unproved(function, shape, pointer, &guards.promoted);
        StackGuard::new(guards, unproved)
    });
    let arrays = match (frames.stack_pointer, &offsets) {
        (Some(pointer), Some(offsets)) if frames.dynamic => {
            let made = bottoms::made(function, pointer, offsets, &alignment(function));
            made.into_iter().map(|made| made.start).collect()
        }
        _ => HashSet::new(),
    };
    let alignment = alignment(&rebased);
    let start = rebased.region(rebased.body).stmts.first().map_or_else(Default::default, |stmt| stmt.at);
    let regions = dataflow::regions(&rebased);
    let constants = dataflow::constants(&rebased);
    let known = |(index, constant): (usize, &Option<Const>)| constant.map(|c| (Value(index as u32), c));
    let mut lowerer = Lowerer {
        module,
        shape,
        options,
        roots,
        guard,
        observed: frames.observed,
        stores: false,
        stack: Stack { pointer: frames.stack_pointer, offsets, depth, dynamic: frames.dynamic, arrays },
        alignment,
        constants: constants.iter().enumerate().filter_map(known).collect(),
        uses: Uses::new(&rebased, &regions, &constants),
        fitting: fitting(&rebased),
        bools: HashMap::new(),
        sums: HashMap::new(),
        alias: HashMap::new(),
        prologue: ListBuilder::new(start),
        once: HashMap::new(),
        list: ListBuilder::new(start),
        function: rebased,
    };
    for id in regions {
        lowerer.region(id)?;
    }
    let body = lowerer.function.body;
    lowerer.function.region_mut(body).stmts.splice(0..0, lowerer.prologue.stmts);
    Ok(lowerer.function)
}

/// As how many steps a statement counts that lowering makes: about as many passes as look at it later.
const LATER_PASSES: usize = 16;

/// How a statement was lowered.
enum Flow {
    /// Control goes on after it.
    On,
    /// It always traps: what follows can't be reached.
    Traps(TrapKind),
}

/// What is computed once, at the function's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Once {
    /// A word of the immediates.
    Immediate(u32),
    /// Number of offsets in a slot at which an access of so many bytes is in bounds.
    Limit { slot: u32, bytes: u32 },
    /// The integer 0, not known before run time.
    Zero(Type),
    /// Another such 0, not known to be equal to the first.
    OtherZero(Type),
    /// A float constant, not known before run time.
    Hidden(Const),
    /// A word of the launch's state.
    Input(Input),
    /// Number of addresses of linear memory at which an access that ends so many bytes behind its address is in bounds.
    LinearLimit { extent: u32 },
    /// The stack pointer at the launch.
    StackPointer,
    /// The address of the private stack's first byte.
    StackBase,
}

/// The private stack.
struct Stack {
    /// Its pointer is this global.
    pointer: Option<u32>,
    offsets: Option<StackOffsets>,
    /// Its size in bytes, a multiple of 16.
    depth: u32,
    /// Whether that is a guess.
    dynamic: bool,
    /// Where arrays of variable length begin.
    arrays: HashSet<Value>,
}

struct Lowerer<'a> {
    module: &'a Module,
    shape: &'a Shape,
    options: &'a Options,
    roots: Roots,
    /// What a speculative form checks of accesses of the stack.
    guard: Option<StackGuard>,
    /// What accesses were seen to do.
    observed: Option<Observed>,
    /// Whether the access that is being lowered stores.
    stores: bool,
    stack: Stack,
    alignment: Alignment,
    function: Function,
    constants: HashMap<Value, Const>,
    uses: Uses,
    /// Truncations that can't trap.
    fitting: HashSet<Value>,
    /// The `Bool` form of an `I32` that is 0 or 1.
    bools: HashMap<Value, Value>,
    /// The summands of sums, where floats are not strict.
    sums: HashMap<Value, [Value; 2]>,
    /// What stands for a value now.
    alias: HashMap<Value, Value>,
    prologue: ListBuilder,
    once: HashMap<Once, Value>,
    list: ListBuilder,
}

impl Lowerer<'_> {
    /// Lowers the statements of one region. Regions come before those below them, so the operands of a statement are
    /// lowered before it.
    fn region(&mut self, id: RegionId) -> Result<()> {
        let stmts = std::mem::take(&mut self.function.region_mut(id).stmts);
        self.list = ListBuilder::default();
        let mut exit = self.function.region(id).exit.clone();
        for stmt in stmts {
            self.list.at = stmt.at;
            let before = self.function.values.len();
            if let Flow::Traps(kind) = self.stmt(stmt)? {
                exit = Exit::Trap(kind);
                self.function.region_mut(id).exit_at = self.list.at;
                break;
            }
            // One access may become thousands of statements, which all later passes look at.
            work::spend(LATER_PASSES * (self.function.values.len() - before));
            work::check(&self.function.name)?;
        }
        exit.values_mut().iter_mut().for_each(|value| *value = self.resolve(*value));
        let stmts = std::mem::take(&mut self.list.stmts);
        let region = self.function.region_mut(id);
        region.stmts = stmts;
        region.exit = exit;
        Ok(())
    }

    fn stmt(&mut self, mut stmt: Stmt) -> Result<Flow> {
        // What the analyses know of an address they know by its old number.
        let original = stmt.kind.args().first().copied();
        stmt.kind.args_mut().iter_mut().for_each(|arg| *arg = self.resolve(*arg));
        match &mut stmt.kind {
            StmtKind::Op { op: Op::Load(access), args, result } => {
                let address = Address { original: original.unwrap_or(args[0]), value: args[0] };
                return self.load(*access, address, *result);
            }
            StmtKind::Op { op: Op::Store(access), args, .. } => {
                let address = Address { original: original.unwrap_or(args[0]), value: args[0] };
                return self.store(*access, address, args[1]);
            }
            StmtKind::Op { op: Op::Atomic(op, access), args, result } => {
                let address = Address { original: original.unwrap_or(args[0]), value: args[0] };
                return self.atomic(*op, *access, address, &args[1..], *result);
            }
            StmtKind::Op { op, args, result } => {
                self.op(*op, args, *result)?;
                return Ok(Flow::On);
            }
            StmtKind::Call { callee, .. } => {
                return Err(Error::Internal(format!("a call of function {callee} was not inlined")));
            }
            StmtKind::CallIndirect { .. } => return Err(Error::Internal("an indirect call was not inlined".into())),
            StmtKind::If { cond, .. } => *cond = self.condition(*cond),
            StmtKind::Block { .. } | StmtKind::Loop { .. } | StmtKind::Switch { .. } => {}
        }
        self.list.stmts.push(stmt);
        Ok(Flow::On)
    }

    fn op(&mut self, op: Op, args: &[Value], result: Option<Value>) -> Result<()> {
        let value = match op {
            Op::Const(constant) if self.hides(constant) && result.is_some_and(|r| self.uses.reaches_arithmetic(r)) => {
                self.hidden(constant)
            }
            Op::Const(_) | Op::Low(_) => {
                self.list.push(StmtKind::Op { op, args: Args::from_slice(args), result });
                return Ok(());
            }
            Op::Wasm(op) => match result {
                Some(result) if self.uses.is_condition(result) => return self.define_condition(op, args, result),
                Some(result) if self.fitting.contains(&result) => self.truncate_fitting(op, args[0])?,
                Some(result) if self.stack.arrays.contains(&result) => {
                    let start = self.wasm(op, args)?;
                    self.guard_array(result, start);
                    start
                }
                _ => self.wasm(op, args)?,
            },
            Op::Math(op) => self.math(op, args),
            Op::Select => {
                let condition = self.condition(args[2]);
                self.select(condition, args[0], args[1])
            }
            Op::Load(_) | Op::Store(_) | Op::Atomic(..) => {
                return Err(Error::Internal("an access has no address".into()));
            }
            Op::Fence => {
                self.fence()?;
                return Ok(());
            }
            Op::MemorySize => {
                let size = self.once(Once::Input(Input::MemorySize));
                self.op_with_int(LowOp::ShrU, size, 16)
            }
            Op::Undefined => self.constant(Const::I32(0)),
            Op::LoadData => self.low(LowOp::LoadData, args, Type::I32),
            Op::LoadDataPair => {
                let words = [0, 1].map(|lane| self.low(LowOp::LoadDataLane { lane }, args, Type::I32));
                self.low(LowOp::Pack64, &words, Type::I64)
            }
            Op::MemoryFill | Op::MemoryCopy | Op::MemoryCopyApart | Op::MemoryInit(_) | Op::DataDrop(_) => {
                return Err(Error::Internal("a bulk memory operator was not expanded".into()));
            }
            Op::Vector(op) => return Err(Error::Internal(format!("`{op}` was not split"))),
            Op::GlobalGet(global) => self.global(global, result)?,
            Op::GlobalWord { global, word } => self.once(Once::Input(Input::GlobalWord { global, word })),
            Op::GlobalSet(global) => return Err(Error::Internal(format!("global {global} was not promoted"))),
        };
        if let Some(result) = result {
            self.alias.insert(result, value);
        }
        Ok(())
    }

    fn wasm(&mut self, op: WasmOp, args: &[Value]) -> Result<Value> {
        if let Some(value) = self.integer(op, args) {
            return Ok(value);
        }
        if let Some(value) = self.float(op, args)? {
            return Ok(value);
        }
        if let Some(value) = self.convert(op, args)? {
            return Ok(value);
        }
        Err(Error::Internal(format!("`{}` has no lowering", op.text())))
    }

    /// A global's value; where floats are computed on integers, an `f64`'s bits.
    fn global(&mut self, global: u32, result: Option<Value>) -> Result<Value> {
        let is_bits = result.is_some_and(|result| self.function.ty(result) == Type::I64);
        match self.module.globals().get(global as usize) {
            Some(g) => match (g.mutable, g.init) {
                (false, Some(ConstInit::I32(x))) => Ok(self.constant(Const::I32(x as u32))),
                (false, Some(ConstInit::I64(x))) => Ok(self.constant(Const::I64(x as u64))),
                (false, Some(ConstInit::F32(x))) => Ok(self.float_constant(Const::F32(x))),
                (false, Some(ConstInit::F64(x))) if is_bits => Ok(self.constant(Const::I64(x))),
                (false, Some(ConstInit::F64(x))) => Ok(self.float_constant(Const::F64(x))),
                _ => match type_of(g.ty) {
                    Some(Type::F64) if is_bits => Ok(self.global_at_launch(global, Type::I64)),
                    Some(ty) => Ok(self.global_at_launch(global, ty)),
                    None => Err(self.unsupported(format!("globals of type `{}`", g.ty))),
                },
            },
            None => Err(Error::Internal(format!("there is no global {global}"))),
        }
    }

    fn global_at_launch(&mut self, global: u32, ty: Type) -> Value {
        let low = self.once(Once::Input(Input::Global(global)));
        let bits = match ty.bits() {
            64 => {
                let high = self.once(Once::Input(Input::GlobalHigh(global)));
                self.low(LowOp::Pack64, &[low, high], Type::I64)
            }
            _ => low,
        };
        if ty.is_float() { self.low(LowOp::Bitcast(ty), &[bits], ty) } else { bits }
    }

    fn unsupported(&self, what: impl Into<String>) -> Error {
        let at = self.list.at;
        let function_name = self.module.function_name(at.function);
        Error::Unsupported { what: what.into(), function_name, at: Some(at), too_large: false }
    }

    fn is_strict(&self) -> bool {
        self.options.float == FloatMode::Strict
    }

    /// Whether the driver may rewrite arithmetic of this type as if there were no NaN, infinity or -0, though bits
    /// must come out exact: naga's writers have no way to forbid it, and Vulkan drivers not all have one.
    fn is_rewritten(&self, ty: Type) -> bool {
        let features = self.options.features;
        let preserved = if ty == Type::F64 { features.preserve_f64 } else { features.preserve_f32 };
        self.is_strict() && (self.options.profile == Profile::Portable || !preserved)
    }
}

/// Building statements.
impl Lowerer<'_> {
    fn resolve(&self, value: Value) -> Value {
        self.alias.get(&value).copied().unwrap_or(value)
    }

    fn low(&mut self, op: LowOp, args: &[Value], ty: Type) -> Value {
        self.list.low(&mut self.function, op, args, ty)
    }

    /// An operator whose result has its first operand's type.
    fn same(&mut self, op: LowOp, args: &[Value]) -> Value {
        self.low(op, args, self.function.ty(args[0]))
    }

    fn bool(&mut self, op: LowOp, args: &[Value]) -> Value {
        self.low(op, args, Type::Bool)
    }

    fn select(&mut self, condition: Value, a: Value, b: Value) -> Value {
        self.low(LowOp::Select, &[condition, a, b], self.function.ty(a))
    }

    fn constant(&mut self, constant: Const) -> Value {
        let value = self.list.constant(&mut self.function, constant);
        self.constants.insert(value, constant);
        value
    }

    /// An integer constant of type `ty`.
    fn int(&mut self, ty: Type, value: u64) -> Value {
        self.constant(if ty == Type::I64 { Const::I64(value) } else { Const::I32(value as u32) })
    }

    /// The integer constant that a value is.
    fn known_int(&self, value: Value) -> Option<u64> {
        match self.constants.get(&value)? {
            Const::I32(x) => Some(u64::from(*x)),
            Const::I64(x) => Some(*x),
            _ => None,
        }
    }

    fn op_with_int(&mut self, op: LowOp, a: Value, b: u64) -> Value {
        let b = self.int(self.function.ty(a), b);
        self.same(op, &[a, b])
    }

    /// A comparison with an integer constant.
    fn test_int(&mut self, op: LowOp, a: Value, b: u64) -> Value {
        let b = self.int(self.function.ty(a), b);
        self.bool(op, &[a, b])
    }

    /// Traps at the current place when `condition` holds.
    fn trap_if(&mut self, condition: Value, kind: TrapKind) {
        self.list.exit_if(&mut self.function, condition, Exit::Trap(kind));
    }

    /// A branch with results; both ways give as many values of the same types.
    fn branch(
        &mut self,
        cond: Value,
        then: impl FnOnce(&mut Self) -> Vec<Value>,
        otherwise: impl FnOnce(&mut Self) -> Vec<Value>,
    ) -> Vec<Value> {
        let then = self.nested(then);
        let (otherwise, _) = self.nested(otherwise);
        self.join(cond, then, otherwise)
    }

    /// A branch to regions that are there already; `values` are those that the first yields.
    fn join(&mut self, cond: Value, (then, values): (RegionId, Vec<Value>), otherwise: RegionId) -> Vec<Value> {
        let results: Vec<Value> =
            values.iter().map(|value| self.function.new_value(self.function.values[value.index()])).collect();
        self.list.push(StmtKind::If { cond, then, otherwise, results: results.clone() });
        results
    }

    fn nested(&mut self, build: impl FnOnce(&mut Self) -> Vec<Value>) -> (RegionId, Vec<Value>) {
        let inner = ListBuilder::new(self.list.at);
        let outer = std::mem::replace(&mut self.list, inner);
        let values = build(self);
        let inner = std::mem::replace(&mut self.list, outer);
        (inner.finish(&mut self.function, Exit::Yield(values.clone())), values)
    }

    /// A value that is computed once at the function's start.
    fn once(&mut self, what: Once) -> Value {
        if let Some(value) = self.once.get(&what) {
            return *value;
        }
        // What this needs itself is put in front first.
        let value = match what {
            Once::Immediate(word) => self.at_start(|l| l.low(LowOp::Immediate(word), &[], Type::I32)),
            Once::Limit { slot, bytes } => {
                let length = self.once(Once::Immediate(immediate::SLOTS + 2 * slot + 1));
                match bytes {
                    1 => length,
                    _ => self.at_start(|l| {
                        let at_least = l.op_with_int(LowOp::UMax, length, u64::from(bytes - 1));
                        l.op_with_int(LowOp::ISub, at_least, u64::from(bytes - 1))
                    }),
                }
            }
            Once::Zero(Type::I64) => {
                let zero = self.once(Once::Immediate(immediate::ZERO));
                self.at_start(|l| l.low(LowOp::ExtendU, &[zero], Type::I64))
            }
            Once::Zero(_) => self.once(Once::Immediate(immediate::ZERO)),
            Once::OtherZero(Type::I64) => {
                let zero = self.once(Once::OtherZero(Type::I32));
                self.at_start(|l| l.low(LowOp::ExtendU, &[zero], Type::I64))
            }
            Once::OtherZero(_) => {
                let zero = self.once(Once::Immediate(immediate::ZERO));
                self.at_start(|l| {
                    let id = l.low(LowOp::IterationId, &[], Type::I32);
                    l.same(LowOp::And, &[zero, id])
                })
            }
            Once::Input(input) => self.at_start(|l| l.low(LowOp::Input(input), &[], Type::I32)),
            Once::LinearLimit { extent } => {
                let size = self.once(Once::Input(Input::MemorySize));
                self.at_start(|l| {
                    let at_least = l.op_with_int(LowOp::UMax, size, u64::from(extent - 1));
                    l.op_with_int(LowOp::ISub, at_least, u64::from(extent - 1))
                })
            }
            Once::StackPointer => self.once(Once::Input(Input::StackPointer(self.stack.pointer.unwrap_or(u32::MAX)))),
            Once::StackBase => {
                let pointer = self.once(Once::StackPointer);
                let depth = self.stack.depth;
                self.at_start(|l| l.op_with_int(LowOp::ISub, pointer, depth.into()))
            }
            Once::Hidden(constant) => {
                let zero = self.once(Once::Zero(constant.ty().as_int()));
                self.at_start(|l| {
                    let bits = l.int(constant.ty().as_int(), float_bits(constant));
                    let hidden = l.same(LowOp::IAdd, &[bits, zero]);
                    l.low(LowOp::Bitcast(constant.ty()), &[hidden], constant.ty())
                })
            }
        };
        self.once.insert(what, value);
        value
    }

    fn at_start(&mut self, build: impl FnOnce(&mut Self) -> Value) -> Value {
        std::mem::swap(&mut self.list, &mut self.prologue);
        let value = build(self);
        std::mem::swap(&mut self.list, &mut self.prologue);
        value
    }
}

/// The bits of a constant.
fn float_bits(constant: Const) -> u64 {
    match constant {
        Const::I32(x) | Const::F32(x) => u64::from(x),
        Const::I64(x) | Const::F64(x) => x,
        Const::V128(x) => u128::from(x) as u64,
        Const::Bool(x) => u64::from(x),
    }
}
