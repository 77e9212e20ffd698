//! 64-bit integers become words: each `I64` of lowered code is two `I32`, and each operator on it operators on these.
//!
//! What is known of words is used at once, for many are zero: those above a word that was extended, and those that a shift
//! by a constant leaves. Quotients, and conversions from and to floats, must be gone before (see
//! [`emulate`](super::emulate)).

mod fold;
mod operators;

use crate::analysis::dataflow;
use crate::error::{Error, Result};
use crate::hash::{HashMap, HashMapExt};
use crate::ir::builder::ListBuilder;
use crate::ir::{Args, Const, Function, LowOp, Op, RegionId, Stmt, StmtKind, Type, Value};
use crate::options::{Options, Profile};
use crate::passes::split::Split;

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
        split: Split::new(Type::I64),
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
    split: Split<2>,
}

impl Splitter<'_> {
    fn region(&mut self, id: RegionId) -> Result<()> {
        let stmts = std::mem::take(&mut self.function.region_mut(id).stmts);
        self.list = ListBuilder::default();
        for stmt in stmts {
            self.list.at = stmt.at;
            self.stmt(stmt)?;
        }
        let stmts = std::mem::take(&mut self.list.stmts);
        self.split.end_region(self.function, id, stmts)
    }

    fn stmt(&mut self, mut stmt: Stmt) -> Result<()> {
        stmt.kind.args_mut().iter_mut().for_each(|arg| *arg = self.split.name(*arg));
        match &mut stmt.kind {
            StmtKind::Op { op, args, result } => return self.op(*op, args, *result),
            StmtKind::CallIndirect { .. } => return Err(Error::Internal("a call was not inlined".into())),
            control => self.split.control(self.function, control)?,
        }
        self.list.stmts.push(stmt);
        Ok(())
    }

    fn is_long(&self, value: Value) -> bool {
        self.split.is_wide(self.function, value)
    }

    fn words(&self, long: Value) -> Result<Words> {
        self.split.words(long).map(|[low, high]| Words { low, high })
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
            self.list.push(StmtKind::Op { op, args: Args::from_slice(args), result });
            return Ok(());
        }
        let Some(result) = result else { return Err(Error::Internal(format!("{op} takes 64 bits and gives nothing"))) };
        if gives_long {
            let words = self.long(op, args)?;
            self.split.define(result, [words.low, words.high]);
        } else {
            let value = self.short(op, args)?;
            self.split.rename(result, value);
        }
        Ok(())
    }
}
