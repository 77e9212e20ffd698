//! The calling instance, as devices and launches see it: found through the exports that were added to its module.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use wasmtime::{AsContextMut, Extern, Func, Global, Memory, ModuleExport, Ref, Table, Trap, V128, Val};

use crate::device::{Caller, GlobalValue, Launch, TableEntry};
use crate::interrupt::Interrupt;
use crate::kernel::{CallerInstance, InOrderError};
use crate::runtime::Module;
use crate::trap::kernel_trap;

/// What to do about a kernel that was to be found in a table that is not there.
const NO_TABLE: &str = "The module has no function table, so that the number of a kernel names nothing. Optimisers \
    (`wasm-opt` among them) remove a table that only `parallel_for` uses, and the kernels with it: export the table \
    (`--export-table` for wasm-ld).";

/// Functions of an instance by the address that stands for them in tables.
#[derive(Debug)]
pub(crate) struct FunctionMap {
    /// A function that shows, by its address, which instance this is of.
    first: Option<(u32, usize)>,
    by_address: HashMap<usize, u32>,
}

/// The instance that calls a host function.
pub(crate) struct View<'a, 'c, T: 'static> {
    caller: &'a mut wasmtime::Caller<'c, T>,
    module: Module,
    functions: Option<Arc<FunctionMap>>,
}

impl<'a, 'c, T: 'static> View<'a, 'c, T> {
    /// `functions` is what an earlier view of the same instance made.
    pub fn new(caller: &'a mut wasmtime::Caller<'c, T>, module: &Module, functions: Option<Arc<FunctionMap>>) -> Self {
        View { caller, module: module.clone(), functions }
    }

    /// What to give to later views of this instance.
    pub fn into_functions(self) -> Option<Arc<FunctionMap>> {
        self.functions
    }

    /// Whether the calling instance is one of the module.
    pub fn is_of_module(&mut self) -> bool {
        let wasm = self.module.wasm();
        let (memory, table) = (!wasm.memories().is_empty(), !wasm.tables().is_empty());
        (!memory || self.memory().is_some()) && (!table || self.table_export(0).is_some())
    }

    /// Linear memory 0.
    pub fn memory(&mut self) -> Option<Memory> {
        memory_of(self.caller, &self.module)
    }

    fn table_export(&mut self, index: u32) -> Option<Table> {
        let known = self.module.table_export(index);
        export_of(self.caller, known, || self.module.names().table(index)).and_then(Extern::into_table)
    }

    fn global_export(&mut self, index: u32) -> Option<Global> {
        self.caller.get_export(&self.module.names().global(index)).and_then(Extern::into_global)
    }

    fn function_export(&mut self, index: u32) -> Option<Func> {
        let known = self.module.function_export(index);
        export_of(self.caller, known, || self.module.names().function(index)).and_then(Extern::into_func)
    }

    fn address_of(&mut self, index: u32) -> Option<usize> {
        let function = self.function_export(index)?;
        Some(function.to_raw(&mut *self.caller) as usize)
    }

    /// The function map, made anew if it is of another instance.
    fn functions(&mut self) -> Arc<FunctionMap> {
        if let Some(map) = self.functions.clone() {
            let same = map.first.is_none_or(|(index, address)| self.address_of(index) == Some(address));
            if same {
                return map;
            }
        }
        let indices = self.module.table_functions().to_vec();
        let mut map = FunctionMap { first: None, by_address: HashMap::with_capacity(indices.len()) };
        for index in indices {
            if let Some(address) = self.address_of(index) {
                map.first.get_or_insert((index, address));
                map.by_address.insert(address, index);
            }
        }
        let map = Arc::new(map);
        self.functions = Some(map.clone());
        map
    }

    /// What the entry of a function table is now; `None` beyond its end.
    pub fn entry(&mut self, table: &Table, index: u64) -> Option<TableEntry> {
        let functions = self.functions();
        Some(match table.get(&mut *self.caller, index)? {
            Ref::Func(Some(function)) => {
                let address = function.to_raw(&mut *self.caller) as usize;
                functions.by_address.get(&address).map_or(TableEntry::Foreign, |f| TableEntry::Function(*f))
            }
            Ref::Func(None) => TableEntry::Null,
            _ => TableEntry::Foreign,
        })
    }

    /// The function of this module at an entry of its first function table.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    pub fn kernel_at(&mut self, index: u32) -> Result<u32, String> {
        let table = self.module.wasm().tables().iter().position(|t| t.holds_functions);
        let Some(table) = table.and_then(|table| self.table_export(table as u32)) else {
            return Err(NO_TABLE.to_string());
        };
        match self.entry(&table, u64::from(index)) {
            Some(TableEntry::Function(function)) => Ok(function),
            Some(TableEntry::Null) => Err(format!("Entry {index} of the function table is null.")),
            Some(TableEntry::Foreign) => {
                Err(format!("Entry {index} of the function table is a function of the host or of another module."))
            }
            None => {
                let size = table.size(&*self.caller);
                Err(format!("Entry {index} is beyond the end of the function table, which has {size} entries."))
            }
        }
    }

    /// The store that the instance is in.
    pub fn store(&mut self) -> &mut wasmtime::Caller<'c, T> {
        self.caller
    }

    /// The engine of that store.
    pub fn engine(&self) -> &wasmtime::Engine {
        self.caller.engine()
    }

    /// The present value of the global with the name of the stack pointer.
    pub fn stack_pointer(&mut self) -> Option<i32> {
        let global = self.global_export(self.module.wasm().stack_pointer()?)?;
        global.get(&mut *self.caller).i32()
    }

    /// The mutable globals and their present values.
    fn mutable_globals(&mut self) -> Vec<(Global, Val)> {
        let mut values = Vec::new();
        for index in self.module.mutable_globals() {
            if let Some(global) = self.global_export(index) {
                let value = global.get(&mut *self.caller);
                values.push((global, value));
            }
        }
        values
    }
}

/// Linear memory 0 of the calling instance; `None` if its module has none.
pub(crate) fn memory_of<T: 'static>(caller: &mut wasmtime::Caller<'_, T>, module: &Module) -> Option<Memory> {
    export_of(caller, module.memory_export(), || module.names().memory()).and_then(Extern::into_memory)
}

/// An export of the calling instance: by its place if that is known, or by its name, as it may be an instance of another module that
/// was compiled from the same bytes.
fn export_of<T: 'static, N: AsRef<str>>(
    caller: &mut wasmtime::Caller<'_, T>,
    known: Option<&ModuleExport>,
    name: impl FnOnce() -> N,
) -> Option<Extern> {
    let known = known.and_then(|export| caller.get_module_export(export));
    known.or_else(|| caller.get_export(name().as_ref()))
}

impl<T: 'static> Caller for View<'_, '_, T> {
    fn memory_size(&mut self) -> u64 {
        self.memory().map_or(0, |memory| memory.data_size(&*self.caller) as u64)
    }

    fn read_memory(&mut self, offset: u64, out: &mut [u8]) {
        if let Some(memory) = self.memory() {
            let data = memory.data(&*self.caller);
            let range = offset as usize..(offset as usize).saturating_add(out.len());
            if let Some(data) = data.get(range) {
                out.copy_from_slice(data);
            }
        }
    }

    fn write_memory(&mut self, offset: u64, data: &[u8]) {
        if let Some(memory) = self.memory() {
            let range = offset as usize..(offset as usize).saturating_add(data.len());
            if let Some(to) = memory.data_mut(&mut *self.caller).get_mut(range) {
                to.copy_from_slice(data);
            }
        }
    }

    fn global(&mut self, index: u32) -> Option<GlobalValue> {
        let global = self.global_export(index)?;
        match global.get(&mut *self.caller) {
            Val::I32(v) => Some(GlobalValue::I32(v)),
            Val::I64(v) => Some(GlobalValue::I64(v)),
            Val::F32(bits) => Some(GlobalValue::F32(bits)),
            Val::F64(bits) => Some(GlobalValue::F64(bits)),
            Val::V128(v) => Some(GlobalValue::V128(V128::as_u128(&v))),
            _ => None,
        }
    }

    fn table(&mut self, index: u32) -> Vec<TableEntry> {
        let Some(table) = self.table_export(index) else { return Vec::new() };
        (0..table.size(&*self.caller)).map_while(|i| self.entry(&table, i)).collect()
    }

    fn has_dropped(&mut self, segment: u32) -> bool {
        let probe = self.caller.get_export(&self.module.names().dropped(segment)).and_then(Extern::into_func);
        let traps = |error: wasmtime::Error| error.downcast_ref() == Some(&Trap::MemoryOutOfBounds);
        probe.is_some_and(|probe| probe.call(&mut *self.caller, &[], &mut []).is_err_and(traps))
    }
}

impl<T: 'static> CallerInstance for View<'_, '_, T> {
    fn run_in_order(&mut self, launch: &Launch, interrupt: &Interrupt) -> Result<(), InOrderError> {
        let Some(kernel) = self.function_export(launch.function) else {
            return Err(InOrderError::Guest(wasmtime::Error::msg("the kernel is no function of the calling instance")));
        };
        let (globals, module) = (self.mutable_globals(), self.module.clone());
        run_iterations(self.caller, kernel, &globals, &module, (launch, 0..launch.iterations, interrupt))
    }
}

/// Calls the kernel, a function of an instance of `module`, for each of these iterations in order.
pub(super) fn run_iterations(
    store: &mut impl AsContextMut,
    kernel: Func,
    globals: &[(Global, Val)],
    module: &Module,
    (launch, iterations, interrupt): (&Launch, Range<u32>, &Interrupt),
) -> Result<(), InOrderError> {
    let mut params = vec![Val::I32(0), Val::I32(launch.iterations as i32), Val::I32(launch.block_size as i32)];
    for buffer in &launch.buffers {
        params.extend([Val::I32(buffer.address as i32), Val::I32(buffer.size as i32)]);
    }
    for iteration in iterations {
        interrupt.check().map_err(|interruption| InOrderError::Guest(interruption.into()))?;
        params[0] = Val::I32(iteration as i32);
        let run = kernel.call(&mut *store, &params, &mut []);
        // Mutable globals are private to an invocation: what it wrote is dropped, a trapping one's too.
        let mut restored = globals.iter().map(|(global, value)| global.set(&mut *store, *value));
        restored.try_for_each(|result| result).map_err(InOrderError::Guest)?;
        if let Err(error) = run {
            return Err(match kernel_trap(&error, module, iteration) {
                Some(trap) => InOrderError::Trap(trap),
                None => InOrderError::Guest(error),
            });
        }
    }
    Ok(())
}
