//! The forms whose kernel is a module of its own: `parallel_for` with 8 parameters and `parallel_exec`.

use wavelift::device::{LaunchError, TrapKind};
use wavelift::translator::Module as Wasm;
use wavelift::{Config, DeviceChoice, Error, ErrorCode, LaunchRecord, Runtime};

use super::Guest;
use super::devices::{Behaviour, Own};
use super::launches::devices;

const BAD_HANDLE: i32 = ErrorCode::BadHandle as i32;
const BAD_DEVICE: i32 = ErrorCode::BadDevice as i32;
pub const OUT_OF_MEMORY: i32 = ErrorCode::OutOfMemory as i32;
const BAD_KERNEL: i32 = ErrorCode::BadKernel as i32;
pub const UNSUPPORTED: i32 = ErrorCode::Unsupported as i32;

/// Which import the guest has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    For,
    Exec,
}

const FORMS: [Form; 2] = [Form::For, Form::Exec];

/// A guest that launches kernel modules in one form.
pub fn driver(form: Form) -> String {
    let (name, count, device) = match form {
        Form::For => ("parallel_for", 8, ""),
        Form::Exec => ("parallel_exec", 9, "(local.get $device)"),
    };
    let text = include_str!("modules.wat").replace("NAME", name).replace("PARAMS", "i32 ".repeat(count).trim_end());
    // The parameters stand on the stack: the device first, if there is one.
    text.replace("DEVICE", device)
}

/// Where the kernel's bytes are put.
pub const KERNEL_AT: i32 = 8192;

pub struct Launcher {
    pub guest: Guest,
    pub device: i32,
    length: i32,
}

impl Launcher {
    pub fn of(runtime: &Runtime, form: Form) -> Launcher {
        let mut guest = Guest::new(runtime, &driver(form));
        let device = guest.device(1);
        Launcher { guest, device, length: 0 }
    }

    pub fn on(device: DeviceChoice, form: Form) -> Launcher {
        Launcher::of(&Runtime::new(Config { device, ..Config::default() }).unwrap(), form)
    }

    pub fn with(device: DeviceChoice, kernel: &str) -> Launcher {
        let mut launcher = Launcher::on(device, Form::Exec);
        launcher.put(kernel);
        launcher
    }

    /// Puts the kernel into the guest's memory.
    pub fn put(&mut self, kernel: &str) {
        self.put_bytes(&wat::parse_str(kernel).unwrap());
    }

    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.length = bytes.len() as i32;
        for (i, word) in bytes.chunks(4).enumerate() {
            let mut padded = [0; 4];
            padded[..word.len()].copy_from_slice(word);
            self.guest.store(KERNEL_AT + 4 * i as i32, i32::from_le_bytes(padded));
        }
    }

    pub fn buffer(&mut self, size: i32, access: i32) -> i32 {
        self.guest.ok("create_buffer", &[self.device, size, access, 0]);
        self.guest.load(0)
    }

    pub fn launch(&mut self, iterations: i32, ins: &[i32], outs: &[i32]) -> Result<i32, Error> {
        for (i, handle) in ins.iter().chain(outs).enumerate() {
            self.guest.store(256 + 4 * i as i32, *handle);
        }
        let (ins_count, outs_at) = (ins.len() as i32, 256 + 4 * ins.len() as i32);
        let kernel = [self.device, KERNEL_AT, self.length, iterations, 7];
        self.guest.call("launch", &[&kernel[..], &[256, ins_count, outs_at, outs.len() as i32]].concat())
    }

    pub fn run(&mut self, iterations: i32, outs: &[i32]) {
        assert_eq!(self.launch(iterations, &[], outs).unwrap(), 0);
    }

    /// Runs a kernel of one buffer and gives the buffer's first words, one for each iteration.
    pub fn results(&mut self, iterations: i32) -> Vec<i32> {
        let buffer = self.buffer(4 * iterations, 2);
        self.run(iterations, &[buffer]);
        self.guest.words(buffer, iterations)
    }

    fn reports(&self) -> &[LaunchRecord] {
        self.guest.instance.report().launches()
    }

    pub fn last(&self) -> &LaunchRecord {
        self.reports().last().unwrap()
    }
}

/// A kernel module of one buffer: `buffer[i] = value`, where `value` may use `$i`, `$n`, `$block`, and `$at`, the word's
/// address; `fields` are the module's other fields.
pub fn kernel(fields: &str, value: &str) -> String {
    format!(
        r#"(module {fields}
          (func $kernel (export "kernel") (param $i i32) (param $n i32) (param $block i32) (param $p i32) (param $l i32)
            (local $at i32)
            (local.set $at (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))))
            (i32.store (local.get $at) {value})))"#
    )
}

pub const IMPORT: &str = r#"(import "env" "memory" (memory 1))"#;

/// A memory of three pages with data, of which one word counts.
pub const OWN: &str = r#"(memory 3) (data (i32.const 196604) "\05\00\00\00") (data (i32.const 4096) "\64\00\00\00")"#;

/// `3 * i + n + block`
pub fn linear(fields: &str) -> String {
    kernel(fields, "(i32.add (i32.mul (local.get $i) (i32.const 3)) (i32.add (local.get $n) (local.get $block)))")
}

pub fn numbers(iterations: i32, number: impl FnMut(i32) -> i32) -> Vec<i32> {
    (0..iterations).map(number).collect()
}

const DOUBLE: &str = r#"(module (import "env" "memory" (memory 0))
  (func (export "kernel") (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $pl i32) (param $q i32)
    (param $ql i32)
    (i32.store (i32.add (local.get $q) (i32.shl (local.get $i) (i32.const 2)))
      (i32.shl (i32.load (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2)))) (i32.const 1)))))"#;

#[test]
fn both_forms_on_every_device() {
    for (device, form) in devices().into_iter().flat_map(|device| FORMS.map(|form| (device, form))) {
        let config = Config { device, verify: true, ..Config::default() };
        let mut launcher = Launcher::of(&Runtime::new(config).unwrap(), form);
        launcher.put(&linear(IMPORT));
        let (a, b) = (launcher.buffer(400, 2), launcher.buffer(400, 1));
        launcher.run(100, &[a]);
        launcher.put(DOUBLE);
        assert_eq!(launcher.launch(100, &[a], &[b]).unwrap(), 0);
        assert_eq!(launcher.guest.words(a, 100), numbers(100, |i| 3 * i + 107), "{device:?} {form:?}");
        assert_eq!(launcher.guest.words(b, 100), numbers(100, |i| 6 * i + 214), "{device:?} {form:?}");
        let reports = launcher.reports();
        assert!(
            reports.iter().all(|l| l.kernel == "kernel" && (l.count, l.verified) == (1, 1) && l.fallback.is_none()),
            "{reports:?}"
        );
    }
}

#[test]
fn device_hints_are_numbered_by_the_form() {
    let runtime = Runtime::new(Config::default()).unwrap();
    for (form, sequential, cpu) in [(Form::For, 3, 0), (Form::Exec, 0, 1)] {
        let mut launcher = Launcher::of(&runtime, form);
        launcher.put(&linear(IMPORT));
        for (hint, name) in [(sequential, "CPU (sequential)"), (cpu, "thread")] {
            launcher.device = launcher.guest.device(hint);
            assert_eq!(launcher.results(10), numbers(10, |i| 3 * i + 17));
            assert!(launcher.last().device.contains(name), "{form:?} {hint}: {}", launcher.last().device);
        }
        let fault = launcher.guest.fault("get_device", &[4, 0]);
        assert!(fault.contains(&format!("{cpu} (CPU)")) && fault.contains(&format!("{sequential} (seq")), "{fault}");
    }
}

#[test]
fn the_device_of_a_launch() {
    let runtime = Runtime::new(Config::default()).unwrap();
    let mut launcher = Launcher::of(&runtime, Form::Exec);
    launcher.put(&linear(IMPORT));
    let (sequential, cpu) = (launcher.guest.device(0), launcher.guest.device(1));
    launcher.device = cpu;
    let on_cpu = launcher.buffer(40, 2);
    launcher.device = sequential;
    let in_order = launcher.buffer(40, 2);
    assert_eq!(launcher.launch(10, &[], &[on_cpu]).unwrap(), BAD_DEVICE);
    assert_eq!(launcher.launch(0, &[], &[on_cpu]).unwrap(), BAD_DEVICE);
    launcher.run(10, &[in_order]);
    launcher.put(DOUBLE);
    assert_eq!(launcher.launch(10, &[in_order], &[on_cpu]).unwrap(), BAD_DEVICE);
    for unknown in [0, -1, on_cpu, cpu.max(sequential) + 1] {
        launcher.device = unknown;
        assert_eq!(launcher.launch(10, &[on_cpu], &[on_cpu]).unwrap(), BAD_HANDLE);
    }
    launcher.device = cpu;
    assert_eq!(launcher.launch(10, &[on_cpu], &[on_cpu + 9]).unwrap(), BAD_HANDLE);

    // Without buffers it runs where it is told to, whatever `get_device` gave last.
    let counts = r#"(module (import "env" "memory" (memory 1)) (func (export "kernel") (param $i i32) (param i32 i32)
        (i32.store offset=4096 (i32.shl (local.get $i) (i32.const 2)) (i32.const 9))))"#;
    launcher.put(counts);
    launcher.device = sequential;
    launcher.run(3, &[]);
    assert_eq!(launcher.last().device, "CPU (sequential)");
    assert_eq!(numbers(4, |i| launcher.guest.load(4096 + 4 * i)), [9, 9, 9, 0]);
}

#[test]
fn zero_iterations() {
    let mut launcher = Launcher::with(DeviceChoice::Cpu, &kernel(IMPORT, "(unreachable)"));
    let buffer = launcher.buffer(16, 2);
    launcher.run(0, &[buffer]);
    assert_eq!(launcher.launch(0, &[], &[]).unwrap(), BAD_KERNEL);
}

#[test]
fn what_is_no_kernel() {
    let function = r#"(func (export "kernel") (param i32 i32 i32 i32 i32))"#;
    let with = |field: &str| format!("(module {field} {function})");
    let refused = [
        ("(module)".to_string(), "exports nothing of the name `kernel`"),
        (r#"(module (func (export "main") (param i32 i32 i32 i32 i32)))"#.into(), "nothing of the name `kernel`"),
        (r#"(module (memory (export "kernel") 1))"#.into(), "something other than a function"),
        (r#"(module (func (export "kernel") (param i32 i32 i32 i32)))"#.into(), "another type"),
        (r#"(module (func (export "kernel") (param i32 i32 i32 i32 i64)))"#.into(), "another type"),
        (r#"(module (func (export "kernel") (param i32 i32 i32 i32 i32) (result i32) (i32.const 0)))"#.into(), "type"),
        (r#"(module (func (export "kernel") (param i32 i32 i32)))"#.into(), "takes 0 buffers, and the call has 1"),
        (with(r#"(import "env" "f" (func))"#), "imports the function `env::f`"),
        (with(r#"(import "env" "t" (table 1 funcref))"#), "imports the table `env::t`"),
        (with(r#"(import "env" "g" (global i32))"#), "imports the global `env::g`"),
        (
            r#"(module (import "e" "k" (func $k (param i32 i32 i32 i32 i32))) (export "kernel" (func $k)))"#.into(),
            "e::k",
        ),
        (
            with(r#"(import "env" "memory" (memory 3))"#),
            "imports a memory of 196608 bytes, and the caller's has 131072",
        ),
        (with(r#"(import "env" "memory" (memory 1)) (memory 1)"#), "has 2 memories"),
        (with("(memory i64 1)"), "64-bit memory"),
        (with("(memory 1 1 shared)"), "shared memory"),
        (with("(func $s) (start $s)"), "start function"),
        (with(r#"(import "env" "memory" (memory 1)) (data (i32.const 0) "x")"#), "overwrite the caller's own data"),
        (with(r#"(memory 1) (data (i32.const 65536) "x")"#), "beyond its memory's end"),
        (with("(table 1 funcref) (func $f) (elem (i32.const 1) $f)"), "beyond its table's end"),
    ];
    let mut launcher = Launcher::on(DeviceChoice::Cpu, Form::For);
    let buffer = launcher.buffer(16, 2);
    for (text, reason) in refused {
        launcher.put(&text);
        assert_eq!(launcher.launch(4, &[], &[buffer]).unwrap(), BAD_KERNEL, "{text}");
        let note = launcher.last().fallback.clone().unwrap();
        assert!(note.starts_with("Not run: The kernel") && note.contains(reason) && note.ends_with('.'), "{note}");
    }
    launcher.put(&linear(IMPORT));
    launcher.run(4, &[buffer]);
}

#[test]
fn bytes_that_are_no_module() {
    let mut launcher = Launcher::with(DeviceChoice::Cpu, &linear(IMPORT));
    let buffer = launcher.buffer(16, 2);
    let whole = wat::parse_str(linear(IMPORT)).unwrap();
    // The name section, which is last, may be missing or broken.
    let names = whole.windows(5).position(|bytes| bytes == b"\x04name").unwrap() as i32 - 2;
    for length in 0..names {
        launcher.length = length;
        assert_eq!(launcher.launch(4, &[], &[buffer]).unwrap(), BAD_KERNEL, "{length} bytes");
    }
    launcher.put_bytes(b"(module (func (export \"kernel\") (param i32 i32 i32 i32 i32)))");
    assert_eq!(launcher.launch(4, &[], &[buffer]).unwrap(), BAD_KERNEL, "text is no module");
    // One bit changed: a kernel, none, or one that traps; the next launch is not affected.
    for bit in 0..8 * whole.len() {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        launcher.put_bytes(&bytes);
        match launcher.launch(4, &[], &[buffer]) {
            Ok(code) => assert!([0, BAD_KERNEL].contains(&code), "bit {bit}: {code}"),
            Err(error) => assert!(matches!(error, Error::Kernel(_)), "bit {bit}: {error}"),
        }
    }
    launcher.put_bytes(&whole);
    launcher.run(4, &[buffer]);
    assert_eq!(launcher.guest.words(buffer, 4), numbers(4, |i| 3 * i + 11));
}

#[test]
fn pointers_outside_memory() {
    let mut launcher = Launcher::with(DeviceChoice::Cpu, &linear(IMPORT));
    let device = launcher.device;
    let outside = 2 << 16;
    for (address, length) in [(outside - 8, 9), (-1, 1), (0, -1), (outside + 1, 0)] {
        let fault = launcher.guest.fault("launch", &[device, address, length, 1, 1, 0, 0, 0, 0]);
        assert!(fault.contains("`parallel_exec` with a kernel outside its memory"), "{fault}");
    }
    let fault = launcher.guest.fault("launch", &[device, KERNEL_AT, 8, 1, 1, outside, 1, 0, 0]);
    assert!(fault.contains("`parallel_exec` with a list of in-buffers outside"), "{fault}");
    let mut launcher = Launcher::on(DeviceChoice::Cpu, Form::For);
    let fault = launcher.guest.fault("launch", &[0, -4, 8, 1, 1, 0, 0, 0, 0]);
    assert!(fault.contains("`parallel_for` with a kernel outside"), "{fault}");
}

#[test]
fn equal_bytes_are_compiled_once() {
    for device in devices() {
        let mut launcher = Launcher::on(device, Form::For);
        let (one, other) = (kernel(IMPORT, "(i32.const 1)"), kernel(IMPORT, "(i32.const 2)"));
        // Each with a number of iterations of its own, for the report adds up what is equal.
        for (text, iterations) in [(&one, 20), (&one, 21), (&other, 22), (&one, 23), (&other, 24)] {
            launcher.put(text);
            let expected = if *text == one { 1 } else { 2 };
            assert_eq!(launcher.results(iterations), numbers(iterations, |_| expected));
        }
        let lifted: Vec<bool> = launcher.reports().iter().map(|l| !l.lift.is_zero()).collect();
        assert_eq!(lifted, [true, false, true, false, false], "{device:?}");
        let compiled: Vec<bool> = launcher.reports().iter().map(|l| !l.compile.is_zero()).collect();
        assert_eq!(compiled, [true, false, true, false, false], "{device:?}");
    }
}

#[test]
fn guests_of_one_runtime_share_what_was_compiled() {
    let runtime = Runtime::new(Config { device: DeviceChoice::Cpu, ..Config::default() }).unwrap();
    for (form, lifted) in [(Form::For, true), (Form::Exec, false)] {
        let mut launcher = Launcher::of(&runtime, form);
        launcher.put(&linear(IMPORT));
        launcher.results(10);
        assert_eq!(!launcher.last().lift.is_zero(), lifted);
    }
}

#[test]
fn the_guest_can_change_the_bytes_between_launches() {
    for device in devices() {
        let mut launcher = Launcher::with(device, &kernel(IMPORT, "(i32.const 33)"));
        assert_eq!(launcher.results(4), [33; 4]);
        let bytes = wat::parse_str(kernel(IMPORT, "(i32.const 33)")).unwrap();
        let at = bytes.windows(2).position(|w| w == [0x41, 33]).unwrap() as i32 + 1;
        // One byte of the word that holds it.
        let word = launcher.guest.load(KERNEL_AT + at);
        launcher.guest.store(KERNEL_AT + at, word + 1);
        assert_eq!(launcher.results(4), [34; 4]);
        launcher.guest.store(KERNEL_AT + at, word);
        assert_eq!(launcher.results(4), [33; 4]);
    }
}

#[test]
fn a_trap_names_the_kernels_function_and_its_offset_in_the_kernels_module() {
    let fields = format!(
        "{IMPORT} (func $inner (param $i i32) (result i32)
           (if (i32.ge_u (local.get $i) (i32.const 5)) (then unreachable)) (i32.const 1))"
    );
    let text = kernel(&fields, "(call $inner (local.get $i))");
    let module = Wasm::parse(wat::parse_str(&text).unwrap()).unwrap();
    let body = module.body(module.find_function("inner").unwrap()).unwrap().range();
    for device in devices() {
        for form in FORMS {
            let mut launcher = Launcher::on(device, form);
            launcher.put(&text);
            let buffer = launcher.buffer(400, 2);
            let error = launcher.launch(100, &[], &[buffer]).unwrap_err();
            let Error::Kernel(fault) = error else { panic!("{error}") };
            assert_eq!((fault.kernel.as_str(), fault.function.as_str()), ("kernel", "inner"));
            assert_eq!((fault.kind, fault.iteration), (TrapKind::Unreachable, 5));
            let at = fault.at.offset as usize;
            assert!(body.contains(&at) && module.bytes()[at] == 0, "{device:?}: offset {at:#x}");
            launcher.put(&linear(IMPORT));
            launcher.run(4, &[buffer]);
        }
    }
}

#[test]
fn what_another_device_refuses_runs_on_the_cpu() {
    let error = LaunchError::Unsupported("Not here.".to_string());
    for verify in [false, true] {
        let config = Config { verify, ..Config::default() };
        let mut launcher = Launcher::of(&Own::runtime(config, Behaviour::Fail(error.clone())), Form::Exec);
        launcher.put(&kernel(OWN, "(i32.load (i32.const 4096))"));
        assert_eq!(launcher.results(4), [100; 4]);
        assert_eq!(launcher.last().fallback.as_deref(), Some("Not here."));
        launcher.put(&kernel(IMPORT, "(memory.grow (i32.const 1))"));
        assert_eq!(launcher.results(2), [2, 3]);
    }
    let config = Config { allow_fallback: false, ..Config::default() };
    let mut launcher = Launcher::of(&Own::runtime(config, Behaviour::Fail(error)), Form::Exec);
    launcher.put(&linear(IMPORT));
    let buffer = launcher.buffer(4, 2);
    assert_eq!(launcher.launch(1, &[], &[buffer]).unwrap(), UNSUPPORTED);
}

#[test]
fn an_own_device_is_given_the_kernels_module() {
    let mut launcher =
        Launcher::of(&Own::runtime(Config { verify: true, ..Config::default() }, Behaviour::Fill), Form::Exec);
    launcher.put(&kernel(OWN, "(i32.add (i32.mul (local.get $i) (i32.const 3)) (local.get $n))"));
    assert_eq!(launcher.results(10), super::filled(10));
    assert_eq!((launcher.last().device.as_str(), launcher.last().verified), ("the test's own", 1));
}
