//! Which global is the stack pointer.
//!
//! It has to be known, because each worker needs a stack of its own. Toolchains name it; where names were stripped, it
//! is the mutable `i32` global, not zero at first, below whose value the kernel reads or writes memory.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{FuncToValidate, FunctionBody, Operator, Parser, ValidPayload, Validator, ValidatorResources};
use wavelift_translator::Module;
use wavelift_translator::module::guest_features;

use super::slice::Slice;

/// Rounds of the search through calls: no stack address is handed down further than this.
const ROUNDS: usize = 16;

/// The stack pointer, if what `kernel` reaches uses one.
///
/// # Errors
/// A sentence, if several globals could be it.
pub fn find(module: &Module, kernel: u32, slice: &Slice) -> Result<Option<u32>, String> {
    if let Some(global) = module.stack_pointer() {
        return Ok(slice.globals.contains(&global).then_some(global));
    }
    let candidates: BTreeSet<u32> =
        slice.globals.iter().copied().filter(|global| module.may_be_stack_pointer(*global)).collect();
    if candidates.is_empty() {
        return Ok(None);
    }
    let functions = slice.functions.iter().copied().chain([kernel]).collect();
    let found = Search { module, candidates, functions, address_params: BTreeMap::new(), found: BTreeSet::new() }
        .run()
        .map_err(|error| format!("The stack pointer could not be looked for: {error}."))?;
    if found.len() > 1 {
        return Err(format!(
            "The kernel addresses memory below the values of {} globals, so that its stack pointer can't be told, and it \
             runs in order on the calling thread. Keep the name `__stack_pointer` in the module's name section.",
            found.len()
        ));
    }
    Ok(found.first().copied())
}

/// What a value was computed from, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Value {
    source: Option<Source>,
    /// Something was taken away from the source.
    below: bool,
    negative_constant: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Global(u32),
    Param(u32),
}

impl Value {
    /// Of two operands, the one that is known to be an address.
    fn or(self, other: Value) -> Value {
        match (self.source, other.source) {
            (None, _) => other,
            (Some(Source::Param(_)), Some(Source::Global(_))) => other,
            _ => self,
        }
    }
}

struct Search<'a> {
    module: &'a Module,
    candidates: BTreeSet<u32>,
    functions: BTreeSet<u32>,
    /// Parameters that functions use as addresses.
    address_params: BTreeMap<u32, BTreeSet<u32>>,
    found: BTreeSet<u32>,
}

impl Search<'_> {
    fn run(mut self) -> wasmparser::Result<BTreeSet<u32>> {
        for _ in 0..ROUNDS {
            let before = (self.found.len(), self.address_params.values().map(BTreeSet::len).sum::<usize>());
            let mut validator = Validator::new_with_features(guest_features());
            let mut function = self.module.imported_function_count();
            for payload in Parser::new(0).parse_all(self.module.bytes()) {
                if let ValidPayload::Func(to_validate, body) = validator.payload(&payload?)? {
                    if self.functions.contains(&function) {
                        self.function(function, to_validate, &body)?;
                    }
                    function += 1;
                }
            }
            if before == (self.found.len(), self.address_params.values().map(BTreeSet::len).sum()) {
                break;
            }
        }
        Ok(self.found)
    }

    fn function(
        &mut self,
        function: u32,
        to_validate: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> wasmparser::Result<()> {
        let params = self.module.function_type(function).map_or(0, |ty| ty.params().len() as u32);
        let mut scan = Scan { search: self, function, locals: BTreeMap::new(), stack: Vec::new() };
        for param in 0..params {
            scan.locals.insert(param, Value { source: Some(Source::Param(param)), ..Value::default() });
        }
        let mut validator = to_validate.into_validator(Default::default());
        let mut locals = body.get_binary_reader();
        validator.read_locals(&mut locals)?;
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            validator.op(offset, &operator)?;
            scan.operator(&operator, validator.operand_stack_height() as usize);
        }
        Ok(())
    }

    /// `value` is used as an address in `function`.
    fn address(&mut self, function: u32, value: Value) {
        match value.source {
            Some(Source::Global(global)) if value.below => {
                self.found.insert(global);
            }
            Some(Source::Param(param)) => {
                self.address_params.entry(function).or_default().insert(param);
            }
            _ => {}
        }
    }
}

/// One body. What a local was ever set to counts wherever it is read.
struct Scan<'s, 'a> {
    search: &'s mut Search<'a>,
    function: u32,
    locals: BTreeMap<u32, Value>,
    stack: Vec<Value>,
}

impl Scan<'_, '_> {
    fn pop(&mut self) -> Value {
        self.stack.pop().unwrap_or_default()
    }

    fn operator(&mut self, operator: &Operator<'_>, height: usize) {
        match *operator {
            Operator::LocalGet { local_index } => {
                self.stack.push(self.locals.get(&local_index).copied().unwrap_or_default());
            }
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                let value = self.pop();
                let local = self.locals.entry(local_index).or_default();
                *local = Value { below: local.below || value.below, ..value.or(*local) };
                self.stack.push(value);
            }
            Operator::GlobalGet { global_index } => {
                let source = self.search.candidates.contains(&global_index).then_some(Source::Global(global_index));
                self.stack.push(Value { source, ..Value::default() });
            }
            Operator::I32Const { value } => {
                self.stack.push(Value { negative_constant: value < 0, ..Value::default() });
            }
            Operator::I32Add => {
                let (b, a) = (self.pop(), self.pop());
                let below = a.below || b.below || a.negative_constant || b.negative_constant;
                self.stack.push(Value { below, negative_constant: false, ..a.or(b) });
            }
            Operator::I32Sub => {
                let (_, a) = (self.pop(), self.pop());
                self.stack.push(Value { below: true, negative_constant: false, ..a });
            }
            Operator::I32And => {
                // Rounding down.
                let (b, a) = (self.pop(), self.pop());
                self.stack.push(Value { below: true, negative_constant: false, ..a.or(b) });
            }
            Operator::I32Or => {
                let (b, a) = (self.pop(), self.pop());
                self.stack.push(Value { negative_constant: false, ..a.or(b) });
            }
            Operator::Select => {
                let (_, b, a) = (self.pop(), self.pop(), self.pop());
                self.stack.push(Value { below: a.below || b.below, ..a.or(b) });
            }
            Operator::Call { function_index } => self.call(function_index),
            _ if is_load(operator) => {
                let address = self.pop();
                self.search.address(self.function, address);
                self.stack.push(Value::default());
            }
            _ if is_store(operator) => {
                let (_, address) = (self.pop(), self.pop());
                self.search.address(self.function, address);
            }
            Operator::MemoryCopy { .. } | Operator::MemoryFill { .. } => {
                let (_, source, destination) = (self.pop(), self.pop(), self.pop());
                self.search.address(self.function, source);
                self.search.address(self.function, destination);
            }
            Operator::I64Const { .. } | Operator::F32Const { .. } | Operator::F64Const { .. } => {
                self.stack.push(Value::default());
            }
            // What is left of the stack below the results is not looked at: control operators and rare ones.
            _ => self.stack.truncate(height.min(self.stack.len()).saturating_sub(1)),
        }
        self.stack.resize(height, Value::default());
    }

    fn call(&mut self, callee: u32) {
        let params = self.search.module.function_type(callee).map_or(0, |ty| ty.params().len() as u32);
        for param in (0..params).rev() {
            let value = self.pop();
            if self.search.address_params.get(&callee).is_some_and(|params| params.contains(&param)) {
                self.search.address(self.function, value);
            }
        }
    }
}

fn is_load(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::I32Load { .. }
            | Operator::I64Load { .. }
            | Operator::F32Load { .. }
            | Operator::F64Load { .. }
            | Operator::I32Load8S { .. }
            | Operator::I32Load8U { .. }
            | Operator::I32Load16S { .. }
            | Operator::I32Load16U { .. }
            | Operator::I64Load8S { .. }
            | Operator::I64Load8U { .. }
            | Operator::I64Load16S { .. }
            | Operator::I64Load16U { .. }
            | Operator::I64Load32S { .. }
            | Operator::I64Load32U { .. }
            | Operator::V128Load { .. }
    )
}

fn is_store(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::I32Store { .. }
            | Operator::I64Store { .. }
            | Operator::F32Store { .. }
            | Operator::F64Store { .. }
            | Operator::I32Store8 { .. }
            | Operator::I32Store16 { .. }
            | Operator::I64Store8 { .. }
            | Operator::I64Store16 { .. }
            | Operator::I64Store32 { .. }
            | Operator::V128Store { .. }
    )
}
