//! Slices, pools and arguments in a buffer: what the shader declares, and that readers take it. That results are the same
//! is tested where shaders run.

mod common;

use std::collections::BTreeMap;

use common::{assert_portable, assert_valid, disassemble};
use wavelift_translator::layout::{PARAMETERS, POOL_READ, POOL_WRITTEN};
use wavelift_translator::{
    Access, Binding, BufferParam, Interface, LINEAR, Layout, Module, Options, Profile, Shape, emit_ir, translate,
};

/// Slot 0 is loaded four words at a time, slot 1 by words, slot 2 stored by words and 3 by bytes; so is linear memory, by
/// words.
const KERNEL: &str = "(module (memory 1) (func (param $i i32) (param $n i32) (param i32)
    (param $a i32) (param i32) (param $b i32) (param i32) (param $c i32) (param i32) (param $d i32) (param i32)
    (local $x i32)
    (local.set $a (i32.add (local.get $a) (i32.mul (local.get $i) (i32.const 16))))
    (local.set $x (i32.add (i32.load (local.get $a)) (i32.load offset=12 (local.get $a))))
    (local.set $x (i32.mul (local.get $x) (i32.load (i32.add (local.get $b) (i32.mul (local.get $i) (i32.const 4))))))
    (i32.store (i32.add (local.get $c) (i32.mul (local.get $i) (i32.const 4))) (local.get $x))
    (i32.store8 (i32.add (local.get $d) (local.get $i)) (local.get $n))
    (i32.store (i32.mul (local.get $i) (i32.const 4)) (local.get $x))))";

fn module() -> Module {
    Module::parse(wat::parse_str(KERNEL).unwrap()).unwrap()
}

fn shape(layout: Layout) -> Shape {
    let accesses = [Access::Read, Access::ReadWrite, Access::Write, Access::ReadWrite];
    let buffers = (0..).zip(accesses).map(|(slot, access)| BufferParam { slot, access }).collect();
    Shape { layout, ..Shape::of(buffers) }
}

/// The shader for Vulkan and its interface; both readers take the shaders of both profiles.
fn lift(layout: &Layout) -> (String, Interface) {
    let options = Options::default();
    let shader = translate(&module(), 0, &shape(layout.clone()), &options).unwrap();
    assert_valid(&shader.words);
    let portable = Options { profile: Profile::Portable, ..options };
    let same = translate(&module(), 0, &shape(layout.clone()), &portable).unwrap();
    assert_portable(&same.words);
    assert_eq!(same.interface, shader.interface);
    let again = translate(&module(), 0, &shape(layout.clone()), &options).unwrap();
    assert_eq!(again.words, shader.words);
    assert_eq!(&shader.interface.layout, layout);
    (disassemble(&shader.words), shader.interface)
}

fn pools() -> BTreeMap<u32, u32> {
    [(0, POOL_READ), (1, POOL_READ), (2, POOL_WRITTEN), (3, POOL_WRITTEN)].into()
}

fn bound(interface: &Interface) -> Vec<(u32, u32, bool)> {
    let numbers: Vec<u32> = interface.bindings.iter().map(|binding| binding.binding).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    interface.bindings.iter().map(|Binding { slot, slice, writable, .. }| (*slot, *slice, *writable)).collect()
}

#[test]
fn the_default_layout_is_a_binding_for_each_slot() {
    let (text, interface) = lift(&Layout::default());
    let slots = [(0, 0, false), (1, 0, false), (2, 0, true), (3, 0, true), (LINEAR, 0, true)];
    assert_eq!(bound(&interface), slots);
    assert_eq!((interface.parameters_size, text.matches("OpFunctionEnd").count()), (0, 2));
}

#[test]
fn slices_are_bindings_of_their_own_with_a_function_for_each_kind_of_access() {
    let slices = [(0, 3), (2, 2), (3, 4), (LINEAR, 2)].into();
    let layout = Layout { slice_bits: 10, slices, ..Layout::default() };
    let (text, interface) = lift(&layout);
    assert_eq!(
        bound(&interface),
        [
            (0, 0, false),
            (1, 0, false),
            (2, 0, true),
            (3, 0, true),
            (LINEAR, 0, true),
            (0, 1, false),
            (0, 2, false),
            (2, 1, true),
            (3, 1, true),
            (3, 2, true),
            (3, 3, true),
            (LINEAR, 1, true)
        ]
    );
    for name in ["load_quad_buffer_0", "store_buffer_2", "and_buffer_3", "or_buffer_3", "store_linear_memory"] {
        assert_eq!(text.matches(&format!("\"{name}\"")).count(), 1, "{name}: {text}");
    }
    assert!(text.contains("\"buffer_3_slice_3\"") && text.contains("\"buffer_1\""), "{text}");
    assert_eq!(text.matches("OpFunctionEnd").count(), 7, "{text}");
    // One load of four words a slice, and one of slot 1's words.
    assert_eq!(text.matches("OpAtomicAnd").count(), 4);
    assert_eq!(text.matches("OpAtomicOr").count(), 4);
    assert!(!text.contains("OpPhi"));
}

#[test]
fn slices_as_small_as_the_widest_load_and_as_large_as_words_reach() {
    for slice_bits in [4, 31] {
        lift(&Layout { slice_bits, slices: [(0, 2), (1, 2)].into(), ..Layout::default() });
    }
    for slice_bits in [0, 3, 32] {
        let layout = Layout { slice_bits, slices: [(0, 2)].into(), ..Layout::default() };
        let refused = translate(&module(), 0, &shape(layout), &Options::default()).unwrap_err();
        assert!(refused.to_string().contains("slices can't have"), "{refused}");
    }
}

#[test]
fn pooled_slots_are_one_binding_and_start_where_the_arguments_say() {
    let (text, interface) = lift(&Layout { pooled: pools(), ..Layout::default() });
    assert_eq!(bound(&interface), [(LINEAR, 0, true), (POOL_READ, 0, false), (POOL_WRITTEN, 0, true)]);
    // Six words at first, two for each slot, the inputs, and where four slots start.
    let words = 6 + 8 + interface.inputs.len() as u32 + 4;
    assert_eq!(interface.immediates_size, 4 * words);
    // Linear memory's words, those of one pool and of the other: nothing is declared as four words.
    assert_eq!(text.matches("OpTypeVector").count(), 1, "that of the invocation's id: {text}");
    assert_eq!(text.matches("NonWritable").count(), 1);
}

#[test]
fn pools_are_cut_too() {
    let slices = [(POOL_READ, 2), (POOL_WRITTEN, 3)].into();
    let (text, interface) = lift(&Layout { pooled: pools(), slice_bits: 12, slices, ..Layout::default() });
    let holders: Vec<u32> = interface.bindings.iter().map(|binding| binding.slot).collect();
    assert_eq!(holders, [LINEAR, POOL_READ, POOL_WRITTEN, POOL_WRITTEN, POOL_WRITTEN, POOL_READ]);
    for name in ["load_pool_read", "store_pool_written", "and_pool_written", "or_pool_written"] {
        assert!(text.contains(&format!("\"{name}\"")), "{name}: {text}");
    }
}

#[test]
fn arguments_come_in_a_buffer() {
    let (_, usual) = lift(&Layout::default());
    let (text, interface) = lift(&Layout { parameters: true, ..Layout::default() });
    assert_eq!((interface.immediates_size, interface.parameters_size), (12, usual.immediates_size));
    assert_eq!(bound(&interface).last(), Some(&(PARAMETERS, 0, false)));
    assert!(text.contains("\"parameters\""), "{text}");
    let (_, both) = lift(&Layout { parameters: true, pooled: pools(), ..Layout::default() });
    assert_eq!((both.immediates_size, both.parameters_size), (12, interface.parameters_size + 16));
}

#[test]
fn a_kernel_without_arguments_binds_no_buffer_for_them() {
    let bytes = wat::parse_str("(module (func (param i32 i32 i32) (if (local.get 0) (then unreachable))))").unwrap();
    let shape = Shape { layout: Layout { parameters: true, ..Layout::default() }, ..Shape::default() };
    let shader = translate(&Module::parse(bytes).unwrap(), 0, &shape, &Options::default()).unwrap();
    assert_valid(&shader.words);
    assert_eq!((shader.interface.immediates_size, shader.interface.parameters_size), (12, 0));
    assert!(shader.interface.bindings.is_empty());
}

#[test]
fn the_layout_changes_nothing_but_what_is_bound() {
    let layout = Layout { pooled: pools(), parameters: true, slice_bits: 8, slices: [(LINEAR, 9)].into() };
    let options = Options::default();
    let usual = emit_ir(&module(), 0, &shape(Layout::default()), &options).unwrap();
    assert_eq!(emit_ir(&module(), 0, &shape(layout), &options).unwrap(), usual);
}

#[test]
fn a_written_slot_in_the_read_pool_is_a_defect() {
    let layout = Layout { pooled: [(2, POOL_READ)].into(), ..Layout::default() };
    let refused = translate(&module(), 0, &shape(layout), &Options::default()).unwrap_err();
    assert!(refused.to_string().contains("slot 2 is stored to"), "{refused}");
}

#[test]
fn four_invocations_at_once_in_every_layout() {
    let text = r#"(module (memory 1) (func (export "kernel") (param $i i32) (param i32 i32)
          (param $a i32) (param i32) (param $b i32) (param i32)
        (local.set $i (i32.shl (local.get $i) (i32.const 2)))
        (i32.store (i32.add (local.get $b) (local.get $i))
          (i32.add (i32.load (i32.add (local.get $a) (local.get $i))) (i32.load (i32.add (local.get $b) (local.get $i)))))))"#;
    let module = Module::parse(wat::parse_str(text).unwrap()).unwrap();
    let pooled = BTreeMap::from([(0, POOL_READ), (1, POOL_WRITTEN)]);
    let slices =
        |of: &[(u32, u32)]| Layout { slice_bits: 10, slices: of.iter().copied().collect(), ..Layout::default() };
    for (layout, quads) in [
        (Layout::default(), ["OpCompositeExtract", "OpCompositeConstruct"]),
        (slices(&[(0, 3), (1, 2)]), ["\"load_quad_buffer_0\"", "\"store_quad_buffer_1\""]),
        (Layout { pooled, ..Layout::default() }, ["", ""]),
        (Layout { parameters: true, ..Layout::default() }, ["OpCompositeExtract", "OpCompositeConstruct"]),
    ] {
        let buffers = [Access::Read, Access::ReadWrite];
        let buffers = (0..).zip(buffers).map(|(slot, access)| BufferParam { slot, access }).collect();
        let shape = Shape { layout, ..Shape::of(buffers) };
        for profile in [Profile::Vulkan, Profile::Portable] {
            let shader =
                translate(&module, 0, &shape, &Options { profile, coarsen: true, ..Options::default() }).unwrap();
            assert_eq!(shader.interface.lanes, 4, "{:?}", shape.layout);
            match profile {
                Profile::Vulkan => assert_valid(&shader.words),
                Profile::Portable => assert_portable(&shader.words),
            }
            let text = disassemble(&shader.words);
            assert!(quads.iter().all(|part| text.contains(part)), "{:?}\n{text}", shape.layout);
        }
    }
}
