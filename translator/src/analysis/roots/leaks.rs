//! Addresses that go into numbers which no fact follows: as digits that are looked up in a table, as a hash, as a float.

use super::{Fact, LinearCombinations, NUMBER, RootSet, is_comparison, scaled_operand};
use crate::analysis::dataflow;
use crate::ir::{Op, StmtKind, Value, WasmOp};

impl LinearCombinations<'_> {
    /// The places whose addresses do: any number may be a pointer to these then. Loaded pointers are not among them, which would
    /// be told of every kernel that works on bytes.
    pub(super) fn leaked(&self, facts: &[Fact]) -> RootSet {
        let mut leaked = RootSet::default();
        for id in dataflow::regions(self.function) {
            for stmt in &self.function.region(id).stmts {
                if let StmtKind::Op { op, args, result } = &stmt.kind {
                    leaked = leaked.with(self.lost(op, args, *result, facts));
                }
            }
        }
        leaked.without_loaded()
    }

    /// The places of which what an operator computes or stores no longer tells.
    fn lost(&self, op: &Op, args: &[Value], result: Option<Value>, facts: &[Fact]) -> RootSet {
        let of = |args: &[Value], kept: &dyn Fn(Fact) -> bool| {
            let facts = args.iter().map(|arg| facts[arg.index()]);
            facts.filter(|fact| !kept(*fact)).fold(RootSet::default(), |all, fact| all.with(self.places(fact)))
        };
        let parts = of(args, &|fact| !is_part(fact));
        match (op, op.memory_access(), result) {
            // What is stored in part may be put together of other loads; a whole address is a loaded pointer then.
            (_, Some(access), _) => {
                let stored = if op.stores() { &args[1..] } else { &[] };
                parts.with(of(stored, &|fact| access.bytes >= 4 && self.is_whole(fact)))
            }
            (Op::Wasm(op), ..) if is_comparison(*op) => RootSet::default(),
            (Op::Wasm(op), _, _) if self.spoils(*op, args) => of(args, &is_difference),
            (Op::Wasm(op), _, Some(result)) => match facts[result.index()] {
                NUMBER => parts,
                // An index that is added to a pointer.
                Fact::Exact(_) | Fact::Among(..) | Fact::Loaded if matches!(op, WasmOp::I32Add | WasmOp::I32Sub) => {
                    let is_joined = args.iter().all(|arg| facts[arg.index()].without_parts() == NUMBER);
                    if is_joined { RootSet::default() } else { parts }
                }
                _ => RootSet::default(),
            },
            _ => RootSet::default(),
        }
    }

    /// Whether what is loaded in its place is a pointer, if it is one.
    fn is_whole(&self, fact: Fact) -> bool {
        match fact {
            Fact::Exact(id) => self.combinations.terms(id).iter().all(|(_, factor)| [1, u32::MAX].contains(factor)),
            Fact::Part(..) => false,
            Fact::Among(..) | Fact::Loaded | Fact::Unreached => true,
        }
    }

    /// Whether an operator makes of a pointer what other operators make a pointer of again.
    fn spoils(&self, op: WasmOp, args: &[Value]) -> bool {
        use WasmOp::*;
        match op {
            I32DivS | I32DivU | I32RemS | I32RemU | I64DivS | I64DivU | I64RemS | I64RemU | I64Mul => true,
            I32Mul => scaled_operand(op, args, &self.constants).is_none(),
            op => op.result().is_float() && op.params().iter().any(|ty| ty.is_int()) && !keeps_bits(op),
        }
    }
}

/// Whether it may be a number of elements between two pointers.
fn is_difference(fact: Fact) -> bool {
    matches!(fact, Fact::Among(set, _) if set.difference)
}

fn is_part(fact: Fact) -> bool {
    matches!(fact, Fact::Part(..))
}

fn keeps_bits(op: WasmOp) -> bool {
    matches!(op, WasmOp::F32ReinterpretI32 | WasmOp::F64ReinterpretI64)
}
