//! Which functions of a module copy or fill blocks of memory, as C's `memmove`, `memcpy` and `memset` do: found by what they
//! do, since names may be stripped and each toolchain has code of its own for them.
//!
//! A candidate has their type, calls at most others of its kind, knows no globals, and has no constants but those of moving
//! words and parts of words: so it has no length or content that it could treat in a way of its own. It is run on blocks
//! of all small lengths and alignments and some longer ones, near and across one another, in a memory in which it may touch
//! nothing else. What passes becomes one operator, which a kernel needs no stack and few accesses for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use wasmparser::{Operator, ValType};

use crate::call_graph::Slice;
use crate::error::TrapKind;
use crate::frontend;
use crate::ir::interpret::{self, Invocation, Memory};
use crate::ir::{Const, Function, WasmOp};
use crate::module::Module;
use crate::options::Environment;
use crate::passes::inline;
use crate::targets::Targets;

/// What a function does with blocks of memory; it returns its first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// `memset(to, byte, length)`
    Fill,
    /// `memmove(to, from, length)`
    Move,
    /// `memcpy(to, from, length)`: the same, unless `to` lies within what is copied.
    Copy,
}

/// What was found so far, by function.
pub(crate) type Blocks = Mutex<HashMap<u32, Option<Block>>>;

/// Most operators of a body, and statements with what it calls.
const MAX_OPERATORS: usize = 1500;
/// Deepest calls among such functions: `memmove` calls `memcpy`.
const MAX_DEPTH: u32 = 2;
/// Largest `i32` that moves words about: 31, 255, 2^16 and the like are among them.
const MAX_CONSTANT: u64 = 256;

/// Bytes of the memory that a candidate runs in, and where it lies.
const SIZE: u32 = 4096;
const BASE: u32 = 8192;

impl Module {
    /// What this function does with blocks of memory, if that is all that it does. The answer is kept.
    pub fn block(&self, function: u32) -> Option<Block> {
        let lock = || self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&function) {
            return *known;
        }
        let found = find(self, function);
        lock().insert(function, found);
        found
    }
}

fn find(module: &Module, function: u32) -> Option<Block> {
    if !is_candidate(module, function, MAX_DEPTH) {
        return None;
    }
    let environment = Environment::default();
    let mut slice = Slice::new(module, &environment, frontend::Known::default());
    let code = inline::inline(&mut slice, function, &Targets::default(), MAX_OPERATORS as u32).ok()?;
    if fills(&code) {
        return Some(Block::Fill);
    }
    (copies(&code, false)).then(|| if copies(&code, true) { Block::Move } else { Block::Copy })
}

fn is_candidate(module: &Module, function: u32, depth: u32) -> bool {
    let has_type = module
        .function_type(function)
        .is_some_and(|ty| ty.results() == [ValType::I32] && ty.params() == [ValType::I32, ValType::I32, ValType::I32]);
    let Some(body) = module.body(function).filter(|_| has_type) else { return false };
    let Ok(operators) = body.get_operators_reader() else { return false };
    operators.into_iter().enumerate().all(|(count, operator)| match operator {
        Ok(Operator::Call { function_index }) => depth > 0 && is_candidate(module, function_index, depth - 1),
        Ok(operator) => count < MAX_OPERATORS && moves_words(&operator),
        Err(_) => false,
    })
}

/// Whether an operator is one of those that move words.
fn moves_words(operator: &Operator<'_>) -> bool {
    use Operator as O;
    let is_usual = |value: i64| {
        let (magnitude, bits) = (value.unsigned_abs(), value as u64);
        magnitude <= MAX_CONSTANT || bits.is_multiple_of(0x0101_0101) || value == 1 << 32 | 1
    };
    match operator {
        O::I32Const { value } => is_usual((*value).into()) || *value == 1 << 16 || *value == 1 << 24,
        O::I64Const { value } => is_usual(*value),
        O::Block { .. } | O::Loop { .. } | O::If { .. } | O::Else | O::End | O::Br { .. } | O::BrIf { .. } => true,
        O::BrTable { .. } | O::Return | O::Unreachable | O::Nop | O::Drop | O::Select => true,
        O::LocalGet { .. } | O::LocalSet { .. } | O::LocalTee { .. } => true,
        O::MemoryCopy { dst_mem: 0, src_mem: 0 } | O::MemoryFill { mem: 0 } => true,
        operator => match frontend::access(operator) {
            Some(_) => true,
            None => WasmOp::from_wasmparser(operator).is_some_and(|op| !op.can_trap() && is_of_integers(op)),
        },
    }
}

fn is_of_integers(op: WasmOp) -> bool {
    use crate::ir::Type;
    let is_integer = |ty: &Type| matches!(ty, Type::I32 | Type::I64);
    is_integer(&op.result()) && op.params().iter().all(is_integer)
}

/// Lengths of blocks: all small ones in the ways that loops over words and larger pieces take them, and long ones.
fn lengths() -> impl Iterator<Item = u32> {
    (0..40).chain((41..140).step_by(3)).chain([255, 256, 1027])
}

fn fills(code: &Function) -> bool {
    let is_filled = |to: u32, byte: u32, length: u32| {
        let mut memory = Blocked::new([(to, length, true), (0, 0, false)]);
        let mut expected = memory.bytes.clone();
        expected[to as usize..][..length as usize].fill(byte as u8);
        memory.run(code, [BASE + to, byte, length]) && memory.bytes == expected
    };
    // The first tells at once what fills nothing.
    is_filled(64, 0x1a5, 5)
        && lengths()
            .all(|length| (0..16).all(|at| is_filled(64 + at, [0, 0x1a5, 0xffff_ff80][at as usize % 3], length)))
}

/// Whether blocks are copied; `across`: also upwards to where the block itself lies.
fn copies(code: &Function, across: bool) -> bool {
    let is_copied = |to: u32, from: u32, length: u32| {
        let mut memory = Blocked::new([(to, length, true), (from, length, false)]);
        let mut expected = memory.bytes.clone();
        expected.copy_within(from as usize..(from + length) as usize, to as usize);
        memory.run(code, [BASE + to, BASE + from, length]) && memory.bytes == expected
    };
    let near = |to: u32, distance: u32, length: u32| match across {
        true => is_copied(to + distance, to, length),
        false => is_copied(to, to + distance, length),
    };
    is_copied(64, 2048, 5)
        && lengths().all(|length| (0..8).all(|to| (0..4).all(|from| is_copied(64 + to, 2048 + from, length))))
        && lengths()
            .all(|length| (0..24).chain([31, 64, 100]).all(|distance| near(64 + distance % 4, distance, length)))
}

/// A memory of which two blocks may be accessed, the first or second of them only read.
struct Blocked {
    bytes: Vec<u8>,
    blocks: [(u32, u32, bool); 2],
}

impl Blocked {
    fn new(blocks: [(u32, u32, bool); 2]) -> Blocked {
        let bytes = (0..SIZE).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 23) as u8).collect();
        Blocked { bytes, blocks }
    }

    /// Whether the function returns its first argument.
    fn run(&mut self, code: &Function, arguments: [u32; 3]) -> bool {
        let operands = arguments.map(Const::I32);
        let result = interpret::run(code, &operands, &Invocation::default(), self, &|_| None);
        result.is_ok_and(|result| result == [operands[0]])
    }

    /// Where an access begins.
    fn place(&self, address: u64, length: usize, stores: bool) -> Result<usize, TrapKind> {
        let at = address.checked_sub(BASE.into()).ok_or(TrapKind::OutOfBounds)?;
        let lies_in = |(start, size, writable): &(u32, u32, bool)| {
            let end = u64::from(*start) + u64::from(*size);
            (*writable || !stores) && at >= (*start).into() && at + length as u64 <= end
        };
        self.blocks.iter().any(lies_in).then_some(at as usize).ok_or(TrapKind::OutOfBounds)
    }
}

impl Memory for Blocked {
    fn load(&mut self, address: u64, out: &mut [u8]) -> Result<(), TrapKind> {
        let at = self.place(address, out.len(), false)?;
        out.copy_from_slice(&self.bytes[at..][..out.len()]);
        Ok(())
    }

    fn store(&mut self, address: u64, data: &[u8]) -> Result<(), TrapKind> {
        let at = self.place(address, data.len(), true)?;
        self.bytes[at..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn size(&self) -> u64 {
        u64::from(BASE + SIZE).next_multiple_of(1 << 16)
    }

    fn check(&mut self, address: u64, length: u64, store: bool) -> Result<(), TrapKind> {
        if length == 0 { Ok(()) } else { self.place(address, length as usize, store).map(drop) }
    }

    fn load_word(&mut self, _: u32, _: u32) -> Option<u32> {
        None
    }

    fn store_word(&mut self, _: u32, _: u32, _: u32) -> Option<()> {
        None
    }
}
