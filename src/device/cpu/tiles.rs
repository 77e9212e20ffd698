//! Squares of rows and columns of invocations, for kernels that read or write matrices column by column: see
//! [`wavelift_translator::lanes::Rows`].

use wasm_encoder::{BlockType, Function, Instruction as I, ValType};
use wavelift_translator::lanes::Length;

use super::kernel::Kernel;
use super::lanes::are_apart;
use crate::device::BufferSpec;
use crate::memory::AddressSpace;

/// Columns that are taken at a time: where a row's length is a power of two their lines of memory have one place in a first
/// cache, which has room for eight. With 16 columns a transposition took twice as long.
const COLUMNS: u32 = 8;
/// Rows that are: fewest and most.
const ROWS: (u32, u32) = (16, 64);
/// Fewest columns for which that is worth it: all rows of fewer lie in the first cache.
const FEWEST: u32 = 128;
/// Most invocations of a chunk.
const MOST: u32 = 1 << 18;

/// Invocations of a row, where a launch with these arguments of `run` should be done in squares.
pub fn row(kernel: &Kernel, buffers: &[BufferSpec], space: &AddressSpace, arguments: &[u32]) -> Option<u32> {
    let rows = kernel.rows.as_ref().filter(|rows| are_apart(&rows.apart, arguments))?;
    // Groups begin at multiples of their size.
    let group = match &kernel.grouped {
        Some(grouped) if grouped.takes(arguments) => grouped.lanes,
        Some(_) => return None,
        None => 1,
    };
    let length = match rows.length {
        Length::Number(number) => number,
        Length::Word(buffer, offset) => {
            let buffer = buffers.get(buffer as usize)?;
            let mut word = [0; 4];
            if offset.checked_add(4)? > buffer.size {
                return None;
            }
            // Only the order of invocations depends on it.
            space.read(buffer.address + offset, &mut word).ok()?;
            u32::from_le_bytes(word)
        }
    };
    ((FEWEST..=MOST / ROWS.0).contains(&length) && length % group == 0).then_some(length)
}

/// Invocations of a chunk of whole squares.
pub fn chunk(row: u32) -> u32 {
    row * (MOST / row).clamp(ROWS.0, ROWS.1)
}

/// A function with as many parameters as the function `run`, which runs groups of so many invocations, and the number of columns.
/// It runs whole rows from the first id up to the end.
pub fn run_tiles(params: u32, run: u32, group: u32) -> Function {
    let row = params;
    let columns = COLUMNS.next_multiple_of(group) as i32;
    let [column, at, rows, width] = [1, 2, 3, 4].map(|more| params + more);
    let mut code = Function::new([(4, ValType::I32)]);
    code.instruction(&I::Loop(BlockType::Empty));
    // width = min(columns, row - column), at = first + column, rows = (end - first) / row
    for instruction in [
        I::I32Const(columns),
        I::LocalGet(row),
        I::LocalGet(column),
        I::I32Sub,
        I::LocalTee(width),
        I::I32Const(columns),
        I::LocalGet(width),
        I::I32LtU,
        I::Select,
        I::LocalSet(width),
        I::LocalGet(0),
        I::LocalGet(column),
        I::I32Add,
        I::LocalSet(at),
        I::LocalGet(1),
        I::LocalGet(0),
        I::I32Sub,
        I::LocalGet(row),
        I::I32DivU,
        I::LocalSet(rows),
        I::Loop(BlockType::Empty),
        I::LocalGet(at),
        I::LocalGet(at),
        I::LocalGet(width),
        I::I32Add,
    ] {
        code.instruction(&instruction);
    }
    (2..params).for_each(|param| _ = code.instruction(&I::LocalGet(param)));
    for instruction in [
        I::Call(run),
        I::LocalGet(at),
        I::LocalGet(row),
        I::I32Add,
        I::LocalSet(at),
        I::LocalGet(rows),
        I::I32Const(1),
        I::I32Sub,
        I::LocalTee(rows),
        I::BrIf(0),
        I::End,
        I::LocalGet(column),
        I::LocalGet(width),
        I::I32Add,
        I::LocalTee(column),
        I::LocalGet(row),
        I::I32LtU,
        I::BrIf(0),
        I::End,
        I::End,
    ] {
        code.instruction(&instruction);
    }
    code
}
