//! Wasm operators to IR, one function at a time.
//!
//! Wasm arrives structured, so each of its constructs becomes one statement with a region. What a construct assigns
//! to locals leaves it as results, beside the construct's own results on Wasm's stack; [`scan`] finds beforehand which
//! locals those are, and which constructs no branch targets, so that they need no label.

mod atomic;
mod calls;
mod memory;
pub(crate) mod names;
mod operators;
mod scan;
mod vector;

use wasmparser::{BlockType, Operator, ValType};

use crate::error::{Error, Location, Result, TrapKind};
use crate::ir::builder::ListBuilder;
use crate::ir::{Const, Exit, Function, Label, Region, RegionId, Stmt, StmtKind, Type, Value};
use crate::module::Module;
use calls::{Callee, Repeats};
pub(crate) use memory::access;
use scan::Construct;

/// Deepest nesting of constructs in one function. SPIR-V allows 1,023 levels of nested control flow.
pub const MAX_NESTING: usize = 500;

/// Which calls become operators.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// Those of recognised functions of C's mathematical library become the device's own functions.
    pub libm: bool,
    /// Those of functions that fill and move blocks of memory.
    pub blocks: bool,
    /// Of `memcpy` too; an invocation bails out ([`BAIL_OUT`]) where it would copy upwards into what it copies.
    pub copies: bool,
    /// An operator that can't be lifted ends the function there, as one that is not reached: a rehearsal tells whether it is.
    pub cuts: bool,
}

/// Lifts one function of a module, calls left as calls but for those that are known.
///
/// # Errors
/// [`Error::Unsupported`] names the first operator or type that can't be lifted.
pub fn lift(module: &Module, function: u32, known: Known) -> Result<Function> {
    let mut lifter = Lifter::new(module, function)?;
    lifter.known = known;
    let body = module.body(function).ok_or_else(|| Error::Internal(format!("function {function} has no body")))?;
    let scan = scan::scan(&body, function)?;
    lifter.constructs = scan.constructs.into_iter();
    if scan.repeats {
        lifter.begin_repeating();
    }
    let reader = body.get_operators_reader().map_err(broken)?;
    for item in reader.into_iter_with_offsets() {
        let (op, offset) = item.map_err(broken)?;
        lifter.list.at.offset = offset as u32;
        lifter.operator(&op)?;
    }
    lifter.finish()
}

/// A construct that is open.
struct Frame {
    kind: FrameKind,
    label: Label,
    /// Whether a branch from reachable code has targeted the label so far.
    targeted: bool,
    /// Statements of the enclosing region, up to this construct.
    outer: Option<Vec<Stmt>>,
    /// Height of Wasm's stack below the construct's parameters.
    height: usize,
    results: Vec<Type>,
    /// Locals that the construct assigns.
    assigned: Vec<u32>,
    /// Depth of constructs in skipped code, while the rest of this one can't be reached.
    skipping: Option<usize>,
    /// How the region ends, once that is known before its `end`.
    exit: Option<(Exit, Location)>,
}

enum FrameKind {
    Function,
    Block,
    Loop { params: Vec<Value>, inits: Vec<Value> },
    If { cond: Value, entry_locals: Vec<Value>, entry_stack: Vec<Value>, then: Option<RegionId> },
}

struct Lifter<'m> {
    module: &'m Module,
    function: Function,
    list: ListBuilder,
    locals: Vec<Value>,
    local_types: Vec<Type>,
    stack: Vec<Value>,
    frames: Vec<Frame>,
    constructs: std::vec::IntoIter<Construct>,
    /// A call whose next operator decides whether it is a call or a trap.
    pending_call: Option<(Callee, Location)>,
    /// The function's body as a loop, where it calls itself as its last act.
    repeats: Option<Repeats>,
    known: Known,
}

fn broken(error: wasmparser::BinaryReaderError) -> Error {
    Error::Internal(format!("a validated body could not be read: {error}"))
}

impl<'m> Lifter<'m> {
    fn new(module: &'m Module, index: u32) -> Result<Self> {
        let ty = module
            .function_type(index)
            .ok_or_else(|| Error::NotAKernel(format!("There is no function {index} in the module.")))?;
        let mut function = Function {
            index,
            name: module.function_name(index),
            params: Vec::new(),
            results: Vec::new(),
            body: RegionId(0),
            values: Vec::new(),
            regions: Vec::new(),
            vars: Vec::new(),
            labels: 0,
            stack_words: 0,
            states: None,
            data: Default::default(),
        };
        let at = Location { function: index, offset: module.body(index).map_or(0, |b| b.range().start as u32) };
        let mut lifter_types = Vec::new();
        for param in ty.params() {
            let ty = type_of(*param).ok_or_else(|| unsupported_type(&function.name, *param, at))?;
            let value = function.new_value(ty);
            function.params.push(value);
            lifter_types.push(ty);
        }
        for result in ty.results() {
            function.results.push(type_of(*result).ok_or_else(|| unsupported_type(&function.name, *result, at))?);
        }
        let mut lifter = Lifter {
            module,
            locals: function.params.clone(),
            local_types: lifter_types,
            function,
            list: ListBuilder::new(at),
            stack: Vec::new(),
            frames: Vec::new(),
            constructs: Vec::new().into_iter(),
            pending_call: None,
            repeats: None,
            known: Known::default(),
        };
        lifter.declare_locals(at)?;
        let label = lifter.function.new_label();
        lifter.frames.push(Frame {
            kind: FrameKind::Function,
            label,
            targeted: false,
            outer: None,
            height: 0,
            results: lifter.function.results.clone(),
            assigned: Vec::new(),
            skipping: None,
            exit: None,
        });
        Ok(lifter)
    }

    /// Locals start as zero; one constant a type serves them all.
    fn declare_locals(&mut self, at: Location) -> Result<()> {
        let Some(body) = self.module.body(self.function.index) else { return Ok(()) };
        let mut zeroes: [Option<Value>; 5] = [None; 5];
        for local in body.get_locals_reader().map_err(broken)? {
            let (count, ty) = local.map_err(broken)?;
            // A local of an odd type matters only if it is used, but compilers declare none that is not.
            let ty = type_of(ty).ok_or_else(|| unsupported_type(&self.function.name, ty, at))?;
            let zero = match zeroes[ty as usize] {
                Some(zero) => zero,
                None => *zeroes[ty as usize].insert(self.list.constant(&mut self.function, Const::zero(ty))),
            };
            self.locals.extend(std::iter::repeat_n(zero, count as usize));
            self.local_types.extend(std::iter::repeat_n(ty, count as usize));
        }
        Ok(())
    }

    fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::Unsupported {
            what: what.into(),
            function_name: self.function.name.clone(),
            at: Some(self.list.at),
            too_large: false,
        }
    }

    fn pop(&mut self) -> Result<Value> {
        self.stack.pop().ok_or_else(|| Error::Internal("the operand stack of a validated function ran empty".into()))
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>> {
        let from = self.stack.len().checked_sub(count);
        let from = from.ok_or_else(|| Error::Internal("the operand stack of a validated function ran empty".into()))?;
        Ok(self.stack.split_off(from))
    }

    fn frame(&mut self) -> Result<&mut Frame> {
        self.frames.last_mut().ok_or_else(|| Error::Internal("an operator stands behind the function's end".into()))
    }

    fn operator(&mut self, op: &Operator<'_>) -> Result<()> {
        if self.skip(op)? {
            return Ok(());
        }
        if let Some((callee, at)) = self.pending_call.take() {
            if matches!(op, Operator::Unreachable) {
                // What never returns is a panic: cut it here, and its formatting and allocation code with it.
                return self.leave(Exit::Trap(TrapKind::Unreachable));
            }
            if matches!(callee, Callee::Direct(function) if self.module.dies(function)) {
                let here = std::mem::replace(&mut self.list.at, at);
                self.leave(Exit::Trap(TrapKind::Unreachable))?;
                self.list.at = here;
                return self.operator(op);
            }
            self.call(callee, at)?;
        }
        match op {
            Operator::Block { blockty } => self.open_block(*blockty),
            Operator::Loop { blockty } => self.open_loop(*blockty),
            Operator::If { blockty } => self.open_if(*blockty),
            Operator::Else => self.begin_else(),
            Operator::End => self.close(),
            Operator::Br { relative_depth } => {
                let exit = self.branch(*relative_depth)?;
                self.leave(exit)
            }
            Operator::BrIf { relative_depth } => self.br_if(*relative_depth),
            Operator::BrTable { targets } => self.br_table(targets),
            Operator::Return => {
                let depth = self.frames.len() as u32 - 1;
                let exit = self.branch(depth)?;
                self.leave(exit)
            }
            Operator::Unreachable => self.leave(Exit::Trap(TrapKind::Unreachable)),
            Operator::Call { function_index } => {
                self.pending_call = Some((Callee::Direct(*function_index), self.list.at));
                Ok(())
            }
            Operator::CallIndirect { type_index, table_index } => {
                let callee = Callee::Indirect { table: *table_index, ty: *type_index };
                self.pending_call = Some((callee, self.list.at));
                Ok(())
            }
            Operator::ReturnCall { function_index } => self.tail_call(Callee::Direct(*function_index)),
            Operator::ReturnCallIndirect { type_index, table_index } => {
                self.tail_call(Callee::Indirect { table: *table_index, ty: *type_index })
            }
            _ => self.simple_operator(op),
        }
    }

    /// Passes over code that can't be reached; true if `op` was passed over.
    fn skip(&mut self, op: &Operator<'_>) -> Result<bool> {
        let frame = self.frame()?;
        let Some(depth) = frame.skipping.as_mut() else { return Ok(false) };
        match op {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                *depth += 1;
                self.constructs.next();
                Ok(true)
            }
            Operator::End if *depth > 0 => {
                *depth -= 1;
                Ok(true)
            }
            Operator::End => Ok(false),
            Operator::Else if *depth == 0 => Ok(false),
            _ => Ok(true),
        }
    }

    /// Ends the current region early: the rest of the construct can't be reached.
    fn leave(&mut self, exit: Exit) -> Result<()> {
        let at = self.list.at;
        let frame = self.frame()?;
        frame.exit = Some((exit, at));
        frame.skipping = Some(0);
        Ok(())
    }

    /// Types of a construct's parameters and results.
    fn block_type(&self, ty: BlockType) -> Result<(usize, Vec<Type>)> {
        let of = |ty: ValType| type_of(ty).ok_or_else(|| self.unsupported(format!("values of type `{ty}`")));
        match ty {
            BlockType::Empty => Ok((0, Vec::new())),
            BlockType::Type(ty) => Ok((0, vec![of(ty)?])),
            BlockType::FuncType(index) => {
                let ty = self.module.type_at(index);
                let ty = ty.ok_or_else(|| Error::Internal(format!("there is no function type {index}")))?;
                let results = ty.results().iter().map(|ty| of(*ty)).collect::<Result<_>>()?;
                Ok((ty.params().len(), results))
            }
        }
    }

    fn open(&mut self, kind: FrameKind, assigned: Vec<u32>, height: usize, results: Vec<Type>) -> Result<()> {
        if self.frames.len() >= MAX_NESTING {
            return Err(self.unsupported(format!("more than {MAX_NESTING} nested blocks")));
        }
        let label = self.function.new_label();
        let outer = Some(std::mem::take(&mut self.list.stmts));
        self.frames.push(Frame {
            kind,
            label,
            targeted: false,
            outer,
            height,
            results,
            assigned,
            skipping: None,
            exit: None,
        });
        Ok(())
    }

    fn next_construct(&mut self) -> Result<Construct> {
        self.constructs.next().ok_or_else(|| Error::Internal("the scan missed a construct".into()))
    }

    fn open_block(&mut self, ty: BlockType) -> Result<()> {
        let construct = self.next_construct()?;
        let (params, results) = self.block_type(ty)?;
        self.open(FrameKind::Block, construct.assigned, self.stack.len() - params, results)
    }

    fn open_loop(&mut self, ty: BlockType) -> Result<()> {
        let construct = self.next_construct()?;
        let (count, results) = self.block_type(ty)?;
        let height = self.stack.len() - count;
        let mut inits = self.pop_many(count)?;
        inits.extend(construct.assigned.iter().map(|l| self.locals[*l as usize]));
        let mut params = Vec::with_capacity(inits.len());
        for init in &inits {
            params.push(self.function.new_value(self.function.ty(*init)));
        }
        self.stack.extend(&params[..count]);
        for (local, param) in construct.assigned.iter().zip(&params[count..]) {
            self.locals[*local as usize] = *param;
        }
        self.open(FrameKind::Loop { params, inits }, construct.assigned, height, results)
    }

    fn open_if(&mut self, ty: BlockType) -> Result<()> {
        let construct = self.next_construct()?;
        let cond = self.pop()?;
        let (params, results) = self.block_type(ty)?;
        let height = self.stack.len() - params;
        let kind = FrameKind::If {
            cond,
            entry_locals: self.locals.clone(),
            entry_stack: self.stack[height..].to_vec(),
            then: None,
        };
        self.open(kind, construct.assigned, height, results)
    }

    /// What the construct hands on when control reaches its end: results on the stack, then assigned locals.
    fn normal_values(&mut self) -> Result<Vec<Value>> {
        let frame = self.frame()?;
        let count = frame.results.len();
        let assigned = frame.assigned.clone();
        let mut values = self.pop_many(count)?;
        values.extend(assigned.iter().map(|l| self.locals[*l as usize]));
        Ok(values)
    }

    /// Ends the region that is being built.
    fn end_region(&mut self, params: Vec<Value>) -> Result<RegionId> {
        let at = self.list.at;
        let (exit, exit_at) = match self.frame()?.exit.take() {
            Some(early) => early,
            None => (Exit::Yield(self.normal_values()?), at),
        };
        let stmts = std::mem::take(&mut self.list.stmts);
        Ok(self.function.new_region(Region { params, stmts, exit, exit_at }))
    }

    fn begin_else(&mut self) -> Result<()> {
        let region = self.end_region(Vec::new())?;
        let frame = self.frame()?;
        frame.skipping = None;
        let height = frame.height;
        let FrameKind::If { entry_locals, entry_stack, then, .. } = &mut frame.kind else {
            return Err(Error::Internal("an `else` stands outside an `if`".into()));
        };
        *then = Some(region);
        let (locals, stack) = (std::mem::take(entry_locals), std::mem::take(entry_stack));
        self.locals = locals;
        self.stack.truncate(height);
        self.stack.extend(stack);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if matches!(self.frame()?.kind, FrameKind::If { then: None, .. }) {
            self.begin_else()?; // An `if` without `else` has an empty one.
        }
        let params = match &self.frame()?.kind {
            FrameKind::Loop { params, .. } => params.clone(),
            _ => Vec::new(),
        };
        let falls = self.frame()?.exit.is_none();
        let region = self.end_region(params)?;
        let frame = self.frames.pop().ok_or_else(|| Error::Internal("an `end` without a construct".into()))?;
        if matches!(frame.kind, FrameKind::Function) {
            self.function.body = self.end_repeating(region);
            return Ok(());
        }
        self.stack.truncate(frame.height);
        self.list.stmts = frame.outer.unwrap_or_default();
        let mut results = Vec::with_capacity(frame.results.len() + frame.assigned.len());
        for ty in &frame.results {
            results.push(self.function.new_value(*ty));
        }
        for local in &frame.assigned {
            results.push(self.function.new_value(self.local_types[*local as usize]));
        }
        let label = frame.label;
        let reachable = match frame.kind {
            FrameKind::Function => true,
            FrameKind::Block if !frame.targeted => return self.splice(region, &frame.assigned, frame.results.len()),
            FrameKind::Block => {
                self.list.push(StmtKind::Block { label, body: region, results: results.clone() });
                true
            }
            FrameKind::Loop { inits, .. } => {
                self.list.push(StmtKind::Loop { label, inits, body: region, results: results.clone() });
                falls
            }
            FrameKind::If { cond, then, .. } => {
                let then = then.ok_or_else(|| Error::Internal("an `if` lost its first arm".into()))?;
                let yields = |r: RegionId| matches!(self.function.region(r).exit, Exit::Yield(_));
                let reachable = yields(then) || yields(region) || frame.targeted;
                self.push_if(cond, then, region, &results, frame.targeted.then_some(label));
                reachable
            }
        };
        self.set_results(&results, &frame.assigned, frame.results.len());
        if !reachable {
            self.leave(Exit::Trap(TrapKind::Unreachable))?;
        }
        Ok(())
    }

    /// A block that no branch targets is no construct at all: its statements go on in the enclosing region.
    fn splice(&mut self, region: RegionId, assigned: &[u32], result_count: usize) -> Result<()> {
        let inner = self.function.region_mut(region);
        let stmts = std::mem::take(&mut inner.stmts);
        let exit = std::mem::replace(&mut inner.exit, Exit::Trap(TrapKind::Unreachable));
        let exit_at = inner.exit_at;
        self.list.stmts.extend(stmts);
        match exit {
            Exit::Yield(values) => {
                self.set_results(&values, assigned, result_count);
                Ok(())
            }
            exit => {
                let frame = self.frame()?;
                frame.exit = Some((exit, exit_at));
                frame.skipping = Some(0);
                Ok(())
            }
        }
    }

    /// An `if` that branches target gets a block around it.
    fn push_if(&mut self, cond: Value, then: RegionId, otherwise: RegionId, results: &[Value], label: Option<Label>) {
        let Some(label) = label else {
            self.list.push(StmtKind::If { cond, then, otherwise, results: results.to_vec() });
            return;
        };
        let inner: Vec<Value> = results.iter().map(|r| self.function.new_value(self.function.ty(*r))).collect();
        let mut list = ListBuilder::new(self.list.at);
        list.push(StmtKind::If { cond, then, otherwise, results: inner.clone() });
        let body = list.finish(&mut self.function, Exit::Yield(inner));
        self.list.push(StmtKind::Block { label, body, results: results.to_vec() });
    }

    fn set_results(&mut self, results: &[Value], assigned: &[u32], result_count: usize) {
        self.stack.extend(&results[..result_count]);
        for (local, value) in assigned.iter().zip(&results[result_count..]) {
            self.locals[*local as usize] = *value;
        }
    }

    /// The exit of a branch to a label, its operands taken from the top of the stack but left there.
    fn branch(&mut self, depth: u32) -> Result<Exit> {
        let index = (self.frames.len() - 1).checked_sub(depth as usize);
        let index = index.ok_or_else(|| Error::Internal("a branch leaves the function".into()))?;
        let frame = &mut self.frames[index];
        frame.targeted = true;
        let label = frame.label;
        let count = match &frame.kind {
            FrameKind::Loop { params, .. } => params.len() - frame.assigned.len(),
            _ => frame.results.len(),
        };
        let mut values = self.stack[self.stack.len() - count..].to_vec();
        values.extend(frame.assigned.iter().map(|l| self.locals[*l as usize]));
        Ok(match frame.kind {
            FrameKind::Function => Exit::Return(values),
            FrameKind::Loop { .. } => Exit::Continue(label, values),
            _ => Exit::Break(label, values),
        })
    }

    fn br_if(&mut self, depth: u32) -> Result<()> {
        let cond = self.pop()?;
        let exit = self.branch(depth)?;
        let then = ListBuilder::new(self.list.at).finish(&mut self.function, exit);
        let otherwise = ListBuilder::new(self.list.at).finish(&mut self.function, Exit::Yield(Vec::new()));
        self.list.push(StmtKind::If { cond, then, otherwise, results: Vec::new() });
        Ok(())
    }

    fn br_table(&mut self, targets: &wasmparser::BrTable<'_>) -> Result<()> {
        let index = self.pop()?;
        let mut regions: Vec<(u32, RegionId)> = Vec::new();
        let mut cases = Vec::with_capacity(targets.len() as usize);
        let depths = targets.targets().chain([Ok(targets.default())]);
        for depth in depths {
            let depth = depth.map_err(broken)?;
            let known = regions.iter().find(|(d, _)| *d == depth).map(|(_, region)| *region);
            let region = match known {
                Some(region) => region,
                None => {
                    let exit = self.branch(depth)?;
                    let region = ListBuilder::new(self.list.at).finish(&mut self.function, exit);
                    regions.push((depth, region));
                    region
                }
            };
            cases.push(region);
        }
        let default = cases.pop().ok_or_else(|| Error::Internal("a `br_table` has no default".into()))?;
        self.list.push(StmtKind::Switch { index, cases, default, results: Vec::new() });
        self.leave(Exit::Trap(TrapKind::Unreachable))
    }

    fn finish(self) -> Result<Function> {
        if !self.frames.is_empty() {
            return Err(Error::Internal("a function body ended inside a construct".into()));
        }
        Ok(self.function)
    }
}

/// The IR's type for a Wasm type; `None` for references.
pub(crate) fn type_of(ty: ValType) -> Option<Type> {
    match ty {
        ValType::I32 => Some(Type::I32),
        ValType::I64 => Some(Type::I64),
        ValType::F32 => Some(Type::F32),
        ValType::F64 => Some(Type::F64),
        ValType::V128 => Some(Type::V128),
        ValType::Ref(_) => None,
    }
}

fn unsupported_type(name: &str, ty: ValType, at: Location) -> Error {
    Error::Unsupported {
        what: format!("values of type `{ty}`"),
        function_name: name.into(),
        at: Some(at),
        too_large: false,
    }
}
