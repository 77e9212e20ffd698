//! Atomic accesses: those of words are one operator each; those of parts of words are one on the word, or a loop that
//! exchanges the word until no other invocation has come in between. On the private stack they are loads and stores.
//!
//! In such a loop an invocation only tries again because another one succeeded, so that it ends however invocations are
//! scheduled, those of a subgroup in lockstep too.

use super::memory::{Address, Place, Space};
use super::{Flow, Lowerer};
use crate::analysis::roots::Root;
use crate::error::{Result, TrapKind};
use crate::ir::builder::ListBuilder;
use crate::ir::operator::MemoryAccess;
use crate::ir::{AtomicOp, Exit, Label, LowOp, Op, Region, RegionId, StmtKind, Type, Value};
use crate::options::Profile;

/// Bytes of a word.
const WORD: u32 = 4;

/// A part of a word of a slot.
struct Part {
    slot: u32,
    /// The word's index.
    index: Value,
    /// How far the part is from the word's low end, in bits.
    shift: Value,
    /// The part's bits, at the low end.
    ones: u32,
}

impl Lowerer<'_> {
    pub(super) fn atomic(
        &mut self,
        op: AtomicOp,
        access: MemoryAccess,
        address: Address,
        operands: &[Value],
        result: Option<Value>,
    ) -> Result<Flow> {
        self.check_memory(access)?;
        self.stores = op.stores();
        self.check_alignment(access, address);
        let mut act =
            |l: &mut Self, place| Ok(l.atomic_at(op, access, place, operands)?.into_iter().collect::<Vec<_>>());
        let values = match self.roots.root_of(address.original) {
            Root::Slot(slot) if op.stores() && !self.is_writable(slot) => {
                return Ok(Flow::Traps(TrapKind::OutOfBounds));
            }
            Root::Among(set) => match self.several(set, access, address, op.stores())? {
                Ok(places) => self.at_one_of(access, places, &mut act)?,
                Err(kind) => return Ok(Flow::Traps(kind)),
            },
            root => match self.place(root, access, address)? {
                Ok(place) => act(self, place)?,
                Err(kind) => return Ok(Flow::Traps(kind)),
            },
        };
        if let (Some(result), Some(value)) = (result, values.first()) {
            self.alias.insert(result, *value);
        }
        Ok(Flow::On)
    }

    /// Alignment goes before bounds. All spaces start at multiples of 16 bytes.
    fn check_alignment(&mut self, access: MemoryAccess, address: Address) {
        let known = self.alignment.trailing_zeros(address.original).min(access.offset.trailing_zeros());
        if known >= access.bytes.trailing_zeros() {
            return;
        }
        let at = self.plus_offset(access, address.value);
        let rest = self.op_with_int(LowOp::And, at, u64::from(access.bytes - 1));
        let unaligned = self.test_int(LowOp::Ne, rest, 0);
        self.trap_if(unaligned, TrapKind::UnalignedAtomic);
    }

    /// `atomic.fence`. On the way through naga it can't be had: what it makes of one is a barrier, at which a group's
    /// invocations wait for each other.
    pub(super) fn fence(&mut self) -> Result<()> {
        if self.options.profile == Profile::Portable {
            return Err(self.unsupported("`atomic.fence` in the portable profile, which has no fences"));
        }
        self.list.effect(Op::Low(LowOp::Fence), &[]);
        Ok(())
    }

    fn atomic_at(
        &mut self,
        op: AtomicOp,
        access: MemoryAccess,
        place: Place,
        operands: &[Value],
    ) -> Result<Option<Value>> {
        // What was checked is known.
        let zeros = place.zeros.max(access.bytes.trailing_zeros());
        let place = Place { zeros, ..place };
        let slot = match place.space {
            Space::Stack => return Ok(self.private(op, access, place, operands)),
            Space::Slot(slot) => slot,
        };
        let index = self.index(place);
        if access.bytes == 2 * WORD {
            self.check_doubles(op, access)?;
            return Ok(self.step(slot, op, Type::I64, index, operands));
        }
        let operands: Vec<Value> = operands.iter().map(|operand| self.low_word(*operand)).collect();
        let old = match access.bytes {
            WORD => self.step(slot, op, Type::I32, index, &operands),
            narrow => {
                let bytes = self.misalignment(place);
                let shift = self.shift_by(LowOp::Shl, bytes, 3);
                self.on_part(op, &Part { slot, index, shift, ones: u32::MAX >> (32 - 8 * narrow) }, &operands)
            }
        };
        Ok(match access.ty {
            Type::I64 => old.map(|old| self.low(LowOp::ExtendU, &[old], Type::I64)),
            _ => old,
        })
    }

    fn check_doubles(&self, op: AtomicOp, access: MemoryAccess) -> Result<()> {
        let wide = self.options.features.int64_atomics && !self.options.emulated().i64;
        if wide && self.options.profile == Profile::Vulkan {
            return Ok(());
        }
        let lacks = match self.options.profile {
            Profile::Vulkan if self.options.emulated().i64 => "the emulation of 64-bit integers",
            Profile::Vulkan => "this device",
            Profile::Portable => "the portable profile",
        };
        Err(self.unsupported(format!(
            "`{}`, for {lacks} has no 64-bit atomics (use 32-bit ones to run on the GPU)",
            op.text(&access)
        )))
    }

    fn low_word(&mut self, value: Value) -> Value {
        match self.function.ty(value) {
            Type::I64 => self.low(LowOp::Wrap, &[value], Type::I32),
            _ => value,
        }
    }

    /// One step on one word, or two.
    fn step(&mut self, slot: u32, op: AtomicOp, ty: Type, index: Value, operands: &[Value]) -> Option<Value> {
        let args: Vec<Value> = [index].iter().chain(operands).copied().collect();
        let low = LowOp::Atomic { slot, op, ty };
        if op.has_result() {
            return Some(self.low(low, &args, ty));
        }
        self.list.effect(Op::Low(low), &args);
        None
    }

    /// Nobody else sees the private stack.
    fn private(&mut self, op: AtomicOp, access: MemoryAccess, place: Place, operands: &[Value]) -> Option<Value> {
        if op == AtomicOp::Store {
            self.store_at(access, place, operands[0]);
            return None;
        }
        let old = self.load_at(access, place);
        if op.stores() {
            let ones = u64::MAX >> (64 - 8 * access.bytes);
            let new = self.changed(op, old, operands, ones);
            self.store_at(access, place, new);
        }
        Some(old)
    }

    /// What takes the place of `old`; bits beyond `ones` are anything.
    fn changed(&mut self, op: AtomicOp, old: Value, operands: &[Value], ones: u64) -> Value {
        let low = match op {
            AtomicOp::Load => return old,
            AtomicOp::Store | AtomicOp::Exchange => return operands[0],
            AtomicOp::CompareExchange => {
                let expected = self.op_with_int(LowOp::And, operands[0], ones);
                let equal = self.bool(LowOp::Eq, &[old, expected]);
                return self.select(equal, operands[1], old);
            }
            AtomicOp::Add => LowOp::IAdd,
            AtomicOp::Sub => LowOp::ISub,
            AtomicOp::And => LowOp::And,
            AtomicOp::Or => LowOp::Or,
            AtomicOp::Xor => LowOp::Xor,
        };
        self.same(low, &[old, operands[0]])
    }

    fn on_part(&mut self, op: AtomicOp, part: &Part, operands: &[Value]) -> Option<Value> {
        let word = match op {
            AtomicOp::Load => self.step(part.slot, op, Type::I32, part.index, &[]),
            AtomicOp::And => {
                let bits = self.in_place(part, operands[0]);
                let kept = self.beside(part);
                let bits = self.same(LowOp::Or, &[bits, kept]);
                self.step(part.slot, op, Type::I32, part.index, &[bits])
            }
            AtomicOp::Or | AtomicOp::Xor => {
                let bits = self.in_place(part, operands[0]);
                self.step(part.slot, op, Type::I32, part.index, &[bits])
            }
            _ => self.exchanged(op, part, operands),
        };
        word.filter(|_| op.has_result()).map(|word| self.taken_out(part, word))
    }

    /// A part's value at its place in the word, zeroes beside it.
    fn in_place(&mut self, part: &Part, value: Value) -> Value {
        let value = self.op_with_int(LowOp::And, value, part.ones.into());
        self.same(LowOp::Shl, &[value, part.shift])
    }

    /// The bits of the word beside a part.
    fn beside(&mut self, part: &Part) -> Value {
        let ones = self.int(Type::I32, part.ones.into());
        let mask = self.same(LowOp::Shl, &[ones, part.shift]);
        self.op_with_int(LowOp::Xor, mask, u32::MAX.into())
    }

    fn taken_out(&mut self, part: &Part, word: Value) -> Value {
        let value = self.same(LowOp::ShrU, &[word, part.shift]);
        self.op_with_int(LowOp::And, value, part.ones.into())
    }

    /// A loop that exchanges the word for one with the part changed; gives the word that it found.
    fn exchanged(&mut self, op: AtomicOp, part: &Part, operands: &[Value]) -> Option<Value> {
        let beside = self.beside(part);
        let first = self.step(part.slot, AtomicOp::Load, Type::I32, part.index, &[])?;
        let label = self.function.new_label();
        let found = self.function.new_value(Type::I32);
        let result = self.function.new_value(Type::I32);
        let inner = ListBuilder::new(self.list.at);
        let outer = std::mem::replace(&mut self.list, inner);
        let old = self.taken_out(part, found);
        if op == AtomicOp::CompareExchange {
            let expected = self.op_with_int(LowOp::And, operands[0], part.ones.into());
            let differs = self.bool(LowOp::Ne, &[old, expected]);
            self.break_if(differs, label, found);
        }
        let new = match op {
            AtomicOp::CompareExchange => operands[1],
            _ => self.changed(op, old, operands, part.ones.into()),
        };
        let new = self.in_place(part, new);
        let kept = self.same(LowOp::And, &[found, beside]);
        let new = self.same(LowOp::Or, &[kept, new]);
        let now = self.step(part.slot, AtomicOp::CompareExchange, Type::I32, part.index, &[found, new])?;
        let done = self.bool(LowOp::Eq, &[now, found]);
        self.break_if(done, label, found);
        let inner = std::mem::replace(&mut self.list, outer);
        let exit = Exit::Continue(label, vec![now]);
        let body = Region { params: vec![found], stmts: inner.stmts, exit, exit_at: self.list.at };
        let body = self.function.new_region(body);
        self.list.push(StmtKind::Loop { label, inits: vec![first], body, results: vec![result] });
        Some(result)
    }

    /// Leaves a loop with its result when the condition holds.
    fn break_if(&mut self, cond: Value, label: Label, result: Value) {
        let mut region = |exit: Exit| -> RegionId { ListBuilder::new(self.list.at).finish(&mut self.function, exit) };
        let then = region(Exit::Break(label, vec![result]));
        let otherwise = region(Exit::Yield(Vec::new()));
        self.list.push(StmtKind::If { cond, then, otherwise, results: Vec::new() });
    }
}
