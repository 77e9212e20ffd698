//! Offsets as sums: a value and a constant.

use super::alignment::{Alignment, alignment};
use super::dataflow;
use crate::ir::{Const, Function, LowOp, Value};

/// What the passes on memory accesses ask of values.
#[derive(Debug)]
pub struct Offsets {
    alignment: Alignment,
    constants: Vec<Option<Const>>,
    /// The operator and operands of each value that one with two defines.
    defs: Vec<Option<(LowOp, [Value; 2])>>,
    /// Each value as another plus a constant.
    sums: Vec<(Value, u32)>,
}

impl Offsets {
    /// Finds them in lowered code. Values that are made later are unknown.
    pub fn new(function: &Function) -> Self {
        let mut offsets = Offsets {
            alignment: alignment(function),
            constants: dataflow::constants(function),
            defs: dataflow::binary_operators(function),
            sums: (0..function.values.len() as u32).map(|value| (Value(value), 0)).collect(),
        };
        // A region comes before those below it, so a value's operands come before it.
        for id in dataflow::regions(function) {
            for result in function.region(id).stmts.iter().flat_map(|stmt| stmt.kind.results()) {
                if let Some((LowOp::IAdd, [a, b])) = offsets.def(*result)
                    && let Some(more) = offsets.constant(b)
                {
                    let (base, offset) = offsets.sums[a.index()];
                    offsets.sums[result.index()] = (base, offset.wrapping_add(more));
                }
            }
        }
        offsets
    }

    /// The `i32` constant that a value is.
    pub fn constant(&self, value: Value) -> Option<u32> {
        match self.constants.get(value.index()) {
            Some(Some(Const::I32(value))) => Some(*value),
            _ => None,
        }
    }

    /// The operator of two operands that defines a value.
    pub fn def(&self, value: Value) -> Option<(LowOp, [Value; 2])> {
        self.defs.get(value.index()).copied().flatten()
    }

    /// A value as another plus a constant, modulo 2^32.
    pub fn sum(&self, value: Value) -> (Value, u32) {
        self.sums.get(value.index()).copied().unwrap_or((value, 0))
    }

    /// Number of low bits of a value that are zero.
    pub fn trailing_zeros(&self, value: Value) -> u32 {
        self.alignment.trailing_zeros(value)
    }
}
