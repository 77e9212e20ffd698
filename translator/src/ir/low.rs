//! The operators of the lowered form.

use serde::{Deserialize, Serialize};

use super::{AtomicOp, MathOp, Type, Var};
use crate::options::Input;

/// An operator of the lowered form. Integer operators work on `I32` and `I64`, float operators on `F32` and `F64`;
/// both operands have one type. None traps; what is undefined in SPIR-V is the lowering's duty to avoid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LowOp {
    /// Wrapping sum.
    IAdd,
    /// Wrapping difference.
    ISub,
    /// Wrapping product.
    IMul,
    /// High word of the double-width product of two `I32`, unsigned. Not in the portable profile.
    MulHigh,
    /// Unsigned quotient; the divisor must not be 0.
    UDiv,
    /// Signed quotient, towards zero; the divisor must not be 0, and the quotient must fit.
    SDiv,
    /// Unsigned remainder; the divisor must not be 0.
    URem,
    /// Signed remainder, the dividend's sign; the divisor must be neither 0 nor -1 with the least dividend.
    SRem,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Shift left; the amount (same type) must be below the size in bits. So for all three shifts.
    Shl,
    /// Shift right, zeroes in.
    ShrU,
    /// Shift right, sign in.
    ShrS,
    /// Lesser of two, unsigned.
    UMin,
    /// Greater of two, unsigned.
    UMax,
    /// Lesser of two, signed.
    SMin,
    /// Greater of two, signed.
    SMax,
    /// Index of the highest set bit of an `I32`, -1 if none.
    FindMsb,
    /// Index of the lowest set bit of an `I32`, -1 if none.
    FindLsb,
    /// Number of set bits of an `I32`.
    BitCount,
    /// Equal, to `Bool`; so for all integer comparisons.
    Eq,
    /// Not equal.
    Ne,
    /// Less, unsigned.
    ULt,
    /// Less or equal, unsigned.
    ULe,
    /// Less, signed.
    SLt,
    /// Less or equal, signed.
    SLe,
    /// Sum; IEEE 754, so for all float operators.
    FAdd,
    /// Difference.
    FSub,
    /// Product.
    FMul,
    /// Quotient.
    FDiv,
    /// Square root.
    FSqrt,
    /// Sign cleared (may be a native instruction that treats NaN and subnormals freely).
    FAbs,
    /// Sign flipped (may be a native instruction that treats NaN and subnormals freely).
    FNeg,
    /// Towards zero.
    FTrunc,
    /// Down.
    FFloor,
    /// Up.
    FCeil,
    /// To nearest, ties to even.
    FRoundEven,
    /// A function of `F32`s that the device has ([`MathOp::on_device`]), within the device's error and domain.
    Math(MathOp),
    /// Ordered and equal, to `Bool`; so for all float comparisons.
    FEq,
    /// Ordered and less.
    FLt,
    /// Ordered and less or equal.
    FLe,
    /// `I64` to its low `I32`.
    Wrap,
    /// `I32` to `I64`, zeroes in.
    ExtendU,
    /// `I32` to `I64`, sign in.
    ExtendS,
    /// Float to signed integer of this type, towards zero; what does not fit gives any value.
    FToS(Type),
    /// Float to unsigned integer of this type, towards zero; what does not fit gives any value.
    FToU(Type),
    /// Signed integer to float of this type, to nearest.
    SToF(Type),
    /// Unsigned integer to float of this type, to nearest.
    UToF(Type),
    /// Float to float of this other type.
    FToF(Type),
    /// Same bits as this type of the same size, one of the two types being an integer's.
    Bitcast(Type),
    /// Low and high `I32` to `I64`.
    Pack64,
    /// High `I32` of an `I64`.
    High,
    /// And of two `Bool`.
    BAnd,
    /// Or of two `Bool`.
    BOr,
    /// Not of a `Bool`.
    BNot,
    /// Operands `(condition: Bool, a, b)`: `a` when the condition holds. Both are computed.
    Select,
    /// Word (`I32`) of a buffer's slot, or of the bound part of linear memory where the slot is
    /// [`LINEAR`](crate::options::LINEAR); so for all accesses of slots. Operand: index in words, within the buffer.
    LoadWord {
        /// Which of the launch's distinct buffers.
        slot: u32,
    },
    /// Word `lane` of two or four adjacent ones of a buffer's slot, in one function always as many. Operand: their index, in units
    /// of so many words; the word lies within the buffer. Such a slot has no atomic accesses, and no parts of words are
    /// stored in it.
    LoadLane {
        /// Which of the launch's distinct buffers.
        slot: u32,
        /// 2 or 4.
        words: u8,
        /// Below `words`.
        lane: u8,
    },
    /// Stores a word. Operands: index in words, within the buffer; the value `I32`.
    StoreWord {
        /// Which of the launch's distinct buffers.
        slot: u32,
    },
    /// Stores four adjacent words. Operands: the index of the four, in units of four words, all within the buffer; the values,
    /// the lowest first, `I32`.
    StoreQuad {
        /// Which of the launch's distinct buffers.
        slot: u32,
    },
    /// The same with two words.
    StorePair {
        /// Which of the launch's distinct buffers.
        slot: u32,
    },
    /// Clears bits of a word in one step, which no other invocation's step on that word comes between. Operands: index in
    /// words, within the buffer; the bits that stay, `I32`.
    AndWord {
        /// Which of the launch's distinct buffers.
        slot: u32,
    },
    /// Sets bits of a word in one step. Operands: index in words, within the buffer; the bits, `I32`.
    OrWord {
        /// Which of the launch's distinct buffers.
        slot: u32,
    },
    /// Stores a part of a word, by itself: bytes beside it are not touched. Operands: index in parts, within the buffer; the
    /// part, in the low bits of an `I32`.
    StorePart {
        /// Which of the launch's distinct buffers.
        slot: u32,
        /// Bytes of a part: 1 or 2.
        bytes: u32,
    },
    /// An atomic access of a word (`I32`), or of two (`I64`). Accesses of slots are not reordered with it. Operands: index of
    /// the first word, within the buffer, and even where there are two; then those of the [`AtomicOp`], of type `ty`.
    Atomic {
        /// Which of the launch's distinct buffers.
        slot: u32,
        /// What it does.
        op: AtomicOp,
        /// `I32` or `I64`.
        ty: Type,
    },
    /// Accesses of slots are not reordered with it. No operands.
    Fence,
    /// Word (`I32`) of [`Function::data`](super::Function::data). Operand: its index, below the number of words.
    LoadData,
    /// Word `lane` (`I32`) of two words of the same, which are loaded at once. Operand: the index of the pair, half that of its
    /// first word.
    LoadDataLane {
        /// 0 or 1.
        lane: u32,
    },
    /// Word of the invocation's private stack, which starts as zeroes. Operand: index in words, within the stack.
    LoadStack,
    /// Stores a word of the private stack. Operands: index in words, within the stack; the value `I32`.
    StoreStack,
    /// A word of the immediates.
    Immediate(u32),
    /// A word of the launch's state.
    Input(Input),
    /// This invocation's iteration id.
    IterationId,
    /// Takes from the invocation's fuel, or traps where there is not so much. Operand: how much, `I32`.
    Burn,
    /// Takes from the invocation's fuel, and traps where there is not so much, now or at the next [`LowOp::Settle`]. Operand: how
    /// much, `I32`, at most 2^31; so much once before it is asked whether the invocation [`LowOp::Owes`].
    Spend,
    /// Whether so much was spent since the last [`LowOp::Settle`] that another one is due. To `Bool`.
    Owes,
    /// Traps where more was spent than there was; the invocation ends where it was [`LowOp::Overtaken`].
    Settle,
    /// Takes from the invocation's fuel as much as there is for a number of iterations of a loop. Operand: the number, `I32`;
    /// result: for how many there was enough.
    Take {
        /// What each takes; not 0.
        cost: u32,
        /// Whether half of the fuel is left: for the loops inside.
        shares: bool,
    },
    /// Value of a cell, `I32`, 0 at first: what becomes a variable in strict form.
    Cell(u32),
    /// Sets a cell. Operand: the value.
    SetCell(u32),
    /// Gives fuel back that was taken. Operand: how much, `I32`.
    Refund,
    /// Whether an invocation of a lower id is known to have run out of fuel at this operator's place: it may be so and not be
    /// known. To `Bool`.
    Overtaken,
    /// Value of a variable.
    VarGet(Var),
    /// Sets a variable. Operand: the value.
    VarSet(Var),
}

impl LowOp {
    /// Whether it changes memory, a variable or the fuel, or orders accesses of memory.
    pub fn has_effect(&self) -> bool {
        use LowOp::*;
        let stores = matches!(
            self,
            StoreWord { .. }
                | StoreQuad { .. }
                | StorePair { .. }
                | AndWord { .. }
                | OrWord { .. }
                | StorePart { .. }
                | StoreStack
                | VarSet(_)
                | SetCell(_)
        );
        stores || self.orders() || matches!(self, Burn | Spend | Settle | Take { .. } | Refund)
    }

    /// Whether accesses of slots must not be moved from one side of it to the other.
    pub fn orders(&self) -> bool {
        matches!(self, LowOp::Atomic { .. } | LowOp::Fence)
    }

    /// The slot that it may load from without being an atomic access.
    pub fn loaded_slot(&self) -> Option<u32> {
        match self {
            LowOp::LoadWord { slot } | LowOp::LoadLane { slot, .. } => Some(*slot),
            _ => None,
        }
    }

    /// The slot that it may change.
    pub fn stored_slot(&self) -> Option<u32> {
        use LowOp::*;
        match self {
            StoreWord { slot } | StoreQuad { slot } | StorePair { slot } => Some(*slot),
            AndWord { slot } | OrWord { slot } | StorePart { slot, .. } => Some(*slot),
            Atomic { slot, op, .. } if op.stores() => Some(*slot),
            _ => None,
        }
    }

    /// The slot of an atomic access.
    pub fn atomic_slot(&self) -> Option<u32> {
        match self {
            LowOp::Atomic { slot, .. } => Some(*slot),
            _ => None,
        }
    }

    /// Whether it reads or changes memory.
    pub fn is_access(&self) -> bool {
        use LowOp::*;
        let is_none = matches!(
            self,
            Fence
                | VarGet(_)
                | VarSet(_)
                | Cell(_)
                | SetCell(_)
                | Burn
                | Spend
                | Owes
                | Settle
                | Take { .. }
                | Refund
                | Overtaken
        );
        !is_none && (self.has_effect() || self.reads_state())
    }

    /// Whether its result depends on what effects before it left. That of `LoadData` does not, but it is as bound to the
    /// check in front of it as other loads are.
    pub fn reads_state(&self) -> bool {
        use LowOp::*;
        matches!(
            self,
            LoadWord { .. }
                | LoadLane { .. }
                | Atomic { .. }
                | LoadData
                | LoadDataLane { .. }
                | LoadStack
                | VarGet(_)
                | Cell(_)
                | Owes
                | Overtaken
        )
    }
}
