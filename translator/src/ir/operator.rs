//! The operator table.

use serde::{Deserialize, Serialize};

use super::{AtomicOp, Const, LowOp, MathOp, Type, VectorOp};

/// An operator of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Op {
    /// A constant. No operands.
    Const(Const),
    /// A numeric operator of Wasm with Wasm's meaning, traps included.
    Wasm(WasmOp),
    /// A vector operator of Wasm. None traps.
    Vector(VectorOp),
    /// A function of C's mathematical library that stands for a call which was recognised as one of it. No operator of
    /// Wasm's, and as inexact as the device. Operands: those of the function.
    Math(MathOp),
    /// `select`: operands `(a, b, condition: I32)`; `a` when the condition is not zero.
    Select,
    /// A load from an address. Operand: address `I32`.
    Load(MemoryAccess),
    /// A store to an address. Operands: address `I32`, value of type `MemoryAccess::ty`.
    Store(MemoryAccess),
    /// An atomic access at an address, which must be a multiple of its size. It is not reordered with other accesses.
    /// Operands: address `I32`, then those of the [`AtomicOp`], of type `MemoryAccess::ty`.
    Atomic(AtomicOp, MemoryAccess),
    /// `atomic.fence`: accesses are not reordered with it. No operands.
    Fence,
    /// `memory.size` of memory 0, in pages. No operands. It does not change while a kernel runs.
    MemorySize,
    /// `memory.fill`: operands address, value, length, all `I32`.
    MemoryFill,
    /// `memory.copy`: operands destination, source, length, all `I32`.
    MemoryCopy,
    /// The same of blocks that lie apart, or of which the destination begins below the source.
    MemoryCopyApart,
    /// `memory.init` from the data segment with this number: operands destination, offset in the segment, length.
    MemoryInit(u32),
    /// `data.drop` of the data segment with this number, for the rest of the invocation. No operands.
    DataDrop(u32),
    /// A word of [`Function::data`](super::Function::data). Operand: its index, `I32`.
    LoadData,
    /// Two words of the same as an `I64`, the first one low. Operand: half the first one's index, which is even; `I32`.
    LoadDataPair,
    /// The value of a global. No operands.
    GlobalGet(u32),
    /// Sets a global. Operand: the value.
    GlobalSet(u32),
    /// Word `word` of four (`I32`) of a 128-bit global's value at the launch. No operands.
    GlobalWord {
        /// Which global.
        global: u32,
        /// 0 to 3.
        word: u32,
    },
    /// An `I32` that nothing looks at: what a variable holds before it is set. Analyses may take it for any other value; it is 0.
    /// No operands.
    Undefined,
    /// An operator of the lowered form.
    Low(LowOp),
}

/// How a load or store reaches memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MemoryAccess {
    /// Type of the value loaded or stored.
    pub ty: Type,
    /// Bytes in memory: 1, 2, 4, 8 or 16; fewer than the type's size for narrow accesses.
    pub bytes: u32,
    /// Whether a narrow load extends the sign.
    pub signed: bool,
    /// Added to the address, without wrapping at 2^32.
    pub offset: u32,
    /// Which memory.
    pub memory: u32,
    /// Bytes from the address and `offset` on that must be in bounds, where this is a part of a longer access; `None`: its own.
    /// The first part has the whole's size, and the other parts, which follow it at once, 0: they can't trap.
    pub checked: Option<u8>,
}

impl MemoryAccess {
    /// What a load gives that finds these bytes, behind which stand zeroes; `None` for a type that is not in memory.
    pub fn value_of(&self, bytes: [u8; 16]) -> Option<Const> {
        let (all, bits) = (u128::from_le_bytes(bytes), 8 * self.bytes);
        let mut value = all as u64;
        if self.signed && bits < 64 {
            value = ((value << (64 - bits)) as i64 >> (64 - bits)) as u64;
        }
        Some(match self.ty {
            Type::I32 => Const::I32(value as u32),
            Type::I64 => Const::I64(value),
            Type::F32 => Const::F32(value as u32),
            Type::F64 => Const::F64(value),
            Type::V128 => Const::V128(all.into()),
            Type::Bool => return None,
        })
    }

    /// Bytes that its check covers; 0 if it has none.
    pub fn checked_bytes(&self) -> u32 {
        self.checked.map_or(self.bytes, u32::from)
    }
}

macro_rules! wasm_operators {
    ($($name:ident = $text:literal : ($($param:ident),*) -> $result:ident;)*) => {
        /// A numeric operator of Wasm, of the same name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum WasmOp {
            $(#[doc = concat!("`", $text, "`")] $name,)*
        }

        impl WasmOp {
            /// All of them, in table order.
            pub const ALL: &[WasmOp] = &[$(WasmOp::$name,)*];

            /// The operator's name in the text format.
            pub fn text(self) -> &'static str {
                match self { $(WasmOp::$name => $text,)* }
            }

            /// Types of its operands.
            pub fn params(self) -> &'static [Type] {
                match self { $(WasmOp::$name => &[$(Type::$param),*],)* }
            }

            /// Type of its result.
            pub fn result(self) -> Type {
                match self { $(WasmOp::$name => Type::$result,)* }
            }

            /// The operator of the same name that wasmparser read; `None` for all that is not in this table.
            pub fn from_wasmparser(op: &wasmparser::Operator<'_>) -> Option<WasmOp> {
                match op {
                    $(wasmparser::Operator::$name => Some(WasmOp::$name),)*
                    _ => None,
                }
            }
        }
    };
}

wasm_operators! {
    I32Eqz = "i32.eqz": (I32) -> I32;
    I32Eq = "i32.eq": (I32, I32) -> I32;
    I32Ne = "i32.ne": (I32, I32) -> I32;
    I32LtS = "i32.lt_s": (I32, I32) -> I32;
    I32LtU = "i32.lt_u": (I32, I32) -> I32;
    I32GtS = "i32.gt_s": (I32, I32) -> I32;
    I32GtU = "i32.gt_u": (I32, I32) -> I32;
    I32LeS = "i32.le_s": (I32, I32) -> I32;
    I32LeU = "i32.le_u": (I32, I32) -> I32;
    I32GeS = "i32.ge_s": (I32, I32) -> I32;
    I32GeU = "i32.ge_u": (I32, I32) -> I32;
    I64Eqz = "i64.eqz": (I64) -> I32;
    I64Eq = "i64.eq": (I64, I64) -> I32;
    I64Ne = "i64.ne": (I64, I64) -> I32;
    I64LtS = "i64.lt_s": (I64, I64) -> I32;
    I64LtU = "i64.lt_u": (I64, I64) -> I32;
    I64GtS = "i64.gt_s": (I64, I64) -> I32;
    I64GtU = "i64.gt_u": (I64, I64) -> I32;
    I64LeS = "i64.le_s": (I64, I64) -> I32;
    I64LeU = "i64.le_u": (I64, I64) -> I32;
    I64GeS = "i64.ge_s": (I64, I64) -> I32;
    I64GeU = "i64.ge_u": (I64, I64) -> I32;
    F32Eq = "f32.eq": (F32, F32) -> I32;
    F32Ne = "f32.ne": (F32, F32) -> I32;
    F32Lt = "f32.lt": (F32, F32) -> I32;
    F32Gt = "f32.gt": (F32, F32) -> I32;
    F32Le = "f32.le": (F32, F32) -> I32;
    F32Ge = "f32.ge": (F32, F32) -> I32;
    F64Eq = "f64.eq": (F64, F64) -> I32;
    F64Ne = "f64.ne": (F64, F64) -> I32;
    F64Lt = "f64.lt": (F64, F64) -> I32;
    F64Gt = "f64.gt": (F64, F64) -> I32;
    F64Le = "f64.le": (F64, F64) -> I32;
    F64Ge = "f64.ge": (F64, F64) -> I32;
    I32Clz = "i32.clz": (I32) -> I32;
    I32Ctz = "i32.ctz": (I32) -> I32;
    I32Popcnt = "i32.popcnt": (I32) -> I32;
    I32Add = "i32.add": (I32, I32) -> I32;
    I32Sub = "i32.sub": (I32, I32) -> I32;
    I32Mul = "i32.mul": (I32, I32) -> I32;
    I32DivS = "i32.div_s": (I32, I32) -> I32;
    I32DivU = "i32.div_u": (I32, I32) -> I32;
    I32RemS = "i32.rem_s": (I32, I32) -> I32;
    I32RemU = "i32.rem_u": (I32, I32) -> I32;
    I32And = "i32.and": (I32, I32) -> I32;
    I32Or = "i32.or": (I32, I32) -> I32;
    I32Xor = "i32.xor": (I32, I32) -> I32;
    I32Shl = "i32.shl": (I32, I32) -> I32;
    I32ShrS = "i32.shr_s": (I32, I32) -> I32;
    I32ShrU = "i32.shr_u": (I32, I32) -> I32;
    I32Rotl = "i32.rotl": (I32, I32) -> I32;
    I32Rotr = "i32.rotr": (I32, I32) -> I32;
    I64Clz = "i64.clz": (I64) -> I64;
    I64Ctz = "i64.ctz": (I64) -> I64;
    I64Popcnt = "i64.popcnt": (I64) -> I64;
    I64Add = "i64.add": (I64, I64) -> I64;
    I64Sub = "i64.sub": (I64, I64) -> I64;
    I64Mul = "i64.mul": (I64, I64) -> I64;
    I64DivS = "i64.div_s": (I64, I64) -> I64;
    I64DivU = "i64.div_u": (I64, I64) -> I64;
    I64RemS = "i64.rem_s": (I64, I64) -> I64;
    I64RemU = "i64.rem_u": (I64, I64) -> I64;
    I64And = "i64.and": (I64, I64) -> I64;
    I64Or = "i64.or": (I64, I64) -> I64;
    I64Xor = "i64.xor": (I64, I64) -> I64;
    I64Shl = "i64.shl": (I64, I64) -> I64;
    I64ShrS = "i64.shr_s": (I64, I64) -> I64;
    I64ShrU = "i64.shr_u": (I64, I64) -> I64;
    I64Rotl = "i64.rotl": (I64, I64) -> I64;
    I64Rotr = "i64.rotr": (I64, I64) -> I64;
    F32Abs = "f32.abs": (F32) -> F32;
    F32Neg = "f32.neg": (F32) -> F32;
    F32Ceil = "f32.ceil": (F32) -> F32;
    F32Floor = "f32.floor": (F32) -> F32;
    F32Trunc = "f32.trunc": (F32) -> F32;
    F32Nearest = "f32.nearest": (F32) -> F32;
    F32Sqrt = "f32.sqrt": (F32) -> F32;
    F32Add = "f32.add": (F32, F32) -> F32;
    F32Sub = "f32.sub": (F32, F32) -> F32;
    F32Mul = "f32.mul": (F32, F32) -> F32;
    F32Div = "f32.div": (F32, F32) -> F32;
    F32Min = "f32.min": (F32, F32) -> F32;
    F32Max = "f32.max": (F32, F32) -> F32;
    F32Copysign = "f32.copysign": (F32, F32) -> F32;
    F64Abs = "f64.abs": (F64) -> F64;
    F64Neg = "f64.neg": (F64) -> F64;
    F64Ceil = "f64.ceil": (F64) -> F64;
    F64Floor = "f64.floor": (F64) -> F64;
    F64Trunc = "f64.trunc": (F64) -> F64;
    F64Nearest = "f64.nearest": (F64) -> F64;
    F64Sqrt = "f64.sqrt": (F64) -> F64;
    F64Add = "f64.add": (F64, F64) -> F64;
    F64Sub = "f64.sub": (F64, F64) -> F64;
    F64Mul = "f64.mul": (F64, F64) -> F64;
    F64Div = "f64.div": (F64, F64) -> F64;
    F64Min = "f64.min": (F64, F64) -> F64;
    F64Max = "f64.max": (F64, F64) -> F64;
    F64Copysign = "f64.copysign": (F64, F64) -> F64;
    I32WrapI64 = "i32.wrap_i64": (I64) -> I32;
    I32TruncF32S = "i32.trunc_f32_s": (F32) -> I32;
    I32TruncF32U = "i32.trunc_f32_u": (F32) -> I32;
    I32TruncF64S = "i32.trunc_f64_s": (F64) -> I32;
    I32TruncF64U = "i32.trunc_f64_u": (F64) -> I32;
    I64ExtendI32S = "i64.extend_i32_s": (I32) -> I64;
    I64ExtendI32U = "i64.extend_i32_u": (I32) -> I64;
    I64TruncF32S = "i64.trunc_f32_s": (F32) -> I64;
    I64TruncF32U = "i64.trunc_f32_u": (F32) -> I64;
    I64TruncF64S = "i64.trunc_f64_s": (F64) -> I64;
    I64TruncF64U = "i64.trunc_f64_u": (F64) -> I64;
    F32ConvertI32S = "f32.convert_i32_s": (I32) -> F32;
    F32ConvertI32U = "f32.convert_i32_u": (I32) -> F32;
    F32ConvertI64S = "f32.convert_i64_s": (I64) -> F32;
    F32ConvertI64U = "f32.convert_i64_u": (I64) -> F32;
    F32DemoteF64 = "f32.demote_f64": (F64) -> F32;
    F64ConvertI32S = "f64.convert_i32_s": (I32) -> F64;
    F64ConvertI32U = "f64.convert_i32_u": (I32) -> F64;
    F64ConvertI64S = "f64.convert_i64_s": (I64) -> F64;
    F64ConvertI64U = "f64.convert_i64_u": (I64) -> F64;
    F64PromoteF32 = "f64.promote_f32": (F32) -> F64;
    I32ReinterpretF32 = "i32.reinterpret_f32": (F32) -> I32;
    I64ReinterpretF64 = "i64.reinterpret_f64": (F64) -> I64;
    F32ReinterpretI32 = "f32.reinterpret_i32": (I32) -> F32;
    F64ReinterpretI64 = "f64.reinterpret_i64": (I64) -> F64;
    I32Extend8S = "i32.extend8_s": (I32) -> I32;
    I32Extend16S = "i32.extend16_s": (I32) -> I32;
    I64Extend8S = "i64.extend8_s": (I64) -> I64;
    I64Extend16S = "i64.extend16_s": (I64) -> I64;
    I64Extend32S = "i64.extend32_s": (I64) -> I64;
    I32TruncSatF32S = "i32.trunc_sat_f32_s": (F32) -> I32;
    I32TruncSatF32U = "i32.trunc_sat_f32_u": (F32) -> I32;
    I32TruncSatF64S = "i32.trunc_sat_f64_s": (F64) -> I32;
    I32TruncSatF64U = "i32.trunc_sat_f64_u": (F64) -> I32;
    I64TruncSatF32S = "i64.trunc_sat_f32_s": (F32) -> I64;
    I64TruncSatF32U = "i64.trunc_sat_f32_u": (F32) -> I64;
    I64TruncSatF64S = "i64.trunc_sat_f64_s": (F64) -> I64;
    I64TruncSatF64U = "i64.trunc_sat_f64_u": (F64) -> I64;
}

impl WasmOp {
    /// Whether the integer that it truncates a float to is signed; `None` for what truncates none.
    pub fn truncates_to_signed(self) -> Option<bool> {
        use WasmOp::*;
        match self {
            I32TruncF32S | I32TruncF64S | I64TruncF32S | I64TruncF64S => Some(true),
            I32TruncSatF32S | I32TruncSatF64S | I64TruncSatF32S | I64TruncSatF64S => Some(true),
            I32TruncF32U | I32TruncF64U | I64TruncF32U | I64TruncF64U => Some(false),
            I32TruncSatF32U | I32TruncSatF64U | I64TruncSatF32U | I64TruncSatF64U => Some(false),
            _ => None,
        }
    }

    /// Whether it can trap.
    pub fn can_trap(self) -> bool {
        use WasmOp::*;
        matches!(
            self,
            I32DivS
                | I32DivU
                | I32RemS
                | I32RemU
                | I64DivS
                | I64DivU
                | I64RemS
                | I64RemU
                | I32TruncF32S
                | I32TruncF32U
                | I32TruncF64S
                | I32TruncF64U
                | I64TruncF32S
                | I64TruncF32U
                | I64TruncF64S
                | I64TruncF64U
        )
    }
}

impl Op {
    /// Whether leaving it out changes nothing when its result is unused: no store, no trap.
    pub fn is_pure(&self) -> bool {
        match self {
            Op::Const(_)
            | Op::Vector(_)
            | Op::Math(_)
            | Op::Select
            | Op::GlobalGet(_)
            | Op::GlobalWord { .. }
            | Op::MemorySize
            | Op::LoadData
            | Op::LoadDataPair
            | Op::Undefined => true,
            Op::Wasm(op) => !op.can_trap(),
            Op::Load(_)
            | Op::Store(_)
            | Op::Atomic(..)
            | Op::Fence
            | Op::MemoryFill
            | Op::MemoryCopy
            | Op::MemoryCopyApart
            | Op::MemoryInit(_)
            | Op::DataDrop(_)
            | Op::GlobalSet(_) => false,
            Op::Low(op) => !op.has_effect(),
        }
    }

    /// What a load gives, plain or atomic.
    pub fn loaded(&self) -> Option<MemoryAccess> {
        match self {
            Op::Load(access) | Op::Atomic(AtomicOp::Load, access) => Some(*access),
            _ => None,
        }
    }

    /// The access that it makes at the address which is its first operand.
    pub fn memory_access(&self) -> Option<MemoryAccess> {
        match self {
            Op::Load(access) | Op::Store(access) | Op::Atomic(_, access) => Some(*access),
            _ => None,
        }
    }

    /// Whether it fills, copies or initialises a range of memory.
    pub fn is_bulk(&self) -> bool {
        matches!(self, Op::MemoryFill | Op::MemoryCopy | Op::MemoryCopyApart | Op::MemoryInit(_))
    }

    /// Whether that access may change what is in memory: the operands behind the address may come to lie there.
    pub fn stores(&self) -> bool {
        match self {
            Op::Store(_) => true,
            Op::Atomic(op, _) => op.stores(),
            _ => false,
        }
    }
}
