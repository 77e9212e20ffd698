//! Vector operators. Loads and stores that do something with lanes besides are two or three operators here.

use wasmparser::{MemArg, Operator};

use super::{Lifter, memory, names};
use crate::error::Result;
use crate::ir::{Lane, Op, Type, VectorOp};

/// The bytes of the first vector's low half twice.
const LOW_TWICE: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7];
/// The first vector's low half instead of the second's low half.
const LOW_REPLACED: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31];
/// The first vector's low half instead of the second's high half.
const HIGH_REPLACED: [u8; 16] = [16, 17, 18, 19, 20, 21, 22, 23, 0, 1, 2, 3, 4, 5, 6, 7];
/// The first vector's high half twice.
const HIGH_TWICE: [u8; 16] = [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15];

impl Lifter<'_> {
    /// Lifts a vector operator; false if it is none that can be lifted.
    pub(super) fn vector_operator(&mut self, op: &Operator<'_>) -> Result<bool> {
        if !names::is_vector(op) {
            return Ok(false);
        }
        if let Some(op) = numbered(op).or_else(|| VectorOp::from_text(&names::operator_name(op))) {
            self.vector(op)?;
            return Ok(true);
        }
        self.vector_access(op)
    }

    fn vector(&mut self, op: VectorOp) -> Result<()> {
        let args = self.pop_many(op.params().len())?;
        let result = self.list.op(&mut self.function, Op::Vector(op), &args, op.result());
        self.stack.push(result);
        Ok(())
    }

    fn vector_access(&mut self, op: &Operator<'_>) -> Result<bool> {
        use Operator as O;
        let extend = |from, signed| VectorOp::Extend { from, high: false, signed };
        match op {
            O::V128Load8x8S { memarg } => self.load_then(memarg, 8, extend(Lane::I8, true))?,
            O::V128Load8x8U { memarg } => self.load_then(memarg, 8, extend(Lane::I8, false))?,
            O::V128Load16x4S { memarg } => self.load_then(memarg, 8, extend(Lane::I16, true))?,
            O::V128Load16x4U { memarg } => self.load_then(memarg, 8, extend(Lane::I16, false))?,
            O::V128Load32x2S { memarg } => self.load_then(memarg, 8, extend(Lane::I32, true))?,
            O::V128Load32x2U { memarg } => self.load_then(memarg, 8, extend(Lane::I32, false))?,
            O::V128Load8Splat { memarg } => self.load_then(memarg, 1, VectorOp::Splat(Lane::I8))?,
            O::V128Load16Splat { memarg } => self.load_then(memarg, 2, VectorOp::Splat(Lane::I16))?,
            O::V128Load32Splat { memarg } => self.load_then(memarg, 4, VectorOp::Splat(Lane::I32))?,
            O::V128Load64Splat { memarg } => {
                self.load(Type::V128, memarg, 8)?;
                self.stack.extend(self.stack.last().copied());
                self.vector(VectorOp::Shuffle(LOW_TWICE))?;
            }
            O::V128Load8Lane { memarg, lane } => self.load_lane(memarg, Lane::I8, *lane)?,
            O::V128Load16Lane { memarg, lane } => self.load_lane(memarg, Lane::I16, *lane)?,
            O::V128Load32Lane { memarg, lane } => self.load_lane(memarg, Lane::I32, *lane)?,
            O::V128Load64Lane { memarg, lane } => self.load_lane(memarg, Lane::I64, *lane)?,
            O::V128Store8Lane { memarg, lane } => self.store_lane(memarg, Lane::I8, *lane)?,
            O::V128Store16Lane { memarg, lane } => self.store_lane(memarg, Lane::I16, *lane)?,
            O::V128Store32Lane { memarg, lane } => self.store_lane(memarg, Lane::I32, *lane)?,
            O::V128Store64Lane { memarg, lane } => self.store_lane(memarg, Lane::I64, *lane)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn load(&mut self, ty: Type, memarg: &MemArg, bytes: u32) -> Result<()> {
        self.memory_access(Op::Load(memory::of(ty, bytes, false, memarg)))
    }

    /// Loads what the operator takes.
    fn load_then(&mut self, memarg: &MemArg, bytes: u32, op: VectorOp) -> Result<()> {
        self.load(op.params()[0], memarg, bytes)?;
        self.vector(op)
    }

    /// The vector is on top of the stack, below it the address. Lanes of 64 bits are moved as halves of vectors: not
    /// every device has such integers.
    fn load_lane(&mut self, memarg: &MemArg, lane: Lane, index: u8) -> Result<()> {
        let vector = self.pop()?;
        if lane == Lane::I64 {
            self.load(Type::V128, memarg, 8)?;
            self.stack.push(vector);
            return self.vector(VectorOp::Shuffle(if index == 0 { LOW_REPLACED } else { HIGH_REPLACED }));
        }
        self.load(Type::I32, memarg, lane.bits() / 8)?;
        let value = self.pop()?;
        self.stack.extend([vector, value]);
        self.vector(VectorOp::ReplaceLane { lane, index })
    }

    fn store_lane(&mut self, memarg: &MemArg, lane: Lane, index: u8) -> Result<()> {
        let ty = match (lane, index) {
            (Lane::I64, 0) => Type::V128,
            (Lane::I64, _) => {
                self.stack.extend(self.stack.last().copied());
                self.vector(VectorOp::Shuffle(HIGH_TWICE))?;
                Type::V128
            }
            _ => {
                self.vector(VectorOp::ExtractLane { lane, index, signed: false })?;
                Type::I32
            }
        };
        self.memory_access(Op::Store(memory::of(ty, lane.bits() / 8, false, memarg)))
    }
}

/// The operators that name lanes by number.
fn numbered(op: &Operator<'_>) -> Option<VectorOp> {
    use Operator as O;
    let extract = |lane, index: &u8, signed| Some(VectorOp::ExtractLane { lane, index: *index, signed });
    let replace = |lane, index: &u8| Some(VectorOp::ReplaceLane { lane, index: *index });
    match op {
        O::I8x16Shuffle { lanes } => Some(VectorOp::Shuffle(*lanes)),
        O::I8x16ExtractLaneS { lane } => extract(Lane::I8, lane, true),
        O::I8x16ExtractLaneU { lane } => extract(Lane::I8, lane, false),
        O::I16x8ExtractLaneS { lane } => extract(Lane::I16, lane, true),
        O::I16x8ExtractLaneU { lane } => extract(Lane::I16, lane, false),
        O::I32x4ExtractLane { lane } => extract(Lane::I32, lane, false),
        O::I64x2ExtractLane { lane } => extract(Lane::I64, lane, false),
        O::F32x4ExtractLane { lane } => extract(Lane::F32, lane, false),
        O::F64x2ExtractLane { lane } => extract(Lane::F64, lane, false),
        O::I8x16ReplaceLane { lane } => replace(Lane::I8, lane),
        O::I16x8ReplaceLane { lane } => replace(Lane::I16, lane),
        O::I32x4ReplaceLane { lane } => replace(Lane::I32, lane),
        O::I64x2ReplaceLane { lane } => replace(Lane::I64, lane),
        O::F32x4ReplaceLane { lane } => replace(Lane::F32, lane),
        O::F64x2ReplaceLane { lane } => replace(Lane::F64, lane),
        _ => None,
    }
}
