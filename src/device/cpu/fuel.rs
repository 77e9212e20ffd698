//! A limit on what an invocation may do, so that none runs for ever.
//!
//! Each iteration of a loop takes fuel, as much as the loop has operators. Code outside of loops ends by itself, but for
//! calls: functions that call each other, those that are called through a table, and those that do much without a loop
//! take fuel when they are entered. `memory.fill` and its like take it by the length.
//!
//! Functions with loops hold the fuel in a local: a global would cost a way to memory and back in each iteration. It is in
//! the global only when a function is entered or left that takes fuel or calls one that does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use wasm_encoder::{BlockType, Function, Instruction};
use wasmparser::{Operator, OperatorsReader};
use wavelift_translator::Module;

use super::body::{FUEL, may_grow};
use super::slice::Slice;
use crate::device::TableEntry;

/// Operators that a function may come to without a loop, its callees' included, before entering it takes fuel.
const FREE: u64 = 1 << 12;
/// One in so many operators of a callee counts: most code of functions that stay functions is for rare cases.
const RARE: u64 = 12;
/// The same where functions do much without a loop, or call each other: all of such a program may be what is rare elsewhere.
const RARE_IN_CALLS: u64 = 2;
/// What being called counts besides, in operators.
const CALL: u64 = 8;
/// Bytes that `memory.fill` and its like move for as much fuel as an operator takes, as a power of two.
const BULK_SHIFT: i32 = 5;

/// What the functions of a slice take.
#[derive(Debug)]
pub struct Costs {
    /// What an invocation starts with.
    pub limit: i32,
    functions: HashMap<u32, Cost>,
}

/// What one function takes.
#[derive(Debug, Default)]
pub struct Cost {
    /// When it is entered; 0 for nothing.
    pub entry: i32,
    /// For each iteration, by the byte offset of the loop.
    pub loops: HashMap<u32, i32>,
    /// The same by the byte offset of the loop's end.
    pub loop_ends: HashMap<u32, i32>,
    /// Whether it, or what it calls, takes any.
    pub burns: bool,
    /// Operators outside of loops that a call of it comes to at most, where entering it takes no fuel.
    free: u64,
}

/// The operators of a loop, or of a function, outside of the loops in it.
#[derive(Debug, Default)]
struct Piece {
    offset: u32,
    /// Where a loop ends.
    end: u32,
    operators: u64,
    calls: Vec<u32>,
}

/// What a function is made of.
#[derive(Debug, Default)]
struct Body {
    /// The first is what stands in no loop.
    pieces: Vec<Piece>,
    /// Whether it has operators that take fuel themselves or call what does.
    burns: bool,
}

impl Costs {
    /// The costs of what `kernel` reaches. `tables` are the present entries of the guest's tables.
    ///
    /// # Errors
    /// A sentence that says which function is too large to be counted.
    pub fn new(
        module: &Module,
        kernel: u32,
        slice: &Slice,
        tables: &[Vec<TableEntry>],
        limit: u32,
    ) -> Result<Costs, String> {
        let mut bodies = BTreeMap::new();
        for &function in slice.functions.iter().chain([&kernel]) {
            let body = Body::read(module, function)
                .map_err(|error| format!("The body of function {function} can't be read: {error}."))?;
            let places: usize = body.pieces.iter().map(|piece| 1 + piece.calls.len()).sum();
            if body.burns && !may_grow(module, function, places) {
                return Err(format!(
                    "The function `{}` is too large for its loops to be counted, so the kernel runs in order on the \
                     calling thread.",
                    module.function_name(function)
                ));
            }
            bodies.insert(function, body);
        }
        let limit = limit.min(i32::MAX as u32) as i32;
        let mut costs = Costs { limit, functions: HashMap::new() };
        costs.add_all(&bodies, &targets(module, slice, tables));
        Ok(costs)
    }

    /// What a function takes; `None` if the slice lacks it.
    pub fn of(&self, function: u32) -> Option<&Cost> {
        self.functions.get(&function)
    }

    /// Whether calling a function may take fuel.
    pub fn burns(&self, function: u32) -> bool {
        self.of(function).is_some_and(|cost| cost.burns)
    }

    /// Callees before their callers. Where there is none left of which that can be said, functions call each other: one of
    /// them takes fuel when it is entered, and need not be waited for.
    fn add_all(&mut self, bodies: &BTreeMap<u32, Body>, targets: &BTreeSet<u32>) {
        let mut callers: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut waiting: BTreeMap<u32, usize> = BTreeMap::new();
        for (function, body) in bodies {
            let callees: BTreeSet<u32> = body.callees().filter(|callee| bodies.contains_key(callee)).collect();
            waiting.insert(*function, callees.len());
            for callee in callees {
                callers.entry(callee).or_default().push(*function);
            }
        }
        let mut ready: Vec<u32> = waiting.iter().filter(|(_, callees)| **callees == 0).map(|(f, _)| *f).collect();
        while let Some(function) = ready.pop().or_else(|| waiting.keys().next().copied()) {
            let is_cut = waiting.remove(&function).is_some_and(|callees| callees > 0);
            let Some(body) = bodies.get(&function) else { continue };
            let cost = self.cost(body, is_cut, targets.contains(&function));
            self.functions.insert(function, cost);
            for caller in callers.get(&function).into_iter().flatten() {
                let Some(callees) = waiting.get_mut(caller) else { continue };
                *callees -= 1;
                if *callees == 0 {
                    ready.push(*caller);
                }
            }
        }
    }

    fn cost(&self, body: &Body, is_cut: bool, is_target: bool) -> Cost {
        let free = |function: &u32| self.of(*function).map_or(0, |cost| cost.free);
        let called = |piece: &Piece| piece.calls.iter().map(free).fold(0, u64::saturating_add);
        let (outside, loops) = body
            .pieces
            .split_first()
            .map_or((0, &[][..]), |(outside, loops)| (outside.operators.saturating_add(called(outside)), loops));
        let is_all = is_cut || outside > FREE;
        let (pays, rare) = (is_all || is_target, if is_all { RARE_IN_CALLS } else { RARE });
        let of_loop = |piece: &Piece| (piece.offset, amount(piece.operators.saturating_add(called(piece) / RARE)));
        Cost {
            entry: if pays { amount(outside.saturating_add(CALL) / rare) } else { 0 },
            loops: loops.iter().map(of_loop).collect(),
            loop_ends: loops.iter().map(|piece| (piece.end, of_loop(piece).1)).collect(),
            burns: pays || body.burns || body.callees().any(|callee| self.burns(callee)),
            free: if pays { 0 } else { outside },
        }
    }
}

fn amount(operators: u64) -> i32 {
    operators.clamp(1, i32::MAX as u64) as i32
}

/// The functions that the kernel can call through tables.
fn targets(module: &Module, slice: &Slice, tables: &[Vec<TableEntry>]) -> BTreeSet<u32> {
    let mut targets = BTreeSet::new();
    for (table, called) in &slice.tables {
        for entry in tables.get(*table as usize).into_iter().flatten() {
            if let TableEntry::Function(function) = entry
                && module.function_type(*function).is_some_and(|ty| called.contains(ty))
            {
                targets.insert(*function);
            }
        }
    }
    targets
}

impl Body {
    fn read(module: &Module, function: u32) -> wasmparser::Result<Body> {
        let Some(code) = module.body(function) else { return Ok(Body::default()) };
        let mut body = Body { pieces: vec![Piece::default()], burns: false };
        body.operators(code.get_operators_reader()?)?;
        Ok(body)
    }

    fn operators(&mut self, mut operators: OperatorsReader<'_>) -> wasmparser::Result<()> {
        // By open block, the piece that it belongs to.
        let mut open = vec![0];
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            let piece = open.last().copied().unwrap_or(0);
            match operator {
                Operator::Loop { .. } => {
                    open.push(self.pieces.len());
                    self.pieces.push(Piece { offset: offset as u32, ..Piece::default() });
                    self.burns = true;
                }
                Operator::Block { .. } | Operator::If { .. } => open.push(piece),
                Operator::End => {
                    // The last that belongs to a loop is its own.
                    if let Some(piece) = open.pop() {
                        self.pieces[piece].end = offset as u32;
                    }
                }
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                    self.pieces[piece].calls.push(function_index);
                }
                // What a table can hold takes fuel.
                Operator::CallIndirect { .. } | Operator::ReturnCallIndirect { .. } => self.burns = true,
                _ => self.burns |= is_bulk(&operator),
            }
            self.pieces[piece].operators += 1;
        }
        Ok(())
    }

    fn callees(&self) -> impl Iterator<Item = u32> + '_ {
        self.pieces.iter().flat_map(|piece| piece.calls.iter().copied())
    }
}

/// Whether an operator is one of those that become calls of helpers, which take fuel.
pub fn is_bulk(operator: &Operator<'_>) -> bool {
    matches!(operator, Operator::MemoryFill { .. } | Operator::MemoryCopy { .. } | Operator::MemoryInit { .. })
}

/// Takes fuel from the local that holds it; gives where in the body the code stands that traps if there is too little.
pub fn take_from_local(code: &mut Function, local: u32, amount: i32) -> Range<u32> {
    let start = code.byte_len() as u32;
    code.instruction(&Instruction::LocalGet(local))
        .instruction(&Instruction::I32Const(amount))
        .instruction(&Instruction::I32Sub)
        .instruction(&Instruction::LocalTee(local));
    trap_if_negative(code, start)
}

/// The same, from the global.
pub fn take_from_global(code: &mut Function, amount: i32) -> Range<u32> {
    let start = code.byte_len() as u32;
    code.instruction(&Instruction::GlobalGet(FUEL)).instruction(&Instruction::I32Const(amount));
    set_global(code, start)
}

/// The same, for as many bytes as a local says.
pub fn take_for_bytes(code: &mut Function, bytes: u32) -> Range<u32> {
    let start = code.byte_len() as u32;
    code.instruction(&Instruction::GlobalGet(FUEL))
        .instruction(&Instruction::LocalGet(bytes))
        .instruction(&Instruction::I32Const(BULK_SHIFT))
        .instruction(&Instruction::I32ShrU);
    set_global(code, start)
}

fn set_global(code: &mut Function, start: u32) -> Range<u32> {
    code.instruction(&Instruction::I32Sub)
        .instruction(&Instruction::GlobalSet(FUEL))
        .instruction(&Instruction::GlobalGet(FUEL));
    trap_if_negative(code, start)
}

/// What is left is not negative before anything is taken, so that the sign tells. Cranelift makes one conditional trap of a
/// branch to `unreachable`, which costs least.
fn trap_if_negative(code: &mut Function, start: u32) -> Range<u32> {
    code.instruction(&Instruction::I32Const(0))
        .instruction(&Instruction::I32LtS)
        .instruction(&Instruction::If(BlockType::Empty))
        .instruction(&Instruction::Unreachable)
        .instruction(&Instruction::End);
    start..code.byte_len() as u32
}
