//! A running guest with WASI preview 1.

use std::time::Duration;

use wasmtime::{CallHook, Linker, Store, StoreLimits, StoreLimitsBuilder, Val, ValType};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};

use super::{Module, Runtime};
use crate::error::{Error, Result};
use crate::host::{GuestState, add_to_linker, last_words};
use crate::interrupt::Interrupt;
use crate::report::Report;

/// What the store of an [`Instance`] holds.
struct State {
    guest: GuestState,
    wasi: WasiP1Ctx,
    /// Why launches that were under way when the guest last called WASI did not end well.
    failed: Option<Error>,
    memory: StoreLimits,
    /// A WASI without a way out, for what a guest does whose launch has failed.
    nowhere: WasiP1Ctx,
}

impl State {
    /// WASI for a call of the guest: what it does outside comes after its launches, and not at all after one that trapped.
    fn wasi(&mut self) -> &mut WasiP1Ctx {
        self.failed = self.guest.finish().err();
        if self.failed.is_some() { &mut self.nowhere } else { &mut self.wasi }
    }
}

/// A guest in a store of its own, linked with `wasi_ephemeral_parallel` and WASI preview 1.
pub struct Instance {
    store: Store<State>,
    instance: wasmtime::Instance,
    module: Module,
    interrupt: Interrupt,
    time: Option<Duration>,
}

impl Instance {
    /// Links and instantiates; runs the module's start function, if it has one.
    ///
    /// # Errors
    /// [`Error::ImportType`], [`Error::UnknownImport`] and [`Error::Link`] where imports don't fit, and what a start
    /// function can end with: [`Error::Trap`], [`Error::Kernel`], [`Error::Host`], [`Error::Exit`].
    pub fn new(runtime: &Runtime, module: &Module, wasi: WasiP1Ctx) -> Result<Instance> {
        let mut guest = GuestState::new(runtime, module)?;
        guest.defer_launches();
        let mut linker: Linker<State> = Linker::new(runtime.engine());
        let linked = p1::add_to_linker_sync(&mut linker, State::wasi);
        linked.map_err(|e| Error::Link(Error::one_line(&e)))?;
        add_to_linker(&mut linker, |state: &mut State| &mut state.guest)?;
        let limits = &runtime.config().limits;
        let memory = usize::try_from(limits.host_memory).unwrap_or(usize::MAX);
        let memory = StoreLimitsBuilder::new().memory_size(memory).build();
        let interrupt = guest.interrupt();
        let nowhere = WasiCtxBuilder::new().build_p1();
        let mut store = Store::new(runtime.engine(), State { guest, wasi, failed: None, memory, nowhere });
        store.call_hook(|mut store, hook| match hook {
            CallHook::ReturningFromHost => store.data_mut().failed.take().map_or(Ok(()), |error| Err(error.into())),
            _ => Ok(()),
        });
        store.limiter(|state| &mut state.memory);
        interrupt.watch(&mut store);
        interrupt.limit(limits.time);
        let instantiated = linker.instantiate(&mut store, module.compiled());
        let ended = store.data_mut().guest.finish();
        interrupt.limit(None);
        ended?;
        let instance = instantiated.map_err(|error| Error::of_instantiation(error, module))?;
        Ok(Instance { store, instance, module: module.clone(), interrupt, time: limits.time })
    }

    /// Calls `_start` and gives the guest's exit code: what it passed to `proc_exit`, else 0.
    ///
    /// # Errors
    /// [`Error::NoStart`] if there is no such export, else those of [`Instance::call`] but [`Error::Exit`].
    pub fn start(&mut self) -> Result<i32> {
        let start = self.instance.get_typed_func::<(), ()>(&mut self.store, "_start");
        let start = start.map_err(|_| Error::NoStart { functions: self.exported_functions() })?;
        self.interrupt.limit(self.time);
        let called = start.call(&mut self.store, ());
        match self.ended(called) {
            Ok(()) => Ok(0),
            Err(Error::Exit(code)) => Ok(code),
            Err(error) => Err(error),
        }
    }

    /// Calls `_initialize` if the guest exports it.
    ///
    /// # Errors
    /// Those of [`Instance::call`].
    pub fn initialize(&mut self) -> Result<()> {
        if self.instance.get_func(&mut self.store, "_initialize").is_some() {
            self.call("_initialize", &[])?;
        }
        Ok(())
    }

    /// Calls an exported function.
    ///
    /// # Errors
    /// [`Error::NoSuchFunction`] and [`Error::Arguments`] if it can't be called so; [`Error::Trap`] if the guest
    /// traps, [`Error::Kernel`] if a kernel does, [`Error::Host`] if the guest broke a rule of the ABI,
    /// [`Error::Mismatch`] if verification fails, [`Error::Exit`] if the guest calls `proc_exit`.
    pub fn call(&mut self, name: &str, arguments: &[Val]) -> Result<Vec<Val>> {
        let function = self.function(name)?;
        let ty = function.ty(&self.store);
        let fits = ty.params().len() == arguments.len()
            && ty.params().zip(arguments).all(|(param, value)| fits(&param, value));
        if !fits {
            let expected = ty.params().map(|p| p.to_string()).collect();
            return Err(Error::Arguments { function: name.to_string(), expected, given: arguments.len() });
        }
        let mut results = vec![Val::I32(0); ty.results().len()];
        self.interrupt.limit(self.time);
        let called = function.call(&mut self.store, arguments, &mut results);
        self.ended(called)?;
        Ok(results)
    }

    /// What a call ended with: had each launch been waited for, one that failed would have ended it before.
    fn ended(&mut self, called: wasmtime::Result<()>) -> Result<()> {
        let finished = self.store.data_mut().guest.finish();
        let ended = finished.and_then(|()| called.map_err(|error| Error::of_call(error, &self.module)));
        let ended = ended.map_err(|error| last_words(&mut self.store, self.instance, |state| &mut state.guest, error));
        self.interrupt.limit(None);
        ended
    }

    /// Stops this guest from any thread. [`Error::Interrupted`] is what its call ends with.
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }

    /// Calls an exported function with arguments as text, and gives its results as text. Integers may be signed or
    /// unsigned, decimal or hexadecimal (`0x…`).
    ///
    /// # Errors
    /// [`Error::Argument`] for text that is no number of the parameter's type, else those of [`Instance::call`].
    pub fn invoke(&mut self, name: &str, arguments: &[String]) -> Result<Vec<String>> {
        let ty = self.function(name)?.ty(&self.store);
        let params: Vec<ValType> = ty.params().collect();
        if params.len() != arguments.len() {
            let expected = params.iter().map(|p| p.to_string()).collect();
            return Err(Error::Arguments { function: name.to_string(), expected, given: arguments.len() });
        }
        let parsed = params.iter().zip(arguments).map(|(param, text)| {
            parse_value(param, text).ok_or_else(|| Error::Argument { text: text.clone(), ty: param.to_string() })
        });
        let arguments: Vec<Val> = parsed.collect::<Result<_>>()?;
        Ok(self.call(name, &arguments)?.iter().map(value_text).collect())
    }

    /// What ran where, why, and how long.
    pub fn report(&self) -> &Report {
        self.store.data().guest.report()
    }

    fn function(&mut self, name: &str) -> Result<wasmtime::Func> {
        self.instance
            .get_func(&mut self.store, name)
            .ok_or_else(|| Error::NoSuchFunction { name: name.to_string(), functions: self.exported_functions() })
    }

    /// The guest's own exported functions.
    fn exported_functions(&self) -> Vec<String> {
        let exports = self.module.wasm().exports().iter();
        exports.filter(|e| e.kind == wasmparser::ExternalKind::Func).map(|e| e.name.clone()).collect()
    }
}

fn fits(param: &ValType, value: &Val) -> bool {
    matches!(
        (param, value),
        (ValType::I32, Val::I32(_))
            | (ValType::I64, Val::I64(_))
            | (ValType::F32, Val::F32(_))
            | (ValType::F64, Val::F64(_))
            | (ValType::V128, Val::V128(_))
    )
}

fn parse_value(ty: &ValType, text: &str) -> Option<Val> {
    Some(match ty {
        ValType::I32 => {
            let value = parse_integer(text)?;
            Val::I32(i32::try_from(value).ok().or_else(|| u32::try_from(value).ok().map(|v| v as i32))?)
        }
        ValType::I64 => {
            let value = parse_integer(text)?;
            Val::I64(i64::try_from(value).ok().or_else(|| u64::try_from(value).ok().map(|v| v as i64))?)
        }
        ValType::F32 => Val::F32(text.parse::<f32>().ok()?.to_bits()),
        ValType::F64 => Val::F64(text.parse::<f64>().ok()?.to_bits()),
        _ => return None,
    })
}

fn parse_integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok()?,
        None => digits.parse::<u64>().ok()?,
    };
    Some(if negative { -i128::from(value) } else { i128::from(value) })
}

fn value_text(value: &Val) -> String {
    match value {
        Val::I32(v) => v.to_string(),
        Val::I64(v) => v.to_string(),
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        Val::V128(v) => format!("{:#034x}", v.as_u128()),
        Val::FuncRef(None) | Val::ExternRef(None) => "null".to_string(),
        _ => "a reference".to_string(),
    }
}
