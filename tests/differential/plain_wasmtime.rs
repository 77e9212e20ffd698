//! The reference: the guest's own bytes in Wasmtime, one call for each invocation. The memory is the whole address
//! space, so that buffers stand where the devices have them; it has no holes, so bounds are not its business.

use std::sync::OnceLock;

use wasmtime::{Config, Engine, Func, Instance, Memory, Store, Trap, Val, WasmBacktrace};
use wavelift::device::{KernelTrap, Location, TrapKind};

use crate::case::{End, Program};
use crate::engine::Session;
use crate::on_devices::BLOCK_SIZE;
use crate::places::STACK_POINTER;

/// Pages beyond the first that make a memory of 4 GiB.
const MORE_PAGES: u64 = (1 << 16) - 1;

/// A program in Wasmtime.
pub struct PlainWasmtime {
    store: Store<()>,
    memory: Memory,
    kernel: Func,
    /// Address and size of each buffer.
    buffers: Vec<(u32, u32)>,
    linear: Option<Vec<u8>>,
    globals: Vec<(wasmtime::Global, Val)>,
}

impl PlainWasmtime {
    pub fn new(program: &Program) -> Result<PlainWasmtime, String> {
        PlainWasmtime::instantiate(program).map_err(|error| format!("{error:?}"))
    }

    fn instantiate(program: &Program) -> wasmtime::Result<PlainWasmtime> {
        static ENGINE: OnceLock<Engine> = OnceLock::new();
        let deterministic = || Engine::new(Config::new().relaxed_simd_deterministic(true)).expect("an engine");
        let engine = ENGINE.get_or_init(deterministic);
        let module = wasmtime::Module::new(engine, program.module.wasm.bytes())?;
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let memory = instance.get_memory(&mut store, "memory").expect("an exported memory");
        memory.grow(&mut store, MORE_PAGES)?;
        let kernel = instance.get_func(&mut store, "kernel").expect("an exported kernel");
        let sizes = program.buffers.iter().map(|buffer| buffer.size);
        let buffers = program.addresses().into_iter().zip(sizes).collect();
        let mut globals = Vec::new();
        for global in instance.exports(&mut store).filter_map(|e| e.into_global()).collect::<Vec<_>>() {
            let value = global.get(&mut store);
            globals.push((global, value));
        }
        Ok(PlainWasmtime { store, memory, kernel, buffers, linear: program.linear.clone(), globals })
    }
}

impl Session for PlainWasmtime {
    /// # Errors
    /// If the end depends on the order of the invocations: devices may choose any.
    fn run(&mut self, contents: &[Vec<u8>], iterations: u32) -> Result<End, String> {
        let end = self.run_in_order(contents, iterations, 0..iterations)?;
        // A single invocation has one order. It may drop data segments, which this instance has no other time.
        if iterations > 1
            && matches!(end, End::Done(_))
            && self.run_in_order(contents, iterations, (0..iterations).rev())? != end
        {
            return Err("The end depends on the order in which the invocations run.".into());
        }
        Ok(end)
    }
}

impl PlainWasmtime {
    fn run_in_order(
        &mut self,
        contents: &[Vec<u8>],
        iterations: u32,
        order: impl Iterator<Item = u32>,
    ) -> Result<End, String> {
        for ((address, _), bytes) in self.buffers.iter().zip(contents) {
            self.memory.data_mut(&mut self.store)[*address as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        if let Some(linear) = &self.linear {
            self.memory.data_mut(&mut self.store)[..linear.len()].copy_from_slice(linear);
        }
        let tail = self.buffers.iter().flat_map(|(address, size)| [*address, *size]);
        let mut arguments: Vec<Val> =
            [0, iterations, BLOCK_SIZE].into_iter().chain(tail).map(|x| Val::I32(x as i32)).collect();
        for iteration in order {
            arguments[0] = Val::I32(iteration as i32);
            for (global, value) in &self.globals {
                global.set(&mut self.store, *value).map_err(|error| error.to_string())?;
            }
            if let Err(error) = self.kernel.call(&mut self.store, &arguments, &mut []) {
                let (kind, at) = trap_of(&error).ok_or_else(|| format!("no trap: {error:?}"))?;
                return Ok(End::Trapped(KernelTrap { at, kind, iteration }));
            }
        }
        let data = self.memory.data(&self.store);
        let bytes = |(address, size): &(u32, u32)| data[*address as usize..][..*size as usize].to_vec();
        let linear = self.linear.as_ref().map(|linear| {
            let mut bytes = data[..linear.len()].to_vec();
            bytes[..STACK_POINTER as usize].fill(0);
            bytes
        });
        Ok(End::Done(self.buffers.iter().map(bytes).chain(linear).collect()))
    }
}

/// The kind and place of a trap that kernels have, too.
pub fn trap_of(error: &wasmtime::Error) -> Option<(TrapKind, Location)> {
    let kind = match error.downcast_ref::<Trap>()? {
        Trap::UnreachableCodeReached => TrapKind::Unreachable,
        Trap::MemoryOutOfBounds => TrapKind::OutOfBounds,
        Trap::HeapMisaligned => TrapKind::UnalignedAtomic,
        Trap::IntegerDivisionByZero => TrapKind::DivideByZero,
        Trap::IntegerOverflow => TrapKind::IntegerOverflow,
        Trap::BadConversionToInteger => TrapKind::BadConversion,
        Trap::TableOutOfBounds => TrapKind::TableOutOfBounds,
        Trap::IndirectCallToNull => TrapKind::NullTableEntry,
        Trap::BadSignature => TrapKind::IndirectCallType,
        _ => return None,
    };
    let frame = error.downcast_ref::<WasmBacktrace>()?.frames().first()?;
    // An access that was merged into another operator has no place.
    let offset = frame.module_offset().unwrap_or_default() as u32;
    let at = Location { function: frame.func_index(), offset };
    Some((kind, at))
}
