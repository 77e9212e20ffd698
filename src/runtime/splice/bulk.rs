//! `memory.copy` and `memory.fill` of kernels that run in the guest's own instance, where Wasmtime knows of no bytes beyond linear
//! memory: loads and stores meet the buffers that are mapped there, but those two operators trap.
//!
//! So each is overwritten by a call of a function that is added, which takes as many bytes. That runs the operator where all is in
//! linear memory; else it touches each page, so that nothing is written if a part can't be, and copies or fills in a loop.

use std::ops::Range;

use wasm_encoder::{BlockType, Function, Instruction, MemArg, ValType};
use wasmparser::Operator;
use wavelift_translator as translator;

use crate::memory::touch::{Locals, touch};

/// The parameters of both: destination; source, or the value; length.
pub(super) const PARAMETERS: [ValType; 3] = [ValType::I32; 3];

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bulk {
    Copy,
    Fill,
}

/// Where the code of a module has one, in its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub bulk: Bulk,
    pub bytes: Range<usize>,
}

impl Site {
    /// Overwrites it by a call, if there is room for the function's index.
    pub fn call(&self, function: u32, module: &mut [u8]) {
        let Some((opcode, index)) = module.get_mut(self.bytes.clone()).and_then(<[u8]>::split_first_mut) else {
            return;
        };
        if u64::from(function) >> (7 * index.len()) != 0 {
            return;
        }
        *opcode = CALL;
        let last = index.len() - 1;
        for (number, byte) in index.iter_mut().enumerate() {
            let more = if number < last { 0x80 } else { 0 };
            *byte = (function >> (7 * number)) as u8 & 0x7f | more;
        }
    }
}

const CALL: u8 = 0x10;

/// All places of a module that has kernels; none of one that has none.
pub(super) fn sites(module: &translator::Module) -> Vec<Site> {
    if module.memories().is_empty() || module.kernels().is_empty() {
        return Vec::new();
    }
    let bodies = (0..module.function_count()).filter_map(|function| module.body(function));
    let operators = bodies.filter_map(|body| body.get_operators_reader().ok());
    operators.flat_map(sites_of).collect()
}

fn sites_of(mut operators: wasmparser::OperatorsReader<'_>) -> Vec<Site> {
    let mut found = Vec::new();
    while let Ok((operator, start)) = operators.read_with_offset() {
        let bulk = match operator {
            Operator::MemoryCopy { dst_mem: 0, src_mem: 0 } => Bulk::Copy,
            Operator::MemoryFill { mem: 0 } => Bulk::Fill,
            _ => continue,
        };
        found.push(Site { bulk, bytes: start..operators.original_position() });
    }
    found
}

const DESTINATION: u32 = 0;
const SOURCE: u32 = 1;
const LENGTH: u32 = 2;
const AT: u32 = 3;
const LAST: u32 = 4;
/// The value that a fill stores, in each byte.
const VALUE: u32 = 5;

/// What a loop goes by.
const WORD: i32 = 8;

impl Bulk {
    fn operator(self) -> [Instruction<'static>; 4] {
        let operator = match self {
            Bulk::Copy => Instruction::MemoryCopy { src_mem: 0, dst_mem: 0 },
            Bulk::Fill => Instruction::MemoryFill(0),
        };
        [Instruction::LocalGet(0), Instruction::LocalGet(1), Instruction::LocalGet(2), operator]
    }

    /// The function that does what the operator does, wherever its bytes are mapped.
    pub fn function(self) -> Function {
        let mut code = Code(Function::new([(2, ValType::I32), (1, ValType::I64)]));
        let ranges: &[u32] = if self == Bulk::Copy { &[DESTINATION, SOURCE] } else { &[DESTINATION] };
        code.fits(ranges);
        code.emit(&[Instruction::If(BlockType::Empty)]);
        code.emit(&self.operator());
        code.emit(&[Instruction::Return, Instruction::End]);
        // An empty range may be that of an empty buffer.
        code.emit(&[Instruction::LocalGet(LENGTH), Instruction::I32Eqz, Instruction::If(BlockType::Empty)]);
        code.emit(&[Instruction::Return, Instruction::End]);
        for (number, start) in ranges.iter().enumerate().rev() {
            code.touch(self, *start, number == 0);
        }
        match self {
            Bulk::Copy => code.copy(),
            Bulk::Fill => code.fill(),
        }
        code.emit(&[Instruction::End]);
        code.0
    }
}

struct Code(Function);

impl Code {
    fn emit(&mut self, instructions: &[Instruction<'_>]) {
        for instruction in instructions {
            self.0.instruction(instruction);
        }
    }

    /// Whether ranges lie in linear memory.
    fn fits(&mut self, ranges: &[u32]) {
        for (number, start) in ranges.iter().enumerate() {
            self.emit(&[
                Instruction::LocalGet(*start),
                Instruction::I64ExtendI32U,
                Instruction::LocalGet(LENGTH),
                Instruction::I64ExtendI32U,
                Instruction::I64Add,
                Instruction::MemorySize(0),
                Instruction::I64ExtendI32U,
                Instruction::I64Const(16),
                Instruction::I64Shl,
                Instruction::I64LeU,
            ]);
            if number > 0 {
                self.emit(&[Instruction::I32And]);
            }
        }
    }

    /// Touches each page of a range, which is not empty, so that one that can't be accessed traps. If it runs over the end of the
    /// address space, the operator traps.
    fn touch(&mut self, bulk: Bulk, start: u32, for_writing: bool) {
        let (at, load) = (Instruction::LocalGet(AT), Instruction::I32Load8U(AT_ONCE));
        let write = [at.clone(), at.clone(), load.clone(), Instruction::I32Store8(AT_ONCE)];
        let read = [at, load, Instruction::Drop];
        let access = if for_writing { &write[..] } else { &read };
        let locals = Locals { length: LENGTH, at: AT, last: LAST };
        touch(&mut self.0, start, locals, access, &bulk.operator());
    }

    /// Runs `body` for offsets 0, `step` and so on, in `AT`, as long as `step` bytes are left; it goes on where the last one ended.
    fn upwards(&mut self, step: i32, body: impl FnOnce(&mut Code)) {
        self.emit(&[
            Instruction::Block(BlockType::Empty),
            Instruction::Loop(BlockType::Empty),
            Instruction::LocalGet(LENGTH),
            Instruction::LocalGet(AT),
            Instruction::I32Sub,
            Instruction::I32Const(step),
            Instruction::I32LtU,
            Instruction::BrIf(1),
        ]);
        body(self);
        self.emit(&[
            Instruction::LocalGet(AT),
            Instruction::I32Const(step),
            Instruction::I32Add,
            Instruction::LocalSet(AT),
            Instruction::Br(0),
            Instruction::End,
            Instruction::End,
        ]);
    }

    /// The same from `AT` down to 0.
    fn downwards(&mut self, step: i32, body: impl FnOnce(&mut Code)) {
        self.emit(&[
            Instruction::Block(BlockType::Empty),
            Instruction::Loop(BlockType::Empty),
            Instruction::LocalGet(AT),
            Instruction::I32Const(step),
            Instruction::I32LtU,
            Instruction::BrIf(1),
            Instruction::LocalGet(AT),
            Instruction::I32Const(step),
            Instruction::I32Sub,
            Instruction::LocalSet(AT),
        ]);
        body(self);
        self.emit(&[Instruction::Br(0), Instruction::End, Instruction::End]);
    }

    fn address(&mut self, start: u32) {
        self.emit(&[Instruction::LocalGet(start), Instruction::LocalGet(AT), Instruction::I32Add]);
    }

    /// Upwards if the destination lies in front of the source, else downwards: what is still to be copied is not overwritten.
    fn copy(&mut self) {
        let steps = [
            (WORD, Instruction::I64Load(AT_ONCE), Instruction::I64Store(AT_ONCE)),
            (1, Instruction::I32Load8U(AT_ONCE), Instruction::I32Store8(AT_ONCE)),
        ];
        let one = |code: &mut Code, load: &Instruction<'_>, store: &Instruction<'_>| {
            code.address(DESTINATION);
            code.address(SOURCE);
            code.emit(&[load.clone(), store.clone()]);
        };
        self.emit(&[
            Instruction::LocalGet(DESTINATION),
            Instruction::LocalGet(SOURCE),
            Instruction::I32LeU,
            Instruction::If(BlockType::Empty),
            Instruction::I32Const(0),
            Instruction::LocalSet(AT),
        ]);
        for (step, load, store) in &steps {
            self.upwards(*step, |code| one(code, load, store));
        }
        self.emit(&[Instruction::Else, Instruction::LocalGet(LENGTH), Instruction::LocalSet(AT)]);
        for (step, load, store) in &steps {
            self.downwards(*step, |code| one(code, load, store));
        }
        self.emit(&[Instruction::End]);
    }

    fn fill(&mut self) {
        self.emit(&[
            Instruction::LocalGet(SOURCE),
            Instruction::I64ExtendI32U,
            Instruction::I64Const(0xff),
            Instruction::I64And,
            Instruction::I64Const(0x0101_0101_0101_0101),
            Instruction::I64Mul,
            Instruction::LocalSet(VALUE),
            Instruction::I32Const(0),
            Instruction::LocalSet(AT),
        ]);
        for (step, store) in [(WORD, Instruction::I64Store(AT_ONCE)), (1, Instruction::I64Store8(AT_ONCE))] {
            self.upwards(step, |code| {
                code.address(DESTINATION);
                code.emit(&[Instruction::LocalGet(VALUE), store]);
            });
        }
    }
}

const AT_ONCE: MemArg = MemArg { offset: 0, align: 0, memory_index: 0 };

#[cfg(test)]
mod tests {
    use super::super::splice;
    use super::*;

    const TEXT: &str = r#"(module (memory (export "m") 1)
        (func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
        (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
        (func $kernel (param i32 i32 i32)) (table 1 funcref) (elem (i32.const 0) $kernel))"#;

    fn module(text: &str) -> translator::Module {
        translator::Module::parse(wat::parse_str(text).unwrap()).unwrap()
    }

    /// What both operators do, in a memory whose second page stands for what lies beyond it: the function is told so.
    fn told_less(bytes: &[u8]) -> Vec<u8> {
        // `memory.size` and what is made of it: all of memory but the second page.
        let (size, none) = ([0x3f, 0x00, 0xad, 0x42, 16, 0x86], [0x3f, 0x00, 0xad, 0x42, 15, 0x86]);
        let mut bytes = bytes.to_vec();
        let places: Vec<usize> = (0..bytes.len() - 6).filter(|at| bytes[*at..*at + 6] == size).collect();
        assert_eq!(places.len(), 3, "two of the copy, one of the fill");
        places.into_iter().for_each(|at| bytes[at..at + 6].copy_from_slice(&none));
        bytes
    }

    #[test]
    fn loops_do_what_the_operators_do() {
        let original = module(&TEXT.replace("\"m\") 1", "\"m\") 2"));
        let engine = wasmtime::Engine::default();
        let bytes = told_less(&splice(&original).bytes);
        let [mut looped, mut plain] = [&bytes, &original.bytes().to_vec()].map(|bytes| {
            let mut store = wasmtime::Store::new(&engine, ());
            let compiled = wasmtime::Module::from_binary(&engine, bytes).unwrap();
            let instance = wasmtime::Instance::new(&mut store, &compiled, &[]).unwrap();
            let memory = instance.get_memory(&mut store, "m").unwrap();
            let numbers = 0..memory.data_size(&store) as u32;
            let random: Vec<u8> = numbers.map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            memory.write(&mut store, 0, &random).unwrap();
            (store, instance, memory)
        });
        let edges = [0, 1, 7, 8, 9, 65_530, 65_536, 65_543, 70_000, 131_064, 131_072, u32::MAX - 3];
        for (first, second, length) in edges.iter().flat_map(|first| {
            let lengths = [0, 1, 5, 8, 17, 4100, 62_000, u32::MAX];
            edges.iter().flat_map(move |second| lengths.map(|length| (*first, *second, length)))
        }) {
            for name in ["copy", "fill"] {
                let [new, old] = [&mut looped, &mut plain].map(|(store, instance, memory)| {
                    let function = instance.get_typed_func::<(u32, u32, u32), ()>(&mut *store, name).unwrap();
                    let end = function.call(&mut *store, (first, second, length));
                    let trap = end.err().map(|error| *error.downcast_ref::<wasmtime::Trap>().unwrap());
                    (trap, memory.data(&*store).to_vec())
                });
                // Nobody can tell an empty range beyond memory from an empty buffer's.
                assert!(length == 0 || new.0 == old.0, "{name} {first} {second} {length}: {:?} {:?}", new.0, old.0);
                assert!(new.1 == old.1, "{name} {first} {second} {length}");
            }
        }
    }

    #[test]
    fn calls_take_the_operators_bytes() {
        let original = module(TEXT);
        let spliced = splice(&original);
        let new = translator::Module::parse(spliced.bytes.clone()).unwrap();
        assert_eq!(new.function_count(), original.function_count() + 2);
        for (function, callee) in [(0, 3), (1, 4)] {
            let (old, new) = (original.body(function).unwrap(), new.body(function).unwrap());
            assert_eq!(old.range().len(), new.range().len());
            assert_eq!(spliced.original_offset(new.range().start), old.range().start);
            let operators = new.get_operators_reader().unwrap().into_iter();
            let calls =
                operators.filter(|op| matches!(op, Ok(Operator::Call { function_index }) if *function_index == callee));
            assert_eq!(calls.count(), 1);
        }
        assert_eq!(sites(&module(&TEXT.replace("(param i32 i32 i32)) (table", ") (table"))), []);
        // There is no room for the index: the operator stays.
        let mut bytes = original.bytes().to_vec();
        sites(&original).iter().for_each(|site| site.call(1 << 21, &mut bytes));
        assert_eq!(bytes[..], original.bytes()[..]);
    }
}
