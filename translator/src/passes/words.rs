//! 64-bit integers become words: each `I64` of lowered code is two `I32`, and each operator on it operators on these.
//!
//! What is known of words is used at once, for many are zero: those above a word that was extended, and those that a shift
//! by a constant leaves. Quotients, and conversions from and to floats, must be gone before (see
//! [`emulate`](super::emulate)).

mod fold;
mod operators;

use std::collections::HashMap;

use crate::analysis::dataflow;
use crate::error::{Error, Result};
use crate::ir::builder::ListBuilder;
use crate::ir::{Const, Exit, Function, LowOp, Op, RegionId, Stmt, StmtKind, Type, Value};
use crate::options::{Options, Profile};

/// The low and the high word.
#[derive(Clone, Copy)]
struct Words {
    low: Value,
    high: Value,
}

/// Splits the 64-bit integers of lowered code.
///
/// # Errors
/// [`Error::Internal`] for operators on them that have no form in words.
pub fn split(function: &mut Function, options: &Options) -> Result<()> {
    if !function.values.contains(&Type::I64) {
        return Ok(());
    }
    let regions = dataflow::regions(function);
    let mut splitter = Splitter {
        multiplies_high: options.profile == Profile::Vulkan,
        constants: HashMap::new(),
        masked: HashMap::new(),
        words: HashMap::new(),
        names: HashMap::new(),
        list: ListBuilder::default(),
        function,
    };
    // Regions come before those below them, so what a statement uses was split before it.
    regions.into_iter().try_for_each(|id| splitter.region(id))
}

struct Splitter<'a> {
    function: &'a mut Function,
    list: ListBuilder,
    /// Whether there is an operator for the high word of a product.
    multiplies_high: bool,
    /// The words that are constants.
    constants: HashMap<Value, u32>,
    /// The words that are others, of which only some bits are left.
    masked: HashMap<Value, (Value, u32)>,
    /// The words of each `I64`.
    words: HashMap<Value, Words>,
    /// What stands for another value.
    names: HashMap<Value, Value>,
}

impl Splitter<'_> {
    fn region(&mut self, id: RegionId) -> Result<()> {
        let stmts = std::mem::take(&mut self.function.region_mut(id).stmts);
        self.list = ListBuilder::default();
        for stmt in stmts {
            self.list.at = stmt.at;
            self.stmt(stmt)?;
        }
        let values = self.function.region(id).exit.values().to_vec();
        let values = self.flat(&values)?;
        let stmts = std::mem::take(&mut self.list.stmts);
        let region = self.function.region_mut(id);
        region.stmts = stmts;
        match &mut region.exit {
            Exit::Yield(old) | Exit::Break(_, old) | Exit::Continue(_, old) | Exit::Return(old) => *old = values,
            Exit::Trap(_) => {}
        }
        Ok(())
    }

    fn stmt(&mut self, mut stmt: Stmt) -> Result<()> {
        stmt.kind.args_mut().iter_mut().for_each(|arg| *arg = self.name(*arg));
        match &mut stmt.kind {
            StmtKind::Op { op, args, result } => return self.op(*op, args, *result),
            StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => {
                return Err(Error::Internal("a call was not inlined".into()));
            }
            StmtKind::Loop { inits, body, results, .. } => {
                *inits = self.flat(inits)?;
                let params = std::mem::take(&mut self.function.region_mut(*body).params);
                let params = self.defined(&params);
                self.function.region_mut(*body).params = params;
                *results = self.defined(results);
            }
            StmtKind::Block { results, .. } | StmtKind::If { results, .. } | StmtKind::Switch { results, .. } => {
                *results = self.defined(results);
            }
        }
        self.list.stmts.push(stmt);
        Ok(())
    }

    fn name(&self, value: Value) -> Value {
        self.names.get(&value).copied().unwrap_or(value)
    }

    fn is_long(&self, value: Value) -> bool {
        self.function.ty(value) == Type::I64
    }

    fn words(&self, long: Value) -> Result<Words> {
        self.words.get(&long).copied().ok_or_else(|| Error::Internal(format!("{long} was not split")))
    }

    /// Values with the words of 64-bit integers in their place.
    fn flat(&self, values: &[Value]) -> Result<Vec<Value>> {
        let mut flat = Vec::with_capacity(values.len());
        for value in values {
            if self.is_long(*value) {
                let Words { low, high } = self.words(*value)?;
                flat.extend([low, high]);
            } else {
                flat.push(self.name(*value));
            }
        }
        Ok(flat)
    }

    /// The same for values that are defined here: the words are new.
    fn defined(&mut self, values: &[Value]) -> Vec<Value> {
        let mut flat = Vec::with_capacity(values.len());
        for value in values {
            if !self.is_long(*value) {
                flat.push(*value);
                continue;
            }
            let words = Words { low: self.function.new_value(Type::I32), high: self.function.new_value(Type::I32) };
            self.words.insert(*value, words);
            flat.extend([words.low, words.high]);
        }
        flat
    }

    fn op(&mut self, op: Op, args: &[Value], result: Option<Value>) -> Result<()> {
        let gives_long = result.is_some_and(|result| self.is_long(result));
        let takes_long = args.iter().any(|arg| self.is_long(*arg));
        if !gives_long && !takes_long {
            if let (Op::Const(Const::I32(number)), Some(result)) = (op, result) {
                self.constants.insert(result, number);
            }
            if let (Op::Low(LowOp::And), [value, mask], Some(result)) = (op, args, result) {
                self.remember_mask(result, *value, *mask);
            }
            self.list.push(StmtKind::Op { op, args: args.to_vec(), result });
            return Ok(());
        }
        let Some(result) = result else { return Err(Error::Internal(format!("{op} takes 64 bits and gives nothing"))) };
        if gives_long {
            let words = self.long(op, args)?;
            self.words.insert(result, words);
        } else {
            let value = self.short(op, args)?;
            self.names.insert(result, value);
        }
        Ok(())
    }
}
