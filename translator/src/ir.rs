//! The intermediate representation: structured SSA, a tree of regions, not a graph of blocks.
//!
//! # Rules
//! 1. A [`Function`] owns its values, regions and variables; everything else refers to them by index.
//! 2. A value is defined once: as a parameter of the function or of a loop's region, or as a result of a statement.
//!    It may be used after its definition in the same region, and in every region nested below that point.
//!    A value that a nested region computes leaves it only through that region's exit, as a result of the
//!    enclosing statement. So a definition dominates its uses by construction.
//! 3. A region is a list of statements and one [`Exit`]. [`Exit::Yield`] ends the region normally: it gives the
//!    results of the enclosing `If`, `Switch`, `Block` or `Loop` (for a loop: it leaves it), or returns from the function when
//!    the region is the function's body. [`Exit::Break`] leaves the labelled `Block` or `Loop` with that statement's
//!    results; [`Exit::Continue`] starts the next iteration of the labelled loop with new values of its region's parameters.
//! 4. Only loop regions have parameters.
//! 5. Operators stay 1:1 with Wasm's ([`Op::Wasm`], [`Op::Vector`]) until [`passes::lower`](crate::passes) replaces them
//!    with [`LowOp`]s, each of which is one SPIR-V instruction or a short fixed sequence that cannot trap.
//! 6. The *strict form*, which the backend takes, has no `Block`, no `Switch`, no region parameters and no results
//!    of statements other than operators: values meet in [variables](Var). `Break` and `Continue` name the innermost loop.
//!    A loop's region never yields: it ends in `Break` or `Continue`. Code that can't be reached is not there.
//!
//! [`verify`] checks these rules; [`interpret`] is their meaning.

pub mod atomic;
pub mod builder;
pub mod display;
pub mod eval;
pub mod interpret;
pub mod low;
pub mod math;
pub mod operator;
pub mod vector;
pub mod verify;

pub use atomic::AtomicOp;
pub use low::LowOp;
pub use math::MathOp;
pub use operator::{Op, WasmOp};
pub use vector::{IntOp, Lane, ShiftOp, VectorOp};

use serde::{Deserialize, Serialize};

use crate::error::{Location, TrapKind};

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Type {
    /// 32-bit integer, without sign.
    I32,
    /// 64-bit integer, without sign.
    I64,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 128 bits, divided into lanes as each operator likes; only until [`passes::vectors`](crate::passes) splits it.
    V128,
    /// A condition; only lowered code has it.
    Bool,
}

impl Type {
    /// Size in bits; 1 for `Bool`.
    pub fn bits(self) -> u32 {
        match self {
            Type::Bool => 1,
            Type::I32 | Type::F32 => 32,
            Type::I64 | Type::F64 => 64,
            Type::V128 => 128,
        }
    }

    /// The integer type of the same size.
    pub fn as_int(self) -> Type {
        match self {
            Type::F32 => Type::I32,
            Type::F64 => Type::I64,
            other => other,
        }
    }

    /// Whether it is `F32` or `F64`.
    pub fn is_float(self) -> bool {
        matches!(self, Type::F32 | Type::F64)
    }

    /// Whether it is `I32` or `I64`.
    pub fn is_int(self) -> bool {
        matches!(self, Type::I32 | Type::I64)
    }
}

/// 128 bits, aligned as 64 are: statements hold constants, and with a `u128` each would be a quarter larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bits128([u64; 2]);

impl From<u128> for Bits128 {
    fn from(bits: u128) -> Self {
        Bits128([bits as u64, (bits >> 64) as u64])
    }
}

impl From<Bits128> for u128 {
    fn from(Bits128([low, high]): Bits128) -> Self {
        u128::from(high) << 64 | u128::from(low)
    }
}

/// A constant; floats as bits, so that equality is identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Const {
    /// `i32`
    I32(u32),
    /// `i64`
    I64(u64),
    /// `f32`, its bits
    F32(u32),
    /// `f64`, its bits
    F64(u64),
    /// `v128`, its first byte lowest
    V128(Bits128),
    /// A condition
    Bool(bool),
}

impl Const {
    /// Its type.
    pub fn ty(self) -> Type {
        match self {
            Const::I32(_) => Type::I32,
            Const::I64(_) => Type::I64,
            Const::F32(_) => Type::F32,
            Const::F64(_) => Type::F64,
            Const::V128(_) => Type::V128,
            Const::Bool(_) => Type::Bool,
        }
    }

    /// Zero (or false) of a type.
    pub fn zero(ty: Type) -> Const {
        match ty {
            Type::I32 => Const::I32(0),
            Type::I64 => Const::I64(0),
            Type::F32 => Const::F32(0),
            Type::F64 => Const::F64(0),
            Type::V128 => Const::V128(0.into()),
            Type::Bool => Const::Bool(false),
        }
    }
}

macro_rules! index_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub u32);

        impl $name {
            /// As an index into a `Vec`.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

index_type! {
    /// A value of a function.
    Value, "v"
}
index_type! {
    /// A region of a function.
    RegionId, "r"
}
index_type! {
    /// What `Break` and `Continue` name: one `Block` or `Loop` of a function.
    Label, "L"
}
index_type! {
    /// A mutable variable of a function in strict form.
    Var, "x"
}

/// A function.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its index in the module's function index space.
    pub index: u32,
    /// Its name, for messages.
    pub name: String,
    /// Its parameters.
    pub params: Vec<Value>,
    /// The types of its results.
    pub results: Vec<Type>,
    /// Its body; `Yield` there returns.
    pub body: RegionId,
    /// The type of each value.
    pub values: Vec<Type>,
    /// The regions.
    pub regions: Vec<Region>,
    /// The type of each variable; empty outside strict form.
    pub vars: Vec<Type>,
    /// Number of labels given out.
    pub labels: u32,
    /// Words of the private stack; 0 outside lowered form.
    pub stack_words: u32,
    /// What [`Op::LoadData`] loads: the words of the module's data segments that the function needs, little endian.
    pub data: std::sync::Arc<[u32]>,
    /// The loop in which functions run that are kept once; `None` where there are none.
    pub states: Option<States>,
}

/// The loop that [`passes::share`](crate::passes) makes: each iteration runs one state, a stretch of a function up to where
/// it calls another, or comes back to its caller. The loop's region is a `Switch` of them all, of which none yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct States {
    /// Its label.
    pub label: Label,
    /// For each case of the switch, where the outermost of the guest's loops begins that the state runs in, in its function
    /// or a caller; `None` if it runs in none.
    pub around: Vec<Option<Location>>,
}

/// A list of statements and what comes after them.
#[derive(Clone, Debug)]
pub struct Region {
    /// Parameters; only of loops.
    pub params: Vec<Value>,
    /// The statements in order.
    pub stmts: Vec<Stmt>,
    /// How the region ends.
    pub exit: Exit,
    /// Where the exit stands in the bytecode.
    pub exit_at: Location,
}

/// A statement and where it stands in the bytecode.
#[derive(Clone, Debug)]
pub struct Stmt {
    /// What it does.
    pub kind: StmtKind,
    /// Its place.
    pub at: Location,
}

/// An operator's operands. Nearly all have so few that they lie in the statement itself: passes over large kernels wait for
/// memory more than for anything else.
pub type Args = smallvec::SmallVec<[Value; 4]>;

/// What a statement does.
#[derive(Clone, Debug)]
pub enum StmtKind {
    /// An operator.
    Op {
        /// Which.
        op: Op,
        /// Its operands, in Wasm's order (first pushed first).
        args: Args,
        /// Its result, if it has one.
        result: Option<Value>,
    },
    /// A direct call; gone after inlining.
    Call {
        /// Function index.
        callee: u32,
        /// Arguments.
        args: Vec<Value>,
        /// Results.
        results: Vec<Value>,
    },
    /// A call of the function at an entry of a table; gone after inlining. The types of the arguments and results are
    /// those that the function must have.
    CallIndirect {
        /// Table index.
        table: u32,
        /// Arguments, and behind them the entry's number.
        args: Vec<Value>,
        /// Results.
        results: Vec<Value>,
    },
    /// A region that `Break` can leave.
    Block {
        /// Its label.
        label: Label,
        /// What it runs.
        body: RegionId,
        /// Its results: the operands of `Yield` or `Break`.
        results: Vec<Value>,
    },
    /// A region that runs again at `Continue`.
    Loop {
        /// Its label.
        label: Label,
        /// Values of the region's parameters in the first iteration.
        inits: Vec<Value>,
        /// What it runs.
        body: RegionId,
        /// Its results: the operands of `Yield` or `Break`.
        results: Vec<Value>,
    },
    /// Two ways.
    If {
        /// `I32` (not zero: `then`) in Wasm's form, `Bool` in lowered form.
        cond: Value,
        /// Taken when the condition holds.
        then: RegionId,
        /// Taken otherwise.
        otherwise: RegionId,
        /// Its results: the operands of `Yield`.
        results: Vec<Value>,
    },
    /// Many ways, from `br_table`.
    Switch {
        /// `I32`; index `i < cases.len()` takes `cases[i]`, every other the default.
        index: Value,
        /// The cases; one region may stand for several.
        cases: Vec<RegionId>,
        /// Taken when no case is.
        default: RegionId,
        /// Its results: the operands of `Yield`.
        results: Vec<Value>,
    },
}

/// How a region ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Normally, with the results of the enclosing statement.
    Yield(Vec<Value>),
    /// Leaves the labelled block or loop with its results.
    Break(Label, Vec<Value>),
    /// Next iteration of the labelled loop.
    Continue(Label, Vec<Value>),
    /// Leaves the function.
    Return(Vec<Value>),
    /// The invocation stops here.
    Trap(TrapKind),
}

impl Exit {
    /// The values it hands on.
    pub fn values(&self) -> &[Value] {
        match self {
            Exit::Yield(v) | Exit::Break(_, v) | Exit::Continue(_, v) | Exit::Return(v) => v,
            Exit::Trap(_) => &[],
        }
    }

    /// The values it hands on, to replace them.
    pub fn values_mut(&mut self) -> &mut [Value] {
        match self {
            Exit::Yield(v) | Exit::Break(_, v) | Exit::Continue(_, v) | Exit::Return(v) => v,
            Exit::Trap(_) => &mut [],
        }
    }
}

impl StmtKind {
    /// The values it uses itself (not those its regions use).
    pub fn args(&self) -> &[Value] {
        match self {
            StmtKind::Op { args, .. } => args,
            StmtKind::Call { args, .. } | StmtKind::CallIndirect { args, .. } => args,
            StmtKind::Block { .. } => &[],
            StmtKind::Loop { inits, .. } => inits,
            StmtKind::If { cond, .. } => std::slice::from_ref(cond),
            StmtKind::Switch { index, .. } => std::slice::from_ref(index),
        }
    }

    /// The values it uses itself, to replace them.
    pub fn args_mut(&mut self) -> &mut [Value] {
        match self {
            StmtKind::Op { args, .. } => args,
            StmtKind::Call { args, .. } | StmtKind::CallIndirect { args, .. } => args,
            StmtKind::Block { .. } => &mut [],
            StmtKind::Loop { inits, .. } => inits,
            StmtKind::If { cond, .. } => std::slice::from_mut(cond),
            StmtKind::Switch { index, .. } => std::slice::from_mut(index),
        }
    }

    /// The values it defines itself.
    pub fn results(&self) -> &[Value] {
        match self {
            StmtKind::Op { result, .. } => result.as_slice(),
            StmtKind::Call { results, .. }
            | StmtKind::CallIndirect { results, .. }
            | StmtKind::Block { results, .. }
            | StmtKind::Loop { results, .. }
            | StmtKind::If { results, .. }
            | StmtKind::Switch { results, .. } => results,
        }
    }

    /// Its results, to replace them.
    pub fn results_mut(&mut self) -> &mut [Value] {
        match self {
            StmtKind::Op { result, .. } => result.as_mut_slice(),
            StmtKind::Call { results, .. }
            | StmtKind::CallIndirect { results, .. }
            | StmtKind::Block { results, .. }
            | StmtKind::Loop { results, .. }
            | StmtKind::If { results, .. }
            | StmtKind::Switch { results, .. } => results,
        }
    }

    /// The regions directly below it, in order; a switch's default last. One region may come several times.
    pub fn regions(&self) -> Vec<RegionId> {
        self.each_region().collect()
    }

    /// Those of [`regions`](Self::regions), each once, in the order of their numbers.
    pub fn distinct_regions(&self) -> smallvec::SmallVec<[RegionId; 4]> {
        let mut regions: smallvec::SmallVec<[RegionId; 4]> = self.each_region().collect();
        regions.sort_unstable();
        regions.dedup();
        regions
    }

    /// Those of [`regions`](Self::regions), one after the other.
    pub fn each_region(&self) -> impl Iterator<Item = RegionId> {
        let (first, others): (&[RegionId], [Option<RegionId>; 2]) = match self {
            StmtKind::Op { .. } | StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => (&[], [None, None]),
            StmtKind::Block { body, .. } | StmtKind::Loop { body, .. } => (&[], [Some(*body), None]),
            StmtKind::If { then, otherwise, .. } => (&[], [Some(*then), Some(*otherwise)]),
            StmtKind::Switch { cases, default, .. } => (cases, [Some(*default), None]),
        };
        first.iter().copied().chain(others.into_iter().flatten())
    }
}

impl Function {
    /// The type of a value.
    pub fn ty(&self, value: Value) -> Type {
        self.values[value.index()]
    }

    /// Every use of a value: operands, and what regions hand on.
    pub fn uses_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.regions.iter_mut().flat_map(|region| {
            let args = region.stmts.iter_mut().flat_map(|stmt| stmt.kind.args_mut());
            args.chain(region.exit.values_mut())
        })
    }

    /// Whether it takes and gives values of the types that `args` and `results` have in `of`.
    pub fn has_type(&self, of: &Function, args: &[Value], results: &[Value]) -> bool {
        let params = self.params.iter().map(|v| self.ty(*v));
        params.eq(args.iter().map(|v| of.ty(*v))) && self.results.iter().copied().eq(results.iter().map(|v| of.ty(*v)))
    }

    /// A region.
    pub fn region(&self, region: RegionId) -> &Region {
        &self.regions[region.index()]
    }

    /// A region, to change it.
    pub fn region_mut(&mut self, region: RegionId) -> &mut Region {
        &mut self.regions[region.index()]
    }

    /// A new value of a type; its definition is the caller's to write.
    pub fn new_value(&mut self, ty: Type) -> Value {
        self.values.push(ty);
        Value(self.values.len() as u32 - 1)
    }

    /// A new region.
    pub fn new_region(&mut self, region: Region) -> RegionId {
        self.regions.push(region);
        RegionId(self.regions.len() as u32 - 1)
    }

    /// A new label.
    pub fn new_label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    /// A new variable.
    pub fn new_var(&mut self, ty: Type) -> Var {
        self.vars.push(ty);
        Var(self.vars.len() as u32 - 1)
    }

    /// Number of statements in the regions that can be reached from the body.
    pub fn stmt_count(&self) -> usize {
        let mut count = 0;
        let mut todo = vec![self.body];
        let mut seen = vec![false; self.regions.len()];
        while let Some(region) = todo.pop() {
            if std::mem::replace(&mut seen[region.index()], true) {
                continue;
            }
            let region = self.region(region);
            count += region.stmts.len();
            todo.extend(region.stmts.iter().flat_map(|s| s.kind.each_region()));
        }
        count
    }
}

// Passes over large kernels wait for memory more than for anything else.
const _: () = assert!(size_of::<Stmt>() <= 72);
