//! `memory.fill`, `memory.copy` and `memory.init` for device modules.
//!
//! Wasmtime does them in host code, where a fault ends the process. So every page is touched first, in Wasm, where a
//! fault is a trap; only then is the operator run.

use wasm_encoder::{BlockType, Function, Instruction, MemArg, ValType};

use super::body::{FunctionMap, LOWEST, PAGES};
use super::fuel;
use crate::memory::touch::{Locals, touch};

/// `fill(destination, value, length)`, which takes fuel where that is limited.
pub fn fill(takes_fuel: bool) -> (Function, FunctionMap) {
    let mut code = Code::new(takes_fuel);
    code.unless_empty(&[0]);
    code.touch(0, true);
    code.pay();
    code.emit(&[Instruction::LocalGet(0), Instruction::LocalGet(1), Instruction::LocalGet(2)]);
    code.emit(&[Instruction::MemoryFill(0), Instruction::End]);
    (code.function, code.map)
}

/// `copy(destination, source, length)`
pub fn copy(takes_fuel: bool) -> (Function, FunctionMap) {
    let mut code = Code::new(takes_fuel);
    code.unless_empty(&[0, 1]);
    code.touch(0, true);
    code.touch(1, false);
    code.pay();
    code.emit(&[Instruction::LocalGet(0), Instruction::LocalGet(1), Instruction::LocalGet(2)]);
    code.emit(&[Instruction::MemoryCopy { src_mem: 0, dst_mem: 0 }, Instruction::End]);
    (code.function, code.map)
}

/// `init(destination, offset, length)` of a data segment of `size` bytes: that with the index `device` in the device module,
/// unless it is empty. `dropped` is the global that is not 0 once the segment is dropped.
pub fn init(size: u32, device: Option<u32>, dropped: Option<u32>, takes_fuel: bool) -> (Function, FunctionMap) {
    let mut code = Code::new(takes_fuel);
    if let Some(dropped) = dropped {
        // Of what was dropped, only the empty range at the start is left.
        code.emit(&[
            Instruction::GlobalGet(dropped),
            Instruction::If(BlockType::Empty),
            Instruction::LocalGet(OFFSET),
            Instruction::LocalGet(LENGTH),
            Instruction::I32Or,
            Instruction::If(BlockType::Empty),
        ]);
        code.fault();
        code.emit(&[Instruction::End, Instruction::End]);
    }
    code.emit(&[
        Instruction::LocalGet(LENGTH),
        Instruction::I32Const(size as i32),
        Instruction::I32GtU,
        Instruction::LocalGet(OFFSET),
        Instruction::I32Const(size as i32),
        Instruction::LocalGet(LENGTH),
        Instruction::I32Sub,
        Instruction::I32GtU,
        Instruction::I32Or,
        Instruction::If(BlockType::Empty),
    ]);
    code.fault();
    code.emit(&[Instruction::End]);
    code.unless_empty(&[0]);
    if let Some(data_index) = device {
        code.touch(0, true);
        code.pay();
        code.emit(&[Instruction::LocalGet(0), Instruction::LocalGet(OFFSET), Instruction::LocalGet(LENGTH)]);
        code.emit(&[Instruction::MemoryInit { mem: 0, data_index }]);
    }
    code.emit(&[Instruction::End]);
    (code.function, code.map)
}

/// `init` has the offset in the segment as parameter 1.
const OFFSET: u32 = 1;

/// All functions have the length as parameter 2, and two locals: the address touched, and the last one.
const LENGTH: u32 = 2;
const AT: u32 = 3;
const LAST: u32 = 4;

/// Touches what is always unmapped.
const FAULT: [Instruction<'_>; 3] = [
    Instruction::I32Const(-1),
    Instruction::I32Load8U(MemArg { offset: u32::MAX as u64, align: 0, memory_index: 0 }),
    Instruction::Drop,
];

struct Code {
    function: Function,
    map: FunctionMap,
    takes_fuel: bool,
}

impl Code {
    fn new(takes_fuel: bool) -> Code {
        Code { function: Function::new([(2, ValType::I32)]), map: FunctionMap::default(), takes_fuel }
    }

    /// Takes fuel for the whole length, which is known to be there.
    fn pay(&mut self) {
        if self.takes_fuel {
            self.map.takes_fuel(fuel::take_for_bytes(&mut self.function, LENGTH));
        }
    }

    fn emit(&mut self, instructions: &[Instruction<'_>]) {
        for instruction in instructions {
            self.function.instruction(instruction);
        }
    }

    /// Returns where there is nothing to do. Even then an address between linear memory and the buffers traps; among the
    /// buffers none does, since a buffer of size 0 has an address, too.
    fn unless_empty(&mut self, addresses: &[u32]) {
        self.emit(&[Instruction::LocalGet(LENGTH), Instruction::I32Eqz, Instruction::If(BlockType::Empty)]);
        for address in addresses {
            self.emit(&[
                // The end of memory is allowed: it is the byte before that must be there.
                Instruction::LocalGet(*address),
                Instruction::I32Const(1),
                Instruction::I32Sub,
                Instruction::I32Const(16),
                Instruction::I32ShrU,
                Instruction::GlobalGet(PAGES),
                Instruction::I32GeU,
                Instruction::LocalGet(*address),
                Instruction::GlobalGet(LOWEST),
                Instruction::I32LtU,
                Instruction::I32And,
                Instruction::LocalGet(*address),
                Instruction::I32Const(0),
                Instruction::I32Ne,
                Instruction::I32And,
                Instruction::If(BlockType::Empty),
            ]);
            self.fault();
            self.emit(&[Instruction::End]);
        }
        self.emit(&[Instruction::Return, Instruction::End]);
    }

    fn fault(&mut self) {
        self.emit(&FAULT);
    }

    /// Touches each page of `length` bytes, at least one, from the address in local `start` on.
    fn touch(&mut self, start: u32, for_writing: bool) {
        let at_once = MemArg { offset: 0, align: 0, memory_index: 0 };
        let at = Instruction::LocalGet(AT);
        // Atomic, so that a byte which another invocation writes at this moment is not lost.
        let write = [at.clone(), Instruction::I32Const(0), Instruction::I32AtomicRmw8OrU(at_once), Instruction::Drop];
        let read = [at, Instruction::I32Load8U(at_once), Instruction::Drop];
        let access = if for_writing { &write[..] } else { &read };
        touch(&mut self.function, start, Locals { length: LENGTH, at: AT, last: LAST }, access, &FAULT);
    }
}
