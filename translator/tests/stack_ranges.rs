//! Arrays on the shadow stack beside slots that become values: accesses at computed addresses whose bounds are proved.

use arbtest::arbitrary::{self, Unstructured};
use wavelift_translator::ir::{Function, LowOp};

mod common;
mod stack_support;

use stack_support::{RESULT, check, kernel, uses};

/// A frame of 128 bytes: slots from byte 96 on, arrays of zeros below them.
fn enter() -> String {
    let zeros: String =
        (0..12).map(|word| format!("local.get $fp i64.const 0 i64.store offset={} ", 8 * word)).collect();
    format!(
        "global.get $sp i32.const 128 i32.sub local.tee $fp global.set $sp {zeros}
         local.get $fp local.get $buffer i32.store offset=96
         local.get $fp local.get $x i32.store offset=100"
    )
}

/// Stores word 3 of the first array, exclusive or the second slot, by the pointer in the first.
const LEAVE: &str = "local.get $fp i32.load offset=96 local.get $id i32.const 2 i32.shl i32.add
    local.get $fp local.get $x i32.const 60 i32.and i32.add i32.load local.get $fp i32.load offset=100 i32.xor i32.store
    local.get $fp i32.const 128 i32.add global.set $sp";

/// Whether the pointer in the first slot is known to be the buffer's: nothing is of linear memory.
fn knows_the_buffer(function: &Function) -> bool {
    !uses(function, |op| matches!(op, LowOp::LoadWord { slot } | LowOp::StoreWord { slot } if *slot != 0))
}

/// `for (; n; n--) *p++ = x` and the like: the pointer and the count are only bounded together.
#[test]
fn a_pointer_in_lockstep_with_a_count_stays_in_its_array() {
    let enter = enter();
    let strict = check(&kernel(
        "(local $p i32) (local $n i32)",
        &format!(
            "{enter}
             local.get $fp local.set $p
             local.get $x i32.const 63 i32.and local.set $n
             block
               loop
                 local.get $n i32.eqz br_if 1
                 local.get $p local.get $n i32.store8
                 local.get $p i32.const 1 i32.add local.set $p
                 local.get $n i32.const 1 i32.sub local.set $n
                 br 0
               end
             end
             {LEAVE}"
        ),
    ));
    assert!(knows_the_buffer(&strict), "{strict}");
}

/// The same two, and what is left after whole blocks of 16 goes by the bits of the count, as C libraries copy.
#[test]
fn a_copy_by_blocks_and_bits_of_the_count_stays_in_its_array() {
    let enter = enter();
    let strict = check(&kernel(
        "(local $p i32) (local $n i32)",
        &format!(
            "{enter}
             local.get $fp local.set $p
             local.get $x i32.const 63 i32.and local.set $n
             block
               block
                 local.get $x i32.const 2 i32.and br_if 0
                 local.get $n i32.eqz br_if 0
                 local.get $p local.get $x i32.store8
                 local.get $p i32.const 1 i32.add local.set $p
                 local.get $n i32.const 1 i32.sub local.set $n
               end
               local.get $n i32.const 16 i32.lt_u br_if 0
               loop
                 local.get $p local.get $buffer i64.load i64.store
                 local.get $p i32.const 8 i32.add local.get $buffer i64.load offset=8 i64.store
                 local.get $p i32.const 16 i32.add local.set $p
                 local.get $n i32.const 16 i32.sub local.tee $n i32.const 15 i32.gt_u br_if 0
               end
             end
             block
               local.get $n i32.const 8 i32.and i32.eqz br_if 0
               local.get $p local.get $buffer i64.load offset=8 i64.store
               local.get $p i32.const 8 i32.add local.set $p
             end
             block
               local.get $n i32.const 4 i32.and i32.eqz br_if 0
               local.get $p local.get $buffer i32.load offset=4 i32.store
               local.get $p i32.const 4 i32.add local.set $p
             end
             block
               local.get $n i32.const 1 i32.and i32.eqz br_if 0
               local.get $p local.get $x i32.store8
             end
             {LEAVE}"
        ),
    ));
    assert!(knows_the_buffer(&strict), "{strict}");
}

/// A loop of two blocks of 16 an iteration, and before it the odd one: bit 4 of what is left is zero from there on.
#[test]
fn a_copy_by_pairs_of_blocks_stays_in_its_array() {
    let enter = enter();
    let strict = check(&kernel(
        "(local $p i32) (local $n i32) (local $less i32)",
        &format!(
            "{enter}
             local.get $fp local.set $p
             local.get $x i32.const 63 i32.and local.set $n
             block
               local.get $n i32.const 16 i32.lt_u br_if 0
               block
                 local.get $n i32.const 16 i32.sub local.tee $less i32.const 16 i32.and br_if 0
                 local.get $p local.get $buffer i64.load i64.store
                 local.get $p local.get $buffer i64.load offset=8 i64.store offset=8
                 local.get $p i32.const 16 i32.add local.set $p
                 local.get $less local.set $n
               end
               local.get $less i32.const 16 i32.lt_u br_if 0
               loop
                 local.get $p local.get $buffer i64.load i64.store
                 local.get $p local.get $buffer i64.load offset=8 i64.store offset=24
                 local.get $p i32.const 32 i32.add local.set $p
                 local.get $n i32.const 32 i32.sub local.tee $n i32.const 15 i32.gt_u br_if 0
               end
             end
             {LEAVE}"
        ),
    ));
    assert!(knows_the_buffer(&strict), "{strict}");
}

/// `while (k > 0 && a[k - 1] > v)`: the condition is a value that two ways hand on.
#[test]
fn a_condition_of_several_parts_bounds_what_the_first_compares() {
    let enter = enter();
    let strict = check(&kernel(
        "(local $i i32) (local $k i32) (local $v i32)",
        &format!(
            "{enter}
             loop
               local.get $x local.get $i i32.const 5 i32.mul i32.shr_u i32.const 255 i32.and local.set $v
               local.get $i local.set $k
               block
                 loop
                   local.get $k i32.const 0 i32.gt_s
                   if (result i32)
                     local.get $fp local.get $k i32.const 2 i32.shl i32.add i32.const 4 i32.sub i32.load local.get $v i32.gt_s
                   else
                     i32.const 0
                   end
                   i32.eqz br_if 1
                   local.get $fp local.get $k i32.const 2 i32.shl i32.add
                   local.get $fp local.get $k i32.const 1 i32.sub i32.const 2 i32.shl i32.add i32.load i32.store
                   local.get $k i32.const 1 i32.sub local.set $k
                   br 0
                 end
               end
               local.get $fp local.get $k i32.const 2 i32.shl i32.add local.get $v i32.store
               local.get $i i32.const 1 i32.add local.tee $i i32.const 16 i32.lt_s br_if 0
             end
             {LEAVE}"
        ),
    ));
    assert!(knows_the_buffer(&strict), "{strict}");
}

/// Each loop of a nest goes on from where it was when the one around it went round: else what the innermost does would be walked
/// four times for each of them, and nothing be known in the end.
#[test]
fn a_deep_nest_of_loops_is_walked_few_times() {
    const DEPTH: usize = 20;
    let enter = enter();
    let locals: String = (0..DEPTH).map(|level| format!("(local $i{level} i32) ")).collect();
    let sum: String = (0..DEPTH)
        .map(|level| format!("local.get $i{level} i32.const 1 i32.and i32.const 2 i32.shl i32.add "))
        .collect();
    // As far as anyone knows before the launch, each may have a thousand rounds.
    let mut body = format!("local.get $fp {sum} local.get $x i32.store ");
    for level in (0..DEPTH).rev() {
        body = format!(
            "i32.const 0 local.set $i{level} loop {body} local.get $i{level} i32.const 1 i32.add local.tee $i{level}
             i32.const 1000 i32.lt_u if local.get $x i32.const 0x7fffffff i32.eq br_if 1 end end "
        );
    }
    let strict = check(&kernel(&locals, &format!("{enter} {body} {LEAVE}")));
    assert!(knows_the_buffer(&strict), "{strict}");
}

/// A number that is compared, or masked, with constants about as large as the array.
fn number(u: &mut Unstructured<'_>) -> arbitrary::Result<u32> {
    Ok(*u.choose(&[0, 1, 2, 3, 4, 7, 8, 12, 15, 16, 17, 31, 32, 60, 63, 64, 90, 96, 97, 112])?)
}

fn local(u: &mut Unstructured<'_>) -> arbitrary::Result<&'static str> {
    Ok(*u.choose(&["$a", "$b", "$c"])?)
}

fn condition(u: &mut Unstructured<'_>, depth: u32) -> arbitrary::Result<String> {
    let simple = format!(
        "local.get {} i32.const {} {}",
        local(u)?,
        number(u)?,
        u.choose(&[
            "i32.lt_u", "i32.gt_u", "i32.le_s", "i32.gt_s", "i32.eq", "i32.ne", "i32.and", "i32.ge_u", "i32.lt_s"
        ])?
    );
    Ok(match (depth, u.int_in_range(0..=5)?) {
        (0, _) | (_, 0 | 1) => simple,
        (_, 2) => format!("{} i32.eqz", condition(u, depth - 1)?),
        (_, 3) => {
            format!("{} if (result i32) {} else i32.const 0 end", condition(u, depth - 1)?, condition(u, depth - 1)?)
        }
        (_, 4) => {
            format!("{} if (result i32) i32.const 1 else {} end", condition(u, depth - 1)?, condition(u, depth - 1)?)
        }
        _ => format!("{simple} local.get {} i32.const {} i32.lt_u i32.and", local(u)?, number(u)?),
    })
}

fn statements(u: &mut Unstructured<'_>, depth: u32) -> arbitrary::Result<String> {
    let mut text = String::new();
    for _ in 0..u.int_in_range(1..=5)? {
        text.push_str(&match u.int_in_range(0..=if depth == 0 { 4 } else { 7 })? {
            0 => format!("local.get {} i32.const {} i32.{} local.set {}\n", local(u)?, number(u)?, u.choose(&["add", "sub", "and", "xor"])?, local(u)?),
            1 => {
                let (p, n, step) = (local(u)?, local(u)?, number(u)? % 17);
                format!("local.get {p} i32.const {step} i32.add local.set {p} local.get {n} i32.const {step} i32.sub local.set {n}\n")
            }
            2 => format!("local.get {} local.get {} i32.{} local.set {}\n", local(u)?, local(u)?, u.choose(&["add", "sub"])?, local(u)?),
            // Sometimes beyond the array, where the slots are, but never beyond the frame.
            3 | 4 => {
                let (at, offset) = (local(u)?, number(u)? % 32);
                let store = format!("local.get $fp local.get {at} i32.add local.get $x i32.store8 offset={offset}");
                format!("local.get {at} i32.const 97 i32.lt_u if {} if {store} end end\n", condition(u, 2)?)
            }
            5 => format!("{} if {} else {} end\n", condition(u, 2)?, statements(u, depth - 1)?, statements(u, depth - 1)?),
            6 => format!("block {} br_if 0 {} end\n", condition(u, 2)?, statements(u, depth - 1)?),
            _ => format!(
                "i32.const {} local.set $left{depth} block loop {} i32.eqz br_if 1
                 local.get $left{depth} i32.const 1 i32.sub local.tee $left{depth} i32.eqz br_if 1 {} br 0 end end\n",
                u.int_in_range(1..=40)?,
                condition(u, 2)?,
                statements(u, depth - 1)?
            ),
        });
    }
    Ok(text)
}

/// Whatever control flow bounds the accesses, or does not: slots that were overwritten have what was written.
#[test]
fn slots_beside_accesses_at_random_are_right() {
    let enter = enter();
    arbtest::arbtest(|u| {
        let start = format!(
            "local.get $x i32.const {} i32.and local.set $a i32.const {} local.set $b local.get $x i32.const 9 i32.shr_u i32.const {} i32.and local.set $c",
            number(u)?,
            number(u)?,
            number(u)?
        );
        let body = statements(u, 2)?;
        check(&kernel(
            "(local $a i32) (local $b i32) (local $c i32) (local $left1 i32) (local $left2 i32)",
            &format!(
                "{enter} {start} {body} local.get $at
                 local.get $fp i32.load offset=96 local.get $fp i32.load offset=100 i32.xor
                 local.get $fp local.get $x i32.const 60 i32.and i32.add i32.load i32.xor {RESULT}"
            ),
        ));
        Ok(())
    })
    .budget_ms(4_000);
}
