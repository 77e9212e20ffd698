//! Vectors become words: each 128-bit value is four `I32`, and each vector operator scalar operators on them.
//!
//! Lanes of 32 bits are words, so their operators are four scalar ones; lanes of 64 bits are pairs of words, taken
//! together for an operator on `I64` or `F64`. Smaller lanes stay packed in their words where the arithmetic allows
//! (`packed`), and else are taken out, computed and packed (`lanes`). Which words came from a wider value or a float
//! is remembered, so that a chain of such operators does not go through words.

mod fused;
mod lanes;
mod packed;
mod shuffle;

use crate::analysis::dataflow;
use crate::error::{Error, Result};
use crate::hash::{HashMap, HashMapExt};
use crate::ir::builder::ListBuilder;
use crate::ir::operator::MemoryAccess;
use crate::ir::{Args, Const, Function, Lane, Op, RegionId, Stmt, StmtKind, Type, Value, VectorOp, WasmOp};
use crate::module::{ConstInit, Module};
use crate::passes::split::Split;

/// A vector's words, the lowest first.
type Words = [Value; 4];

/// Splits the vectors of an inlined kernel whose globals are promoted.
///
/// # Errors
/// [`Error::Unsupported`] when the result has more than `max_operators` statements.
pub fn split(function: &mut Function, module: &Module, max_operators: u32) -> Result<()> {
    let is_vector = |ty: &Type| *ty == Type::V128;
    if !function.values.iter().any(is_vector) {
        return Ok(());
    }
    let outside = function.params.iter().map(|v| function.ty(*v)).chain(function.results.iter().copied());
    if outside.into_iter().any(|ty| is_vector(&ty)) {
        return Err(Error::Internal("a kernel takes or gives a vector".into()));
    }
    let regions = dataflow::regions(function);
    let mut splitter = Splitter {
        module,
        split: Split::new(Type::V128),
        floats: HashMap::new(),
        longs: HashMap::new(),
        doubles: HashMap::new(),
        list: ListBuilder::default(),
        left: max_operators as usize,
        limit: max_operators,
        function,
    };
    // Regions come before those below them, so what a statement uses was split before it.
    regions.into_iter().try_for_each(|id| splitter.region(id))
}

struct Splitter<'a> {
    module: &'a Module,
    function: &'a mut Function,
    list: ListBuilder,
    split: Split<4>,
    /// The `F32` whose bits a word is.
    floats: HashMap<Value, Value>,
    /// The `I64` whose low and high word these are.
    longs: HashMap<[Value; 2], Value>,
    /// The `F64` whose bits' low and high word these are.
    doubles: HashMap<[Value; 2], Value>,
    /// Number of statements that may still be made.
    left: usize,
    limit: u32,
}

impl Splitter<'_> {
    fn region(&mut self, id: RegionId) -> Result<()> {
        let stmts = std::mem::take(&mut self.function.region_mut(id).stmts);
        self.list = ListBuilder::default();
        for stmt in stmts {
            self.list.at = stmt.at;
            self.stmt(stmt)?;
        }
        self.pay()?;
        let stmts = std::mem::take(&mut self.list.stmts);
        self.split.end_region(self.function, id, stmts)
    }

    /// Refuses kernels that become too long.
    fn pay(&mut self) -> Result<()> {
        let left = self.left.checked_sub(self.list.stmts.len());
        self.left = left.ok_or_else(|| Error::Unsupported {
            what: format!("more than {} operators after vectors were split", self.limit),
            function_name: self.module.function_name(self.list.at.function),
            at: Some(self.list.at),
            too_large: true,
        })?;
        Ok(())
    }

    fn stmt(&mut self, mut stmt: Stmt) -> Result<()> {
        stmt.kind.args_mut().iter_mut().for_each(|arg| *arg = self.split.name(*arg));
        if let StmtKind::Op { op, args, result } = &stmt.kind {
            if let Some(words) = self.op(*op, args, *result)? {
                match *result {
                    Some(result) if self.is_vector(result) => self.split.define(result, words),
                    _ => return Err(Error::Internal(format!("{op} gave words to what is no vector"))),
                }
            }
            return Ok(());
        }
        self.split.control(self.function, &mut stmt.kind)?;
        self.list.stmts.push(stmt);
        Ok(())
    }

    fn is_vector(&self, value: Value) -> bool {
        self.split.is_wide(self.function, value)
    }

    fn words(&self, vector: Value) -> Result<Words> {
        self.split.words(vector)
    }

    /// Splits an operator: the result's words, or none where it has another result or none.
    fn op(&mut self, op: Op, args: &[Value], result: Option<Value>) -> Result<Option<Words>> {
        let gives_vector = result.is_some_and(|result| self.is_vector(result));
        match op {
            Op::Const(Const::V128(bits)) => Ok(Some(self.constant(bits.into()))),
            Op::Vector(op) => self.vector(op, args, result),
            Op::Select if gives_vector => {
                let (a, b) = (self.words(args[0])?, self.words(args[1])?);
                Ok(Some(self.select_words(a, b, args[2])))
            }
            Op::Load(access) if access.ty == Type::V128 => Ok(Some(self.load(access, args[0]))),
            Op::Store(access) if access.ty == Type::V128 => {
                let words = self.words(args[1])?;
                for (access, word) in parts(access).zip(words) {
                    self.list.effect(Op::Store(access), &[args[0], word]);
                }
                Ok(None)
            }
            Op::GlobalGet(global) if gives_vector => Ok(Some(self.global(global))),
            op => {
                self.list.push(StmtKind::Op { op, args: Args::from_slice(args), result });
                Ok(None)
            }
        }
    }

    fn constant(&mut self, bits: u128) -> Words {
        [0, 32, 64, 96].map(|shift| self.int((bits >> shift) as u32))
    }

    /// Words beyond a narrow access are zero.
    fn load(&mut self, access: MemoryAccess, address: Value) -> Words {
        let mut loaded = parts(access);
        [(); 4].map(|()| match loaded.next() {
            Some(access) => self.list.op(self.function, Op::Load(access), &[address], Type::I32),
            None => self.int(0),
        })
    }

    fn global(&mut self, global: u32) -> Words {
        match self.module.globals().get(global as usize).map(|g| (g.mutable, g.init)) {
            Some((false, Some(ConstInit::V128(bits)))) => self.constant(bits),
            _ => [0, 1, 2, 3].map(|word| self.list.op(self.function, Op::GlobalWord { global, word }, &[], Type::I32)),
        }
    }

    /// Splits a vector operator.
    fn vector(&mut self, op: VectorOp, args: &[Value], result: Option<Value>) -> Result<Option<Words>> {
        let vectors: Vec<Words> =
            args.iter().filter(|arg| self.is_vector(**arg)).map(|arg| self.words(*arg)).collect::<Result<_>>()?;
        let [a, b, c] = [0, 1, 2].map(|number| vectors.get(number).copied());
        let words = match (op, a, b, c) {
            (VectorOp::Splat(lane), ..) => self.splat(lane, args[0]),
            (VectorOp::ReplaceLane { lane, index }, Some(a), ..) => self.replace(a, lane, index.into(), args[1]),
            (VectorOp::Shift(lane, shift), Some(a), ..) => self.shift(lane, shift, a, args[1]),
            (VectorOp::Not, Some(a), ..) => a.map(|word| self.with_int(WasmOp::I32Xor, word, u32::MAX)),
            (VectorOp::Extend { from, high, signed }, Some(a), ..) => self.extend(a, from, high, signed),
            (VectorOp::ExtAddPairwise { from, signed }, Some(a), ..) => self.add_pairs(a, from, signed),
            (VectorOp::WidenLow(op), Some(a), ..) => self.widen_low(op, a),
            (VectorOp::NarrowZero(op), Some(a), ..) => self.narrow_zero(op, a),
            (VectorOp::Int(lane, op), Some(a), b, _) => self.int_op(lane, op, a, b.unwrap_or(a)),
            (VectorOp::Lanes(op), Some(a), None, _) => self.on_lanes(op, &[a]),
            (VectorOp::Lanes(op), Some(a), Some(b), _) => self.on_lanes(op, &[a, b]),
            (VectorOp::Compare(op), Some(a), Some(b), _) => self.compare(op, a, b),
            (VectorOp::And, Some(a), Some(b), _) => self.each(WasmOp::I32And, a, b),
            (VectorOp::Or, Some(a), Some(b), _) => self.each(WasmOp::I32Or, a, b),
            (VectorOp::Xor, Some(a), Some(b), _) => self.each(WasmOp::I32Xor, a, b),
            (VectorOp::AndNot, Some(a), Some(b), _) => {
                let b = b.map(|word| self.with_int(WasmOp::I32Xor, word, u32::MAX));
                self.each(WasmOp::I32And, a, b)
            }
            (VectorOp::Shuffle(lanes), Some(a), Some(b), _) => self.shuffle(lanes, a, b),
            (VectorOp::Swizzle, Some(a), Some(b), _) => self.swizzle(a, b),
            (VectorOp::PseudoMin(lane), Some(a), Some(b), _) => self.pseudo(lane, a, b, true),
            (VectorOp::PseudoMax(lane), Some(a), Some(b), _) => self.pseudo(lane, a, b, false),
            (VectorOp::ExtMul { from, high, signed }, Some(a), Some(b), _) => self.multiply(a, b, from, high, signed),
            (VectorOp::Narrow { from, signed }, Some(a), Some(b), _) => self.narrow(a, b, from, signed),
            (VectorOp::Dot, Some(a), Some(b), _) => self.dot(a, b, Lane::I16, 2),
            (VectorOp::RelaxedDot, Some(a), Some(b), _) => self.dot(a, b, Lane::I8, 2),
            (VectorOp::RelaxedDotAdd, Some(a), Some(b), Some(c)) => {
                let sums = self.dot(a, b, Lane::I8, 4);
                self.each(WasmOp::I32Add, sums, c)
            }
            (VectorOp::BitSelect, Some(a), Some(b), Some(c)) => {
                [0, 1, 2, 3].map(|i| self.select_bits(c[i], a[i], b[i]))
            }
            (VectorOp::MulAdd { lane, negated }, Some(a), Some(b), Some(c)) => {
                self.multiply_add(lane, negated, [a, b, c])
            }
            (_, Some(a), ..) => {
                let scalar = self.scalar(op, a)?;
                if let Some(result) = result {
                    self.split.rename(result, scalar);
                }
                return Ok(None);
            }
            _ => return Err(Error::Internal(format!("{op} has no vector"))),
        };
        Ok(Some(words))
    }
}

/// The accesses of the words of a vector's access. The first one's check covers all, so that nothing is stored where one
/// byte is out of bounds.
fn parts(access: MemoryAccess) -> impl Iterator<Item = MemoryAccess> {
    (0..access.bytes / 4).map(move |word| MemoryAccess {
        ty: Type::I32,
        bytes: 4,
        checked: Some(if word == 0 { access.bytes as u8 } else { 0 }),
        // Where the sum is beyond all addresses, so is every access of a word there.
        offset: access.offset.saturating_add(4 * word),
        ..access
    })
}

/// Building statements.
impl Splitter<'_> {
    fn int(&mut self, value: u32) -> Value {
        self.list.i32(self.function, value)
    }

    fn wasm(&mut self, op: WasmOp, args: &[Value]) -> Value {
        self.list.wasm(self.function, op, args)
    }

    fn with_int(&mut self, op: WasmOp, a: Value, b: u32) -> Value {
        let b = self.int(b);
        self.wasm(op, &[a, b])
    }

    /// An operator with a 64-bit constant.
    fn with_long(&mut self, op: WasmOp, a: Value, b: u64) -> Value {
        let b = self.list.constant(self.function, Const::I64(b));
        self.wasm(op, &[a, b])
    }

    fn negative(&mut self, value: Value) -> Value {
        let zero = self.int(0);
        self.wasm(WasmOp::I32Sub, &[zero, value])
    }

    /// `a` where the condition is not zero.
    fn select(&mut self, a: Value, b: Value, condition: Value) -> Value {
        let ty = self.function.ty(a);
        self.list.op(self.function, Op::Select, &[a, b, condition], ty)
    }

    fn select_words(&mut self, a: Words, b: Words, condition: Value) -> Words {
        [0, 1, 2, 3].map(|i| self.select(a[i], b[i], condition))
    }

    /// Bits of `a` where the mask has ones, else of `b`.
    fn select_bits(&mut self, mask: Value, a: Value, b: Value) -> Value {
        let differ = self.wasm(WasmOp::I32Xor, &[a, b]);
        let taken = self.wasm(WasmOp::I32And, &[differ, mask]);
        self.wasm(WasmOp::I32Xor, &[taken, b])
    }

    /// An operator on each word.
    fn each(&mut self, op: WasmOp, a: Words, b: Words) -> Words {
        [0, 1, 2, 3].map(|i| self.wasm(op, &[a[i], b[i]]))
    }

    fn float(&mut self, word: Value) -> Value {
        match self.floats.get(&word) {
            Some(float) => *float,
            None => self.wasm(WasmOp::F32ReinterpretI32, &[word]),
        }
    }

    fn long(&mut self, pair: [Value; 2]) -> Value {
        if let Some(long) = self.longs.get(&pair) {
            return *long;
        }
        let low = self.wasm(WasmOp::I64ExtendI32U, &[pair[0]]);
        let high = self.wasm(WasmOp::I64ExtendI32U, &[pair[1]]);
        let high = self.with_long(WasmOp::I64Shl, high, 32);
        self.wasm(WasmOp::I64Or, &[low, high])
    }

    fn double(&mut self, pair: [Value; 2]) -> Value {
        if let Some(double) = self.doubles.get(&pair) {
            return *double;
        }
        let long = self.long(pair);
        self.wasm(WasmOp::F64ReinterpretI64, &[long])
    }

    fn word_of_float(&mut self, float: Value) -> Value {
        let word = self.wasm(WasmOp::I32ReinterpretF32, &[float]);
        self.floats.insert(word, float);
        word
    }

    fn pair_of_long(&mut self, long: Value) -> [Value; 2] {
        let low = self.wasm(WasmOp::I32WrapI64, &[long]);
        let high = self.with_long(WasmOp::I64ShrU, long, 32);
        let high = self.wasm(WasmOp::I32WrapI64, &[high]);
        self.longs.insert([low, high], long);
        [low, high]
    }

    fn pair_of_double(&mut self, double: Value) -> [Value; 2] {
        let long = self.wasm(WasmOp::I64ReinterpretF64, &[double]);
        let pair = self.pair_of_long(long);
        self.doubles.insert(pair, double);
        pair
    }
}
