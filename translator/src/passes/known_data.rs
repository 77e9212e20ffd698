//! Loads of what the module's own data segments hold: coefficients of the C library's functions, tables, what a compiler
//! put into read-only data. Those from constant addresses become constants; those from somewhere in a small table read a
//! copy of it, which is the same for all launches ([`Function::data`]).
//!
//! Memory can be written, so this takes something for granted: that the words are at the launch what they are in a new
//! instance, and that no invocation stores to them. The host looks ([`Shader::relies_on`](crate::Shader::relies_on)), and
//! names those of which it does not hold ([`Environment::initial`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::analysis::{dataflow, ranges};
use crate::hash::{HashMap, HashMapExt};
use crate::ir::builder::ListBuilder;
use crate::ir::operator::MemoryAccess;
use crate::ir::{Args, Const, Function, Op, RegionId, Stmt, StmtKind, Type, Value, WasmOp};
use crate::module::Module;
use crate::options::Environment;
use crate::work;

/// Largest table, in bytes, that is copied.
const MAX_TABLE: u64 = 4096;
/// Most words of all copies together.
const MAX_COPIED: usize = 1 << 14;
/// Most words that a kernel relies on: the host looks at each before a launch.
const MAX_WORDS: usize = 1 << 14;

/// Replaces the loads; gives the addresses of the words that are taken for granted, multiples of four.
pub(crate) fn known_data(
    function: &mut Function,
    module: &Module,
    environment: &Environment,
    stack_pointer: Option<u32>,
) -> BTreeSet<u32> {
    let Some(except) = environment.initial.as_ref().filter(|_| module.keeps_data()) else { return BTreeSet::new() };
    let mut pass = KnownData { module, except, words: BTreeSet::new() };
    pass.constants(function);
    pass.tables(function, stack_pointer.unwrap_or(u32::MAX));
    pass.words
}

struct KnownData<'a> {
    module: &'a Module,
    /// Addresses of words that are not what they were.
    except: &'a [u32],
    /// Those relied on.
    words: BTreeSet<u32>,
}

impl KnownData<'_> {
    /// The bytes from an address on, if all are known; they are relied on then.
    fn bytes(&mut self, address: u64, count: u64) -> Option<Vec<u8>> {
        let end = address.checked_add(count)?;
        let words = (address / 4 * 4..end).step_by(4).map(|word| u32::try_from(word).ok());
        let words: Vec<u32> = words.collect::<Option<_>>()?;
        let is_known = |word: &u32| self.except.binary_search(word).is_err();
        if self.words.len() + words.len() > MAX_WORDS || !words.iter().all(is_known) {
            return None;
        }
        let bytes = self.module.initial_bytes(address..end)?;
        self.words.extend(words);
        Some(bytes)
    }

    fn constants(&mut self, function: &mut Function) {
        let constants = dataflow::constants(function);
        for id in dataflow::regions(function) {
            for stmt in &mut function.region_mut(id).stmts {
                let StmtKind::Op { op: op @ Op::Load(_), args, .. } = &mut stmt.kind else { continue };
                let (Op::Load(access), Some(Const::I32(address))) = (*op, constants[args[0].index()]) else { continue };
                if let Some(value) = self.constant(&access, address) {
                    (*op, *args) = (Op::Const(value), Args::new());
                }
            }
        }
    }

    fn constant(&mut self, access: &MemoryAccess, address: u32) -> Option<Const> {
        let address = u64::from(address) + u64::from(access.offset);
        // Where the whole access has no end in bounds, its first part traps.
        let count = u64::from(access.bytes.max(access.checked_bytes()));
        let known = if access.memory == 0 { self.bytes(address, count)? } else { return None };
        let mut bytes = [0; 16];
        bytes[..access.bytes as usize].copy_from_slice(&known[..access.bytes as usize]);
        access.value_of(bytes)
    }

    fn tables(&mut self, function: &mut Function, stack_pointer: u32) {
        let candidates = self.candidates(function);
        if candidates.is_empty() {
            return;
        }
        let ranges = ranges::ranges(function, stack_pointer);
        let mut copies = Copies { words: function.data.to_vec(), places: HashMap::new() };
        for (id, numbers) in candidates {
            let mut tables: HashMap<usize, Table> = HashMap::new();
            for number in numbers {
                let Some(range) = ranges.at(id, number) else { continue };
                let StmtKind::Op { op: Op::Load(access), .. } = function.region(id).stmts[number].kind else {
                    continue;
                };
                if let Some(table) = self.table(&access, range, &mut copies) {
                    tables.insert(number, table);
                }
            }
            if !tables.is_empty() {
                replace(function, id, &tables);
            }
        }
        if copies.words.len() > function.data.len() {
            function.data = Arc::from(copies.words);
        }
    }

    /// Loads whose addresses are made of a constant in a data segment and something else, by region.
    fn candidates(&self, function: &Function) -> Vec<(RegionId, Vec<usize>)> {
        let constants = dataflow::constants(function);
        let mut sums: HashMap<Value, u32> = HashMap::new();
        let mut found = Vec::new();
        for id in dataflow::regions(function) {
            let mut numbers = Vec::new();
            for (number, stmt) in function.region(id).stmts.iter().enumerate() {
                let StmtKind::Op { op, args, result: Some(result) } = &stmt.kind else { continue };
                work::spend(1);
                match op {
                    Op::Wasm(WasmOp::I32Add) => {
                        let more = args.iter().find_map(|arg| match constants[arg.index()] {
                            Some(Const::I32(more)) => Some(more),
                            _ => sums.get(arg).copied(),
                        });
                        more.into_iter().for_each(|more| _ = sums.insert(*result, more));
                    }
                    Op::Load(access) => {
                        let sum = u64::from(sums.get(&args[0]).copied().unwrap_or(0)) + u64::from(access.offset);
                        if self.module.initial_bytes(sum..sum + 1).is_some() {
                            numbers.push(number);
                        }
                    }
                    _ => {}
                }
            }
            if !numbers.is_empty() {
                found.push((id, numbers));
            }
        }
        found
    }

    /// The table that an access reads whose address lies in this range.
    fn table(&mut self, access: &MemoryAccess, range: ranges::Range, copies: &mut Copies) -> Option<Table> {
        let aligned = access.bytes - 1;
        let fits = access.memory == 0
            && matches!(access.bytes, 1 | 2 | 4 | 8)
            && access.checked.is_none_or(|checked| u32::from(checked) <= access.bytes)
            && !range.stack
            && range.low >= 0
            && range.clear & aligned == aligned
            && access.offset & aligned == 0;
        let (low, high) = (range.low as u64 + u64::from(access.offset), range.high as u64 + u64::from(access.offset));
        // Doubles begin at even words of the copy, too.
        if !fits || high - low >= MAX_TABLE || low % u64::from(access.bytes) != 0 {
            return None;
        }
        let start = low / 4 * 4;
        let place = copies.place(start, (high + u64::from(access.bytes)).next_multiple_of(4), self)?;
        // Bytes from the copy's start: the address, the offset, less the table's address.
        let to_copy = (4 * place).wrapping_add(access.offset).wrapping_sub(start as u32);
        Some(Table { to_copy })
    }
}

/// Where an access finds its bytes.
#[derive(Clone, Copy)]
struct Table {
    /// What is to be added to its address, without its offset: then it counts in the copies' bytes.
    to_copy: u32,
}

/// Words of tables, behind those that the function has already.
struct Copies {
    words: Vec<u32>,
    /// The number of the first word of what is copied, by start and end.
    places: HashMap<(u64, u64), u32>,
}

impl Copies {
    fn place(&mut self, start: u64, end: u64, data: &mut KnownData<'_>) -> Option<u32> {
        if let Some(place) = self.places.get(&(start, end)) {
            return Some(*place);
        }
        if self.words.len() + ((end - start) / 4) as usize > MAX_COPIED {
            return None;
        }
        let bytes = data.bytes(start, end - start)?;
        self.words.resize(self.words.len().next_multiple_of(2), 0);
        let place = self.words.len() as u32;
        self.words.extend(bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])));
        self.places.insert((start, end), place);
        Some(place)
    }
}

/// Replaces these loads of a region.
fn replace(function: &mut Function, id: RegionId, tables: &HashMap<usize, Table>) {
    let stmts = std::mem::take(&mut function.region_mut(id).stmts);
    let mut list = ListBuilder::default();
    for (number, stmt) in stmts.into_iter().enumerate() {
        list.at = stmt.at;
        match (&stmt.kind, tables.get(&number)) {
            (StmtKind::Op { op: Op::Load(access), args, result: Some(result) }, Some(table)) => {
                copied(function, &mut list, access, args[0], *table);
                // The last statement gives what the load gave.
                if let Some(Stmt { kind: StmtKind::Op { result: last, .. }, .. }) = list.stmts.last_mut() {
                    *last = Some(*result);
                }
            }
            _ => list.stmts.push(stmt),
        }
    }
    function.region_mut(id).stmts = list.stmts;
}

/// The load of a copy; its value is the last statement's.
fn copied(function: &mut Function, list: &mut ListBuilder, access: &MemoryAccess, address: Value, table: Table) {
    let to_copy = list.i32(function, table.to_copy);
    let at = list.wasm(function, WasmOp::I32Add, &[address, to_copy]);
    let by = list.i32(function, if access.bytes == 8 { 3 } else { 2 });
    let index = list.wasm(function, WasmOp::I32ShrU, &[at, by]);
    if access.bytes == 8 {
        let bits = list.op(function, Op::LoadDataPair, &[index], Type::I64);
        if access.ty == Type::F64 {
            list.wasm(function, WasmOp::F64ReinterpretI64, &[bits]);
        }
        return;
    }
    let mut word = list.op(function, Op::LoadData, &[index], Type::I32);
    if access.bytes < 4 {
        word = narrow(function, list, access, at, word);
    }
    match access.ty {
        Type::F32 => _ = list.wasm(function, WasmOp::F32ReinterpretI32, &[word]),
        Type::I64 => {
            let extend = if access.signed { WasmOp::I64ExtendI32S } else { WasmOp::I64ExtendI32U };
            list.wasm(function, extend, &[word]);
        }
        _ => {}
    }
}

/// A byte or two of a word, by where they stand.
fn narrow(function: &mut Function, list: &mut ListBuilder, access: &MemoryAccess, at: Value, word: Value) -> Value {
    let (three, shift) = (list.i32(function, 3), list.i32(function, 32 - 8 * access.bytes));
    let byte = list.wasm(function, WasmOp::I32And, &[at, three]);
    let right = list.wasm(function, WasmOp::I32Shl, &[byte, three]);
    let low = list.wasm(function, WasmOp::I32ShrU, &[word, right]);
    let high = list.wasm(function, WasmOp::I32Shl, &[low, shift]);
    let back = if access.signed { WasmOp::I32ShrS } else { WasmOp::I32ShrU };
    list.wasm(function, back, &[high, shift])
}
