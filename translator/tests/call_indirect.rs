//! Indirect calls: a switch over the table as the launch finds it, with Wasm's traps.

mod calls_support;
mod common;

use std::collections::HashSet;

use calls_support::Program;
use wavelift_translator::ir::{Exit, StmtKind};
use wavelift_translator::{Environment, Module, Options, Shape, TableEntry, TrapKind, testing, translate};

const UNARY: &str = "(type $unary (func (param i32) (result i32)))
  (type $same (func (param i32) (result i32)))
  (func $double (type $unary) (i32.mul (local.get 0) (i32.const 2)))
  (func $square (type $same) (i32.mul (local.get 0) (local.get 0)))
  (func $divide (type $unary) (i32.div_u (i32.const 100) (local.get 0)))
  (func $other (param i64) (result i32) (i32.const 9))
  (func $early (type $unary)
    (if (i32.lt_u (local.get 0) (i32.const 5)) (then (return (i32.const 77))))
    (i32.sub (local.get 0) (i32.const 5)))";

fn unary(table: &str) -> Program {
    Program::of(&format!("{UNARY} {table}"), "(call_indirect (type $unary) (local.get $b) (local.get $a))")
}

#[test]
fn every_entry_is_called_or_traps_as_in_wasm() {
    let program = unary("(table 9 funcref) (elem (i32.const 1) func $double $square $other $divide $double $early)");
    let ends = program.run(&[
        (0, 3),
        (1, 21),
        (2, 7),
        (3, 7),
        (4, 7),
        (4, 0),
        (5, 4),
        (6, 4),
        (6, 5),
        (7, 1),
        (8, 1),
        (9, 1),
        (0x8000_0000, 1),
        (u32::MAX, 1),
    ]);
    let null = Err(TrapKind::NullTableEntry);
    let beyond = Err(TrapKind::TableOutOfBounds);
    let expected = [
        null,
        Ok(42),
        Ok(49),
        Err(TrapKind::IndirectCallType),
        Ok(14),
        Err(TrapKind::DivideByZero),
        Ok(8),
        Ok(77),
        Ok(0),
        null,
        null,
        beyond,
        beyond,
        beyond,
    ];
    assert_eq!(ends, expected);
}

#[test]
fn an_empty_table_and_a_table_without_fitting_functions_always_trap() {
    let empty = unary("(table 0 funcref)");
    assert_eq!(empty.run(&[(0, 0), (1, 0)]), [Err(TrapKind::TableOutOfBounds); 2]);
    let others = unary("(table 2 funcref) (elem (i32.const 1) func $other)");
    let expected =
        [TrapKind::NullTableEntry, TrapKind::IndirectCallType, TrapKind::TableOutOfBounds].map(Result::<u32, _>::Err);
    assert_eq!(others.run(&[(0, 0), (1, 0), (2, 0)]), expected);
}

#[test]
fn a_constant_entry_is_a_direct_call() {
    let table = "(table 4 funcref) (elem (i32.const 1) func $double $other $kernel)";
    for (entry, expected) in [
        (0, Err(TrapKind::NullTableEntry)),
        (1, Ok(10)),
        (2, Err(TrapKind::IndirectCallType)),
        (3, Err(TrapKind::IndirectCallType)),
        (4, Err(TrapKind::TableOutOfBounds)),
        (-1, Err(TrapKind::TableOutOfBounds)),
    ] {
        let body = format!("(call_indirect (type $unary) (local.get $b) (i32.const {entry}))");
        let program = Program::of(&format!("{UNARY} {table}"), &body);
        assert_eq!(program.run(&[(0, 5)]), [expected], "{entry}");
    }
}

#[test]
fn an_entry_that_callers_pass_as_a_constant_is_a_direct_call() {
    // What else is in the table has the same type, recurses, and is never called.
    let items = format!(
        "{UNARY} (table 5 funcref) (elem (i32.const 1) func $again $apply_triple $triple $double)
         (global $entry i32 (i32.const 4))
         (func $triple (type $unary) (i32.mul (local.get 0) (i32.const 3)))
         (func $again (type $unary) (call_indirect (type $unary) (local.get 0) (local.get 0)))
         (func $apply (param $f i32) (param $x i32) (result i32)
           (call_indirect (type $unary) (local.get $x) (local.get $f)))
         (func $twice (param $f i32) (param $x i32) (result i32)
           (call $apply (local.get $f) (call $apply (local.get $f) (local.get $x))))
         (func $apply_triple (type $unary) (call $twice (i32.const 3) (local.get 0)))"
    );
    for (body, expected) in [
        ("(call $twice (i32.const 3) (local.get $b))", Ok(45)),
        ("(call $twice (i32.const 4) (local.get $b))", Ok(20)),
        ("(call $apply (i32.const 0) (local.get $b))", Err(TrapKind::NullTableEntry)),
        ("(call $apply (i32.const 5) (local.get $b))", Err(TrapKind::TableOutOfBounds)),
    ] {
        let program = Program::of(&items, body);
        assert_eq!(program.run(&[(0, 5)]), [expected], "{body}");
        assert!(!program.stages().inlined.to_string().contains("switch v") || expected.is_err(), "{body}");
    }
    Program::of(&items, "(call $twice (global.get $entry) (local.get $b))").stages();
    for body in ["(call $apply (i32.const 1) (local.get $b))", "(call $apply (local.get $a) (local.get $b))"] {
        assert_eq!(Program::of(&items, body).refusal(), "recursion (`again` calls itself)", "{body}");
    }
}

#[test]
fn several_tables_and_several_results() {
    let items = "(table $first 2 funcref) (table $second 3 funcref)
      (elem (table $second) (i32.const 0) func $swap $sum)
      (elem (table $first) (i32.const 1) func $sum)
      (type $pair (func (param i32 i32) (result i32 i32)))
      (func $swap (type $pair) (local.get 1) (local.get 0))
      (func $sum (type $pair)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 1) (i32.const 2))))
        (i32.add (local.get 0) (local.get 1)) (i32.const 10))";
    let body = "(call_indirect $second (type $pair) (local.get $b) (i32.const 3) (local.get $a)) i32.sub";
    let expected = [Ok(3u32.wrapping_sub(8)), Ok(8 + 3 - 10), Err(TrapKind::NullTableEntry)];
    assert_eq!(Program::of(items, body).run(&[(0, 8), (1, 8), (2, 8)]), expected);
    assert_eq!(Program::of(items, body).run(&[(1, 0)]), [Ok(1u32.wrapping_sub(2))]);
}

#[test]
fn an_indirect_call_in_front_of_unreachable_is_a_trap() {
    let items = format!("{UNARY} (table 2 funcref) (elem (i32.const 1) func $kernel)");
    let body = "(if (result i32) (local.get $a)
      (then (call_indirect (type $unary) (local.get $b) (local.get $b)) unreachable) (else (i32.const 4)))";
    let program = Program::of(&items, body);
    assert_eq!(program.run(&[(0, 1), (1, 1), (1, 0)]), [Ok(4), Err(TrapKind::Unreachable), Err(TrapKind::Unreachable)]);
    assert!(program.module.tables_reached(program.kernel).is_empty());
}

/// Sizes of the shaders for tables in which `entry` says what each place holds: 0 null, then functions.
fn large(size: u32, entry: impl Fn(u32) -> u32) -> (Program, usize) {
    let functions: String = (1..=8)
        .map(|n| format!("(func $f{n} (type $unary) (i32.add (local.get 0) (i32.const {n})))"))
        .collect::<Vec<_>>()
        .join("\n");
    let names = (0..size).map(|place| match entry(place) {
        0 => "(ref.null func)".to_string(),
        9 => "(ref.func $other)".to_string(),
        n => format!("(ref.func $f{n})"),
    });
    let names: Vec<String> = names.collect();
    let table = format!("{functions} (table {size} funcref) (elem (i32.const 0) funcref {})", names.join(" "));
    let program = unary(&table);
    let shape = Shape::initial(&program.module, program.kernel);
    let shader = translate(&program.module, program.kernel, &shape, &Options::default()).unwrap();
    (program, shader.words.len())
}

#[test]
fn large_tables_stay_small_code() {
    // Eight functions at the ends and in the middle of a table of 20,000.
    let sparse = |place: u32| if place % 2500 == 1 { place / 2500 + 1 } else { 0 };
    let (program, words) = large(20_000, sparse);
    assert!(words < 3_000, "{words} words");
    assert_eq!(
        program.run(&[(0, 1), (2501, 5), (17_501, 5), (17_502, 5), (19_999, 0), (20_000, 0)]),
        [
            Err(TrapKind::NullTableEntry),
            Ok(7),
            Ok(13),
            Err(TrapKind::NullTableEntry),
            Err(TrapKind::NullTableEntry),
            Err(TrapKind::TableOutOfBounds),
        ]
    );
    // Nothing but a mismatch from some place on.
    let (_, words) = large(5_000, |place| if place < 8 { place + 1 } else { 9 });
    assert!(words < 2_500, "{words} words");
}

#[test]
fn many_entries_that_share_functions_are_told_apart_by_bisection() {
    let (program, words) = large(600, |place| place % 8 + 1);
    // Each function stands once: what grows is the tree that numbers them.
    assert!(words < 600 * 35, "{words} words");
    assert_eq!(
        program.run(&[(0, 1), (7, 1), (303, 1), (599, 1), (600, 1)]),
        [Ok(2), Ok(9), Ok(9), Ok(9), Err(TrapKind::TableOutOfBounds)]
    );
    let strict = program.stages().strict;
    let mut depth = 0;
    let mut open = vec![(strict.body, 1)];
    while let Some((region, level)) = open.pop() {
        depth = depth.max(level);
        open.extend(strict.region(region).stmts.iter().flat_map(|s| s.kind.regions()).map(|r| (r, level + 1)));
    }
    assert!(depth < 30, "nested {depth} deep");
}

#[test]
fn a_mixed_table_traps_at_each_place() {
    let entry = |place: u32| [1, 0, 2, 9, 3, 9, 0, 4][place as usize % 8] * u32::from(place < 64);
    let (program, _) = large(80, entry);
    let places: Vec<(u32, u32)> = (0..84).map(|place| (place, 100)).collect();
    let expected: Vec<_> = (0..84)
        .map(|place| match (place, entry(place)) {
            (80.., _) => Err(TrapKind::TableOutOfBounds),
            (_, 0) => Err(TrapKind::NullTableEntry),
            (_, 9) => Err(TrapKind::IndirectCallType),
            (_, n) => Ok(100 + n),
        })
        .collect();
    assert_eq!(program.run(&places), expected);
}

#[test]
fn what_can_not_be_lifted_says_why() {
    let recursive = unary(
        "(table 2 funcref) (elem (i32.const 0) func $again)
         (func $again (type $unary) (call_indirect (type $unary) (local.get 0) (local.get 0)))",
    );
    assert_eq!(recursive.refusal(), "recursion (`again` calls itself)");
    let kernel = Program::of(
        "(type $k (func (param i32 i32 i32 i32 i32))) (table 1 funcref) (elem (i32.const 0) func $kernel)",
        "(call_indirect (type $k) (local.get 0) (local.get 0) (local.get 0) (local.get 0) (local.get 0) (local.get $a))
         (i32.const 1)",
    );
    assert_eq!(kernel.refusal(), "recursion (`kernel` calls itself)");
    let host = "(module (type $unary (func (param i32) (result i32))) (import \"host\" \"f\" (func $f (type $unary)))
      (table 1 funcref) (elem (i32.const 0) func $f)
      (func (export \"kernel\") (param i32 i32 i32)
        (drop (call_indirect (type $unary) (local.get 0) (local.get 0)))))";
    let module = Module::parse(wat::parse_str(host).unwrap()).unwrap();
    let refusal = |shape: &Shape| translate(&module, 1, shape, &Options::default()).unwrap_err().to_string();
    assert!(refusal(&Shape::initial(&module, 1)).contains("a call of the host function `host::f`"));
    let environment =
        Environment { tables: vec![vec![TableEntry::Null, TableEntry::Foreign]], ..Environment::default() };
    let foreign = Shape { environment, ..Shape::distinct(0) };
    assert!(refusal(&foreign).contains("an indirect call through a table with functions of other modules"));
}

#[test]
fn the_launchs_table_counts_and_not_the_modules() {
    let program = unary("(table 2 funcref) (elem (i32.const 0) func $double)");
    let square = program.module.find_function("square").unwrap();
    let tables = vec![vec![TableEntry::Null, TableEntry::Function(square)]];
    let environment = Environment { tables, ..Environment::default() };
    let shape = Shape { environment, ..Shape::distinct(1) };
    let lifted = testing::lifted(&program.module, program.kernel, &shape).unwrap();
    assert_eq!(lifted.keys().copied().collect::<HashSet<_>>(), HashSet::from([square, program.kernel]));
    let strict = testing::strict(&program.module, program.kernel, &shape, &Options::default()).unwrap();
    let traps: HashSet<TrapKind> = strict
        .regions
        .iter()
        .filter_map(|region| match region.exit {
            Exit::Trap(kind) => Some(kind),
            _ => None,
        })
        .collect();
    assert!(traps.contains(&TrapKind::NullTableEntry) && !traps.contains(&TrapKind::IndirectCallType));
}

#[test]
fn a_kernel_needs_the_tables_that_it_may_call_through() {
    let text = "(module (type $a (func (param i32))) (type $b (func))
      (table $none 1 funcref) (table $direct 1 funcref) (table $through 1 funcref) (table $cut 1 funcref)
      (func $leaf (type $b) (call_indirect $through (type $b) (i32.const 0)))
      (func $fits (type $a) (call $leaf))
      (func (export \"calls\") (param i32 i32 i32)
        (call_indirect $direct (type $a) (i32.const 1) (local.get 0)))
      (func (export \"does_not\") (param i32 i32 i32)
        (block (br_if 0 (local.get 0)) (call_indirect $cut (type $b) (i32.const 0)) unreachable)))";
    let module = Module::parse(wat::parse_str(text).unwrap()).unwrap();
    let reached = |name| module.tables_reached(module.find_function(name).unwrap()).to_vec();
    assert_eq!(reached("calls"), [1, 2]);
    assert!(reached("does_not").is_empty());
    assert_eq!(reached("calls"), [1, 2], "the answer is kept");
    let initial = Environment::initial(&module, module.find_function("calls").unwrap());
    assert_eq!(initial.tables, [vec![], vec![TableEntry::Null], vec![TableEntry::Null]]);
}

#[test]
fn a_new_instances_table_is_what_the_active_segments_say() {
    let text =
        "(module (import \"host\" \"base\" (global $base i32)) (func $f) (func $g) (table 5 funcref) (table 1 funcref)
      (elem (i32.const 1) func $f $g) (elem (i32.const 2) funcref (ref.func $f) (ref.null func))
      (elem (global.get $base) func $g) (elem func $g) (elem declare func $f) (elem (i32.const 4) func $g))";
    let module = Module::parse(wat::parse_str(text).unwrap()).unwrap();
    let (null, f, g) = (TableEntry::Null, TableEntry::Function(0), TableEntry::Function(1));
    assert_eq!(module.initial_table(0), [null, f, f, null, g]);
    assert_eq!(module.initial_table(1), [null]);
    assert!(module.initial_table(2).is_empty());
}

#[test]
fn no_indirect_call_is_left_after_inlining() {
    let stages = unary("(table 3 funcref) (elem (i32.const 1) func $double)").stages();
    let calls = |f: &wavelift_translator::ir::Function| {
        let kinds = f.regions.iter().flat_map(|region| &region.stmts).map(|stmt| &stmt.kind);
        kinds.filter(|kind| matches!(kind, StmtKind::CallIndirect { .. })).count()
    };
    assert!(stages.lifted.values().any(|f| calls(f) == 1 && f.to_string().contains("call_indirect 0 (")));
    assert_eq!(calls(&stages.inlined), 0);
}
