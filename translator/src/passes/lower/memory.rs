//! Loads and stores: bounds checks, then words of the buffer's binding.

use super::{Flow, Lowerer, Once};
use crate::analysis::roots::Root;
use crate::error::{Result, TrapKind};
use crate::ir::operator::MemoryAccess;
use crate::ir::{LowOp, Type, Value};
use crate::options::immediate;

/// A checked place in a buffer.
#[derive(Clone, Copy)]
struct Place {
    slot: u32,
    /// Offset in the buffer in bytes, `I32`.
    offset: Value,
    /// Low bits of the offset that are known to be zero.
    zeros: u32,
}

/// The address of an access, relative to its root.
#[derive(Clone, Copy)]
pub(super) struct Address {
    /// The value that the analyses know.
    pub(super) original: Value,
    /// What stands for it now.
    pub(super) value: Value,
}

/// Buffers lie above the first page of the address space, so an effective address that wraps around with an offset
/// below this is beyond every buffer when it is counted from the buffer's start.
const SAFE_OFFSET: u32 = 0x1_0000;

impl Lowerer<'_> {
    pub(super) fn load(&mut self, access: MemoryAccess, address: Address, result: Option<Value>) -> Result<Flow> {
        let place = match self.place(access, address)? {
            Ok(place) => place,
            Err(kind) => return Ok(Flow::Traps(kind)),
        };
        let value = match access.bytes {
            8 => {
                let (low, high) = self.load_double(place);
                self.low(LowOp::Pack64, &[low, high], Type::I64)
            }
            4 => self.load_word(place),
            narrow => {
                let word = self.load_narrow(place, narrow);
                let dropped = 32 - 8 * u64::from(narrow);
                match access.signed {
                    true => self.sign_extend(word, dropped),
                    false => self.op_with_int(LowOp::And, word, u64::from(u32::MAX >> dropped)),
                }
            }
        };
        let value = match (access.ty, access.bytes) {
            (Type::F32 | Type::F64, _) => self.low(LowOp::Bitcast(access.ty), &[value], access.ty),
            (Type::I64, 1..=4) => {
                self.low(if access.signed { LowOp::ExtendS } else { LowOp::ExtendU }, &[value], Type::I64)
            }
            _ => value,
        };
        if let Some(result) = result {
            self.alias.insert(result, value);
        }
        Ok(Flow::On)
    }

    pub(super) fn store(&mut self, access: MemoryAccess, address: Address, value: Value) -> Result<Flow> {
        if let Root::Slot(slot) = self.roots.root_of(address.original)
            && self.shape.buffers.iter().any(|b| b.slot == slot && !b.access.is_writable())
        {
            return Ok(Flow::Traps(TrapKind::OutOfBounds));
        }
        if access.bytes < 4 {
            return Err(self.unsupported(format!("`{}.store{}`", type_text(access.ty), 8 * access.bytes)));
        }
        let place = match self.place(access, address)? {
            Ok(place) => place,
            Err(kind) => return Ok(Flow::Traps(kind)),
        };
        if place.zeros < 2 {
            return Err(self.unsupported("a store whose alignment can't be proved"));
        }
        let bits = if access.ty.is_float() { self.bits(value) } else { value };
        let index = self.op_with_int(LowOp::ShrU, place.offset, 2);
        let store = LowOp::StoreWord { slot: place.slot };
        match (access.ty.bits(), access.bytes) {
            (64, 8) => {
                let (low, high) = self.halves(bits);
                let next = self.op_with_int(LowOp::IAdd, index, 1);
                self.effect(store, &[index, low]);
                self.effect(store, &[next, high]);
            }
            (64, _) => {
                let low = self.low(LowOp::Wrap, &[bits], Type::I32);
                self.effect(store, &[index, low]);
            }
            _ => self.effect(store, &[index, bits]),
        }
        Ok(Flow::On)
    }

    fn effect(&mut self, op: LowOp, args: &[Value]) {
        self.list.effect(crate::ir::Op::Low(op), args);
    }

    /// Resolves an address and checks it; or the trap that is certain.
    fn place(&mut self, access: MemoryAccess, address: Address) -> Result<Result<Place, TrapKind>> {
        if access.memory != 0 {
            return Err(self.unsupported(format!("an access to memory {}", access.memory)));
        }
        let slot = match self.roots.root_of(address.original) {
            Root::Slot(slot) => slot,
            Root::LinearMemory => return Err(self.unsupported("an access to linear memory")),
            Root::Unknown => return Err(self.unsupported("a pointer that could be in one of several places")),
            Root::Unreached => return Ok(Err(TrapKind::Unreachable)),
        };
        if access.offset >= SAFE_OFFSET {
            let start = self.once(Once::Immediate(immediate::SLOTS + 2 * slot));
            let absolute = self.same(LowOp::IAdd, &[address.value, start]);
            let last = self.int(Type::I32, u64::from(u32::MAX - access.offset));
            let wraps = self.bool(LowOp::ULt, &[last, absolute]);
            self.trap_if(wraps, TrapKind::OutOfBounds);
        }
        let offset = match access.offset {
            0 => address.value,
            offset => self.op_with_int(LowOp::IAdd, address.value, u64::from(offset)),
        };
        let limit = self.once(Once::Limit { slot, bytes: access.bytes });
        let beyond = self.bool(LowOp::ULe, &[limit, offset]);
        self.trap_if(beyond, TrapKind::OutOfBounds);
        let zeros = self.alignment.trailing_zeros(address.original).min(access.offset.trailing_zeros());
        Ok(Ok(Place { slot, offset, zeros }))
    }

    /// The word that holds the byte at an offset.
    fn word_at(&mut self, place: Place) -> (Value, Value) {
        let index = self.op_with_int(LowOp::ShrU, place.offset, 2);
        (index, self.low(LowOp::LoadWord { slot: place.slot }, &[index], Type::I32))
    }

    fn word_after(&mut self, place: Place, index: Value, words: u64) -> Value {
        let index = self.op_with_int(LowOp::IAdd, index, words);
        self.low(LowOp::LoadWord { slot: place.slot }, &[index], Type::I32)
    }

    /// How far the bytes at an offset are from the low end of their word, in bytes.
    fn misalignment(&mut self, place: Place) -> Value {
        self.op_with_int(LowOp::And, place.offset, 3)
    }

    fn load_word(&mut self, place: Place) -> Value {
        let (index, word) = self.word_at(place);
        if place.zeros >= 2 {
            return word;
        }
        let bytes = self.misalignment(place);
        let crosses = self.test_int(LowOp::Ne, bytes, 0);
        let shift = self.shift_by(LowOp::Shl, bytes, 3);
        self.branch(
            crosses,
            |l| {
                let next = l.word_after(place, index, 1);
                vec![l.funnel(word, next, shift)]
            },
            |_| vec![word],
        )[0]
    }

    /// Low and high word of 8 bytes.
    fn load_double(&mut self, place: Place) -> (Value, Value) {
        let (index, low) = self.word_at(place);
        let high = self.word_after(place, index, 1);
        if place.zeros >= 2 {
            return (low, high);
        }
        let bytes = self.misalignment(place);
        let crosses = self.test_int(LowOp::Ne, bytes, 0);
        let shift = self.shift_by(LowOp::Shl, bytes, 3);
        let words = self.branch(
            crosses,
            |l| {
                let last = l.word_after(place, index, 2);
                vec![l.funnel(low, high, shift), l.funnel(high, last, shift)]
            },
            |_| vec![low, high],
        );
        (words[0], words[1])
    }

    /// One or two bytes in the low bits, anything above them.
    fn load_narrow(&mut self, place: Place, bytes: u32) -> Value {
        let (index, word) = self.word_at(place);
        if place.zeros >= 2 {
            return word;
        }
        let start = self.misalignment(place);
        let shift = self.shift_by(LowOp::Shl, start, 3);
        let within = self.same(LowOp::ShrU, &[word, shift]);
        if bytes == 1 || place.zeros == 1 {
            return within;
        }
        let crosses = self.test_int(LowOp::Eq, start, 3);
        self.branch(
            crosses,
            |l| {
                let next = l.word_after(place, index, 1);
                vec![l.funnel(word, next, shift)]
            },
            |_| vec![within],
        )[0]
    }

    /// The low word of two, shifted right by 8, 16 or 24 bits.
    fn funnel(&mut self, low: Value, high: Value, shift: Value) -> Value {
        let low = self.same(LowOp::ShrU, &[low, shift]);
        let size = self.int(Type::I32, 32);
        let rest = self.same(LowOp::ISub, &[size, shift]);
        let high = self.same(LowOp::Shl, &[high, rest]);
        self.same(LowOp::Or, &[low, high])
    }
}

fn type_text(ty: Type) -> &'static str {
    if ty == Type::I64 { "i64" } else { "i32" }
}
