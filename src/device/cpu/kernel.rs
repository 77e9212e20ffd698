//! Compiled kernels, and the cache of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Instant;

use foldhash::HashMap;
use parking_lot::Mutex;
use wasmtime::{Config, Engine};
use wavelift_translator::lanes::{Rows, Tally};

use super::body::FunctionMap;
use super::cost::{Contention, Cost};
use super::encode::{DeviceModule, Source, encode};
use super::fuel::Costs;
use super::lanes::{Grouped, Lanes};
use super::slice::slice;
use super::stack_pointer;
use crate::device::{Caller, GuestModule, Launch, LaunchError, LaunchTimes, TableEntry};
use crate::memory::{self, WorkerMemories};

/// A kernel, ready to be instantiated.
#[derive(Debug)]
pub struct Kernel {
    /// Unique in the process.
    pub id: u64,
    /// The device module, compiled.
    pub module: wasmtime::Module,
    /// Where its functions come from, by function index.
    pub functions: Vec<FunctionMap>,
    /// What to set before a launch, and the exports that take it.
    pub globals: Vec<(Source, String)>,
    /// The guest's global that holds the stack pointer, if the kernel reaches it.
    pub stack_pointer: Option<u32>,
    /// The form that runs groups of invocations, if there is one.
    pub grouped: Option<Grouped>,
    /// Buffers to which it does nothing but add.
    pub tallies: Vec<Tally>,
    /// What is known of it where neighbouring invocations better run long after each other.
    pub rows: Option<Rows>,
    /// Whether an invocation may come to an operator that only the caller's own instance can run.
    pub may_need_caller: bool,
    /// Whether it makes indirect calls: it is that of the tables' entries when it was compiled.
    pub calls_tables: bool,
    /// What its invocations take.
    pub cost: Cost,
    /// The same on one thread and on all, of a kernel whose invocations may change the same words.
    pub contention: Option<Contention>,
}

impl Kernel {
    /// The form that runs groups of invocations, if it may run with these arguments of `run`.
    pub fn lanes(&self, arguments: &[u32]) -> Option<&Grouped> {
        self.grouped.as_ref().filter(|grouped| grouped.takes(arguments))
    }
}

/// A kernel, or the sentence that says why it runs in the caller's instance.
type Compiled = Result<Arc<Kernel>, String>;

/// What is found of a kernel.
enum Found {
    Compiled(Compiled),
    /// It makes indirect calls: present tables say which variant it is, or that it is a new one.
    ByTables,
    Nothing,
}

/// What is known of one kernel of one module.
struct Known {
    module: Weak<GuestModule>,
    /// By the present table entries; none are asked for where the kernel makes no indirect calls.
    variants: Vec<(Option<Vec<Vec<TableEntry>>>, Compiled)>,
}

/// The engine of all CPU devices, or why there is none. The settings stand here alone.
pub fn engine() -> Result<&'static Engine, &'static String> {
    static ENGINE: LazyLock<Result<Engine, String>> = LazyLock::new(|| {
        let mut config = Config::new();
        memory::configure_addresses(&mut config)
            .with_host_memory(Arc::new(WorkerMemories))
            .relaxed_simd_deterministic(true);
        Engine::new(&config).map_err(|error| format!("Wasmtime could not be set up: {error:#}."))
    });
    ENGINE.as_ref()
}

/// Kernels compiled so far, for one device.
pub struct Kernels {
    /// What an invocation may do, if that is limited: see [`Limits::fuel`](crate::Limits::fuel).
    fuel: Option<u32>,
    lanes: Lanes,
    known: Mutex<HashMap<(u64, u32), Known>>,
    /// Device modules by their bytes: guests that share a kernel share its code.
    compiled: Mutex<HashMap<Vec<u8>, wasmtime::Module>>,
}

/// Bounds of the caches: enough for any program, little enough that a hostile one can't fill memory.
const MOST_KERNELS: usize = 1024;
const MOST_VARIANTS: usize = 16;

impl Kernels {
    /// None yet.
    pub fn new(fuel: Option<u32>, lanes: Lanes) -> Kernels {
        Kernels { fuel, lanes: lanes.resolved(), known: Mutex::default(), compiled: Mutex::default() }
    }

    /// The kernel of a launch, compiled now if it is not known yet.
    ///
    /// # Errors
    /// [`LaunchError::NeedsCaller`] for what a device module can't do, [`LaunchError::Internal`] if it can't be made.
    pub fn get(
        &self,
        engine: &Engine,
        launch: &Launch,
        caller: &mut dyn Caller,
    ) -> Result<(Arc<Kernel>, LaunchTimes), LaunchError> {
        let key = (launch.module.id, launch.function);
        // Most kernels make no indirect calls; the caller is asked for its tables only for those that do.
        let mut tables = None;
        let mut found = self.find(key, &tables);
        if matches!(found, Found::ByTables) {
            tables = Some(read_tables(launch, caller));
            found = self.find(key, &tables);
        }
        if let Found::Compiled(compiled) = found {
            return Ok((compiled.map_err(LaunchError::NeedsCaller)?, LaunchTimes::default()));
        }
        let mut times = LaunchTimes::default();
        let compiled = self.compile(engine, launch, caller, &mut tables, &mut times)?;
        let mut known = self.known.lock();
        if known.len() >= MOST_KERNELS {
            known.retain(|_, known| known.module.strong_count() > 0);
        }
        if known.len() >= MOST_KERNELS {
            known.clear();
        }
        let module = Arc::downgrade(&launch.module);
        let entry = known.entry(key).or_insert_with(|| Known { module, variants: Vec::new() });
        if entry.variants.len() >= MOST_VARIANTS {
            entry.variants.drain(..1);
        }
        entry.variants.push((tables, compiled.clone()));
        drop(known);
        Ok((compiled.map_err(LaunchError::NeedsCaller)?, times))
    }

    fn find(&self, key: (u64, u32), tables: &Option<Vec<Vec<TableEntry>>>) -> Found {
        let known = self.known.lock();
        let variants = known.get(&key).map_or(&[][..], |known| &known.variants);
        match variants.iter().find(|(entries, _)| entries == tables) {
            Some((_, compiled)) => Found::Compiled(compiled.clone()),
            None if variants.iter().any(|(entries, _)| entries.is_some()) => Found::ByTables,
            None => Found::Nothing,
        }
    }

    /// Notes that an invocation of `kernel` came to what only the caller's own instance can run: later launches go there
    /// at once.
    pub fn give_up(&self, launch: &Launch, kernel: &Kernel, reason: &str) {
        let mut known = self.known.lock();
        let Some(known) = known.get_mut(&(launch.module.id, launch.function)) else { return };
        for (_, compiled) in &mut known.variants {
            if compiled.as_ref().is_ok_and(|known| known.id == kernel.id) {
                *compiled = Err(reason.to_string());
            }
        }
    }

    fn compile(
        &self,
        engine: &Engine,
        launch: &Launch,
        caller: &mut dyn Caller,
        tables: &mut Option<Vec<Vec<TableEntry>>>,
        times: &mut LaunchTimes,
    ) -> Result<Compiled, LaunchError> {
        let start = Instant::now();
        let module = &launch.module.wasm;
        let sliced =
            slice(module, launch.function, &mut || tables.get_or_insert_with(|| read_tables(launch, caller)).clone());
        let slice = match sliced {
            Ok(slice) => slice,
            Err(reason) => return Ok(Err(reason)),
        };
        let stack_pointer = match stack_pointer::find(module, launch.function, &slice) {
            Ok(stack_pointer) => stack_pointer,
            Err(reason) => return Ok(Err(reason)),
        };
        let entries = tables.as_deref().unwrap_or_default();
        let costs = self.fuel.map(|limit| Costs::new(module, launch.function, &slice, entries, limit)).transpose();
        let costs = match costs {
            Ok(costs) => costs,
            Err(reason) => return Ok(Err(reason)),
        };
        let device = encode(module, launch.function, &slice, entries, costs.as_ref(), self.lanes)
            .map_err(LaunchError::Internal)?;
        times.lift = start.elapsed();
        let start = Instant::now();
        let DeviceModule { bytes, functions, globals, grouped, tallies, rows, contends } = device;
        if let Err(reason) = &grouped {
            tracing::debug!(
                "invocations of `{}` run one by one: {reason}",
                launch.module.wasm.function_name(launch.function)
            );
        }
        let module = self.compile_bytes(engine, bytes).map_err(|error| {
            LaunchError::Internal(format!("The CPU device's module for the kernel did not compile: {error:#}."))
        })?;
        times.compile = start.elapsed();
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (may_need_caller, cost, grouped) = (slice.may_need_caller, Cost::default(), grouped.ok());
        Ok(Ok(Arc::new(Kernel {
            id,
            module,
            functions,
            globals,
            stack_pointer,
            grouped,
            tallies,
            rows,
            may_need_caller,
            calls_tables: tables.is_some(),
            cost,
            contention: contends.then(Contention::default),
        })))
    }

    fn compile_bytes(&self, engine: &Engine, bytes: Vec<u8>) -> wasmtime::Result<wasmtime::Module> {
        if let Some(module) = self.compiled.lock().get(&bytes) {
            return Ok(module.clone());
        }
        let module = wasmtime::Module::from_binary(engine, &bytes)?;
        let mut compiled = self.compiled.lock();
        if compiled.len() >= MOST_KERNELS {
            compiled.clear();
        }
        compiled.insert(bytes, module.clone());
        Ok(module)
    }
}

fn read_tables(launch: &Launch, caller: &mut dyn Caller) -> Vec<Vec<TableEntry>> {
    let tables = launch.module.wasm.tables().iter().zip(0..);
    tables.map(|(table, index)| if table.holds_functions { caller.table(index) } else { Vec::new() }).collect()
}
