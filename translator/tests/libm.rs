//! Recognition of C's mathematical library in the committed guests, and what becomes of its calls.

use std::fs;
use std::path::{Path, PathBuf};

use wasmparser::{BinaryReader, Operator, Parser, Payload};
use wavelift_translator::{FloatMode, How, Libm, Module, Options, Shape, emit_ir, translate};

fn guests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests")
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The module without its custom sections.
fn stripped(bytes: &[u8]) -> Vec<u8> {
    let mut kept = bytes[..8].to_vec();
    let mut reader = BinaryReader::new(&bytes[8..], 8);
    while !reader.eof() {
        let start = reader.original_position();
        let id = reader.read_u8().expect("a section has a number");
        let size = reader.read_var_u32().expect("a section has a size");
        reader.read_bytes(size as usize).expect("a section has its bytes");
        if id != 0 {
            kept.extend(&bytes[start..reader.original_position()]);
        }
    }
    kept
}

fn parse(bytes: Vec<u8>) -> Module {
    Module::parse(bytes).expect("the module is valid")
}

fn mathlib(level: &str) -> Vec<u8> {
    read(&guests().join(format!("c/mathlib.{level}.wasm")))
}

#[test]
fn functions_of_the_committed_guests_are_recognised_without_their_names() {
    let mut found = 0;
    for language in ["c", "cpp", "zig", "rust", "assemblyscript"] {
        let mut files: Vec<PathBuf> = fs::read_dir(guests().join(language))
            .expect("the folder is there")
            .flatten()
            .map(|file| file.path())
            .collect();
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "wasm")) {
            // What wasm-opt makes of a library depends on what else is linked: a part of it is in the list.
            if file.to_string_lossy().contains("-opt") {
                continue;
            }
            let bytes = read(file);
            let (named, nameless) = (parse(bytes.clone()), parse(stripped(&bytes)));
            for function in 0..named.function_count() {
                let Some(by_name) = named.recognise(function).filter(|r| r.how == How::Name) else { continue };
                let by_body = nameless.recognise(function);
                let by_body = by_body.unwrap_or_else(|| panic!("{}: {}", file.display(), by_name.name));
                assert_eq!((by_body.op, by_body.how), (by_name.op, How::Body), "{}", file.display());
                found += 1;
            }
            assert_eq!(nameless.given_name(0), None);
        }
    }
    assert!(found > 30, "{found} functions were recognised");
}

#[test]
fn nothing_else_in_the_guests_is_recognised() {
    for level in ["O0", "O1", "O2", "O3", "Os"] {
        let module = parse(mathlib(level));
        for function in 0..module.function_count() {
            let name = module.function_name(function);
            let is_library = ["expf", "logf", "powf", "sinf", "fmaxf", "fabsf", "sqrtf"].contains(&&*name);
            assert_eq!(module.recognise(function).is_some(), is_library, "{level} {name}");
        }
    }
}

/// Byte ranges of the constants in a function's body, without the opcodes; floats' only, or `i32` ones of one byte.
fn constants(module: &Module, bytes: &[u8], function: u32) -> Vec<usize> {
    let reader = module.body(function).expect("it has a body").get_operators_reader().expect("it is valid");
    let places = reader.into_iter_with_offsets().flatten().filter_map(|(op, offset)| match op {
        Operator::F32Const { .. } | Operator::F64Const { .. } => Some(offset + 1),
        // A constant of one byte below 64: its lowest bit can be changed.
        Operator::I32Const { value: 0..64 } if bytes[offset + 2] & 0x80 == 0 && bytes[offset + 1] < 64 => {
            Some(offset + 1)
        }
        _ => None,
    });
    places.collect()
}

#[test]
fn a_body_with_another_constant_is_not_recognised() {
    let bytes = stripped(&mathlib("O2"));
    let module = parse(bytes.clone());
    let library: Vec<u32> = (0..module.function_count()).filter(|f| module.recognise(*f).is_some()).collect();
    let mut changed = 0;
    for function in library {
        for place in constants(&module, &bytes, function) {
            let mut other = bytes.clone();
            other[place] ^= 1;
            let Ok(other) = Module::parse(other) else { continue };
            assert_eq!(other.recognise(function), None, "function {function}, byte {place:#x}");
            changed += 1;
        }
    }
    assert!(changed > 40, "{changed} constants were changed");
}

fn module_calling(name: &str, ty: &str, call: &str) -> Module {
    let text = format!(
        "(module (memory 1) (func ${name} {ty} unreachable)
         (func (export \"kernel\") (param $i i32) (param i32 i32) (param $p i32) (param i32) {call}))"
    );
    parse(wat::parse_str(text).expect("the text is valid"))
}

#[test]
fn a_name_counts_with_the_type_only() {
    let same = module_calling("expf", "(param f32) (result f32)", "");
    assert_eq!(same.recognise(0).map(|r| (r.name, r.how)), Some(("expf", How::Name)));
    for (name, ty) in [
        ("expf", "(param f32 f32) (result f32)"),
        ("expf", "(param f64) (result f64)"),
        ("expf", "(param f32)"),
        ("powf", "(param f32) (result f32)"),
        ("exp", "(param f32) (result f32)"),
        ("my_expf", "(param f32) (result f32)"),
        ("game::expf", "(param f32) (result f32)"),
        ("~lib/math/NativeMathf.round", "(param f32) (result f32)"),
    ] {
        assert_eq!(module_calling(name, ty, "").recognise(0), None, "{name} {ty}");
    }
    for (name, c) in [
        ("libm::math::sinf::sinf", "sinf"),
        ("_ZN4libm4math4sinf4sinf17h0123456789abcdefE", "sinf"),
        ("~lib/math/NativeMathf.sin", "sinf"),
        ("~lib/util/math/expf_lut", "expf"),
        ("compiler_rt.sin.sinf", "sinf"),
        ("math.expm1.expm1__func_10", "expm1f"),
    ] {
        let found = module_calling(name, "(param f32) (result f32)", "").recognise(0);
        assert_eq!(found.map(|r| r.name), Some(c), "{name}");
    }
}

fn options(float: FloatMode, libm: Option<Libm>) -> Options {
    Options { float, libm, ..Options::default() }
}

#[test]
fn only_fast_floats_take_the_devices_functions_unless_told_otherwise() {
    for bytes in [mathlib("O2"), stripped(&mathlib("O2"))] {
        let named = parse(mathlib("O2"));
        let kernel = named.find_function("black_scholes").expect("it is there");
        let module = parse(bytes);
        let shape = Shape::initial(&module, kernel);
        let ir = |float, libm| emit_ir(&module, kernel, &shape, &options(float, libm)).expect("it is lifted");
        let words =
            |float, libm| translate(&module, kernel, &shape, &options(float, libm)).expect("it is lifted").words;
        let device = ir(FloatMode::Fast, None);
        assert!(device.contains("low.expf") && device.contains("low.logf"), "{device}");
        assert!(!device.contains("f64"), "musl's code is still there:\n{device}");
        assert!(!ir(FloatMode::Fast, Some(Libm::Guest)).contains("low.expf"));
        assert!(ir(FloatMode::Relaxed, Some(Libm::Device)).contains("low.expf"));
        assert!(!ir(FloatMode::Relaxed, None).contains("low.expf"));
        let strict = words(FloatMode::Strict, None);
        for libm in [Libm::Guest, Libm::Device] {
            assert_eq!(words(FloatMode::Strict, Some(libm)), strict);
        }
        assert!(words(FloatMode::Fast, None).len() * 2 < words(FloatMode::Fast, Some(Libm::Guest)).len());
    }
}

#[test]
fn inspection_lists_calls_and_how_they_were_recognised() {
    let bytes = mathlib("O2");
    let (module, nameless) = (parse(bytes.clone()), parse(stripped(&bytes)));
    let kernel = |name| module.find_function(name).expect("it is there");
    let calls = |module: &Module, kernel| -> Vec<(&str, Option<How>)> {
        module.library_calls(kernel).iter().map(|call| (call.name, call.how)).collect()
    };
    let black_scholes = kernel("black_scholes");
    assert_eq!(calls(&module, black_scholes), [("expf", Some(How::Name)), ("logf", Some(How::Name))]);
    assert_eq!(calls(&nameless, black_scholes), [("expf", Some(How::Body)), ("logf", Some(How::Body))]);
    assert_eq!(calls(&module, kernel("curves_tanh")), [("expm1", None), ("tanh", None)]);
}

#[test]
fn sections_that_are_stripped_are_custom_ones() {
    let bytes = stripped(&mathlib("O2"));
    let custom = |payload: &Payload<'_>| matches!(payload, Payload::CustomSection(_));
    assert!(!Parser::new(0).parse_all(&bytes).flatten().any(|payload| custom(&payload)));
}

#[test]
fn musls_functions_are_known_bit_for_bit_whoever_compiled_them() {
    let known = |file: &str| -> Vec<&str> {
        let module = parse(read(&guests().join(file)));
        let functions = 0..module.function_count();
        functions.filter_map(|function| module.exact(function)).map(|exact| exact.name).collect()
    };
    for level in ["O0", "O1", "O2", "O3", "Os"] {
        assert_eq!(known(&format!("c/mathlib.{level}.wasm")), ["expf", "logf", "powf"], "{level}");
    }
    // It inlines `logf`, which has one caller there, and leaves a `powf` that is not in the list.
    assert_eq!(known("c/mathlib.O3-opt.wasm"), ["expf"]);
    // Rust and Zig have others of these names.
    for file in ["rust/kernels.release.wasm", "zig/kernels.ReleaseFast.wasm"] {
        let module = parse(read(&guests().join(file)));
        let has =
            |name: &str| (0..module.function_count()).any(|f| module.recognise(f).is_some_and(|r| r.name == name));
        println!("{file}: expf {}", has("expf"));
        assert_eq!(known(file), [""; 0], "{file}");
    }
    for level in ["debug", "release"] {
        println!("AssemblyScript {level}: {:?}", known(&format!("assemblyscript/kernels.{level}.wasm")));
    }
}
