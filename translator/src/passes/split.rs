//! Values of a wide type that become several words: what all but operators do with them.

use crate::error::{Error, Result};
use crate::hash::{HashMap, HashMapExt};
use crate::ir::{Exit, Function, RegionId, Stmt, StmtKind, Type, Value};

/// What became of values so far.
pub(super) struct Split<const N: usize> {
    wide: Type,
    /// The words of each wide value, the lowest first.
    words: HashMap<Value, [Value; N]>,
    /// What stands for another value.
    names: HashMap<Value, Value>,
}

impl<const N: usize> Split<N> {
    /// Nothing yet, of a type of `N` words.
    pub fn new(wide: Type) -> Self {
        Split { wide, words: HashMap::new(), names: HashMap::new() }
    }

    /// Whether a value is of the wide type.
    pub fn is_wide(&self, function: &Function, value: Value) -> bool {
        function.ty(value) == self.wide
    }

    /// What stands for a value that is not wide.
    pub fn name(&self, value: Value) -> Value {
        self.names.get(&value).copied().unwrap_or(value)
    }

    /// Has another value stand for one that is not wide.
    pub fn rename(&mut self, value: Value, other: Value) {
        self.names.insert(value, other);
    }

    /// The words of a wide value.
    pub fn words(&self, wide: Value) -> Result<[Value; N]> {
        self.words.get(&wide).copied().ok_or_else(|| Error::Internal(format!("{wide} was not split")))
    }

    /// Gives a wide value its words.
    pub fn define(&mut self, wide: Value, words: [Value; N]) {
        self.words.insert(wide, words);
    }

    /// Values with the words of wide ones in their place.
    fn flat(&self, function: &Function, values: &[Value]) -> Result<Vec<Value>> {
        let mut flat = Vec::with_capacity(values.len());
        for value in values {
            match self.is_wide(function, *value) {
                true => flat.extend(self.words(*value)?),
                false => flat.push(self.name(*value)),
            }
        }
        Ok(flat)
    }

    /// The same for values that are defined here: the words are new.
    fn defined(&mut self, function: &mut Function, values: &[Value]) -> Vec<Value> {
        let mut flat = Vec::with_capacity(values.len());
        for value in values {
            if !self.is_wide(function, *value) {
                flat.push(*value);
                continue;
            }
            let words = [(); N].map(|()| function.new_value(Type::I32));
            self.words.insert(*value, words);
            flat.extend(words);
        }
        flat
    }

    /// Splits what a statement that is no operator takes and gives, beyond its renamed operands.
    ///
    /// # Errors
    /// [`Error::Internal`] for a call.
    pub fn control(&mut self, function: &mut Function, kind: &mut StmtKind) -> Result<()> {
        match kind {
            StmtKind::Call { .. } => return Err(Error::Internal("a call was not inlined".into())),
            // What is left of an indirect one has the entry's number alone.
            StmtKind::Op { .. } | StmtKind::CallIndirect { .. } => {}
            StmtKind::Loop { inits, body, results, .. } => {
                *inits = self.flat(function, inits)?;
                let params = std::mem::take(&mut function.region_mut(*body).params);
                let params = self.defined(function, &params);
                function.region_mut(*body).params = params;
                *results = self.defined(function, results);
            }
            StmtKind::Block { results, .. } | StmtKind::If { results, .. } | StmtKind::Switch { results, .. } => {
                *results = self.defined(function, results);
            }
        }
        Ok(())
    }

    /// Gives a region its new statements, and splits what its exit hands on.
    pub fn end_region(&self, function: &mut Function, id: RegionId, stmts: Vec<Stmt>) -> Result<()> {
        let values = self.flat(function, function.region(id).exit.values())?;
        let region = function.region_mut(id);
        region.stmts = stmts;
        match &mut region.exit {
            Exit::Yield(old) | Exit::Break(_, old) | Exit::Continue(_, old) | Exit::Return(old) => *old = values,
            Exit::Trap(_) => {}
        }
        Ok(())
    }
}
