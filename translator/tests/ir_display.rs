//! The intermediate representation as text.

use wavelift_translator::ir::builder::ListBuilder;
use wavelift_translator::ir::operator::MemoryAccess;
use wavelift_translator::ir::verify::{Stage, verify};
use wavelift_translator::ir::{Const, Exit, Function, LowOp, Op, RegionId, StmtKind, Type, Value, WasmOp};
use wavelift_translator::{Location, TrapKind};

fn function(params: &[Type], results: &[Type]) -> Function {
    Function {
        index: 3,
        name: "sum".into(),
        params: (0..params.len() as u32).map(Value).collect(),
        results: results.to_vec(),
        body: RegionId(0),
        values: params.to_vec(),
        regions: Vec::new(),
        vars: Vec::new(),
        labels: 0,
        stack_words: 0,
        states: None,
        data: Default::default(),
    }
}

fn at(function: u32, offset: u32) -> Location {
    Location { function, offset }
}

#[test]
fn wasm_form() {
    let mut f = function(&[Type::I32, Type::F32], &[Type::I32, Type::F32]);
    let (outer, block) = (f.new_label(), f.new_label());
    let param = f.new_value(Type::I32);

    let mut list = ListBuilder::new(at(3, 0x30));
    let access = MemoryAccess { ty: Type::I32, bytes: 1, signed: true, offset: 16, memory: 0, checked: None };
    let loaded = list.op(&mut f, Op::Load(access), &[param], Type::I32);
    list.at = at(5, 0x90);
    let access = MemoryAccess { ty: Type::F32, bytes: 4, signed: false, offset: 0, memory: 0, checked: None };
    list.effect(Op::Store(access), &[loaded, Value(1)]);
    list.at = at(3, 0x38);
    let then = ListBuilder::new(at(3, 0x3a)).finish(&mut f, Exit::Continue(outer, vec![loaded]));
    let otherwise = ListBuilder::new(at(3, 0x3c)).finish(&mut f, Exit::Yield(vec![]));
    list.push(StmtKind::If { cond: loaded, then, otherwise, results: vec![] });
    let loop_body = list.finish(&mut f, Exit::Break(outer, vec![loaded]));
    f.region_mut(loop_body).params = vec![param];

    let zero = ListBuilder::new(at(3, 0x50)).finish(&mut f, Exit::Yield(vec![]));
    let one = ListBuilder::new(at(3, 0x52)).finish(&mut f, Exit::Return(vec![Value(0), Value(1)]));
    let default = ListBuilder::new(at(3, 0x54)).finish(&mut f, Exit::Trap(TrapKind::Unreachable));
    let mut list = ListBuilder::new(at(3, 0x4e));
    let cases = vec![zero, one, zero, default];
    list.push(StmtKind::Switch { index: Value(0), cases, default, results: vec![] });
    let block_body = list.finish(&mut f, Exit::Yield(vec![]));

    let mut list = ListBuilder::new(at(3, 0x2a));
    let counted = f.new_value(Type::I32);
    list.i32(&mut f, -5i32 as u32);
    list.push(StmtKind::Loop { label: outer, inits: vec![Value(0)], body: loop_body, results: vec![counted] });
    list.push(StmtKind::Block { label: block, body: block_body, results: vec![] });
    list.at = at(3, 0x60);
    let half = list.constant(&mut f, Const::F32(0.5f32.to_bits()));
    let product = list.wasm(&mut f, WasmOp::F32Mul, &[Value(1), half]);
    let called = f.new_value(Type::I32);
    list.push(StmtKind::Call { callee: 7, args: vec![counted, counted], results: vec![called] });
    list.effect(Op::GlobalSet(2), &[called]);
    f.body = list.finish(&mut f, Exit::Yield(vec![called, product]));
    verify(&f, Stage::Wasm).unwrap();

    insta::assert_snapshot!(f, @r"
    function 3 `sum` (v0: i32, v1: f32) -> (i32, f32) {
      v5: i32 = const -5 ; @0x2a
      L0: loop (v2: i32 = v0) -> (v4: i32) {
        v3: i32 = load i32 s8 offset=16 v2 ; @0x30
        store f32 v3, v1 ; f5@0x90
        if v3 { ; @0x38
          continue L0 (v3) ; @0x3a
        } else {
          yield ; @0x3c
        }
        break L0 (v3) ; @0x38
      }
      L1: block { ; @0x2a
        switch v0 { ; @0x4e
        case 0, 2:
          yield ; @0x50
        case 1:
          return (v0, v1) ; @0x52
        case 3, default:
          trap Unreachable ; @0x54
        }
        yield ; @0x4e
      }
      v6: f32 = const 0.5 0x3f000000 ; @0x60
      v7: f32 = f32.mul v1, v6
      v8: i32 = call 7 (v4, v4)
      global.set 2 v8
      yield (v8, v7)
    }
    ");
}

#[test]
fn strict_form() {
    let mut f = function(&[], &[]);
    let label = f.new_label();
    let var = f.new_var(Type::I32);
    let mut list = ListBuilder::new(at(3, 0x30));
    let old = list.low(&mut f, LowOp::VarGet(var), &[], Type::I32);
    let word = list.low(&mut f, LowOp::LoadWord { slot: 1 }, &[old], Type::I32);
    let float = list.low(&mut f, LowOp::Bitcast(Type::F32), &[word], Type::F32);
    let same = list.low(&mut f, LowOp::FEq, &[float, float], Type::Bool);
    let mut then = ListBuilder::new(at(3, 0x30));
    then.effect(Op::Low(LowOp::VarSet(var)), &[word]);
    let then = then.finish(&mut f, Exit::Yield(vec![]));
    let otherwise = ListBuilder::new(at(3, 0x34)).finish(&mut f, Exit::Break(label, vec![]));
    list.push(StmtKind::If { cond: same, then, otherwise, results: vec![] });
    let body = list.finish(&mut f, Exit::Continue(label, vec![]));
    let mut list = ListBuilder::new(at(3, 0x20));
    let id = list.low(&mut f, LowOp::IterationId, &[], Type::I32);
    let first = list.low(&mut f, LowOp::Immediate(5), &[], Type::I32);
    list.effect(Op::Low(LowOp::VarSet(var)), &[id]);
    list.push(StmtKind::Loop { label, inits: vec![], body, results: vec![] });
    list.effect(Op::Low(LowOp::StoreWord { slot: 0 }), &[first, id]);
    f.body = list.finish(&mut f, Exit::Return(vec![]));
    verify(&f, Stage::Strict).unwrap();

    insta::assert_snapshot!(f, @r"
    function 3 `sum` () {
      var x0: i32
      v4: i32 = low.iteration_id ; @0x20
      v5: i32 = low.immediate 5
      low.set x0 v4
      L0: loop {
        v0: i32 = low.get x0 ; @0x30
        v1: i32 = low.load_word slot=1 v0
        v2: f32 = low.bitcast f32 v1
        v3: bool = low.feq v2, v2
        if v3 {
          low.set x0 v1
          yield
        } else {
          break L0 ; @0x34
        }
        continue L0 ; @0x30
      }
      low.store_word slot=0 v5, v4 ; @0x20
      return
    }
    ");
}

#[test]
fn a_thousand_levels() {
    let mut f = function(&[], &[]);
    let mut inner = ListBuilder::new(at(3, 1)).finish(&mut f, Exit::Yield(vec![]));
    for _ in 0..1000 {
        let label = f.new_label();
        let mut list = ListBuilder::new(at(3, 1));
        list.push(StmtKind::Block { label, body: inner, results: vec![] });
        inner = list.finish(&mut f, Exit::Yield(vec![]));
    }
    f.body = inner;
    let text = f.to_string();
    // A line for the header, two for a block, one for an exit, and the last brace.
    assert_eq!(text.lines().count(), 1 + 2 * 1000 + 1001 + 1);
    assert_eq!(text.lines().nth(1000), Some(format!("{:2000}L0: block {{", "").as_str()));
}
