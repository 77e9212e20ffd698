//! The `wavelift` command as a user meets it: what it prints, and what it exits with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder for one test's files.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn wavelift<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wavelift"))
        .args(arguments)
        .env_remove("WAVELIFT_LOG")
        .env("WAVELIFT_CACHE_DIR", "")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs a module's text with more arguments.
fn run(text: &str, arguments: &[&str]) -> Output {
    let files = Files::new();
    let module = files.put("guest.wat", text);
    let mut all = vec!["run".to_string(), module.display().to_string()];
    all.extend(arguments.iter().map(|a| a.to_string()));
    wavelift(all)
}

/// The one paragraph that a failed command says.
fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "it succeeded: {}", stdout(output));
    assert!(output.status.code().is_some(), "it was killed by a signal");
    let said = stderr(output);
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("wavelift: no hardware GPU found")).collect();
    assert_eq!(lines.len(), 1, "one paragraph: {said}");
    assert!(lines[0].starts_with("wavelift: ") && lines[0].ends_with('.'), "whole sentences: {said}");
    for word in ["panicked", "backtrace", "RUST_BACKTRACE", "unwrap"] {
        assert!(!said.contains(word), "{said}");
    }
    lines[0].to_string()
}

fn complains(output: &Output, about: &[&str]) {
    let said = complaint(output);
    for part in about {
        assert!(said.contains(part), "`{part}` in: {said}");
    }
}

/// Calls `parallel_for` once with these operands, and exits with its error code. The table holds null, a kernel with
/// one buffer, and a function that is no kernel. A buffer of 64 bytes has its handle at 8.
fn launching(operands: &str) -> String {
    format!(
        r#"(module
  (import "wasi_ephemeral_parallel" "get_device" (func $get_device (param i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "create_buffer" (func $create_buffer (param i32 i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "write_buffer" (func $write_buffer (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "read_buffer" (func $read_buffer (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "parallel_for"
    (func $parallel_for (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (table 4 funcref)
  (elem (i32.const 1) $ids $main $dies)
  (func $ids (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32)
    (i32.store (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))) (local.get $i)))
  (func $dies (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32)
    (drop (i32.div_u (i32.const 1) (i32.lt_u (local.get $i) (i32.const 3)))))
  (func $main (export "_start")
    (drop (call $get_device (i32.const 1) (i32.const 0)))
    (drop (call $create_buffer (i32.load (i32.const 0)) (i32.const 64) (i32.const 2) (i32.const 8)))
    (call $proc_exit {operands})))"#
    )
}

fn parallel_for(worker: i32, iterations: i32, list: i32, count: i32) -> String {
    launching(&format!(
        "(call $parallel_for (i32.const {worker}) (i32.const {iterations}) (i32.const 1) (i32.const 0) (i32.const 0) \
         (i32.const {list}) (i32.const {count}))"
    ))
}

#[test]
fn runs_and_gives_the_guests_exit_code() {
    let output = run(&parallel_for(1, 16, 8, 1), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let exits = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 42))))"#;
    assert_eq!(run(exits, &[]).status.code(), Some(42));
    assert_eq!(run(r#"(module (func (export "_start")))"#, &[]).status.code(), Some(0));
}

#[test]
fn errors_of_launches_are_the_guests_own() {
    for (module, code) in [
        (parallel_for(0, 16, 8, 1), 5),
        (parallel_for(2, 16, 8, 1), 5),
        (parallel_for(99, 16, 8, 1), 5),
        (parallel_for(1, 16, 0, 1), 1),
        (parallel_for(1, 16, 16, 1), 1),
        (launching("(call $write_buffer (i32.const 0) (i32.const 65) (i32.load (i32.const 8)))"), 3),
        (launching("(call $read_buffer (i32.load (i32.const 8)) (i32.const 0) (i32.const 65))"), 3),
        (launching("(call $read_buffer (i32.const 12345) (i32.const 0) (i32.const 4))"), 1),
    ] {
        let output = run(&module, &["--device", "cpu"]);
        assert_eq!(output.status.code(), Some(code), "{module}\n{}", stderr(&output));
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn a_pointer_list_outside_memory() {
    complains(
        &run(&parallel_for(1, 16, 65_536, 1), &[]),
        &["`parallel_for` with a list of out-buffers outside its memory", "0x10000", "65536 bytes"],
    );
    let module = launching("(call $write_buffer (i32.const 65530) (i32.const 16) (i32.load (i32.const 8)))");
    complains(&run(&module, &[]), &["`write_buffer` with data outside its memory"]);
    let module = launching("(call $get_device (i32.const 17) (i32.const 0))");
    complains(&run(&module, &[]), &["unknown device hint 17"]);
}

#[test]
fn a_kernels_trap_stops_the_guest() {
    for device in ["cpu", "sequential"] {
        let output = run(&parallel_for(3, 16, 8, 1), &["--device", device]);
        complains(
            &output,
            &["The kernel `dies` trapped: an integer was divided by zero", "iteration that trapped is 3"],
        );
    }
    // Buffers are aligned to 256 bytes and end near a page's end: bytes from there on are not mapped.
    let output = run(&parallel_for(1, 65, 8, 1), &["--device", "cpu"]);
    complains(&output, &["The kernel `ids` trapped: a memory access was out of bounds", "that trapped is 64"]);
}

#[test]
fn a_guests_own_trap() {
    let module = r#"(module (func $inner unreachable) (func (export "_start") (call $inner)))"#;
    complains(&run(module, &[]), &["The guest trapped:", "`unreachable`", "in function `inner` at byte offset 0x"]);
}

#[test]
fn features_that_are_not_run() {
    let files = Files::new();
    let exceptions = files.put("exceptions.wat", r#"(module (tag) (func (export "_start") (throw 0)))"#);
    let collected = files.put("gc.wat", r#"(module (type (struct (field i32))) (func (export "_start")))"#);
    for (path, what) in [(exceptions, "exceptions"), (collected, "gc")] {
        for subcommand in ["run", "inspect"] {
            let output = wavelift([subcommand.as_ref(), path.as_os_str()]);
            complains(&output, &["a feature of WebAssembly that wavelift does not run, at byte offset 0x", what]);
        }
    }
}

#[test]
fn bytes_that_are_no_module() {
    let files = Files::new();
    let whole = wat::parse_str(parallel_for(1, 1, 8, 1)).unwrap();
    let truncated = files.put("truncated.wasm", &whole[..whole.len() / 2]);
    let random: Vec<u8> = (0..1000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80).collect();
    let random = files.put("random.wasm", random);
    let empty = files.put("empty.wasm", "");
    let text = files.put("bad.wat", "(module\n  (func (export \"_start\") (nonsense)))");
    for subcommand in ["run", "inspect"] {
        let on = |path: &Path| wavelift([subcommand.as_ref(), path.as_os_str()]);
        complains(&on(&truncated), &["not valid WebAssembly at byte offset 0x"]);
        complains(&on(&random), &["not WebAssembly"]);
        complains(&on(&empty), &["not WebAssembly"]);
        complains(&on(&text), &["not a WebAssembly module", "line 2"]);
        complains(&on(&files.path().join("missing.wasm")), &["missing.wasm` can't be read"]);
        complains(&on(files.path()), &["can't be read"]);
    }
}

#[test]
fn modules_that_do_not_fit() {
    let import = |name: &str, ty: &str| {
        format!(r#"(module (import "wasi_ephemeral_parallel" "{name}" (func {ty})) (func (export "_start")))"#)
    };
    let output = run(&import("parallel_for", "(param i32 i64) (result i32)"), &[]);
    complains(&output, &["`parallel_for` with 7", "`parallel_for` with 8", "`parallel_exec` with 9"]);
    complains(&run(&import("get_device", "(param i32)"), &[]), &["get_device", "takes 2 parameters"]);
    complains(&run(&import("nothing", ""), &[]), &["no such function"]);
    let output = run(r#"(module (import "env" "f" (func)) (func (export "_start")))"#, &[]);
    complains(&output, &["`env::f`, which this host does not provide"]);
    complains(&run("(module (memory i64 1))", &[]), &["memory64"]);
    complains(&run("(module (memory 1 1 shared))", &[]), &["shared memory"]);
}

#[test]
fn a_module_without_the_imports_just_runs() {
    let module = r#"(module (import "wasi_snapshot_preview1" "fd_write"
            (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
        (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))"#;
    let output = run(module, &["--report"]);
    assert!(output.status.success());
    assert_eq!(stdout(&output), "hello\n");
    assert_eq!(stderr(&output), "No kernel was launched.\n");
}

#[test]
fn invokes_functions() {
    let module = r#"(module (global $g (mut i32) (i32.const 0))
        (func (export "_initialize") (global.set $g (i32.const 5)))
        (func (export "f") (param i32 i64 f32 f64) (result i32 i64 f32 f64)
            (i32.add (local.get 0) (global.get $g)) (local.get 1) (local.get 2) (local.get 3))
        (func (export "_start") unreachable))"#;
    let output = run(module, &["--invoke", "f", "--", "-7", "0xff", "1.5", "-0.25"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "-2\n255\n1.5\n-0.25\n"));
    let output = run(module, &["--invoke", "f", "1", "-2", "3", "4"]);
    assert_eq!(stdout(&output), "6\n-2\n3\n4\n");
    complains(&run(module, &["--invoke", "g"]), &["no function `g`", "`_initialize`, `f`"]);
    complains(&run(module, &["--invoke", "f", "1"]), &["(i32, i64, f32, f64), and 1 were given"]);
    complains(&run(module, &["--invoke", "f", "1", "2", "3", "four"]), &["`four` is not a number of type f64"]);
    complains(&run("(module)", &[]), &["no function `_start`", "no functions at all"]);
    complains(&run(r#"(module (func (export "main")))"#, &[]), &["`_start`", "`main`", "--invoke"]);
}

/// Writes its arguments, one after another with their final zeroes, and its environment.
const ECHO: &str = r#"(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $args_sizes (i32.const 0) (i32.const 12)))
    (drop (call $args (i32.const 100) (i32.const 1000)))
    (i32.store (i32.const 8) (i32.const 1000))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32)))
    (drop (call $env_sizes (i32.const 0) (i32.const 12)))
    (drop (call $env (i32.const 100) (i32.const 1000)))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32)))))"#;

#[test]
fn passes_arguments_and_environment() {
    let output = run(ECHO, &["--env", "A=1", "--env", "B=x=y", "--", "one", "--two", "three words"]);
    assert_eq!(stdout(&output), "guest.wat\0one\0--two\0three words\0A=1\0B=x=y\0");
    let output = run(ECHO, &["--env", "novalue"]);
    assert!(!output.status.success() && stderr(&output).contains("NAME=VALUE"));
}

#[test]
fn opens_directories() {
    let files = Files::new();
    files.put("inside.txt", "from the host");
    let module = files.put(
        "guest.wat",
        r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "inside.txt")
  (func (export "_start") (local $error i32)
    (local.set $error (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 10) (i32.const 0)
      (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 0)))
    (if (local.get $error) (then (call $exit (i32.const 9))))
    (i32.store (i32.const 8) (i32.const 1000))
    (i32.store (i32.const 12) (i32.const 100))
    (drop (call $read (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 12)))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32)))))"#,
    );
    let module = module.to_str().unwrap();
    let directory = format!("{}::/data", files.path().display());
    let output = wavelift(["run", module, "--dir", &directory]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "from the host"), "{}", stderr(&output));
    assert_eq!(wavelift(["run", module]).status.code(), Some(9));
    complains(&wavelift(["run", module, "--dir", "/no/such/place"]), &["`/no/such/place` does not exist"]);
}

#[test]
fn adapters_that_are_not_there() {
    let module = parallel_for(1, 16, 8, 1);
    complains(&run(&module, &["--adapter", "No Such Card 9000"]), &["no adapter `No Such Card 9000`"]);
    complains(&run(&module, &["--adapter", "999"]), &["no adapter `999`"]);
    complains(&run(&module, &["--adapter", "0", "--device", "cpu"]), &["one or the other"]);
    let output = run(&module, &["--device", "toaster"]);
    assert!(!output.status.success() && stderr(&output).contains("sequential"));
}

#[test]
fn reports_what_ran_where() {
    let output = run(&parallel_for(1, 16, 8, 1), &["--device", "cpu", "--report"]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    for part in ["kernel", "invocations", "upload", "download", "ids", "CPU (", "16"] {
        assert!(said.contains(part), "`{part}` in: {said}");
    }
    assert_eq!(stdout(&output), "");
    let output = run(&parallel_for(3, 16, 8, 1), &["--device", "cpu", "--report"]);
    assert!(stderr(&output).contains("Trapped: an integer was divided by zero."), "{}", stderr(&output));
}

#[test]
fn says_once_that_there_is_no_gpu() {
    let devices = stdout(&wavelift(["devices"]));
    assert!(devices.contains("CPU (") && devices.contains("largest buffer"), "{devices}");
    let output = run(&parallel_for(1, 16, 8, 1), &[]);
    let hardware = devices.contains("discrete GPU") || devices.contains("integrated GPU");
    let expected = usize::from(!hardware);
    assert_eq!(stderr(&output).matches("wavelift: no hardware GPU found; running on CPU (").count(), expected);
    assert_eq!(stderr(&run(&parallel_for(1, 16, 8, 1), &["--device", "sequential"])), "");
}

#[test]
fn verifies() {
    for device in ["cpu", "sequential"] {
        let output = run(&parallel_for(1, 16, 8, 1), &["--device", device, "--verify", "--sync", "--report"]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stderr(&output).contains("1 verified"), "{}", stderr(&output));
    }
}

#[test]
fn inspects_modules_without_kernels_and_names_those_there_are() {
    let files = Files::new();
    let plain = files.put("plain.wat", r#"(module (func (export "_start")))"#);
    let output = wavelift(["inspect", plain.to_str().unwrap()]);
    assert!(output.status.success() && stdout(&output).contains("has no kernels"), "{}", stdout(&output));
    let kernels = files.put("kernels.wat", parallel_for(1, 1, 8, 1));
    let output = wavelift(["inspect", kernels.to_str().unwrap()]);
    let said = stdout(&output);
    assert!(output.status.success() && said.contains("ids") && said.contains("dies"), "{said}");
    assert!(!said.contains("main"), "`main` is in the table and has no kernel's type: {said}");
    let text = r#"(module (func (export "kernel") (param i32 i32 i32)) (func (export "other") (param i32 i32 i32)))"#;
    let module = files.put("module.wat", text);
    let said = stdout(&wavelift(["inspect", module.to_str().unwrap()]));
    assert!(said.contains("kernel") && said.contains("yes") && !said.contains("other"), "{said}");
}

#[test]
fn says_once_what_holds_of_many_plain_updates() {
    let files = Files::new();
    let update = |offset: u32| {
        format!(
            "(i32.store offset={offset} (local.get $p)
               (i32.add (i32.load offset={offset} (local.get $p)) (local.get $i)))"
        )
    };
    for (updates, expected) in [(1, ""), (2, ", and at one more place"), (4, ", and at 3 more places")] {
        let body: String = (0..updates).map(|number| update(4 * number)).collect();
        let text = format!(
            "(module (memory 1) (func (export \"kernel\") (param $i i32) (param i32 i32) (param $p i32) (param i32) {body}))"
        );
        let said = stdout(&wavelift(["inspect", files.put("updates.wat", text).to_str().unwrap()]));
        let notes: Vec<&str> = said.lines().filter(|line| line.contains("updates are lost")).collect();
        assert!(notes.len() == 1 && notes[0].contains("one place for all invocations"), "{said}");
        let (_, place) = notes[0].split_once("byte offset ").unwrap();
        let (offset, more) = place.split_once(").").unwrap().0.split_at(4);
        assert!(offset.starts_with("0x") && more == expected, "{offset}{more}");
    }
}

#[test]
fn translates_only_kernels() {
    let files = Files::new();
    let module = files.put("kernels.wat", parallel_for(1, 1, 8, 1));
    let module = module.to_str().unwrap();
    let translate = |kernel: &str| wavelift(["translate", module, "--kernel", kernel, "-o", "-"]);
    complains(&translate("nothing"), &["no function `nothing`", "`ids`", "`dies`"]);
    complains(&translate("main"), &["`main` is no kernel"]);
    complains(&translate("get_device"), &["`get_device` is no kernel"]);
}

#[test]
fn a_reader_that_goes_away() {
    for arguments in [&["devices"][..], &["--help"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wavelift"));
        let piped = command.args(arguments).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = piped.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(stderr(&output), "");
        assert!(output.status.code().is_some());
    }
}

#[test]
fn usage_errors() {
    for arguments in [&[][..], &["fly"], &["run"], &["translate", "x.wasm"]] {
        let output = wavelift(arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(!stderr(&output).contains("panicked"));
    }
}
