//! Squares of rows and columns of invocations, for kernels that read or write matrices column by column: see
//! [`wavelift_translator::lanes::Rows`].

use wasm_encoder::{BlockType, Function, Instruction as I, ValType};
use wavelift_translator::lanes::{Coordinate, Length, Rows};

use super::body::{HI, LO, next};
use super::kernel::Kernel;
use super::lanes::{address_of, are_apart};
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
    // To signed divisions no iteration's number is negative.
    if rows.coordinates.iter().any(|coordinate| coordinate.is_signed()) && arguments.get(2)? > &(1 << 31) {
        return None;
    }
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

/// The loops over the rows and columns of one square, whose invocations run one by one. They are a function of their own, with a few
/// parameters more than `run`: with the loops over all squares around them, Wasmtime kept some of their numbers in memory.
///
/// Its first id and its end are those of the square's first row.
pub struct Square {
    /// The first of its locals.
    local: u32,
    /// The first of its parameters: the length of a row, the id with which the square's first row begins, the number of that row, and
    /// how many rows there are.
    param: u32,
    length: Length,
    load: Option<u32>,
    coordinates: Vec<Coordinate>,
}

impl Square {
    /// How many locals it has, all of them `i32`.
    pub const LOCALS: u32 = 4;
    /// How many parameters it has that `run` has not.
    pub const PARAMS: u32 = 4;

    pub fn new(local: u32, param: u32, rows: &Rows) -> Square {
        Square { local, param, length: rows.length, load: rows.load, coordinates: rows.coordinates.clone() }
    }

    /// The local that holds the iteration's number.
    pub fn id(&self) -> u32 {
        self.local
    }

    /// Begins the loops over rows, and over the columns of one.
    pub fn begin(&self, code: &mut Function) {
        write(code, &[I::Loop(BlockType::Empty), I::LocalGet(LO), I::LocalSet(self.id()), I::Loop(BlockType::Empty)]);
    }

    /// Ends them.
    pub fn end(&self, code: &mut Function) {
        let [row, first, number, rows] = self.params();
        next(code, self.id(), HI);
        [LO, HI, first].iter().for_each(|id| add(code, *id, &I::LocalGet(row)));
        add(code, number, &I::I32Const(1));
        next_row(code, rows);
    }

    /// Whether something else stands in place of the operator at an offset of the guest's module.
    pub fn replaces(&self, offset: u32) -> bool {
        self.load == Some(offset) || self.coordinate(offset).is_some()
    }

    fn coordinate(&self, offset: u32) -> Option<Coordinate> {
        self.coordinates.iter().copied().find(|coordinate| coordinate.offset == offset)
    }

    /// Writes what stands in place of this operator. What it computes is the same whatever its operands are.
    pub fn write(&self, code: &mut Function, offset: u32, operator: &I<'_>) {
        match self.coordinate(offset) {
            Some(coordinate) => self.write_coordinate(code, coordinate, operator),
            None => self.write_load(code, operator),
        }
    }

    /// A load of the length of a row, which the host read before the launch, and which no invocation changes: with the buffer's
    /// address it is the parameter. The engine finds out that nearly all addresses are that one, and forgets what was loaded.
    fn write_load(&self, code: &mut Function, operator: &I<'_>) {
        let address = self.local + 1;
        match (operator, self.length) {
            (I::I32Load(place), Length::Word(buffer, offset)) if place.offset == offset.into() => {
                write(code, &[I::LocalSet(address), self.row(), I::LocalGet(address), operator.clone()]);
                write(code, &[I::LocalGet(address), I::LocalGet(address_of(buffer)), I::I32Eq, I::Select]);
            }
            _ => _ = code.instruction(operator),
        }
    }

    /// A division of the iteration's number by the length of a row, or its remainder; of other numbers, the operator.
    fn write_coordinate(&self, code: &mut Function, coordinate: Coordinate, operator: &I<'_>) {
        let (id, [_, first, number, _]) = (self.id(), self.params());
        let [dividend, divisor, is_this] = [1, 2, 3].map(|more| self.local + more);
        write(code, &[I::LocalSet(divisor), I::LocalSet(dividend)]);
        write(code, &[I::LocalGet(divisor), self.row(), I::I32Eq]);
        write(code, &[I::LocalGet(dividend), I::LocalGet(id), I::I32Eq, I::I32And, I::LocalSet(is_this)]);
        // Where the engine does not know what the divisor is, a branch spares the division.
        let is_known = self.load.is_some() || matches!(self.length, Length::Number(_));
        if !is_known {
            write(code, &[I::Block(BlockType::Result(ValType::I32))]);
        }
        match coordinate.is_column() {
            true => write(code, &[I::LocalGet(id), I::LocalGet(first), I::I32Sub]),
            false => write(code, &[I::LocalGet(number)]),
        }
        if is_known {
            // Else there is none: by 1 nothing is divided.
            write(
                code,
                &[I::LocalGet(dividend), I::I32Const(1), I::LocalGet(divisor), I::LocalGet(is_this), I::Select],
            );
            write(code, &[operator.clone(), I::LocalGet(is_this), I::Select]);
        } else {
            write(code, &[I::LocalGet(is_this), I::BrIf(0), I::Drop]);
            write(code, &[I::LocalGet(dividend), I::LocalGet(divisor), operator.clone(), I::End]);
        }
    }

    /// The length of a row.
    fn row(&self) -> I<'static> {
        match self.length {
            Length::Number(number) => I::I32Const(number as i32),
            Length::Word(..) => I::LocalGet(self.param),
        }
    }

    fn params(&self) -> [u32; 4] {
        std::array::from_fn(|number| self.param + number as u32)
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

/// A function with as many parameters as the function `run`, and the number of columns. It runs whole rows from the first id up to the
/// end, in squares, by the function `square`.
pub fn run_squares(params: u32, square: u32) -> Function {
    let (row, band) = (params, LO);
    let [column, first, width, height] = [1, 2, 3, 4].map(|more| params + more);
    let mut code = Function::new([(4, ValType::I32)]);
    // height = min(BAND, (hi - band) / row), column = 0
    write(&mut code, &[I::Loop(BlockType::Empty)]);
    write(&mut code, &[I::LocalGet(HI), I::LocalGet(band), I::I32Sub, I::LocalGet(row), I::I32DivU]);
    least(&mut code, BAND, height);
    write(&mut code, &[I::I32Const(0), I::LocalSet(column), I::Loop(BlockType::Empty)]);
    // width = min(BAND_COLUMNS, row - column)
    write(&mut code, &[I::LocalGet(row), I::LocalGet(column), I::I32Sub]);
    least(&mut code, BAND_COLUMNS, width);
    // square(first = band + column, first + width, …, row, band, band / row, height)
    write(&mut code, &[I::LocalGet(band), I::LocalGet(column), I::I32Add, I::LocalTee(first)]);
    write(&mut code, &[I::LocalGet(first), I::LocalGet(width), I::I32Add]);
    (2..params).for_each(|param| write(&mut code, &[I::LocalGet(param)]));
    write(&mut code, &[I::LocalGet(row), I::LocalGet(band), I::LocalGet(band), I::LocalGet(row), I::I32DivU]);
    write(&mut code, &[I::LocalGet(height), I::Call(square)]);
    next_columns(&mut code, column, width, row);
    write(&mut code, &[I::LocalGet(height), I::LocalGet(row), I::I32Mul, I::LocalGet(band), I::I32Add]);
    write(&mut code, &[I::LocalTee(band), I::LocalGet(HI), I::I32Ne, I::BrIf(0), I::End, I::End]);
    code
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
