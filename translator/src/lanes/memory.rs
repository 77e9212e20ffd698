//! Loads and stores of a group.

use wasm_encoder::{Instruction, MemArg, ValType};

use super::shapes::Shape;
use super::vectors::{Emitter, Mask};
use crate::ir::operator::MemoryAccess;
use crate::ir::{Type, Value};

/// Below the first and the last 64 KiB of addresses nothing is ever mapped: an access that begins so little below 2^32 that a
/// later one would wrap around traps itself.
const UNMAPPED: u64 = 1 << 16;

impl Emitter<'_> {
    /// A load from an address.
    pub fn load(&mut self, access: &MemoryAccess, address: Value, result: Value) -> Result<(), String> {
        if !self.shapes.of(result).is_vector() {
            self.push_first(address);
            self.code.emit(&load(access)?);
            let local = self.local_of(result);
            self.code.set(local);
            return Ok(());
        }
        load(access)?;
        for quad in self.fours.clone() {
            match self.mask {
                None => self.load_four(access, address, result, quad),
                Some(mask) => {
                    self.if_all(mask, quad, |emitter| emitter.load_four(access, address, result, quad));
                    self.load_some(access, address, result, quad, mask);
                    self.code.close();
                }
            }
        }
        Ok(())
    }

    /// What is done where all four run; what is written next is for the others, and then a block is to be closed.
    fn if_all(&mut self, mask: Mask, quad: u32, then: impl FnOnce(&mut Self)) {
        self.code.get(mask.first + quad);
        self.code.emit(&Instruction::I32x4AllTrue);
        self.code.open_if();
        then(self);
        self.code.otherwise();
    }

    fn load_four(&mut self, access: &MemoryAccess, address: Value, result: Value, quad: u32) {
        let size = if self.is_wide(result) { 8 } else { 4 };
        match self.shapes.of(address) {
            Shape::Affine { stride, .. } if stride == access.bytes => {
                let first = self.local_of(result);
                let parts = size / 4;
                for part in 0..parts {
                    let more = 4 * quad * stride + part * (4 / parts) * stride;
                    self.push_first(address);
                    self.load_beside(access, size, more);
                    self.code.set(first + quad * parts + part);
                }
            }
            // Every second word. The second vector begins so early that it ends with the last word.
            Shape::Affine { stride: 8, .. } if access.bytes == 4 && size == 4 => {
                let first = self.local_of(result) + quad;
                for more in [32 * quad, 32 * quad + 12] {
                    self.push_first(address);
                    self.code.emit(&Instruction::V128Load(argument(access, more)));
                }
                self.code.emit(&Instruction::I8x16Shuffle([0, 1, 2, 3, 8, 9, 10, 11, 20, 21, 22, 23, 28, 29, 30, 31]));
                self.code.set(first);
            }
            _ => {
                if access.bytes < size {
                    self.clear_four(result, quad);
                }
                for lane in 4 * quad..4 * quad + 4 {
                    self.load_lane(access, address, result, lane);
                }
            }
        }
    }

    /// Makes four elements zero, so that nothing of the last round is taken along.
    fn clear_four(&mut self, result: Value, quad: u32) {
        let parts = if self.is_wide(result) { 2 } else { 1 };
        let first = self.local_of(result) + parts * quad;
        for part in 0..parts {
            self.code.emit(&Instruction::V128Const(0));
            self.code.set(first + part);
        }
    }

    /// Pops an address and loads the elements from there on that fill a vector.
    fn load_beside(&mut self, access: &MemoryAccess, size: u32, more: u32) {
        use Instruction as I;
        let at = argument(access, more);
        match (access.bytes, size) {
            (4, 4) | (8, 8) => self.code.emit(&I::V128Load(at)),
            (1, 4) => {
                self.code.emit(&I::V128Load32Zero(at));
                self.code.emit_all(&match access.signed {
                    true => [I::I16x8ExtendLowI8x16S, I::I32x4ExtendLowI16x8S],
                    false => [I::I16x8ExtendLowI8x16U, I::I32x4ExtendLowI16x8U],
                });
            }
            (2, 4) => self.code.emit(&if access.signed { I::V128Load16x4S(at) } else { I::V128Load16x4U(at) }),
            (4, 8) => self.code.emit(&if access.signed { I::V128Load32x2S(at) } else { I::V128Load32x2U(at) }),
            (bytes, _) => {
                // Two narrow ones, to 64 bits.
                let pair = self.scratch(ValType::I32, 0);
                self.code.set(pair);
                self.code.emit(&I::V128Const(0));
                for lane in 0..2 {
                    self.code.get(pair);
                    self.code.emit(&narrow_load_64(access, more + lane * bytes));
                    self.code.emit(&I::I64x2ReplaceLane(lane as u8));
                }
            }
        }
    }

    /// Those that run, one after the other; the elements of the others become zero.
    fn load_some(&mut self, access: &MemoryAccess, address: Value, result: Value, quad: u32, mask: Mask) {
        self.clear_four(result, quad);
        for lane in 4 * quad..4 * quad + 4 {
            self.push_runs(mask, lane);
            self.code.open_if();
            self.load_lane(access, address, result, lane);
            self.code.close();
        }
    }

    /// Pushes the address of one invocation but for what is given, which the access adds.
    fn push_address(&mut self, address: Value, lane: u32) -> u32 {
        match self.shapes.of(address) {
            Shape::Affine { stride, .. } if u64::from(stride) * u64::from(self.lanes) < UNMAPPED => {
                self.push_first(address);
                stride * lane
            }
            _ => {
                self.push_lane(address, lane);
                0
            }
        }
    }

    fn load_lane(&mut self, access: &MemoryAccess, address: Value, result: Value, lane: u32) {
        let wide = self.is_wide(result);
        let per = if wide { 2 } else { 4 };
        let local = self.local_of(result) + lane / per;
        let index = (lane % per) as u8;
        if access.bytes < if wide { 8 } else { 4 } {
            self.replace(result, lane, |emitter| {
                let more = emitter.push_address(address, lane);
                let load = narrow_load(access, more, wide);
                emitter.code.emit(&load);
            });
            return;
        }
        let more = self.push_address(address, lane);
        let at = argument(access, more);
        if index == 0 && self.mask.is_none() {
            self.code.emit(&if wide { Instruction::V128Load64Zero(at) } else { Instruction::V128Load32Zero(at) });
        } else {
            self.code.get(local);
            self.code.emit(&match wide {
                true => Instruction::V128Load64Lane { memarg: at, lane: index },
                false => Instruction::V128Load32Lane { memarg: at, lane: index },
            });
        }
        self.code.set(local);
    }

    /// A store to an address.
    pub fn store(&mut self, access: &MemoryAccess, address: Value, value: Value) -> Result<(), String> {
        let instruction = store(access, 0)?;
        let shape = self.shapes.of(address);
        if shape.is_uniform() && (self.shapes.of(value).is_uniform() || self.mask.is_none()) {
            // The last one's stays.
            self.push_first(address);
            self.push_lane(value, self.lanes - 1);
            self.code.emit(&instruction);
            return Ok(());
        }
        for quad in self.fours.clone() {
            match self.mask {
                None => self.store_four(access, address, value, quad)?,
                Some(mask) => {
                    if matches!(shape, Shape::Affine { stride, .. } if stride == access.bytes) {
                        self.code.get(mask.first + quad);
                        self.code.emit(&Instruction::I32x4AllTrue);
                        self.code.open_if();
                        self.store_four(access, address, value, quad)?;
                        self.code.otherwise();
                        self.store_some(access, address, value, quad, mask)?;
                        self.code.close();
                    } else {
                        self.store_some(access, address, value, quad, mask)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Two stores to words beside each other, at an address that is 8 more for each invocation. The first access has the lower
    /// offset.
    pub fn store_pairs(
        &mut self,
        accesses: [&MemoryAccess; 2],
        address: Value,
        values: [Value; 2],
    ) -> Result<(), String> {
        for quad in self.fours.clone() {
            if let Some(mask) = self.mask {
                self.code.get(mask.first + quad);
                self.code.emit(&Instruction::I32x4AllTrue);
                self.code.open_if();
            }
            for (half, words) in [INTERLEAVED_LOW, INTERLEAVED_HIGH].into_iter().enumerate() {
                self.push_first(address);
                values.iter().for_each(|value| self.push(*value, quad));
                let at = argument(accesses[0], 32 * quad + 16 * half as u32);
                self.code.emit_all(&[Instruction::I8x16Shuffle(words), Instruction::V128Store(at)]);
            }
            if let Some(mask) = self.mask {
                self.code.otherwise();
                for (access, value) in accesses.into_iter().zip(values) {
                    self.store_some(access, address, value, quad, mask)?;
                }
                self.code.close();
            }
        }
        Ok(())
    }

    fn store_some(
        &mut self,
        access: &MemoryAccess,
        address: Value,
        value: Value,
        quad: u32,
        mask: Mask,
    ) -> Result<(), String> {
        for lane in 4 * quad..4 * quad + 4 {
            self.push_runs(mask, lane);
            self.code.open_if();
            self.store_lane(access, address, value, lane)?;
            self.code.close();
        }
        Ok(())
    }

    fn store_lane(&mut self, access: &MemoryAccess, address: Value, value: Value, lane: u32) -> Result<(), String> {
        let more = self.push_address(address, lane);
        let wide = self.is_wide(value);
        let whole = access.bytes == if wide { 8 } else { 4 };
        if whole && self.shapes.of(value) == Shape::Varying {
            let per = if wide { 2 } else { 4 };
            let local = self.local_of(value) + lane / per;
            self.code.get(local);
            let (at, lane) = (argument(access, more), (lane % per) as u8);
            self.code.emit(&match wide {
                true => Instruction::V128Store64Lane { memarg: at, lane },
                false => Instruction::V128Store32Lane { memarg: at, lane },
            });
            return Ok(());
        }
        self.push_lane(value, lane);
        self.code.emit(&store(access, more)?);
        Ok(())
    }

    fn store_four(&mut self, access: &MemoryAccess, address: Value, value: Value, quad: u32) -> Result<(), String> {
        let size = if self.is_wide(value) { 8 } else { 4 };
        let beside = matches!(self.shapes.of(address), Shape::Affine { stride, .. } if stride == access.bytes);
        if !beside || (size == 8 && access.bytes < 8) {
            for lane in 4 * quad..4 * quad + 4 {
                self.store_lane(access, address, value, lane)?;
            }
            return Ok(());
        }
        let parts = size / 4;
        for part in 0..parts {
            self.push_first(address);
            self.push(value, quad * parts + part);
            let more = 4 * quad * access.bytes + 16 * part;
            let at = argument(access, more);
            match access.bytes {
                1 => self.code.emit_all(&[
                    Instruction::V128Const(0),
                    Instruction::I8x16Shuffle([0, 4, 8, 12, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16]),
                    Instruction::V128Store32Lane { memarg: at, lane: 0 },
                ]),
                2 => self.code.emit_all(&[
                    Instruction::V128Const(0),
                    Instruction::I8x16Shuffle([0, 1, 4, 5, 8, 9, 12, 13, 16, 16, 16, 16, 16, 16, 16, 16]),
                    Instruction::V128Store64Lane { memarg: at, lane: 0 },
                ]),
                _ => self.code.emit(&Instruction::V128Store(at)),
            }
        }
        Ok(())
    }
}

/// The low words of two vectors in turns.
const INTERLEAVED_LOW: [u8; 16] = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23];
/// The high words.
const INTERLEAVED_HIGH: [u8; 16] = [8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31];

fn argument(access: &MemoryAccess, more: u32) -> MemArg {
    MemArg { offset: u64::from(access.offset) + u64::from(more), align: 0, memory_index: 0 }
}

/// The load of a number.
pub fn load(access: &MemoryAccess) -> Result<Instruction<'static>, String> {
    use Instruction as I;
    let at = argument(access, 0);
    Ok(match (access.ty, access.bytes) {
        (Type::I32, 4) => I::I32Load(at),
        (Type::I64, 8) => I::I64Load(at),
        (Type::F32, 4) => I::F32Load(at),
        (Type::F64, 8) => I::F64Load(at),
        (Type::I32, 1 | 2) => narrow_load(access, 0, false),
        (Type::I64, 1 | 2 | 4) => narrow_load(access, 0, true),
        _ => return Err(format!("It loads {} bytes as {:?}.", access.bytes, access.ty)),
    })
}

fn narrow_load(access: &MemoryAccess, more: u32, wide: bool) -> Instruction<'static> {
    use Instruction as I;
    if wide {
        return narrow_load_64(access, more);
    }
    let at = argument(access, more);
    match (access.bytes, access.signed) {
        (1, true) => I::I32Load8S(at),
        (1, false) => I::I32Load8U(at),
        (_, true) => I::I32Load16S(at),
        (_, false) => I::I32Load16U(at),
    }
}

fn narrow_load_64(access: &MemoryAccess, more: u32) -> Instruction<'static> {
    use Instruction as I;
    let at = argument(access, more);
    match (access.bytes, access.signed) {
        (1, true) => I::I64Load8S(at),
        (1, false) => I::I64Load8U(at),
        (2, true) => I::I64Load16S(at),
        (2, false) => I::I64Load16U(at),
        (_, true) => I::I64Load32S(at),
        (_, false) => I::I64Load32U(at),
    }
}

/// The store of a number, so many bytes further.
pub fn store(access: &MemoryAccess, more: u32) -> Result<Instruction<'static>, String> {
    use Instruction as I;
    let at = argument(access, more);
    Ok(match (access.ty, access.bytes) {
        (Type::I32, 4) => I::I32Store(at),
        (Type::I32, 1) => I::I32Store8(at),
        (Type::I32, 2) => I::I32Store16(at),
        (Type::I64, 8) => I::I64Store(at),
        (Type::I64, 1) => I::I64Store8(at),
        (Type::I64, 2) => I::I64Store16(at),
        (Type::I64, 4) => I::I64Store32(at),
        (Type::F32, 4) => I::F32Store(at),
        (Type::F64, 8) => I::F64Store(at),
        _ => return Err(format!("It stores {} bytes as {:?}.", access.bytes, access.ty)),
    })
}
