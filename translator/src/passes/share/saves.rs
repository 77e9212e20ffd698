//! Functions that come to call themselves: the values of the caller that are used behind such a call lie on the private stack
//! meanwhile, in an array of one element for each level of recursion, and so do the functions' frames. Deeper recursion bails out.

use std::collections::{BTreeMap, BTreeSet};

use super::globals::RecursiveFrame;
use crate::error::TrapKind;
use crate::ir::builder::ListBuilder;
use crate::ir::operator::MemoryAccess;
use crate::ir::{Exit, Function, Op, Type, Value, WasmOp};
use crate::speculation::Assumption;

/// How deep recursion may be, powers of two: at least, and at most. Frames and elements of all levels are of the private stack, which
/// drivers set to zero first.
const LEVELS: (usize, usize) = (16, 128);
/// Bytes that elements are a multiple of.
const ALIGNMENT: u32 = 16;

/// What is known of a kernel's recursion.
#[derive(Debug)]
pub struct Saves {
    /// Calls, of a caller and a callee, in which the callee may come to call the caller.
    pub calls: BTreeSet<(u32, u32)>,
    /// The stack pointer.
    pub pointer: u32,
    /// The array ends so many bytes below the stack pointer.
    pub below: u32,
    /// The frames of functions that come to call themselves, by function.
    pub frames: BTreeMap<u32, RecursiveFrame>,
    /// How deep recursion may be.
    pub levels: u32,
}

/// How deep recursion may be of which so many calls of one function were seen to be in the midst of each other.
pub fn levels(seen: usize) -> u32 {
    let (least, most) = LEVELS;
    (seen + seen / 2 + 2).next_power_of_two().clamp(least, most) as u32
}

/// How a value comes back behind a recursive call.
#[derive(Clone, Copy, Debug)]
enum Held {
    /// From an element, with this distance from its start.
    Saved(u32),
    /// It is so far from where the frame begins of the part of this number.
    Derived(usize, u32),
}

/// The array, and what it holds.
#[derive(Debug)]
pub struct Array {
    pointer: u32,
    /// Where it begins, by bytes below the stack pointer.
    start: u32,
    /// Bytes of an element.
    stride: u32,
    /// How many there are.
    levels: u32,
    /// What carries the number of levels that are in use.
    pub level: Value,
    /// By the state that is behind a call.
    held: BTreeMap<u32, Vec<(Value, Held)>>,
    /// By the number of the part.
    frames: BTreeMap<usize, Frame>,
}

/// The frames of a function: one for each level.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The parameter that says where it begins.
    pub param: Value,
    /// Values at some distance from that, itself among them.
    pub derived: BTreeMap<Value, u32>,
    /// Where the first begins, by bytes below the stack pointer, and bytes of each.
    pub place: (u32, u32),
}

impl Array {
    /// `held` has the values by the state behind a call, and the caller's number.
    pub fn new(
        out: &Function,
        saves: &Saves,
        level: Value,
        held: BTreeMap<u32, (usize, Vec<Value>)>,
        frames: BTreeMap<usize, Frame>,
    ) -> Array {
        let bytes = |value: Value| out.ty(value).bits() / 8;
        let mut stride = ALIGNMENT;
        let mut placed = BTreeMap::new();
        for (state, (caller, mut values)) in held {
            // The largest first: each is aligned.
            values.sort_by_key(|value| (std::cmp::Reverse(bytes(*value)), *value));
            let mut end = 0;
            let place = |value: Value| match frames.get(&caller).and_then(|frame| frame.derived.get(&value)) {
                Some(distance) => (value, Held::Derived(caller, *distance)),
                None => {
                    end += bytes(value);
                    (value, Held::Saved(end - bytes(value)))
                }
            };
            placed.insert(state, values.into_iter().map(place).collect::<Vec<_>>());
            stride = stride.max(end.next_multiple_of(ALIGNMENT));
        }
        let Saves { pointer, below, levels, .. } = *saves;
        Array { pointer, start: below + stride * levels, stride, levels, level, held: placed, frames }
    }

    /// Whether a state is behind a recursive call.
    pub fn is_behind(&self, state: u32) -> bool {
        self.held.contains_key(&state)
    }

    /// The values that are saved for the state behind a call.
    pub fn saved(&self, state: u32) -> impl Iterator<Item = (Value, u32)> {
        self.held.get(&state).into_iter().flatten().filter_map(|(value, held)| match held {
            Held::Saved(offset) => Some((*value, *offset)),
            Held::Derived(..) => None,
        })
    }

    /// The address of a level's element, of elements of which the first begins so many bytes below the stack pointer.
    fn element(&self, out: &mut Function, list: &mut ListBuilder, level: Value, (below, stride): (u32, u32)) -> Value {
        let pointer = list.op(out, Op::GlobalGet(self.pointer), &[], Type::I32);
        let start = list.i32(out, below.wrapping_neg());
        let start = list.wasm(out, WasmOp::I32Add, &[pointer, start]);
        // Which it is in any case: so that its range is known.
        let mask = list.i32(out, self.levels - 1);
        let level = list.wasm(out, WasmOp::I32And, &[level, mask]);
        let stride = list.i32(out, stride);
        let distance = list.wasm(out, WasmOp::I32Mul, &[level, stride]);
        list.wasm(out, WasmOp::I32Add, &[start, distance])
    }

    /// Where the frame begins of the part of this number, and what carries that, if it has frames of its own.
    pub fn frame(
        &self,
        out: &mut Function,
        list: &mut ListBuilder,
        level: Value,
        part: usize,
    ) -> Option<(Value, Value)> {
        let Frame { param, place: (start, stride), .. } = self.frames.get(&part)?;
        // Frames are below where they begin.
        let lowest = start + stride * (self.levels - 1);
        Some((*param, self.element(out, list, level, (lowest, *stride))))
    }

    fn access(out: &Function, value: Value, offset: u32) -> MemoryAccess {
        let ty = out.ty(value);
        MemoryAccess { ty, bytes: ty.bits() / 8, signed: false, offset, memory: 0, checked: None }
    }

    /// Saves these values, at distances from the start of the level's element; gives the next level.
    pub fn save(
        &self,
        out: &mut Function,
        list: &mut ListBuilder,
        level: Value,
        values: impl IntoIterator<Item = (Value, u32)>,
    ) -> Value {
        let most = list.i32(out, self.levels - 1);
        let is_full = list.wasm(out, WasmOp::I32GeU, &[level, most]);
        list.exit_if(out, is_full, Exit::Trap(TrapKind::BailedOut(Assumption::Recursion)));
        let address = self.element(out, list, level, (self.start, self.stride));
        for (value, offset) in values {
            list.effect(Op::Store(Self::access(out, value, offset)), &[address, value]);
        }
        let one = list.i32(out, 1);
        list.wasm(out, WasmOp::I32Add, &[level, one])
    }

    /// The values that were saved, behind the call, with what carries them; the level before the call among them.
    pub fn restore(&self, out: &mut Function, list: &mut ListBuilder, level: Value, state: u32) -> Vec<(Value, Value)> {
        let one = list.i32(out, 1);
        let level = list.wasm(out, WasmOp::I32Sub, &[level, one]);
        let address = self.element(out, list, level, (self.start, self.stride));
        let mut restored = vec![(self.level, level)];
        for (value, held) in self.held.get(&state).into_iter().flatten() {
            let now = match held {
                Held::Saved(offset) => {
                    let access = Self::access(out, *value, *offset);
                    list.op(out, Op::Load(access), &[address], access.ty)
                }
                Held::Derived(part, distance) => {
                    let Some((_, frame)) = self.frame(out, list, level, *part) else { continue };
                    let distance = list.i32(out, *distance);
                    list.wasm(out, WasmOp::I32Add, &[frame, distance])
                }
            };
            restored.push((*value, now));
        }
        restored
    }
}
