//! The interpreter on functions built by hand.

use wavelift_translator::ir::builder::ListBuilder;
use wavelift_translator::ir::interpret::{Buffer, Invocation, MAX_CALLS, Memory, Space, Stop, run};
use wavelift_translator::ir::operator::MemoryAccess;
use wavelift_translator::ir::verify::{Stage, verify};
use wavelift_translator::ir::{Const, Exit, Function, LowOp, Op, RegionId, StmtKind, Type, Value, Var, WasmOp};
use wavelift_translator::{Access, Location, TrapKind};

const fn at(offset: u32) -> Location {
    Location { function: 3, offset }
}

fn function(params: &[Type], results: &[Type]) -> Function {
    Function {
        index: 3,
        name: "f".into(),
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

fn run_alone(f: &Function, stage: Stage, args: &[u32], space: &mut Space) -> Result<Vec<Const>, Stop> {
    verify(f, stage).unwrap();
    let args: Vec<Const> = args.iter().map(|v| Const::I32(*v)).collect();
    run(f, &args, &Invocation::default(), space, &|_| None)
}

fn pure(f: &Function, args: &[u32]) -> Result<Vec<Const>, Stop> {
    run_alone(f, Stage::Inlined, args, &mut Space::default())
}

/// `fib(n)` by a loop whose parameters swap: `(n, a, b)` becomes `(n - 1, b, a + b)`.
fn fibonacci() -> Function {
    let mut f = function(&[Type::I32], &[Type::I32]);
    let label = f.new_label();
    let params = [Type::I32; 3].map(|ty| f.new_value(ty));
    let [n, a, b] = params;
    let mut list = ListBuilder::new(at(1));
    let mut then = ListBuilder::new(at(2));
    let one = then.i32(&mut f, 1);
    let less = then.wasm(&mut f, WasmOp::I32Sub, &[n, one]);
    let sum = then.wasm(&mut f, WasmOp::I32Add, &[a, b]);
    let then = then.finish(&mut f, Exit::Continue(label, vec![less, b, sum]));
    let otherwise = ListBuilder::new(at(3)).finish(&mut f, Exit::Yield(vec![a]));
    let result = f.new_value(Type::I32);
    list.push(StmtKind::If { cond: n, then, otherwise, results: vec![result] });
    let body = list.finish(&mut f, Exit::Yield(vec![result]));
    f.region_mut(body).params = params.to_vec();

    let mut list = ListBuilder::new(at(0));
    let (zero, one) = (list.i32(&mut f, 0), list.i32(&mut f, 1));
    let result = f.new_value(Type::I32);
    list.push(StmtKind::Loop { label, inits: vec![Value(0), zero, one], body, results: vec![result] });
    f.body = list.finish(&mut f, Exit::Yield(vec![result]));
    f
}

#[test]
fn a_loop_hands_its_values_on_all_at_once() {
    let f = fibonacci();
    for (n, expected) in [(0, 0), (1, 1), (2, 1), (3, 2), (10, 55), (47, 2_971_215_073)] {
        assert_eq!(pure(&f, &[n]), Ok(vec![Const::I32(expected)]));
    }
}

#[test]
fn fuel_counts_back_edges() {
    let f = fibonacci();
    let with_fuel = |fuel| {
        let invocation = Invocation { fuel, ..Invocation::default() };
        run(&f, &[Const::I32(10)], &invocation, &mut Space::default(), &|_| None)
    };
    assert_eq!(with_fuel(10), Ok(vec![Const::I32(55)]));
    assert_eq!(with_fuel(9), Err(Stop::OutOfFuel));
}

/// A switch in a loop in a block: case 0 breaks the block with 100, case 1 and 3 continue the loop with the index less
/// 1, case 2 leaves the loop with 7 (+ 1 after it), case 4 returns 50, the default traps.
fn many_exits() -> Function {
    let mut f = function(&[Type::I32], &[Type::I32]);
    let (block, outer) = (f.new_label(), f.new_label());
    let i = f.new_value(Type::I32);
    let constant_exit = |f: &mut Function, value, exit: &dyn Fn(Vec<Value>) -> Exit| {
        let mut list = ListBuilder::new(at(value));
        let value = list.i32(f, value);
        list.finish(f, exit(vec![value]))
    };
    let leave_block = constant_exit(&mut f, 100, &|v| Exit::Break(block, v));
    let mut list = ListBuilder::new(at(1));
    let one = list.i32(&mut f, 1);
    let less = list.wasm(&mut f, WasmOp::I32Sub, &[i, one]);
    let again = list.finish(&mut f, Exit::Continue(outer, vec![less]));
    let leave_loop = constant_exit(&mut f, 7, &|v| Exit::Break(outer, v));
    let leave = constant_exit(&mut f, 50, &Exit::Return);
    let default = ListBuilder::new(at(0x99)).finish(&mut f, Exit::Trap(TrapKind::Unreachable));

    let mut list = ListBuilder::new(at(2));
    let cases = vec![leave_block, again, leave_loop, again, leave];
    list.push(StmtKind::Switch { index: i, cases, default, results: vec![] });
    let loop_body = list.finish(&mut f, Exit::Trap(TrapKind::StackOverflow));
    f.region_mut(loop_body).params = vec![i];

    let (counted, blocked) = (f.new_value(Type::I32), f.new_value(Type::I32));
    let mut list = ListBuilder::new(at(3));
    list.push(StmtKind::Loop { label: outer, inits: vec![Value(0)], body: loop_body, results: vec![counted] });
    let one = list.i32(&mut f, 1);
    let sum = list.wasm(&mut f, WasmOp::I32Add, &[counted, one]);
    let block_body = list.finish(&mut f, Exit::Yield(vec![sum]));
    let mut list = ListBuilder::new(at(4));
    list.push(StmtKind::Block { label: block, body: block_body, results: vec![blocked] });
    f.body = list.finish(&mut f, Exit::Yield(vec![blocked]));
    f
}

#[test]
fn exits_cross_as_many_levels_as_they_name() {
    let f = many_exits();
    for (index, expected) in [(0, 100), (1, 100), (2, 8), (3, 8), (4, 50)] {
        assert_eq!(pure(&f, &[index]), Ok(vec![Const::I32(expected)]), "index {index}");
    }
    let trap = Stop::Trap { kind: TrapKind::Unreachable, at: at(0x99) };
    for index in [5, 6, u32::MAX] {
        assert_eq!(pure(&f, &[index]), Err(trap.clone()), "index {index}");
    }
}

#[test]
fn a_trap_names_the_operator_s_place() {
    let mut f = function(&[Type::I32, Type::I32], &[Type::I32]);
    let mut list = ListBuilder::new(at(0x77));
    let quotient = list.wasm(&mut f, WasmOp::I32DivS, &[Value(0), Value(1)]);
    list.at = at(0x79);
    f.body = list.finish(&mut f, Exit::Yield(vec![quotient]));
    assert_eq!(pure(&f, &[7u32.wrapping_neg(), 2]), Ok(vec![Const::I32(3u32.wrapping_neg())]));
    assert_eq!(pure(&f, &[7, 0]), Err(Stop::Trap { kind: TrapKind::DivideByZero, at: at(0x77) }));
    assert_eq!(pure(&f, &[1 << 31, u32::MAX]), Err(Stop::Trap { kind: TrapKind::IntegerOverflow, at: at(0x77) }));
}

/// Calls function 3 or itself: `v0 == 0 ? v0 : self(v0 - 1) + 1`.
fn recursive() -> Function {
    let mut f = function(&[Type::I32], &[Type::I32]);
    let mut then = ListBuilder::new(at(0x20));
    let one = then.i32(&mut f, 1);
    let less = then.wasm(&mut f, WasmOp::I32Sub, &[Value(0), one]);
    let inner = f.new_value(Type::I32);
    then.push(StmtKind::Call { callee: 3, args: vec![less], results: vec![inner] });
    let sum = then.wasm(&mut f, WasmOp::I32Add, &[inner, one]);
    let then = then.finish(&mut f, Exit::Yield(vec![sum]));
    let otherwise = ListBuilder::new(at(0x30)).finish(&mut f, Exit::Return(vec![Value(0)]));
    let mut list = ListBuilder::new(at(0x10));
    let result = f.new_value(Type::I32);
    list.push(StmtKind::If { cond: Value(0), then, otherwise, results: vec![result] });
    f.body = list.finish(&mut f, Exit::Return(vec![result]));
    f
}

#[test]
fn calls_have_values_of_their_own_and_a_limit() {
    let f = recursive();
    verify(&f, Stage::Wasm).unwrap();
    let call = |n: u32| {
        let resolve = |index| (index == 3).then_some(&f);
        run(&f, &[Const::I32(n)], &Invocation::default(), &mut Space::default(), &resolve)
    };
    assert_eq!(call(0), Ok(vec![Const::I32(0)]));
    assert_eq!(call(MAX_CALLS as u32), Ok(vec![Const::I32(MAX_CALLS as u32)]));
    assert_eq!(call(MAX_CALLS as u32 + 1), Err(Stop::Trap { kind: TrapKind::StackOverflow, at: at(0x20) }));
    let alone = run(&f, &[Const::I32(1)], &Invocation::default(), &mut Space::default(), &|_| None);
    assert!(matches!(alone, Err(Stop::Undefined(_))), "{alone:?}");
}

#[test]
fn globals_are_the_invocation_s_own() {
    let mut f = function(&[], &[Type::F32, Type::I32]);
    let mut list = ListBuilder::new(at(1));
    let five = list.i32(&mut f, 5);
    let first = list.op(&mut f, Op::GlobalGet(0), &[], Type::F32);
    list.effect(Op::GlobalSet(1), &[five]);
    let second = list.op(&mut f, Op::GlobalGet(1), &[], Type::I32);
    f.body = list.finish(&mut f, Exit::Yield(vec![first, second]));
    let globals = [Const::F32(0x3f80_0000), Const::I32(9)];
    let invocation = Invocation { globals: &globals, ..Invocation::default() };
    let results = run(&f, &[], &invocation, &mut Space::default(), &|_| None);
    assert_eq!(results, Ok(vec![Const::F32(0x3f80_0000), Const::I32(5)]));
    assert_eq!(globals[1], Const::I32(9));
}

/// Loads or stores with one access; the stored value is the second parameter.
fn one_access(access: MemoryAccess, store: bool) -> Function {
    let mut f = function(&[Type::I32, Type::I64], &[]);
    let mut list = ListBuilder::new(at(0x50));
    if store {
        list.effect(Op::Store(access), &[Value(0), Value(1)]);
        f.body = list.finish(&mut f, Exit::Yield(vec![]));
    } else {
        let loaded = list.op(&mut f, Op::Load(access), &[Value(0)], access.ty);
        f.results = vec![access.ty];
        f.body = list.finish(&mut f, Exit::Yield(vec![loaded]));
    }
    f
}

fn space() -> Space {
    let linear = (0x80..0x90).collect();
    let writable = Buffer::new(0xffff_0000, Access::ReadWrite, &[1, 2, 3, 4, 0xfe]);
    Space { linear, buffers: vec![writable, Buffer::new(0xffff_fff8, Access::Read, &[9, 8, 7, 6, 5, 4, 3, 2])] }
}

#[test]
fn loads_extend_and_stay_within_one_object() {
    let load = |address: u32, ty, bytes, signed, offset| {
        let f = one_access(MemoryAccess { ty, bytes, signed, offset, memory: 0, checked: None }, false);
        verify(&f, Stage::Inlined).unwrap();
        let args = [Const::I32(address), Const::I64(0)];
        run(&f, &args, &Invocation::default(), &mut space(), &|_| None).map(|v| v[0])
    };
    let out = Err(Stop::Trap { kind: TrapKind::OutOfBounds, at: at(0x50) });
    assert_eq!(load(0, Type::I32, 1, false, 0), Ok(Const::I32(0x80)));
    assert_eq!(load(0, Type::I32, 1, true, 1), Ok(Const::I32(0xffff_ff81)));
    assert_eq!(load(2, Type::I64, 2, true, 0), Ok(Const::I64(0xffff_ffff_ffff_8382)));
    assert_eq!(load(1, Type::F32, 4, false, 0), Ok(Const::F32(0x8483_8281)));
    assert_eq!(load(8, Type::F64, 8, false, 0), Ok(Const::F64(0x8f8e_8d8c_8b8a_8988)));
    assert_eq!(load(9, Type::I64, 8, false, 0), out);
    assert_eq!(load(15, Type::I32, 1, false, 0), Ok(Const::I32(0x8f)));
    assert_eq!(load(16, Type::I32, 1, false, 0), out);
    // The buffer of five bytes, and one past its end though a whole word backs it.
    assert_eq!(load(0xffff_0001, Type::I32, 4, false, 0), Ok(Const::I32(0xfe04_0302)));
    assert_eq!(load(0xffff_0002, Type::I32, 4, false, 0), out);
    // To the last byte of the address space, and no wrapping beyond it.
    assert_eq!(load(0xffff_fff8, Type::I32, 4, false, 4), Ok(Const::I32(0x0203_0405)));
    assert_eq!(load(0xffff_fff8, Type::I32, 4, false, 8), out);
}

#[test]
fn stores_keep_to_writable_objects() {
    let store = |address: u32, bytes, space: &mut Space| {
        let f =
            one_access(MemoryAccess { ty: Type::I64, bytes, signed: false, offset: 0, memory: 0, checked: None }, true);
        verify(&f, Stage::Inlined).unwrap();
        let args = [Const::I32(address), Const::I64(0x1122_3344_5566_7788)];
        run(&f, &args, &Invocation::default(), space, &|_| None).map(|v| v.len())
    };
    let out = Err(Stop::Trap { kind: TrapKind::OutOfBounds, at: at(0x50) });
    let mut s = space();
    assert_eq!(store(0xffff_0003, 2, &mut s), Ok(0));
    assert_eq!(s.buffers[0].bytes(), [1, 2, 3, 0x88, 0x77]);
    assert_eq!(store(4, 8, &mut s), Ok(0));
    assert_eq!(s.linear[3..13], [0x83, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x8c]);
    let before = s.clone();
    assert_eq!(store(0xffff_0004, 2, &mut s), out);
    assert_eq!(store(0xffff_fff8, 1, &mut s), out);
    assert_eq!(store(13, 4, &mut s), out);
    assert_eq!(s, before);
}

#[test]
fn both_views_show_the_same_bytes() {
    let mut s = space();
    assert_eq!(s.load_word(0, 0), Some(0x0403_0201));
    assert_eq!(s.load_word(0, 1), Some(0xfe));
    assert_eq!(s.load_word(0, 2), None);
    assert_eq!(s.load_word(2, 0), None);
    assert_eq!(s.load_word(1, u32::MAX), None);
    s.store(0xffff_0001, &[0xaa]).unwrap();
    assert_eq!(s.load_word(0, 0), Some(0x0403_aa01));
    assert_eq!(s.store_word(0, 1, 0x5b), Some(()));
    assert_eq!(s.buffers[0].bytes(), [1, 0xaa, 3, 4, 0x5b]);
    assert_eq!(s.store_word(1, 0, 0), None);
    assert_eq!(s.store_word(0, 2, 0), None);
}

/// Strict form: `slot0[id] = sum of slot1[i] for i < immediates[5]`, by a variable and a loop.
fn sum_kernel() -> Function {
    let mut f = function(&[], &[]);
    let label = f.new_label();
    let (i, sum) = (f.new_var(Type::I32), f.new_var(Type::I32));
    let get = |list: &mut ListBuilder, f: &mut Function, var| list.low(f, LowOp::VarGet(var), &[], Type::I32);
    let set = |list: &mut ListBuilder, var, value| list.effect(Op::Low(LowOp::VarSet(var)), &[value]);

    let mut body = ListBuilder::new(at(2));
    let index = get(&mut body, &mut f, i);
    let count = body.low(&mut f, LowOp::Immediate(5), &[], Type::I32);
    let goes_on = body.low(&mut f, LowOp::ULt, &[index, count], Type::Bool);
    let then = ListBuilder::new(at(3)).finish(&mut f, Exit::Yield(vec![]));
    let otherwise = ListBuilder::new(at(4)).finish(&mut f, Exit::Break(label, vec![]));
    body.push(StmtKind::If { cond: goes_on, then, otherwise, results: vec![] });
    let word = body.low(&mut f, LowOp::LoadWord { slot: 1 }, &[index], Type::I32);
    let old = get(&mut body, &mut f, sum);
    let new = body.low(&mut f, LowOp::IAdd, &[old, word], Type::I32);
    set(&mut body, sum, new);
    let one = body.i32(&mut f, 1);
    let next = body.low(&mut f, LowOp::IAdd, &[index, one], Type::I32);
    set(&mut body, i, next);
    let body = body.finish(&mut f, Exit::Continue(label, vec![]));

    let mut list = ListBuilder::new(at(1));
    let zero = list.i32(&mut f, 0);
    set(&mut list, i, zero);
    set(&mut list, sum, zero);
    list.push(StmtKind::Loop { label, inits: vec![], body, results: vec![] });
    let id = list.low(&mut f, LowOp::IterationId, &[], Type::I32);
    let total = get(&mut list, &mut f, sum);
    list.effect(Op::Low(LowOp::StoreWord { slot: 0 }), &[id, total]);
    f.body = list.finish(&mut f, Exit::Return(vec![]));
    f
}

fn run_sum(f: &Function, iteration: u32, count: u32) -> (Result<Vec<Const>, Stop>, Space) {
    let words: Vec<u8> = [10u32, 20, 30].iter().flat_map(|w| w.to_le_bytes()).collect();
    let (out, input) =
        (Buffer::new(0xfffe_0000, Access::Write, &[0; 8]), Buffer::new(0xffff_0000, Access::Read, &words));
    let mut space = Space { linear: vec![], buffers: vec![out, input] };
    let immediates = [0, 0, 0, 0, 0, count];
    let invocation = Invocation { immediates: &immediates, iteration, ..Invocation::default() };
    (run(f, &[], &invocation, &mut space, &|_| None), space)
}

#[test]
fn strict_form_runs_on_words_and_variables() {
    let f = sum_kernel();
    verify(&f, Stage::Strict).unwrap();
    let (result, space) = run_sum(&f, 1, 3);
    assert_eq!(result, Ok(vec![]));
    assert_eq!(space.buffers[0].bytes(), [0, 0, 0, 0, 60, 0, 0, 0]);
}

#[track_caller]
fn assert_undefined(found: Result<Vec<Const>, Stop>, what: &str) {
    match found {
        Err(Stop::Undefined(message)) => assert!(message.contains(what), "{message}"),
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn a_forgotten_check_is_found() {
    let f = sum_kernel();
    assert_undefined(run_sum(&f, 1, 4).0, "word 3 of slot 1");
    assert_undefined(run_sum(&f, 2, 3).0, "word 2 of slot 0");
}

/// One lowered operator on the parameters.
fn one_low(op: LowOp, params: &[Type], result: Type) -> Function {
    let mut f = function(params, &[result]);
    f.vars = vec![Type::I32];
    let mut list = ListBuilder::new(at(1));
    let args = f.params.clone();
    let value = list.low(&mut f, op, &args, result);
    f.body = list.finish(&mut f, Exit::Return(vec![value]));
    f
}

#[test]
fn undefined_behaviour_of_lowered_code_is_found() {
    let run_low = |op, params: &[Type], args: &[u32]| {
        run_alone(&one_low(op, params, Type::I32), Stage::Strict, args, &mut Space::default())
    };
    let two = [Type::I32; 2];
    assert_eq!(run_low(LowOp::Shl, &two, &[1, 31]), Ok(vec![Const::I32(1 << 31)]));
    assert_undefined(run_low(LowOp::Shl, &two, &[1, 32]), "a shift by the operand's size");
    assert_undefined(run_low(LowOp::UDiv, &two, &[1, 0]), "a division by zero");
    assert_undefined(run_low(LowOp::SRem, &two, &[1 << 31, u32::MAX]), "a division by zero");
    assert_undefined(run_low(LowOp::VarGet(Var(0)), &[], &[]), "x0 was read before it was set");
    assert_undefined(run_low(LowOp::Immediate(0), &[], &[]), "word 0 of the immediates");
}

#[test]
fn select_takes_wasm_s_and_lowered_conditions() {
    let mut f = function(&[Type::I32; 3], &[Type::I32]);
    let mut list = ListBuilder::new(at(1));
    let chosen = list.op(&mut f, Op::Select, &[Value(0), Value(1), Value(2)], Type::I32);
    f.body = list.finish(&mut f, Exit::Yield(vec![chosen]));
    assert_eq!(pure(&f, &[1, 2, 4]), Ok(vec![Const::I32(1)]));
    assert_eq!(pure(&f, &[1, 2, 0]), Ok(vec![Const::I32(2)]));
}

#[test]
fn deep_nesting_does_not_use_the_stack() {
    let mut f = function(&[Type::I32], &[Type::I32]);
    let first = f.new_label();
    let mut inner = ListBuilder::new(at(1)).finish(&mut f, Exit::Break(first, vec![Value(0)]));
    for level in (0..100_000).rev() {
        let label = if level == 0 { first } else { f.new_label() };
        let result = f.new_value(Type::I32);
        let mut list = ListBuilder::new(at(1));
        list.push(StmtKind::Block { label, body: inner, results: vec![result] });
        inner = list.finish(&mut f, Exit::Yield(vec![result]));
    }
    f.body = inner;
    assert_eq!(pure(&f, &[42]), Ok(vec![Const::I32(42)]));
}
