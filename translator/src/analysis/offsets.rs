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
}

impl Offsets {
    /// Finds them in lowered code. Values that are made later are unknown.
    pub fn new(function: &Function) -> Self {
        Offsets {
            alignment: alignment(function),
            constants: dataflow::constants(function),
            defs: dataflow::binary_operators(function),
        }
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
        let (mut base, mut offset) = (value, 0u32);
        while let Some((LowOp::IAdd, [a, b])) = self.def(base)
            && let Some(more) = self.constant(b)
        {
            (base, offset) = (a, offset.wrapping_add(more));
        }
        (base, offset)
    }

    /// Number of low bits of a value that are zero.
    pub fn trailing_zeros(&self, value: Value) -> u32 {
        self.alignment.trailing_zeros(value)
    }
}
