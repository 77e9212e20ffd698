//! Loops that a compiler unrolls, over an array of the invocation's own whose bounds are checked: the last iteration is the last
//! that keeps within them.

use wavelift::device::Access;

use crate::case::{BufferShape, Case, LINEAR_MEMORY, Lanes, Program};
use crate::places::STACK_POINTER;
use crate::random;

const COUNT: u32 = 8;

/// What ends the three loops of the kernel: each with `$x` in front of what its body does.
const ENDS: [[&str; 3]; 5] = [
    [NE, NE, "(i32.eq (local.get $x) (i32.const 64))"],
    [NE, NE, "(i32.ge_u (local.get $x) (i32.const 64))"],
    [NE, NE, "(i32.eq (local.get $x) (i32.const 32))"],
    ["(i32.lt_u (local.get $x) (i32.const 64))", NE, "(i32.eq (local.get $x) (i32.const 64))"],
    [NE, "(i32.lt_u (local.get $x) (i32.const 64))", "(i32.eq (local.get $x) (i32.const 64))"],
];

const NE: &str = "(i32.ne (local.get $x) (i32.const 64))";

pub fn cases() -> Vec<Case> {
    ENDS.iter().map(case).collect()
}

/// One loop fills an array, one sums it, and one, of which the kernel returns, stores products; as compilers write that for size.
fn case([fills, sums, stores]: &[&str; 3]) -> Case {
    let text = format!(
        "(module (memory (export \"memory\") 1)
         (global $sp (export \"__stack_pointer\") (mut i32) (i32.const {STACK_POINTER}))
         (func $kernel (export \"kernel\") (param $i i32) (param i32 i32) (param $out i32) (param i32)
           (local $x i32) (local $sum i32) (local $array i32)
           (local.set $array (i32.sub (global.get $sp) (i32.const 64)))
           (local.set $out (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 6))))
           (loop $fill
             (block $filled
               (br_if $filled {fills})
               (local.set $x (i32.const 0))
               (block $out_of_sums
                 (loop $add
                   (block $added
                     (br_if $added {sums})
                     (local.set $x (i32.const 0))
                     (loop $store
                       (br_if $out_of_sums {stores})
                       (i32.store (i32.add (local.get $out) (local.get $x)) (i32.add (i32.const 7)
                         (i32.mul (local.get $sum) (i32.load (i32.add (local.get $array) (local.get $x))))))
                       (local.set $x (i32.add (local.get $x) (i32.const 4)))
                       (br $store)))
                   (local.set $sum (i32.add (local.get $sum) (i32.load (i32.add (local.get $array) (local.get $x)))))
                   (local.set $x (i32.add (local.get $x) (i32.const 4)))
                   (br $add)))
               (return))
             (i32.store (i32.add (local.get $array) (local.get $x)) (i32.add (local.get $i) (local.get $x)))
             (local.set $x (i32.add (local.get $x) (i32.const 4)))
             (br $fill)))
         (table 1 funcref) (elem (i32.const 0) $kernel))"
    );
    let size = COUNT * 64;
    let buffers = vec![BufferShape { size, access: Access::ReadWrite, lanes: Lanes::Bits }];
    let program = Program { linear: Some(vec![0; LINEAR_MEMORY as usize]), ..Program::new(text, buffers) };
    random::case(program, vec![vec![0; size as usize]], COUNT)
}
