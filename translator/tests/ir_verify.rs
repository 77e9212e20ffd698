//! The verifier accepts right functions and rejects each rule broken, one planted bug a test.

use wavelift_translator::ir::builder::ListBuilder;
use wavelift_translator::ir::operator::MemoryAccess;
use wavelift_translator::ir::verify::{Rule, Stage, verify};
use wavelift_translator::ir::{
    Const, Exit, Function, Label, LowOp, Op, Region, RegionId, Stmt, StmtKind, Type, Value, Var, WasmOp,
};
use wavelift_translator::{Location, TrapKind};

const AT: Location = Location { function: 3, offset: 0x40 };

/// The body and the switch's first case in [`sample`].
const BODY: RegionId = RegionId(6);
const CASE: RegionId = RegionId(3);

/// A function `(v0: i32) -> (i32)` without a body yet.
fn function() -> Function {
    Function {
        index: 3,
        name: "sum".into(),
        params: vec![Value(0)],
        results: vec![Type::I32],
        body: RegionId(0),
        values: vec![Type::I32],
        regions: Vec::new(),
        vars: Vec::new(),
        labels: 0,
        stack_words: 0,
        states: None,
        data: Default::default(),
    }
}

fn region(f: &mut Function, exit: Exit) -> RegionId {
    ListBuilder::new(AT).finish(f, exit)
}

/// In Wasm's form: a loop (L0) with a parameter that counts down, in it an `if`, after it a block (L1) with a switch,
/// both of whose cases are one region.
struct Sample {
    f: Function,
    loop_body: RegionId,
    then: RegionId,
    otherwise: RegionId,
    block_body: RegionId,
    case: RegionId,
    default: RegionId,
    /// Computed in the loop's region.
    inner: Value,
}

fn sample() -> Sample {
    let mut f = function();
    let (outer, block) = (f.new_label(), f.new_label());
    let param = f.new_value(Type::I32);

    let mut list = ListBuilder::new(AT);
    let one = list.i32(&mut f, 1);
    let inner = list.wasm(&mut f, WasmOp::I32Sub, &[param, one]);
    let then = region(&mut f, Exit::Continue(outer, vec![inner]));
    let otherwise = region(&mut f, Exit::Yield(vec![inner]));
    let chosen = f.new_value(Type::I32);
    list.push(StmtKind::If { cond: inner, then, otherwise, results: vec![chosen] });
    let loop_body = list.finish(&mut f, Exit::Break(outer, vec![chosen]));
    f.region_mut(loop_body).params = vec![param];

    let case = region(&mut f, Exit::Yield(vec![]));
    let default = region(&mut f, Exit::Trap(TrapKind::Unreachable));
    let mut list = ListBuilder::new(AT);
    list.push(StmtKind::Switch { index: Value(0), cases: vec![case, case], default, results: vec![] });
    let block_body = list.finish(&mut f, Exit::Break(block, vec![Value(0)]));

    let mut list = ListBuilder::new(AT);
    let (counted, broken) = (f.new_value(Type::I32), f.new_value(Type::I32));
    list.push(StmtKind::Loop { label: outer, inits: vec![Value(0)], body: loop_body, results: vec![counted] });
    list.push(StmtKind::Block { label: block, body: block_body, results: vec![broken] });
    let sum = list.wasm(&mut f, WasmOp::I32Add, &[counted, broken]);
    f.body = list.finish(&mut f, Exit::Yield(vec![sum]));
    Sample { f, loop_body, then, otherwise, block_body, case, default, inner }
}

/// In strict form: a loop (L0) that counts `x0` down and breaks at zero.
struct Strict {
    f: Function,
    loop_body: RegionId,
    then: RegionId,
    otherwise: RegionId,
}

fn strict() -> Strict {
    let mut f = function();
    f.results.clear();
    let label = f.new_label();
    let var = f.new_var(Type::I32);
    let mut list = ListBuilder::new(AT);
    let old = list.low(&mut f, LowOp::VarGet(var), &[], Type::I32);
    let one = list.i32(&mut f, 1);
    let new = list.low(&mut f, LowOp::ISub, &[old, one], Type::I32);
    list.effect(Op::Low(LowOp::VarSet(var)), &[new]);
    let done = list.low(&mut f, LowOp::Eq, &[new, one], Type::Bool);
    let then = region(&mut f, Exit::Break(label, vec![]));
    let otherwise = region(&mut f, Exit::Yield(vec![]));
    list.push(StmtKind::If { cond: done, then, otherwise, results: vec![] });
    let loop_body = list.finish(&mut f, Exit::Continue(label, vec![]));
    let mut list = ListBuilder::new(AT);
    list.effect(Op::Low(LowOp::VarSet(var)), &[Value(0)]);
    list.push(StmtKind::Loop { label, inits: vec![], body: loop_body, results: vec![] });
    f.body = list.finish(&mut f, Exit::Return(vec![]));
    Strict { f, loop_body, then, otherwise }
}

#[track_caller]
fn broken(f: &Function, stage: Stage) -> Rule {
    verify(f, stage).expect_err("the planted bug must be found").rule
}

fn stmt(f: &mut Function, region: RegionId, index: usize) -> &mut StmtKind {
    &mut f.region_mut(region).stmts[index].kind
}

fn append(f: &mut Function, region: RegionId, kind: StmtKind) {
    f.region_mut(region).stmts.push(Stmt { kind, at: AT });
}

#[test]
fn right_functions_are_accepted() {
    verify(&sample().f, Stage::Wasm).unwrap();
    verify(&sample().f, Stage::Inlined).unwrap();
    verify(&strict().f, Stage::Strict).unwrap();
}

#[test]
fn the_message_names_function_region_place_and_rule() {
    let mut s = sample();
    s.f.region_mut(s.then).exit = Exit::Continue(Label(0), vec![]);
    let text = verify(&s.f, Stage::Wasm).unwrap_err().to_string();
    let expected = format!(
        "Function 3 (`sum`) breaks a rule of the intermediate representation in region {} (function 3, byte offset \
         0x40): the operands of `continue` must have the types [I32], not [].",
        s.then
    );
    assert_eq!(text, expected);
}

#[test]
fn indices_beyond_the_tables() {
    let mut s = sample();
    s.f.region_mut(s.otherwise).exit = Exit::Yield(vec![Value(999)]);
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::NoSuchValue(Value(999)));

    let mut s = sample();
    s.f.body = RegionId(999);
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::NoSuchRegion(RegionId(999)));

    let mut s = sample();
    s.f.region_mut(s.then).exit = Exit::Break(Label(999), vec![]);
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::NoSuchLabel(Label(999)));

    let mut s = sample();
    s.f.labels = 1;
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::NoSuchLabel(Label(1)));

    let mut s = sample();
    s.f.region_mut(s.loop_body).params = vec![Value(999)];
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::NoSuchValue(Value(999)));
}

#[test]
fn a_value_defined_twice() {
    let mut s = sample();
    let (inner, body) = (s.inner, s.f.body);
    append(
        &mut s.f,
        body,
        StmtKind::Op { op: Op::Const(Const::I32(0)), args: Default::default(), result: Some(inner) },
    );
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::DefinedTwice(inner));

    let mut s = sample();
    s.f.params = vec![Value(0), Value(0)];
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::DefinedTwice(Value(0)));
}

#[test]
fn a_value_used_outside_its_region() {
    let mut s = sample();
    let (inner, body) = (s.inner, s.f.body);
    s.f.region_mut(body).exit = Exit::Yield(vec![inner]);
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::NotInScope(inner));
}

#[test]
fn a_value_used_before_its_definition() {
    let mut s = sample();
    let stmts = &mut s.f.region_mut(s.loop_body).stmts;
    stmts.swap(0, 1);
    assert!(matches!(broken(&s.f, Stage::Wasm), Rule::NotInScope(_)));

    // A statement's results are not there within it.
    let mut s = sample();
    let StmtKind::Loop { results, .. } = stmt(&mut s.f, BODY, 0).clone() else { panic!("no loop there") };
    s.f.region_mut(s.otherwise).exit = Exit::Yield(results.clone());
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::NotInScope(results[0]));
}

#[test]
fn a_region_used_twice() {
    let mut s = sample();
    let otherwise = s.otherwise;
    let StmtKind::If { then, .. } = stmt(&mut s.f, s.loop_body, 2) else { panic!("no if there") };
    *then = otherwise;
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::RegionUsedTwice(otherwise));

    // A switch may repeat its own regions only.
    let mut s = sample();
    let StmtKind::Switch { cases, .. } = stmt(&mut s.f, s.block_body, 0) else { panic!("no switch there") };
    cases.push(otherwise);
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::RegionUsedTwice(otherwise));

    // Nor may a region contain itself.
    let mut s = sample();
    let StmtKind::Block { body, .. } = stmt(&mut s.f, BODY, 1) else { panic!("no block there") };
    *body = BODY;
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::RegionUsedTwice(BODY));
}

#[test]
fn the_default_may_be_a_case_too() {
    let mut s = sample();
    let StmtKind::Switch { cases, default, .. } = stmt(&mut s.f, s.block_body, 0) else { panic!("no switch there") };
    *default = cases[0];
    verify(&s.f, Stage::Wasm).unwrap();
    assert_ne!(s.case, s.default);
}

#[test]
fn a_label_used_twice() {
    let mut s = sample();
    s.f.region_mut(s.block_body).exit = Exit::Break(Label(0), vec![Value(0)]);
    let StmtKind::Block { label, .. } = stmt(&mut s.f, BODY, 1) else { panic!("no block there") };
    *label = Label(0);
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::LabelUsedTwice(Label(0)));
}

#[test]
fn an_exit_to_a_label_that_does_not_enclose_it() {
    let mut s = sample();
    s.f.region_mut(s.then).exit = Exit::Break(Label(1), vec![s.inner]);
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::LabelNotInScope(Label(1)));

    let mut s = sample();
    s.f.region_mut(s.case).exit = Exit::Continue(Label(0), vec![Value(0)]);
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::LabelNotInScope(Label(0)));
}

#[test]
fn a_continue_of_a_block() {
    let mut s = sample();
    s.f.region_mut(s.case).exit = Exit::Continue(Label(1), vec![]);
    assert_eq!(broken(&s.f, Stage::Wasm), Rule::ContinueOfBlock(Label(1)));
}

#[test]
fn parameters_of_a_region_that_is_no_loop_s() {
    for region in [RegionId(0), CASE, RegionId(5), BODY] {
        let mut s = sample();
        let extra = s.f.new_value(Type::I32);
        s.f.region_mut(region).params = vec![extra];
        assert_eq!(broken(&s.f, Stage::Wasm), Rule::ParamsOutsideLoop);
    }
}

#[test]
fn types_that_do_not_meet() {
    let what = |f: &Function, stage| match broken(f, stage) {
        Rule::Types { what, .. } => what,
        other => panic!("another rule: {other}"),
    };
    let wide = |s: &mut Sample, region: RegionId| {
        let wide = s.f.new_value(Type::I64);
        let op = StmtKind::Op { op: Op::Const(Const::I64(0)), args: Default::default(), result: Some(wide) };
        s.f.region_mut(region).stmts.insert(0, Stmt { kind: op, at: AT });
        wide
    };

    let mut s = sample();
    let v = wide(&mut s, CASE);
    s.f.region_mut(CASE).exit = Exit::Yield(vec![v]);
    assert_eq!(what(&s.f, Stage::Wasm), "the operands of `yield`");

    let (mut s, body) = (sample(), sample().f.body);
    let v = wide(&mut s, body);
    s.f.region_mut(body).exit = Exit::Yield(vec![v]);
    assert_eq!(what(&s.f, Stage::Wasm), "the operands of the body's `yield`");
    s.f.region_mut(body).exit = Exit::Return(vec![v]);
    assert_eq!(what(&s.f, Stage::Wasm), "the operands of `return`");
    s.f.region_mut(body).exit = Exit::Return(vec![]);
    assert_eq!(what(&s.f, Stage::Wasm), "the operands of `return`");

    let mut s = sample();
    let (then, block_body, loop_body) = (s.then, s.block_body, s.loop_body);
    let v = wide(&mut s, then);
    s.f.region_mut(then).exit = Exit::Continue(Label(0), vec![v]);
    assert_eq!(what(&s.f, Stage::Wasm), "the operands of `continue`");

    let mut s = sample();
    let v = wide(&mut s, block_body);
    s.f.region_mut(block_body).exit = Exit::Break(Label(1), vec![v]);
    assert_eq!(what(&s.f, Stage::Wasm), "the operands of `break`");

    let mut s = sample();
    let v = wide(&mut s, body);
    *stmt(&mut s.f, body, 1).args_mut().first_mut().unwrap() = v;
    assert_eq!(what(&s.f, Stage::Wasm), "the initial values of a loop");

    let mut s = sample();
    let v = wide(&mut s, loop_body);
    stmt(&mut s.f, loop_body, 3).args_mut()[0] = v;
    assert_eq!(what(&s.f, Stage::Wasm), "the condition of an `if`");

    let mut s = sample();
    let v = wide(&mut s, block_body);
    stmt(&mut s.f, block_body, 1).args_mut()[0] = v;
    assert_eq!(what(&s.f, Stage::Wasm), "the index of a `switch`");

    // Lowered conditions are Bool, not I32.
    let mut s = strict();
    stmt(&mut s.f, s.loop_body, 5).args_mut()[0] = Value(0);
    assert_eq!(what(&s.f, Stage::Strict), "the condition of an `if`");
}

#[test]
fn operators_with_wrong_operands_or_results() {
    let access = |bytes, ty| MemoryAccess { ty, bytes, signed: false, offset: 0, memory: 0, checked: None };
    let i = Value(0);
    let rows: Vec<(Op, Vec<Value>, Option<Type>)> = vec![
        (Op::Wasm(WasmOp::I32Add), vec![i], Some(Type::I32)),
        (Op::Wasm(WasmOp::I32Add), vec![i, i], Some(Type::I64)),
        (Op::Wasm(WasmOp::I32Add), vec![i, i], None),
        (Op::Wasm(WasmOp::F32Add), vec![i, i], Some(Type::F32)),
        (Op::Const(Const::I32(1)), vec![], Some(Type::F32)),
        (Op::Const(Const::I32(1)), vec![i], Some(Type::I32)),
        (Op::Select, vec![i, i], Some(Type::I32)),
        (Op::Select, vec![i, i, i], Some(Type::I64)),
        (Op::Load(access(8, Type::I32)), vec![i], Some(Type::I32)),
        (Op::Load(access(3, Type::I32)), vec![i], Some(Type::I32)),
        (Op::Load(access(2, Type::F32)), vec![i], Some(Type::F32)),
        (Op::Load(access(4, Type::I32)), vec![i], Some(Type::F32)),
        (Op::Store(access(4, Type::F32)), vec![i, i], None),
        (Op::Store(access(4, Type::I32)), vec![i, i], Some(Type::I32)),
        (Op::MemorySize, vec![i], Some(Type::I32)),
        (Op::MemorySize, vec![], None),
        (Op::MemoryFill, vec![i, i], None),
        (Op::MemoryCopy, vec![i, i, i], Some(Type::I32)),
        (Op::MemoryInit(0), vec![i, i], None),
        (Op::GlobalGet(0), vec![], None),
        (Op::GlobalGet(0), vec![i], Some(Type::I32)),
        (Op::GlobalSet(0), vec![], None),
        (Op::GlobalSet(0), vec![i], Some(Type::I32)),
    ];
    for (op, args, result) in rows {
        let mut s = sample();
        let result = result.map(|ty| s.f.new_value(ty));
        let body = s.f.body;
        append(&mut s.f, body, StmtKind::Op { op, args: args.into(), result });
        assert!(matches!(broken(&s.f, Stage::Wasm), Rule::Operator { .. }), "{op:?}");
    }
    let rows = [
        (LowOp::VarGet(Var(1)), vec![], Some(Type::I32)),
        (LowOp::VarGet(Var(0)), vec![], Some(Type::I64)),
        (LowOp::VarSet(Var(0)), vec![], None),
        (LowOp::VarSet(Var(1)), vec![i], None),
        (LowOp::StoreWord { slot: 0 }, vec![i], None),
        (LowOp::LoadWord { slot: 0 }, vec![i], None),
        (LowOp::IterationId, vec![i], Some(Type::I32)),
        (LowOp::Eq, vec![i, i], Some(Type::I32)),
    ];
    for (op, args, result) in rows {
        let mut s = strict();
        let result = result.map(|ty| s.f.new_value(ty));
        s.f.region_mut(s.f.body)
            .stmts
            .insert(0, Stmt { kind: StmtKind::Op { op: Op::Low(op), args: args.into(), result }, at: AT });
        assert!(matches!(broken(&s.f, Stage::Strict), Rule::Operator { .. }), "{op:?}");
    }
}

#[track_caller]
fn wrong_stage(f: &Function, stage: Stage, what: &str) {
    match broken(f, stage) {
        Rule::WrongStage { what: found, stage: at } => assert_eq!((found, at), (what, stage)),
        other => panic!("another rule: {other}"),
    }
}

#[test]
fn what_a_stage_does_not_have() {
    wrong_stage(&sample().f, Stage::Lowered, "an operator that is not lowered");
    wrong_stage(&strict().f, Stage::Wasm, "a variable");
    wrong_stage(&strict().f, Stage::Lowered, "a variable");

    let mut s = sample();
    let body = s.f.body;
    append(&mut s.f, body, StmtKind::Call { callee: 1, args: vec![], results: vec![] });
    verify(&s.f, Stage::Wasm).unwrap();
    wrong_stage(&s.f, Stage::Inlined, "a call");

    let mut s = sample();
    let body = s.f.body;
    append(&mut s.f, body, StmtKind::CallIndirect { table: 0, args: vec![Value(0)], results: vec![] });
    verify(&s.f, Stage::Wasm).unwrap();
    wrong_stage(&s.f, Stage::Inlined, "a call");
    let wide = s.f.new_value(Type::I64);
    let zero = StmtKind::Op { op: Op::Const(Const::I64(0)), args: Default::default(), result: Some(wide) };
    append(&mut s.f, body, zero);
    for args in [vec![], vec![Value(0), wide]] {
        append(&mut s.f, body, StmtKind::CallIndirect { table: 0, args, results: vec![] });
        assert!(matches!(broken(&s.f, Stage::Wasm), Rule::Types { what: "the entry of an indirect call", .. }));
        s.f.region_mut(body).stmts.pop();
    }

    let mut s = sample();
    let id = s.f.new_value(Type::I32);
    append(
        &mut s.f,
        body,
        StmtKind::Op { op: Op::Low(LowOp::IterationId), args: Default::default(), result: Some(id) },
    );
    wrong_stage(&s.f, Stage::Inlined, "a lowered operator");

    let mut s = sample();
    let flag = s.f.new_value(Type::Bool);
    append(
        &mut s.f,
        body,
        StmtKind::Op { op: Op::Const(Const::Bool(true)), args: Default::default(), result: Some(flag) },
    );
    wrong_stage(&s.f, Stage::Inlined, "a `Bool` value");
}

#[test]
fn what_strict_form_does_not_have() {
    // Lowered form allows what each of these adds.
    let planted = |plant: &dyn Fn(&mut Function), what: &str| {
        let mut f = function();
        f.results.clear();
        f.body = region(&mut f, Exit::Return(vec![]));
        plant(&mut f);
        verify(&f, Stage::Lowered).unwrap();
        wrong_stage(&f, Stage::Strict, what);
    };
    let result = "a result of a statement that is no operator";
    planted(
        &|f| {
            let (label, body, inner) = (f.new_label(), f.body, region(f, Exit::Yield(vec![])));
            append(f, body, StmtKind::Block { label, body: inner, results: vec![] });
        },
        "a block",
    );
    planted(
        &|f| {
            let (body, default) = (f.body, region(f, Exit::Yield(vec![])));
            append(f, body, StmtKind::Switch { index: Value(0), cases: vec![], default, results: vec![] });
        },
        "a switch",
    );
    planted(
        &|f| {
            let (label, body) = (f.new_label(), f.body);
            let inner = region(f, Exit::Break(label, vec![]));
            f.region_mut(inner).params = vec![f.new_value(Type::I32)];
            append(f, body, StmtKind::Loop { label, inits: vec![Value(0)], body: inner, results: vec![] });
        },
        "a parameter of a loop",
    );
    planted(
        &|f| {
            let (label, body) = (f.new_label(), f.body);
            let inner = region(f, Exit::Break(label, vec![Value(0)]));
            let results = vec![f.new_value(Type::I32)];
            append(f, body, StmtKind::Loop { label, inits: vec![], body: inner, results });
        },
        result,
    );
    planted(
        &|f| {
            let (body, results) = (f.body, vec![f.new_value(Type::I32)]);
            let cond = f.new_value(Type::Bool);
            let (then, otherwise) = (region(f, Exit::Yield(vec![Value(0)])), region(f, Exit::Yield(vec![Value(0)])));
            append(
                f,
                body,
                StmtKind::Op { op: Op::Const(Const::Bool(true)), args: Default::default(), result: Some(cond) },
            );
            append(f, body, StmtKind::If { cond, then, otherwise, results });
        },
        result,
    );
}

#[test]
fn strict_exits_name_the_innermost_loop() {
    for exit in [Exit::Break(Label(0), vec![]), Exit::Continue(Label(0), vec![])] {
        let mut s = strict();
        let label = s.f.new_label();
        let inner = region(&mut s.f, exit.clone());
        let kind = StmtKind::Loop { label, inits: vec![], body: inner, results: vec![] };
        s.f.region_mut(s.otherwise).stmts.push(Stmt { kind, at: AT });
        let name = if matches!(exit, Exit::Break(..)) { "break" } else { "continue" };
        assert_eq!(broken(&s.f, Stage::Strict), Rule::NotInnermost { exit: name, label: Label(0) });
        s.f.region_mut(inner).exit = Exit::Break(label, vec![]);
        verify(&s.f, Stage::Strict).unwrap();
    }
}

#[test]
fn a_strict_loop_that_yields() {
    let mut s = strict();
    s.f.region_mut(s.loop_body).exit = Exit::Yield(vec![]);
    assert_eq!(broken(&s.f, Stage::Strict), Rule::LoopYields);
}

#[test]
fn unreachable_statements_in_strict_form() {
    let op = || StmtKind::Op { op: Op::Const(Const::I32(0)), args: Default::default(), result: None };
    // Both ways leave, so the statement after the `if` is dead.
    let mut s = strict();
    s.f.region_mut(s.otherwise).exit = Exit::Continue(Label(0), vec![]);
    verify(&s.f, Stage::Strict).unwrap();
    append(&mut s.f, s.loop_body, op());
    assert_eq!(broken(&s.f, Stage::Strict), Rule::Unreachable);

    // Nothing breaks out of the loop.
    let mut s = strict();
    s.f.region_mut(s.then).exit = Exit::Return(vec![]);
    verify(&s.f, Stage::Strict).unwrap();
    let body = s.f.body;
    append(&mut s.f, body, op());
    assert_eq!(broken(&s.f, Stage::Strict), Rule::Unreachable);
}

/// `depth` blocks in one another, the innermost breaking out of all.
fn nest(depth: u32) -> Function {
    let mut f = function();
    let first = f.new_label();
    let mut inner = region(&mut f, Exit::Break(first, vec![Value(0)]));
    for level in (0..depth).rev() {
        let label = if level == 0 { first } else { f.new_label() };
        let result = f.new_value(Type::I32);
        let mut list = ListBuilder::new(AT);
        list.push(StmtKind::Block { label, body: inner, results: vec![result] });
        inner = list.finish(&mut f, Exit::Yield(vec![result]));
    }
    f.body = inner;
    f
}

#[test]
fn deep_nesting_and_long_switches_are_no_trouble() {
    let mut f = nest(100_000);
    verify(&f, Stage::Wasm).unwrap();
    // The innermost region is the first one made.
    f.region_mut(RegionId(0)).exit = Exit::Break(Label(0), vec![]);
    assert!(matches!(broken(&f, Stage::Wasm), Rule::Types { .. }));

    let mut s = sample();
    let fresh: Vec<RegionId> = (0..64_000).map(|_| region(&mut s.f, Exit::Yield(vec![]))).collect();
    let StmtKind::Switch { cases, .. } = stmt(&mut s.f, s.block_body, 0) else { panic!("no switch there") };
    cases.extend(fresh.iter().chain(&fresh));
    verify(&s.f, Stage::Wasm).unwrap();
}

#[test]
fn regions_that_nothing_uses_are_ignored() {
    let mut s = sample();
    let exit = Exit::Break(Label(77), vec![Value(77)]);
    s.f.new_region(Region { params: vec![Value(77)], stmts: vec![], exit, exit_at: AT });
    verify(&s.f, Stage::Wasm).unwrap();
}
