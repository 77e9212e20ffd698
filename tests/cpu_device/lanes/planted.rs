//! A bug that is planted in the form for groups is seen: the comparison would find one.

use wasm_encoder::{
    CodeSection, ConstExpr, EntityType, ExportKind, ExportSection, FunctionSection, GlobalSection, GlobalType,
    ImportSection, MemoryType, Module, TypeSection, ValType,
};
use wasmtime::{Engine, Instance, Store, Val};
use wavelift_translator::Environment;
use wavelift_translator::lanes::{self, Host};

/// Stores the product of the id and 3.5, as a float.
const KERNEL: &str = r#"(module (memory 1) (func (export "kernel") (param i32 i32 i32 i32 i32)
    (f32.store (i32.add (local.get 3) (i32.shl (local.get 0) (i32.const 2)))
      (f32.mul (f32.convert_i32_u (local.get 0)) (f32.const 3.5)))))"#;

/// The function for groups of four, in a module with what it needs.
fn grouped() -> Vec<u8> {
    let module = wavelift_translator::Module::parse(wat::parse_str(KERNEL).unwrap()).unwrap();
    let host = Host { one_by_one: 0, iteration: 0, pages: 1, own_tallies: 2, global: &|_| None, fuel: None };
    let lanes = lanes::lanes(&module, 0, &Environment::default(), &host, Some(4)).lanes.unwrap();
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 6], []);
    let mut imports = ImportSection::new();
    imports.import("host", "one_by_one", EntityType::Function(0));
    let memory = MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None };
    imports.import("host", "memory", EntityType::Memory(memory));
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut globals = GlobalSection::new();
    let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
    globals.global(ty, &ConstExpr::i32_const(0)).global(ty, &ConstExpr::i32_const(1));
    let mut exports = ExportSection::new();
    exports.export("run", ExportKind::Func, 1);
    let mut code = CodeSection::new();
    code.function(&lanes.function);
    let mut output = Module::new();
    output.section(&types).section(&imports).section(&functions).section(&globals).section(&exports).section(&code);
    output.finish()
}

/// What it stores for 16 invocations.
fn stored(bytes: &[u8]) -> Vec<f32> {
    let engine = Engine::default();
    let module = wasmtime::Module::new(&engine, bytes).unwrap();
    let mut store = Store::new(&engine, ());
    let memory = wasmtime::Memory::new(&mut store, wasmtime::MemoryType::new(1, None)).unwrap();
    let one_by_one = wasmtime::Func::wrap(&mut store, |_: i32, _: i32, _: i32, _: i32, _: i32, _: i32| {});
    let instance = Instance::new(&mut store, &module, &[one_by_one.into(), memory.into()]).unwrap();
    let run = instance.get_func(&mut store, "run").unwrap();
    run.call(&mut store, &[0, 16, 16, 1, 0, 64].map(Val::I32), &mut []).unwrap();
    memory.data(&store)[..64].chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
}

#[test]
fn a_planted_bug_is_found() {
    let expected: Vec<f32> = (0..16).map(|id| id as f32 * 3.5).collect();
    let right = grouped();
    assert_eq!(stored(&right), expected);
    // `f32x4.mul`, and `f32x4.add`.
    let (multiplies, adds) = ([0xfd, 0xe6, 0x01], [0xfd, 0xe4, 0x01]);
    let at = right.windows(3).position(|window| window == multiplies).expect("it multiplies vectors");
    let mut wrong = right;
    wrong[at..at + 3].copy_from_slice(&adds);
    assert_ne!(stored(&wrong), expected);
}
