//! Function bodies of a device module, written anew from the guest's, with a map back to the guest's byte offsets.

use std::collections::HashMap;
use std::ops::Range;

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{BlockType, Function, Instruction, ValType};
use wasmparser::{FuncType, FunctionBody, Operator};
use wavelift_translator::lanes::Rows;
use wavelift_translator::{Module, next_is_unreachable};

use super::fuel::{self, Costs};
use super::operators::reject;
use super::slice::needs_caller;
use super::tiles::Square;

/// Parameters of `run`: the first iteration, and the one behind the last.
pub const LO: u32 = 0;
pub const HI: u32 = 1;

/// Global that holds the iteration id.
pub const ITERATION: u32 = 0;
/// Global that holds the size of linear memory in pages.
pub const PAGES: u32 = 1;

/// Global that no one reads: `unreachable` is preceded by a write of it, because Cranelift would otherwise make a branch
/// to a bare `unreachable` trap at the place of the branch.
pub const SITE: u32 = 2;

/// Global that holds the lowest address of a buffer; `u32::MAX` where there is none.
pub const LOWEST: u32 = 3;
/// Global that is not 0 while the kernel's tallies are this worker's own.
pub const OWN_TALLIES: u32 = 4;
/// Global that holds the fuel that the invocation has left; only there if fuel is limited.
pub const FUEL: u32 = 5;

/// Where the instructions of one function of a device module come from.
#[derive(Debug, Default)]
pub struct FunctionMap {
    /// The guest's function; `None` for what Wavelift adds.
    pub function: Option<u32>,
    /// Byte offset in the new body to byte offset in the guest's module, ascending.
    offsets: Vec<(u32, u32)>,
    /// Offsets in the new body of operators that only the caller's own instance can run, and the sentence that says so.
    rejected: HashMap<u32, String>,
    /// What traps where there is no fuel left, ascending.
    fuel: Vec<Range<u32>>,
    /// Loops that are in no other, by where they begin and end in the guest's module, ascending.
    loops: Vec<Range<u32>>,
    /// How many blocks are open in the last of these, which is not at its end.
    open: u32,
}

impl FunctionMap {
    /// A function that stands for one that only the caller's own instance can run.
    pub fn stub(reason: String) -> FunctionMap {
        // Its body has no locals (one byte), so that its `unreachable` stands at offset 1.
        FunctionMap { rejected: HashMap::from([(1, reason)]), ..FunctionMap::default() }
    }

    /// The byte offset in the guest's module of what stands at `offset` of the new body.
    pub fn original(&self, offset: u32) -> u32 {
        let after = self.offsets.partition_point(|(new, _)| *new <= offset);
        // Before the first operator is the function's entry, where the stack can run out.
        self.offsets.get(after.saturating_sub(1)).map_or(0, |(_, original)| *original)
    }

    /// Why the operator at `offset` needs the caller.
    pub fn rejected(&self, offset: u32) -> Option<&str> {
        self.rejected.get(&offset).map(String::as_str)
    }

    /// Notes where loops begin and end, given all operators of the guest's function.
    fn note_loops(&mut self, operator: &Operator<'_>, offset: u32) {
        match operator {
            Operator::Loop { .. } if self.open == 0 => {
                self.loops.push(offset..u32::MAX);
                self.open = 1;
            }
            Operator::Loop { .. } | Operator::Block { .. } | Operator::If { .. } if self.open > 0 => self.open += 1,
            Operator::End if self.open > 0 => {
                self.open -= 1;
                if let Some(last) = self.loops.last_mut().filter(|_| self.open == 0) {
                    last.end = offset;
                }
            }
            _ => {}
        }
    }

    /// Where the outermost loop begins that holds what stands at an offset of the guest's module.
    pub fn outermost_loop(&self, original: u32) -> Option<u32> {
        self.loops.iter().find(|range| range.contains(&original)).map(|range| range.start)
    }

    /// Notes that what stands in this range traps where there is no fuel left.
    pub fn takes_fuel(&mut self, range: Range<u32>) {
        self.fuel.push(range);
    }

    /// Whether a trap at `offset` means that the fuel was used up.
    pub fn is_out_of_fuel(&self, offset: u32) -> bool {
        let after = self.fuel.partition_point(|range| range.end <= offset);
        self.fuel.get(after).is_some_and(|range| range.contains(&offset))
    }
}

/// Function types by structure, each once.
#[derive(Debug, Default)]
pub struct Types {
    indices: HashMap<FuncType, u32>,
    /// In index order.
    pub list: Vec<FuncType>,
}

impl Types {
    /// The index of a type.
    pub fn intern(&mut self, ty: &FuncType) -> u32 {
        if let Some(index) = self.indices.get(ty) {
            return *index;
        }
        let index = self.list.len() as u32;
        self.indices.insert(ty.clone(), index);
        self.list.push(ty.clone());
        index
    }

    /// A type that none of the others equals.
    pub fn unlike_all(&mut self) -> Option<u32> {
        let counts = (1..=MOST_VALUES).flat_map(|results| (0..=MOST_VALUES).map(move |params| (params, results)));
        let values = |count| vec![wasmparser::ValType::I64; count];
        let mut types = counts.map(|(params, results)| FuncType::new(values(params), values(results)));
        let ty = types.find(|ty| !self.indices.contains_key(ty))?;
        Some(self.intern(&ty))
    }
}

/// Most parameters, and most results, of a function.
const MOST_VALUES: usize = 1000;
/// Most locals of a function, parameters included.
const MOST_LOCALS: usize = 50_000;
/// Most bytes of a body.
const MOST_BYTES: usize = 7_654_321;

/// Whether Wasmtime takes the body of `run`: the loop makes a kernel larger, and one that was just within the limits no
/// longer is.
pub fn within_limits(kernel: &FuncType, body: &FunctionBody<'_>) -> bool {
    let Ok(reader) = body.get_locals_reader() else { return false };
    let locals: usize = reader.into_iter().flatten().map(|(count, _)| count as usize).sum();
    let params = kernel.params().len();
    // Zeroing a local takes at most 24 bytes, a local's index becomes at most 2 bytes longer.
    let bytes = 2 * body.range().len() + 24 * (locals + params);
    2 * params + 1 + locals <= MOST_LOCALS && (bytes <= MOST_BYTES)
}

/// Whether Wasmtime takes the body of a function, or of `run` around it, with one more local and code at so many places
/// that takes fuel, or brings it to the global and back.
pub fn may_grow(module: &Module, function: u32, places: usize) -> bool {
    let (Some(ty), Some(body)) = (module.function_type(function), module.body(function)) else { return true };
    let Ok(reader) = body.get_locals_reader() else { return false };
    let locals: usize = reader.into_iter().flatten().map(|(count, _)| count as usize).sum();
    let params = ty.params().len();
    let bytes = 2 * body.range().len() + 24 * (locals + params) + 40 * places;
    2 * params + 2 + locals <= MOST_LOCALS && bytes <= MOST_BYTES
}

/// From the guest's indices to the device module's.
#[derive(Debug)]
pub struct Indices<'a> {
    /// The guest's module.
    pub module: &'a Module,
    /// Types used so far.
    pub types: Types,
    /// Functions, stubs included.
    pub functions: HashMap<u32, u32>,
    /// Globals.
    pub globals: HashMap<u32, u32>,
    /// Tables.
    pub tables: HashMap<u32, u32>,
    /// Pairs of globals: one the kernel writes, and the one that keeps its value at the launch.
    pub resets: Vec<(u32, u32)>,
    /// The function that does `memory.fill`.
    pub fill: u32,
    /// The function that does `memory.copy`.
    pub copy: u32,
    /// The function that does `memory.init`, by the guest's data segment.
    pub inits: HashMap<u32, u32>,
    /// The global that is not 0 once a data segment is dropped, by the guest's segment.
    pub dropped: HashMap<u32, u32>,
    /// What takes fuel; `None` where there is no limit.
    pub costs: Option<&'a Costs>,
}

/// A rule of the slice was broken: an index that it does not hold.
type Failure = reencode::Error<String>;

fn missing(what: &str, index: u32) -> Failure {
    Failure::UserError(format!("the slice lacks {what} {index}"))
}

impl Reencode for Indices<'_> {
    type Error = String;

    fn function_index(&mut self, function: u32) -> Result<u32, Failure> {
        self.functions.get(&function).copied().ok_or_else(|| missing("function", function))
    }

    fn global_index(&mut self, global: u32) -> Result<u32, Failure> {
        self.globals.get(&global).copied().ok_or_else(|| missing("global", global))
    }

    fn table_index(&mut self, table: u32) -> Result<u32, Failure> {
        self.tables.get(&table).copied().ok_or_else(|| missing("table", table))
    }

    fn type_index(&mut self, ty: u32) -> Result<u32, Failure> {
        let ty = self.module.type_at(ty).ok_or_else(|| missing("type", ty))?;
        Ok(self.types.intern(ty))
    }
}

/// Writes one body operator by operator.
struct Writer<'w, 'm> {
    indices: &'w mut Indices<'m>,
    code: Function,
    map: FunctionMap,
    function: u32,
    /// What is added to the index of a local.
    shift: u32,
    /// The open blocks of the body, where there is a block around it. `return` is a branch out of them.
    depth: Option<u32>,
    /// Whether this is the kernel's loop.
    is_run: bool,
    /// The local that holds the fuel, in a function with loops.
    fuel: Option<u32>,
    /// The order of iterations, in the kernel's loop.
    ids: Option<Ids>,
}

/// The body of a function that the kernel calls.
pub fn plain(indices: &mut Indices<'_>, function: u32) -> Result<(Function, FunctionMap), Failure> {
    let body = body_of(indices.module, function)?;
    let mut locals = locals_of(&body)?;
    let ty = indices.module.function_type(function).ok_or_else(|| missing("the type of function", function))?;
    let costs = indices.costs.and_then(|costs| costs.of(function));
    let entry = costs.map_or(0, |cost| cost.entry);
    if costs.is_none_or(|cost| cost.loops.is_empty()) {
        let mut writer = Writer::new(indices, function, locals);
        writer.take_at_entry(entry, &body)?;
        writer.operators(&body)?;
        return Ok((writer.code, writer.map));
    }
    let fuel = ty.params().len() as u32 + count(&locals);
    let results = FuncType::new([], ty.results().to_vec());
    let results = BlockType::FunctionType(indices.types.intern(&results));
    locals.push((1, ValType::I32));
    let mut writer = Writer::new(indices, function, locals);
    (writer.depth, writer.fuel) = (Some(0), Some(fuel));
    writer.load_fuel();
    writer.take_at_entry(entry, &body)?;
    writer.code.instruction(&Instruction::Block(results));
    writer.operators(&body)?;
    writer.store_fuel();
    writer.code.instruction(&Instruction::End);
    Ok((writer.code, writer.map))
}

/// The body of `run(lo, hi, num_iterations, block_size, buffers…)`: the kernel's own body in a loop over the iteration
/// ids from `lo` to `hi - 1`, at least one. A call for each invocation would cost ten times the loop.
pub fn run(indices: &mut Indices<'_>, kernel: u32) -> Result<(Function, FunctionMap), Failure> {
    iterations(indices, kernel, None)
}

/// The body of the same with more parameters, those of [`Square`]: it runs the invocations of one square, and computes their rows and
/// columns where it begins to.
pub fn square(indices: &mut Indices<'_>, kernel: u32, rows: &Rows) -> Result<(Function, FunctionMap), Failure> {
    iterations(indices, kernel, Some(rows))
}

fn iterations(indices: &mut Indices<'_>, kernel: u32, rows: Option<&Rows>) -> Result<(Function, FunctionMap), Failure> {
    let params = indices.module.function_type(kernel).map_or(0, |ty| ty.params().len() as u32);
    let body = body_of(indices.module, kernel)?;
    let own = locals_of(&body)?;
    // The parameters of `run` are the kernel's and `hi`. The kernel may write its parameters, so each iteration has
    // copies of them, as the first of its locals.
    let shift = params + 1 + if rows.is_some() { Square::PARAMS } else { 0 };
    let mut locals: Vec<_> = std::iter::once((params, ValType::I32)).chain(own.iter().copied()).collect();
    let resets = indices.resets.clone();
    let costs = indices.costs.and_then(|costs| Some((costs.limit, costs.of(kernel)?))).filter(|(_, cost)| cost.burns);
    let fuel = costs.filter(|(_, cost)| !cost.loops.is_empty()).map(|_| shift + count(&locals));
    locals.extend(fuel.map(|_| (1, ValType::I32)));
    let ids = match rows {
        None => Ids::InOrder,
        Some(rows) => Ids::InSquares(Square::new(shift + count(&locals), params + 1, rows)),
    };
    locals.extend(ids.locals().map(|count| (count, ValType::I32)));
    let mut writer = Writer::new(indices, kernel, locals);
    writer.shift = shift;
    (writer.depth, writer.is_run, writer.fuel) = (Some(0), true, fuel);
    ids.begin(&mut writer.code);
    let mut emit = |instruction: &Instruction<'_>| {
        writer.code.instruction(instruction);
    };
    emit(&Instruction::LocalGet(ids.id()));
    emit(&Instruction::GlobalSet(ITERATION));
    for param in 0..params {
        emit(&Instruction::LocalGet(if param == 0 { ids.id() } else { param + 1 }));
        emit(&Instruction::LocalSet(shift + param));
    }
    let types = own.iter().flat_map(|(count, ty)| std::iter::repeat_n(*ty, *count as usize));
    for (index, ty) in types.enumerate() {
        emit(&zero(ty)?);
        emit(&Instruction::LocalSet(shift + params + index as u32));
    }
    for (global, initial) in resets {
        emit(&Instruction::GlobalGet(initial));
        emit(&Instruction::GlobalSet(global));
    }
    if let Some((limit, _)) = costs {
        emit(&Instruction::I32Const(limit));
        emit(&fuel.map_or(Instruction::GlobalSet(FUEL), Instruction::LocalSet));
    }
    emit(&Instruction::Block(BlockType::Empty));
    writer.ids = Some(ids);
    writer.operators(&body)?;
    if let Some(ids) = &writer.ids {
        ids.end(&mut writer.code);
    }
    writer.code.instruction(&Instruction::End);
    Ok((writer.code, writer.map))
}

/// In which order invocations run.
enum Ids {
    InOrder,
    InSquares(Square),
}

impl Ids {
    fn locals(&self) -> Option<u32> {
        match self {
            Ids::InOrder => None,
            Ids::InSquares(_) => Some(Square::LOCALS),
        }
    }

    /// The local that holds the iteration's number.
    fn id(&self) -> u32 {
        match self {
            Ids::InOrder => LO,
            Ids::InSquares(square) => square.id(),
        }
    }

    /// What stands in front of an iteration.
    fn begin(&self, code: &mut Function) {
        match self {
            Ids::InOrder => _ = code.instruction(&Instruction::Loop(BlockType::Empty)),
            Ids::InSquares(square) => square.begin(code),
        }
    }

    /// What stands behind one.
    fn end(&self, code: &mut Function) {
        match self {
            Ids::InOrder => next(code, LO, HI),
            Ids::InSquares(square) => square.end(code),
        }
    }
}

/// The end of a loop: the next number, if there is one.
pub fn next(code: &mut Function, number: u32, end: u32) {
    for instruction in [
        Instruction::LocalGet(number),
        Instruction::I32Const(1),
        Instruction::I32Add,
        Instruction::LocalTee(number),
        Instruction::LocalGet(end),
        Instruction::I32Ne,
        Instruction::BrIf(0),
        Instruction::End,
    ] {
        code.instruction(&instruction);
    }
}

impl<'w, 'm> Writer<'w, 'm> {
    fn new(indices: &'w mut Indices<'m>, function: u32, locals: Vec<(u32, ValType)>) -> Self {
        let map = FunctionMap { function: Some(function), ..FunctionMap::default() };
        let code = Function::new(locals);
        Writer { indices, code, map, function, shift: 0, depth: None, is_run: false, fuel: None, ids: None }
    }

    /// Brings the fuel from the local to the global.
    fn store_fuel(&mut self) {
        if let Some(fuel) = self.fuel {
            self.code.instruction(&Instruction::LocalGet(fuel)).instruction(&Instruction::GlobalSet(FUEL));
        }
    }

    /// Brings the fuel from the global to the local.
    fn load_fuel(&mut self) {
        if let Some(fuel) = self.fuel {
            self.code.instruction(&Instruction::GlobalGet(FUEL)).instruction(&Instruction::LocalSet(fuel));
        }
    }

    fn take(&mut self, amount: i32) {
        self.map.takes_fuel(match self.fuel {
            Some(local) => fuel::take_from_local(&mut self.code, local, amount),
            None => fuel::take_from_global(&mut self.code, amount),
        });
    }

    /// What is taken before the first operator is said to be taken there.
    fn take_at_entry(&mut self, amount: i32, body: &FunctionBody<'_>) -> Result<(), Failure> {
        if amount > 0 {
            let first = body.get_operators_reader()?.original_position();
            self.map.offsets.push((self.code.byte_len() as u32, first as u32));
            self.take(amount);
        }
        Ok(())
    }

    /// What an iteration of the loop at `offset` takes.
    fn cost_of_loop(&self, offset: u32) -> Option<i32> {
        self.indices.costs?.of(self.function)?.loops.get(&offset).copied()
    }

    /// Whether what is called by an operator may take fuel.
    fn burns(&self, operator: &Operator<'_>) -> bool {
        let Some(costs) = self.indices.costs else { return false };
        match operator {
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => costs.burns(*function_index),
            Operator::CallIndirect { .. } | Operator::ReturnCallIndirect { .. } => true,
            other => fuel::is_bulk(other),
        }
    }

    fn operators(&mut self, body: &FunctionBody<'_>) -> Result<(), Failure> {
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            let calls = matches!(operator, Operator::Call { .. } | Operator::CallIndirect { .. });
            let cut = calls && next_is_unreachable(&operators);
            // A call that never comes back traps at the `unreachable` behind it, as it does on every device.
            let offset = if cut { operators.original_position() } else { offset };
            let dies =
                matches!(operator, Operator::Call { function_index } if self.indices.module.dies(function_index));
            self.map.offsets.push((self.code.byte_len() as u32, offset as u32));
            self.map.note_loops(&operator, offset as u32);
            if cut || dies || matches!(operator, Operator::Unreachable) {
                self.trap(offset as u32);
            } else if let Some(reason) = self.reason_against(&operator, offset as u32) {
                let at = self.trap(offset as u32);
                self.map.rejected.insert(at, reason);
            } else {
                let cost =
                    matches!(operator, Operator::Loop { .. }).then(|| self.cost_of_loop(offset as u32)).flatten();
                match &self.ids {
                    Some(Ids::InSquares(square)) if square.replaces(offset as u32) => {
                        let operator = self.indices.instruction(operator)?;
                        square.write(&mut self.code, offset as u32, &operator);
                    }
                    _ => self.operator(operator)?,
                }
                if let Some(cost) = cost {
                    self.take(cost);
                }
            }
        }
        Ok(())
    }

    /// Writes `unreachable` for the operator at `offset`, and returns where in the new body it stands.
    fn trap(&mut self, offset: u32) -> u32 {
        self.code.instruction(&Instruction::I32Const(offset as i32)).instruction(&Instruction::GlobalSet(SITE));
        let at = self.code.byte_len() as u32;
        self.code.instruction(&Instruction::Unreachable);
        at
    }

    /// Why this operator must run in the caller's instance.
    fn reason_against(&self, operator: &Operator<'_>, offset: u32) -> Option<String> {
        let module = self.indices.module;
        let what = match operator {
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                if let Some(stub) = module.imported_function(*function_index) {
                    format!("calls the host function `{}` of `{}`", stub.1, stub.0)
                } else {
                    return None;
                }
            }
            _ => reject(module, operator, offset)?.what,
        };
        Some(needs_caller(module, self.function, &what, offset))
    }

    fn operator(&mut self, operator: Operator<'_>) -> Result<(), Failure> {
        let burns = self.fuel.is_some() && self.burns(&operator);
        if burns {
            self.store_fuel();
        }
        let exit = self.is_run.then(|| Instruction::Br(self.depth.unwrap_or(0)));
        let instruction = match operator {
            Operator::LocalGet { local_index } => Instruction::LocalGet(local_index + self.shift),
            Operator::LocalSet { local_index } => Instruction::LocalSet(local_index + self.shift),
            Operator::LocalTee { local_index } => Instruction::LocalTee(local_index + self.shift),
            Operator::MemorySize { .. } => Instruction::GlobalGet(PAGES),
            Operator::MemoryFill { .. } => Instruction::Call(self.indices.fill),
            Operator::MemoryCopy { .. } => Instruction::Call(self.indices.copy),
            Operator::MemoryInit { data_index, .. } => {
                let function = self.indices.inits.get(&data_index);
                Instruction::Call(*function.ok_or_else(|| missing("data segment", data_index))?)
            }
            Operator::DataDrop { data_index } => match self.indices.dropped.get(&data_index) {
                Some(global) => {
                    self.code.instruction(&Instruction::I32Const(1));
                    Instruction::GlobalSet(*global)
                }
                // No `memory.init` could tell.
                None => Instruction::Nop,
            },
            Operator::Return if self.depth.is_some() => Instruction::Br(self.depth.unwrap_or(0)),
            // A kernel has no results, so that a tail call is a call and a branch out.
            Operator::ReturnCall { function_index } if exit.is_some() => {
                Instruction::Call(self.indices.function_index(function_index)?)
            }
            Operator::ReturnCallIndirect { type_index, table_index } if exit.is_some() => Instruction::CallIndirect {
                type_index: self.indices.type_index(type_index)?,
                table_index: self.indices.table_index(table_index)?,
            },
            ref other => self.indices.instruction(other.clone())?,
        };
        self.code.instruction(&instruction);
        match operator {
            Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. } => {
                if let Some(exit) = exit {
                    self.code.instruction(&exit);
                }
            }
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                self.depth = self.depth.map(|depth| depth + 1);
            }
            // The last `end` closes the block around the body.
            Operator::End => self.depth = self.depth.map(|depth| depth.saturating_sub(1)),
            _ if burns => self.load_fuel(),
            _ => {}
        }
        Ok(())
    }
}

fn body_of(module: &Module, function: u32) -> Result<FunctionBody<'_>, Failure> {
    module.body(function).ok_or_else(|| missing("the body of function", function))
}

fn locals_of(body: &FunctionBody<'_>) -> Result<Vec<(u32, ValType)>, Failure> {
    let mut locals = Vec::new();
    for local in body.get_locals_reader()? {
        let (count, ty) = local?;
        locals.push((count, reencode::RoundtripReencoder.val_type(ty).map_err(|e| Failure::UserError(e.to_string()))?));
    }
    Ok(locals)
}

fn count(locals: &[(u32, ValType)]) -> u32 {
    locals.iter().map(|(count, _)| count).sum()
}

fn zero(ty: ValType) -> Result<Instruction<'static>, Failure> {
    Ok(match ty {
        ValType::I32 => Instruction::I32Const(0),
        ValType::I64 => Instruction::I64Const(0),
        ValType::F32 => Instruction::F32Const(0f32.into()),
        ValType::F64 => Instruction::F64Const(0f64.into()),
        ValType::V128 => Instruction::V128Const(0),
        ValType::Ref(_) => return Err(Failure::UserError("a local of a reference type".into())),
    })
}
