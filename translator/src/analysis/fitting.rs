//! Floats that are known to fit the integer that they are truncated to.
//!
//! Where a language says nothing of floats that don't fit, compilers guard WebAssembly's truncation, which traps, by a
//! branch: `|x| < 2^31` for signed integers, `x < 2^32` and `x >= 0` for unsigned ones. Behind it nothing can trap.

use super::dataflow;
use crate::hash::{HashMap, HashMapExt, HashSet, HashSetExt};
use crate::ir::{Args, Const, Exit, Function, Op, RegionId, Stmt, StmtKind, Value, WasmOp};

/// The results of truncations, in a function of Wasm's operators, whose operands are known to fit.
pub fn fitting(function: &Function) -> HashSet<Value> {
    let regions = dataflow::regions(function);
    let mut search =
        Search { function, defs: HashMap::new(), places: HashMap::new(), known: Vec::new(), found: HashSet::new() };
    let mut truncates = false;
    for stmt in regions.iter().flat_map(|id| &function.region(*id).stmts) {
        if let StmtKind::Op { op, args, result: Some(result) } = &stmt.kind {
            truncates |= matches!(op, Op::Wasm(op) if truncation(*op).is_some());
            search.defs.insert(*result, (*op, args));
        }
        stmt.kind.each_region().for_each(|below| *search.places.entry(below).or_default() += 1);
    }
    if truncates {
        search.region(function.body);
    }
    search.found
}

/// The bits of the integer that a truncation which may trap gives, and whether it is signed.
fn truncation(op: WasmOp) -> Option<(u32, bool)> {
    op.truncates_to_signed().filter(|_| op.can_trap()).map(|signed| (op.result().bits(), signed))
}

/// What is known of a value: its magnitude is below `2^bits`, or it is itself and not negative.
#[derive(Clone, Copy, PartialEq)]
struct Bound {
    value: Value,
    bits: u32,
    magnitude: bool,
}

struct Search<'f> {
    function: &'f Function,
    defs: HashMap<Value, (Op, &'f Args)>,
    /// Number of places in which a region stands.
    places: HashMap<RegionId, u32>,
    known: Vec<Bound>,
    found: HashSet<Value>,
}

impl<'f> Search<'f> {
    fn region(&mut self, id: RegionId) {
        let function = self.function;
        let known = self.known.len();
        for stmt in &function.region(id).stmts {
            self.stmt(stmt);
        }
        self.known.truncate(known);
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Op { op: Op::Wasm(op), args, result: Some(result) } => {
                if let Some(truncation) = truncation(*op)
                    && self.known.iter().any(|bound| bound.value == args[0] && suffices(bound, truncation))
                {
                    self.found.insert(*result);
                }
            }
            StmtKind::If { cond, then, otherwise, .. } => {
                for (holds, arm, other) in [(true, *then, *otherwise), (false, *otherwise, *then)] {
                    let bounds = self.bounds(*cond, holds);
                    self.below(arm, &bounds);
                    // Behind a branch that the other arm does not come back from, it holds as well.
                    if !matches!(self.function.region(other).exit, Exit::Yield(_)) {
                        self.known.extend(bounds);
                    }
                }
            }
            kind => kind.each_region().for_each(|below| self.below(below, &[])),
        }
    }

    /// A region in which these hold, too. One that stands in several places is looked at with nothing known.
    fn below(&mut self, id: RegionId, bounds: &[Bound]) {
        if self.places.get(&id) != Some(&1) {
            let known = std::mem::take(&mut self.known);
            self.region(id);
            self.known = known;
            return;
        }
        let known = self.known.len();
        self.known.extend(bounds);
        self.region(id);
        self.known.truncate(known);
    }

    /// What a condition says where it holds, or does not.
    fn bounds(&self, cond: Value, holds: bool) -> Vec<Bound> {
        match (self.defs.get(&cond), holds) {
            (Some((Op::Wasm(WasmOp::I32Eqz), args)), _) => self.bounds(args[0], !holds),
            (Some((Op::Wasm(WasmOp::I32And), args)), true) if args.iter().all(|arg| self.is_comparison(*arg)) => {
                let (a, b) = (args[0], args[1]);
                let both = self.not_negative_and_below(a, b).or_else(|| self.not_negative_and_below(b, a));
                let each = args.iter().filter_map(|arg| self.magnitude_below(*arg));
                both.into_iter().chain(each).collect()
            }
            (_, true) => self.magnitude_below(cond).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    fn is_comparison(&self, value: Value) -> bool {
        matches!(self.defs.get(&value), Some((Op::Wasm(op), _)) if super::roots::is_comparison(*op))
    }

    /// `|x| < 2^bits`
    fn magnitude_below(&self, cond: Value) -> Option<Bound> {
        let (magnitude, bits) = self.below_power(cond)?;
        match self.defs.get(&magnitude)? {
            (Op::Wasm(WasmOp::F32Abs | WasmOp::F64Abs), args) => Some(Bound { value: args[0], bits, magnitude: true }),
            _ => None,
        }
    }

    /// `x >= 0` and `x < 2^bits`
    fn not_negative_and_below(&self, from: Value, below: Value) -> Option<Bound> {
        let (value, bits) = self.below_power(below)?;
        match self.defs.get(&from)? {
            (Op::Wasm(WasmOp::F32Ge | WasmOp::F64Ge), args) if args[0] == value && self.float(args[1])? >= 0.0 => {
                Some(Bound { value, bits, magnitude: false })
            }
            _ => None,
        }
    }

    /// `x < 2^bits`, or less; 32 or 64 bits, of which a signed integer has one less.
    fn below_power(&self, cond: Value) -> Option<(Value, u32)> {
        let (Op::Wasm(WasmOp::F32Lt | WasmOp::F64Lt), args) = self.defs.get(&cond)? else { return None };
        let limit = self.float(args[1])?;
        let bits = [31, 32, 63, 64].into_iter().find(|bits| limit <= f64::from(*bits).exp2())?;
        Some((args[0], bits))
    }

    fn float(&self, value: Value) -> Option<f64> {
        match self.defs.get(&value)? {
            (Op::Const(Const::F32(bits)), _) => Some(f32::from_bits(*bits).into()),
            (Op::Const(Const::F64(bits)), _) => Some(f64::from_bits(*bits)),
            _ => None,
        }
    }
}

/// Whether a truncation can't trap.
fn suffices(bound: &Bound, (bits, signed): (u32, bool)) -> bool {
    match signed {
        true => bound.bits < bits,
        // Of a magnitude nobody knows the sign.
        false => !bound.magnitude && bound.bits <= bits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Module, Shape, testing};

    /// Number of truncations, and of those that are known to fit.
    fn count(guarded: &str) -> (usize, usize) {
        let text = format!(
            "(module (memory 1) (func (export \"kernel\") (param $i i32) (param i32 i32) (param $p i32) (param i32)
               (local $x f32) (local $y f64) (local $sum i32) (local $long i64)
               (local.set $x (f32.load (local.get $p))) (local.set $y (f64.load offset=8 (local.get $p)))
               {guarded}
               (i32.store offset=16 (local.get $p) (local.get $sum))
               (i64.store offset=24 (local.get $p) (local.get $long))))"
        );
        let module = Module::parse(wat::parse_str(&text).unwrap()).unwrap();
        let function = testing::simplified(&module, 0, &Shape::distinct(1)).unwrap();
        let stmts = dataflow::regions(&function).into_iter().flat_map(|id| &function.region(id).stmts);
        let all = stmts
            .filter(|stmt| matches!(&stmt.kind, StmtKind::Op { op: Op::Wasm(op), .. } if truncation(*op).is_some()));
        (all.count(), fitting(&function).len())
    }

    fn below(limit: &str) -> String {
        format!("(f32.lt (f32.abs (local.get $x)) (f32.const {limit}))")
    }

    #[test]
    fn a_guarded_truncation_fits() {
        let truncate = "(local.set $sum (i32.trunc_f32_s (local.get $x)))";
        let unsigned = "(local.set $sum (i32.trunc_f32_u (local.get $x)))";
        let signed = below("0x1p31");
        let within = "(i32.and (f32.lt (local.get $x) (f32.const 0x1p32)) (f32.ge (local.get $x) (f32.const 0)))";
        let after = |cond: &str, code: &str| format!("(block $b (br_if $b (i32.eqz {cond})) {code})");
        for (guarded, expected) in [
            (format!("(if {signed} (then {truncate}))"), (1, 1)),
            (format!("(if (i32.eqz {signed}) (then) (else {truncate}))"), (1, 1)),
            (after(&signed, truncate), (1, 1)),
            (format!("(if {within} (then {unsigned}))"), (1, 1)),
            (after(within, unsigned), (1, 1)),
            (format!("(if {} (then {truncate}))", below("0x1p20")), (1, 1)),
            // In the wrong arm, of the wrong sign, too large, of another value, behind it all.
            (format!("(if {signed} (then) (else {truncate}))"), (1, 0)),
            (format!("(if {signed} (then {unsigned}))"), (1, 0)),
            (format!("(if {} (then {truncate}))", below("0x1p32")), (1, 0)),
            (format!("(if {} (then {truncate}))", below("nan")), (1, 0)),
            (format!("(if {signed} (then (local.set $sum (i32.trunc_f64_s (local.get $y)))))"), (1, 0)),
            (format!("(if {signed} (then (local.set $sum (i32.const 1)))) {truncate}"), (1, 0)),
            (format!("(if {within} (then {truncate}))"), (1, 0)),
            // A wider integer takes more.
            (format!("(if {within} (then (local.set $long (i64.trunc_f32_s (local.get $x)))))"), (1, 1)),
        ] {
            assert_eq!(count(&guarded), expected, "{guarded}");
        }
    }
}
