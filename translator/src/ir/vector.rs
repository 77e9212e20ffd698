//! The vector operators of Wasm: a division of 128 bits into lanes, and what is done with the lanes.

use serde::{Deserialize, Serialize};

use std::fmt;

use super::{Type, WasmOp};

/// What 128 bits are divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lane {
    /// 16 integers of 8 bits.
    I8,
    /// 8 integers of 16 bits.
    I16,
    /// 4 integers of 32 bits.
    I32,
    /// 2 integers of 64 bits.
    I64,
    /// 4 floats of 32 bits.
    F32,
    /// 2 floats of 64 bits.
    F64,
}

impl Lane {
    /// All of them.
    pub const ALL: [Lane; 6] = [Lane::I8, Lane::I16, Lane::I32, Lane::I64, Lane::F32, Lane::F64];

    /// Size of a lane in bits.
    pub fn bits(self) -> u32 {
        match self {
            Lane::I8 => 8,
            Lane::I16 => 16,
            Lane::I32 | Lane::F32 => 32,
            Lane::I64 | Lane::F64 => 64,
        }
    }

    /// Number of lanes.
    pub fn count(self) -> usize {
        128 / self.bits() as usize
    }

    /// The type of one lane's value on its own.
    pub fn ty(self) -> Type {
        match self {
            Lane::I8 | Lane::I16 | Lane::I32 => Type::I32,
            Lane::I64 => Type::I64,
            Lane::F32 => Type::F32,
            Lane::F64 => Type::F64,
        }
    }

    /// The lanes that values of a type are.
    pub fn of(ty: Type) -> Option<Lane> {
        Some(match ty {
            Type::I32 => Lane::I32,
            Type::I64 => Lane::I64,
            Type::F32 => Lane::F32,
            Type::F64 => Lane::F64,
            Type::V128 | Type::Bool => return None,
        })
    }

    /// The integer lanes of half the size.
    pub fn half(self) -> Option<Lane> {
        Some(match self {
            Lane::I16 => Lane::I8,
            Lane::I32 => Lane::I16,
            Lane::I64 => Lane::I32,
            _ => return None,
        })
    }

    /// The integer lanes of twice the size.
    pub fn double(self) -> Option<Lane> {
        Some(match self {
            Lane::I8 => Lane::I16,
            Lane::I16 => Lane::I32,
            Lane::I32 => Lane::I64,
            _ => return None,
        })
    }

    /// The division's name in the text format.
    pub fn text(self) -> &'static str {
        match self {
            Lane::I8 => "i8x16",
            Lane::I16 => "i16x8",
            Lane::I32 => "i32x4",
            Lane::I64 => "i64x2",
            Lane::F32 => "f32x4",
            Lane::F64 => "f64x2",
        }
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// Its name in the text format, behind the lanes'.
            pub fn text(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
}

named! {
    /// An operator on integer lanes, of the same name. A comparison gives all ones or zeroes.
    IntOp {
        Add = "add",
        Sub = "sub",
        Mul = "mul",
        Neg = "neg",
        Abs = "abs",
        AddSatS = "add_sat_s",
        AddSatU = "add_sat_u",
        SubSatS = "sub_sat_s",
        SubSatU = "sub_sat_u",
        MinS = "min_s",
        MinU = "min_u",
        MaxS = "max_s",
        MaxU = "max_u",
        AvgrU = "avgr_u",
        Popcnt = "popcnt",
        Q15mulrSatS = "q15mulr_sat_s",
        Eq = "eq",
        Ne = "ne",
        LtS = "lt_s",
        LtU = "lt_u",
        GtS = "gt_s",
        GtU = "gt_u",
        LeS = "le_s",
        LeU = "le_u",
        GeS = "ge_s",
        GeU = "ge_u",
    }
}

impl IntOp {
    /// Whether it takes one operand, not two.
    pub fn is_unary(self) -> bool {
        matches!(self, IntOp::Neg | IntOp::Abs | IntOp::Popcnt)
    }
}

named! {
    /// A shift of integer lanes.
    ShiftOp {
        Shl = "shl",
        ShrS = "shr_s",
        ShrU = "shr_u",
    }
}

/// A vector operator. Operands and results are `V128` where nothing else is said. That of a relaxed operator which is
/// another one in the deterministic profile is that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VectorOp {
    /// Each lane is the operand, of the lane's type.
    Splat(Lane),
    /// The value of a lane.
    ExtractLane {
        /// The division.
        lane: Lane,
        /// Which lane.
        index: u8,
        /// Whether a narrow one extends the sign.
        signed: bool,
    },
    /// Operands: a vector, the new value of one lane.
    ReplaceLane {
        /// The division.
        lane: Lane,
        /// Which lane.
        index: u8,
    },
    /// Bytes of two vectors, by number: 0 to 15 of the first, 16 to 31 of the second.
    Shuffle([u8; 16]),
    /// Bytes of the first vector by the numbers in the second; 0 beyond 15.
    Swizzle,
    /// Bitwise not.
    Not,
    /// Bitwise and.
    And,
    /// Bitwise and of the first and the second's complement.
    AndNot,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Bits of the first where the third has ones, else of the second.
    BitSelect,
    /// 1 if any bit is set, else 0: `I32`.
    AnyTrue,
    /// 1 if no lane is zero, else 0: `I32`.
    AllTrue(Lane),
    /// The lanes' top bits: `I32`.
    Bitmask(Lane),
    /// An integer operator on each lane.
    Int(Lane, IntOp),
    /// Operands: a vector of integer lanes, the amount `I32`, taken modulo the lanes' size.
    Shift(Lane, ShiftOp),
    /// A scalar operator on each lane; its result has its operands' size.
    Lanes(WasmOp),
    /// A scalar comparison of each lane, all ones or zeroes.
    Compare(WasmOp),
    /// A scalar operator on each of the two low lanes, to a type of twice the size.
    WidenLow(WasmOp),
    /// A scalar operator on each lane, to a type of half the size; the high lanes are zero.
    NarrowZero(WasmOp),
    /// The second operand where it is less, else the first.
    PseudoMin(Lane),
    /// The second operand where it is greater, else the first.
    PseudoMax(Lane),
    /// The integer lanes of one half, to twice the size.
    Extend {
        /// The operand's lanes.
        from: Lane,
        /// Whether it takes the high half.
        high: bool,
        /// Whether it extends the sign.
        signed: bool,
    },
    /// Products of the extended lanes of one half.
    ExtMul {
        /// The operands' lanes.
        from: Lane,
        /// Whether it takes the high half.
        high: bool,
        /// Whether it extends the sign.
        signed: bool,
    },
    /// Sums of adjacent extended lanes.
    ExtAddPairwise {
        /// The operand's lanes.
        from: Lane,
        /// Whether it extends the sign.
        signed: bool,
    },
    /// The signed lanes of two vectors, saturated to half the size.
    Narrow {
        /// The operands' lanes.
        from: Lane,
        /// Whether the result is signed.
        signed: bool,
    },
    /// `i32x4.dot_i16x8_s`: sums of two adjacent products.
    Dot,
    /// `i16x8.relaxed_dot_i8x16_i7x16_s`: sums of two adjacent signed products, wrapping.
    RelaxedDot,
    /// `i32x4.relaxed_dot_i8x16_i7x16_add_s`: sums of four adjacent signed products and the third operand.
    RelaxedDotAdd,
    /// The product of two operands plus the third, rounded once.
    MulAdd {
        /// The division.
        lane: Lane,
        /// Whether the first operand is negated.
        negated: bool,
    },
}

/// Operators whose name is not made of the parts of others, without those with numbers of lanes.
const OTHERS: &[(&str, &str, VectorOp)] = &[
    ("v128", "not", VectorOp::Not),
    ("v128", "and", VectorOp::And),
    ("v128", "andnot", VectorOp::AndNot),
    ("v128", "or", VectorOp::Or),
    ("v128", "xor", VectorOp::Xor),
    ("v128", "bitselect", VectorOp::BitSelect),
    ("v128", "any_true", VectorOp::AnyTrue),
    ("i8x16", "swizzle", VectorOp::Swizzle),
    ("i32x4", "dot_i16x8_s", VectorOp::Dot),
    ("i32x4", "trunc_sat_f32x4_s", VectorOp::Lanes(WasmOp::I32TruncSatF32S)),
    ("i32x4", "trunc_sat_f32x4_u", VectorOp::Lanes(WasmOp::I32TruncSatF32U)),
    ("i32x4", "trunc_sat_f64x2_s_zero", VectorOp::NarrowZero(WasmOp::I32TruncSatF64S)),
    ("i32x4", "trunc_sat_f64x2_u_zero", VectorOp::NarrowZero(WasmOp::I32TruncSatF64U)),
    ("f32x4", "convert_i32x4_s", VectorOp::Lanes(WasmOp::F32ConvertI32S)),
    ("f32x4", "convert_i32x4_u", VectorOp::Lanes(WasmOp::F32ConvertI32U)),
    ("f32x4", "demote_f64x2_zero", VectorOp::NarrowZero(WasmOp::F32DemoteF64)),
    ("f64x2", "convert_low_i32x4_s", VectorOp::WidenLow(WasmOp::F64ConvertI32S)),
    ("f64x2", "convert_low_i32x4_u", VectorOp::WidenLow(WasmOp::F64ConvertI32U)),
    ("f64x2", "promote_low_f32x4", VectorOp::WidenLow(WasmOp::F64PromoteF32)),
    ("f32x4", "relaxed_madd", VectorOp::MulAdd { lane: Lane::F32, negated: false }),
    ("f32x4", "relaxed_nmadd", VectorOp::MulAdd { lane: Lane::F32, negated: true }),
    ("f64x2", "relaxed_madd", VectorOp::MulAdd { lane: Lane::F64, negated: false }),
    ("f64x2", "relaxed_nmadd", VectorOp::MulAdd { lane: Lane::F64, negated: true }),
    ("i16x8", "relaxed_dot_i8x16_i7x16_s", VectorOp::RelaxedDot),
    ("i32x4", "relaxed_dot_i8x16_i7x16_add_s", VectorOp::RelaxedDotAdd),
];

/// Relaxed operators that are others in the deterministic profile.
const RELAXED: &[(&str, &str, VectorOp)] = &[
    ("i8x16", "relaxed_swizzle", VectorOp::Swizzle),
    ("i8x16", "relaxed_laneselect", VectorOp::BitSelect),
    ("i16x8", "relaxed_laneselect", VectorOp::BitSelect),
    ("i32x4", "relaxed_laneselect", VectorOp::BitSelect),
    ("i64x2", "relaxed_laneselect", VectorOp::BitSelect),
    ("i16x8", "relaxed_q15mulr_s", VectorOp::Int(Lane::I16, IntOp::Q15mulrSatS)),
    ("i32x4", "relaxed_trunc_f32x4_s", VectorOp::Lanes(WasmOp::I32TruncSatF32S)),
    ("i32x4", "relaxed_trunc_f32x4_u", VectorOp::Lanes(WasmOp::I32TruncSatF32U)),
    ("i32x4", "relaxed_trunc_f64x2_s_zero", VectorOp::NarrowZero(WasmOp::I32TruncSatF64S)),
    ("i32x4", "relaxed_trunc_f64x2_u_zero", VectorOp::NarrowZero(WasmOp::I32TruncSatF64U)),
    ("f32x4", "relaxed_min", VectorOp::Lanes(WasmOp::F32Min)),
    ("f32x4", "relaxed_max", VectorOp::Lanes(WasmOp::F32Max)),
    ("f64x2", "relaxed_min", VectorOp::Lanes(WasmOp::F64Min)),
    ("f64x2", "relaxed_max", VectorOp::Lanes(WasmOp::F64Max)),
];

impl VectorOp {
    /// The operator of this name in the text format. Those that name lanes by number ([`VectorOp::ExtractLane`],
    /// [`VectorOp::ReplaceLane`], [`VectorOp::Shuffle`]) have none here.
    pub fn from_text(name: &str) -> Option<VectorOp> {
        let (lanes, operation) = name.split_once('.')?;
        if let Some((.., op)) = OTHERS.iter().chain(RELAXED).find(|(l, o, _)| (*l, *o) == (lanes, operation)) {
            return Some(*op);
        }
        let lane = Lane::ALL.into_iter().find(|lane| lane.text() == lanes)?;
        if operation == "splat" {
            return Some(VectorOp::Splat(lane));
        }
        if lane.ty().is_float() { float_op(lane, operation) } else { int_op(lane, operation) }
    }

    /// Types of its operands.
    pub fn params(self) -> &'static [Type] {
        use Type::{F32, F64, I32, I64, V128};
        match self {
            VectorOp::Splat(lane) => match lane.ty() {
                I64 => &[I64],
                F32 => &[F32],
                F64 => &[F64],
                _ => &[I32],
            },
            VectorOp::ReplaceLane { lane, .. } => match lane.ty() {
                I64 => &[V128, I64],
                F32 => &[V128, F32],
                F64 => &[V128, F64],
                _ => &[V128, I32],
            },
            VectorOp::Shift(..) => &[V128, I32],
            VectorOp::Int(_, op) if op.is_unary() => &[V128],
            VectorOp::Lanes(op) if op.params().len() == 1 => &[V128],
            VectorOp::ExtractLane { .. }
            | VectorOp::Not
            | VectorOp::AnyTrue
            | VectorOp::AllTrue(_)
            | VectorOp::Bitmask(_)
            | VectorOp::WidenLow(_)
            | VectorOp::NarrowZero(_)
            | VectorOp::Extend { .. }
            | VectorOp::ExtAddPairwise { .. } => &[V128],
            VectorOp::BitSelect | VectorOp::RelaxedDotAdd | VectorOp::MulAdd { .. } => &[V128, V128, V128],
            _ => &[V128, V128],
        }
    }

    /// Type of its result.
    pub fn result(self) -> Type {
        match self {
            VectorOp::ExtractLane { lane, .. } => lane.ty(),
            VectorOp::AnyTrue | VectorOp::AllTrue(_) | VectorOp::Bitmask(_) => Type::I32,
            _ => Type::V128,
        }
    }
}

/// The scalar operators of the same name on each lane.
fn float_op(lane: Lane, operation: &str) -> Option<VectorOp> {
    match operation {
        "pmin" => return Some(VectorOp::PseudoMin(lane)),
        "pmax" => return Some(VectorOp::PseudoMax(lane)),
        _ => {}
    }
    let ty = lane.ty();
    let is_it = |op: &&WasmOp| {
        op.params().iter().all(|param| *param == ty) && op.text().split_once('.').is_some_and(|(_, o)| o == operation)
    };
    let op = *WasmOp::ALL.iter().find(is_it)?;
    Some(if op.result() == ty { VectorOp::Lanes(op) } else { VectorOp::Compare(op) })
}

fn int_op(lane: Lane, operation: &str) -> Option<VectorOp> {
    match operation {
        "all_true" => return Some(VectorOp::AllTrue(lane)),
        "bitmask" => return Some(VectorOp::Bitmask(lane)),
        _ => {}
    }
    if let Some(op) = IntOp::ALL.iter().find(|op| op.text() == operation) {
        return Some(VectorOp::Int(lane, *op));
    }
    if let Some(op) = ShiftOp::ALL.iter().find(|op| op.text() == operation) {
        return Some(VectorOp::Shift(lane, *op));
    }
    // What is left changes the lanes' size, and ends in the other lanes' name and `_s` or `_u`.
    let (operation, sign) = operation.rsplit_once('_')?;
    let (operation, other) = operation.rsplit_once('_')?;
    let signed = sign == "s";
    let (half, double) = (lane.half(), lane.double());
    let is = |lane: Option<Lane>| lane.filter(|lane| lane.text() == other);
    Some(match operation {
        "extend_low" | "extend_high" => VectorOp::Extend { from: is(half)?, high: operation == "extend_high", signed },
        "extmul_low" | "extmul_high" => VectorOp::ExtMul { from: is(half)?, high: operation == "extmul_high", signed },
        "extadd_pairwise" => VectorOp::ExtAddPairwise { from: is(half)?, signed },
        "narrow" => VectorOp::Narrow { from: is(double)?, signed },
        _ => return None,
    })
}

fn sign(signed: bool) -> &'static str {
    if signed { "s" } else { "u" }
}

fn half(high: bool) -> &'static str {
    if high { "high" } else { "low" }
}

/// The name in the text format.
impl fmt::Display for VectorOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((lanes, operation, _)) = OTHERS.iter().find(|(.., op)| op == self) {
            return write!(f, "{lanes}.{operation}");
        }
        let wide = |from: Lane| from.double().unwrap_or(from).text();
        match *self {
            VectorOp::Splat(lane) => write!(f, "{}.splat", lane.text()),
            VectorOp::ExtractLane { lane: lane @ (Lane::I8 | Lane::I16), index, signed } => {
                write!(f, "{}.extract_lane_{} {index}", lane.text(), sign(signed))
            }
            VectorOp::ExtractLane { lane, index, .. } => write!(f, "{}.extract_lane {index}", lane.text()),
            VectorOp::ReplaceLane { lane, index } => write!(f, "{}.replace_lane {index}", lane.text()),
            VectorOp::Shuffle(lanes) => {
                f.write_str("i8x16.shuffle")?;
                lanes.iter().try_for_each(|lane| write!(f, " {lane}"))
            }
            VectorOp::AllTrue(lane) => write!(f, "{}.all_true", lane.text()),
            VectorOp::Bitmask(lane) => write!(f, "{}.bitmask", lane.text()),
            VectorOp::Int(lane, op) => write!(f, "{}.{}", lane.text(), op.text()),
            VectorOp::Shift(lane, op) => write!(f, "{}.{}", lane.text(), op.text()),
            VectorOp::Lanes(op) | VectorOp::Compare(op) => {
                let lanes = op.params().first().copied().and_then(Lane::of).map_or("", Lane::text);
                write!(f, "{lanes}.{}", op.text().split_once('.').map_or("", |(_, operation)| operation))
            }
            VectorOp::PseudoMin(lane) => write!(f, "{}.pmin", lane.text()),
            VectorOp::PseudoMax(lane) => write!(f, "{}.pmax", lane.text()),
            VectorOp::Extend { from, high, signed } => {
                write!(f, "{}.extend_{}_{}_{}", wide(from), half(high), from.text(), sign(signed))
            }
            VectorOp::ExtMul { from, high, signed } => {
                write!(f, "{}.extmul_{}_{}_{}", wide(from), half(high), from.text(), sign(signed))
            }
            VectorOp::ExtAddPairwise { from, signed } => {
                write!(f, "{}.extadd_pairwise_{}_{}", wide(from), from.text(), sign(signed))
            }
            VectorOp::Narrow { from, signed } => {
                let to = from.half().unwrap_or(from).text();
                write!(f, "{to}.narrow_{}_{}", from.text(), sign(signed))
            }
            // All others are in the table.
            other => write!(f, "{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_operators_are_each_others() {
        let names = [
            "i8x16.add_sat_s",
            "i8x16.swizzle",
            "f32x4.min",
            "i16x8.q15mulr_sat_s",
            "i64x2.ge_s",
            "f32x4.nearest",
            "f64x2.sqrt",
            "f32x4.lt",
            "f64x2.pmax",
            "i16x8.extend_high_i8x16_u",
            "i64x2.extmul_low_i32x4_s",
            "i32x4.extadd_pairwise_i16x8_u",
            "i8x16.narrow_i16x8_u",
            "i32x4.trunc_sat_f64x2_u_zero",
            "f32x4.relaxed_nmadd",
            "v128.bitselect",
            "i16x8.shr_u",
            "f64x2.splat",
        ];
        for name in names {
            let op = VectorOp::from_text(name).unwrap_or_else(|| panic!("{name} is not known"));
            assert_eq!(op.to_string(), name);
        }
        assert_eq!(VectorOp::from_text("i8x16.relaxed_swizzle"), Some(VectorOp::Swizzle));
        assert_eq!(VectorOp::from_text("i8x16.extend_low_i16x8_s"), None);
        assert_eq!(VectorOp::from_text("i32.add"), None);
    }
}
