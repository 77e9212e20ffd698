//! Control flow of a group: branches where all go one way, masks where they part.
//!
//! A block or loop is *divergent* if invocations may leave it, or start its next round, at different times. Inside, a mask says
//! which are there; its end gathers those that left. A branch by a condition that differs runs both ways one after the other,
//! each with the invocations that take it, if there are any.

mod exits;
mod parting;
mod straight;

use wasm_encoder::{Instruction, ValType};

use super::Host;
use super::code::{Code, Place};
use super::shapes::{Shape, Shapes, Target};
use super::tallies::Tallies;
use super::vectors::{Emitter, Mask};
use crate::error::Location;
use crate::ir::{Exit, Function, Label, RegionId, Stmt, StmtKind, Value};

/// Parameters of the function, as the host's form for one invocation at a time has them.
const FIRST: u32 = 0;
const END: u32 = 1;
/// Those of the kernel behind the id follow.
const OTHERS: u32 = 2;

/// Writes the loop over groups.
pub fn write(
    function: &Function,
    shapes: &Shapes,
    tallies: &Tallies,
    lanes: u32,
    host: &Host<'_>,
) -> Result<Code, String> {
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
    let mut emitter = Emitter::new(function, shapes, tallies, host, lanes, code, one_by_one);
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
            if self.is_dead(region.stmts[at].kind.args()) {
                self.emitter.code.emit(&Instruction::Unreachable);
                break;
            }
            let asked = self.stmt(&region.stmts[at], end)?;
            if let (true, false, Some(end), Some(mask)) = (losing[at], asked, end, self.emitter.mask) {
                self.emitter.push_any(mask);
                self.emitter.code.emit(&Instruction::I32Eqz);
                self.emitter.code.branch_if(end);
            }
            at += 1;
        }
        if at == region.stmts.len() {
            self.exit(&region.exit, yields);
        }
        if end.is_some() {
            self.emitter.code.close();
        }
        Ok(())
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

    /// Whether code that uses these values is never reached: nothing computes one of them.
    fn is_dead(&self, values: &[Value]) -> bool {
        values.iter().any(|value| self.emitter.shapes.of(*value) == Shape::Unreached)
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
