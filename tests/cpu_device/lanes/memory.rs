//! Loads and stores side by side, apart, and anywhere; for all of a group and for some.

use wavelift::device::Access;

use super::{compare, device, module, noise};
use crate::support::Guest;

/// A kernel that copies an element by these operators, from and to the elements with these numbers, where a condition holds.
fn copies(load: &str, store: &str, bytes: u32, from: &str, to: &str, condition: &str) -> String {
    let address =
        |buffer: u32, number: &str| format!("(i32.add (local.get {buffer}) (i32.mul {number} (i32.const {bytes})))");
    module(&format!(
        r#"(func (export "kernel") (param i32 i32 i32 i32 i32 i32 i32 i32 i32)
             (if {condition} (then ({store} {} ({load} {})))))"#,
        address(5, to),
        address(3, from),
    ))
}

const ID: &str = "(local.get 0)";

#[test]
fn elements_of_every_size() {
    let some = "(i32.and (i32.load8_u (i32.add (local.get 7) (local.get 0))) (i32.const 1))";
    let twice = "(i32.mul (local.get 0) (i32.const 2))";
    let back = "(i32.sub (i32.const 120) (local.get 0))";
    let third = "(i32.div_u (local.get 0) (i32.const 3))";
    // 7 has no factor in common with 128, so that no two invocations store to one place.
    let anywhere = "(i32.and (i32.mul (local.get 0) (i32.mul (local.get 0) (i32.const 14))) (i32.const 127))";
    let shuffled = "(i32.and (i32.mul (local.get 0) (i32.const 7)) (i32.const 127))";
    for (load, store, bytes) in [
        ("i32.load", "i32.store", 4),
        ("f32.load", "f32.store", 4),
        ("i64.load", "i64.store", 8),
        ("f64.load", "f64.store", 8),
        ("i32.load8_s", "i32.store16", 2),
        ("i32.load8_u", "i32.store8", 1),
        ("i32.load16_s", "i32.store", 4),
        ("i32.load16_u", "i32.store16", 2),
        ("i64.load8_s", "i64.store", 8),
        ("i64.load8_u", "i64.store8", 1),
        ("i64.load16_s", "i64.store16", 2),
        ("i64.load16_u", "i64.store32", 4),
        ("i64.load32_s", "i64.store", 8),
        ("i64.load32_u", "i64.store32", 4),
        ("i64.load32_s", "i64.store16", 2),
    ] {
        for (from, to) in
            [(ID, ID), (twice, ID), (ID, twice), (back, back), (anywhere, shuffled), (third, ID), ("(i32.const 5)", ID)]
        {
            for condition in ["(i32.const 1)", some] {
                let text = copies(load, store, bytes, from, to, condition);
                compare(&text, 121, &[noise(512, 1), noise(512, 2), noise(128, 3)]);
            }
        }
    }
}

/// Buffers end where a page does: what is beyond faults.
#[test]
fn nothing_is_touched_for_those_that_are_not_there() {
    const COUNT: u32 = 4096 / 4;
    // Elements of 1, 4 and 8 bytes, and structures of two words.
    for (load, store, bytes, scale) in [
        ("i32.load8_u", "i32.store8", 1, 1),
        ("i32.load", "i32.store", 4, 1),
        ("f32.load", "f32.store", 4, 2),
        ("f64.load", "f64.store", 8, 1),
    ] {
        let number = format!("(i32.mul (local.get 0) (i32.const {scale}))");
        let count = 4096 * 4 / bytes / scale;
        let below = format!("(i32.lt_u (local.get 0) (i32.const {}))", count - 5);
        let text = copies(load, store, bytes, &number, &number, &below);
        compare(&text, count, &[noise(4 * COUNT as usize, 1), noise(4 * COUNT as usize, 2), vec![0]]);
        // Of the structures' words the first: the last one's second is beyond the buffer's last word but one.
        let all = copies(load, store, bytes, &number, &number, "(i32.const 1)");
        compare(&all, count, &[noise(4 * COUNT as usize, 1), noise(4 * COUNT as usize, 2), vec![0]]);
        let some = copies(
            load,
            store,
            bytes,
            &number,
            &number,
            "(i32.load (i32.add (local.get 7) (i32.shl (local.get 0) (i32.const 2))))",
        );
        let flags = (0..count).map(|id| u32::from(id % 5 != 2)).collect();
        compare(&some, count, &[noise(4 * COUNT as usize, 1), noise(4 * COUNT as usize, 2), flags]);
    }
}

/// The last of those that store to one place comes last, in a launch of one worker's chunk.
#[test]
fn one_place_is_stored_to_by_one() {
    let text = module(
        r#"(func (export "kernel") (param i32 i32 i32 i32 i32)
             (if (i32.eq (local.get 0) (i32.const 77)) (then (i32.store (local.get 3) (local.get 0)))))"#,
    );
    assert_eq!(compare(&text, 100, &[vec![0]]), [[77]]);
}

#[test]
fn atomics_are_done_by_each() {
    let text = module(
        r#"(func (export "kernel") (param i32 i32 i32 i32 i32 i32 i32)
             (drop (i32.atomic.rmw.add (i32.add (local.get 3) (i32.and (local.get 0) (i32.const 12))) (local.get 0)))
             (if (i32.and (i32.load (i32.add (local.get 5) (i32.shl (local.get 0) (i32.const 2)))) (i32.const 1))
               (then (drop (i64.atomic.rmw16.add_u (i32.const 64) (i64.const 3)))
                     (i64.atomic.store8 (i32.add (local.get 3) (i32.const 32)) (i64.const 9)))))"#,
    );
    compare(&text, 1003, &[vec![0; 16], noise(1003, 4)]);
}

/// What is the same for all of a row, and what runs along it; rows of many lengths, so that groups begin in one and end in another.
#[test]
fn rows_and_columns() {
    for (div, rem) in [("i32.div_u", "i32.rem_u"), ("i32.div_s", "i32.rem_s")] {
        let text = module(&format!(
            r#"(func (export "kernel") (param i32 i32 i32 i32 i32 i32 i32) (local $x i32) (local $y i32)
                 (local.set $x ({rem} (local.get 0) (i32.load (local.get 5))))
                 (local.set $y ({div} (local.get 0) (i32.load (local.get 5))))
                 (if (i32.or (i32.eqz (local.get $x)) (i32.gt_u (local.get $x) (i32.const 13))) (then return))
                 (if (i32.eq (local.get $x) (local.get $y)) (then return))
                 (if (i32.lt_s (local.get $y) (i32.const 2)) (then return))
                 (i32.store (i32.add (local.get 3) (i32.shl (local.get 0) (i32.const 2)))
                   (i32.add (i32.mul (local.get $y) (i32.const 1000)) (local.get $x))))"#
        ));
        for width in [1, 3, 4, 15, 16, 17, 64, 1000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
            compare(&text, 501, &[vec![0; 501], vec![width]]);
        }
    }
    for bits in [
        "(i32.and (local.get 0) (i32.load (local.get 5)))",
        "(i32.and (local.get 0) (i32.const 31))",
        "(i32.shr_u (local.get 0) (i32.const 5))",
        "(i32.shr_s (local.get 0) (i32.const 4))",
        "(i32.shr_u (i32.add (local.get 0) (i32.const 3)) (i32.const 5))",
        "(i32.and (i32.sub (local.get 0) (i32.const 3)) (i32.const 63))",
        "(i32.or (i32.shl (local.get 0) (i32.const 2)) (i32.const 3))",
    ] {
        let text = module(&format!(
            r#"(func (export "kernel") (param i32 i32 i32 i32 i32 i32 i32)
                 (i32.store (i32.add (local.get 3) (i32.shl (local.get 0) (i32.const 2))) {bits}))"#
        ));
        for mask in [0, 1, 3, 15, 63, 5, 0xffff_fff0] {
            compare(&text, 501, &[vec![0; 501], vec![mask]]);
        }
    }
}

#[test]
fn comparisons_of_ids() {
    for op in ["eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u"] {
        for (a, b) in [
            ("(local.get 0)", "(i32.load (local.get 5))"),
            ("(i32.load (local.get 5))", "(local.get 0)"),
            ("(i32.add (local.get 0) (i32.const 0x7ffffff0))", "(i32.load (local.get 5))"),
            ("(i32.sub (local.get 0) (i32.const 20))", "(i32.load (local.get 5))"),
            ("(i32.sub (i32.const 20) (local.get 0))", "(i32.load (local.get 5))"),
            ("(i32.mul (local.get 0) (i32.const 3))", "(i32.load (local.get 5))"),
            ("(i32.mul (local.get 0) (i32.const 3))", "(i32.shl (local.get 0) (i32.const 1))"),
            ("(i32.sub (local.get 0) (i32.const 20))", "(i32.add (local.get 0) (i32.load (local.get 5)))"),
        ] {
            let text = module(&format!(
                r#"(func (export "kernel") (param i32 i32 i32 i32 i32 i32 i32)
                     (i32.store (i32.add (local.get 3) (i32.shl (local.get 0) (i32.const 2)))
                       (select (i32.const 5) (i32.const 6) (i32.{op} {a} {b}))))"#
            ));
            for limit in [0, 1, 7, 16, 33, 0x7fff_ffff, 0x8000_0005, 0xffff_fffe] {
                compare(&text, 64, &[vec![0; 64], vec![limit]]);
            }
        }
    }
}

/// Both words of structures are stored at once, in either order, and where something lies in between that may tell they are not.
#[test]
fn structures_of_two_words() {
    let at = |buffer: u32| format!("(i32.add (local.get {buffer}) (i32.shl (local.get 0) (i32.const 3)))");
    let (from, to) = (at(3), at(5));
    let low = format!("(f32.store offset=8 {to} (f32.add (f32.load {from}) (f32.const 1)))");
    let high = format!("(i32.store offset=12 {to} (i32.load offset=4 {from}))");
    let between = format!("(i32.store {from} (i32.load offset=12 {to}))");
    let some = "(i32.and (i32.load (i32.add (local.get 7) (i32.shl (local.get 0) (i32.const 2)))) (i32.const 3))";
    for stores in [format!("{low} {high}"), format!("{high} {low}"), format!("{low} {between} {high}")] {
        for condition in ["(i32.const 1)", some] {
            let text = module(&format!(
                r#"(func (export "kernel") (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (if {condition} (then {stores})))"#
            ));
            let numbers = || (0..1024u32).map(|number| (number as f32 * 0.5).to_bits()).collect();
            compare(&text, 501, &[numbers(), numbers(), noise(501, 3)]);
        }
    }
}

/// `to[i] += from[i]`, and 1 more in `from[i]`, of which one element is loaded twice, or what was stored is loaded again.
fn loads_again(second: &str) -> String {
    module(&format!(
        r#"(func (export "kernel") (param i32 i32 i32 i32 i32 i32 i32) (local $from i32) (local $to i32)
             (local.set $from (i32.add (local.get 3) (i32.shl (local.get 0) (i32.const 2))))
             (local.set $to (i32.add (local.get 5) (i32.shl (local.get 0) (i32.const 2))))
             (i32.store (local.get $to) (i32.add (i32.load (local.get $to)) (i32.load (local.get $from))))
             (i32.store (local.get $from) (i32.add (i32.load {second}) (i32.const 1))))"#
    ))
}

/// What is loaded again behind a store to another buffer is known, unless the two are one: that launch runs one by one.
#[test]
fn what_is_loaded_again_is_known_where_buffers_are_distinct() {
    const COUNT: u32 = 61;
    let elsewhere = "(i32.xor (local.get $from) (i32.const 4))";
    for (second, needs_distinct) in [("(local.get $from)", true), ("(local.get $to)", false), (elsewhere, false)] {
        // Which neighbour comes first is nobody's, so words of the other one stay.
        let text = loads_again(second);
        if second != elsewhere {
            compare(&text, COUNT, &[noise(64, 1), noise(64, 2)]);
        }
        let lanes = |same: bool| {
            let mut guest = Guest::new(&device(4, None), &text);
            let both = guest.buffer_of(&noise(64, 1), Access::ReadWrite);
            let other = guest.buffer_of(&noise(64, 2), Access::ReadWrite);
            let launched = guest.launch("kernel", COUNT, &[both, if same { both } else { other }]);
            (launched.unwrap().lanes, guest.words(both))
        };
        assert_eq!(lanes(false).0, Some(4), "{second}");
        let (found, words) = lanes(true);
        assert_eq!(found.is_none(), needs_distinct, "{second}");
        if second != elsewhere {
            let expected: Vec<u32> = noise(64, 1).iter().map(|word| word.wrapping_mul(2).wrapping_add(1)).collect();
            assert_eq!(words[..COUNT as usize], expected[..COUNT as usize], "{second}");
        }
    }
}

/// What is stored is known where it is loaded again, but not what a store beside it, or of a part of it, has changed.
#[test]
fn what_is_stored_and_loaded_again() {
    let own = "(i32.add (local.get 3) (i32.shl (local.get 0) (i32.const 3)))";
    for between in [
        "",
        "(i32.store offset=4 (local.get $at) (i32.const 9))",
        "(i32.store8 offset=3 (local.get $at) (i32.const 9))",
        "(i32.store16 offset=4 (local.get $at) (i32.const 9))",
        "(i64.store (local.get $at) (i64.const 0x123456789abcdef))",
        "(f32.store (local.get $at) (f32.const 2))",
        "(i32.store (i32.add (local.get $at) (i32.const 0)) (i32.const 7))",
        "(if (i32.and (local.get 0) (i32.const 1)) (then (i32.store (local.get $at) (i32.const 5))))",
    ] {
        for load in [
            "(i32.load (local.get $at))",
            "(i32.load offset=4 (local.get $at))",
            "(i32.load16_s offset=2 (local.get $at))",
        ] {
            let text = module(&format!(
                r#"(func (export "kernel") (param i32 i32 i32 i32 i32 i32 i32) (local $at i32)
                     (local.set $at {own})
                     (i32.store (local.get $at) (i32.mul (i32.add {load} (local.get 0)) (i32.const 77)))
                     {between}
                     (i32.store (i32.add (local.get 5) (i32.shl (local.get 0) (i32.const 2))) {load}))"#
            ));
            compare(&text, 61, &[noise(128, 5), noise(64, 6)]);
        }
    }
}
