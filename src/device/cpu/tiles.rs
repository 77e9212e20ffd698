//! Squares of rows and columns of invocations, for kernels that read or write matrices column by column: see
//! [`wavelift_translator::lanes::Rows`].

use wasm_encoder::{BlockType, Function, Instruction as I, ValType};
use wavelift_translator::lanes::{Coordinate, Length};

use super::body::{HI, LO, next};
use super::kernel::Kernel;
use super::lanes::are_apart;
use crate::device::BufferSpec;
use crate::memory::AddressSpace;

/// Columns that are taken at a time: where a row's length is a power of two their lines of memory have one place in a first
/// cache, which has room for eight. With 16 columns a transposition took twice as long.
const COLUMNS: u32 = 8;
/// Rows that are: fewest and most.
const ROWS: (u32, u32) = (16, 64);
/// Columns and rows that are taken at a time one by one: a transposition of rows of a power of two was fastest so, as the lines of
/// memory of so many rows have one place in the first cache, too.
const BAND_COLUMNS: u32 = 4;
const BAND: u32 = 16;
/// Fewest columns for which that is worth it: all rows of fewer lie in the first cache.
const FEWEST: u32 = 128;
/// Most invocations of a chunk.
const MOST: u32 = 1 << 18;

/// Invocations of a row, where a launch with these arguments of `run` should be done in squares.
pub fn row(kernel: &Kernel, buffers: &[BufferSpec], space: &AddressSpace, arguments: &[u32]) -> Option<u32> {
    let rows = kernel.rows.as_ref().filter(|rows| are_apart(&rows.apart, arguments))?;
    // Groups begin at multiples of their size.
    let group = match &kernel.grouped {
        _ if rows.one_by_one => 1,
        Some(grouped) if grouped.takes(arguments) => grouped.lanes,
        _ => return None,
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

/// The loops over squares of rows and columns of invocations that run one by one, in a function with one parameter more than `run`, the
/// length of a row.
pub struct Square {
    /// The first of its locals.
    local: u32,
    /// The parameter that is the length of a row.
    row: u32,
    coordinates: Vec<Coordinate>,
}

impl Square {
    /// How many locals it has, all of them `i32`.
    pub const LOCALS: u32 = 11;

    pub fn new(local: u32, row: u32, coordinates: &[Coordinate]) -> Square {
        Square { local, row, coordinates: coordinates.to_vec() }
    }

    /// The local that holds the iteration's number.
    pub fn id(&self) -> u32 {
        self.local
    }

    /// What the operator at an offset of the guest's module computes, if it is one of these.
    pub fn coordinate(&self, offset: u32) -> Option<Coordinate> {
        self.coordinates.iter().copied().find(|coordinate| coordinate.offset == offset)
    }

    /// Begins the loops over bands of rows, columns at a time, rows, and these columns. Whole rows lie between the first iteration
    /// and the last.
    pub fn begin(&self, code: &mut Function) {
        let [id, end, number, first, rows, column, width, band, height] = self.locals();
        let row = self.row;
        // height = min(BAND, (hi - band) / row), column = 0
        write(code, &[I::LocalGet(LO), I::LocalSet(band), I::Loop(BlockType::Empty)]);
        write(code, &[I::LocalGet(HI), I::LocalGet(band), I::I32Sub, I::LocalGet(row), I::I32DivU]);
        least(code, BAND, height);
        write(code, &[I::I32Const(0), I::LocalSet(column), I::Loop(BlockType::Empty)]);
        // width = min(BAND_COLUMNS, row - column), first = band, number = band / row, rows = height
        write(code, &[I::LocalGet(row), I::LocalGet(column), I::I32Sub]);
        least(code, BAND_COLUMNS, width);
        write(code, &[I::LocalGet(band), I::LocalTee(first), I::LocalGet(row), I::I32DivU, I::LocalSet(number)]);
        write(code, &[I::LocalGet(height), I::LocalSet(rows), I::Loop(BlockType::Empty)]);
        // id = first + column, end = id + width
        write(code, &[I::LocalGet(first), I::LocalGet(column), I::I32Add, I::LocalTee(id)]);
        write(code, &[I::LocalGet(width), I::I32Add, I::LocalSet(end), I::Loop(BlockType::Empty)]);
    }

    /// Ends them.
    pub fn end(&self, code: &mut Function) {
        let [id, end, number, first, rows, column, width, band, _] = self.locals();
        next(code, id, end);
        add(code, first, &I::LocalGet(self.row));
        add(code, number, &I::I32Const(1));
        next_row(code, rows);
        next_columns(code, column, width, self.row);
        write(code, &[I::LocalGet(first), I::LocalTee(band), I::LocalGet(HI), I::I32Ne, I::BrIf(0), I::End]);
    }

    /// What stands in place of an operator that divides the iteration's number by the length of a row, which the host read before the
    /// launch: if the kernel finds another length, the operator.
    pub fn write(&self, code: &mut Function, coordinate: Coordinate, operator: &I<'_>) {
        let [id, _, number, first, ..] = self.locals();
        let [dividend, divisor] = [self.local + 9, self.local + 10];
        write(code, &[I::LocalSet(divisor), I::LocalSet(dividend), I::Block(BlockType::Result(ValType::I32))]);
        match coordinate.is_column() {
            true => write(code, &[I::LocalGet(id), I::LocalGet(first), I::I32Sub]),
            false => write(code, &[I::LocalGet(number)]),
        }
        write(code, &[I::LocalGet(divisor), I::LocalGet(self.row), I::I32Eq]);
        write(code, &[I::LocalGet(dividend), I::LocalGet(id), I::I32Eq, I::I32And]);
        if coordinate.is_signed() {
            // A row's length is a small number.
            write(code, &[I::LocalGet(id), I::I32Const(0), I::I32GeS, I::I32And]);
        }
        write(code, &[I::BrIf(0), I::Drop, I::LocalGet(dividend), I::LocalGet(divisor), operator.clone(), I::End]);
    }

    fn locals(&self) -> [u32; 9] {
        std::array::from_fn(|number| self.local + number as u32)
    }
}

fn write(code: &mut Function, instructions: &[I<'_>]) {
    instructions.iter().for_each(|instruction| _ = code.instruction(instruction));
}

/// Sets a local to the lesser one of a number and what is on the stack.
fn least(code: &mut Function, most: u32, result: u32) {
    let most = I::I32Const(most as i32);
    let lesser = [I::LocalTee(result), most.clone(), I::LocalGet(result), most, I::I32LtU, I::Select];
    write(code, &lesser);
    write(code, &[I::LocalSet(result)]);
}

fn add(code: &mut Function, local: u32, more: &I<'_>) {
    write(code, &[I::LocalGet(local), more.clone(), I::I32Add, I::LocalSet(local)]);
}

/// The end of a loop over so many rows.
fn next_row(code: &mut Function, rows: u32) {
    write(code, &[I::LocalGet(rows), I::I32Const(1), I::I32Sub, I::LocalTee(rows), I::BrIf(0), I::End]);
}

/// The end of a loop over columns up to the length of a row, so many at a time.
fn next_columns(code: &mut Function, column: u32, width: u32, row: u32) {
    write(code, &[I::LocalGet(column), I::LocalGet(width), I::I32Add, I::LocalTee(column)]);
    write(code, &[I::LocalGet(row), I::I32LtU, I::BrIf(0), I::End]);
}

/// A function with as many parameters as the function `run`, which runs groups of so many invocations, and the number of columns.
/// It runs whole rows from the first id up to the end.
pub fn run_tiles(params: u32, run: u32, group: u32) -> Function {
    let row = params;
    let columns = COLUMNS.next_multiple_of(group);
    let [column, at, rows, width] = [1, 2, 3, 4].map(|more| params + more);
    let mut code = Function::new([(4, ValType::I32)]);
    // width = min(columns, row - column), at = first + column, rows = (end - first) / row
    write(&mut code, &[I::Loop(BlockType::Empty), I::LocalGet(row), I::LocalGet(column), I::I32Sub]);
    least(&mut code, columns, width);
    write(&mut code, &[I::LocalGet(LO), I::LocalGet(column), I::I32Add, I::LocalSet(at)]);
    write(&mut code, &[I::LocalGet(HI), I::LocalGet(LO), I::I32Sub, I::LocalGet(row), I::I32DivU, I::LocalSet(rows)]);
    write(&mut code, &[I::Loop(BlockType::Empty), I::LocalGet(at), I::LocalGet(at), I::LocalGet(width), I::I32Add]);
    (2..params).for_each(|param| write(&mut code, &[I::LocalGet(param)]));
    write(&mut code, &[I::Call(run)]);
    add(&mut code, at, &I::LocalGet(row));
    next_row(&mut code, rows);
    next_columns(&mut code, column, width, row);
    write(&mut code, &[I::End]);
    code
}
