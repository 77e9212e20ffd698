//! Values of a group in locals, and the instructions that bring them to the stack in the form that is wanted.

use std::ops::Range;

use wasm_encoder::{Instruction, ValType};

use super::Host;
use super::code::{Code, Place};
use super::shapes::{Shape, Shapes};
use super::tallies::Tallies;
use crate::ir::{Const, Function, Type, Value};

/// Which invocations run: an `i32x4` local for each four of them, all ones for those that do. The locals stand side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    /// The first local.
    pub first: u32,
}

/// Writes the code of a group.
pub struct Emitter<'a> {
    pub function: &'a Function,
    pub shapes: &'a Shapes,
    pub tallies: &'a Tallies,
    pub host: &'a Host<'a>,
    pub code: Code,
    /// Invocations of a group.
    pub lanes: u32,
    /// The first of each value's locals.
    locals: Vec<Option<u32>>,
    /// Those that run, if not all do. There is at least one wherever code stands that could tell.
    pub mask: Option<Mask>,
    /// The fours of invocations that code is written for at present: all, or one after the other.
    pub fours: Range<u32>,
    /// Where a group is left to the form for one invocation; nothing was stored before.
    pub one_by_one: Place,
    /// The local that holds the fuel.
    pub fuel: Option<u32>,
    /// Locals for what is needed for a moment, by type.
    scratch: Vec<(ValType, u32)>,
}

impl<'a> Emitter<'a> {
    /// Nothing is written; `locals` are those of the first values, the parameters.
    pub fn new(
        function: &'a Function,
        shapes: &'a Shapes,
        tallies: &'a Tallies,
        host: &'a Host<'a>,
        lanes: u32,
        code: Code,
        one_by_one: Place,
    ) -> Emitter<'a> {
        let locals = vec![None; function.values.len()];
        Emitter {
            function,
            shapes,
            tallies,
            host,
            code,
            lanes,
            locals,
            mask: None,
            fours: 0..lanes / 4,
            one_by_one,
            fuel: None,
            scratch: Vec::new(),
        }
    }

    /// Says which local a parameter is.
    pub fn bind(&mut self, value: Value, local: u32) {
        self.locals[value.index()] = Some(local);
    }

    /// Vectors of 32-bit lanes in a group.
    pub fn quads(&self) -> u32 {
        self.lanes / 4
    }

    /// Whether a value has 64 bits.
    pub fn is_wide(&self, value: Value) -> bool {
        self.function.ty(value).bits() == 64
    }

    /// How many locals a value takes.
    pub fn parts(&self, value: Value) -> u32 {
        match self.shapes.of(value) {
            shape if !shape.is_vector() => 1,
            _ if self.is_wide(value) => 2 * self.quads(),
            _ => self.quads(),
        }
    }

    /// Those of a value's vectors that code is written for at present; the one local of what is no vector.
    pub fn present_parts(&self, value: Value) -> Range<u32> {
        match self.shapes.of(value) {
            shape if !shape.is_vector() => 0..1,
            _ if self.is_wide(value) => 2 * self.fours.start..2 * self.fours.end,
            _ => self.fours.clone(),
        }
    }

    /// The invocations that code is written for at present.
    pub fn present_lanes(&self) -> Range<u32> {
        4 * self.fours.start..4 * self.fours.end
    }

    /// The first local of a value.
    pub fn local_of(&mut self, value: Value) -> u32 {
        if let Some(local) = self.locals[value.index()] {
            return local;
        }
        let local = self.new_locals(value);
        self.locals[value.index()] = Some(local);
        local
    }

    /// More locals like those of a value; gives the first.
    pub fn new_locals(&mut self, like: Value) -> u32 {
        let vector = self.shapes.of(like).is_vector();
        let ty = if vector { ValType::V128 } else { val_type(self.function.ty(like)) };
        let count = self.parts(like);
        self.code.locals(ty, count)
    }

    /// A local for what is needed for a moment; several of one type are told apart by `number`.
    pub fn scratch(&mut self, ty: ValType, number: usize) -> u32 {
        let found = self.scratch.iter().filter(|(known, _)| *known == ty).nth(number);
        if let Some((_, local)) = found {
            return *local;
        }
        loop {
            let local = self.code.local(ty);
            self.scratch.push((ty, local));
            if self.scratch.iter().filter(|(known, _)| *known == ty).count() > number {
                return local;
            }
        }
    }

    /// New locals for a mask.
    pub fn new_mask(&mut self) -> Mask {
        let quads = self.quads();
        Mask { first: self.code.locals(ValType::V128, quads) }
    }

    /// Pushes the number that a value is for the first invocation.
    pub fn push_first(&mut self, value: Value) {
        match self.shapes.constants[value.index()] {
            Some(constant) => self.code.emit(&number(constant)),
            None => {
                let local = self.local_of(value);
                self.code.get(local);
            }
        }
    }

    /// Pushes the number that a value is for one invocation.
    pub fn push_lane(&mut self, value: Value, lane: u32) {
        match self.shapes.of(value) {
            Shape::Unreached | Shape::Flag | Shape::Uniform => self.push_first(value),
            Shape::Affine { stride, .. } => {
                self.push_first(value);
                if lane > 0 {
                    self.code.i32(stride.wrapping_mul(lane));
                    self.code.emit(&Instruction::I32Add);
                }
            }
            Shape::Mask => {
                let local = self.local_of(value) + lane / 4;
                self.code.get(local);
                self.code.emit(&Instruction::I32x4ExtractLane((lane % 4) as u8));
                self.code.i32(1);
                self.code.emit(&Instruction::I32And);
            }
            Shape::Varying => {
                let wide = self.is_wide(value);
                let per = if wide { 2 } else { 4 };
                let local = self.local_of(value) + lane / per;
                self.code.get(local);
                self.code.emit(&extract(self.function.ty(value), (lane % per) as u8));
            }
        }
    }

    /// Pushes a vector of a value's elements: four, or two of 64 bits.
    pub fn push(&mut self, value: Value, part: u32) {
        if let Some(constant) = self.shapes.constants[value.index()] {
            self.code.emit(&Instruction::V128Const(splat(constant) as i128));
            return;
        }
        let ty = self.function.ty(value);
        match self.shapes.of(value) {
            Shape::Unreached | Shape::Flag | Shape::Uniform => {
                self.push_first(value);
                self.code.emit(&splat_of(ty));
            }
            Shape::Affine { stride, .. } => {
                self.push_first(value);
                self.code.emit(&Instruction::I32x4Splat);
                let lane = |index: u32| u128::from(stride.wrapping_mul(4 * part + index)) << (32 * index);
                self.code.emit(&Instruction::V128Const((0..4).map(lane).sum::<u128>() as i128));
                self.code.emit(&Instruction::I32x4Add);
            }
            Shape::Mask => {
                let local = self.local_of(value) + part;
                self.code.get(local);
                self.code.i32(31);
                self.code.emit(&Instruction::I32x4ShrU);
            }
            Shape::Varying => {
                let local = self.local_of(value) + part;
                self.code.get(local);
            }
        }
    }

    /// Pushes all ones for those of four invocations for which a value is not zero.
    pub fn push_condition(&mut self, value: Value, part: u32) {
        match (self.shapes.constants[value.index()], self.shapes.of(value)) {
            (Some(constant), _) => {
                let holds = !matches!(constant, Const::I32(0));
                self.code.emit(&Instruction::V128Const(if holds { -1 } else { 0 }));
            }
            (None, Shape::Mask) => {
                let local = self.local_of(value) + part;
                self.code.get(local);
            }
            (None, Shape::Unreached | Shape::Flag | Shape::Uniform) => {
                self.push_first(value);
                // 0 or 1 the other way round, less one.
                self.code.emit(&Instruction::I32Eqz);
                self.code.i32(1);
                self.code.emit_all(&[Instruction::I32Sub, Instruction::I32x4Splat]);
            }
            (None, Shape::Affine { .. } | Shape::Varying) => {
                self.push(value, part);
                self.code.emit_all(&[Instruction::V128Const(0), Instruction::I32x4Ne]);
            }
        }
    }

    /// Pushes a part of a value as it is kept in the locals of `like`.
    pub fn push_as(&mut self, value: Value, like: Value, part: u32) {
        match self.shapes.of(like) {
            Shape::Mask => self.push_condition(value, part),
            Shape::Varying => self.push(value, part),
            _ => self.push_first(value),
        }
    }

    /// Makes 64-bit lanes of two of the four on the stack: of the low ones for an even part.
    pub fn widen_mask(&mut self, part: u32) {
        self.code.emit(match part % 2 {
            0 => &Instruction::I64x2ExtendLowI32x4S,
            _ => &Instruction::I64x2ExtendHighI32x4S,
        });
    }

    /// Pushes the part of a mask that goes with a part of a value.
    pub fn push_mask_for(&mut self, mask: Mask, value: Value, part: u32) {
        match self.is_wide(value) {
            true => {
                self.code.get(mask.first + part / 2);
                self.widen_mask(part);
            }
            false => self.code.get(mask.first + part),
        }
    }

    /// Pushes whether any invocation of a mask runs.
    pub fn push_any(&mut self, mask: Mask) {
        self.code.get(mask.first);
        for quad in 1..self.quads() {
            self.code.get(mask.first + quad);
            self.code.emit(&Instruction::V128Or);
        }
        self.code.emit(&Instruction::V128AnyTrue);
    }

    /// Pushes whether one invocation of a mask runs.
    pub fn push_runs(&mut self, mask: Mask, lane: u32) {
        self.code.get(mask.first + lane / 4);
        self.code.emit(&Instruction::I32x4ExtractLane((lane % 4) as u8));
    }

    /// Pops a condition: where it does not hold, the group is left to the form for one invocation.
    pub fn demand(&mut self) {
        self.code.emit(&Instruction::I32Eqz);
        self.code.branch_if(self.one_by_one);
    }

    /// Replaces one element of a result. `scalar` pushes what it becomes.
    pub fn replace(&mut self, result: Value, lane: u32, scalar: impl FnOnce(&mut Self)) {
        let ty = self.function.ty(result);
        let per = if self.is_wide(result) { 2 } else { 4 };
        let local = self.local_of(result) + lane / per;
        self.code.get(local);
        scalar(self);
        self.code.emit(&replace(ty, (lane % per) as u8));
        self.code.set(local);
    }

    /// Sets a result's elements to zero, so that nothing of the last round is taken along.
    pub fn clear(&mut self, result: Value) {
        let first = self.local_of(result);
        for part in self.present_parts(result) {
            self.code.emit(&Instruction::V128Const(0));
            self.code.set(first + part);
        }
    }
}

/// The type of a number.
pub fn val_type(ty: Type) -> ValType {
    match ty {
        Type::I32 | Type::Bool => ValType::I32,
        Type::I64 => ValType::I64,
        Type::F32 => ValType::F32,
        Type::F64 => ValType::F64,
        Type::V128 => ValType::V128,
    }
}

fn number(constant: Const) -> Instruction<'static> {
    match constant {
        Const::I32(value) => Instruction::I32Const(value as i32),
        Const::I64(value) => Instruction::I64Const(value as i64),
        Const::F32(bits) => Instruction::F32Const(wasm_encoder::Ieee32::new(bits)),
        Const::F64(bits) => Instruction::F64Const(wasm_encoder::Ieee64::new(bits)),
        Const::V128(bits) => Instruction::V128Const(u128::from(bits) as i128),
        Const::Bool(value) => Instruction::I32Const(value.into()),
    }
}

fn splat(constant: Const) -> u128 {
    const WORDS: u128 = 1 << 96 | 1 << 64 | 1 << 32 | 1;
    const PAIRS: u128 = 1 << 64 | 1;
    match constant {
        Const::I32(bits) | Const::F32(bits) => u128::from(bits) * WORDS,
        Const::I64(bits) | Const::F64(bits) => u128::from(bits) * PAIRS,
        Const::V128(bits) => bits.into(),
        Const::Bool(value) => u128::from(value) * WORDS,
    }
}

fn splat_of(ty: Type) -> Instruction<'static> {
    match ty {
        Type::I64 => Instruction::I64x2Splat,
        Type::F32 => Instruction::F32x4Splat,
        Type::F64 => Instruction::F64x2Splat,
        Type::I32 | Type::Bool | Type::V128 => Instruction::I32x4Splat,
    }
}

fn extract(ty: Type, lane: u8) -> Instruction<'static> {
    match ty {
        Type::I64 => Instruction::I64x2ExtractLane(lane),
        Type::F32 => Instruction::F32x4ExtractLane(lane),
        Type::F64 => Instruction::F64x2ExtractLane(lane),
        Type::I32 | Type::Bool | Type::V128 => Instruction::I32x4ExtractLane(lane),
    }
}

fn replace(ty: Type, lane: u8) -> Instruction<'static> {
    match ty {
        Type::I64 => Instruction::I64x2ReplaceLane(lane),
        Type::F32 => Instruction::F32x4ReplaceLane(lane),
        Type::F64 => Instruction::F64x2ReplaceLane(lane),
        Type::I32 | Type::Bool | Type::V128 => Instruction::I32x4ReplaceLane(lane),
    }
}
