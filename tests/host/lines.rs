//! Traps and refusals name the line of source, where the guest's module has DWARF, on every device.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wavelift::device::TrapKind;
use wavelift::translator::{Module as Wasm, Profile};
use wavelift::wasmtime::Val;
use wavelift::{Config, DeviceChoice, Error, Instance, KernelFault, Limits, Module, Runtime, WasiCtxBuilder};

use super::Guest;
use super::launches::devices;
use super::modules::{Form, Launcher};

/// Entries of the table of `lines.c`.
#[derive(Clone, Copy, Debug)]
enum Kernel {
    Divides,
    WritesOutside,
    GivesUp,
    Grows,
    NeverEnds,
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host/lines").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(file(name)).unwrap()
}

/// `file:line` of the only line of a source that holds `text`.
fn line(source: &str, text: &str) -> String {
    let lines = std::fs::read_to_string(file(source)).unwrap();
    let found: Vec<usize> = lines.lines().enumerate().filter(|(_, l)| l.contains(text)).map(|(i, _)| i + 1).collect();
    let [number] = found[..] else { panic!("{source} has {text:?} in lines {found:?}") };
    format!("{source}:{number}")
}

/// The devices of this machine, GPUs by both profiles.
fn configs() -> Vec<Config> {
    let config = |device| Config { device, ..Config::default() };
    let mut configs: Vec<Config> = devices().into_iter().map(config).collect();
    if devices().contains(&DeviceChoice::Gpu) {
        configs.push(Config { profile: Profile::Portable, ..config(DeviceChoice::Gpu) });
    }
    configs
}

fn guest(config: &Config, bytes: &[u8]) -> Guest {
    let runtime = Runtime::new(config.clone()).unwrap();
    let module = Module::new(&runtime, bytes).unwrap();
    Guest { instance: Instance::new(&runtime, &module, WasiCtxBuilder::new().build_p1()).unwrap() }
}

fn trap(guest: &mut Guest, kernel: i32) -> KernelFault {
    let error = guest.call("launch", &[kernel, 50]).unwrap_err();
    let Error::Kernel(fault) = error else { panic!("kernel {kernel}: {error}") };
    fault
}

fn shown(fault: &KernelFault) -> String {
    fault.line.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn traps_of_c_name_lines_and_what_they_were_inlined_in() {
    let call = format!("{}, in {}", line("lines.c", "return quotient(all"), line("lines.c", "+= share("));
    let quotient = line("guest.h", "by zero");
    for config in configs() {
        for (build, divides) in [("O0", quotient.clone()), ("O2", format!("{quotient}, inlined at {call}"))] {
            let mut guest = guest(&config, &bytes(&format!("lines.{build}.wasm")));
            for (kernel, at, iteration) in [
                (Kernel::Divides, divides, 3),
                (Kernel::WritesOutside, line("lines.c", "to[bytes + "), 5),
                (Kernel::GivesUp, line("lines.c", "__builtin_trap"), 9),
            ] {
                let fault = trap(&mut guest, kernel as i32);
                assert_eq!((shown(&fault), fault.iteration), (at.clone(), iteration), "{kernel:?} {build} {config:?}");
                assert!(fault.to_string().contains(&format!(" ({at}). The lowest iteration")), "{fault}");
                assert_eq!(trap(&mut guest, kernel as i32), fault, "the same each time");
            }
        }
    }
}

#[test]
fn a_loop_that_never_ends_is_named() {
    for config in configs() {
        let limits = Limits { fuel: Some(1 << 12), ..Limits::default() };
        let config = Config { limits, ..config };
        let fault = trap(&mut guest(&config, &bytes("lines.O2.wasm")), Kernel::NeverEnds as i32);
        assert_eq!(fault.kind, TrapKind::OutOfFuel);
        let body = [line("lines.c", "while (*word"), line("lines.c", "*word = i;")];
        assert!(body.contains(&shown(&fault)), "{fault} on {config:?}");
    }
}

#[test]
fn traps_of_rust_name_lines() {
    for config in configs() {
        for build in ["O0", "O3"] {
            let mut guest = guest(&config, &bytes(&format!("rust.{build}.wasm")));
            for (kernel, text, iteration) in [(0, "to[101 - i", 0), (1, "/= 7 - i", 7)] {
                let fault = trap(&mut guest, kernel);
                let at = line("lines.rs", text);
                assert_eq!((shown(&fault), fault.iteration), (at, iteration), "{fault} of {build} on {config:?}");
            }
        }
    }
}

#[test]
fn kernels_that_are_modules_name_lines() {
    for config in configs() {
        for form in [Form::For, Form::Exec] {
            let mut launcher = Launcher::of(&Runtime::new(config.clone()).unwrap(), form);
            launcher.put_bytes(&bytes("kernel.wasm"));
            let buffer = launcher.buffer(400, 2);
            let Err(Error::Kernel(fault)) = launcher.launch(10, &[], &[buffer]) else {
                panic!("{form:?} does not trap")
            };
            assert_eq!((shown(&fault), fault.iteration), (line("kernel.c", "1000 / (3 - i)"), 3), "{config:?}");
        }
    }
}

#[test]
fn refusals_name_lines_in_reports() {
    let at = line("lines.c", "__builtin_wasm_memory_grow");
    for config in configs() {
        let mut guest = guest(&config, &bytes("lines.O2.wasm"));
        assert_eq!(guest.call("launch", &[Kernel::Grows as i32, 5]).unwrap(), 0);
        let report = guest.instance.report().to_string();
        assert!(report.contains(&format!(", {at}")), "{report}");
    }
}

#[test]
fn a_guests_own_trap_names_its_line() {
    let mut guest = guest(&Config { device: DeviceChoice::Cpu, ..Config::default() }, &bytes("lines.O2.wasm"));
    let error = guest.instance.call("divide", &[Val::I32(1), Val::I32(0)]).unwrap_err();
    let (quotient, call) = (line("guest.h", "by zero"), line("lines.c", "return quotient(a, b)"));
    let Error::Trap { line: Some(line), .. } = &error else { panic!("{error}") };
    assert_eq!(line.to_string(), format!("{quotient}, inlined at {call}"));
    assert!(error.to_string().ends_with(&format!(" ({line}).")), "{error}");
}

/// The module with each custom section that `keep` does not want left out.
fn without_sections(bytes: &[u8], keep: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut module = bytes[..8].to_vec();
    for payload in wasmparser::Parser::new(0).parse_all(bytes) {
        let payload = payload.unwrap();
        let Some((id, range)) = payload.as_section() else { continue };
        if let wasmparser::Payload::CustomSection(section) = &payload
            && !keep(section.name())
        {
            continue;
        }
        let mut size = range.len() as u32;
        module.push(id);
        while size >= 0x80 {
            module.push(size as u8 | 0x80);
            size >>= 7;
        }
        module.push(size as u8);
        module.extend(&bytes[range]);
    }
    module
}

#[test]
fn without_debug_information_nothing_else_changes() {
    let with = bytes("lines.O2.wasm");
    let without = without_sections(&with, |name| !name.starts_with(".debug_"));
    assert!(without.len() < with.len() / 2);
    for config in configs() {
        for kernel in [Kernel::Divides, Kernel::GivesUp] {
            let [full, bare] = [&with, &without].map(|bytes| trap(&mut guest(&config, bytes), kernel as i32));
            assert_eq!(bare.line, None);
            let line = full.line.as_ref().expect("there is a line");
            assert_eq!(full.to_string().replace(&format!(" ({line})"), ""), bare.to_string());
        }
    }
}

#[test]
fn debug_information_in_a_file_of_its_own_is_not_looked_for() {
    let mut module = without_sections(&bytes("lines.O2.wasm"), |name| !name.starts_with(".debug_"));
    let section = b"\x13external_debug_info\x0a/etc/hosts";
    module.extend([0, section.len() as u8]);
    module.extend(section);
    let fault = trap(&mut guest(&Config { device: DeviceChoice::Cpu, ..Config::default() }, &module), 0);
    assert_eq!(fault.line, None);
}

/// Where the custom sections of DWARF lie.
fn debug_ranges(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let payloads = wasmparser::Parser::new(0).parse_all(bytes).map(Result::unwrap);
    payloads
        .filter_map(|payload| match payload {
            wasmparser::Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
                Some(section.data_offset()..section.data_offset() + section.data().len())
            }
            _ => None,
        })
        .collect()
}

#[test]
fn broken_debug_information_gives_a_line_or_none_and_soon() {
    for name in ["lines.O0.wasm", "lines.O2.wasm", "rust.O3.wasm"] {
        let whole = bytes(name);
        let ranges = debug_ranges(&whole);
        let offsets: Vec<u32> = {
            let module = Wasm::parse(whole.clone()).unwrap();
            let bodies = (0..module.function_count()).filter_map(|function| module.body(function));
            bodies.flat_map(|body| body.range()).step_by(7).map(|offset| offset as u32).collect()
        };
        for seed in 0..300u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut below = |limit: usize| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                (random % limit as u64) as usize
            };
            let mut broken = whole.clone();
            for _ in 0..1 + seed % 5 {
                let range = ranges[below(ranges.len())].clone();
                let at = range.start + below(range.len());
                match below(3) {
                    0 => broken[at] ^= 1 << below(8),
                    1 => broken[at] = [0, 0x7f, 0x80, 0xff][below(4)],
                    _ => {
                        let end = (at + 1 + below(16)).min(range.end);
                        broken[at..end].fill([0, 0xff, 0x80][below(3)]);
                    }
                }
            }
            let module = Wasm::parse(broken).expect("custom sections don't matter");
            let started = Instant::now();
            for offset in &offsets {
                if let Some(line) = module.source_line(*offset) {
                    let text = line.to_string();
                    assert!(!text.contains(char::is_control) && text.chars().count() < 1000, "{text}");
                }
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{name} with seed {seed}: {:?}", started.elapsed());
        }
    }
}
