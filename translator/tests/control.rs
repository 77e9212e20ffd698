//! Control flow means the same after each pass: random kernels run in the interpreter as lifted, inlined, simplified and
//! in strict form.

mod common;
mod random_control;

use std::collections::HashMap;

use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift_translator::ir::verify::{Stage, verify};
use wavelift_translator::ir::{Const, Function};
use wavelift_translator::{Access, Module, Options, Profile, Shape, testing, translate};

const INVOCATIONS: u32 = 4;
const ADDRESS: u32 = 0x8000_0000;

type Outcome = (Vec<u8>, Vec<Result<(), Stop>>);

fn run(function: &Function, others: &HashMap<u32, Function>, by_slot: bool) -> Outcome {
    let bytes = vec![0; (INVOCATIONS * random_control::BYTES) as usize];
    let length = bytes.len() as u32;
    let mut space = Space { linear: Vec::new(), buffers: vec![Buffer::new(ADDRESS, Access::ReadWrite, &bytes)] };
    let mut ends = Vec::new();
    for iteration in 0..INVOCATIONS {
        let args: Vec<Const> = [iteration, INVOCATIONS, 7, ADDRESS, length].map(Const::I32).into();
        let immediates = [0, INVOCATIONS, 0, INVOCATIONS, 7, 0, ADDRESS, length];
        let invocation = Invocation { iteration, immediates: &immediates, ..Invocation::default() };
        let args = if by_slot { &[][..] } else { &args[..] };
        let end = interpret::run(function, args, &invocation, &mut space, &|callee| others.get(&callee));
        ends.push(end.map(|_| ()));
    }
    (space.buffers[0].bytes().to_vec(), ends)
}

fn check(text: &str) {
    let bytes = wat::parse_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let module = Module::parse(bytes).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let kernel = module.find_function("kernel").expect("the kernel is exported");
    let stages = testing::stages(&module, kernel).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let none = HashMap::new();
    let expected = run(&stages.lifted[&kernel], &stages.lifted, false);
    for (name, function, stage) in [
        ("inlined", &stages.inlined, Stage::Inlined),
        ("simplified", &stages.simplified, Stage::Inlined),
        ("lowered", &stages.lowered, Stage::Lowered),
        ("strict", &stages.strict, Stage::Strict),
    ] {
        verify(function, stage).unwrap_or_else(|e| panic!("{name}: {e}\n{text}\n{function}"));
        let lowered = matches!(stage, Stage::Lowered | Stage::Strict);
        let got = run(function, &none, lowered);
        assert_eq!(expected, got, "{name}\n{text}\n{}\n{function}", stages.simplified);
    }
    let limited = Options { fuel: Some(1 << 30), ..Options::default() };
    let strict =
        testing::strict(&module, kernel, &Shape::distinct(1), &limited).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(expected, run(&strict, &none, true), "with a limit\n{text}\n{strict}");
    for profile in [Profile::Vulkan, Profile::Portable] {
        let options = Options { profile, ..limited };
        let shader = translate(&module, kernel, &Shape::distinct(1), &options);
        let words = shader.unwrap_or_else(|e| panic!("{e}\n{text}")).words;
        match profile {
            Profile::Vulkan => common::assert_valid(&words),
            // Here the time goes to new kernels: `scripts/test` has spirv-val look at what is kept.
            Profile::Portable => {
                common::keep::keep(&words, profile);
                common::naga_module(&words).unwrap_or_else(|e| panic!("{e}\n{text}"));
            }
        }
    }
}

#[test]
fn random_control_flow_keeps_its_meaning() {
    arbtest::arbtest(|u| {
        check(&random_control::module(u)?);
        Ok(())
    })
    .budget_ms(8_000)
    .size_max(16_384);
}
