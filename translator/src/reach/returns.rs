//! Whether a function comes back, as far as its structure says.

use std::collections::{BTreeSet, HashMap, HashSet};

use wasmparser::{Operator, OperatorsReader};

use super::next_is_unreachable;
use crate::module::Module;

/// Most times that callers of functions that never come back are read again.
const MAX_ROUNDS: usize = 8;

/// The functions that call others, but never come back.
pub(super) fn dying(module: &Module) -> HashSet<u32> {
    let mut callers: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut lost: HashSet<u32> = HashSet::new();
    let mut dying = HashSet::new();
    let mut todo: Vec<u32> = (module.imported_function_count()..module.function_count()).collect();
    for round in 0..MAX_ROUNDS {
        let mut found = Vec::new();
        for function in todo {
            let operators = module.body(function).and_then(|body| body.get_operators_reader().ok());
            let Some(outcome) = operators.map(|operators| scan(operators, &lost)) else { continue };
            if round == 0 {
                outcome.callees.iter().for_each(|callee| callers.entry(*callee).or_default().push(function));
            }
            if outcome.traps && !outcome.returns {
                found.push(function);
                dying.extend((!outcome.callees.is_empty() || outcome.calls_indirectly).then_some(function));
            }
        }
        lost.extend(&found);
        let again = found.iter().filter_map(|function| callers.get(function)).flatten().copied();
        let again: BTreeSet<u32> = again.filter(|caller| !lost.contains(caller)).collect();
        todo = again.into_iter().collect();
    }
    dying
}

/// What one scan of a body finds.
#[derive(Debug, Default)]
struct Outcome {
    /// A path leads to its end, or to a return.
    returns: bool,
    /// A path leads to `unreachable`, or to a call that never comes back.
    traps: bool,
    /// What is called on some path and may come back.
    callees: BTreeSet<u32>,
    /// An indirect call is on some path.
    calls_indirectly: bool,
}

struct Frame {
    is_loop: bool,
    /// Whether its start can be reached.
    entered: bool,
    /// Whether a branch leads to its end, or the first of two arms does.
    ended: bool,
    /// Whether it is an `if` without `else` so far.
    open_if: bool,
}

/// Scans a body; calls of the functions in `lost` never come back.
fn scan(mut operators: OperatorsReader<'_>, lost: &HashSet<u32>) -> Outcome {
    let mut scan = Scan { outcome: Outcome::default(), reachable: true, frames: Vec::new() };
    scan.open(false, false);
    while let Ok(operator) = operators.read() {
        let cut = next_is_unreachable(&operators);
        scan.operator(&operator, cut, lost);
        if operators.eof() {
            break;
        }
    }
    scan.outcome
}

struct Scan {
    outcome: Outcome,
    reachable: bool,
    frames: Vec<Frame>,
}

impl Scan {
    fn operator(&mut self, operator: &Operator<'_>, cut: bool, lost: &HashSet<u32>) {
        match operator {
            Operator::Block { .. } => self.open(false, false),
            Operator::Loop { .. } => self.open(true, false),
            Operator::If { .. } => self.open(false, true),
            Operator::Else => self.begin_else(),
            Operator::End => self.end(),
            _ if !self.reachable => {}
            Operator::Unreachable => self.trap(),
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth);
                self.reachable = false;
            }
            Operator::BrIf { relative_depth } => self.branch(*relative_depth),
            Operator::BrTable { targets } => {
                let depths = targets.targets().flatten().chain([targets.default()]);
                depths.for_each(|depth| self.branch(depth));
                self.reachable = false;
            }
            Operator::Call { .. } | Operator::CallIndirect { .. } if cut => self.trap(),
            Operator::Call { function_index } if lost.contains(function_index) => self.trap(),
            Operator::Call { function_index } => _ = self.outcome.callees.insert(*function_index),
            Operator::CallIndirect { .. } => self.outcome.calls_indirectly = true,
            Operator::Return | Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. } => {
                self.outcome.returns = true;
                self.reachable = false;
            }
            _ => {}
        }
    }

    fn trap(&mut self) {
        self.outcome.traps = true;
        self.reachable = false;
    }

    fn open(&mut self, is_loop: bool, open_if: bool) {
        self.frames.push(Frame { is_loop, entered: self.reachable, ended: false, open_if });
    }

    fn branch(&mut self, depth: u32) {
        let target = self.frames.len().checked_sub(1 + depth as usize);
        if let Some(frame) = target.and_then(|target| self.frames.get_mut(target)) {
            frame.ended |= !frame.is_loop;
        }
    }

    fn begin_else(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.ended |= self.reachable;
            frame.open_if = false;
            self.reachable = frame.entered;
        }
    }

    fn end(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        self.reachable |= frame.ended || (frame.open_if && frame.entered);
        if self.frames.is_empty() {
            self.outcome.returns |= self.reachable;
        }
    }
}
