//! Programs as trees. Every tree is a valid program: numbers that name a local, a label, a function or an offset count
//! modulo what there is, so that a part can be taken out or replaced by another of its type anywhere.
//!
//! Integers never depend on where something lies, for addresses have a type of their own, [`Ptr`]: the first of
//! [`OBJECT`] bytes that the invocation may load from, and store to if the pointer is one to its own bytes.

use wavelift_translator::ir::{Type, WasmOp};

/// Bytes behind each pointer.
pub const OBJECT: u32 = 32;

/// Whether a program ends well, and how it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No invocation traps.
    Safe,
    /// Operators trap, but accesses are within bounds.
    Traps,
    /// Accesses are out of bounds.
    Bounds,
}

/// A kernel and what it calls.
#[derive(Clone, Debug)]
pub struct Tree {
    pub mode: Mode,
    /// What the inputs of each invocation are made of.
    pub rows: Vec<u64>,
    /// What linear memory is filled with; 0 is zeroes.
    pub linear: u64,
    /// Bytes from an invocation's own part of a buffer to the next one's.
    pub stride: u32,
    /// Whether the input buffer may only be read.
    pub read_only: bool,
    pub helpers: Vec<Helper>,
    pub kernel: Body,
}

/// Parameter `$b`'s type and the results of helpers, which take two pointers and an `i32` besides.
pub const SIGNATURES: [(Type, &[Type]); 4] = [
    (Type::I32, &[Type::I32]),
    (Type::I64, &[Type::I64]),
    (Type::F32, &[Type::F32]),
    (Type::I32, &[Type::I32, Type::I64]),
];

/// A function that those behind it, and the kernel, may call, and perhaps itself.
#[derive(Clone, Debug)]
pub struct Helper {
    pub signature: usize,
    /// How many levels deep it may call itself, at the most: it is told by the top bits of its `i32` parameter.
    pub levels: u32,
    pub body: Body,
    /// One for each result.
    pub results: Vec<Expr>,
}

/// A function's frame and statements.
#[derive(Clone, Debug)]
pub struct Body {
    pub frame: Frame,
    /// Bytes of the frame that nothing uses.
    pub padding: u32,
    pub list: Vec<Stmt>,
}

/// How a function comes to its frame on the shadow stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// It moves the stack pointer.
    Moved,
    /// It leaves the stack pointer where it is, if it calls nothing.
    RedZone,
    /// The frame's size depends on a number.
    Dynamic,
    /// Its address is rounded down.
    Aligned,
}

/// A load or store by its name.
#[derive(Debug, PartialEq, Eq)]
pub struct MemoryOp {
    pub text: &'static str,
    pub bytes: u32,
    pub ty: Type,
}

const fn op(text: &'static str, bytes: u32, ty: Type) -> MemoryOp {
    MemoryOp { text, bytes, ty }
}

/// All loads; the first ones are those that load whole values.
pub const LOADS: [MemoryOp; 14] = [
    op("i32.load", 4, Type::I32),
    op("i64.load", 8, Type::I64),
    op("f32.load", 4, Type::F32),
    op("f64.load", 8, Type::F64),
    op("i32.load8_s", 1, Type::I32),
    op("i32.load8_u", 1, Type::I32),
    op("i32.load16_s", 2, Type::I32),
    op("i32.load16_u", 2, Type::I32),
    op("i64.load8_s", 1, Type::I64),
    op("i64.load8_u", 1, Type::I64),
    op("i64.load16_s", 2, Type::I64),
    op("i64.load16_u", 2, Type::I64),
    op("i64.load32_s", 4, Type::I64),
    op("i64.load32_u", 4, Type::I64),
];

/// All stores.
pub const STORES: [MemoryOp; 9] = [
    op("i32.store", 4, Type::I32),
    op("i64.store", 8, Type::I64),
    op("f32.store", 4, Type::F32),
    op("f64.store", 8, Type::F64),
    op("i64.store32", 4, Type::I64),
    op("i32.store8", 1, Type::I32),
    op("i32.store16", 2, Type::I32),
    op("i64.store8", 1, Type::I64),
    op("i64.store16", 2, Type::I64),
];

/// A number.
#[derive(Clone, Debug)]
pub enum Expr {
    Const(Type, u64),
    Local(Type, u32),
    /// The mutable global of the type.
    Global(Type),
    /// The iteration id; in helpers their `i32` parameter.
    Id,
    Op(WasmOp, Vec<Expr>),
    /// Two values of the type and a condition.
    Select(Box<[Expr; 3]>),
    If(Type, Box<[Expr; 3]>),
    Load(&'static MemoryOp, Box<Place>),
    /// A load of the frame at a constant offset.
    Slot(&'static MemoryOp, u32),
    Call(Box<Call>),
    /// A number that is masked, by way of a pointer and the one so far behind it.
    Distance(u32, Box<(Ptr, Expr)>),
}

/// Number of ways to compute the distance of two pointers.
pub const DISTANCES: u32 = 3;

/// A call of a helper of the signature.
#[derive(Clone, Debug)]
pub struct Call {
    pub signature: usize,
    /// Which of those.
    pub number: u32,
    pub read: Ptr,
    pub own: Ptr,
    pub a: Expr,
    pub b: Expr,
    /// What the entry of the table is computed from.
    pub indirect: Option<Expr>,
}

/// Where an access goes.
#[derive(Clone, Debug)]
pub struct Place {
    pub ptr: Ptr,
    /// A number that is masked to stay within the object.
    pub index: Option<Expr>,
    /// What the masked number is shifted by.
    pub scale: u32,
    pub offset: u32,
    /// Part of the static offset that is subtracted from the pointer first.
    pub back: u32,
    /// Whether the access claims its natural alignment.
    pub aligned: bool,
    /// What the index, where its low bits are ones, adds to the address: far beyond everything. Only in [`Mode::Bounds`].
    pub wild: u32,
}

/// An address.
#[derive(Clone, Debug)]
pub enum Ptr {
    /// To be read: the invocation's inputs, the last bytes of the input buffer, constant data in linear memory.
    In,
    InEnd,
    Static(u32),
    /// The invocation's own part of a buffer or of linear memory.
    Out,
    Mix,
    Lin,
    /// An array on the stack.
    Array(u32),
    /// A helper's parameter: to own bytes or not.
    Param(bool),
    /// A local, a slot of the frame, and a pointer that is loaded from a buffer; to own bytes or not.
    Local(bool, u32),
    Slot(bool),
    Loaded(bool, u32),
    /// One of two.
    Select(Box<(Ptr, Ptr, Expr)>),
    /// The same through a function.
    Pick(Box<(Ptr, Ptr, Expr)>),
    /// The pointer again, by a detour that needs a number.
    Detour(u32, Box<(Ptr, Expr)>),
}

/// Number of ways to compute a pointer from itself.
pub const DETOURS: u32 = 10;

impl Ptr {
    /// Whether the bytes are the invocation's own.
    pub fn is_own(&self) -> bool {
        match self {
            Ptr::In | Ptr::InEnd | Ptr::Static(_) => false,
            Ptr::Out | Ptr::Mix | Ptr::Lin | Ptr::Array(_) => true,
            Ptr::Param(own) | Ptr::Local(own, _) | Ptr::Slot(own) | Ptr::Loaded(own, _) => *own,
            Ptr::Select(of) | Ptr::Pick(of) => of.0.is_own() && of.1.is_own(),
            Ptr::Detour(_, of) => of.0.is_own(),
        }
    }
}

/// A statement.
#[derive(Clone, Debug)]
pub enum Stmt {
    Set(Type, u32, Expr),
    SetGlobal(Type, Expr),
    Store(&'static MemoryOp, Place, Expr),
    /// A store to the frame at a constant offset.
    SlotStore(&'static MemoryOp, u32, Expr),
    SetPtr(bool, u32, Ptr),
    SetSlot(bool, Ptr),
    If(Expr, Vec<Stmt>, Vec<Stmt>),
    Loop(Loop),
    Block(Vec<Stmt>),
    /// A branch out of so many constructs, or back to the start of a loop, perhaps under a condition.
    Break(u32, Option<Expr>),
    Continue(u32, Option<Expr>),
    Return(Option<Expr>),
    /// A `br_table` over cases that fall through.
    Switch(Expr, Vec<Vec<Stmt>>),
    /// Bytes from a place on: a number that is masked and a constant.
    Fill(Place, Expr, Length),
    Copy(Place, Place, Length),
    /// A call with two results, and the locals they go to.
    CallPair(Call, u32, u32),
    /// A helper's call instead of a return.
    TailCall(Call),
    Walk(Walk),
    /// What an invocation gives, by slot of its results.
    Result(u32, Expr),
    /// `unreachable` under a condition.
    Unreachable(Expr),
}

/// A loop of so many trips.
#[derive(Clone, Debug)]
pub struct Loop {
    pub trips: Expr,
    /// The most trips.
    pub mask: u32,
    /// Whether the condition stands at the end.
    pub at_end: bool,
    pub body: Vec<Stmt>,
}

/// The length of a bulk operator's range.
#[derive(Clone, Debug)]
pub struct Length {
    pub dynamic: Option<Expr>,
    pub bytes: u32,
}

/// A loop whose induction variables are pointers: it folds the object's words or bytes into an `i32` local, and writes
/// each sum to another object.
#[derive(Clone, Debug)]
pub struct Walk {
    pub from: Ptr,
    pub to: Option<Ptr>,
    pub local: u32,
    pub words: bool,
    pub steps: u32,
}
