//! Functions that copy and fill blocks of memory: which are known for such, and what kernels that call them become.

use wavelift_translator::blocks::Block;
use wavelift_translator::error::TrapKind;
use wavelift_translator::ir::{Exit, Function, LowOp, Op, StmtKind};
use wavelift_translator::{Assumption, Module, Options, Shape, Speculation, testing};

/// A loop over bytes, from the first to the last.
const UPWARDS: &str = "(local $at i32)
    block loop
      local.get $at local.get $length i32.ge_u br_if 1
      local.get $to local.get $at i32.add local.get $from local.get $at i32.add i32.load8_u i32.store8
      local.get $at i32.const 1 i32.add local.set $at br 0
    end end
    local.get $to";

fn function(name: &str, body: &str) -> String {
    format!(
        "(func ${name} (export \"{name}\") (param $to i32) (param $from i32) (param $length i32) (result i32) {body})"
    )
}

/// `memcpy` by bytes, and `memmove` that calls it where that is right.
fn library() -> String {
    let downwards = "local.get $to local.get $from i32.sub local.get $length i32.ge_u if
          local.get $to local.get $from local.get $length call $memcpy return
        end
        block loop
          local.get $length i32.eqz br_if 1
          local.get $length i32.const 1 i32.sub local.set $length
          local.get $to local.get $length i32.add local.get $from local.get $length i32.add i32.load8_u i32.store8 br 0
        end end
        local.get $to";
    function("memcpy", UPWARDS) + &function("memmove", downwards)
}

fn block(body: &str, name: &str) -> Option<Block> {
    let module = module(body);
    module.block(module.find_function(name).unwrap())
}

fn module(body: &str) -> Module {
    let text = format!(
        "(module (memory (export \"memory\") 1) (global $sp (export \"__stack_pointer\") (mut i32) (i32.const 1024)) {body})"
    );
    Module::parse(wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))).unwrap()
}

#[test]
fn blocks_are_known_by_what_is_done_with_them() {
    assert_eq!(block(&library(), "memcpy"), Some(Block::Copy));
    assert_eq!(block(&library(), "memmove"), Some(Block::Move));
    let fills = UPWARDS.replace("local.get $from local.get $at i32.add i32.load8_u", "local.get $from");
    assert_eq!(block(&function("memset", &fills), "memset"), Some(Block::Fill));
    let bulk = "local.get $to local.get $from local.get $length memory.copy local.get $to";
    assert_eq!(block(&function("memcpy", bulk), "memcpy"), Some(Block::Move));
}

/// A name is no proof: each of these differs from `memcpy` in one thing.
#[test]
fn what_is_almost_a_copy_is_none() {
    let almost = [
        UPWARDS.replace("i32.store8", "i32.const 1 i32.xor i32.store8"),
        UPWARDS.replace("end end\n    local.get $to", "end end\n    local.get $from"),
        UPWARDS.replace("local.get $at local.get $length i32.ge_u", "local.get $at local.get $length i32.gt_u"),
        UPWARDS
            .replace("(local $at i32)", "(local $at i32) local.get $length i32.const 1031 i32.eq if unreachable end"),
        UPWARDS.replace("(local $at i32)", "(local $at i32) global.get $sp i32.const 3 i32.eq if unreachable end"),
        UPWARDS.replace("(local $at i32)", "(local $at i32) local.get $to i32.const 16384 i32.rem_u drop"),
    ];
    for body in almost {
        assert_eq!(block(&function("memcpy", &body), "memcpy"), None, "{body}");
    }
}

/// A kernel with a frame of 64 bytes that copies a block of it; `from` and `to` are pushed by these.
fn copying(to: &str, from: &str) -> (Module, u32) {
    let kernel = format!(
        "(func $kernel (export \"kernel\") (param $id i32) (param i32 i32) (param $buffer i32) (param $bytes i32) (local $fp i32)
           global.get $sp i32.const 64 i32.sub local.set $fp
           local.get $fp local.get $buffer i32.load i32.store offset=4
           {to} {from} i32.const 24 call $memcpy drop
           local.get $buffer local.get $fp i32.load offset=4 i32.store offset=4)"
    );
    let module = module(&(library() + &kernel));
    let kernel = module.find_function("kernel").unwrap();
    (module, kernel)
}

fn strict((module, kernel): &(Module, u32), speculation: Speculation) -> Function {
    let options = Options { speculation, ..Options::default() };
    testing::strict(module, *kernel, &Shape::initial(module, *kernel), &options).unwrap()
}

fn may_bail_out(function: &Function) -> bool {
    function.regions.iter().any(|region| region.exit == Exit::Trap(TrapKind::BailedOut(Assumption::Apart)))
}

fn has_loop(function: &Function) -> bool {
    function.regions.iter().flat_map(|region| &region.stmts).any(|stmt| matches!(stmt.kind, StmtKind::Loop { .. }))
}

fn uses_stack(function: &Function) -> bool {
    let is_of_stack = |op: &LowOp| matches!(op, LowOp::LoadStack | LowOp::StoreStack);
    let stmts = || function.regions.iter().flat_map(|region| &region.stmts);
    stmts().any(|stmt| matches!(&stmt.kind, StmtKind::Op { op: Op::Low(op), .. } if is_of_stack(op)))
}

/// Between the frame and a buffer, and within the frame, blocks are seen to be apart: a short copy is moves, and its slots
/// are values.
#[test]
fn copies_between_places_are_moves() {
    let frame = "local.get $fp";
    let (up, buffer) = ("local.get $fp i32.const 32 i32.add", "local.get $buffer i32.const 8 i32.add");
    for (to, from) in [(frame, buffer), (buffer, frame), (frame, up), (up, frame)] {
        let function = strict(&copying(to, from), Speculation::NONE);
        assert!(!may_bail_out(&function) && !has_loop(&function) && !uses_stack(&function), "{function}");
    }
}

/// Within one buffer, at a distance that is known only when the kernel runs, the exact form keeps the function's code, and a
/// speculative one checks that blocks are apart.
#[test]
fn copies_within_a_place_are_checked() {
    let kernel = copying("local.get $buffer local.get $id i32.add", "local.get $buffer");
    let exact = strict(&kernel, Speculation::NONE);
    assert!(!may_bail_out(&exact) && has_loop(&exact), "{exact}");
    let speculative = strict(&kernel, Speculation::ALL);
    assert!(may_bail_out(&speculative) && !has_loop(&speculative), "{speculative}");
}
