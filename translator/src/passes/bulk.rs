//! Bulk memory operators become loads and stores: short ones in a row, long ones in loops of words and then bytes.
//!
//! An address is always an operand plus a number, so that it keeps the operand's root. An access out of bounds traps
//! where Wasm traps, before or after some bytes were written: contents are unspecified after a trap. An empty range
//! touches nothing; whether it traps is asked of linear memory's size and the lowest buffer's address, as on the CPU
//! (`Expander::check_empty`).
//!
//! A short piece of a data segment is stored as constants. For others the segment's words become part of the function
//! ([`Function::data`]) and are loaded from there.

use std::collections::BTreeMap;

use crate::analysis::alignment::{Alignment, alignment};
use crate::analysis::dataflow;
use crate::analysis::roots::{Root, Roots, roots};
use crate::error::{Error, Result, TrapKind};
use crate::ir::builder::ListBuilder;
use crate::ir::operator::MemoryAccess;
use crate::ir::{Const, Exit, Function, Op, Region, RegionId, Stmt, StmtKind, Type, Value, WasmOp};
use crate::module::Module;
use crate::options::Shape;
use crate::work;

/// Most bytes that are moved without a loop.
const MAX_UNROLLED: u32 = 64;

/// Most bytes of a data segment that are stored as constants.
const MAX_INIT: u32 = 256;

/// Most words of data segments that one kernel loads: 128 MiB, which every API binds.
const MAX_DATA: usize = 1 << 25;

/// Replaces the bulk operators of an inlined kernel. Constants are best propagated before.
///
/// # Errors
/// [`Error::Unsupported`] for `memory.init` of too many bytes.
pub fn expand(function: &mut Function, module: &Module, shape: &Shape) -> Result<()> {
    let regions = dataflow::regions(function);
    let is_bulk = |stmt: &Stmt| bulk_operands(stmt).is_some();
    let found: Vec<RegionId> =
        regions.into_iter().filter(|id| function.region(*id).stmts.iter().any(is_bulk)).collect();
    if found.is_empty() {
        return Ok(());
    }
    let mut data = module.data();
    for segment in &shape.environment.dropped {
        if let Some(bytes) = data.get_mut(*segment as usize) {
            *bytes = &[];
        }
    }
    let mut expander = Expander {
        constants: dataflow::constants(function),
        roots: roots(function, shape, module.stack_pointer()),
        alignment: alignment(function),
        data,
        words: Vec::new(),
        places: BTreeMap::new(),
        module,
        list: ListBuilder::default(),
        function,
    };
    found.into_iter().try_for_each(|id| expander.region(id))?;
    expander.function.data = expander.words.into();
    Ok(())
}

fn bulk_operands(stmt: &Stmt) -> Option<(Op, [Value; 3])> {
    match &stmt.kind {
        StmtKind::Op {
            op: op @ (Op::MemoryFill | Op::MemoryCopy | Op::MemoryCopyApart | Op::MemoryInit(_)),
            args,
            ..
        } => Some((*op, args.as_slice().try_into().ok()?)),
        _ => None,
    }
}

struct Expander<'a> {
    module: &'a Module,
    function: &'a mut Function,
    constants: Vec<Option<Const>>,
    roots: Roots,
    alignment: Alignment,
    /// The bytes of each data segment at the launch.
    data: Vec<&'a [u8]>,
    /// What becomes [`Function::data`], and where in it the segments begin.
    words: Vec<u32>,
    places: BTreeMap<u32, u32>,
    list: ListBuilder,
}

/// How long a range is.
#[derive(Clone, Copy)]
struct Length {
    value: Value,
    known: Option<u32>,
    /// Whether it is a multiple of four.
    whole_words: bool,
}

impl Expander<'_> {
    fn region(&mut self, id: RegionId) -> Result<()> {
        for stmt in std::mem::take(&mut self.function.region_mut(id).stmts) {
            self.list.at = stmt.at;
            let before = self.list.stmts.len();
            match bulk_operands(&stmt) {
                Some((Op::MemoryFill, [to, value, length])) => self.fill(to, value, length),
                Some((Op::MemoryCopy, [to, from, length])) => self.copy(to, from, length, false),
                Some((Op::MemoryCopyApart, [to, from, length])) => self.copy(to, from, length, true),
                Some((Op::MemoryInit(segment), operands)) => self.init(segment, operands)?,
                _ => {
                    self.list.stmts.push(stmt);
                    continue;
                }
            }
            // An operator becomes dozens.
            work::spend(self.list.stmts.len() - before);
            work::check(&self.function.name)?;
        }
        self.function.region_mut(id).stmts = std::mem::take(&mut self.list.stmts);
        Ok(())
    }

    fn known(&self, value: Value) -> Option<u32> {
        match self.constants.get(value.index()) {
            Some(Some(Const::I32(x))) => Some(*x),
            _ => None,
        }
    }

    fn length(&self, value: Value) -> Length {
        let whole_words = self.alignment.trailing_zeros(value) >= 2;
        Length { value, known: self.known(value), whole_words }
    }

    fn fill(&mut self, to: Value, value: Value, length: Value) {
        let length = self.length(length);
        self.check_empty(to, length);
        let low = self.with_int(WasmOp::I32And, value, 0xff);
        let word = self.with_int(WasmOp::I32Mul, low, 0x0101_0101);
        match length.known {
            Some(count @ ..=MAX_UNROLLED) => {
                chunks(count).for_each(|(offset, bytes)| self.store(to, offset, bytes, word));
            }
            _ => self.forward(length, &mut |e, at, bytes| {
                let to = e.add(to, at);
                e.store(to, 0, bytes, word);
            }),
        }
    }

    /// `apart`: bytes are never stored before they are loaded if they are moved upwards.
    fn copy(&mut self, to: Value, from: Value, length: Value, apart: bool) {
        let length = self.length(length);
        self.check_empty(to, length);
        self.check_empty(from, length);
        if let Some(count @ ..=MAX_UNROLLED) = length.known {
            let loaded: Vec<Value> = chunks(count).map(|(offset, bytes)| self.load(from, offset, bytes)).collect();
            chunks(count).zip(loaded).for_each(|((offset, bytes), value)| self.store(to, offset, bytes, value));
            return;
        }
        let mut step = |e: &mut Self, at: Value, bytes: u32| {
            let (from, to) = (e.add(from, at), e.add(to, at));
            let value = e.load(from, 0, bytes);
            e.store(to, 0, bytes, value);
        };
        if apart || self.are_apart(to, from) {
            return self.forward(length, &mut step);
        }
        let distance = self.list.wasm(self.function, WasmOp::I32Sub, &[to, from]);
        let cond = self.list.wasm(self.function, WasmOp::I32LtU, &[distance, length.value]);
        let then = self.nested(|e| e.backward(length, &mut step));
        let otherwise = self.nested(|e| e.forward(length, &mut step));
        self.list.push(StmtKind::If { cond, then, otherwise, results: Vec::new() });
    }

    fn init(&mut self, segment: u32, [to, from, length]: [Value; 3]) -> Result<()> {
        let data = self.data.get(segment as usize).copied();
        let data = data.ok_or_else(|| Error::Internal(format!("there is no data segment {segment}")))?;
        if let (Some(start), Some(count)) = (self.known(from), self.known(length)) {
            let end = u64::from(start) + u64::from(count);
            if end > data.len() as u64 {
                let always = self.int(1);
                self.trap_if(always);
                return Ok(());
            }
            if count <= MAX_INIT {
                self.check_empty(to, self.length(length));
                self.init_short(to, &data[start as usize..end as usize]);
                return Ok(());
            }
        } else {
            self.check_within(from, length, data.len() as u32);
        }
        let length = self.length(length);
        self.check_empty(to, length);
        // Of no bytes, only an empty range got past the check.
        if data.is_empty() {
            return Ok(());
        }
        let place = self.place(segment, data)?;
        let whole = self.alignment.trailing_zeros(from) >= 2;
        if let Some(count @ ..=MAX_UNROLLED) = length.known {
            for (offset, bytes) in chunks(count) {
                let at = self.with_int(WasmOp::I32Add, from, offset);
                let value = self.load_data(place, at, bytes, whole);
                self.store(to, offset, bytes, value);
            }
            return Ok(());
        }
        self.forward(length, &mut |e, at, bytes| {
            let (from, to) = (e.add(from, at), e.add(to, at));
            let value = e.load_data(place, from, bytes, whole);
            e.store(to, 0, bytes, value);
        });
        Ok(())
    }

    /// Stores bytes that are known.
    fn init_short(&mut self, to: Value, bytes: &[u8]) {
        for (offset, size) in chunks(bytes.len() as u32) {
            let word = self.int(word_of(&bytes[offset as usize..][..size as usize]));
            self.store(to, offset, size, word);
        }
    }

    /// Traps unless `[from, from + length)` lies within a segment of `size` bytes.
    fn check_within(&mut self, from: Value, length: Value, size: u32) {
        let size = self.int(size);
        let too_long = self.list.wasm(self.function, WasmOp::I32GtU, &[length, size]);
        let last = self.list.wasm(self.function, WasmOp::I32Sub, &[size, length]);
        let too_far = self.list.wasm(self.function, WasmOp::I32GtU, &[from, last]);
        let beyond = self.list.wasm(self.function, WasmOp::I32Or, &[too_long, too_far]);
        self.trap_if(beyond);
    }

    /// The number of the word at which a segment begins. Behind its last byte stands a whole word of zeroes, so that the
    /// word behind that of any of its bytes can be loaded.
    fn place(&mut self, segment: u32, bytes: &[u8]) -> Result<u32> {
        if let Some(place) = self.places.get(&segment) {
            return Ok(*place);
        }
        if self.words.len() + bytes.len() / 4 + 2 > MAX_DATA {
            return Err(self.unsupported(format!("`memory.init` of segments of more than {} bytes", 4 * MAX_DATA)));
        }
        let place = self.words.len() as u32;
        self.words.extend(bytes.chunks(4).map(word_of).chain([0]));
        self.places.insert(segment, place);
        Ok(place)
    }

    /// The bytes at an offset of the segment that begins at `place`, one, two or four, in the low bits of a word whose
    /// others mean nothing. `whole`: offsets of four bytes are multiples of four, of two bytes of two.
    fn load_data(&mut self, place: u32, offset: Value, bytes: u32, whole: bool) -> Value {
        let index = self.with_int(WasmOp::I32ShrU, offset, 2);
        let index = self.with_int(WasmOp::I32Add, index, place);
        let low = self.list.op(self.function, Op::LoadData, &[index], Type::I32);
        if whole && bytes == 4 {
            return low;
        }
        let byte = self.with_int(WasmOp::I32And, offset, 3);
        let shift = self.with_int(WasmOp::I32Shl, byte, 3);
        let low = self.list.wasm(self.function, WasmOp::I32ShrU, &[low, shift]);
        if whole || bytes == 1 {
            return low;
        }
        // In two shifts, for a shift by all 32 bits is one by none.
        let next = self.with_int(WasmOp::I32Add, index, 1);
        let next = self.list.op(self.function, Op::LoadData, &[next], Type::I32);
        let rest = self.with_int(WasmOp::I32Xor, shift, 31);
        let high = self.list.wasm(self.function, WasmOp::I32Shl, &[next, rest]);
        let high = self.with_int(WasmOp::I32Shl, high, 1);
        self.list.wasm(self.function, WasmOp::I32Or, &[low, high])
    }

    fn unsupported(&self, what: String) -> Error {
        let at = self.list.at;
        Error::Unsupported {
            what,
            function_name: self.module.function_name(at.function),
            at: Some(at),
            too_large: false,
        }
    }

    /// Whether two pointers are of different places.
    fn are_apart(&self, a: Value, b: Value) -> bool {
        self.roots.root_of(a).is_apart_from(self.roots.root_of(b))
    }

    /// Traps where the range is empty and its address lies behind linear memory's end but below all buffers. An address
    /// that is counted from a buffer's or the stack pointer is taken to be good, however far it is from there.
    fn check_empty(&mut self, address: Value, length: Length) {
        let among_buffers = matches!(self.roots.root_of(address), Root::Slot(_) | Root::Stack | Root::Unreached);
        if among_buffers || length.known.is_some_and(|length| length != 0) {
            return;
        }
        let before = self.with_int(WasmOp::I32Sub, address, 1);
        let page = self.with_int(WasmOp::I32ShrU, before, 16);
        let pages = self.list.op(self.function, Op::MemorySize, &[], Type::I32);
        let beyond = self.list.wasm(self.function, WasmOp::I32GeU, &[page, pages]);
        let lowest = self.lowest_buffer();
        let below = self.list.wasm(self.function, WasmOp::I32LtU, &[address, lowest]);
        // Address 0 is never behind the end.
        let not_first = self.with_int(WasmOp::I32Ne, address, 0);
        let empty = self.list.wasm(self.function, WasmOp::I32Eqz, &[length.value]);
        let cond = [below, not_first, empty]
            .into_iter()
            .fold(beyond, |all, condition| self.list.wasm(self.function, WasmOp::I32And, &[all, condition]));
        self.trap_if(cond);
    }

    /// The lowest address of a buffer; the highest of all where there is none.
    fn lowest_buffer(&mut self) -> Value {
        let pointers: Vec<Value> = self.function.params.iter().skip(3).step_by(2).copied().collect();
        let mut lowest = self.int(u32::MAX);
        for pointer in pointers {
            let less = self.list.wasm(self.function, WasmOp::I32LtU, &[pointer, lowest]);
            lowest = self.list.op(self.function, Op::Select, &[pointer, lowest, less], Type::I32);
        }
        lowest
    }

    /// Calls `step` in words and then bytes for the offsets of a range, ascending.
    fn forward(&mut self, length: Length, step: &mut dyn FnMut(&mut Self, Value, u32)) {
        let zero = self.int(0);
        let words = self.words_of(length);
        self.count_up(zero, words, 4, step);
        if !length.whole_words {
            self.count_up(words, length.value, 1, step);
        }
    }

    /// The same, bytes and then words, descending.
    fn backward(&mut self, length: Length, step: &mut dyn FnMut(&mut Self, Value, u32)) {
        let zero = self.int(0);
        let words = self.words_of(length);
        if !length.whole_words {
            self.count_down(length.value, words, 1, step);
        }
        self.count_down(words, zero, 4, step);
    }

    fn words_of(&mut self, length: Length) -> Value {
        if length.whole_words { length.value } else { self.with_int(WasmOp::I32And, length.value, !3) }
    }

    /// `for (at = from; at < end; at += size) step(at, size)`
    fn count_up(&mut self, from: Value, end: Value, size: u32, step: &mut dyn FnMut(&mut Self, Value, u32)) {
        self.count(
            from,
            |e, at| e.list.wasm(e.function, WasmOp::I32LtU, &[at, end]),
            |e, at| {
                step(e, at, size);
                e.with_int(WasmOp::I32Add, at, size)
            },
        );
    }

    /// `for (at = from; at > end;) { at -= size; step(at, size) }`
    fn count_down(&mut self, from: Value, end: Value, size: u32, step: &mut dyn FnMut(&mut Self, Value, u32)) {
        self.count(
            from,
            |e, at| e.list.wasm(e.function, WasmOp::I32GtU, &[at, end]),
            |e, at| {
                let at = e.with_int(WasmOp::I32Sub, at, size);
                step(e, at, size);
                at
            },
        );
    }

    /// A loop over one counter, while `goes_on` holds; `body` gives the counter's next value.
    fn count(
        &mut self,
        from: Value,
        goes_on: impl FnOnce(&mut Self, Value) -> Value,
        body: impl FnOnce(&mut Self, Value) -> Value,
    ) {
        let at = self.list.at;
        let label = self.function.new_label();
        let counter = self.function.new_value(Type::I32);
        let outer = std::mem::replace(&mut self.list, ListBuilder::new(at));
        let cond = goes_on(self, counter);
        let head = std::mem::replace(&mut self.list, ListBuilder::new(at));
        let next = body(self, counter);
        let round = std::mem::replace(&mut self.list, head);
        let then = round.finish(self.function, Exit::Continue(label, vec![next]));
        let otherwise = ListBuilder::new(at).finish(self.function, Exit::Yield(Vec::new()));
        self.list.push(StmtKind::If { cond, then, otherwise, results: Vec::new() });
        let stmts = std::mem::replace(&mut self.list, outer).stmts;
        let region = Region { params: vec![counter], stmts, exit: Exit::Yield(Vec::new()), exit_at: at };
        let body = self.function.new_region(region);
        self.list.push(StmtKind::Loop { label, inits: vec![from], body, results: Vec::new() });
    }

    fn nested(&mut self, build: impl FnOnce(&mut Self)) -> RegionId {
        let inner = ListBuilder::new(self.list.at);
        let outer = std::mem::replace(&mut self.list, inner);
        build(self);
        let inner = std::mem::replace(&mut self.list, outer);
        inner.finish(self.function, Exit::Yield(Vec::new()))
    }

    fn trap_if(&mut self, cond: Value) {
        self.list.exit_if(self.function, cond, Exit::Trap(TrapKind::OutOfBounds));
    }

    fn int(&mut self, value: u32) -> Value {
        self.list.i32(self.function, value)
    }

    fn with_int(&mut self, op: WasmOp, a: Value, b: u32) -> Value {
        let b = self.int(b);
        self.list.wasm(self.function, op, &[a, b])
    }

    fn add(&mut self, a: Value, b: Value) -> Value {
        self.list.wasm(self.function, WasmOp::I32Add, &[a, b])
    }

    fn load(&mut self, from: Value, offset: u32, bytes: u32) -> Value {
        self.list.op(self.function, Op::Load(access(offset, bytes)), &[from], Type::I32)
    }

    fn store(&mut self, to: Value, offset: u32, bytes: u32, value: Value) {
        self.list.effect(Op::Store(access(offset, bytes)), &[to, value]);
    }
}

/// Up to four bytes as a little-endian word.
fn word_of(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

fn access(offset: u32, bytes: u32) -> MemoryAccess {
    MemoryAccess { ty: Type::I32, bytes, signed: false, offset, memory: 0, checked: None }
}

/// Offset and size of what a short range is moved in: words, then what is left.
fn chunks(length: u32) -> impl Iterator<Item = (u32, u32)> {
    let words = length / 4 * 4;
    let pair = (length & 2 != 0).then_some((words, 2));
    let last = (length & 1 != 0).then(|| (length - 1, 1));
    (0..length / 4).map(|word| (4 * word, 4)).chain(pair).chain(last)
}
