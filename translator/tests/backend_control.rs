//! Control flow, traps, the interface with the host, limits, and the oracles themselves.

mod common;

use rspirv::spirv::Op as Spv;
use wavelift_translator::ir::builder::ListBuilder;
use wavelift_translator::ir::{Const, Exit, Function, Label, LowOp, Op, Region, RegionId, StmtKind, Type, Value, Var};
use wavelift_translator::{
    Access, Binding, BufferParam, Error, Interface, Location, Options, Profile, Shape, TrapKind, TrapSite, backend,
    immediate,
};

fn at(offset: u32) -> Location {
    Location { function: 3, offset }
}

/// A function under construction, with short names for what the tests need.
struct Kernel(Function);

impl Kernel {
    fn new() -> Self {
        Kernel(Function {
            index: 3,
            name: "walk".to_string(),
            params: vec![],
            results: vec![],
            body: RegionId(0),
            values: vec![],
            regions: vec![],
            vars: vec![],
            labels: 0,
            stack_words: 0,
            states: None,
            data: Default::default(),
        })
    }

    fn list(&self) -> ListBuilder {
        ListBuilder::new(at(0))
    }

    fn low(&mut self, list: &mut ListBuilder, op: LowOp, args: &[Value]) -> Value {
        let ty = match op {
            LowOp::ULt | LowOp::Eq | LowOp::Ne => Type::Bool,
            LowOp::VarGet(var) => self.0.vars[var.index()],
            _ => Type::I32,
        };
        list.low(&mut self.0, op, args, ty)
    }

    fn get(&mut self, list: &mut ListBuilder, var: Var) -> Value {
        self.low(list, LowOp::VarGet(var), &[])
    }

    fn set(&mut self, list: &mut ListBuilder, var: Var, value: Value) {
        list.effect(Op::Low(LowOp::VarSet(var)), &[value]);
    }

    /// `var += 1`
    fn increment(&mut self, list: &mut ListBuilder, var: Var) {
        let old = self.get(list, var);
        let one = list.i32(&mut self.0, 1);
        let new = self.low(list, LowOp::IAdd, &[old, one]);
        self.set(list, var, new);
    }

    /// `buffer_0[iteration] = var`
    fn store(&mut self, list: &mut ListBuilder, var: Var) {
        let index = self.low(list, LowOp::IterationId, &[]);
        let value = self.get(list, var);
        list.effect(Op::Low(LowOp::StoreWord { slot: 0 }), &[index, value]);
    }

    /// `var < bound`
    fn below(&mut self, list: &mut ListBuilder, var: Var, bound: u32) -> Value {
        let value = self.get(list, var);
        let bound = list.i32(&mut self.0, bound);
        self.low(list, LowOp::ULt, &[value, bound])
    }

    fn region(&mut self, list: ListBuilder, exit: Exit) -> RegionId {
        list.finish(&mut self.0, exit)
    }

    fn empty(&mut self, exit: Exit) -> RegionId {
        let list = self.list();
        self.region(list, exit)
    }

    fn trap(&mut self, kind: TrapKind, offset: u32) -> RegionId {
        ListBuilder::new(at(offset)).finish(&mut self.0, Exit::Trap(kind))
    }

    fn branch(&mut self, list: &mut ListBuilder, cond: Value, then: RegionId, otherwise: RegionId) {
        list.push(StmtKind::If { cond, then, otherwise, results: vec![] });
    }

    fn repeat(&mut self, list: &mut ListBuilder, label: Label, body: RegionId) {
        list.push(StmtKind::Loop { label, inits: vec![], body, results: vec![] });
    }

    fn finish(mut self, list: ListBuilder, exit: Exit) -> Function {
        self.0.body = list.finish(&mut self.0, exit);
        self.0
    }
}

fn done() -> Exit {
    Exit::Yield(vec![])
}

fn leave(label: Label) -> Exit {
    Exit::Break(label, vec![])
}

fn again(label: Label) -> Exit {
    Exit::Continue(label, vec![])
}

fn options(profile: Profile) -> Options {
    Options { profile, ..Options::default() }
}

/// Emits in both profiles, checks both with their readers, and gives the Vulkan one.
fn check(function: &Function) -> (Vec<u32>, Interface) {
    let shape = Shape::distinct(2);
    let portable = backend::emit(function, &shape, &options(Profile::Portable)).unwrap_or_else(|e| panic!("{e}"));
    common::assert_portable(&portable.0);
    let vulkan = backend::emit(function, &shape, &options(Profile::Vulkan)).unwrap_or_else(|e| panic!("{e}"));
    common::assert_valid(&vulkan.0);
    assert_eq!(portable.1, vulkan.1);
    assert_eq!(backend::emit(function, &shape, &options(Profile::Vulkan)).unwrap(), vulkan, "not deterministic");
    vulkan
}

fn count(words: &[u32], opcode: Spv) -> usize {
    rspirv::dr::load_words(words).unwrap().all_inst_iter().filter(|i| i.class.opcode == opcode).count()
}

/// `for x in 0..10 { if x == 3 continue-with-two-more; if y < x break }` with a nested loop, all exits from inside `If`s.
fn nested_loops() -> Function {
    let mut k = Kernel::new();
    let (x, y, flag) = (k.0.new_var(Type::I32), k.0.new_var(Type::I32), k.0.new_var(Type::Bool));
    let (outer, inner) = (k.0.new_label(), k.0.new_label());

    let mut inner_body = k.list();
    k.increment(&mut inner_body, y);
    let more = k.below(&mut inner_body, y, 5);
    let (next, stop) = (k.empty(again(inner)), k.empty(leave(inner)));
    let mut stops = k.list();
    let odd = k.below(&mut stops, x, 4);
    k.set(&mut stops, flag, odd);
    let (keep, stop_too) = (k.empty(done()), stop);
    k.branch(&mut stops, odd, keep, stop_too);
    let stops = k.region(stops, done());
    k.branch(&mut inner_body, more, next, stops);
    let inner_body = k.region(inner_body, leave(inner));

    let mut outer_body = k.list();
    k.increment(&mut outer_body, x);
    k.repeat(&mut outer_body, inner, inner_body);
    let stop = k.get(&mut outer_body, flag);
    let (early, go_on) = (k.empty(Exit::Return(vec![])), k.empty(done()));
    let small = k.below(&mut outer_body, x, 2);
    let skip = k.empty(again(outer));
    let nothing = k.empty(done());
    k.branch(&mut outer_body, small, skip, nothing);
    k.branch(&mut outer_body, stop, early, go_on);
    let more = k.below(&mut outer_body, x, 10);
    let (next, over) = (k.empty(again(outer)), k.empty(leave(outer)));
    k.branch(&mut outer_body, more, next, over);
    let outer_body = k.region(outer_body, again(outer));

    let mut body = k.list();
    k.repeat(&mut body, outer, outer_body);
    k.store(&mut body, x);
    k.finish(body, done())
}

#[test]
fn loops_with_exits_from_nested_conditions_pass_both_readers() {
    let (words, interface) = check(&nested_loops());
    assert_eq!((count(&words, Spv::LoopMerge), count(&words, Spv::Phi)), (2, 0));
    assert!(interface.trap_sites.is_empty());
}

#[test]
fn conditions_with_empty_arms_and_both_arms() {
    let mut k = Kernel::new();
    let x = k.0.new_var(Type::I32);
    let mut body = k.list();
    let cond = k.below(&mut body, x, 1);
    for (has_then, has_else) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut arm = |on: bool| {
            let mut list = k.list();
            if on {
                k.increment(&mut list, x);
            }
            k.region(list, done())
        };
        let (then, otherwise) = (arm(has_then), arm(has_else));
        k.branch(&mut body, cond, then, otherwise);
    }
    k.store(&mut body, x);
    let (words, _) = check(&k.finish(body, done()));
    // Three, as nothing is left of the fourth, and `main`'s own.
    assert_eq!(count(&words, Spv::SelectionMerge), 4);
}

#[test]
fn code_that_is_never_reached_is_valid() {
    // Both arms leave the function.
    let mut k = Kernel::new();
    let x = k.0.new_var(Type::I32);
    let mut body = k.list();
    let cond = k.below(&mut body, x, 1);
    let (a, b) = (k.empty(Exit::Return(vec![])), k.trap(TrapKind::Unreachable, 8));
    k.branch(&mut body, cond, a, b);
    let (words, _) = check(&k.finish(body, done()));
    assert_eq!(count(&words, Spv::Unreachable), 1);

    // A loop that only a return leaves.
    let mut k = Kernel::new();
    let x = k.0.new_var(Type::I32);
    let label = k.0.new_label();
    let mut inside = k.list();
    k.increment(&mut inside, x);
    let cond = k.below(&mut inside, x, 9);
    let (go_on, out) = (k.empty(done()), k.empty(Exit::Return(vec![])));
    k.branch(&mut inside, cond, go_on, out);
    let inside = k.region(inside, again(label));
    let mut body = k.list();
    k.repeat(&mut body, label, inside);
    let (words, _) = check(&k.finish(body, done()));
    assert_eq!(count(&words, Spv::Unreachable), 1);

    // A loop that never continues, with a break from both arms, and one without a way out.
    for endless in [false, true] {
        let mut k = Kernel::new();
        let x = k.0.new_var(Type::I32);
        let label = k.0.new_label();
        let mut inside = k.list();
        k.increment(&mut inside, x);
        let cond = k.below(&mut inside, x, 9);
        let exit = || if endless { again(label) } else { leave(label) };
        let (a, b) = (k.empty(exit()), k.empty(exit()));
        k.branch(&mut inside, cond, a, b);
        let inside = k.region(inside, exit());
        let mut body = k.list();
        k.repeat(&mut body, label, inside);
        k.store(&mut body, x);
        check(&k.finish(body, done()));
    }
}

#[test]
fn trap_sites_are_numbered_once_each_in_order() {
    let mut k = Kernel::new();
    let (x, label) = (k.0.new_var(Type::I32), k.0.new_label());
    let mut body = k.list();
    let cond = k.below(&mut body, x, 1);
    let kinds = [
        (TrapKind::OutOfBounds, 0x20),
        (TrapKind::DivideByZero, 0x10),
        (TrapKind::OutOfBounds, 0x20),
        (TrapKind::OutOfBounds, 0x10),
    ];
    for (kind, offset) in kinds {
        let (trap, nothing) = (k.trap(kind, offset), k.empty(done()));
        k.branch(&mut body, cond, trap, nothing);
    }
    let mut inside = k.list();
    let (trap, nothing) = (k.trap(TrapKind::OutOfFuel, 0x30), k.empty(done()));
    k.branch(&mut inside, cond, trap, nothing);
    let inside = k.region(inside, leave(label));
    k.repeat(&mut body, label, inside);
    k.store(&mut body, x);
    let (words, interface) = check(&k.finish(body, done()));
    let site = |kind, offset| TrapSite { at: at(offset), kind };
    assert_eq!(
        interface.trap_sites,
        [
            site(TrapKind::OutOfBounds, 0x20),
            site(TrapKind::DivideByZero, 0x10),
            site(TrapKind::OutOfBounds, 0x10),
            site(TrapKind::OutOfFuel, 0x30),
        ]
    );
    assert_eq!(count(&words, Spv::AtomicUMin), 1);
    assert!(common::disassemble(&words).contains("\"trap_record\""));
}

#[test]
fn a_kernel_that_can_not_trap_has_no_trap_record() {
    let mut k = Kernel::new();
    let x = k.0.new_var(Type::I32);
    let mut body = k.list();
    k.store(&mut body, x);
    let (words, _) = check(&k.finish(body, done()));
    assert_eq!((count(&words, Spv::AtomicUMin), count(&words, Spv::ReturnValue)), (0, 0));
    assert!(!common::disassemble(&words).contains("trap_record"));
}

#[test]
fn the_interface_lists_what_the_shader_declares() {
    let shape = Shape::of(
        [(0, Access::Read), (1, Access::ReadWrite), (0, Access::Read), (2, Access::Write), (3, Access::Write)]
            .map(|(slot, access)| BufferParam { slot, access })
            .to_vec(),
    );
    let mut k = Kernel::new();
    let mut body = k.list();
    let index = k.low(&mut body, LowOp::Immediate(immediate::SLOTS + 2), &[]);
    let a = k.low(&mut body, LowOp::LoadWord { slot: 0 }, &[index]);
    let b = k.low(&mut body, LowOp::LoadWord { slot: 1 }, &[index]);
    let sum = k.low(&mut body, LowOp::IAdd, &[a, b]);
    body.effect(Op::Low(LowOp::StoreWord { slot: 3 }), &[index, sum]);
    let function = k.finish(body, done());
    let options = Options { workgroup_size: 128, ..Options::default() };
    let (words, interface) = backend::emit(&function, &shape, &options).unwrap();
    common::assert_valid(&words);
    let binding = |slot, writable| Binding { binding: slot + 1, slot, slice: 0, writable, uniform: false };
    assert_eq!(interface.bindings, [binding(0, false), binding(1, false), binding(3, true)]);
    assert_eq!((interface.workgroup_size, interface.immediates_size), (128, 4 * 9));
    let text = common::disassemble(&words);
    assert_eq!(text.matches("NonWritable").count(), 2);
    assert!(text.contains("LocalSize 128 1 1"), "{text}");

    let portable = Options { profile: Profile::Portable, ..options };
    let words = backend::emit(&function, &shape, &portable).unwrap().0;
    common::assert_portable(&words);
    let module = common::naga_module(&words).unwrap();
    let storage = |binding| {
        let found = module.global_variables.iter().find(|(_, v)| v.binding.is_some_and(|b| b.binding == binding));
        found.unwrap().1.space
    };
    let access = naga::StorageAccess::LOAD;
    assert_eq!(storage(1), naga::AddressSpace::Storage { access });
    assert_eq!(storage(4), naga::AddressSpace::Storage { access: access | naga::StorageAccess::STORE });
    assert_eq!(module.entry_points[0].workgroup_size, [128, 1, 1]);
}

#[test]
fn a_store_to_a_read_buffer_is_a_defect() {
    let shape = Shape::of(vec![BufferParam { slot: 0, access: Access::Read }]);
    let mut k = Kernel::new();
    let x = k.0.new_var(Type::I32);
    let mut body = k.list();
    k.store(&mut body, x);
    let result = backend::emit(&k.finish(body, done()), &shape, &Options::default());
    assert!(matches!(result, Err(Error::Internal(_))), "{result:?}");
}

/// `depth` conditions and loops in turn, one in the other.
fn nest(depth: u32) -> Function {
    let mut k = Kernel::new();
    let x = k.0.new_var(Type::I32);
    let mut labels: Vec<Label> = Vec::new();
    for _ in 0..depth {
        labels.push(k.0.new_label());
    }
    let mut list = k.list();
    k.increment(&mut list, x);
    for level in (0..depth).rev() {
        let mut outer = k.list();
        if level % 2 == 0 {
            let label = labels[level as usize];
            let body = k.region(list, leave(label));
            k.repeat(&mut outer, label, body);
        } else {
            let cond = k.below(&mut outer, x, level);
            let (then, otherwise) = (k.region(list, done()), k.empty(done()));
            k.branch(&mut outer, cond, then, otherwise);
        }
        list = outer;
    }
    k.finish(list, done())
}

#[test]
fn deep_nesting_works_up_to_the_limit_and_is_unsupported_beyond() {
    common::with_deep_stack(|| {
        let emit = |depth| backend::emit(&nest(depth), &Shape::distinct(1), &Options::default());
        // spirv-val's time grows with the cube of the depth: 1,023 levels take it minutes.
        common::assert_valid(&emit(150).unwrap().0);
        assert_eq!(count(&emit(1023).unwrap().0, Spv::LoopMerge), 512);
        let result = emit(1024);
        let Err(Error::Unsupported { what, at: Some(_), .. }) = &result else { panic!("{result:?}") };
        assert_eq!(what, "control flow nested deeper than 1023 levels");
    });
}

#[test]
fn odd_names_are_written_so_that_readers_take_them() {
    for name in ["", "main", "a\0b", "größe<T>::{closure#0}", &"é".repeat(40_000)] {
        let mut function = nested_loops();
        function.name = name.to_string();
        check(&function);
    }
}

#[test]
fn exits_and_regions_out_of_strict_form_are_defects() {
    let emit = |function: &Function| backend::emit(function, &Shape::distinct(1), &Options::default());
    let is_defect = |function: &Function| matches!(emit(function), Err(Error::Internal(_)));

    let mut k = Kernel::new();
    let (label, other) = (k.0.new_label(), k.0.new_label());
    for exit in [done(), leave(other), again(other), Exit::Break(label, vec![Value(0)])] {
        let mut k = Kernel::new();
        let mut body = k.list();
        body.i32(&mut k.0, 1);
        let inside = k.empty(exit.clone());
        k.repeat(&mut body, label, inside);
        assert!(is_defect(&k.finish(body, done())), "{exit:?}");
    }
    let body = k.list();
    assert!(is_defect(&k.finish(body, leave(label))), "a break outside a loop");

    let mut k = Kernel::new();
    let mut body = k.list();
    let cond = body.i32(&mut k.0, 1);
    let (a, b) = (k.empty(done()), k.empty(done()));
    k.branch(&mut body, cond, a, b);
    assert!(is_defect(&k.finish(body, done())), "an i32 as condition");

    let mut k = Kernel::new();
    let mut body = k.list();
    let inside = k.empty(done());
    body.push(StmtKind::Block { label, body: inside, results: vec![] });
    assert!(is_defect(&k.finish(body, done())), "a block");

    let mut k = Kernel::new();
    let param = k.0.new_value(Type::I32);
    let region = Region { params: vec![param], stmts: vec![], exit: again(label), exit_at: at(0) };
    let inside = k.0.new_region(region);
    let mut body = k.list();
    k.repeat(&mut body, label, inside);
    assert!(is_defect(&k.finish(body, done())), "a region parameter");

    let mut k = Kernel::new();
    let param = k.0.new_value(Type::I32);
    k.0.params.push(param);
    let body = k.list();
    assert!(is_defect(&k.finish(body, done())), "a parameter");

    let good = nested_loops();
    let no_group = Options { workgroup_size: 0, ..Options::default() };
    assert!(matches!(backend::emit(&good, &Shape::distinct(1), &no_group), Err(Error::Internal(_))));
    assert!(emit(&good).is_ok());
}

#[test]
fn the_oracles_reject_a_broken_module() {
    let (words, _) = check(&nested_loops());
    let mut module = rspirv::dr::load_words(&words).unwrap();
    // A branch to what is no block. naga's reader drops it without a word, so only `spirv-val` is asked.
    let function = &mut module.functions[0];
    let block = function.blocks.iter_mut().find(|b| b.instructions.last().unwrap().class.opcode == Spv::Branch);
    block.unwrap().instructions.last_mut().unwrap().operands[0] = rspirv::dr::Operand::IdRef(1);
    let broken = rspirv::binary::Assemble::assemble(&module);
    if std::env::var_os(common::NO_SPIRV_VAL).is_none() {
        assert!(common::spirv_val(&broken).is_err());
    }

    // Conditions that are integers, which only validation finds.
    let mut module = rspirv::dr::load_words(&words).unwrap();
    let globals = &module.types_global_values;
    let number = globals.iter().find(|i| i.class.opcode == Spv::Constant).and_then(|i| i.result_id).unwrap();
    let instructions = module.functions[0].blocks.iter_mut().flat_map(|b| &mut b.instructions);
    instructions
        .filter(|i| i.class.opcode == Spv::BranchConditional)
        .for_each(|i| i.operands[0] = rspirv::dr::Operand::IdRef(number));
    let broken = rspirv::binary::Assemble::assemble(&module);
    if std::env::var_os(common::NO_SPIRV_VAL).is_none() {
        assert!(common::spirv_val(&broken).is_err());
    }
    assert!(common::naga_module(&broken).is_err());
}

#[test]
fn the_text_of_a_small_kernel() {
    // buffer_1[id] = 2.0 * buffer_0[id], and a trap beyond the number of iterations.
    let mut k = Kernel::new();
    k.0.name = "double".to_string();
    let mut body = k.list();
    let id = k.low(&mut body, LowOp::IterationId, &[]);
    let bound = k.low(&mut body, LowOp::Immediate(immediate::ITERATIONS), &[]);
    let inside = k.low(&mut body, LowOp::ULt, &[id, bound]);
    let (trap, nothing) = (k.trap(TrapKind::OutOfBounds, 0x2a), k.empty(done()));
    k.branch(&mut body, inside, nothing, trap);
    let word = k.low(&mut body, LowOp::LoadWord { slot: 0 }, &[id]);
    let value = body.low(&mut k.0, LowOp::Bitcast(Type::F32), &[word], Type::F32);
    let two = body.constant(&mut k.0, Const::F32(2f32.to_bits()));
    let product = body.low(&mut k.0, LowOp::FMul, &[two, value], Type::F32);
    let bits = body.low(&mut k.0, LowOp::Bitcast(Type::I32), &[product], Type::I32);
    body.effect(Op::Low(LowOp::StoreWord { slot: 1 }), &[id, bits]);
    let (words, _) = check(&k.finish(body, done()));
    insta::assert_snapshot!("small_kernel", common::disassemble(&words));
}
