//! A guest in Wasmtime and its context on a CPU device, without the runtime in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmparser::ExternalKind;
use wasmtime::{Config, Engine, Instance, Memory, Ref, Store, Val};
use wavelift::device::{
    Access, BufferId, BufferSpec, Caller, Context, Device, GlobalValue, GuestModule, KernelTrap, Launch, LaunchError,
    LaunchTimes, TableEntry, cpu,
};
use wavelift::memory::{self, AddressSpace};

pub struct Guest {
    pub module: Arc<GuestModule>,
    pub store: Store<()>,
    pub instance: Instance,
    pub space: Arc<AddressSpace>,
    pub context: Box<dyn Context>,
}

/// Three workers, whatever the machine has.
pub fn parallel() -> Arc<dyn Device> {
    cpu::all_cores_with(3)
}

static IDS: AtomicU64 = AtomicU64::new(0);

impl Guest {
    /// Instantiates a module in text form. It exports its memory as `memory`, kernels by name, and the globals and
    /// table that kernels use.
    pub fn new(device: &Arc<dyn Device>, wat: &str) -> Guest {
        let mut config = Config::new();
        memory::configure(&mut config);
        Guest::with_engine(device, wat, &Engine::new(&config).unwrap())
    }

    /// The same in an engine with memory of its own.
    pub fn detached(device: &Arc<dyn Device>, wat: &str) -> Guest {
        Guest::with_engine(device, wat, &Engine::default())
    }

    fn with_engine(device: &Arc<dyn Device>, wat: &str, engine: &Engine) -> Guest {
        let bytes = wat::parse_str(wat).unwrap();
        let compiled = wasmtime::Module::new(engine, &bytes).unwrap();
        let mut store = Store::new(engine, ());
        let mut linker = wasmtime::Linker::new(engine);
        linker.define_unknown_imports_as_traps(&compiled).unwrap();
        let instance = linker.instantiate(&mut store, &compiled).unwrap();
        let wasm = wavelift_translator::Module::parse(bytes).unwrap();
        let module = Arc::new(GuestModule { id: IDS.fetch_add(1, Ordering::Relaxed), wasm });
        let memory = instance.get_memory(&mut store, "memory");
        let space = memory.and_then(|memory| AddressSpace::of_memory(memory.data_ptr(&store)));
        let space = space.unwrap_or_else(|| AddressSpace::detached().unwrap());
        let context = device.new_context(space.clone()).unwrap();
        Guest { module, store, instance, space, context }
    }

    pub fn memory(&mut self) -> Memory {
        self.instance.get_memory(&mut self.store, "memory").unwrap()
    }

    /// The value of an `i32` in the guest's memory, as the guest itself sees it.
    pub fn word(&mut self, address: u32) -> u32 {
        let memory = self.memory();
        let at = address as usize;
        u32::from_le_bytes(memory.data(&self.store)[at..at + 4].try_into().unwrap())
    }

    pub fn buffer(&mut self, size: u32, access: Access) -> BufferSpec {
        let memory_size = self.caller().memory_size();
        let address = self.space.allocate(size, memory_size).expect("address space");
        let spec = BufferSpec { id: BufferId(IDS.fetch_add(1, Ordering::Relaxed)), address, size, access };
        self.context.create_buffer(&spec).unwrap();
        spec
    }

    pub fn buffer_of(&mut self, words: &[u32], access: Access) -> BufferSpec {
        let spec = self.buffer(words.len() as u32 * 4, access);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.context.write_buffer(spec.id, 0, &bytes).unwrap();
        spec
    }

    pub fn words(&mut self, buffer: BufferSpec) -> Vec<u32> {
        let mut bytes = vec![0; buffer.size as usize];
        self.context.read_buffer(buffer.id, 0, &mut bytes).unwrap();
        bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
    }

    pub fn kernel(&self, name: &str) -> u32 {
        self.module.wasm.find_function(name).unwrap()
    }

    fn caller(&mut self) -> FakeCaller<'_> {
        FakeCaller { module: self.module.clone(), store: &mut self.store, instance: self.instance }
    }

    pub fn launch(&mut self, kernel: &str, n: u32, buffers: &[BufferSpec]) -> Result<LaunchTimes, LaunchError> {
        let launch = Launch {
            module: self.module.clone(),
            function: self.kernel(kernel),
            iterations: n,
            block_size: 7,
            buffers: buffers.to_vec(),
        };
        let mut caller = FakeCaller { module: self.module.clone(), store: &mut self.store, instance: self.instance };
        self.context.launch(&launch, &mut caller)
    }

    pub fn trap(&mut self, kernel: &str, n: u32, buffers: &[BufferSpec]) -> KernelTrap {
        match self.launch(kernel, n, buffers) {
            Err(LaunchError::Trap(trap)) => trap,
            other => panic!("expected a trap of `{kernel}`, got {other:?}"),
        }
    }

    pub fn reason(&mut self, kernel: &str, n: u32, buffers: &[BufferSpec]) -> String {
        match self.launch(kernel, n, buffers) {
            Err(LaunchError::NeedsCaller(reason)) => reason,
            other => panic!("expected that `{kernel}` needs its caller, got {other:?}"),
        }
    }

    /// Byte offset of the operator of this number (0 is the first) in a function's body.
    pub fn operator_offset(&self, function: &str, number: usize) -> u32 {
        let body = self.module.wasm.body(self.kernel(function)).unwrap();
        let operators = body.get_operators_reader().unwrap().into_iter_with_offsets();
        operators.map(|operator| operator.unwrap().1).nth(number).unwrap() as u32
    }
}

pub struct FakeCaller<'a> {
    module: Arc<GuestModule>,
    store: &'a mut Store<()>,
    instance: Instance,
}

impl FakeCaller<'_> {
    fn memory(&mut self) -> Option<Memory> {
        self.instance.get_memory(&mut *self.store, "memory")
    }

    fn export_name(&self, kind: ExternalKind, index: u32) -> Option<String> {
        let exports = self.module.wasm.exports().iter();
        exports.filter(|export| export.kind == kind && export.index == index).map(|export| export.name.clone()).next()
    }
}

impl Caller for FakeCaller<'_> {
    fn memory_size(&mut self) -> u64 {
        let memory = self.memory();
        memory.map_or(0, |memory| memory.data_size(&*self.store) as u64)
    }

    fn read_memory(&mut self, offset: u64, out: &mut [u8]) {
        let memory = self.memory().expect("only asked for with a memory");
        assert!(AddressSpace::of_memory(memory.data_ptr(&*self.store)).is_none(), "copied needlessly");
        memory.read(&*self.store, offset as usize, out).unwrap();
    }

    fn write_memory(&mut self, offset: u64, data: &[u8]) {
        let memory = self.memory().expect("only asked for with a memory");
        memory.write(&mut *self.store, offset as usize, data).unwrap();
    }

    fn global(&mut self, index: u32) -> Option<GlobalValue> {
        let name = self.export_name(ExternalKind::Global, index).expect("tests export their globals");
        let global = self.instance.get_global(&mut *self.store, &name).unwrap();
        Some(match global.get(&mut *self.store) {
            Val::I32(value) => GlobalValue::I32(value),
            Val::I64(value) => GlobalValue::I64(value),
            Val::F32(bits) => GlobalValue::F32(bits),
            Val::F64(bits) => GlobalValue::F64(bits),
            Val::V128(bits) => GlobalValue::V128(bits.as_u128()),
            _ => return None,
        })
    }

    fn table(&mut self, index: u32) -> Vec<TableEntry> {
        let name = self.export_name(ExternalKind::Table, index).expect("tests export their tables");
        let table = self.instance.get_table(&mut *self.store, &name).unwrap();
        let functions: Vec<(usize, u32)> = (0..self.module.wasm.function_count())
            .filter_map(|function| {
                let name = self.export_name(ExternalKind::Func, function)?;
                let exported = self.instance.get_func(&mut *self.store, &name)?;
                Some((exported.to_raw(&mut *self.store).addr(), function))
            })
            .collect();
        (0..table.size(&*self.store))
            .map(|entry| match table.get(&mut *self.store, entry) {
                Some(Ref::Func(Some(function))) => {
                    let raw = function.to_raw(&mut *self.store).addr();
                    let known = functions.iter().find(|(address, _)| *address == raw);
                    known.map_or(TableEntry::Foreign, |(_, function)| TableEntry::Function(*function))
                }
                _ => TableEntry::Null,
            })
            .collect()
    }
}
