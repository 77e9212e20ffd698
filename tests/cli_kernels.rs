//! `wavelift inspect` and `wavelift translate` on kernels that can be lifted and kernels that can't.

use std::process::{Command, Output};

const MODULE: &str = r#"(module
  (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
  (memory (export "memory") 1)
  (table 3 funcref)
  (elem (i32.const 0) $copies $wide $yields)
  (func $copies (param $i i32) (param i32 i32) (param $p i32) (param i32) (param $q i32) (param i32)
    (i32.store
      (i32.add (local.get $q) (i32.shl (local.get $i) (i32.const 2)))
      (i32.load (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))))))
  (func $wide (param $i i32) (param i32 i32) (param $p i32) (param i32)
    (i64.store
      (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 3)))
      (i64.mul (i64.extend_i32_u (local.get $i)) (i64.const 0x100000001))))
  (func $yields (param i32 i32 i32) (drop (call $sched_yield))))"#;

fn wavelift(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wavelift")).args(arguments).env("WAVELIFT_CACHE_DIR", "").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with the module above in it, and the module's path.
fn module() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernels.wat");
    std::fs::write(&path, MODULE).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn inspect_says_what_each_kernel_does_and_why_one_can_not_be_lifted() {
    let (_folder, module) = module();
    let output = wavelift(&["inspect", &module]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let line = |kernel: &str| said.lines().find(|line| line.contains(kernel)).unwrap_or_default().to_string();
    assert!(line(" copies ").contains("buffer 0: 1 load") && line(" copies ").contains("yes"), "{said}");
    assert!(said.contains("buffer 1: 1 store"), "{said}");
    assert!(line(" wide ").contains("i64") && line(" wide ").contains("yes"), "{said}");
    assert!(line(" yields ").contains("no [1]"), "{said}");
    let reason = said.lines().find(|line| line.starts_with("[1] ")).unwrap_or_default();
    assert!(reason.contains("sched_yield") && reason.contains("byte offset 0x"), "{said}");
    assert!(said.lines().last().unwrap().contains("rehearses some iterations"), "{said}");
}

/// One kernel accesses words in order, the other one calls itself.
const FORMS: &str = r#"(module
  (memory 1)
  (table 2 funcref)
  (elem (i32.const 0) $doubles $climbs)
  (func $doubles (param $i i32) (param i32 i32) (param $p i32) (param i32) (param $q i32) (param i32)
    (i32.store (i32.add (local.get $q) (i32.shl (local.get $i) (i32.const 2)))
      (i32.shl (i32.load (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2)))) (i32.const 1))))
  (func $steps (param $n i32) (result i32)
    (if (result i32) (local.get $n)
      (then (i32.add (call $steps (i32.sub (local.get $n) (i32.const 1))) (i32.const 3)))
      (else (i32.const 1))))
  (func $climbs (param $i i32) (param i32 i32) (param $p i32) (param i32)
    (i32.store (local.get $p) (call $steps (i32.and (local.get $i) (i32.const 3))))))"#;

#[test]
fn inspect_tells_of_forms_beside_the_exact_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forms.wat");
    std::fs::write(&path, FORMS).unwrap();
    let output = wavelift(&["inspect", path.to_str().unwrap()]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let line = |kernel: &str| said.lines().find(|line| line.contains(kernel)).unwrap_or_default().to_string();
    assert!(line(" doubles ").contains("four invocations as one") && line(" doubles ").contains("yes"), "{said}");
    let climbs = line(" climbs ");
    assert!(climbs.contains("assuming that recursion is shallow") && climbs.contains("assuming [1]"), "{said}");
    assert!(said.lines().last().unwrap().contains("recursion (`steps` calls itself)"), "{said}");
}

#[test]
fn translate_writes_each_form() {
    let (folder, module) = module();
    let to = folder.path().join("out");
    let emit = |form: &str, kernel: &str| {
        let output = wavelift(&["translate", &module, "--kernel", kernel, "--emit", form, "-o", to.to_str().unwrap()]);
        assert!(output.status.success(), "{form}: {}", text(&output.stderr));
        std::fs::read(&to).unwrap()
    };
    let spirv = emit("spirv", "copies");
    assert_eq!(spirv[..4], 0x0723_0203u32.to_le_bytes());
    assert_eq!(emit("spirv", "1"), spirv, "the kernel's index names it, too");
    let assembly = text(&emit("spirv-asm", "copies"));
    assert!(assembly.contains("OpEntryPoint GLCompute") && assembly.contains("OpStore"), "{assembly}");
    let ir = text(&emit("ir", "wide"));
    assert!(ir.contains("`wide`"), "{ir}");
}

#[test]
fn translate_says_why_not() {
    let (folder, module) = module();
    let to = folder.path().join("out");
    let output = wavelift(&["translate", &module, "--kernel", "yields", "-o", to.to_str().unwrap()]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("sched_yield") && said.contains("byte offset 0x") && said.lines().count() == 1, "{said}");
    assert!(!to.exists());
    let nowhere = folder.path().join("no").join("folder");
    let output = wavelift(&["translate", &module, "--kernel", "copies", "-o", nowhere.to_str().unwrap()]);
    assert!(!output.status.success() && text(&output.stderr).contains("can't be written"), "{output:?}");
}

/// Each access is by another sort of address: known, read before the launch, or neither.
const POINTERS: &str = r#"(module
  (memory 1)
  (table 1 funcref)
  (elem (i32.const 0) $points)
  (func $points (param $i i32) (param i32 i32) (param $p i32) (param i32) (param $q i32) (param i32)
    (local $at i32)
    (local.set $at (i32.shl (local.get $i) (i32.const 2)))
    (i32.store (i32.add (local.get $q) (local.get $at))
      (i32.add (i32.load (i32.add (i32.load offset=4 (i32.load (i32.const 64))) (local.get $at)))
        (i32.add (i32.load (i32.load (i32.add (local.get $p) (local.get $at))))
          (i32.load (select (local.get $p) (local.get $q) (i32.and (local.get $i) (i32.const 1)))))))))"#;

#[test]
fn inspect_says_when_each_access_is_resolved() {
    let (folder, _) = module();
    let path = folder.path().join("pointers.wat");
    std::fs::write(&path, POINTERS).unwrap();
    let output = wavelift(&["inspect", path.to_str().unwrap()]);
    let said = text(&output.stdout);
    for part in [
        "buffer 0: 1 load (at compile time)",
        "buffer 1: 1 store (at compile time)",
        "linear memory: 1 load (at compile time)",
        "one of several places: 1 load (at run time, by range)",
        "a loaded pointer: 2 loads (at launch)",
        "a loaded pointer: 1 load (at run time, by range)",
    ] {
        assert!(said.contains(part), "`{part}` is missing:\n{said}");
    }
}

/// Two kernels find their method in memory; among those of its type one calls itself.
const METHODS: &str = r#"(module
  (type $f (func (param i32) (result i32)))
  (memory 1)
  (table 5 funcref)
  (elem (i32.const 1) $doubles $again $calls $recurses)
  (data (i32.const 64) "\01\00\00\00\60\00\00\00")
  (data (i32.const 96) "\02\00\00\00")
  (func $doubles (type $f) (i32.shl (local.get 0) (i32.const 1)))
  (func $again (type $f) (if (result i32) (local.get 0)
    (then (call $again (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 7))))
  (func $calls (param $i i32) (param i32 i32) (param $p i32) (param i32)
    (i32.store (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2)))
      (call_indirect (type $f) (local.get $i) (i32.load (i32.const 64)))))
  (func $recurses (param $i i32) (param i32 i32) (param $p i32) (param i32)
    (i32.store (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2)))
      (call_indirect (type $f) (local.get $i) (i32.load (i32.load (i32.const 68)))))))"#;

#[test]
fn inspect_and_translate_know_a_new_instances_memory() {
    let (folder, _) = module();
    let path = folder.path().join("methods.wat").display().to_string();
    std::fs::write(&path, METHODS).unwrap();
    let said = text(&wavelift(&["inspect", &path]).stdout);
    let line = |kernel: &str| said.lines().find(|line| line.contains(kernel)).unwrap_or_default().to_string();
    assert!(line(" calls ").contains("at launch [1]") && line(" calls ").contains("buffer 0: 1 store"), "{said}");
    assert!(line(" recurses ").contains("at launch [2]"), "{said}");
    let one = "[1] Which functions `calls` calls is read from a word of linear memory before each launch";
    assert!(line(one).ends_with("With what a new instance has there it can be lifted."), "{said}");
    let other = line("[2] Which");
    assert!(other.contains("is read from 2 words") && other.contains("`again` calls itself"), "{said}");
    let translate = |kernel: &str| wavelift(&["translate", &path, "--kernel", kernel, "--emit", "ir", "-o", "-"]);
    let (calls, recurses) = (translate("calls"), translate("recurses"));
    assert!(calls.status.success() && text(&calls.stdout).contains("`calls`"), "{calls:?}");
    assert!(!recurses.status.success() && text(&recurses.stderr).contains("`again` calls itself"), "{recurses:?}");
}

/// The same update by atomic and by plain accesses: of a place that data decides, and of one for all.
const UPDATES: &str = r#"(module
  (memory 1)
  (table 3 funcref)
  (elem (i32.const 0) $atomic $plain $own)
  (func $atomic (param $i i32) (param i32 i32) (param $p i32) (param i32) (param $q i32) (param i32)
    (drop (i32.atomic.rmw.add (i32.load (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2)))) (i32.const 1)))
    (drop (i64.atomic.rmw.xor (local.get $q) (i64.const 1))))
  (func $plain (param $i i32) (param i32 i32) (param $p i32) (param i32) (param $q i32) (param i32) (local $at i32)
    (local.set $at (i32.add (local.get $q)
      (i32.and (i32.load (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2)))) (i32.const 252))))
    (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1)))
    (i32.store offset=1024 (local.get $q) (i32.xor (i32.load offset=1024 (local.get $q)) (local.get $i))))
  (func $own (param $i i32) (param i32 i32) (param $p i32) (param i32) (param $q i32) (param i32) (local $at i32)
    (local.set $at (i32.add (local.get $q) (i32.mul (local.get $i) (i32.load (local.get $p)))))
    (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1)))))"#;

#[test]
fn inspect_counts_atomics_and_hints_at_updates_that_lack_them() {
    let (folder, _) = module();
    let path = folder.path().join("updates.wat");
    std::fs::write(&path, UPDATES).unwrap();
    let output = wavelift(&["inspect", path.to_str().unwrap()]);
    let said = text(&output.stdout);
    assert!(said.contains("buffer 1: 1 atomic access") && said.contains("64-bit atomics"), "{said}");
    let hints: Vec<&str> = said.lines().filter(|line| line.starts_with("Note: ")).collect();
    let [data, all] = hints[..] else { panic!("{said}") };
    assert!(data.contains("`plain` loads a place that data decides"), "{said}");
    assert!(all.contains("`plain` loads one place for all invocations"), "{said}");
}

#[test]
fn emulate_takes_64_bit_types_out_of_a_kernel() {
    let (_folder, module) = module();
    let assembly = |more: &[&str]| {
        let arguments = ["translate", &module, "--kernel", "wide", "--emit", "spirv-asm", "-o", "-"];
        let output = wavelift(&[&arguments, more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(assembly(&[]).contains("OpCapability Int64"));
    assert!(assembly(&["--emulate", "f64"]).contains("OpCapability Int64"));
    for types in ["i64", "i64,f64"] {
        assert!(!assembly(&["--emulate", types]).contains("OpCapability Int64"), "{types}");
    }
    let output = wavelift(&["translate", &module, "--kernel", "wide", "--emulate", "f32", "-o", "-"]);
    assert!(!output.status.success() && text(&output.stderr).contains("f32"), "{}", text(&output.stderr));
}

#[test]
fn refusals_name_the_line_of_source() {
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/host/lines/lines.O2.wasm");
    let source = include_str!("host/lines/lines.c");
    let line = 1 + source.lines().position(|line| line.contains("__builtin_wasm_memory_grow")).unwrap();
    let place = format!(", lines.c:{line}).");
    let said = text(&wavelift(&["inspect", module]).stdout);
    assert!(said.lines().any(|line| line.ends_with(&place)), "{said}");
    let output = wavelift(&["translate", module, "--kernel", "grows", "-o", "-"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).trim_end().ends_with(&place), "{}", text(&output.stderr));
}
