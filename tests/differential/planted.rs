//! A bug planted in each engine is seen: the comparison would not pass by itself.

use std::collections::HashMap;

use libtest_mimic::{Completion, Failed, Trial};
use wavelift::device::gpu::GpuContext;
use wavelift::device::{BufferId, BufferSpec, Context, KernelTrap, LaunchError, Location, TrapKind};
use wavelift::memory::AddressSpace;
use wavelift::text::Language;
use wavelift_translator::ir::{Const, Op, StmtKind, WasmOp};
use wavelift_translator::{Options, Profile, Shader, testing};

use crate::case::{BufferShape, Case, End, LINEAR_MEMORY, Lanes, Program, compare};
use crate::engine::{self, Engine, Session};
use crate::interpreter::{Form, Interpreter};
use crate::on_devices::BLOCK_SIZE;
use crate::plain_wasmtime::PlainWasmtime;
use crate::{contention, cpp, operators, oracle, places, texts};

/// Instructions of SPIR-V.
const OP_BITWISE_OR: u32 = 197;
const OP_BITWISE_XOR: u32 = 198;

pub fn trials() -> Vec<Trial> {
    let on_gpu = |name: &str, test: fn() -> Result<(), Failed>| {
        Trial::ignorable_test(name, move || match Engine::Vulkan.missing() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => test().map(|()| Completion::Completed),
        })
    };
    let in_compiled = |name: &str, test: fn() -> Result<(), Failed>| {
        Trial::ignorable_test(name, move || match cpp::have_compiler() {
            false => Ok(Completion::ignored_with("this machine has no GNU `g++` to compile the text with")),
            true => test().map(|()| Completion::Completed),
        })
    };
    vec![
        Trial::test("planted::the_comparison_sees_each_difference", the_comparison_sees_each_difference),
        Trial::test("planted::a_wrong_operator_in_the_interpreter", in_the_interpreter),
        Trial::test("planted::a_flipped_rounding_of_an_emulated_float", in_rounding),
        Trial::test("planted::a_race_in_a_kernel", a_race_in_a_kernel),
        Trial::test("planted::a_wrong_operator_on_the_cpu", on_the_cpu),
        in_compiled("planted::a_wrong_operator_in_text", in_text),
        in_compiled("planted::a_dropped_step_in_text", in_steps_of_text),
        on_gpu("planted::a_wrong_word_of_spirv", in_spirv),
        on_gpu("planted::a_wrong_trap_site", in_trap_sites),
        on_gpu("planted::an_update_that_is_not_atomic", in_an_update),
        Trial::ignorable_test("planted::a_broken_module_for_spirv_val", || match engine::spirv_val_missing() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => for_spirv_val().map(|()| Completion::Completed),
        }),
    ]
}

fn check(right: bool, message: impl Into<String>) -> Result<(), Failed> {
    if right { Ok(()) } else { Err(message.into().into()) }
}

/// The right session passes, the wrong one fails with a message that holds `part`.
fn sees(case: &Case, right: &mut dyn Session, wrong: &mut dyn Session, part: &str) -> Result<(), Failed> {
    let first_failure = |session: &mut dyn Session| -> Result<(), String> {
        for run in &case.runs {
            let end = session.run(&run.contents, run.iterations)?;
            compare(&run.expected, &end, &case.program.buffers)?;
        }
        Ok(())
    };
    first_failure(right)?;
    match first_failure(wrong) {
        Ok(()) => Err("the planted bug was not seen".into()),
        Err(message) => check(message.contains(part), format!("`{message}` does not say `{part}`")),
    }
}

fn the_comparison_sees_each_difference() -> Result<(), Failed> {
    let shape = |lanes| [BufferShape { lanes, ..BufferShape::bits(16) }];
    let done = |words: [u32; 4]| End::Done(vec![words.iter().flat_map(|word| word.to_le_bytes()).collect()]);
    let equal = |a: [u32; 4], b, lanes| compare(&done(a), &done(b), &shape(lanes)).is_ok();
    let (quiet, payload, one) = (0x7fc0_0000, 0xff80_0001, 0x3f80_0000);
    let nan = [quiet, one, 0, 0];
    check(equal(nan, [payload, one, 0, 0], Lanes::F32), "two NaNs are equal")?;
    check(!equal(nan, [payload, one, 0, 0], Lanes::Bits), "as bits two NaNs differ")?;
    check(!equal(nan, [0x7f80_0000, one, 0, 0], Lanes::F32), "infinity is no NaN")?;
    check(!equal(nan, [quiet, one + 1, 0, 0], Lanes::F32), "one bit is a difference")?;
    check(!equal(nan, [quiet, one, 0, 0x8000_0000], Lanes::F32), "zeroes have signs")?;
    check(equal([1, 0x7ff8_0000, 0, 0], [0, 0xfff8_0000, 0, 0], Lanes::F64), "so are 64-bit ones")?;
    check(!equal([0, 0x7ff0_0000, 0, 0], [0, 0xfff8_0000, 0, 0], Lanes::F64), "infinity is no 64-bit NaN")?;
    let trap = KernelTrap { at: Location { function: 1, offset: 9 }, kind: TrapKind::DivideByZero, iteration: 3 };
    let others = [
        End::Trapped(KernelTrap { iteration: 2, ..trap }),
        End::Trapped(KernelTrap { kind: TrapKind::IntegerOverflow, ..trap }),
        End::Trapped(KernelTrap { at: Location { function: 1, offset: 10 }, ..trap }),
        done([0; 4]),
        End::Refused("no".into()),
    ];
    for other in others {
        check(compare(&End::Trapped(trap), &other, &[]).is_err(), format!("{other:?} is not {trap:?}"))?;
    }
    check(compare(&End::Trapped(trap), &End::Trapped(trap), &[]).is_ok(), "equal traps are equal")
}

/// Each invocation adds its neighbour's word to its own: the reference has nothing to compare with.
fn a_race_in_a_kernel() -> Result<(), Failed> {
    let text = |offset: u32| {
        format!(
            "(module (memory (export \"memory\") 1)
               (func $kernel (export \"kernel\") (param $id i32) (param i32 i32) (param $to i32) (param i32)
                 local.get $id i32.const 2 i32.shl local.get $to i32.add local.tee $to
                 local.get $to i32.load offset={offset} i32.const 1 i32.add i32.store)
               (table 1 funcref) (elem (i32.const 0) $kernel))"
        )
    };
    let run = |offset| {
        let program = Program::new(text(offset), vec![BufferShape::bits(20)]);
        PlainWasmtime::new(&program)?.run(&[vec![1; 20]], 4)
    };
    run(0)?;
    check(run(4).is_err_and(|error| error.contains("order")), "the race was not seen")
}

fn in_the_interpreter() -> Result<(), Failed> {
    let case = operators::one(WasmOp::I32Xor);
    let program = &case.program;
    let mut function = testing::lifted(&program.module.wasm, program.kernel, &program.shape())?
        .remove(&program.kernel)
        .ok_or("the kernel was not lifted")?;
    let mut right = Interpreter::of(program, Form::Lifted, function.clone(), HashMap::new());
    let stmts = function.regions.iter_mut().flat_map(|region| &mut region.stmts);
    for stmt in stmts {
        if let StmtKind::Op { op, .. } = &mut stmt.kind
            && *op == Op::Wasm(WasmOp::I32Xor)
        {
            *op = Op::Wasm(WasmOp::I32Or);
        }
    }
    let mut wrong = Interpreter::of(program, Form::Lifted, function, HashMap::new());
    sees(&case, &mut right, &mut wrong, "buffer 2")
}

/// Emulated sums, products and quotients whose ties go away from even.
fn in_rounding() -> Result<(), Failed> {
    for op in [WasmOp::F64Add, WasmOp::F64Mul, WasmOp::F64ConvertI64U] {
        let case = operators::one(op);
        let program = &case.program;
        let options = Options { emulate: engine::BOTH, ..Options::default() };
        let mut function = testing::strict(&program.module.wasm, program.kernel, &program.shape(), &options)?;
        let mut right = Interpreter::of(program, Form::Strict, function.clone(), HashMap::new());
        let constants =
            function.regions.iter_mut().flat_map(|region| &mut region.stmts).filter_map(|stmt| match &mut stmt.kind {
                StmtKind::Op { op: Op::Const(Const::I32(bits)), .. } => Some(bits),
                _ => None,
            });
        // What is left of the lowest place, with the place itself: more than half of it rounds up.
        constants.filter(|bits| **bits == 0x400).for_each(|bits| *bits = 0x3ff);
        let mut wrong = Interpreter::of(program, Form::Strict, function, HashMap::new());
        sees(&case, &mut right, &mut wrong, &format!("buffer {}", op.params().len()))?;
    }
    Ok(())
}

fn on_the_cpu() -> Result<(), Failed> {
    let case = operators::one(WasmOp::I32Xor);
    let text = case.program.text.replace("i32.xor", "i32.or");
    let wrong = Program::new(text, case.program.buffers.clone());
    for engine in [Engine::Sequential, Engine::Cpu] {
        sees(&case, &mut *engine.open(&case.program)?, &mut *engine.open(&wrong)?, "buffer 2")?;
    }
    Ok(())
}

fn in_text() -> Result<(), Failed> {
    let case = [operators::one(WasmOp::I32Xor)];
    for language in [Language::Msl, Language::Hlsl] {
        texts::check(&case, language)?;
        let wrong = texts::check_changed(&case, language, &|text| *text = text.replace(" ^ ", " | "));
        let Err(said) = wrong else { return Err("the planted bug was not seen".into()) };
        let said = said.message().unwrap_or_default();
        check(said.contains("1 launches differ") && said.contains("buffer 2"), said)?;
    }
    Ok(())
}

/// A part of a word is stored in two atomic steps; without either, wrong bytes are left.
fn in_steps_of_text() -> Result<(), Failed> {
    let case = [places::narrow_stores()];
    let steps = [
        (Language::Msl, ["metal::atomic_fetch_and_explicit(", "metal::atomic_fetch_or_explicit("]),
        (Language::Hlsl, [".InterlockedAnd(", ".InterlockedOr("]),
    ];
    for (language, steps) in steps {
        for step in steps {
            // The first is of the buffer, the last of linear memory.
            for (is_first, place) in [(true, "buffer 1"), (false, "buffer 2")] {
                let drop = |text: &mut String| *text = without_line(text, step, is_first);
                let Err(said) = texts::check_changed(&case, language, &drop) else {
                    return Err(format!("a dropped `{step}` for {place} was not seen").into());
                };
                let said = said.message().unwrap_or_default();
                check(said.contains("1 launches differ") && said.contains(place), said)?;
            }
        }
    }
    Ok(())
}

/// A text without its first or its last line that has a part.
fn without_line(text: &str, part: &str, is_first: bool) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let has = |line: &&str| line.contains(part);
    let at = if is_first { lines.iter().position(has) } else { lines.iter().rposition(has) };
    lines.remove(at.unwrap_or_else(|| panic!("no line has `{part}`:\n{text}")));
    lines.join("\n")
}

fn in_spirv() -> Result<(), Failed> {
    for profile in [Profile::Vulkan, Profile::Portable] {
        let case = operators::one(WasmOp::I32Xor);
        let shader = case.program.translate(engine::gpu_device(profile)?.options())?;
        let mut wrong = shader.clone();
        let at = only_instruction(&wrong.words, OP_BITWISE_XOR)?;
        wrong.words[at] = wrong.words[at] & 0xffff_0000 | OP_BITWISE_OR;
        // SAFETY: the other instruction has the same operands and is valid, too.
        let (mut right, mut wrong) =
            unsafe { (Prepared::new(profile, &case.program, shader)?, Prepared::new(profile, &case.program, wrong)?) };
        sees(&case, &mut right, &mut wrong, "buffer 2")?;
    }
    Ok(())
}

/// Invocations of a subgroup in lockstep lose updates of one place that are not atomic.
fn in_an_update() -> Result<(), Failed> {
    for profile in [Engine::Vulkan, Engine::Portable] {
        let case = contention::counter(true);
        let mut right = profile.open(&case.program)?;
        let mut wrong = profile.open(&contention::counter(false).program)?;
        sees(&case, right.as_mut(), wrong.as_mut(), "buffer 1")?;
    }
    Ok(())
}

fn in_trap_sites() -> Result<(), Failed> {
    let case = operators::one(WasmOp::I32DivU);
    let shader = case.program.translate(engine::gpu_device(Profile::Vulkan)?.options())?;
    let mut wrong = shader.clone();
    let by_zero = |site: &&mut wavelift_translator::TrapSite| site.kind == TrapKind::DivideByZero;
    let site = wrong.interface.trap_sites.iter_mut().find(by_zero).ok_or("a division has a trap site")?;
    site.at.offset += 1;
    // SAFETY: the words are the translator's.
    let (mut right, mut wrong) = unsafe {
        let profile = Profile::Vulkan;
        (Prepared::new(profile, &case.program, shader)?, Prepared::new(profile, &case.program, wrong)?)
    };
    sees(&case, &mut right, &mut wrong, "DivideByZero")
}

fn for_spirv_val() -> Result<(), Failed> {
    let case = operators::one(WasmOp::I32Xor);
    for options in engine::translator_options() {
        let mut words = case.program.translate(&options)?.words;
        oracle::spirv_val(&words)?;
        let at = only_instruction(&words, OP_BITWISE_XOR)?;
        // Its first operand becomes an id that nothing defines.
        words[at + 3] = words[3];
        words[3] += 1;
        let said = oracle::spirv_val(&words).err().ok_or("spirv-val took a module with an undefined id")?;
        check(said.contains("not been defined"), said)?;
    }
    Ok(())
}

/// Where the only instruction of this number stands in a module.
fn only_instruction(words: &[u32], opcode: u32) -> Result<usize, Failed> {
    let (mut at, mut found) = (5, Vec::new());
    while at < words.len() {
        if words[at] & 0xffff == opcode {
            found.push(at);
        }
        at += (words[at] >> 16).max(1) as usize;
    }
    match found[..] {
        [at] => Ok(at),
        _ => Err(format!("{} instructions {opcode} where one should be", found.len()).into()),
    }
}

/// A shader at hand on the GPU.
struct Prepared {
    context: GpuContext,
    kernel: std::sync::Arc<wavelift::device::gpu::Kernel>,
    specs: Vec<BufferSpec>,
}

impl Prepared {
    /// # Safety
    /// As `GpuDevice::prepare`: the shader must be valid and keep within its buffers.
    unsafe fn new(profile: Profile, program: &Program, shader: Shader) -> Result<Prepared, Failed> {
        let device = engine::gpu_device(profile)?;
        // SAFETY: the caller vouches for the shader.
        let kernel = unsafe { device.prepare(shader) }?;
        let mut context = device.new_gpu_context();
        let space = AddressSpace::detached()?;
        let mut specs = Vec::new();
        for (id, shape) in (0..).zip(&program.buffers) {
            let address = space.allocate(shape.size, LINEAR_MEMORY).ok_or("the address space is full")?;
            let spec = BufferSpec { id: BufferId(id), address, size: shape.size, access: shape.access };
            context.create_buffer(&spec)?;
            specs.push(spec);
        }
        Ok(Prepared { context, kernel, specs })
    }
}

impl Session for Prepared {
    fn run(&mut self, contents: &[Vec<u8>], iterations: u32) -> Result<End, String> {
        for (spec, bytes) in self.specs.iter().zip(contents) {
            self.context.write_buffer(spec.id, 0, bytes).map_err(|error| error.to_string())?;
        }
        match self.context.run(&self.kernel, iterations, BLOCK_SIZE, &self.specs) {
            Ok(_) => {}
            Err(LaunchError::Trap(trap)) => return Ok(End::Trapped(trap)),
            Err(error) => return Err(error.to_string()),
        }
        let mut all = Vec::new();
        for spec in &self.specs {
            let mut bytes = vec![0; spec.size as usize];
            self.context.read_buffer(spec.id, 0, &mut bytes).map_err(|error| error.to_string())?;
            all.push(bytes);
        }
        Ok(End::Done(all))
    }
}
