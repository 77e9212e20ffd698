//! Which modules are refused, and in which words.

use wavelift::{Config, Instance, Module, Runtime, WasiCtxBuilder};

fn refusal(text: &str) -> String {
    let runtime = Runtime::new(Config::default()).unwrap();
    let loaded = Module::new(&runtime, text)
        .and_then(|module| Instance::new(&runtime, &module, WasiCtxBuilder::new().build_p1()).map(|_| ()));
    loaded.expect_err("the module is refused").to_string()
}

fn importing(name: &str, ty: &str) -> String {
    refusal(&format!(r#"(module (import "wasi_ephemeral_parallel" "{name}" {ty}))"#))
}

#[test]
fn every_form_by_name_and_type() {
    let seven = "(func (param i32 i32 i32 i32 i32 i32 i32) (result i32))";
    let eight = "(func (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32))";
    let nine = "(func (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32))";
    for (name, ty) in [
        ("parallel_for", nine),
        ("parallel_for", "(func (param i32) (result i32))"),
        ("parallel_for", "(func (param i32 i32 i32 i32 i32 i32 i32))"),
        ("parallel_for", "(func (param i32 i32 i32 i32 i32 i32 i64) (result i32))"),
        ("parallel_exec", seven),
        ("parallel_exec", eight),
    ] {
        let message = importing(name, ty);
        assert!(message.contains("none of its forms"), "{message}");
        assert!(message.contains("with 7") && message.contains("with 8") && message.contains("with 9"), "{message}");
    }
}

#[test]
fn a_module_can_import_every_form_at_once() {
    let import = |name: &str, count: usize| {
        let params = "i32 ".repeat(count);
        format!(r#"(import "wasi_ephemeral_parallel" "{name}" (func (param {params}) (result i32)))"#)
    };
    let forms =
        [("parallel_for", 8), ("parallel_exec", 9), ("parallel_for", 7)].map(|(name, count)| import(name, count));
    let runtime = Runtime::new(Config::default()).unwrap();
    let module = Module::new(&runtime, format!("(module {})", forms.concat())).unwrap();
    Instance::new(&runtime, &module, WasiCtxBuilder::new().build_p1()).unwrap();
}

#[test]
fn a_form_that_nobody_provides_has_the_name_that_the_guest_knows() {
    let runtime = Runtime::new(Config::default()).unwrap();
    let module = Module::new(&runtime, super::modules::driver(super::modules::Form::For)).unwrap();
    let mut store = wavelift::wasmtime::Store::new(runtime.engine(), ());
    let mut linker = wavelift::wasmtime::Linker::new(runtime.engine());
    for name in ["get_device", "create_buffer", "write_buffer", "read_buffer"] {
        let import = module.compiled().imports().find(|import| import.name() == name).unwrap();
        let ty = import.ty().unwrap_func().clone();
        linker.func_new("wasi_ephemeral_parallel", name, ty, |_, _, _| Ok(())).unwrap();
    }
    let error = linker.instantiate(&mut store, module.compiled()).map(|_| ()).unwrap_err();
    let message = wavelift::Error::of_instantiation(error, &module).to_string();
    assert!(message.contains("`wasi_ephemeral_parallel::parallel_for`"), "{message}");
}

#[test]
fn other_functions() {
    let message = importing("get_device", "(func (param i32) (result i32))");
    assert!(message.contains("takes 2 parameters"), "{message}");
    let message = importing("create_buffer", "(func (param i32 i32 i32 i32) (result i64))");
    assert!(message.contains("takes 4 parameters"), "{message}");
    let message = importing("make_coffee", "(func)");
    assert!(message.contains("no such function"), "{message}");
    let message = importing("parallel_for", "(memory 1)");
    assert!(message.contains("something other than a function"), "{message}");
    let message = refusal(r#"(module (import "env" "emscripten_thing" (func)))"#);
    assert!(message.contains("`env::emscripten_thing`, which this host does not provide"), "{message}");
    let message = refusal(r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func)))"#);
    assert!(message.contains("can't be linked") && message.contains("sched_yield"), "{message}");
}

#[test]
fn memories_that_kernels_can_not_use() {
    assert!(refusal("(module (memory i64 1))").contains("64-bit memory"));
    assert!(refusal("(module (memory 1 2 shared))").contains("shared memory"));
}

#[test]
fn what_is_no_module() {
    let runtime = Runtime::new(Config::default()).unwrap();
    let module = wat::parse_str(super::DRIVER).unwrap();
    for length in 0..module.len() {
        // Cut between sections, a shorter module can be whole; otherwise there is an error, and never a panic.
        if let Err(error) = Module::new(&runtime, &module[..length]) {
            assert!(error.to_string().ends_with('.'), "{error}");
        }
    }
    let mut state = 1u64;
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..300)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) as u8
            })
            .collect();
        assert!(Module::new(&runtime, &bytes).is_err());
        assert!(Module::new(&runtime, [b"\0asm\x01\0\0\0", &bytes[..]].concat()).is_err());
    }
    let error = Module::new(&runtime, "(module (func (i32.add)))").unwrap_err().to_string();
    assert!(error.contains("byte offset"), "{error}");
    let error = Module::new(&runtime, "(module\n  (fun))").unwrap_err().to_string();
    assert!(error.contains("line 2, column") && !error.contains('\n'), "{error}");
}
