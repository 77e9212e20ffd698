//! Kernels that keep things on the shadow stack, run as they are lifted and in strict form.

#![allow(dead_code)] // Each test file uses a part.

use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift_translator::ir::{Const, Function, LowOp, Op, StmtKind};
use wavelift_translator::{Access, Module, Options, Profile, Shape, immediate, testing, translate};

use super::common;

/// Where the stack pointer is at the launch.
const STACK_POINTER: u32 = 1024;
const BYTES: u32 = 64;

/// A module with a stack, two globals more, and these functions.
pub fn module(body: &str) -> Module {
    let text = format!(
        "(module (memory (export \"memory\") 1)
           (global $sp (export \"__stack_pointer\") (mut i32) (i32.const {STACK_POINTER}))
           (global $count (mut i32) (i32.const 5)) (global $wide (mut f64) (f64.const 2.5))
           (func $set (param $to i32) (param $value i32) local.get $to local.get $value i32.store)
           {body})"
    );
    Module::parse(wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))).unwrap()
}

/// A kernel with one buffer of which word `id` is the input; the result goes there, too.
pub fn kernel(locals: &str, body: &str) -> String {
    format!(
        "(func $kernel (export \"kernel\") (param $id i32) (param i32 i32) (param $buffer i32) (param $bytes i32)
           (local $x i32) (local $at i32) (local $fp i32) {locals}
           local.get $buffer local.get $id i32.const 2 i32.shl i32.add local.tee $at i32.load local.set $x
           {body})"
    )
}

fn linear() -> Vec<u8> {
    (0..4096_u32).map(|i| (i * 37 + 11) as u8).collect()
}

/// Buffer and linear memory from the stack pointer on, or the trap, after each iteration.
pub fn run(
    function: &Function,
    module: &Module,
    lifted: &dyn Fn(u32) -> Option<Function>,
) -> Vec<Result<Vec<u8>, String>> {
    let start = 0xffff_0000;
    let words: Vec<u8> = (0..BYTES / 4).flat_map(|i| ((i * 0x0123_4567) ^ 3).to_le_bytes()).collect();
    let mut space = Space { linear: linear(), buffers: vec![Buffer::new(start, Access::ReadWrite, &words)] };
    let immediates = [0, 16, 0, 16, 64, 0, start, BYTES];
    assert_eq!(immediates.len() as u32, immediate::SLOTS + 2);
    let globals = [Const::I32(STACK_POINTER), Const::I32(5), Const::F64(2.5_f64.to_bits())];
    assert_eq!(module.globals().len(), globals.len());
    let functions: Vec<Option<Function>> = (0..module.function_count()).map(lifted).collect();
    let mut ends = Vec::new();
    for iteration in 0..BYTES / 4 {
        let invocation = Invocation { immediates: &immediates, iteration, globals: &globals, ..Invocation::default() };
        let args: Vec<Const> = match function.params.len() {
            0 => Vec::new(),
            _ => [iteration, 16, 64, start, BYTES].into_iter().map(Const::I32).collect(),
        };
        let callee = |index: u32| functions.get(index as usize)?.as_ref();
        ends.push(match interpret::run(function, &args, &invocation, &mut space, &callee) {
            Ok(_) => Ok([space.buffers[0].bytes(), &space.linear[STACK_POINTER as usize..]].concat()),
            Err(Stop::Trap { kind, at }) => Err(format!("{kind} {at}")),
            Err(other) => panic!("{other}\n{function}"),
        });
    }
    ends
}

/// Checks that the strict form does what the lifted one does; gives the strict form.
pub fn check(text: &str) -> Function {
    let module = module(text);
    let kernel = module.find_function("kernel").unwrap();
    let stages = testing::stages(&module, kernel).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let lifted = |index: u32| stages.lifted.get(&index).cloned();
    let before = run(&stages.lifted[&kernel], &module, &lifted);
    let after = run(&stages.strict, &module, &|_| None);
    // The bytes themselves would fill pages.
    assert!(before == after, "{text}\n{}", stages.strict);
    let distinct = before.iter().filter(|end| end.is_ok()).count();
    assert!(distinct > 0, "every invocation of the kernel traps\n{text}");
    for profile in [Profile::Vulkan, Profile::Portable] {
        let options = Options { profile, ..Options::default() };
        let shader = translate(&module, kernel, &Shape::distinct(1), &options).unwrap();
        match profile {
            Profile::Vulkan => common::assert_valid(&shader.words),
            Profile::Portable => common::assert_portable(&shader.words),
        }
    }
    stages.strict
}

/// Whether an operator is used.
pub fn uses(function: &Function, is: impl Fn(&LowOp) -> bool) -> bool {
    let mut stmts = function.regions.iter().flat_map(|region| &region.stmts);
    stmts.any(|stmt| matches!(&stmt.kind, StmtKind::Op { op: Op::Low(op), .. } if is(op)))
}

/// Whether the private stack is memory still.
pub fn uses_stack(function: &Function) -> bool {
    uses(function, |op| matches!(op, LowOp::LoadStack | LowOp::StoreStack))
}

/// Makes a frame of 64 bytes, and gives it up.
pub const ENTER: &str = "global.get $sp i32.const 64 i32.sub local.tee $fp global.set $sp";
pub const LEAVE: &str = "local.get $fp i32.const 64 i32.add global.set $sp";
/// Stores what the kernel is for.
pub const RESULT: &str = "i32.store";
