//! What a launch of a kernel module starts from: the module's own initial state, and the caller's linear memory where
//! the module imports one.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use wasmtime::{AsContextMut, Engine, Extern, Instance, Memory, Store, Val};

use super::view::{View, run_iterations};
use super::{Core, HostFault};
use crate::device::{Caller, GlobalValue, Launch, OwnMemory, TableEntry};
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::kernel::{CallerInstance, InOrderError, KernelModule};
use crate::memory::{AddressSpace, MemoryError};
use crate::runtime::{Module, Runtime};

/// What a guest keeps for kernels that run in order, by the kernels' bytes.
#[derive(Default)]
pub(crate) struct KernelInstances {
    compiled: HashMap<Arc<[u8]>, Module>,
    /// In the guest's store, which frees none.
    instances: HashMap<Arc<[u8]>, Instance>,
}

/// Most instances in one store, and most modules that are kept compiled.
const MOST_INSTANCES: usize = 64;

/// The caller of a kernel that came as a module.
pub(super) struct ModuleCaller<'a, 'c, T: 'static> {
    kernel: Arc<KernelModule>,
    view: View<'a, 'c, T>,
    kept: KernelInstances,
    runtime: Runtime,
    space: Arc<AddressSpace>,
}

impl<'a, 'c, T: 'static> ModuleCaller<'a, 'c, T> {
    /// `view` is the calling instance's, `space` its address space; what earlier launches kept is taken from `core`.
    pub fn new(kernel: Arc<KernelModule>, view: View<'a, 'c, T>, core: &mut Core) -> Result<Self, HostFault> {
        let (space, runtime) = (core.space()?, core.runtime.clone());
        Ok(ModuleCaller { kernel, view, kept: std::mem::take(&mut core.kernel_instances), runtime, space })
    }

    /// What to give to later launches of this guest.
    pub fn into_instances(self) -> KernelInstances {
        self.kept
    }

    /// Runs a kernel that shares the caller's memory, in an instance in the caller's store.
    ///
    /// The instance is kept, for stores free none. Between launches its mutable globals are as they were; tables that it
    /// changed and segments that it dropped stay so, as the caller's own do.
    fn run_beside_caller(&mut self, launch: (&Launch, &Interrupt), memory: Memory) -> Result<(), InOrderError> {
        let engine = self.view.engine().clone();
        let module = self.compiled(&engine).map_err(InOrderError::Refused)?;
        let bytes = module.wasm().bytes();
        let instance = match self.kept.instances.get(bytes) {
            Some(instance) => *instance,
            None if self.kept.instances.len() >= MOST_INSTANCES => {
                return Err(InOrderError::Refused(format!(
                    "The guest has run {MOST_INSTANCES} kernel modules so, which is the most it can."
                )));
            }
            None => {
                let instance = instantiate(self.view.store(), &module, &[Extern::Memory(memory)])?;
                self.kept.instances.insert(bytes.clone(), instance);
                instance
            }
        };
        self.share_stack(&module, instance).map_err(InOrderError::Guest)?;
        run_instance(self.view.store(), &module, instance, all_of(launch))
    }

    /// Runs a kernel that shares nothing but the buffers, in a store of its own.
    fn run_alone(&mut self, launch: (&Launch, &Interrupt)) -> Result<(), InOrderError> {
        let module = self.compiled(&self.runtime.engine().clone()).map_err(InOrderError::Refused)?;
        let mut store = Store::new(module.compiled().engine(), ());
        launch.1.watch(&mut store);
        let instance = instantiate(&mut store, &module, &[])?;
        if let Some(memory) = instance.get_memory(&mut store, module.names().memory()) {
            let exposed = match AddressSpace::of_memory(memory.data_ptr(&store)) {
                Some(own) => own.expose_those_of(&self.space, &launch.0.buffers),
                None => Err(MemoryError::Detached),
            };
            exposed.map_err(|error| InOrderError::Refused(error.to_string()))?;
        }
        run_instance(&mut store, &module, instance, all_of(launch))
    }

    fn compiled(&mut self, engine: &Engine) -> Result<Module, String> {
        let bytes = self.kernel.guest.wasm.bytes();
        if let Some(module) = self.kept.compiled.get(bytes) {
            return Ok(module.clone());
        }
        let module = Module::compile(engine, self.kernel.guest.clone()).map_err(|error| error.to_string())?;
        if self.kept.compiled.len() >= MOST_INSTANCES {
            self.kept.compiled.clear();
        }
        self.kept.compiled.insert(bytes.clone(), module.clone());
        Ok(module)
    }

    /// Gives the instance the caller's stack to go on with: its own stack pointer starts at an address that the caller
    /// uses for something else.
    fn share_stack(&mut self, module: &Module, instance: Instance) -> wasmtime::Result<()> {
        let (Some(from), Some(to)) = (self.view.stack_pointer(), module.wasm().stack_pointer()) else {
            return Ok(());
        };
        match instance.get_global(self.view.store(), &module.names().global(to)) {
            Some(global) => global.set(self.view.store(), Val::I32(from & -16)),
            None => Ok(()),
        }
    }
}

fn all_of<'a>((launch, interrupt): (&'a Launch, &'a Interrupt)) -> (&'a Launch, Range<u32>, &'a Interrupt) {
    (launch, 0..launch.iterations, interrupt)
}

fn instantiate(store: impl AsContextMut, module: &Module, imports: &[Extern]) -> Result<Instance, InOrderError> {
    Instance::new(store, module.compiled(), imports).map_err(|error| {
        InOrderError::Refused(format!("The kernel's module can't be instantiated: {}.", Error::one_line(&error)))
    })
}

/// Runs iterations of a launch in an instance of the kernel's module.
pub(super) fn run_instance(
    store: &mut impl AsContextMut,
    module: &Module,
    instance: Instance,
    launch: (&Launch, Range<u32>, &Interrupt),
) -> Result<(), InOrderError> {
    let kernel = instance.get_func(&mut *store, &module.names().function(launch.0.function));
    let missing = || InOrderError::Guest(wasmtime::Error::msg("the kernel's instance does not export it"));
    let kernel = kernel.ok_or_else(missing)?;
    let mut globals = Vec::new();
    for index in module.mutable_globals() {
        if let Some(global) = instance.get_global(&mut *store, &module.names().global(index)) {
            let value = global.get(&mut *store);
            globals.push((global, value));
        }
    }
    run_iterations(store, kernel, &globals, module, launch)
}

impl<T: 'static> Caller for ModuleCaller<'_, '_, T> {
    fn own_memory(&self) -> Option<&OwnMemory> {
        self.kernel.initial.memory.as_ref()
    }

    fn memory_size(&mut self) -> u64 {
        match &self.kernel.initial.memory {
            Some(own) => own.size,
            None if self.kernel.imports_memory() => self.view.memory_size(),
            None => 0,
        }
    }

    fn read_memory(&mut self, offset: u64, out: &mut [u8]) {
        match &self.kernel.initial.memory {
            Some(own) => own.read(offset, out),
            None => self.view.read_memory(offset, out),
        }
    }

    fn write_memory(&mut self, offset: u64, data: &[u8]) {
        if self.own_memory().is_none() {
            self.view.write_memory(offset, data);
        }
    }

    fn global(&mut self, index: u32) -> Option<GlobalValue> {
        self.kernel.initial.globals.get(index as usize).copied().flatten()
    }

    fn table(&mut self, index: u32) -> Vec<TableEntry> {
        self.kernel.initial.tables.get(index as usize).cloned().unwrap_or_default()
    }
}

impl<T: 'static> CallerInstance for ModuleCaller<'_, '_, T> {
    fn run_in_order(&mut self, launch: &Launch, interrupt: &Interrupt) -> Result<(), InOrderError> {
        match self.view.memory().filter(|_| self.kernel.imports_memory()) {
            Some(memory) => self.run_beside_caller((launch, interrupt), memory),
            None => self.run_alone((launch, interrupt)),
        }
    }
}
