//! The example guests' kernels, as compilers made them: lifted whole in every profile and float mode, valid, the same
//! each time, and as the committed snapshots have them.

mod common;

use wavelift_translator::{FloatMode, Module, Options, Profile, Shape, emit_ir, translate};

const GUESTS: &[&str] = &["hello_parallel", "mandelbrot", "nbody", "nstream", "nstream_block", "sgemm", "stencil"];

fn guest(name: &str) -> Module {
    let path = format!("{}/../examples/guests/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    Module::parse(bytes).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn each_kernel(mut check: impl FnMut(&str, &Module, u32, Shape)) {
    for name in GUESTS {
        let module = guest(name);
        let kernels = module.kernels();
        assert!(!kernels.is_empty(), "{name} has no kernel");
        for kernel in kernels {
            let shape = Shape::distinct(module.kernel_buffers(kernel).expect("a kernel has buffers"));
            let name = format!("{name}__{}", module.function_name(kernel));
            check(&name, &module, kernel, shape);
        }
    }
}

#[test]
fn every_kernel_is_lifted_valid_and_the_same_each_time() {
    each_kernel(|name, module, kernel, shape| {
        for profile in [Profile::Vulkan, Profile::Portable] {
            for float in [FloatMode::Strict, FloatMode::Relaxed] {
                let options = Options { profile, float, ..Options::default() };
                let lift = || translate(module, kernel, &shape, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
                let shader = lift();
                assert_eq!(shader.words, lift().words, "{name}: the same input gives the same words");
                match profile {
                    Profile::Vulkan => common::assert_valid(&shader.words),
                    Profile::Portable => common::assert_portable(&shader.words),
                }
            }
        }
    });
}

#[test]
fn snapshots_of_ir_and_spirv() {
    each_kernel(|name, module, kernel, shape| {
        let options = Options::default();
        let ir = emit_ir(module, kernel, &shape, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        insta::assert_snapshot!(format!("{name}.ir"), ir);
        let shader = translate(module, kernel, &shape, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        insta::assert_snapshot!(format!("{name}.spvasm"), common::disassemble(&shader.words));
    });
}
