//! Hosts with an engine, a store and a linker of their own.

use wavelift::wasmtime::{self, Engine, Linker, Store};
use wavelift::{Config, DeviceChoice, Error, GuestState, Module, Runtime, add_to_linker};

use super::modules::{Form, driver};
use super::{DRIVER, filled, table};

struct Data {
    guest: GuestState,
    calls: u32,
}

fn host(engine: &Engine) -> (Store<Data>, wasmtime::Instance, Module) {
    let runtime = Runtime::new(Config { device: DeviceChoice::Cpu, ..Config::default() }).unwrap();
    let module = Module::with_engine(engine, DRIVER).unwrap();
    let mut linker: Linker<Data> = Linker::new(engine);
    add_to_linker(&mut linker, |data: &mut Data| &mut data.guest).unwrap();
    let yields = |mut caller: wasmtime::Caller<'_, Data>| {
        caller.data_mut().calls += 1;
        0i32
    };
    linker.func_wrap("wasi_snapshot_preview1", "sched_yield", yields).unwrap();
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", |_: i32| {}).unwrap();
    let mut store = Store::new(engine, Data { guest: GuestState::new(&runtime, &module).unwrap(), calls: 0 });
    let instance = linker.instantiate(&mut store, module.compiled()).unwrap();
    (store, instance, module)
}

fn call<P: wasmtime::WasmParams>(store: &mut Store<Data>, instance: &wasmtime::Instance, name: &str, p: P) -> i32 {
    let function = instance.get_typed_func::<P, i32>(&mut *store, name).unwrap();
    function.call(store, p).unwrap()
}

/// Makes a buffer and leaves its handle at 256.
fn buffer(store: &mut Store<Data>, instance: &wasmtime::Instance) -> i32 {
    assert_eq!(call(store, instance, "get_device", (0, 0)), 0);
    let device = call(store, instance, "load", 0);
    assert_eq!(call(store, instance, "create_buffer", (device, 40, 2, 256)), 0);
    call(store, instance, "load", 256)
}

#[test]
fn an_engine_with_memory_of_its_own() {
    let (mut store, instance, _) = host(&Engine::default());
    let handle = buffer(&mut store, &instance);
    assert_eq!(call(&mut store, &instance, "parallel_for", (table::FILL, 10, 1, 0, 0, 256, 1)), 0);
    assert_eq!(call(&mut store, &instance, "read_buffer", (handle, 1024, 40)), 0);
    let words: Vec<i32> = (0..10).map(|i| call(&mut store, &instance, "load", 1024 + 4 * i)).collect();
    assert_eq!(words, filled(10));
    // Linear memory is copied to the device and back.
    assert_eq!(call(&mut store, &instance, "parallel_for", (table::MEMORY, 9, 1, 0, 0, 0, 0)), 0);
    assert_eq!(call(&mut store, &instance, "load", 4096 + 32), 9);
    // Such a memory can't show buffers to a kernel that must run in it.
    assert_eq!(call(&mut store, &instance, "parallel_for", (table::CALLS_HOST, 9, 1, 0, 0, 256, 1)), 6);
    assert_eq!(store.data().calls, 0);
    assert_eq!(store.data().guest.report().launches().len(), 3);
}

#[test]
fn an_engine_with_our_memory() {
    let mut config = wasmtime::Config::new();
    wavelift::memory::configure(&mut config);
    let (mut store, instance, _) = host(&Engine::new(&config).unwrap());
    buffer(&mut store, &instance);
    assert_eq!(call(&mut store, &instance, "parallel_for", (table::CALLS_HOST, 9, 1, 0, 0, 256, 1)), 0);
    assert_eq!(store.data().calls, 9);
}

#[test]
fn errors_become_sentences() {
    let (mut store, instance, module) = host(&Engine::default());
    buffer(&mut store, &instance);
    let launch =
        instance.get_typed_func::<(i32, i32, i32, i32, i32, i32, i32), i32>(&mut store, "parallel_for").unwrap();
    let error = launch.call(&mut store, (table::TRAPS, 9, 1, 0, 0, 256, 1)).unwrap_err();
    assert_eq!(error.downcast_ref::<wavelift::KernelFault>().unwrap().iteration, 5);
    let error = Error::of_call(error, &module);
    assert!(matches!(error, Error::Kernel(_)), "{error}");
}

#[test]
fn a_state_of_another_module_is_refused() {
    let engine = Engine::default();
    let runtime = Runtime::new(Config::default()).unwrap();
    let module = Module::with_engine(&engine, DRIVER).unwrap();
    let guest = GuestState::new(&runtime, &module).unwrap();
    let mut linker: Linker<Data> = Linker::new(&engine);
    add_to_linker(&mut linker, |data: &mut Data| &mut data.guest).unwrap();
    let text = r#"(module
        (import "wasi_ephemeral_parallel" "get_device" (func $get_device (param i32 i32) (result i32)))
        (memory 1)
        (func (export "f") (result i32) (call $get_device (i32.const 0) (i32.const 0))))"#;
    let other = wasmtime::Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
    let mut store = Store::new(&engine, Data { guest, calls: 0 });
    let instance = linker.instantiate(&mut store, &other).unwrap();
    let call = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
    let error = call.call(&mut store, ()).unwrap_err();
    assert!(error.downcast_ref::<wavelift::HostFault>().unwrap().to_string().contains("another module"));
}

#[test]
fn one_linker_serves_every_form() {
    let engine = Engine::default();
    let runtime = Runtime::new(Config { device: DeviceChoice::Cpu, ..Config::default() }).unwrap();
    let mut linker: Linker<Data> = Linker::new(&engine);
    add_to_linker(&mut linker, |data: &mut Data| &mut data.guest).unwrap();
    linker.func_wrap("wasi_snapshot_preview1", "sched_yield", || 0i32).unwrap();
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", |_: i32| {}).unwrap();
    let texts = [DRIVER.to_string(), driver(Form::For), driver(Form::Exec)];
    for (text, first) in texts.iter().zip([None, Some(Form::For), Some(Form::Exec)]) {
        let module = Module::with_engine(&engine, text).unwrap();
        let mut store = Store::new(&engine, Data { guest: GuestState::new(&runtime, &module).unwrap(), calls: 0 });
        let instance = linker.instantiate(&mut store, module.compiled()).unwrap();
        buffer(&mut store, &instance);
        // No kernel is there, and so each form answers.
        let code = match first {
            None => call(&mut store, &instance, "parallel_for", (table::NULL, 1, 1, 0, 0, 256, 1)),
            Some(_) => {
                let device = call(&mut store, &instance, "load", 0);
                call(&mut store, &instance, "launch", (device, 1024, 16, 1, 1, 0, 0, 256, 1))
            }
        };
        assert_eq!(code, 5);
    }
}

#[test]
fn a_kernel_module_in_an_engine_with_memory_of_its_own() {
    let engine = Engine::default();
    let runtime = Runtime::new(Config { device: DeviceChoice::Cpu, ..Config::default() }).unwrap();
    let mut linker: Linker<Data> = Linker::new(&engine);
    add_to_linker(&mut linker, |data: &mut Data| &mut data.guest).unwrap();
    let module = Module::with_engine(&engine, driver(Form::For)).unwrap();
    let mut store = Store::new(&engine, Data { guest: GuestState::new(&runtime, &module).unwrap(), calls: 0 });
    let instance = linker.instantiate(&mut store, module.compiled()).unwrap();
    let store_word = instance.get_typed_func::<(i32, i32), ()>(&mut store, "store").unwrap();
    let imported = r#"(import "env" "memory" (memory 1))"#;
    let own = r#"(memory 1) (data (i32.const 4096) "\2a")"#;
    for (memory, first) in [(imported, 1), (own, 42)] {
        let kernel = format!(
            r#"(module {memory} (func (export "kernel") (param $i i32) (param i32 i32)
                 (if (i32.ne (i32.load (i32.const 4096)) (i32.const {first})) (then unreachable))
                 (i32.store offset=4100 (i32.shl (local.get $i) (i32.const 2)) (i32.const 7))))"#
        );
        let bytes = wat::parse_str(kernel).unwrap();
        for (i, word) in bytes.chunks(4).enumerate() {
            let word = [word, &[0; 3]].concat();
            let word = i32::from_le_bytes(word[..4].try_into().unwrap());
            store_word.call(&mut store, (8192 + 4 * i as i32, word)).unwrap();
        }
        for (address, value) in [(4096, 1), (4100, 0), (4104, 0)] {
            store_word.call(&mut store, (address, value)).unwrap();
        }
        assert_eq!(call(&mut store, &instance, "launch", (0, 8192, bytes.len() as i32, 2, 1, 0, 0, 0, 0)), 0);
        let left = if memory == imported { 7 } else { 0 };
        assert_eq!(call(&mut store, &instance, "load", 4104), left);
    }
}
