//! Planted bugs: each must be seen.

use std::sync::Arc;

use libtest_mimic::{Completion, Failed};
use wavelift::device::gpu::GpuDevice;
use wavelift::device::{Access, BufferId, BufferSpec, Context};
use wavelift::text::Language;
use wavelift::translator::ir::Type;
use wavelift::translator::{Profile, Shape, TrapKind, translate};

use crate::cases::{FileCases, FunctionCases, ModuleCases, guest};
use crate::count::{self, Count};
use crate::cpp::Kernel;
use crate::engine::{Engine, Tally};
use crate::keep::keep;
use crate::results::{self, Row, Rows};
use crate::script::{Expectation, Number, Pattern};
use crate::{devices, judge, records, text};

fn find<'f>(file: &'f FileCases, name: &str) -> Result<(&'f ModuleCases, &'f FunctionCases), Failed> {
    let functions = file.modules.iter().flat_map(|module| module.functions.iter().map(move |f| (module, f)));
    let mut named = functions.filter(|(_, function)| function.name == name && function.cases.len() > 3);
    named.next().ok_or_else(|| format!("{} has no function `{name}`.", file.name).into())
}

fn failures(engine: &mut dyn Engine, module: &ModuleCases, function: &FunctionCases) -> Result<Vec<String>, Failed> {
    let mut tally = Tally::default();
    tally.add(engine, module, function);
    if tally.run != function.cases.len() || tally.passed + tally.failures.len() != tally.run {
        return Err(format!("{tally:?}").into());
    }
    Ok(tally.failures)
}

/// A result and a trap that are expected wrongly are two failures, at their lines; a function that computes something
/// else makes many.
pub fn engine_sees(file: &FileCases, engine: &mut dyn Engine) -> Result<(), Failed> {
    let (module, add) = find(file, "add")?;
    check(failures(engine, module, add)?.is_empty(), "`add` fails as it is")?;
    let mut flipped = add.clone();
    let Expectation::Values(patterns) = &mut flipped.cases[3].expectation else { return Err("no values".into()) };
    let [Pattern::Bits(number)] = patterns.as_mut_slice() else { return Err("not one number".into()) };
    number.bits ^= 1 << 7;
    let line = format!("line {}:", flipped.cases[3].line);
    let seen = failures(engine, module, &flipped)?;
    check(seen.len() == 1 && seen[0].contains(&line), format!("a wrong expectation: {seen:?}"))?;

    let (module, divide) = find(file, "div_s")?;
    let mut other = divide.clone();
    let by_zero = |expectation: &Expectation| *expectation == Expectation::Trap(TrapKind::DivideByZero);
    let case = other.cases.iter_mut().find(|case| by_zero(&case.expectation)).ok_or("no trap")?;
    case.expectation = Expectation::Trap(TrapKind::IntegerOverflow);
    let seen = failures(engine, module, &other)?;
    check(seen.len() == 1, format!("a wrong trap: {seen:?}"))?;
    case_without_trap(engine, module, divide)?;

    let subtracts = with_operator(module, "add", (0x6a, 0x6b))?;
    let seen = failures(engine, &subtracts, add)?;
    check(seen.len() > 3, format!("`i32.sub` for `i32.add`: {seen:?}"))
}

/// A trap where a value is expected fails that assertion alone.
fn case_without_trap(engine: &mut dyn Engine, module: &ModuleCases, divide: &FunctionCases) -> Result<(), Failed> {
    let mut traps = divide.clone();
    let returns = |expectation: &Expectation| matches!(expectation, Expectation::Values(_));
    let case = traps.cases.iter_mut().find(|case| returns(&case.expectation)).ok_or("no value")?;
    // The divisor.
    case.args[1] = 0;
    let seen = failures(engine, module, &traps)?;
    check(seen.len() == 1 && seen[0].contains("got a trap"), format!("a trap instead of a value: {seen:?}"))
}

/// The module with one operator of a function replaced by another.
fn with_operator(module: &ModuleCases, name: &str, (from, to): (u8, u8)) -> Result<ModuleCases, Failed> {
    let wasm = &module.guest.wasm;
    let export = wasm.exports().iter().find(|export| export.name == name).ok_or("no such export")?;
    let range = wasm.body(export.index).ok_or("no body")?.range();
    let mut bytes = wasm.bytes().to_vec();
    let at = bytes[range.clone()].iter().position(|byte| *byte == from).ok_or("no such operator")?;
    bytes[range.start + at] = to;
    let (state, stateful) = (module.state.clone(), module.stateful);
    Ok(ModuleCases { number: module.number, guest: guest(bytes)?, state, stateful, functions: Vec::new() })
}

/// A shader with one instruction replaced by another gives wrong results.
pub fn shader_word_is_seen(file: &FileCases, profile: Profile) -> Result<Completion, Failed> {
    let device = match devices::gpu_device(profile) {
        Ok(device) => device,
        Err(devices::NoGpu::NoDriver) => return Ok(Completion::ignored_with("this machine has no GPU driver")),
        Err(devices::NoGpu::Refused(reason)) => return Err(reason.into()),
    };
    let (module, mul) = find(file, "mul")?;
    // OpIMul; the address of a record is a product, too, but comes first.
    check(wrong_results(&device, module, mul, None)? == 0, "`mul` fails as it is")?;
    // OpIMul becomes OpIAdd.
    let wrong = wrong_results(&device, module, mul, Some((132, 128)))?;
    check(wrong > 3, format!("{wrong} wrong results of OpIAdd for OpIMul"))?;
    Ok(Completion::Completed)
}

/// A text with one operator for another gives wrong results, and one that traps elsewhere the wrong trap.
pub fn text_is_seen(file: &FileCases, language: Language) -> Result<(), Failed> {
    let failures = |name: &str, change: &dyn Fn(&mut Kernel)| -> Result<Vec<String>, Failed> {
        let (module, function) = find(file, name)?;
        let mut written = text::write(&file.name, module, function, language)?.ok_or("it can't be written")?;
        change(&mut written.kernel);
        Ok(text::failures_of(vec![written], language)?)
    };
    for name in ["xor", "div_s"] {
        let seen = failures(name, &|_| {})?;
        check(seen.is_empty(), format!("`{name}` fails as it is: {seen:?}"))?;
    }
    let seen = failures("xor", &|kernel| kernel.text = kernel.text.replace(" ^ ", " | "))?;
    check(seen.len() > 3, format!("`|` for `^`: {seen:?}"))?;
    let seen = failures("div_s", &|kernel| {
        let zero = kernel.interface.trap_sites.iter_mut().filter(|site| site.kind == TrapKind::DivideByZero);
        zero.for_each(|site| site.kind = TrapKind::IntegerOverflow);
    })?;
    check(!seen.is_empty() && seen.iter().all(|line| line.contains("got a trap")), format!("a wrong trap: {seen:?}"))
}

/// Number of cases that fail if the last instruction with the first opcode gets the second one.
fn wrong_results(
    device: &Arc<GpuDevice>,
    module: &ModuleCases,
    function: &FunctionCases,
    replace: Option<(u32, u32)>,
) -> Result<usize, Failed> {
    let kernel = &function.kernel;
    let mut shader = translate(&module.guest.wasm, kernel.index, &Shape::distinct(2), device.options())?;
    keep(&shader.words, device.options().profile);
    if let Some((from, to)) = replace {
        // Behind the five words of the header, each instruction starts with its length and opcode.
        let (mut at, mut found) = (5, None);
        while let Some(word) = shader.words.get(at) {
            found = if word & 0xffff == from { Some(at) } else { found };
            at += (word >> 16).max(1) as usize;
        }
        let at = found.ok_or("The shader has no such instruction.")?;
        shader.words[at] = shader.words[at] & 0xffff_0000 | to;
    }
    // SAFETY: the words are the translator's; the replacement has operands and a result of the same types, and is the
    // function's own product, which no address depends on.
    let prepared = unsafe { device.prepare(shader)? };
    let mut context = device.new_gpu_context();
    let count = function.cases.len();
    let arguments = records::arguments(kernel, &function.cases);
    let buffer = |id: u32, size: usize| {
        let address = 0x8000_0000 + id * 0x100_0000;
        BufferSpec { id: BufferId(id.into()), address, size: size as u32, access: Access::ReadWrite }
    };
    let buffers = [buffer(0, arguments.len()), buffer(1, records::results_size(kernel, count))];
    buffers.iter().try_for_each(|buffer| context.create_buffer(buffer))?;
    context.write_buffer(buffers[0].id, 0, &arguments)?;
    context.run(&prepared, count as u32, 64, &buffers)?;
    let mut bytes = vec![0; buffers[1].size as usize];
    context.read_buffer(buffers[1].id, 0, &mut bytes)?;
    let mut wrong = 0;
    for (index, case) in function.cases.iter().enumerate() {
        wrong += usize::from(judge::judge(case, &Ok(records::results(kernel, &bytes, index)?)).is_err());
    }
    Ok(wrong)
}

/// The counter passes over comments, strings and quoted modules, and sees what is not about numbers.
pub fn count_is_exact() -> Result<Completion, Failed> {
    let text = r#"
        ;; (assert_return (invoke "a"))
        (; (assert_trap (; (assert_trap ;) ;)
        (module quote "(assert_return (invoke \"a\"))" "\")")
        (assert_return (invoke "a)" (i32.const 1)) (f32.const nan:canonical)) (assert_return (invoke $m "a"))
        (assert_trap (invoke $m "a" (ref.null func)) "unreachable") (assert_trap (module) "unreachable")
        (assert_return (get "g") (i32.const 1)) (assert_return (invoke "a") (ref.null func))
        (assert_return (invoke "a" (v128.const i32x4 1 2 3 4)) (either (v128.const i64x2 0 1) (v128.const i64x2 1 0)))
        (assert_return (invoke "a") (either (i32.const 1) (ref.null func)))
        (assert_invalid (module) "x") (invoke "a")"#;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("a.wast"), text)?;
    let Some(counts) = count::count(folder.path())? else {
        return Ok(Completion::ignored_with("there is no python3"));
    };
    check(counts.get("a") == Some(&Count { assertions: 8, numeric: 3 }), format!("{counts:?}"))?;
    Ok(Completion::Completed)
}

/// A wrong lane is seen, and what is none of several results.
pub fn lanes_are_judged() -> Result<(), Failed> {
    let lane = |bits| Pattern::Bits(Number { ty: Type::F32, bits });
    let lanes = Pattern::Lanes(Type::F32, vec![lane(1), Pattern::CanonicalNan(Type::F32), lane(3), lane(0)]);
    let other = Pattern::Bits(Number { ty: Type::V128, bits: 9 });
    let expectation = Expectation::Values(vec![Pattern::Either(vec![lanes, other])]);
    let fits = |value: u128| judge::fits(&expectation, &Ok(vec![value])).is_ok();
    let right = 1 | 0xffc0_0000 << 32 | 3 << 64;
    check(fits(right) && fits(9), "a right result is refused")?;
    let wrong = [right ^ 1, right ^ 1 << 33, right ^ 1 << 65, right ^ 1 << 127, 8];
    check(wrong.iter().all(|value| !fits(*value)), "a wrong lane goes unseen")?;
    let expectation = expectation.with_any_nan();
    let fits = |value: u128| judge::fits(&expectation, &Ok(vec![value])).is_ok();
    let other_nan = right ^ (0x0020_0001 << 32);
    let infinity = right ^ (0x0040_0000 << 32);
    check(fits(right) && fits(other_nan), "a NaN is refused where any will do")?;
    check(!fits(infinity) && wrong.iter().any(|value| !fits(*value)), "a wrong lane goes unseen where any NaN will do")
}

/// Rows that lose, fail or hide an assertion are refused, and a file without its row is missed.
pub fn rows_are_compared() -> Result<(), Failed> {
    let text = "file,engine,expected,run,passed,skipped,reasons\na,cpu,5,3,3,2,1 imports; 1 stateful\n";
    let rows: Rows = results::parse(text)?;
    check(results::write(&rows) == text, "rows change when they are written")?;
    let row = rows.values().next().ok_or("no row")?.clone();
    row.check()?;
    let failed = Row { passed: 2, ..row.clone() };
    let hidden = Row { run: 2, passed: 2, ..row.clone() };
    check(failed.check().is_err() && failed.is_worse_than(&row), "a failure goes unseen")?;
    check(hidden.check().is_err() && hidden.is_worse_than(&row), "a lost assertion goes unseen")?;
    check(!row.is_worse_than(&row), "a row is worse than itself")?;
    check(results::stale(&rows, &["a"], &["cpu"]).is_empty(), "a row is stale at once")?;
    check(results::stale(&rows, &["b"], &["cpu"]).len() == 1, "the row of a lost file goes unseen")?;
    check(results::stale(&rows, &["a"], &["gpu"]).len() == 1, "the row of a lost engine goes unseen")?;
    let twice = format!("{text}{}\n", text.lines().nth(1).ok_or("no row")?);
    check(results::parse(&twice).is_err(), "a second row goes unseen")?;
    check(results::parse(&text.replace(",2,1 imp", ",3,1 imp")).is_err(), "a wrong sum goes unseen")
}

fn check(right: bool, message: impl Into<String>) -> Result<(), Failed> {
    if right { Ok(()) } else { Err(Failed::from(message.into())) }
}
