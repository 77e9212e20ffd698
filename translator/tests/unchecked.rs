//! The form without bounds checks, which benchmarks measure, has none, and is valid; the one that guests get has.

mod common;

use wavelift_translator::{Module, Options, Profile, Shape, TrapKind, testing, translate};

const KERNEL: &str = r#"(module (memory 1)
  (func (export "kernel") (param $i i32) (param i32 i32) (param $p i32) (param i32) (param $q i32) (param i32) (local $a i32)
    (local.set $a (i32.shl (local.get $i) (i32.const 2)))
    (loop $again
      (i32.store (i32.add (local.get $q) (local.get $a))
        (i32.div_u (i32.const 1000) (i32.load (i32.add (local.get $p) (local.get $a)))))
      (br_if $again (i32.lt_u (local.tee $a (i32.mul (local.get $a) (i32.const 3))) (i32.const 1000))))))"#;

#[test]
fn only_the_form_for_benchmarks_lacks_checks() {
    let module = Module::parse(wat::parse_str(KERNEL).unwrap()).unwrap();
    for profile in [Profile::Vulkan, Profile::Portable] {
        let options = Options { profile, fuel: Some(1 << 30), ..Options::default() };
        let kinds = |shader: &wavelift_translator::Shader| {
            let mut kinds: Vec<TrapKind> = shader.interface.trap_sites.iter().map(|site| site.kind).collect();
            kinds.sort_unstable();
            kinds.dedup();
            kinds
        };
        let checked = translate(&module, 0, &Shape::distinct(2), &options).unwrap();
        assert_eq!(kinds(&checked), [TrapKind::OutOfBounds, TrapKind::DivideByZero, TrapKind::OutOfFuel]);
        let unchecked = testing::translate_unchecked(&module, 0, &Shape::distinct(2), &options).unwrap();
        assert_eq!(kinds(&unchecked), [TrapKind::DivideByZero, TrapKind::OutOfFuel], "nothing else is left out");
        match profile {
            Profile::Vulkan => common::assert_valid(&unchecked.words),
            Profile::Portable => common::assert_portable(&unchecked.words),
        }
    }
}
