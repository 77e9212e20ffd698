//! Control flow of a group: branches where all go one way, masks where they part.
//!
//! A block or loop is *divergent* if invocations may leave it, or start its next round, at different times. Inside, a mask says
//! which are there; its end gathers those that left. A branch by a condition that differs runs both ways one after the other,
//! each with the invocations that take it, if there are any.

use std::collections::BTreeMap;

use wasm_encoder::{Instruction, ValType};

use super::Host;
use super::code::{Code, Place};
use super::cost;
use super::shapes::{Shape, Shapes, Target};
use super::vectors::{Emitter, Mask};
use crate::error::Location;
use crate::ir::operator::MemoryAccess;
use crate::ir::{Exit, Function, Label, Op, RegionId, Stmt, StmtKind, Value};

/// Parameters of the function, as the host's form for one invocation at a time has them.
const FIRST: u32 = 0;
const END: u32 = 1;
/// Those of the kernel behind the id follow.
const OTHERS: u32 = 2;

/// Writes the loop over groups.
pub fn write(function: &Function, shapes: &Shapes, lanes: u32, host: &Host<'_>) -> Result<Code, String> {
    let params = function.params.len() as u32 + 1;
    let mut code = Code::new(params);
    let fuel = host.fuel.map(|_| code.local(ValType::I32));
    let done = code.open_block();
    // Groups begin at multiples of their size. So do the host's chunks, but for small ones.
    code.emit(&Instruction::LocalGet(FIRST));
    code.i32(lanes - 1);
    code.emit(&Instruction::I32And);
    code.branch_if(done);
    let groups = code.open_loop();
    code.emit_all(&[
        Instruction::LocalGet(END),
        Instruction::LocalGet(FIRST),
        Instruction::I32Sub,
        Instruction::I32Const(lanes as i32),
        Instruction::I32LtU,
    ]);
    code.branch_if(done);
    code.emit_all(&[Instruction::LocalGet(FIRST), Instruction::GlobalSet(host.iteration)]);
    let next = code.open_block();
    let one_by_one = code.open_block();
    if let (Some(local), Some((limit, _))) = (fuel, host.fuel) {
        code.emit(&Instruction::I32Const(limit));
        code.set(local);
    }
    let mut emitter = Emitter::new(function, shapes, host, lanes, code, one_by_one);
    emitter.fuel = fuel;
    for (index, param) in function.params.iter().enumerate() {
        emitter.bind(*param, if index == 0 { FIRST } else { index as u32 + OTHERS - 1 });
    }
    let mut control = Control { emitter, open: Vec::new(), partings: 0, end: next };
    control.body()?;
    let mut code = control.emitter.code;
    code.branch(next);
    code.close();
    call_one_by_one(&mut code, host, params, |code| {
        code.emit_all(&[Instruction::LocalGet(FIRST), Instruction::I32Const(lanes as i32), Instruction::I32Add]);
    });
    code.close();
    code.emit_all(&[
        Instruction::LocalGet(FIRST),
        Instruction::I32Const(lanes as i32),
        Instruction::I32Add,
        Instruction::LocalSet(FIRST),
    ]);
    code.branch(groups);
    code.close();
    code.close();
    code.emit_all(&[Instruction::LocalGet(FIRST), Instruction::LocalGet(END), Instruction::I32Ne]);
    code.open_if();
    call_one_by_one(&mut code, host, params, |code| code.get(END));
    code.close();
    Ok(code)
}

fn call_one_by_one(code: &mut Code, host: &Host<'_>, params: u32, end: impl FnOnce(&mut Code)) {
    code.get(FIRST);
    end(code);
    (OTHERS..params).for_each(|param| code.get(param));
    code.emit(&Instruction::Call(host.one_by_one));
}

/// A block or loop that is open.
struct Construct {
    label: Label,
    results: Vec<Value>,
    /// Of a loop, and where they are put for the next round.
    params: Vec<(Value, u32)>,
    /// Behind it, or at its end where it is divergent.
    end: Place,
    /// The start of a loop that is not divergent.
    start: Option<Place>,
    /// Open branches by conditions that differ, when it was opened.
    partings: u32,
    divergent: Option<Divergent>,
}

/// What a divergent block or loop gathers.
#[derive(Clone, Copy)]
struct Divergent {
    /// Those that left by its end.
    left: Mask,
    /// Those that go on to the next round of a loop.
    next: Option<Mask>,
    /// Whether what they bring along must be kept apart.
    blends_results: bool,
    blends_params: bool,
}

/// What the end of a region gives its values to.
enum Yields<'y> {
    /// A branch's results: as they are, or only those of the invocations for which a condition holds, or does not.
    Branch(&'y [Value], Option<(Mask, bool)>),
    /// The innermost block or loop.
    Construct,
    /// Nothing.
    Function,
}

/// Stores of two words beside each other, the lower one first.
struct Pair<'s> {
    accesses: [&'s MemoryAccess; 2],
    address: Value,
    values: [Value; 2],
}

struct Control<'a> {
    emitter: Emitter<'a>,
    open: Vec<Construct>,
    /// Open branches by conditions that differ.
    partings: u32,
    /// Where the group is done.
    end: Place,
}

impl Control<'_> {
    fn body(&mut self) -> Result<(), String> {
        if self.emitter.shapes.is_divergent(Target::End) {
            let mask = self.emitter.new_mask();
            self.fill(mask, -1);
            self.emitter.mask = Some(mask);
        }
        self.region(self.emitter.function.body, &Yields::Function)
    }

    fn fill(&mut self, mask: Mask, with: i128) {
        for quad in 0..self.emitter.quads() {
            self.emitter.code.emit(&Instruction::V128Const(with));
            self.emitter.code.set(mask.first + quad);
        }
    }

    fn copy(&mut self, from: Mask, to: Mask) {
        for quad in 0..self.emitter.quads() {
            self.emitter.code.get(from.first + quad);
            self.emitter.code.set(to.first + quad);
        }
    }

    /// Adds those of one mask to another.
    fn add(&mut self, from: Mask, to: Mask) {
        for quad in 0..self.emitter.quads() {
            self.emitter.code.get(to.first + quad);
            self.emitter.code.get(from.first + quad);
            self.emitter.code.emit(&Instruction::V128Or);
            self.emitter.code.set(to.first + quad);
        }
    }

    /// Statements and exit. Behind it the mask holds those that came to its end.
    fn region(&mut self, id: RegionId, yields: &Yields<'_>) -> Result<(), String> {
        let function = self.emitter.function;
        let region = function.region(id);
        let loses = |stmt: &Stmt| self.emitter.mask.is_some() && self.emitter.shapes.loses(&stmt.kind);
        let losing: Vec<bool> = region.stmts.iter().map(loses).collect();
        let end = losing.contains(&true).then(|| self.emitter.code.open_block());
        let pairs = self.pairs(&region.stmts);
        let mut at = 0;
        while at < region.stmts.len() {
            let behind = self.straight(&region.stmts, at);
            if behind > at {
                self.by_fours(&region.stmts[at..behind], at, &pairs)?;
                at = behind;
                continue;
            }
            let asked = self.stmt(&region.stmts[at], end)?;
            if let (true, false, Some(end), Some(mask)) = (losing[at], asked, end, self.emitter.mask) {
                self.emitter.push_any(mask);
                self.emitter.code.emit(&Instruction::I32Eqz);
                self.emitter.code.branch_if(end);
            }
            at += 1;
        }
        self.exit(&region.exit, yields);
        if end.is_some() {
            self.emitter.code.close();
        }
        Ok(())
    }

    /// Whether code for an operator is written for each four invocations.
    fn is_by_fours(&self, op: &Op, args: &[Value], result: Option<Value>) -> bool {
        match op {
            Op::Store(_) => !self.emitter.shapes.of(args[0]).is_uniform(),
            Op::Wasm(_) | Op::Select | Op::Load(_) => {
                result.is_some_and(|result| self.emitter.shapes.of(result).is_vector())
            }
            _ => false,
        }
    }

    /// Behind what stands from a statement on that may be done for one four of invocations after the other: no branches, nor loads
    /// of what is the same for all behind a store.
    fn straight(&self, stmts: &[Stmt], from: usize) -> usize {
        let mut stores = false;
        let mut goes_on = |stmt: &Stmt| {
            let StmtKind::Op { op, args, result } = &stmt.kind else { return false };
            let by_fours = self.is_by_fours(op, args, *result);
            stores |= by_fours && op.stores();
            match op {
                Op::Const(_) | Op::GlobalGet(_) | Op::MemorySize | Op::Wasm(_) | Op::Select => true,
                Op::Load(_) => by_fours || !stores,
                Op::Store(_) => by_fours,
                _ => false,
            }
        };
        from + stmts[from..].iter().take_while(|stmt| goes_on(stmt)).count()
    }

    /// Straight code: what is no vector first, then the vectors of four invocations after those of four others, so that few
    /// are needed at a time. Invocations may run in any order.
    fn by_fours(
        &mut self,
        stmts: &[Stmt],
        from: usize,
        pairs: &BTreeMap<usize, Option<Pair<'_>>>,
    ) -> Result<(), String> {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (at, stmt) in (from..).zip(stmts) {
            let StmtKind::Op { op, args, result } = &stmt.kind else { continue };
            let list = if self.is_by_fours(op, args, *result) { &mut second } else { &mut first };
            list.push((at, op, args, *result));
        }
        for (_, op, args, result) in first {
            self.operator(op, args, result)?;
        }
        for four in 0..self.emitter.quads() {
            self.emitter.fours = four..four + 1;
            for (at, op, args, result) in &second {
                match pairs.get(at) {
                    Some(None) => {}
                    Some(Some(pair)) => self.emitter.store_pairs(pair.accesses, pair.address, pair.values)?,
                    None => self.operator(op, args, *result)?,
                }
            }
        }
        self.emitter.fours = 0..self.emitter.quads();
        Ok(())
    }

    /// Stores that are made together, by the place of the last; `None` for the first of them. In between is nothing that could
    /// tell.
    fn pairs<'s>(&self, stmts: &'s [Stmt]) -> BTreeMap<usize, Option<Pair<'s>>> {
        let store = |stmt: &'s Stmt| match &stmt.kind {
            StmtKind::Op { op: Op::Store(access), args, .. } if access.bytes == 4 && access.ty.bits() == 32 => {
                Some((access, args[0], args[1]))
            }
            _ => None,
        };
        let mut pairs = BTreeMap::new();
        let mut first: Option<(usize, (&MemoryAccess, Value, Value))> = None;
        for (at, stmt) in stmts.iter().enumerate() {
            if let Some(this) = store(stmt) {
                let (access, address, value) = this;
                let beside = first
                    .filter(|(_, (other, known, _))| *known == address && other.offset.abs_diff(access.offset) == 4);
                let apart = matches!(self.emitter.shapes.of(address), Shape::Affine { stride: 8, .. });
                match beside {
                    Some((before, (other, _, earlier))) if apart => {
                        let (low, high) = ((other, earlier), (access, value));
                        let (low, high) = if other.offset < access.offset { (low, high) } else { (high, low) };
                        pairs.insert(before, None);
                        let pair = Pair { accesses: [low.0, high.0], address, values: [low.1, high.1] };
                        pairs.insert(at, Some(pair));
                        first = None;
                    }
                    _ => first = Some((at, this)),
                }
            } else if !matches!(&stmt.kind, StmtKind::Op { op, .. } if op.is_pure()) {
                first = None;
            }
        }
        pairs
    }

    fn exit(&mut self, exit: &Exit, yields: &Yields<'_>) {
        match exit {
            Exit::Yield(values) => match yields {
                Yields::Branch(results, keeps) => self.assign(values, results, *keeps),
                Yields::Construct => {
                    if let Some(label) = self.open.last().map(|construct| construct.label) {
                        self.leave(label, values, true);
                    }
                }
                Yields::Function => {}
            },
            Exit::Break(label, values) => self.leave(*label, values, false),
            Exit::Continue(label, values) => self.go_on(*label, values),
            Exit::Return(_) => match self.emitter.mask {
                Some(mask) if self.partings > 0 || self.is_divergent_from(0) => self.fill(mask, 0),
                _ => self.emitter.code.branch(self.end),
            },
            Exit::Trap(_) => self.emitter.code.emit(&Instruction::Unreachable),
        }
    }

    /// Whether one of the open blocks and loops is divergent, of this one and those in it.
    fn is_divergent_from(&self, at: usize) -> bool {
        self.open[at..].iter().any(|construct| construct.divergent.is_some())
    }

    fn construct(&self, label: Label) -> usize {
        self.open.iter().rposition(|construct| construct.label == label).unwrap_or(0)
    }

    /// Leaves a block or loop. `falls`: what follows is its end.
    fn leave(&mut self, label: Label, values: &[Value], falls: bool) {
        let at = self.construct(label);
        let (results, divergent) = (self.open[at].results.clone(), self.open[at].divergent);
        match (divergent, self.emitter.mask) {
            (Some(divergent), Some(mask)) => {
                self.assign(values, &results, divergent.blends_results.then_some((mask, true)));
                self.add(mask, divergent.left);
                self.stop(at, mask, falls);
            }
            _ => {
                self.assign(values, &results, None);
                if !falls {
                    let end = self.open[at].end;
                    self.emitter.code.branch(end);
                }
            }
        }
    }

    /// Starts the next round of a loop.
    fn go_on(&mut self, label: Label, values: &[Value]) {
        let at = self.construct(label);
        let (params, divergent) = (self.open[at].params.clone(), self.open[at].divergent);
        match (divergent, self.emitter.mask) {
            (Some(Divergent { next: Some(next), blends_params, .. }), Some(mask)) => {
                self.assign_to(values, &params, blends_params.then_some((mask, true)));
                self.add(mask, next);
                self.stop(at, mask, false);
            }
            _ => {
                self.assign_to(values, &params, None);
                if let Some(start) = self.open[at].start {
                    self.emitter.code.branch(start);
                }
            }
        }
    }

    /// Those that run here do so no more, before the end of a divergent construct. If none of the others in it can be anywhere
    /// else, all go to its end.
    fn stop(&mut self, at: usize, mask: Mask, falls: bool) {
        if self.partings == self.open[at].partings && !self.is_divergent_from(at + 1) {
            if !falls {
                let end = self.open[at].end;
                self.emitter.code.branch(end);
            }
        } else {
            self.fill(mask, 0);
        }
    }

    /// Sets values to others, all at once. `keeps`: only for the invocations of this mask, or only for the others.
    fn assign(&mut self, from: &[Value], to: &[Value], keeps: Option<(Mask, bool)>) {
        let to: Vec<(Value, u32)> = to.iter().map(|to| (*to, self.emitter.local_of(*to))).collect();
        self.assign_to(from, &to, keeps);
    }

    /// The same where the locals are others than the values' own.
    fn assign_to(&mut self, from: &[Value], to: &[(Value, u32)], keeps: Option<(Mask, bool)>) {
        let emitter = &mut self.emitter;
        for (from, (to, first)) in from.iter().zip(to) {
            let keeps = keeps.filter(|_| emitter.shapes.of(*to).is_vector());
            for part in 0..emitter.parts(*to) {
                match keeps {
                    None => emitter.push_as(*from, *to, part),
                    Some((mask, which)) => {
                        if which {
                            emitter.push_as(*from, *to, part);
                            emitter.code.get(first + part);
                        } else {
                            emitter.code.get(first + part);
                            emitter.push_as(*from, *to, part);
                        }
                        emitter.push_mask_for(mask, *to, part);
                        emitter.code.emit(&Instruction::V128Bitselect);
                    }
                }
            }
        }
        for (to, first) in to.iter().take(from.len()).rev() {
            for part in (0..emitter.parts(*to)).rev() {
                emitter.code.set(first + part);
            }
        }
    }

    /// `end` is the end of the region. Gives whether it was branched to where none are left.
    fn stmt(&mut self, stmt: &Stmt, end: Option<Place>) -> Result<bool, String> {
        match &stmt.kind {
            StmtKind::Op { op, args, result } => self.operator(op, args, *result)?,
            StmtKind::Block { label, body, results } => self.block(*label, *body, results)?,
            StmtKind::Loop { label, inits, body, results } => {
                self.r#loop(*label, inits, *body, results, self.cost_of_loop(stmt.at))?;
            }
            StmtKind::If { cond, then, otherwise, results } => {
                if self.emitter.shapes.parts(*cond, *then) {
                    return self.parting(*cond, *then, *otherwise, results, end);
                }
                if self.emitter.shapes.is_checked(*then) && !self.emitter.demand_no_zero(*cond) {
                    self.emitter.check_all_alike(|emitter, quad| emitter.push_condition(*cond, quad));
                }
                self.branch(*cond, *then, *otherwise, results)?;
            }
            StmtKind::Switch { index, cases, default, results } => self.switch(*index, cases, *default, results)?,
            StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => return Err("It has a call.".into()),
        }
        Ok(false)
    }

    fn operator(&mut self, op: &Op, args: &[Value], result: Option<Value>) -> Result<(), String> {
        match (op, args, result) {
            (Op::Const(_), ..) => {}
            (Op::Wasm(op), _, Some(result)) => self.emitter.numeric(*op, args, result),
            (Op::Select, _, Some(result)) => self.emitter.select(args, result),
            (Op::Load(access), [address], Some(result)) => self.emitter.load(access, *address, result)?,
            (Op::Store(access), [address, value], _) => self.emitter.store(access, *address, *value)?,
            (Op::Atomic(op, access), ..) => self.emitter.atomic(*op, access, args, result)?,
            (Op::MemorySize, _, Some(result)) => self.global(self.emitter.host.pages, result),
            (Op::GlobalGet(global), _, Some(result)) => {
                let global = (self.emitter.host.global)(*global).ok_or("It keeps something on the stack.")?;
                self.global(global, result);
            }
            _ => return Err(format!("It has the operator {op:?}.")),
        }
        Ok(())
    }

    fn global(&mut self, global: u32, result: Value) {
        let local = self.emitter.local_of(result);
        self.emitter.code.emit(&Instruction::GlobalGet(global));
        self.emitter.code.set(local);
    }

    fn cost_of_loop(&self, at: Location) -> Option<i32> {
        let (_, costs) = self.emitter.host.fuel?;
        Some(costs(at).unwrap_or(1))
    }

    /// All go one way. The way that leaves a loop is written as that where the condition holds: Cranelift moves out of the loop
    /// only what it comes to before it comes to code outside, and it looks at the other way first.
    fn branch(&mut self, cond: Value, then: RegionId, otherwise: RegionId, results: &[Value]) -> Result<(), String> {
        let exit = |region: RegionId| &self.emitter.function.region(region).exit;
        let stays = matches!(exit(then), Exit::Continue(..)) && !matches!(exit(otherwise), Exit::Continue(..));
        let leaves =
            !matches!(exit(otherwise), Exit::Yield(_) | Exit::Continue(..)) && matches!(exit(then), Exit::Yield(_));
        self.emitter.push_first(cond);
        let (then, otherwise) = if stays || leaves {
            self.emitter.code.emit(&Instruction::I32Eqz);
            (otherwise, then)
        } else {
            (then, otherwise)
        };
        self.emitter.code.open_if();
        self.region(then, &Yields::Branch(results, None))?;
        self.emitter.code.otherwise();
        self.region(otherwise, &Yields::Branch(results, None))?;
        self.emitter.code.close();
        Ok(())
    }

    /// Some may go one way, some the other. Gives whether the end of the region was branched to where none are left.
    fn parting(
        &mut self,
        cond: Value,
        then: RegionId,
        otherwise: RegionId,
        results: &[Value],
        end: Option<Place>,
    ) -> Result<bool, String> {
        let function = self.emitter.function;
        let before = self.emitter.mask;
        let is_empty = |region: RegionId| {
            let region = function.region(region);
            region.stmts.is_empty() && matches!(&region.exit, Exit::Yield(values) if values.is_empty())
        };
        let leaves = |region: RegionId| matches!(function.region(region).exit, Exit::Break(..) | Exit::Return(_));
        if let Some(before) = before {
            if is_empty(otherwise) && leaves(then) {
                self.some_leave(cond, true, then, before, end)?;
                return Ok(true);
            } else if is_empty(then) && leaves(otherwise) {
                self.some_leave(cond, false, otherwise, before, end)?;
                return Ok(true);
            }
        }
        let condition = self.emitter.new_mask();
        let (yes, no) = (self.emitter.new_mask(), self.emitter.new_mask());
        for quad in 0..self.emitter.quads() {
            self.emitter.push_condition(cond, quad);
            self.emitter.code.emit(&Instruction::LocalTee(condition.first + quad));
            if let Some(before) = before {
                self.emitter.code.get(before.first + quad);
                self.emitter.code.emit(&Instruction::V128And);
            }
            self.emitter.code.set(yes.first + quad);
            match before {
                Some(before) => {
                    self.emitter.code.get(before.first + quad);
                    self.emitter.code.get(condition.first + quad);
                    self.emitter.code.emit(&Instruction::V128AndNot);
                }
                None => {
                    self.emitter.code.get(condition.first + quad);
                    self.emitter.code.emit(&Instruction::V128Not);
                }
            }
            self.emitter.code.set(no.first + quad);
        }
        let comes_out = |region: RegionId| matches!(function.region(region).exit, Exit::Yield(_));
        let (first, second) = (comes_out(then), comes_out(otherwise));
        self.partings += 1;
        self.way(then, yes, &Yields::Branch(results, None))?;
        self.way(otherwise, no, &Yields::Branch(results, first.then_some((condition, false))))?;
        self.partings -= 1;
        self.emitter.mask = before;
        let loses = !first || !second || [then, otherwise].iter().any(|way| self.any_loses(*way));
        if let Some(before) = before.filter(|_| loses) {
            match (first, second) {
                (true, _) => self.copy(yes, before),
                (false, true) => self.copy(no, before),
                (false, false) => self.fill(before, 0),
            }
            if first && second {
                self.add(no, before);
            }
        }
        Ok(false)
    }

    /// Those for which a condition holds, or does not, leave; most often there are none.
    fn some_leave(
        &mut self,
        cond: Value,
        which: bool,
        way: RegionId,
        before: Mask,
        end: Option<Place>,
    ) -> Result<(), String> {
        let leaving = self.emitter.new_mask();
        for quad in 0..self.emitter.quads() {
            self.emitter.code.get(before.first + quad);
            self.emitter.push_condition(cond, quad);
            self.emitter.code.emit(if which { &Instruction::V128And } else { &Instruction::V128AndNot });
            self.emitter.code.set(leaving.first + quad);
        }
        self.emitter.push_any(leaving);
        self.emitter.code.open_if();
        for quad in 0..self.emitter.quads() {
            self.emitter.code.get(before.first + quad);
            self.emitter.code.get(leaving.first + quad);
            self.emitter.code.emit(&Instruction::V128AndNot);
            self.emitter.code.set(before.first + quad);
        }
        self.emitter.mask = Some(leaving);
        self.partings += 1;
        self.region(way, &Yields::Function)?;
        self.partings -= 1;
        self.emitter.mask = Some(before);
        if let Some(end) = end {
            self.emitter.push_any(before);
            self.emitter.code.emit(&Instruction::I32Eqz);
            self.emitter.code.branch_if(end);
        }
        self.emitter.code.close();
        Ok(())
    }

    fn any_loses(&self, region: RegionId) -> bool {
        let function = self.emitter.function;
        function.region(region).stmts.iter().any(|stmt| self.emitter.shapes.loses(&stmt.kind))
    }

    /// One way of a branch where invocations part.
    fn way(&mut self, region: RegionId, mask: Mask, yields: &Yields<'_>) -> Result<(), String> {
        self.emitter.mask = Some(mask);
        if cost::runs_for_none(self.emitter.function, region) {
            return self.region(region, yields);
        }
        self.emitter.push_any(mask);
        self.emitter.code.open_if();
        self.region(region, yields)?;
        self.emitter.code.close();
        Ok(())
    }

    fn switch(&mut self, index: Value, cases: &[RegionId], default: RegionId, results: &[Value]) -> Result<(), String> {
        if !self.emitter.shapes.of(index).is_uniform() {
            return Err("It has a branch of many ways by what differs from invocation to invocation.".into());
        }
        let mut ways: Vec<RegionId> = cases.iter().copied().chain([default]).collect();
        ways.sort_unstable();
        ways.dedup();
        let end = self.emitter.code.open_block();
        let places: Vec<Place> = ways.iter().map(|_| self.emitter.code.open_block()).collect();
        // The innermost place is that of the way that comes first behind it.
        let place = |region: RegionId| {
            let at = ways.iter().position(|way| *way == region).unwrap_or(0);
            places[ways.len() - 1 - at]
        };
        let table: Vec<Place> = cases.iter().map(|case| place(*case)).collect();
        self.emitter.push_first(index);
        self.emitter.code.branch_table(&table, place(default));
        for way in &ways {
            self.emitter.code.close();
            self.region(*way, &Yields::Branch(results, None))?;
            self.emitter.code.branch(end);
        }
        self.emitter.code.close();
        Ok(())
    }

    fn block(&mut self, label: Label, body: RegionId, results: &[Value]) -> Result<(), String> {
        let before = self.emitter.mask;
        let divergent = self.emitter.shapes.is_divergent(Target::Label(label)).then(|| self.part(before, false, label));
        let end = self.emitter.code.open_block();
        self.open.push(Construct {
            label,
            results: results.to_vec(),
            params: Vec::new(),
            end,
            start: None,
            partings: self.partings,
            divergent,
        });
        self.region(body, &Yields::Construct)?;
        self.open.pop();
        self.emitter.code.close();
        self.gather(before, divergent);
        Ok(())
    }

    /// Gives a divergent construct a mask of its own.
    fn part(&mut self, before: Option<Mask>, is_loop: bool, label: Label) -> Divergent {
        let mask = self.emitter.new_mask();
        match before {
            Some(before) => self.copy(before, mask),
            None => self.fill(mask, -1),
        }
        self.emitter.mask = Some(mask);
        let left = self.emitter.new_mask();
        self.fill(left, 0);
        let shapes = self.emitter.shapes;
        Divergent {
            left,
            next: is_loop.then(|| self.emitter.new_mask()),
            blends_results: is_loop || shapes.breaks(label) > 1,
            blends_params: shapes.continues(label) > 1,
        }
    }

    /// Behind a construct those go on that left it by its end.
    fn gather(&mut self, before: Option<Mask>, divergent: Option<Divergent>) {
        self.emitter.mask = before;
        if let (Some(before), Some(divergent)) = (before, divergent) {
            self.copy(divergent.left, before);
        }
    }

    fn r#loop(
        &mut self,
        label: Label,
        inits: &[Value],
        body: RegionId,
        results: &[Value],
        cost: Option<i32>,
    ) -> Result<(), String> {
        let params = self.emitter.function.region(body).params.clone();
        let before = self.emitter.mask;
        let own: Vec<(Value, u32)> = params.iter().map(|to| (*to, self.emitter.local_of(*to))).collect();
        self.assign_to(inits, &own, None);
        let divergent = self.emitter.shapes.is_divergent(Target::Label(label)).then(|| self.part(before, true, label));
        let end = self.emitter.code.open_block();
        let start = self.emitter.code.open_loop();
        if let (Some(cost), Some(fuel)) = (cost, self.emitter.fuel) {
            self.emitter.code.take_fuel(fuel, cost);
        }
        let mut construct = Construct {
            label,
            results: results.to_vec(),
            params: own.clone(),
            end,
            start: Some(start),
            partings: self.partings,
            divergent,
        };
        match (divergent, self.emitter.mask) {
            (Some(Divergent { next: Some(next), blends_params, .. }), Some(mask)) => {
                self.fill(next, 0);
                construct.start = None;
                construct.end = self.emitter.code.open_block();
                // Those that go on later in the round still need what this round began with.
                if !blends_params {
                    construct.params = params.iter().map(|param| (*param, self.emitter.new_locals(*param))).collect();
                }
                let kept = construct.params.clone();
                self.open.push(construct);
                self.region(body, &Yields::Construct)?;
                self.open.pop();
                self.emitter.code.close();
                self.copy(next, mask);
                for ((param, kept), (_, own)) in kept.into_iter().zip(own).filter(|(kept, own)| kept != own) {
                    for part in 0..self.emitter.parts(param) {
                        self.emitter.code.get(kept + part);
                        self.emitter.code.set(own + part);
                    }
                }
                self.emitter.push_any(mask);
                self.emitter.code.branch_if(start);
            }
            _ => {
                self.open.push(construct);
                self.region(body, &Yields::Construct)?;
                self.open.pop();
            }
        }
        self.emitter.code.close();
        self.emitter.code.close();
        self.gather(before, divergent);
        Ok(())
    }
}
