//! Checks the rules of [`ir`](super): every pass is followed by this in debug builds and in tests.
//!
//! The walk visits each region once with a stack of its own, so it takes time linear in the function's size and any
//! depth of nesting. Regions and values that nothing reaches from the body may lie about unused.

use std::fmt;

use super::operator::MemoryAccess;
use super::{Exit, Function, Label, LowOp, Op, Region, RegionId, Stmt, StmtKind, Type, Value};
use crate::error::Location;

/// What a function may hold at a point of the pipeline; each allows less than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Wasm's operators and calls.
    Wasm,
    /// Wasm's operators, no call.
    Inlined,
    /// Inlined, and no vectors.
    Scalar,
    /// [`Op::Const`] and [`Op::Low`] only; `If` takes a `Bool`.
    Lowered,
    /// Lowered, and in the strict form that the backend takes.
    Strict,
}

/// A rule of the intermediate representation that a function breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum Rule {
    #[error("value {0} is not in the function's table of values")]
    NoSuchValue(Value),
    #[error("region {0} is not in the function's table of regions")]
    NoSuchRegion(RegionId),
    #[error("label {0} was never given out")]
    NoSuchLabel(Label),
    #[error("value {0} is defined twice")]
    DefinedTwice(Value),
    #[error("value {0} is used before its definition, or outside the region that defines it")]
    NotInScope(Value),
    #[error("region {0} is used twice")]
    RegionUsedTwice(RegionId),
    #[error("label {0} is used by two statements")]
    LabelUsedTwice(Label),
    #[error("label {0} does not enclose the exit that names it")]
    LabelNotInScope(Label),
    #[error("`continue` names label {0}, which is a block's")]
    ContinueOfBlock(Label),
    #[error("only the region of a loop may have parameters")]
    ParamsOutsideLoop,
    #[error("{what} must have the types {expected}, not {found}")]
    Types { what: &'static str, expected: String, found: String },
    #[error("operator {op} does not take operands of types {args} with {result} as its result")]
    Operator { op: String, args: String, result: String },
    #[error("{what} must not be there at the stage {stage:?}")]
    WrongStage { what: &'static str, stage: Stage },
    #[error("`{exit}` of label {label} does not name the innermost loop")]
    NotInnermost { exit: &'static str, label: Label },
    #[error("the region of a loop must not yield")]
    LoopYields,
    #[error("statements stand where control never comes: after one that never ends normally")]
    Unreachable,
}

/// A rule that a function breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct VerifyError {
    /// The function's index.
    pub function: u32,
    /// The function's name.
    pub name: String,
    /// The region that breaks the rule; `None` for the function's own parts.
    pub region: Option<RegionId>,
    /// Where the statement or exit stands in the bytecode.
    pub at: Location,
    /// The rule.
    pub rule: Rule,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function {} (`{}`) breaks a rule of the intermediate representation", self.function, self.name)?;
        if let Some(region) = self.region {
            write!(f, " in region {region} ({})", self.at)?;
        }
        write!(f, ": {}.", self.rule)
    }
}

/// Checks that a function keeps the rules of its stage.
///
/// # Errors
/// The first rule broken, with its region.
pub fn verify(function: &Function, stage: Stage) -> Result<(), VerifyError> {
    let mut verifier = Verifier {
        function,
        stage,
        values: vec![Seen::Never; function.values.len()],
        owners: vec![0; function.regions.len()],
        labels: vec![None; function.labels as usize],
        labels_used: vec![false; function.labels as usize],
        loops: Vec::new(),
        in_scope: Vec::new(),
        frames: Vec::new(),
        owner: 0,
        at: Location { function: function.index, offset: 0 },
    };
    verifier.run().map_err(|rule| VerifyError {
        function: function.index,
        name: function.name.clone(),
        region: verifier.frames.last().map(|frame| frame.id),
        at: verifier.at,
        rule,
    })
}

/// Where a value stands in the walk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Never,
    InScope,
    Left,
}

/// An enclosing statement with a label.
#[derive(Clone, Copy)]
struct Target<'f> {
    results: &'f [Value],
    /// The parameters of the loop's region; `None` for a block.
    params: Option<&'f [Value]>,
    /// Whether a break that control can reach names it.
    broken: bool,
}

/// A region being walked.
struct Frame<'f> {
    id: RegionId,
    region: &'f Region,
    /// The statement being walked.
    next: usize,
    /// Regions of that statement which are yet to be walked, last first; `None` before it is started.
    children: Option<Vec<RegionId>>,
    /// Number of values in scope outside the region.
    scope: usize,
    /// The statement that owns the region; `None` for the body.
    owner: Option<&'f StmtKind>,
    /// Whether a region of the current statement ends normally.
    child_yields: bool,
    /// Whether control comes to the place after the statements so far.
    live: bool,
}

struct Verifier<'f> {
    function: &'f Function,
    stage: Stage,
    values: Vec<Seen>,
    /// Number of the statement that owns each region; 0: none so far.
    owners: Vec<u32>,
    labels: Vec<Option<Target<'f>>>,
    labels_used: Vec<bool>,
    loops: Vec<Label>,
    in_scope: Vec<Value>,
    frames: Vec<Frame<'f>>,
    owner: u32,
    at: Location,
}

impl<'f> Verifier<'f> {
    fn run(&mut self) -> Result<(), Rule> {
        let function = self.function;
        if self.stage < Stage::Strict && !function.vars.is_empty() {
            return Err(self.wrong_stage("a variable"));
        }
        self.define_all(&function.params)?;
        let body = self.claim(function.body, false)?.unwrap_or(function.body);
        self.enter(body, None)?;
        while let Some(frame) = self.frames.last_mut() {
            let region = frame.region;
            let Some(stmt) = region.stmts.get(frame.next) else {
                self.leave()?;
                continue;
            };
            self.at = stmt.at;
            match &mut frame.children {
                None => self.start(stmt)?,
                Some(children) => match children.pop() {
                    Some(child) => self.enter(child, Some(&stmt.kind))?,
                    None => self.finish(stmt)?,
                },
            }
        }
        Ok(())
    }

    /// Marks a region as used by the current statement; `None` if it was already (allowed with `again`).
    fn claim(&mut self, id: RegionId, again: bool) -> Result<Option<RegionId>, Rule> {
        let owner = self.owners.get_mut(id.index()).ok_or(Rule::NoSuchRegion(id))?;
        match std::mem::replace(owner, self.owner + 1) {
            0 => Ok(Some(id)),
            other if other == self.owner + 1 && again => Ok(None),
            _ => Err(Rule::RegionUsedTwice(id)),
        }
    }

    fn enter(&mut self, id: RegionId, owner: Option<&'f StmtKind>) -> Result<(), Rule> {
        let region = self.function.region(id);
        let scope = self.in_scope.len();
        self.frames.push(Frame { id, region, next: 0, children: None, scope, owner, child_yields: false, live: true });
        if !region.params.is_empty() && !matches!(owner, Some(StmtKind::Loop { .. })) {
            return Err(Rule::ParamsOutsideLoop);
        }
        self.define_all(&region.params)
    }

    /// Checks what a statement uses, and lists its regions.
    fn start(&mut self, stmt: &'f Stmt) -> Result<(), Rule> {
        let kind = &stmt.kind;
        if self.stage == Stage::Strict && !self.frames.last().is_some_and(|frame| frame.live) {
            return Err(Rule::Unreachable);
        }
        self.check_stage(kind)?;
        for arg in kind.args() {
            self.check_use(*arg)?;
        }
        for result in kind.results() {
            self.check_exists(*result)?;
        }
        self.owner += 1;
        let mut children = Vec::new();
        for region in kind.regions() {
            children.extend(self.claim(region, matches!(kind, StmtKind::Switch { .. }))?);
        }
        children.reverse();
        match kind {
            StmtKind::Op { op, args, result } => self.check_op(op, args, *result)?,
            StmtKind::Call { .. } => {}
            StmtKind::CallIndirect { args, .. } => {
                self.check_given("the entry of an indirect call", &args[args.len().saturating_sub(1)..], &[Type::I32])?;
            }
            StmtKind::Block { label, results, .. } => self.open(*label, results, None)?,
            StmtKind::Loop { label, inits, body, results } => {
                let params = &self.function.region(*body).params;
                for param in params {
                    self.check_exists(*param)?;
                }
                self.check_types("the initial values of a loop", inits, params)?;
                self.open(*label, results, Some(params))?;
                self.loops.push(*label);
            }
            StmtKind::If { cond, .. } => {
                let ty = if self.stage < Stage::Lowered { Type::I32 } else { Type::Bool };
                self.check_given("the condition of an `if`", &[*cond], &[ty])?;
            }
            StmtKind::Switch { index, .. } => {
                self.check_given("the index of a `switch`", &[*index], &[Type::I32])?;
            }
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.children = Some(children);
            frame.child_yields = false;
        }
        Ok(())
    }

    /// Defines a statement's results after its regions were walked.
    fn finish(&mut self, stmt: &'f Stmt) -> Result<(), Rule> {
        let mut broken = false;
        if let StmtKind::Block { label, .. } | StmtKind::Loop { label, .. } = &stmt.kind {
            broken = self.labels[label.index()].take().is_some_and(|target| target.broken);
        }
        if let StmtKind::Loop { .. } = &stmt.kind {
            self.loops.pop();
        }
        self.define_all(stmt.kind.results())?;
        if let Some(frame) = self.frames.last_mut() {
            let straight =
                matches!(stmt.kind, StmtKind::Op { .. } | StmtKind::Call { .. } | StmtKind::CallIndirect { .. });
            frame.live &= straight || broken || frame.child_yields;
            frame.next += 1;
            frame.children = None;
        }
        Ok(())
    }

    /// Checks a region's exit and leaves the region.
    fn leave(&mut self) -> Result<(), Rule> {
        let Some(frame) = self.frames.last() else { return Ok(()) };
        let (region, owner, live, scope) = (frame.region, frame.owner, frame.live, frame.scope);
        self.at = region.exit_at;
        for value in region.exit.values() {
            self.check_use(*value)?;
        }
        self.check_exit(&region.exit, owner, live)?;
        for value in self.in_scope.drain(scope..) {
            self.values[value.index()] = Seen::Left;
        }
        self.frames.pop();
        if let Some(parent) = self.frames.last_mut() {
            parent.child_yields |= live && matches!(region.exit, Exit::Yield(_));
        }
        Ok(())
    }

    fn check_exit(&mut self, exit: &Exit, owner: Option<&'f StmtKind>, live: bool) -> Result<(), Rule> {
        match exit {
            Exit::Yield(values) => match owner {
                Some(StmtKind::Loop { .. }) if self.stage == Stage::Strict => Err(Rule::LoopYields),
                Some(owner) => self.check_types("the operands of `yield`", values, owner.results()),
                None => self.check_given("the operands of the body's `yield`", values, &self.function.results),
            },
            Exit::Return(values) => self.check_given("the operands of `return`", values, &self.function.results),
            Exit::Trap(_) => Ok(()),
            Exit::Break(label, values) => {
                let target = self.target(*label, "break")?;
                target.broken |= live;
                let results = target.results;
                self.check_types("the operands of `break`", values, results)
            }
            Exit::Continue(label, values) => {
                let params = self.target(*label, "continue")?.params.ok_or(Rule::ContinueOfBlock(*label))?;
                self.check_types("the operands of `continue`", values, params)
            }
        }
    }

    fn target(&mut self, label: Label, exit: &'static str) -> Result<&mut Target<'f>, Rule> {
        if self.stage == Stage::Strict && self.loops.last() != Some(&label) {
            return Err(Rule::NotInnermost { exit, label });
        }
        let target = self.labels.get_mut(label.index()).ok_or(Rule::NoSuchLabel(label))?;
        target.as_mut().ok_or(Rule::LabelNotInScope(label))
    }

    fn open(&mut self, label: Label, results: &'f [Value], params: Option<&'f [Value]>) -> Result<(), Rule> {
        let used = self.labels_used.get_mut(label.index()).ok_or(Rule::NoSuchLabel(label))?;
        if std::mem::replace(used, true) {
            return Err(Rule::LabelUsedTwice(label));
        }
        self.labels[label.index()] = Some(Target { results, params, broken: false });
        Ok(())
    }

    fn define_all(&mut self, values: &[Value]) -> Result<(), Rule> {
        for value in values {
            self.check_exists(*value)?;
            if self.values[value.index()] != Seen::Never {
                return Err(Rule::DefinedTwice(*value));
            }
            self.values[value.index()] = Seen::InScope;
            self.in_scope.push(*value);
        }
        Ok(())
    }

    fn check_exists(&self, value: Value) -> Result<(), Rule> {
        let ty = *self.function.values.get(value.index()).ok_or(Rule::NoSuchValue(value))?;
        if ty == Type::Bool && self.stage < Stage::Lowered {
            return Err(self.wrong_stage("a `Bool` value"));
        }
        if ty == Type::V128 && self.stage >= Stage::Scalar {
            return Err(self.wrong_stage("a vector"));
        }
        Ok(())
    }

    fn check_use(&self, value: Value) -> Result<(), Rule> {
        self.check_exists(value)?;
        match self.values[value.index()] {
            Seen::InScope => Ok(()),
            Seen::Never | Seen::Left => Err(Rule::NotInScope(value)),
        }
    }

    /// Checks values against the types of other values.
    fn check_types(&self, what: &'static str, found: &[Value], expected: &[Value]) -> Result<(), Rule> {
        let ty = |value: &Value| self.function.ty(*value);
        match found.iter().map(ty).eq(expected.iter().map(ty)) {
            true => Ok(()),
            false => self.check_given(what, found, &expected.iter().map(ty).collect::<Vec<_>>()),
        }
    }

    fn check_given(&self, what: &'static str, found: &[Value], expected: &[Type]) -> Result<(), Rule> {
        if found.iter().map(|v| self.function.ty(*v)).eq(expected.iter().copied()) {
            return Ok(());
        }
        let found: Vec<Type> = found.iter().map(|v| self.function.ty(*v)).collect();
        Err(Rule::Types { what, expected: format!("{expected:?}"), found: format!("{found:?}") })
    }

    fn check_op(&self, op: &Op, args: &[Value], result: Option<Value>) -> Result<(), Rule> {
        let args: Vec<Type> = args.iter().map(|v| self.function.ty(*v)).collect();
        let result = result.map(|v| self.function.ty(v));
        let fits = match op {
            // The types of globals are the module's to know.
            Op::GlobalGet(_) => args.is_empty() && result.is_some(),
            Op::GlobalSet(_) => args.len() == 1 && result.is_none(),
            op => op.result_type(&args, &self.function.vars) == Some(result),
        };
        match fits {
            true => Ok(()),
            false => {
                Err(Rule::Operator { op: format!("{op:?}"), args: format!("{args:?}"), result: format!("{result:?}") })
            }
        }
    }

    fn wrong_stage(&self, what: &'static str) -> Rule {
        Rule::WrongStage { what, stage: self.stage }
    }

    fn check_stage(&self, kind: &StmtKind) -> Result<(), Rule> {
        let lowered = self.stage >= Stage::Lowered;
        let strict = self.stage == Stage::Strict;
        let forbidden = match kind {
            StmtKind::Op { op: Op::Low(_), .. } if !lowered => "a lowered operator",
            StmtKind::Op { op: Op::Low(_) | Op::Const(_), .. } => return Ok(()),
            StmtKind::Op { .. } if lowered => "an operator that is not lowered",
            StmtKind::Call { .. } | StmtKind::CallIndirect { .. } if self.stage != Stage::Wasm => "a call",
            StmtKind::Block { .. } if strict => "a block",
            StmtKind::Switch { .. } if strict => "a switch",
            StmtKind::Loop { inits, .. } if strict && !inits.is_empty() => "a parameter of a loop",
            StmtKind::If { results, .. } | StmtKind::Loop { results, .. } if strict && !results.is_empty() => {
                "a result of a statement that is no operator"
            }
            _ => return Ok(()),
        };
        Err(self.wrong_stage(forbidden))
    }
}

impl Op {
    /// The type of the operator's result for operands of these types: `None` when they don't fit, `Some(None)` when it
    /// has no result. `vars` are the function's variables. The types of globals are not known here: `None`.
    pub fn result_type(&self, args: &[Type], vars: &[Type]) -> Option<Option<Type>> {
        match (self, args) {
            (Op::Const(value), []) => Some(Some(value.ty())),
            (Op::Wasm(op), _) if op.params() == args => Some(Some(op.result())),
            (Op::Vector(op), _) if op.params() == args => Some(Some(op.result())),
            (Op::Math(op), _) if op.takes(args) => Some(Some(Type::F32)),
            (Op::GlobalWord { word: 0..=3, .. }, []) => Some(Some(Type::I32)),
            (Op::Select, [a, b, Type::I32]) if a == b => Some(Some(*a)),
            (Op::Load(access), [Type::I32]) if access.is_valid() => Some(Some(access.ty)),
            (Op::Store(access), [Type::I32, value]) if access.is_valid() && *value == access.ty => Some(None),
            (Op::Atomic(op, access), [Type::I32, operands @ ..]) if access.is_valid() && !access.signed => {
                op.result_type(access.ty, operands)
            }
            (Op::Fence, []) => Some(None),
            (Op::MemorySize, []) => Some(Some(Type::I32)),
            (
                Op::MemoryFill | Op::MemoryCopy | Op::MemoryCopyApart | Op::MemoryInit(_),
                [Type::I32, Type::I32, Type::I32],
            ) => Some(None),
            (Op::DataDrop(_), []) => Some(None),
            (Op::LoadData, [Type::I32]) => Some(Some(Type::I32)),
            (Op::LoadDataPair, [Type::I32]) => Some(Some(Type::I64)),
            (Op::Undefined, []) => Some(Some(Type::I32)),
            (Op::Low(op), _) => op.result_type(args, vars),
            _ => None,
        }
    }
}

impl MemoryAccess {
    /// Whether the number of bytes fits the type: a power of two, the type's size for floats, no more for integers, and
    /// whole words for vectors, whose narrow loads give zeroes above.
    pub fn is_valid(&self) -> bool {
        let size = self.ty.bits() / 8;
        let narrow = self.ty.is_int() || self.ty == Type::V128 && self.bytes >= 4 && !self.signed;
        self.bytes.is_power_of_two() && (self.bytes == size || narrow && self.bytes < size)
    }
}

impl LowOp {
    /// The type of the operator's result for operands of these types: `None` when they don't fit, `Some(None)` when it
    /// has no result. `vars` are the function's variables.
    pub fn result_type(&self, args: &[Type], vars: &[Type]) -> Option<Option<Type>> {
        use LowOp as L;
        use Type::{Bool, F32, F64, I32, I64};
        let result = match (self, args) {
            (
                L::IAdd
                | L::ISub
                | L::IMul
                | L::UDiv
                | L::SDiv
                | L::URem
                | L::SRem
                | L::And
                | L::Or
                | L::Xor
                | L::Shl
                | L::ShrU
                | L::ShrS
                | L::UMin
                | L::UMax
                | L::SMin
                | L::SMax,
                [a, b],
            ) if a == b && a.is_int() => *a,
            (L::FindMsb | L::FindLsb | L::BitCount, [I32]) | (L::MulHigh, [I32, I32]) => I32,
            (L::Eq | L::Ne | L::ULt | L::ULe | L::SLt | L::SLe, [a, b]) if a == b && a.is_int() => Bool,
            (L::FAdd | L::FSub | L::FMul | L::FDiv, [a, b]) if a == b && a.is_float() => *a,
            (L::FSqrt | L::FAbs | L::FNeg | L::FTrunc | L::FFloor | L::FCeil | L::FRoundEven, [a]) if a.is_float() => {
                *a
            }
            (L::Math(op), _) if op.on_device().is_some() && op.takes(args) => F32,
            (L::FEq | L::FLt | L::FLe, [a, b]) if a == b && a.is_float() => Bool,
            (L::Wrap | L::High, [I64]) => I32,
            (L::ExtendU | L::ExtendS, [I32]) => I64,
            (L::FToS(ty) | L::FToU(ty), [a]) if ty.is_int() && a.is_float() => *ty,
            (L::SToF(ty) | L::UToF(ty), [a]) if ty.is_float() && a.is_int() => *ty,
            (L::FToF(ty), [a]) if matches!((a, ty), (F32, F64) | (F64, F32)) => *ty,
            (L::Bitcast(ty), [a]) if a != ty && *a != Bool && *ty != Bool && a.bits() == ty.bits() => *ty,
            (L::Pack64, [I32, I32]) => I64,
            (L::BAnd | L::BOr, [Bool, Bool]) | (L::BNot, [Bool]) => Bool,
            (L::Select, [Bool, a, b]) if a == b => *a,
            (L::LoadWord { .. }, [I32]) => I32,
            (L::LoadLane { words: words @ (2 | 4), lane, .. }, [I32]) if lane < words => I32,
            (L::Atomic { op, ty, .. }, [I32, operands @ ..]) => return op.result_type(*ty, operands),
            (L::Fence, []) => return Some(None),
            (L::LoadData | L::LoadDataLane { lane: 0..=1 } | L::LoadStack, [I32]) => I32,
            (L::StorePart { bytes: 1 | 2, .. }, [I32, I32]) => return Some(None),
            (L::StoreQuad { .. }, [I32, I32, I32, I32, I32]) | (L::StorePair { .. }, [I32, I32, I32]) => {
                return Some(None);
            }
            (L::StoreWord { .. } | L::AndWord { .. } | L::OrWord { .. } | L::StoreStack, [I32, I32]) => {
                return Some(None);
            }
            (L::Immediate(_) | L::Input(_) | L::IterationId, []) => I32,
            (L::Burn | L::Spend | L::Refund, [I32]) | (L::Settle, []) => return Some(None),
            (L::Take { cost: 1.., .. }, [I32]) => I32,
            (L::Cell(_), []) => I32,
            (L::SetCell(_), [I32]) => return Some(None),
            (L::Owes | L::Overtaken, []) => Bool,
            (L::VarGet(var), []) => *vars.get(var.index())?,
            (L::VarSet(var), [a]) if vars.get(var.index()) == Some(a) => return Some(None),
            _ => return None,
        };
        Some(Some(result))
    }
}
