//! Kernels that go through matrices row by row in one place and column by column in another, as transpositions do.
//!
//! Invocations with neighbouring ids then touch a line of memory each, which those of the next row touch again, long after the
//! caches have lost it. A host that takes a square of rows and columns at a time has each line fetched once. What is found here
//! is how long a row is, for a host that may take invocations in any order.

use crate::analysis::dataflow::{self, regions};
use crate::error::Location;
use crate::ir::{Const, Function, Op, StmtKind, Type, Value, WasmOp};

/// Where the number of columns stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// In the kernel.
    Number(u32),
    /// In a buffer of the launch, by its place in the list and the offset in bytes.
    Word(u32, u32),
}

/// How much an address grows from one column, or row, to the next: `a + b * length`, modulo 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slope {
    Line(u32, u32),
    /// By something else.
    Other,
}

const FLAT: Slope = Slope::Line(0, 0);

impl Slope {
    fn plus(self, other: Slope, factor: u32) -> Slope {
        match (self, other) {
            (Slope::Line(a, b), Slope::Line(c, d)) => {
                Slope::Line(a.wrapping_add(c.wrapping_mul(factor)), b.wrapping_add(d.wrapping_mul(factor)))
            }
            _ => Slope::Other,
        }
    }

    fn times_length(self) -> Slope {
        match self {
            Slope::Line(a, 0) => Slope::Line(0, a),
            _ => Slope::Other,
        }
    }

    /// Whether neighbours are in other lines of memory, if rows are long.
    fn is_far(self) -> bool {
        match self {
            Slope::Line(a, 0) => (a as i32).unsigned_abs() >= FAR,
            Slope::Line(..) => true,
            Slope::Other => false,
        }
    }

    /// Whether several neighbours are in one line.
    fn is_near(self) -> bool {
        matches!(self, Slope::Line(a, 0) if a != 0 && (a as i32).unsigned_abs() <= NEAR)
    }
}

/// Bytes of a line of memory, and of a quarter of one.
const FAR: u32 = 64;
const NEAR: u32 = 16;

/// An operator of the kernel's own code that gives an invocation's row, or its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coordinate {
    /// Its byte offset in the module.
    pub offset: u32,
    /// A division, or its remainder.
    pub(super) op: WasmOp,
}

impl Coordinate {
    /// Whether it gives the column.
    pub fn is_column(self) -> bool {
        matches!(self.op, WasmOp::I32RemU | WasmOp::I32RemS)
    }

    /// Whether it takes its operands for signed.
    pub fn is_signed(self) -> bool {
        matches!(self.op, WasmOp::I32DivS | WasmOp::I32RemS)
    }
}

/// A kernel that reads or writes somewhere column by column.
pub struct Grids {
    /// Invocations of a row.
    pub length: Length,
    /// The byte offset in the module of the operator of the kernel's own code that loads it.
    pub load: Option<u32>,
    /// Where the kernel's rows and columns are computed.
    pub coordinates: Vec<Coordinate>,
}

/// Finds out whether the kernel is one.
pub fn rows(function: &Function) -> Option<Grids> {
    let constants = dataflow::constants(function);
    let id = *function.params.first()?;
    let mut lengths = Vec::new();
    for stmt in regions(function).into_iter().flat_map(|region| &function.region(region).stmts) {
        if let StmtKind::Op { op: Op::Wasm(WasmOp::I32DivU | WasmOp::I32DivS), args, .. } = &stmt.kind
            && args[0] == id
            && !lengths.contains(&args[1])
        {
            lengths.push(args[1]);
        }
    }
    lengths.into_iter().find_map(|length| {
        let grid = Grid { function, constants: &constants, id, length };
        let (length, at) = grid.rows()?;
        let is_own = matches!(length, Length::Word(..)) && at.function == function.index;
        Some(Grids { length, load: is_own.then_some(at.offset), coordinates: grid.coordinates() })
    })
}

/// Ids as places in a grid with rows of a length.
struct Grid<'a> {
    function: &'a Function,
    constants: &'a [Option<Const>],
    id: Value,
    length: Value,
}

impl Grid<'_> {
    /// The length of a row, and where that is computed.
    fn rows(&self) -> Option<(Length, Location)> {
        // From column to column, and from row to row. What comes from several places is taken for something else.
        let mut slopes = vec![(Slope::Other, Slope::Other); self.function.values.len()];
        self.function.params.iter().for_each(|param| slopes[param.index()] = (FLAT, FLAT));
        slopes[self.id.index()] = (Slope::Line(1, 0), Slope::Line(0, 1));
        let (mut found, mut length) = (false, None);
        for stmt in regions(self.function).into_iter().flat_map(|region| &self.function.region(region).stmts) {
            let StmtKind::Op { op, args, result } = &stmt.kind else { continue };
            if op.memory_access().is_some() {
                let (column, row) = slopes[args[0].index()];
                found |= column.is_far() && row.is_near();
            }
            let Some(result) = result else { continue };
            if *result == self.length {
                length = self.length(op, args).map(|length| (length, stmt.at));
            }
            slopes[result.index()] = self.slope(op, args, &slopes);
        }
        length.filter(|_| found)
    }

    fn coordinates(&self) -> Vec<Coordinate> {
        let stmts = regions(self.function).into_iter().flat_map(|region| &self.function.region(region).stmts);
        let coordinates = stmts.filter_map(|stmt| {
            let StmtKind::Op { op: Op::Wasm(op), args, .. } = &stmt.kind else { return None };
            let divides = matches!(op, WasmOp::I32DivU | WasmOp::I32DivS | WasmOp::I32RemU | WasmOp::I32RemS);
            let is_own = args[..] == [self.id, self.length] && stmt.at.function == self.function.index;
            (divides && is_own).then_some(Coordinate { offset: stmt.at.offset, op: *op })
        });
        coordinates.collect()
    }

    fn length(&self, op: &Op, args: &[Value]) -> Option<Length> {
        match op {
            Op::Const(Const::I32(number)) => Some(Length::Number(*number)),
            Op::Load(access) if access.bytes == 4 && access.ty == Type::I32 => {
                let param = self.function.params.iter().position(|param| *param == args[0])?;
                // Behind the id, the number of invocations and the block size there are addresses and lengths.
                let buffer = param.checked_sub(3).filter(|at| at % 2 == 0)? / 2;
                Some(Length::Word(buffer as u32, access.offset))
            }
            _ => None,
        }
    }

    fn slope(&self, op: &Op, args: &[Value], slopes: &[(Slope, Slope)]) -> (Slope, Slope) {
        let of = |at: usize| slopes[args[at].index()];
        let flat = args.iter().all(|arg| slopes[arg.index()] == (FLAT, FLAT));
        let sum = |factor| {
            let ((a, b), (c, d)) = (of(0), of(1));
            (a.plus(c, factor), b.plus(d, factor))
        };
        let scaled = |at: usize, factor: u32| (FLAT.plus(of(at).0, factor), FLAT.plus(of(at).1, factor));
        let constant = |at: usize| match self.constants[args[at].index()] {
            Some(Const::I32(number)) => Some(number),
            _ => None,
        };
        let is_grid = args.len() == 2 && args[0] == self.id && args[1] == self.length;
        match op {
            Op::Wasm(WasmOp::I32DivU | WasmOp::I32DivS) if is_grid => (FLAT, Slope::Line(1, 0)),
            Op::Wasm(WasmOp::I32RemU | WasmOp::I32RemS) if is_grid => (Slope::Line(1, 0), FLAT),
            _ if flat && !matches!(op, Op::Atomic(..)) => (FLAT, FLAT),
            Op::Wasm(WasmOp::I32Add) => sum(1),
            Op::Wasm(WasmOp::I32Sub) => sum(u32::MAX),
            Op::Wasm(WasmOp::I32Mul) if args[1] == self.length => (of(0).0.times_length(), of(0).1.times_length()),
            Op::Wasm(WasmOp::I32Mul) if args[0] == self.length => (of(1).0.times_length(), of(1).1.times_length()),
            Op::Wasm(WasmOp::I32Mul) if let Some(factor) = constant(1) => scaled(0, factor),
            Op::Wasm(WasmOp::I32Mul) if let Some(factor) = constant(0) => scaled(1, factor),
            Op::Wasm(WasmOp::I32Shl) if let Some(amount) = constant(1) => scaled(0, 1 << (amount % 32)),
            _ => (Slope::Other, Slope::Other),
        }
    }
}
