//! Float kernels that drivers got wrong: they rewrote arithmetic as if there were neither NaNs nor infinities.

use wavelift::device::Access;
use wavelift_translator::ir::Type;

use crate::case::{BufferShape, Case, Lanes, Program};
use crate::{random, values};

/// What is stored, of the loaded values `$x` and `$y`.
const KERNELS: [(Type, &str); 7] = [
    // Zeroes that only the driver knows, through the bits of integers.
    (
        Type::F32,
        "local.get $x local.get $x f32.lt f32.reinterpret_i32 local.get $y i32.reinterpret_f32 i32.const 0 i32.and f32.reinterpret_i32 f32.div",
    ),
    (
        Type::F32,
        "local.get $x local.get $y f32.le f32.reinterpret_i32 local.get $x local.get $x f32.lt f32.reinterpret_i32 f32.div",
    ),
    // And through a conversion.
    (Type::F32, "local.get $y local.get $x local.get $x f32.lt f32.convert_i32_s f32.div"),
    (Type::F64, "local.get $y local.get $x local.get $x f64.lt f64.convert_i32_s f64.div"),
    // Sums that cancel: infinities don't.
    (Type::F64, "local.get $x f64.sqrt f64.neg local.get $x f64.sqrt f64.add"),
    (Type::F32, "local.get $x local.get $y f32.add local.get $x local.get $y f32.add f32.sub"),
    (Type::F32, "local.get $x local.get $y f32.mul f32.neg local.get $x local.get $y f32.mul f32.add"),
];

pub fn cases() -> Vec<Case> {
    KERNELS.iter().map(|(ty, body)| case(*ty, body)).collect()
}

fn case(ty: Type, body: &str) -> Case {
    let (name, size) = (values::name(ty), values::size(ty));
    let edges = values::edges(ty);
    let count = edges.len() as u32;
    let text = format!(
        "(module (memory (export \"memory\") 1)\n\
         (func $kernel (export \"kernel\") (param $i i32) (param i32 i32) (param $p i32) (param i32) (param $q i32)\n\
         (param i32) (param $out i32) (param i32) (local $x {name}) (local $y {name})\n\
         local.get $p local.get $i i32.const {size} i32.mul i32.add {name}.load local.set $x\n\
         local.get $q local.get $i i32.const {size} i32.mul i32.add {name}.load local.set $y\n\
         local.get $out local.get $i i32.const {size} i32.mul i32.add\n{body}\n{name}.store)\n\
         (table 1 funcref) (elem (i32.const 0) $kernel))"
    );
    let lanes = if ty == Type::F64 { Lanes::F64 } else { Lanes::F32 };
    let inputs = BufferShape::bits(count * size);
    let buffers = vec![inputs, inputs, BufferShape { size: count * size, access: Access::ReadWrite, lanes }];
    let reversed = edges.iter().rev().copied();
    let contents =
        vec![values::bytes(ty, edges.iter().copied()), values::bytes(ty, reversed), vec![0; (count * size) as usize]];
    random::case(Program::new(text, buffers), contents, count)
}
