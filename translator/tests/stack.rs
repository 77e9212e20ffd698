//! Kernels that keep things on the shadow stack, in mutable globals and in linear memory, as compilers write them: what
//! the pipeline makes of them does the same, and slots at constant addresses become values.

use wavelift_translator::ir::{Const, Function, LowOp, Op, StmtKind};
use wavelift_translator::{Module, Options, Shape, testing, translate};

mod common;
mod stack_support;

use stack_support::{ENTER, LEAVE, RESULT, check, kernel, module, run, uses, uses_stack};

/// As unoptimised code has it: every variable in a slot, the buffer's pointer and the counter of a loop, too.
#[test]
fn slots_become_values() {
    let strict = check(&kernel(
        "",
        &format!(
            "{ENTER}
             local.get $fp local.get $buffer i32.store offset=40
             local.get $fp local.get $x i32.store offset=12
             local.get $fp i32.const 0 i32.store offset=8
             loop
               local.get $fp local.get $fp i32.load offset=12 i32.const 3 i32.mul local.get $fp i32.load offset=8 i32.add i32.store offset=12
               local.get $fp local.get $fp i32.load offset=8 i32.const 1 i32.add i32.store offset=8
               local.get $fp i32.load offset=8 i32.const 10 i32.lt_u br_if 0
             end
             local.get $fp i32.load offset=40 local.get $id i32.const 2 i32.shl i32.add local.get $fp i32.load offset=12 {RESULT}
             {LEAVE}"
        ),
    ));
    assert!(!uses_stack(&strict), "{strict}");
    assert!(
        !uses(&strict, |op| matches!(op, LowOp::LoadWord { slot } | LowOp::StoreWord { slot } if *slot != 0)),
        "{strict}"
    );
}

/// Slots of all sizes that overlap: parts of words, halves of doubles, floats read as integers.
#[test]
fn overlapping_slots_become_words() {
    let strict = check(&kernel(
        "(local $y i64)",
        &format!(
            "{ENTER}
             local.get $fp local.get $x i64.extend_i32_u i64.const 0x100000003 i64.mul i64.store offset=8
             local.get $fp local.get $x i32.store8 offset=9
             local.get $fp local.get $x i32.const 5 i32.shr_u i32.store16 offset=14
             local.get $fp local.get $x f32.convert_i32_s f32.store offset=24
             local.get $fp f64.const 1.25 f64.store offset=32
             local.get $fp local.get $x i32.store8 offset=48
             local.get $at
             local.get $fp i64.load offset=8 local.get $fp i64.load32_s offset=12 i64.xor
             local.get $fp i64.load16_s offset=10 i64.add local.get $fp i64.load8_u offset=9 i64.add
             local.get $fp i32.load offset=24 i64.extend_i32_u i64.add
             local.get $fp i64.load offset=32 i64.xor local.get $fp f64.load offset=32 i64.trunc_sat_f64_s i64.add
             local.get $fp i64.load8_s offset=48 i64.add
             local.tee $y local.get $y i64.const 32 i64.shr_u i64.xor i32.wrap_i64 {RESULT}
             {LEAVE}"
        ),
    ));
    assert!(!uses_stack(&strict), "{strict}");
}

/// `array[(k + c) % 16]` with a constant so large that the address wraps on the way: no frame lies that deep.
#[test]
fn constants_of_indices_are_no_frames() {
    let constant = 0xd000_0014_u32 / 4;
    let place = format!(
        "local.get $fp i32.const {} i32.add local.get $n i32.const 2 i32.shl i32.add
         local.get $n i32.const {constant} i32.add i32.const 4 i32.shr_u i32.const 6 i32.shl i32.sub",
        constant.wrapping_mul(4) as i32
    );
    let strict = check(&kernel(
        "(local $n i32)",
        &format!(
            "global.get $sp i32.const 64 i32.sub local.set $fp
             loop
               {place} local.get $x local.get $n i32.mul i32.store
               local.get $n i32.const 1 i32.add local.tee $n i32.const 16 i32.lt_u br_if 0
             end
             local.get $x i32.const 16 i32.rem_u local.set $n
             local.get $at {place} i32.load local.get $fp i32.load offset=20 i32.const 3 i32.mul i32.add {RESULT}"
        ),
    ));
    assert_eq!(strict.stack_words, 16, "{strict}");
}

/// A slot that holds another's address, handed to a function: `set(&a, x); set(*p = &a, ...)`.
#[test]
fn addresses_of_slots_in_slots_become_values() {
    let strict = check(&kernel(
        "",
        &format!(
            "{ENTER}
             local.get $fp i32.const 7 i32.store offset=4
             local.get $fp local.get $fp i32.const 4 i32.add i32.store offset=16
             local.get $fp local.get $fp i32.const 16 i32.add i32.store offset=28
             local.get $fp i32.load offset=28 i32.load local.get $x i32.const 9 i32.add call $set
             local.get $fp i32.const 20 i32.add local.get $x call $set
             local.get $at local.get $fp i32.load offset=4 local.get $fp i32.load offset=20 i32.xor {RESULT}
             {LEAVE}"
        ),
    ));
    assert!(!uses_stack(&strict), "{strict}");
}

/// Dozens of them, each of which is found to be reached through another slot when both are values already.
#[test]
fn many_addresses_of_slots_in_slots_become_values() {
    const PAIRS: u32 = 60;
    let pairs = (0..PAIRS).map(|pair| {
        let (at, pointer) = (8 * pair, 8 * pair + 4);
        format!(
            "local.get $fp local.get $x i32.const {pair} i32.add i32.store offset={at}
             local.get $fp local.get $fp i32.const {at} i32.add i32.store offset={pointer}
             local.get $fp i32.load offset={pointer} local.get $fp i32.load offset={pointer} i32.load i32.const 3 i32.mul i32.store
             local.get $x local.get $fp i32.load offset={at} i32.xor local.set $x "
        )
    });
    let strict = check(&kernel(
        "",
        &format!(
            "global.get $sp i32.const 512 i32.sub local.tee $fp global.set $sp {}
             local.get $at local.get $x {RESULT}
             local.get $fp i32.const 512 i32.add global.set $sp",
            pairs.collect::<String>()
        ),
    ));
    assert!(!uses_stack(&strict), "{strict}");
}

/// An array with computed indices, beside slots with constant ones; bytes, unaligned words, and below the frame.
#[test]
fn arrays_stay_memory_of_their_own() {
    let strict = check(&kernel(
        "(local $i i32)",
        &format!(
            "{ENTER}
             loop
               local.get $fp local.get $i i32.const 2 i32.shl i32.add local.get $x local.get $i i32.add i32.store
               local.get $i i32.const 1 i32.add local.tee $i i32.const 12 i32.lt_u br_if 0
             end
             local.get $fp local.get $x i32.const 31 i32.and i32.add local.get $x i32.store8 offset=3
             local.get $fp local.get $x i32.const 31 i32.and i32.add local.get $x i32.store16 offset=2
             local.get $fp local.get $x i32.const 5 i32.shr_u i32.const 31 i32.and i32.add local.get $x i64.extend_i32_s i64.store offset=1
             global.get $sp i32.const 16 i32.sub local.get $x i32.store offset=4
             local.get $at
             local.get $fp local.get $x i32.const 7 i32.shr_u i32.const 31 i32.and i32.add i32.load offset=5
             local.get $fp local.get $x i32.const 3 i32.shr_u i32.const 31 i32.and i32.add i64.load16_s offset=7 i32.wrap_i64 i32.add
             global.get $sp i32.const 12 i32.sub i32.load i32.xor {RESULT}
             {LEAVE}"
        ),
    ));
    assert!(uses_stack(&strict), "{strict}");
    // The word below the frame became a value.
    assert_eq!(strict.stack_words, 16);
}

/// Pointers to an array that are kept in memory: told apart from buffers when the kernel runs.
#[test]
fn pointers_to_the_stack_are_found_again() {
    let strict = check(&kernel(
        "(local $i i32)",
        &format!(
            "{ENTER}
             loop
               local.get $fp local.get $i i32.const 2 i32.shl i32.add local.get $x local.get $i i32.mul i32.store
               local.get $i i32.const 1 i32.add local.tee $i i32.const 8 i32.lt_u br_if 0
             end
             local.get $fp local.get $buffer i32.store offset=36
             local.get $fp local.get $fp i32.const 8 i32.add i32.store offset=40
             local.get $at
             local.get $fp local.get $x i32.const 1 i32.and i32.const 2 i32.shl i32.add i32.load offset=36 i32.load offset=4
             {RESULT}
             {LEAVE}"
        ),
    ));
    assert!(uses_stack(&strict), "{strict}");
}

/// Without names, the stack pointer is a global below whose value memory is accessed; but not one that the program sets, as
/// AssemblyScript's to objects with headers, which are memory that everybody sees.
#[test]
fn a_pointer_that_the_program_sets_is_no_stack_pointer() {
    let loads_below = |initial: u32| {
        let text = format!(
            "(module (memory (export \"memory\") 1) (global $sp (mut i32) (i32.const {initial})) {})",
            kernel("", "local.get $at global.get $sp i32.const 8 i32.sub i32.load local.get $x i32.add i32.store")
        );
        let module = Module::parse(wat::parse_str(&text).unwrap()).unwrap();
        testing::stages(&module, module.find_function("kernel").unwrap()).unwrap().strict
    };
    let is_shared = |strict: &Function| uses(strict, |op| matches!(op, LowOp::LoadWord { slot } if *slot != 0));
    assert!(!is_shared(&loads_below(1024)));
    assert!(is_shared(&loads_below(0)));
}

/// From the stack pointer on, memory is everybody's.
#[test]
fn the_callers_frames_are_linear_memory() {
    let strict = check(&kernel(
        "",
        "local.get $at global.get $sp i32.load offset=8 global.get $sp i32.const 16 i32.add i32.load8_u offset=3 i32.add
         local.get $x i32.add i32.store
         global.get $sp local.get $id i32.store8 offset=40",
    ));
    assert!(!uses_stack(&strict), "{strict}");
}

/// Tables of constants, and bytes that neighbours store beside each other.
#[test]
fn linear_memory_is_read_and_written() {
    check(&kernel(
        "",
        "local.get $at
         local.get $x i32.const 255 i32.and i32.load8_u offset=2048
         local.get $x i32.const 60 i32.and i32.load offset=2304 i32.xor
         local.get $x i32.const 127 i32.and f64.load offset=1100 i64.reinterpret_f64 i32.wrap_i64 i32.xor i32.store
         local.get $id local.get $x i32.store8 offset=3000
         local.get $id i32.const 1 i32.shl local.get $x i32.store16 offset=3101",
    ));
}

/// An invocation's globals are its own.
#[test]
fn globals_start_as_at_the_launch() {
    check(&kernel(
        "(local $i i32)",
        "loop
           global.get $count local.get $x i32.add global.set $count
           local.get $i i32.const 2 i32.rem_u if global.get $wide f64.const 1.5 f64.mul global.set $wide end
           block
             global.get $count i32.const 3 i32.and br_if 0
             i32.const 77 global.set $count
           end
           local.get $i i32.const 1 i32.add local.tee $i i32.const 9 i32.lt_u br_if 0
         end
         local.get $at global.get $count global.get $wide i32.trunc_sat_f64_s i32.add i32.store",
    ));
}

/// A frame whose size is not known before.
#[test]
fn dynamic_frames_have_room() {
    check(&kernel(
        "(local $i i32)",
        "global.get $sp local.get $x i32.const 7 i32.and i32.const 16 i32.mul i32.const 16 i32.add i32.sub local.tee $fp global.set $sp
         local.get $fp local.get $x i32.store local.get $fp i32.const 0 i32.store offset=8
         local.get $fp local.get $x i32.const 3 i32.and i32.add local.get $x i32.store8 offset=8
         local.get $at local.get $fp i32.load local.get $fp i32.load offset=8 i32.const 255 i32.and i32.add i32.store",
    ));
}

/// The same in a function that calls nothing: it leaves the stack pointer alone.
#[test]
fn dynamic_frames_below_the_stack_pointer_have_room() {
    let size = "local.get $x i32.const 15 i32.and i32.const 2 i32.shl i32.const 19 i32.add i32.const 112 i32.and";
    // Alone, and below an array of known size.
    for fixed in ["", "i32.const 16 i32.sub local.tee $fp local.get $x i32.store local.get $fp"] {
        check(&kernel(
            "",
            &format!(
                "global.get $sp {fixed} {size} i32.sub local.tee $fp
                 local.get $x i32.store local.get $fp i32.const 0 i32.store offset=4
                 local.get $fp local.get $x i32.const 3 i32.and i32.add local.get $x i32.store8 offset=3
                 local.get $at local.get $fp i32.load local.get $fp i32.load8_u offset=4 i32.add i32.store"
            ),
        ));
    }
}

/// An array of a larger alignment than the stack's, in a function that calls nothing: it begins further below than its size.
#[test]
fn aligned_frames_below_the_stack_pointer_have_room() {
    // The stack pointer is 1024.
    for (distance, mask) in [(32, -64), (80, -128), (480, -256), (32, -32)] {
        for more in [0, 48] {
            check(&kernel(
                "",
                &format!(
                    "global.get $sp i32.const {distance} i32.sub i32.const {mask} i32.and i32.const {more} i32.sub local.tee $fp
                     local.get $x i32.const 28 i32.and i32.add local.get $x i32.store
                     local.get $at
                     local.get $fp local.get $x i32.const 28 i32.and i32.add i32.load i32.const 3 i32.mul i32.store"
                ),
            ));
        }
    }
}

/// Optimisers write the sum with 64 as the difference with -64: a pointer that goes up a frame makes no arrays.
#[test]
fn pointers_that_go_up_take_no_room() {
    let text = kernel(
        "(local $row i32) (local $i i32)",
        "global.get $sp i32.const 256 i32.sub local.tee $fp global.set $sp
         local.get $fp local.set $row
         loop
           local.get $row local.get $x i32.const 60 i32.and i32.add local.get $x local.get $i i32.add i32.store
           local.get $row i32.const -64 i32.sub local.set $row
           local.get $i i32.const 1 i32.add local.tee $i i32.const 4 i32.lt_u br_if 0
         end
         local.get $at local.get $fp local.get $x i32.const 252 i32.and i32.add i32.load i32.store
         local.get $fp i32.const 256 i32.add global.set $sp",
    );
    check(&text);
    let module = module(&text);
    let kernel = module.exported_function("kernel").unwrap();
    let shader = translate(&module, kernel, &Shape::distinct(1), &Options::default()).unwrap();
    assert_eq!(shader.stack_bytes, 256);
}

/// Without names, a global from whose value a size is subtracted is the stack pointer, too, and one that is rounded down.
#[test]
fn stack_pointers_without_names_are_found_by_dynamic_frames() {
    let sizes = [
        "local.get $x i32.const 7 i32.and i32.const 4 i32.shl i32.sub",
        "local.get $x i32.const 7 i32.and i32.const 2 i32.shl i32.sub",
        "i32.const 32 i32.sub i32.const -64 i32.and",
    ];
    for size in sizes {
        let text = format!(
            "(module (memory (export \"memory\") 1) (global $sp (mut i32) (i32.const 1040)) {})",
            kernel(
                "",
                &format!(
                    "global.get $sp {size} local.tee $fp local.get $x i32.store local.get $at local.get $fp i32.load i32.store"
                )
            )
        );
        let module = Module::parse(wat::parse_str(&text).unwrap()).unwrap();
        let strict = testing::stages(&module, module.find_function("kernel").unwrap()).unwrap().strict;
        let is_shared =
            uses(&strict, |op| matches!(op, LowOp::LoadWord { slot } | LowOp::StoreWord { slot } if *slot != 0));
        assert!(!is_shared && strict.stack_words > 0, "{size}\n{strict}");
    }
}

/// Zeros that are stored as integers and loaded as floats are found after lowering. Drivers must not know them, either: they take
/// `x * 0` for 0, whatever the sign of x is.
#[test]
fn zeros_that_are_loaded_as_floats_are_hidden() {
    let strict = check(&kernel(
        "",
        &format!(
            "{ENTER}
             local.get $fp local.get $x i32.const 15 i32.and i32.const 2 i32.shl i32.add local.get $x i32.store
             local.get $fp i64.const 0 i64.store offset=8
             local.get $at local.get $x f32.convert_i32_s local.get $fp f32.load offset=12 f32.mul f32.store
             local.get $fp local.get $x i32.const 15 i32.and i32.const 2 i32.shl i32.add local.get $x i32.store
             {LEAVE}"
        ),
    ));
    assert!(uses_stack(&strict), "{strict}");
    let stmts = || strict.regions.iter().flat_map(|region| &region.stmts);
    let defined = |value| {
        stmts().find_map(|stmt| match &stmt.kind {
            StmtKind::Op { op, args, result } if *result == Some(value) => Some((*op, args.clone())),
            _ => None,
        })
    };
    let product = stmts().find_map(|stmt| match &stmt.kind {
        StmtKind::Op { op: Op::Low(LowOp::FMul), args, .. } => Some(args.clone()),
        _ => None,
    });
    // The product's second factor is the sum of zero and a word that the host passes.
    let (bitcast, args) = defined(product.expect("a product")[1]).unwrap();
    let (sum, summands) = defined(args[0]).unwrap();
    assert!(matches!((bitcast, sum), (Op::Low(LowOp::Bitcast(_)), Op::Low(LowOp::IAdd))), "{strict}");
    let host = summands.iter().any(|summand| matches!(defined(*summand), Some((Op::Low(LowOp::Immediate(_)), _))));
    assert!(host, "{strict}");
}

/// A driver makes one store of each word of an initializer, so a loop clears a large stack.
#[test]
fn large_stacks_are_cleared_in_a_loop() {
    for (size, has_initializer) in [(128, true), (1024, false)] {
        let text = kernel(
            "",
            &format!(
                "global.get $sp i32.const {size} i32.sub local.tee $fp global.set $sp
                 local.get $fp local.get $x i32.const 60 i32.and i32.add local.get $x i32.store
                 local.get $fp local.get $x i32.const 60 i32.and i32.add i32.const 5 i32.store offset=64
                 local.get $at local.get $fp local.get $x i32.const 60 i32.and i32.add i32.load i32.store
                 local.get $fp i32.const {size} i32.add global.set $sp"
            ),
        );
        check(&text);
        let module = module(&text);
        let kernel = module.find_function("kernel").unwrap();
        let words = translate(&module, kernel, &Shape::distinct(1), &Options::default()).unwrap().words;
        let text = common::disassemble(&words);
        let nulls = text.lines().filter(|line| line.contains("OpConstantNull")).count();
        assert_eq!((nulls > 0, text.contains("OpLoopMerge")), (has_initializer, !has_initializer), "{text}");
    }
}

/// A planted defect: a slot that keeps a stale value is seen.
#[test]
fn a_stale_slot_is_seen() {
    let text = kernel(
        "",
        &format!(
            "{ENTER} local.get $fp local.get $x i32.store offset=4 local.get $at local.get $fp i32.load offset=4 i32.const 1 i32.add i32.store {LEAVE}"
        ),
    );
    let module = module(&text);
    let kernel = module.find_function("kernel").unwrap();
    let stages = testing::stages(&module, kernel).unwrap();
    let before = run(&stages.lifted[&kernel], &module, &|_| None);
    let mut broken = stages.strict.clone();
    for stmt in broken.regions.iter_mut().flat_map(|region| &mut region.stmts) {
        if let StmtKind::Op { op: op @ Op::Low(LowOp::LoadWord { .. }), args, .. } = &mut stmt.kind {
            *op = Op::Const(Const::I32(0));
            args.clear();
        }
    }
    assert_eq!(before, run(&stages.strict, &module, &|_| None));
    assert_ne!(before, run(&broken, &module, &|_| None));
}

/// Unoptimised: an array that a loop with its counter in a slot fills and reads, beside slots that become values, as
/// the array's bounds are proved. The pointer to it is kept in a slot.
#[test]
fn slots_beside_an_array_become_values() {
    let strict = check(&kernel(
        "",
        &format!(
            "{ENTER}
             local.get $fp local.get $buffer i32.store offset=60
             local.get $fp local.get $fp i32.const 8 i32.add i32.store offset=56
             local.get $fp i32.const 0 i32.store offset=4
             block
               loop
                 local.get $fp i32.load offset=4 i32.const 8 i32.lt_s i32.eqz br_if 1
                 local.get $fp i32.load offset=56 local.get $fp i32.load offset=4 i32.const 2 i32.shl i32.add
                 local.get $x local.get $fp i32.load offset=4 i32.mul i32.store
                 local.get $fp local.get $fp i32.load offset=4 i32.const 1 i32.add i32.store offset=4
                 br 0
               end
             end
             local.get $fp local.get $x i32.store offset=12
             local.get $fp i32.load offset=60 local.get $id i32.const 2 i32.shl i32.add
             local.get $fp i32.const 8 i32.add local.get $x i32.const 7 i32.and i32.const 2 i32.shl i32.add i32.load {RESULT}
             {LEAVE}"
        ),
    ));
    assert!(uses_stack(&strict), "{strict}");
    assert!(
        !uses(&strict, |op| matches!(op, LowOp::LoadWord { slot } if *slot != 0)),
        "the pointers are known\n{strict}"
    );
}
