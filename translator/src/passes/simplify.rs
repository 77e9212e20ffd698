//! Constant folding, algebraic identities, global value numbering, conditions known at compile time (constant, or decided
//! by a branch passed before), and results that are the same whichever way control came. Works at every stage before
//! strict form; dead code is left for [`dead_code`](super::dead_code).

use std::collections::hash_map::Entry;

use crate::analysis::dataflow;
use crate::analysis::side_table::SideTable;
use crate::hash::{HashMap, HashMapExt, HashSet, HashSetExt};
use crate::ir::eval::eval;
use crate::ir::{Args, Const, Exit, Function, Label, LowOp, Op, Region, RegionId, Stmt, StmtKind, Type, Value, WasmOp};

/// Simplifies a function once; running it again may find more.
pub fn simplify(function: &mut Function) {
    simplify_knowing(function, &[]);
}

/// The same, with these `Bool` values known to be false.
pub fn simplify_knowing(function: &mut Function, false_values: &[Value]) {
    let mut continues: HashMap<Label, Vec<RegionId>> = HashMap::new();
    // Passes leave regions that nothing reaches any more as they were.
    for id in dataflow::regions(function) {
        if let Exit::Continue(label, _) = &function.region(id).exit {
            continues.entry(*label).or_default().push(id);
        }
    }
    let count = function.values.len();
    let mut pass = Simplifier {
        subst: (0..count as u32).map(Value).collect(),
        consts: SideTable::new(count),
        defs: SideTable::new(count),
        scope: vec![0; count],
        active: vec![true],
        scopes: vec![0],
        continues,
        breaks: HashMap::new(),
        available: HashMap::new(),
        undo: Vec::new(),
        not_zero: HashSet::new(),
        function,
    };
    for value in false_values {
        pass.consts.set(*value, Const::Bool(false));
    }
    let body = pass.function.body;
    pass.region(body);
}

struct Simplifier<'f> {
    function: &'f mut Function,
    /// What each value is called now.
    subst: Vec<Value>,
    consts: SideTable<Const>,
    /// The operator and first two operands that define a value.
    defs: SideTable<(Op, [Value; 2])>,
    /// The number of the region instance that defines a value.
    scope: Vec<u32>,
    /// Whether a region instance is still open, by number.
    active: Vec<bool>,
    scopes: Vec<u32>,
    /// Regions that continue a loop.
    continues: HashMap<Label, Vec<RegionId>>,
    /// Regions, already simplified, that break to a label.
    breaks: HashMap<Label, Vec<RegionId>>,
    /// The value that holds what an operator gives for these operands.
    available: HashMap<Key, Value>,
    /// What is to be forgotten when the open regions end, the innermost's last.
    undo: Vec<Known>,
    /// Values that are not zero in the open regions.
    not_zero: HashSet<Value>,
}

/// Most operands of an operator.
const MAX_OPERANDS: usize = 3;

/// An operator and its operands.
type Key = (Op, [Option<Value>; MAX_OPERANDS]);

/// Something known until the end of a region.
enum Known {
    /// An entry of `available`.
    Available(Key),
    /// A condition decided by a branch that was passed.
    Decided(Value),
    /// A value that is not zero, by a branch that was passed.
    NotZero(Value),
}

impl Simplifier<'_> {
    fn value(&self, value: Value) -> Value {
        let mut value = value;
        while self.subst[value.index()] != value {
            value = self.subst[value.index()];
        }
        value
    }

    fn constant(&self, value: Value) -> Option<Const> {
        self.consts.get(value).copied()
    }

    fn in_scope(&self, value: Value) -> bool {
        self.active[self.scope[value.index()] as usize]
    }

    fn define(&mut self, value: Value) {
        self.scope[value.index()] = self.scopes.last().copied().unwrap_or(0);
    }

    /// A value made by this pass.
    fn fresh(&mut self, like: Value) -> Value {
        let value = self.function.new_value(self.function.ty(like));
        self.subst.push(value);
        self.consts.push();
        self.defs.push();
        self.scope.push(0);
        self.define(value);
        value
    }

    fn region(&mut self, id: RegionId) {
        let number = self.active.len() as u32;
        self.active.push(true);
        self.scopes.push(number);
        let known = self.undo.len();
        for param in self.function.region(id).params.clone() {
            self.define(param);
        }
        let mut out = Vec::with_capacity(self.function.region(id).stmts.len());
        let end = self.list(id, &mut out);
        let (mut exit, exit_at) = end;
        for value in exit.values_mut() {
            *value = self.value(*value);
        }
        if let Exit::Break(label, _) = &exit {
            self.breaks.entry(*label).or_default().push(id);
        }
        let region = self.function.region_mut(id);
        region.stmts = out;
        region.exit = exit;
        region.exit_at = exit_at;
        self.scopes.pop();
        self.active[number as usize] = false;
        for known in self.undo.drain(known..) {
            match known {
                Known::Available(key) => _ = self.available.remove(&key),
                Known::Decided(cond) => self.consts.forget(cond),
                Known::NotZero(value) => _ = self.not_zero.remove(&value),
            }
        }
    }

    /// Simplifies a region's statements into `out`; returns the exit, which may come from a nested region that is
    /// known to be taken.
    fn list(&mut self, id: RegionId, out: &mut Vec<Stmt>) -> (Exit, crate::Location) {
        let stmts = std::mem::take(&mut self.function.region_mut(id).stmts);
        for mut stmt in stmts {
            for arg in stmt.kind.args_mut() {
                *arg = self.value(*arg);
            }
            if let Some(taken) = self.known_way(&stmt.kind) {
                let results = stmt.kind.results().to_vec();
                match self.list(taken, out) {
                    (Exit::Yield(values), _) => self.replace_all(&results, &values),
                    end => return end,
                }
                continue;
            }
            let Some((way, results)) = self.take_only_way_out(&mut stmt.kind) else {
                self.statement(stmt, out);
                continue;
            };
            self.statement(stmt, out);
            match self.list(way, out) {
                (Exit::Yield(values), _) => self.replace_all(&results, &values),
                end => return end,
            }
        }
        let region = self.function.region_mut(id);
        (std::mem::replace(&mut region.exit, Exit::Yield(Vec::new())), region.exit_at)
    }

    fn replace_all(&mut self, results: &[Value], values: &[Value]) {
        for (result, value) in results.iter().zip(values) {
            self.subst[result.index()] = self.value(*value);
        }
    }

    /// The region that a branch with a constant condition takes.
    fn known_way(&self, kind: &StmtKind) -> Option<RegionId> {
        match kind {
            StmtKind::If { cond, then, otherwise, .. } => match self.constant(*cond)? {
                Const::I32(0) | Const::Bool(false) => Some(*otherwise),
                _ => Some(*then),
            },
            StmtKind::Switch { index, cases, default, .. } => match self.constant(*index)? {
                Const::I32(index) => Some(cases.get(index as usize).copied().unwrap_or(*default)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The one way that comes out of a branch.
    fn only_way_out(&self, kind: &StmtKind) -> Option<RegionId> {
        if !matches!(kind, StmtKind::If { .. } | StmtKind::Switch { .. }) {
            return None;
        }
        let comes_out = |way: &RegionId| matches!(self.function.region(*way).exit, Exit::Yield(_));
        let mut ways = kind.each_region().filter(comes_out);
        let way = ways.next()?;
        ways.all(|other| other == way).then_some(way)
    }

    /// Of a branch that only one of its ways comes out of, takes that way, which then stands behind the branch: what the
    /// branch decides and what the way decides is known from there on; so its results are the branch's. (NVIDIA's compiler moves loads in front of stores to
    /// the same place where it has to find out by itself that a check repeats one in such a way.)
    fn take_only_way_out(&mut self, kind: &mut StmtKind) -> Option<(RegionId, Vec<Value>)> {
        let way = self.only_way_out(kind)?;
        let region = self.function.region(way);
        if region.stmts.is_empty() && region.exit.values().is_empty() {
            return None;
        }
        let (exit, exit_at) = (Exit::Yield(Vec::new()), region.exit_at);
        let empty = Region { params: Vec::new(), stmts: Vec::new(), exit, exit_at };
        let empty = self.function.new_region(empty);
        let replace = |region: &mut RegionId| {
            if *region == way {
                *region = empty;
            }
        };
        let results = match kind {
            StmtKind::If { then, otherwise, results, .. } => {
                [then, otherwise].into_iter().for_each(replace);
                results
            }
            StmtKind::Switch { cases, default, results, .. } => {
                cases.iter_mut().chain([default]).for_each(replace);
                results
            }
            _ => return None,
        };
        Some((way, std::mem::take(results)))
    }

    fn statement(&mut self, mut stmt: Stmt, out: &mut Vec<Stmt>) {
        match &mut stmt.kind {
            StmtKind::Op { op, args, result } => {
                if let Some(result) = *result {
                    self.define(result);
                    if self.operator(op, args, result) {
                        return;
                    }
                }
            }
            StmtKind::Call { results, .. } | StmtKind::CallIndirect { results, .. } => {
                for result in results.clone() {
                    self.define(result);
                }
            }
            StmtKind::If { cond, then, otherwise, .. } => {
                while let Some(inner) = self.negated(*cond) {
                    *cond = inner;
                    std::mem::swap(then, otherwise);
                }
                let (then, otherwise) = (*then, *otherwise);
                self.region(then);
                self.region(otherwise);
            }
            StmtKind::Block { body, .. } => {
                let body = *body;
                self.region(body);
            }
            StmtKind::Loop { label, inits, body, .. } => {
                let (label, inits, body) = (*label, inits.clone(), *body);
                self.constant_params(label, &inits, body);
                self.region(body);
            }
            StmtKind::Switch { .. } => {
                for region in stmt.kind.distinct_regions() {
                    self.region(region);
                }
            }
        }
        let is_operator =
            matches!(stmt.kind, StmtKind::Op { .. } | StmtKind::Call { .. } | StmtKind::CallIndirect { .. });
        let merged = if is_operator { Vec::new() } else { self.merged_results(&stmt.kind) };
        let at = stmt.at;
        self.learn(&stmt.kind);
        out.push(stmt);
        for (result, constant) in merged {
            let value = self.fresh(result);
            self.consts.set(value, constant);
            self.subst[result.index()] = value;
            out.push(Stmt {
                kind: StmtKind::Op { op: Op::Const(constant), args: Args::new(), result: Some(value) },
                at,
            });
        }
    }

    /// Behind an `if` of which one arm never comes out, the condition is decided.
    fn learn(&mut self, kind: &StmtKind) {
        let StmtKind::If { cond, then, otherwise, .. } = kind else { return };
        let yields = |region: &RegionId| matches!(self.function.region(*region).exit, Exit::Yield(_));
        // Only a `Bool` is decided by "not false"; an `I32` that is not zero may be any other number.
        let decided = match (yields(then), yields(otherwise), self.function.ty(*cond)) {
            (true, false, Type::Bool) => Const::Bool(true),
            (false, true, ty) => Const::zero(ty),
            _ => return,
        };
        if self.constant(*cond).is_none() {
            self.consts.set(*cond, decided);
            self.undo.push(Known::Decided(*cond));
        }
        let greater = match (self.defs.get(*cond).copied(), decided) {
            (Some((Op::Low(LowOp::ULe), [a, _])), Const::Bool(false)) => a,
            (Some((Op::Low(LowOp::ULt), [_, b])), Const::Bool(true)) => b,
            _ => return,
        };
        self.learn_not_zero(greater);
    }

    /// What is greater than something unsigned is not zero; a product that is not zero has no factor that is.
    fn learn_not_zero(&mut self, value: Value) {
        if !self.not_zero.insert(value) {
            return;
        }
        self.undo.push(Known::NotZero(value));
        if let Some((Op::Low(LowOp::IMul), factors)) = self.defs.get(value).copied() {
            factors.into_iter().for_each(|factor| self.learn_not_zero(factor));
        }
    }

    /// The value that already holds what this operator gives; else remembers that `result` does from here on.
    fn numbered(&mut self, op: &Op, args: &[Value], result: Value) -> Option<Value> {
        let depends_on_state = match op {
            Op::Load(_) | Op::GlobalGet(_) => true,
            Op::Low(op) => op.reads_state(),
            _ => false,
        };
        let is_value = op.is_pure() || matches!(op, Op::Wasm(_));
        if depends_on_state || !is_value || args.len() > MAX_OPERANDS {
            return None;
        }
        let mut operands = [None; MAX_OPERANDS];
        for (place, arg) in operands.iter_mut().zip(args) {
            *place = Some(*arg);
        }
        match self.available.entry((*op, operands)) {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(place) => {
                self.undo.push(Known::Available(*place.key()));
                place.insert(result);
                None
            }
        }
    }

    /// Finds a construct's results that are one value whichever way control came. A value that is still in scope
    /// replaces the result at once; results that are one constant are returned.
    fn merged_results(&mut self, kind: &StmtKind) -> Vec<(Value, Const)> {
        let yields = |region: &RegionId| matches!(self.function.region(*region).exit, Exit::Yield(_));
        let mut sources: smallvec::SmallVec<[RegionId; 4]> = kind.each_region().filter(yields).collect();
        if let StmtKind::Block { label, .. } | StmtKind::Loop { label, .. } = kind {
            sources.extend(self.breaks.remove(label).unwrap_or_default());
        }
        let mut constants = Vec::new();
        for (number, result) in kind.results().iter().enumerate() {
            self.define(*result);
            let given = |source: &RegionId| self.value(self.function.region(*source).exit.values()[number]);
            let Some(first) = sources.first().map(given) else { continue };
            if self.in_scope(first) && sources.iter().all(|source| given(source) == first) {
                self.subst[result.index()] = first;
            } else if let Some(constant) = self.constant(first)
                && sources.iter().all(|source| self.constant(given(source)) == Some(constant))
            {
                constants.push((*result, constant));
            }
        }
        constants
    }

    /// Replaces a loop's parameters that no iteration changes.
    fn constant_params(&mut self, label: Label, inits: &[Value], body: RegionId) {
        let params = self.function.region(body).params.clone();
        let continues = self.continues.get(&label).cloned().unwrap_or_default();
        for (number, (param, init)) in params.iter().zip(inits).enumerate() {
            let unchanged = continues.iter().all(|region| match &self.function.region(*region).exit {
                Exit::Continue(l, values) if *l == label => {
                    let value = self.value(values[number]);
                    value == *param || value == *init
                }
                _ => true,
            });
            if unchanged {
                self.subst[param.index()] = *init;
            }
        }
    }

    /// The value that is zero exactly when the condition holds.
    fn negated(&self, cond: Value) -> Option<Value> {
        match *self.defs.get(cond)? {
            (Op::Wasm(WasmOp::I32Eqz), [inner, _]) => Some(inner),
            (Op::Low(LowOp::BNot), [inner, _]) => Some(inner),
            _ => None,
        }
    }

    /// The word that the low half of 64 bits is, where they were made of words: pairs of pointers are moved so, and a half that is
    /// taken out again must be known for the pointer that it was.
    fn half(&self, bits: Value) -> Option<Value> {
        use WasmOp::*;
        let of = |value: Value| match self.defs.get(value) {
            Some((Op::Wasm(op), args)) => Some((*op, *args)),
            _ => None,
        };
        let word = |value: Value| match of(value) {
            Some((I64ExtendI32U, [word, _])) => Some(word),
            _ => None,
        };
        let is_32 = |value: Value| self.constant(value) == Some(Const::I64(32));
        let is_high = |value: Value| matches!(self.constant(value), Some(Const::I64(bits)) if bits as u32 == 0);
        // The words of a pair, low and high; a constant one has no value.
        let pair = |value: Value| match of(value)? {
            (I64Or, [a, b]) => [(a, b), (b, a)].into_iter().find_map(|(low, high)| match of(high) {
                Some((I64Shl, [high, amount])) if is_32(amount) => Some((word(low)?, Some(high))),
                _ if is_high(high) => Some((word(low)?, None)),
                _ => None,
            }),
            _ => None,
        };
        match of(bits)? {
            (I64ExtendI32U | I64ExtendI32S, [word, _]) => Some(word),
            (I64Or, _) => pair(bits).map(|(low, _)| low),
            (I64ShrU | I64ShrS, [shifted, amount]) if is_32(amount) => {
                let (_, high) = pair(shifted)?;
                match of(high?)? {
                    (I64ExtendI32U | I64ExtendI32S, [word, _]) => Some(word),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The word that the low half of 64 bits is, where it is the constant high half of others, whose low half is a word.
    fn constant_half(&self, bits: Value) -> Option<Const> {
        use WasmOp::*;
        let Some((Op::Wasm(I64ShrU | I64ShrS), [shifted, amount])) = self.defs.get(bits) else { return None };
        let Some((Op::Wasm(I64Or), [low, high])) = self.defs.get(*shifted) else { return None };
        let is_word = matches!(self.defs.get(*low), Some((Op::Wasm(I64ExtendI32U), _)));
        match (self.constant(*high)?, self.constant(*amount)?) {
            (Const::I64(high), Const::I64(32)) if is_word => Some(Const::I32((high >> 32) as u32)),
            _ => None,
        }
    }

    /// Simplifies an operator in place; true if its result was replaced by another value.
    fn operator(&mut self, op: &mut Op, args: &mut Args, result: Value) -> bool {
        if let Some(value) = self.fold(op, args) {
            *op = Op::Const(value);
            args.clear();
            self.consts.set(result, value);
        } else {
            self.canonical_order(op, args);
        }
        if let Some(same) = self.identity(op, args).or_else(|| self.numbered(op, args, result)) {
            self.subst[result.index()] = same;
            return true;
        }
        let first = args.first().copied().unwrap_or(result);
        let second = args.get(1).copied().unwrap_or(first);
        self.defs.set(result, (*op, [first, second]));
        false
    }

    fn fold(&self, op: &Op, args: &[Value]) -> Option<Const> {
        if let Op::Const(value) = op {
            return Some(*value);
        }
        if let (Op::Low(compare @ (LowOp::Eq | LowOp::Ne)), [value, zero]) = (op, args)
            && matches!(self.constant(*zero), Some(Const::I32(0) | Const::I64(0)))
            && self.not_zero.contains(value)
        {
            return Some(Const::Bool(*compare == LowOp::Ne));
        }
        if let (Op::Wasm(WasmOp::I32WrapI64), [bits]) = (op, args)
            && let Some(high) = self.constant_half(*bits)
        {
            return Some(high);
        }
        if args.is_empty() || args.iter().any(|arg| self.constant(*arg).is_none()) {
            return None;
        }
        let args: Vec<Const> = args.iter().filter_map(|arg| self.constant(*arg)).collect();
        eval(op, &args).ok()
    }

    /// Constants to the right.
    fn canonical_order(&self, op: &Op, args: &mut [Value]) {
        use WasmOp::*;
        let commutes = match op {
            Op::Wasm(op) => matches!(
                op,
                I32Add
                    | I32Mul
                    | I32And
                    | I32Or
                    | I32Xor
                    | I32Eq
                    | I32Ne
                    | I64Add
                    | I64Mul
                    | I64And
                    | I64Or
                    | I64Xor
                    | I64Eq
                    | I64Ne
            ),
            Op::Low(op) => {
                matches!(
                    op,
                    LowOp::IAdd
                        | LowOp::IMul
                        | LowOp::MulHigh
                        | LowOp::And
                        | LowOp::Or
                        | LowOp::Xor
                        | LowOp::Eq
                        | LowOp::Ne
                )
            }
            _ => false,
        };
        if commutes && args.len() == 2 && self.constant(args[0]).is_some() && self.constant(args[1]).is_none() {
            args.swap(0, 1);
        }
    }

    /// The operand that an operator is equal to.
    fn identity(&self, op: &Op, args: &[Value]) -> Option<Value> {
        use WasmOp::*;
        match (op, args) {
            (Op::Select, [a, b, cond]) => match self.constant(*cond) {
                Some(Const::I32(0)) => Some(*b),
                Some(_) => Some(*a),
                None => (a == b).then_some(*a),
            },
            (Op::Low(LowOp::Select), [cond, a, b]) => match self.constant(*cond) {
                Some(Const::Bool(false)) => Some(*b),
                Some(_) => Some(*a),
                None => (a == b).then_some(*a),
            },
            (Op::Low(LowOp::BNot), [a]) => self.negated(*a),
            (Op::Wasm(I32WrapI64), [bits]) => self.half(*bits),
            (Op::Low(op @ (LowOp::BAnd | LowOp::BOr)), [a, b]) => {
                let (known, other, value) = match (self.constant(*a), self.constant(*b)) {
                    (Some(Const::Bool(value)), _) => (a, b, value),
                    (_, Some(Const::Bool(value))) => (b, a, value),
                    _ => return (a == b).then_some(*a),
                };
                Some(if value == (*op == LowOp::BAnd) { *other } else { *known })
            }
            (_, [a, b]) => {
                let right = match self.constant(*b)? {
                    Const::I32(v) => i64::from(v as i32),
                    Const::I64(v) => v as i64,
                    _ => return None,
                };
                let neutral = match op {
                    Op::Wasm(
                        I32Add | I32Sub | I32Or | I32Xor | I32Shl | I32ShrS | I32ShrU | I32Rotl | I32Rotr | I64Add
                        | I64Sub | I64Or | I64Xor | I64Shl | I64ShrS | I64ShrU | I64Rotl | I64Rotr,
                    )
                    | Op::Low(
                        LowOp::IAdd | LowOp::ISub | LowOp::Or | LowOp::Xor | LowOp::Shl | LowOp::ShrS | LowOp::ShrU,
                    ) => 0,
                    Op::Wasm(I32Mul | I64Mul | I32DivU | I64DivU | I32DivS | I64DivS)
                    | Op::Low(LowOp::IMul | LowOp::UDiv) => 1,
                    Op::Wasm(I32And | I64And) | Op::Low(LowOp::And) => -1,
                    _ => return None,
                };
                (right == neutral).then_some(*a)
            }
            _ => None,
        }
    }
}
