//! Pointers in every shape that compilers give them: what they root in, and that making them relative changes nothing.

mod lower_support;

use arbtest::arbitrary::{Result as Drawn, Unstructured};
use lower_support::*;
use wavelift_translator::analysis::alignment::alignment;
use wavelift_translator::analysis::roots::{Root, roots};
use wavelift_translator::ir::{Exit, Function, LowOp, Op, StmtKind, Type, Value, WasmOp};
use wavelift_translator::{Options, Shape, immediate};

fn words(count: u32) -> Vec<u8> {
    (0..count).flat_map(|i| (i * 3 + 1).to_le_bytes()).collect()
}

/// A loop that carries `inits`; `body` gives the condition to go on, and the next values.
fn while_loop(
    k: &mut Kernel,
    inits: &[Value],
    body: impl FnOnce(&mut Kernel, &[Value]) -> (Value, Vec<Value>),
) -> Vec<Value> {
    let label = k.function.new_label();
    let types: Vec<Type> = inits.iter().map(|v| k.function.ty(*v)).collect();
    let params: Vec<Value> = types.iter().map(|ty| k.value(*ty)).collect();
    let results: Vec<Value> = types.iter().map(|ty| k.value(*ty)).collect();
    k.open();
    let (condition, next) = body(k, &params);
    k.open();
    let then = k.close(&[], Exit::Continue(label, next));
    k.open();
    let otherwise = k.close(&[], Exit::Yield(vec![]));
    k.push(StmtKind::If { cond: condition, then, otherwise, results: vec![] });
    let region = k.close(&params, Exit::Yield(params.clone()));
    k.push(StmtKind::Loop { label, inits: inits.to_vec(), body: region, results: results.clone() });
    results
}

/// `do { sum += *p; p += 4 } while (p != end)`, the pointer being the parameter itself; also the final pointer.
fn pointer_loop() -> (Function, Shape, Value) {
    let shape = Shape::distinct(2);
    let mut k = Kernel::new(&shape);
    let (start, length, to) = (k.pointer(0), k.length(0), k.pointer(1));
    let end = k.wasm(WasmOp::I32Add, &[length, start]);
    let zero = k.i32(0);
    let mut address = start;
    let results = while_loop(&mut k, &[start, zero], |k, params| {
        address = params[0];
        let value = k.load(access(Type::I32, 0), params[0]);
        let sum = k.wasm(WasmOp::I32Add, &[params[1], value]);
        let four = k.i32(4);
        let next = k.wasm(WasmOp::I32Add, &[params[0], four]);
        (k.wasm(WasmOp::I32Ne, &[next, end]), vec![next, sum])
    });
    k.store(access(Type::I32, 0), to, results[1]);
    k.store(access(Type::I32, 4), to, results[0]);
    (k.finish(), shape, address)
}

#[test]
fn a_pointer_that_a_loop_moves_keeps_its_root_and_alignment() {
    let (function, shape, address) = pointer_loop();
    assert_eq!(roots(&function, &shape, None).root_of(address), Root::Slot(0));
    let lowered = lowered(&function, &shape, &Options::default()).unwrap();
    assert_eq!(count(&lowered, |op| matches!(op, LowOp::LoadWord { .. })), 1, "{lowered}");
    for length in [4, 12, 40] {
        check_lowered(&function, &lowered, &shape, &space(&shape, &[words(length / 4), vec![0; 8]]), 0);
    }
    // The end is never met: the loop runs off the buffer and traps.
    for length in [0, 6] {
        check_lowered(&function, &lowered, &shape, &space(&shape, &[vec![1; length], vec![0; 8]]), 0);
    }
}

#[test]
fn differences_of_pointers_cancel() {
    let shape = Shape::distinct(3);
    let mut k = Kernel::new(&shape);
    let (a, b, to, id) = (k.pointer(0), k.pointer(1), k.pointer(2), k.iteration());
    let two = k.i32(2);
    let index = k.wasm(WasmOp::I32Shl, &[id, two]);
    let distance = k.wasm(WasmOp::I32Sub, &[b, a]);
    let in_a = k.wasm(WasmOp::I32Add, &[a, index]);
    let in_b = k.wasm(WasmOp::I32Add, &[in_a, distance]);
    let three = k.i32(3);
    let triple = k.wasm(WasmOp::I32Mul, &[three, in_b]);
    let double = k.wasm(WasmOp::I32Add, &[b, b]);
    let again = k.wasm(WasmOp::I32Sub, &[triple, double]);
    let x = k.load(access(Type::I32, 0), in_b);
    let y = k.load(access(Type::I32, 0), again);
    let z = k.load(access(Type::I32, 0), in_a);
    for (offset, value) in [(0, x), (4, y), (8, z), (12, distance)] {
        k.store(access(Type::I32, offset), to, value);
    }
    let function = k.finish();
    let known = roots(&function, &shape, None);
    assert_eq!((known.root_of(in_b), known.root_of(again)), (Root::Slot(1), Root::Slot(1)));
    assert!(
        matches!(known.root_of(distance), Root::Among(set) if set.has_slot(0) && set.has_slot(1) && !set.has_slot(2))
    );
    assert_eq!(known.root_of(index), Root::Linear);
    let space = space(&shape, &[words(2), words(9), vec![0; 16]]);
    for iteration in [0, 1, 2, 0x4000_0000] {
        check(&function, &shape, &Options::default(), &space, iteration);
    }
}

#[test]
fn absolute_addresses_come_back_where_they_are_seen() {
    let shape = Shape::distinct(3);
    let mut k = Kernel::new(&shape);
    let (a, b, to, id, length) = (k.pointer(0), k.pointer(1), k.pointer(2), k.iteration(), k.length(0));
    let mask = k.i32(0xff_ff00);
    let end = k.wasm(WasmOp::I32Add, &[a, length]);
    let zero = k.i32(0);
    let seen = vec![
        a,
        k.wasm(WasmOp::I32And, &[a, mask]),
        k.wasm(WasmOp::I32LtU, &[b, a]),
        k.wasm(WasmOp::I32LtU, &[a, end]),
        k.wasm(WasmOp::I32Eq, &[a, b]),
        k.wasm(WasmOp::I32Ne, &[a, end]),
        k.wasm(WasmOp::I32Eqz, &[a]),
        k.wasm(WasmOp::I32Sub, &[zero, b]),
        k.wasm(WasmOp::I32Mul, &[a, id]),
        k.select(a, b, id),
        k.select(a, end, id),
        k.wasm(WasmOp::I32Popcnt, &[end]),
    ];
    // A pointer that is one of two from one iteration to the next.
    let one = k.i32(1);
    let swapped = while_loop(&mut k, &[a, b, id], |k, params| {
        let rest = k.wasm(WasmOp::I32Sub, &[params[2], one]);
        let on = k.wasm(WasmOp::I32GtS, &[rest, zero]);
        (on, vec![params[1], params[0], rest])
    });
    for (index, value) in seen.into_iter().chain(swapped).enumerate() {
        k.store(access(Type::I32, 4 * index as u32), to, value);
    }
    let function = k.finish();
    let space = space(&shape, &[words(2), words(9), vec![0; 64]]);
    for iteration in [0, 1, 2, 3, 4] {
        check(&function, &shape, &Options::default(), &space, iteration);
    }
}

#[test]
fn a_wrong_base_is_seen() {
    let (function, shape, _) = pointer_loop();
    let lowered = lowered(&function, &shape, &Options::default()).unwrap();
    let mut wrong = lowered.clone();
    let address = Op::Low(LowOp::Immediate(immediate::SLOTS));
    let stmts = wrong.regions.iter_mut().flat_map(|region| &mut region.stmts);
    for stmt in stmts {
        match &mut stmt.kind {
            StmtKind::Op { op, .. } if *op == address => *op = Op::Low(LowOp::Immediate(immediate::SLOTS + 2)),
            _ => {}
        }
    }
    let space = space(&shape, &[words(3), vec![0; 8]]);
    let before = run_wasm(&function, &shape, &space, 0);
    assert!(agree(&before, &run_lowered(&lowered, &space, 0)));
    assert!(!agree(&before, &run_lowered(&wrong, &space, 0)));
}

#[test]
fn pointers_meet_in_blocks_and_switches() {
    let shape = Shape::distinct(2);
    let mut k = Kernel::new(&shape);
    let (a, to, id) = (k.pointer(0), k.pointer(1), k.iteration());
    let mut cases = Vec::new();
    for case in 0..3 {
        k.open();
        let step = k.i32(8 * case);
        let moved = k.wasm(WasmOp::I32Add, &[a, step]);
        cases.push(k.close(&[], Exit::Yield(vec![moved])));
    }
    let (default, chosen) = (cases[2], k.value(Type::I32));
    cases.push(cases[0]);
    k.push(StmtKind::Switch { index: id, cases, default, results: vec![chosen] });
    let (label, met) = (k.function.new_label(), k.value(Type::I32));
    k.open();
    k.open();
    let four = k.i32(4);
    let other = k.wasm(WasmOp::I32Sub, &[chosen, four]);
    let then = k.close(&[], Exit::Break(label, vec![other]));
    k.open();
    let otherwise = k.close(&[], Exit::Yield(vec![]));
    k.push(StmtKind::If { cond: id, then, otherwise, results: vec![] });
    let body = k.close(&[], Exit::Yield(vec![chosen]));
    k.push(StmtKind::Block { label, body, results: vec![met] });
    let value = k.load(access(Type::I32, 4), met);
    k.store(access(Type::I32, 0), to, value);
    let function = k.finish();
    let lowered = lowered(&function, &shape, &Options::default()).unwrap();
    assert_eq!(count(&lowered, |op| matches!(op, LowOp::LoadWord { .. })), 1, "{lowered}");
    for iteration in 0..6 {
        check_lowered(&function, &lowered, &shape, &space(&shape, &[words(5), vec![0; 4]]), iteration);
    }
}

#[test]
fn a_loop_that_loses_alignment_says_so() {
    let zeros = |step: u32, start: u32| {
        let shape = Shape::distinct(1);
        let mut k = Kernel::new(&shape);
        let (id, first) = (k.iteration(), k.i32(start));
        let mut carried = first;
        while_loop(&mut k, &[first, id], |k, params| {
            carried = params[0];
            let step = k.i32(step);
            let next = k.wasm(WasmOp::I32Add, &[params[0], step]);
            (params[1], vec![next, params[1]])
        });
        alignment(&k.finish()).trailing_zeros(carried)
    };
    assert_eq!((zeros(4, 0), zeros(12, 16), zeros(4, 6), zeros(1, 0), zeros(0, 0)), (2, 2, 1, 0, 32));
}

/// Draws statements that compute with pointers and numbers in `pool`.
fn draw(u: &mut Unstructured<'_>, k: &mut Kernel, pool: &mut Vec<Value>, depth: u32) -> Drawn<()> {
    for _ in 0..u.int_in_range(1..=8)? {
        let (a, b, c) = (*u.choose(pool)?, *u.choose(pool)?, *u.choose(pool)?);
        let value = match u.int_in_range(0..=13)? {
            0 | 1 => k.wasm(WasmOp::I32Add, &[a, b]),
            2 | 3 => k.wasm(WasmOp::I32Sub, &[a, b]),
            4 => k.select(a, b, c),
            5 => {
                let factor = k.i32(u.int_in_range(0..=4)?);
                k.wasm(*u.choose(&[WasmOp::I32Mul, WasmOp::I32Shl])?, &[a, factor])
            }
            6 => k.wasm(*u.choose(&[WasmOp::I32Eq, WasmOp::I32Ne, WasmOp::I32LtU, WasmOp::I32GeS])?, &[a, b]),
            7 => k.wasm(*u.choose(&[WasmOp::I32And, WasmOp::I32Mul, WasmOp::I32Xor, WasmOp::I32ShrU])?, &[a, b]),
            8 => k.wasm(*u.choose(&[WasmOp::I32Eqz, WasmOp::I32Ctz, WasmOp::I32Extend8S])?, &[a]),
            9 => k.i32(u.int_in_range(0..=9)?),
            10 | 11 if depth > 0 => {
                let mut arms = Vec::new();
                for _ in 0..2 {
                    k.open();
                    let mut inner = pool.clone();
                    draw(u, k, &mut inner, depth - 1)?;
                    arms.push(k.close(&[], Exit::Yield(vec![*u.choose(&inner)?])));
                }
                let result = k.value(Type::I32);
                k.push(StmtKind::If { cond: a, then: arms[0], otherwise: arms[1], results: vec![result] });
                result
            }
            _ if depth > 0 => {
                let three = k.i32(3);
                let mut drawn = Ok(());
                let results = while_loop(k, &[a, b, three], |k, params| {
                    let mut inner = pool.clone();
                    inner.extend(params);
                    drawn = draw(u, k, &mut inner, depth - 1);
                    let mut pick = || u.choose(&inner).copied().unwrap_or(params[0]);
                    let (x, y) = (pick(), pick());
                    let one = k.i32(1);
                    let rest = k.wasm(WasmOp::I32Sub, &[params[2], one]);
                    (rest, vec![x, y, rest])
                });
                drawn?;
                results[u.int_in_range(0..=2)?]
            }
            _ => c,
        };
        pool.push(value);
    }
    Ok(())
}

#[test]
fn random_pointer_arithmetic_is_the_same_number() {
    let shape = Shape::distinct(3);
    arbtest::arbtest(|u| {
        let mut k = Kernel::new(&shape);
        let mut pool = vec![k.iteration(), k.pointer(0), k.pointer(1), k.length(1), k.pointer(0)];
        draw(u, &mut k, &mut pool, 3)?;
        let to = k.pointer(2);
        let mut offset = 0;
        for value in pool.iter().rev().take(12) {
            k.store(access(Type::I32, offset), to, *value);
            offset += 4;
        }
        let function = k.finish();
        let lowered = lowered(&function, &shape, &Options::default()).unwrap();
        let space = space(&shape, &[words(2), words(9), vec![0; 48]]);
        for iteration in [0, 1, 7, u32::MAX] {
            check_lowered(&function, &lowered, &shape, &space, iteration);
        }
        Ok(())
    })
    .budget_ms(3000);
}

#[test]
fn large_functions_take_linear_time() {
    let shape = Shape::distinct(4);
    let mut k = Kernel::new(&shape);
    let mut value = k.pointer(0);
    for index in 0..64_000 {
        let other = if index % 3 == 0 { k.pointer(index % 4) } else { k.iteration() };
        value = k.wasm(if index % 2 == 0 { WasmOp::I32Add } else { WasmOp::I32Sub }, &[value, other]);
    }
    let zero = k.i32(0);
    // Loops in loops, each of which hands its pointer on to the next one out.
    fn nest(k: &mut Kernel, value: Value, zero: Value, depth: u32) -> Value {
        while_loop(k, &[value, value], |k, params| {
            let inner = if depth == 0 { params[1] } else { nest(k, params[0], zero, depth - 1) };
            (zero, vec![inner, params[0]])
        })[0]
    }
    let result = nest(&mut k, value, zero, 100);
    let to = k.pointer(1);
    k.store(access(Type::I32, 0), to, result);
    let function = k.finish();
    let mut space = space(&shape, &[words(1), vec![0; 4], words(1), words(1)]);
    check(&function, &shape, &Options::default(), &space, 5);
    space.linear = vec![0; 4];
    check(&function, &shape, &Options::default(), &space, 6);
}
