//! Kernels that may end at very many places, one behind the other, in loops and outside, or in branches of branches: more than drivers
//! have levels of branches.

use wavelift::device::Access;

use crate::case::{BufferShape, Case, LINEAR_MEMORY, Lanes, Program};
use crate::random;

/// Invocations, and places where one may end.
const COUNT: u32 = 24;
const PLACES: u32 = 130;
/// So many where behind each of so many places all others are in a branch.
const NESTED: (u32, u32) = (80, 20);

const RETURN: &str = "(return)";
const CONVERT: &str = "(local.set $y (i32.trunc_f32_s (f32.const nan)))";
const DIVIDE: &str = "(local.set $x (i32.div_u (i32.const 7) (i32.and (local.get $x) (i32.const 0))))";

pub fn cases() -> Vec<Case> {
    let ways = [&[RETURN][..], &[RETURN, CONVERT], &[CONVERT, DIVIDE, RETURN]];
    let in_rows = ways.iter().flat_map(|ways| [1, 77].map(|seed| case(ways, seed, (PLACES, PLACES))));
    in_rows.chain(ways.iter().map(|ways| case(ways, 5, NESTED))).collect()
}

/// What is computed is known at run time only, and changes behind each place; so does what is stored. Behind so many places
/// all others are in a branch.
fn case(ways: &[&str], seed: u32, (places, nested): (u32, u32)) -> Case {
    let codes = (0..places).zip(ways.iter().cycle()).map(|(place, way)| {
        let end = format!(
            "(if (i32.eq (i32.xor (local.get $end) (i32.shr_u (local.get $x) (i32.const 24))) (i32.const {place})) (then {way}))"
        );
        let step = format!("(local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const {})))", place + 9);
        let stores = "(i32.store offset=4 (local.get $p) (i32.add (local.get $x) (i32.load (local.get $p))))";
        let code = match place % 5 {
            0 => format!(
                "(local.set $k (i32.and (local.get $x) (i32.const 3)))
                 (loop $l {step} {end} (br_if $l (i32.ge_s (local.tee $k (i32.sub (local.get $k) (i32.const 1))) (i32.const 0))))"
            ),
            1 => format!("{step} {stores} {end} (local.set $y (i32.xor (local.get $x) (local.get $y)))"),
            2 => format!("(if (i32.and (local.get $x) (i32.const 64)) (then {step} {end}) (else {end} {step}))"),
            _ => format!("{step} {end} {stores}"),
        };
        match (place + 1) % nested {
            0 => format!("{code} (if (i32.and (local.get $x) (i32.const 0x3c00)) (then"),
            _ => code,
        }
    });
    let branches = "))".repeat((places / nested) as usize);
    let text = format!(
        "(module (memory (export \"memory\") 1)
         (func $kernel (export \"kernel\") (param $i i32) (param i32 i32) (param $p i32) (param i32)
           (local $x i32) (local $y i32) (local $k i32) (local $end i32)
           (local.set $p (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 4))))
           (local.set $x (i32.load (local.get $p)))
           (local.set $end (i32.load offset=8 (local.get $p)))
           {} {branches}
           (i32.store offset=12 (local.get $p) (i32.add (local.get $x) (local.get $y))))
         (table 1 funcref) (elem (i32.const 0) $kernel))",
        codes.collect::<Vec<_>>().join("\n")
    );
    let size = COUNT * 16;
    let words = (0..COUNT * 4).map(|word| {
        let mixed = (word + seed).wrapping_mul(0x9e37_79b9);
        // Some have an end that no place is.
        if word % 4 == 2 { (mixed >> 20) & 0x1ff } else { mixed ^ (mixed >> 13) }
    });
    let bytes = words.flat_map(u32::to_le_bytes).collect();
    let buffers = vec![BufferShape { size, access: Access::ReadWrite, lanes: Lanes::Bits }];
    let program = Program { linear: Some(vec![0; LINEAR_MEMORY as usize]), ..Program::new(text, buffers) };
    random::case(program, vec![bytes], COUNT)
}
