//! What a launch of a kernel module starts from: the module's own initial state, and the caller's linear memory where
//! the module imports one.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::{Extern, Instance, Val};

use super::view::{View, run_iterations};
use crate::device::cpu::named_stack_pointer;
use crate::device::{Caller, GlobalValue, Launch, OwnMemory, TableEntry};
use crate::error::Error;
use crate::kernel::{CallerInstance, InOrderError, KernelModule};
use crate::runtime::Module;

/// Instances of kernel modules in a guest's store, by the modules' bytes. A store frees none of them.
#[derive(Default)]
pub(crate) struct KernelInstances {
    known: HashMap<Arc<[u8]>, (Module, Instance)>,
}

/// Most instances in one store.
const MOST_INSTANCES: usize = 64;

/// The caller of a kernel that came as a module.
pub(super) struct ModuleCaller<'a, 'c, T: 'static> {
    kernel: Arc<KernelModule>,
    view: View<'a, 'c, T>,
    instances: KernelInstances,
}

impl<'a, 'c, T: 'static> ModuleCaller<'a, 'c, T> {
    /// `view` is the calling instance's; `instances` are what earlier launches of the guest made.
    pub fn new(kernel: Arc<KernelModule>, view: View<'a, 'c, T>, instances: KernelInstances) -> Self {
        ModuleCaller { kernel, view, instances }
    }

    /// What to give to later launches of this guest.
    pub fn into_instances(self) -> KernelInstances {
        self.instances
    }

    /// An instance in the caller's store, with the caller's memory.
    ///
    /// It is kept, for stores free none. Between launches its mutable globals are as they were; tables that it changed and
    /// segments that it dropped stay so, as the caller's own do.
    fn instance(&mut self) -> Result<(Module, Instance), String> {
        let bytes = self.kernel.guest.wasm.bytes();
        if let Some((module, instance)) = self.instances.known.get(bytes) {
            return Ok((module.clone(), *instance));
        }
        if self.kernel.initial.memory.is_some() {
            return Err(
                "It would need an instance of its own there, and one with a memory of its own has no room for the \
                        launch's buffers. Import the caller's memory instead."
                    .to_string(),
            );
        }
        if self.instances.known.len() >= MOST_INSTANCES {
            return Err(format!("The guest has run {MOST_INSTANCES} kernel modules so, which is the most it can."));
        }
        let module = Module::compile(self.view.engine(), self.kernel.guest.clone()).map_err(|e| e.to_string())?;
        let memory = self.view.memory().filter(|_| self.kernel.imports_memory());
        let imports: Vec<Extern> = memory.into_iter().map(Extern::Memory).collect();
        let instance = Instance::new(self.view.store(), module.compiled(), &imports)
            .map_err(|error| format!("The kernel's module can't be instantiated: {}.", Error::one_line(&error)))?;
        self.instances.known.insert(bytes.clone(), (module.clone(), instance));
        Ok((module, instance))
    }

    /// Gives the instance the caller's stack to go on with: its own stack pointer starts at an address that the caller
    /// uses for something else.
    fn share_stack(&mut self, module: &Module, instance: Instance) -> wasmtime::Result<()> {
        let (Some(from), Some(to)) = (self.view.stack_pointer(), named_stack_pointer(module.wasm())) else {
            return Ok(());
        };
        match instance.get_global(self.view.store(), &module.names().global(to)) {
            Some(global) => global.set(self.view.store(), Val::I32(from & -16)),
            None => Ok(()),
        }
    }
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
    fn run_in_order(&mut self, launch: &Launch) -> Result<(), InOrderError> {
        let (module, instance) = self.instance().map_err(InOrderError::Refused)?;
        let kernel = instance.get_func(self.view.store(), &module.names().function(launch.function));
        let missing = || InOrderError::Guest(wasmtime::Error::msg("the kernel's instance does not export it"));
        let kernel = kernel.ok_or_else(missing)?;
        self.share_stack(&module, instance).map_err(InOrderError::Guest)?;
        let mut globals = Vec::new();
        for index in module.mutable_globals() {
            if let Some(global) = instance.get_global(self.view.store(), &module.names().global(index)) {
                let value = global.get(self.view.store());
                globals.push((global, value));
            }
        }
        run_iterations(self.view.store(), kernel, &globals, &module, launch)
    }
}
