//! What a kernel module's memory, globals, tables and stack are, launch by launch, and where it runs what needs a caller.

use wavelift::device::TrapKind;
use wavelift::{Config, DeviceChoice, Error, Runtime};

use super::launches::devices;
use super::modules::{Form, IMPORT, KERNEL_AT, Launcher, OUT_OF_MEMORY, OWN, UNSUPPORTED, kernel, linear, numbers};

#[test]
fn an_imported_memory_is_the_callers() {
    // Reads a word of the caller's, and leaves its own there.
    let text = kernel(
        IMPORT,
        "(i32.add (i32.load (i32.const 4096)) (i32.mul (memory.size) (i32.const 1000)))
         (i32.store offset=5000 (i32.shl (local.get $i) (i32.const 2)) (local.get $i))",
    );
    for device in devices() {
        let mut launcher = Launcher::with(device, &text);
        launcher.guest.store(4096, 77);
        assert_eq!(launcher.results(8), [2077; 8]);
        assert_eq!(numbers(9, |i| launcher.guest.load(5000 + 4 * i)), [0, 1, 2, 3, 4, 5, 6, 7, 0]);
        launcher.guest.store(4096, 78);
        assert_eq!(launcher.results(8), [2078; 8]);
    }
}

#[test]
fn a_memory_of_its_own_is_new_for_each_launch() {
    let text = kernel(
        OWN,
        "(i32.add (i32.load (i32.const 196604)) (i32.mul (memory.size) (i32.const 1000)))
         (i32.store offset=8192 (i32.shl (local.get $i) (i32.const 2)) (local.get $at))
         (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.load offset=131072 (i32.const 0))))",
    );
    for device in devices() {
        let config = Config { device, verify: true, ..Config::default() };
        let mut launcher = Launcher::of(&Runtime::new(config).unwrap(), Form::Exec);
        launcher.guest.store(131068, 9);
        for _ in 0..2 {
            launcher.put(&text);
            assert_eq!(launcher.results(8), [3005; 8]);
            assert_eq!(launcher.last().verified, 1);
            // The caller's memory is as it was: the kernel's bytes are where the kernel wrote in its own.
            assert_eq!(launcher.guest.load(KERNEL_AT), 0x6d73_6100);
            launcher.put(&kernel(IMPORT, "(i32.load (i32.const 131068))"));
            assert_eq!(launcher.results(8), [9; 8]);
        }
        launcher.put(&kernel("(memory 1)", "(i32.load (i32.const 65533))"));
        let buffer = launcher.buffer(4, 2);
        let error = launcher.launch(1, &[], &[buffer]).unwrap_err();
        assert!(matches!(&error, Error::Kernel(fault) if fault.kind == TrapKind::OutOfBounds), "{error}");
    }
}

#[test]
fn invocations_of_a_launch_share_a_memory_of_the_kernels_own() {
    let counts = kernel(OWN, "(i32.atomic.rmw.add (i32.const 4096) (i32.const 1))");
    for device in devices() {
        let mut launcher = Launcher::with(device, &counts);
        for _ in 0..2 {
            let mut words = launcher.results(1000);
            if device != DeviceChoice::Sequential {
                words.sort_unstable();
            }
            assert_eq!(words, numbers(1000, |i| 100 + i), "{device:?}");
        }
    }
}

#[test]
fn memories_of_different_sizes_and_buffers_in_turn() {
    let mut launcher = Launcher::on(DeviceChoice::Cpu, Form::Exec);
    let last = |pages: i64| {
        let end = (pages << 16) - 4;
        let place = format!("(i32.const {end})");
        let value = format!("(i32.store {place} (i32.add (i32.load {place}) (i32.const 8))) (i32.load {place})");
        kernel(&format!("(memory {pages})"), &value)
    };
    let small = last(1);
    let large = last(49_152);
    for text in [&large, &small, &large] {
        launcher.put(text);
        assert_eq!(launcher.results(1), [8]);
    }
    launcher.put(&small);
    launcher.results(1);
    // A buffer where the large memory was.
    let buffer = launcher.buffer(0x6000_0000, 2);
    launcher.run(1, &[buffer]);
    assert_eq!(launcher.guest.words(buffer, 2), [8, 0]);
    launcher.put(&linear(IMPORT));
    launcher.run(2, &[buffer]);
    assert_eq!(launcher.guest.words(buffer, 2), [9, 12]);
    // Now there is no room for it.
    launcher.put(&large);
    assert_eq!(launcher.launch(1, &[], &[buffer]).unwrap(), OUT_OF_MEMORY);
}

#[test]
fn globals_and_tables_have_the_modules_initial_values() {
    let fields = format!(
        "{IMPORT}
         (type $f (func (param i32) (result i32)))
         (table 4 funcref) (elem (i32.const 1) $one $two)
         (global $count (mut i32) (i32.add (i32.const 30) (i32.const 10)))
         (global $base i32 (i32.mul (i32.const 10) (i32.const 100)))
         (func $one (param i32) (result i32) (i32.const 1))
         (func $two (param i32) (result i32) (i32.const 2))"
    );
    let value = "(global.set $count (i32.add (global.get $count) (i32.const 1)))
        (i32.add (i32.add (global.get $count) (global.get $base))
          (call_indirect (type $f) (i32.const 0) (i32.add (i32.and (local.get $i) (i32.const 1)) (i32.const 1))))";
    let text = kernel(&fields, value);
    for device in devices() {
        let mut launcher = Launcher::with(device, &text);
        for _ in 0..2 {
            assert_eq!(launcher.results(4), [1042, 1043, 1042, 1043]);
        }
    }
}

#[test]
fn a_kernel_that_grows_memory_runs_in_order_beside_the_caller() {
    let value = "(global.set $count (i32.add (global.get $count) (i32.const 1)))
        (drop (memory.grow (i32.eqz (local.get $i))))
        (i32.store (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 4)) (i32.const 55))
        (i32.add (global.get $count) (memory.size))";
    let text = kernel(&format!("{IMPORT} (global $count (mut i32) (i32.const 10))"), value);
    for device in devices() {
        let mut launcher = Launcher::with(device, &text);
        for pages in [3, 4] {
            assert_eq!(launcher.results(4), [11 + pages; 4]);
            assert_eq!(launcher.guest.call("pages", &[]).unwrap(), pages);
            assert_eq!(launcher.guest.load((pages << 16) - 4), 55);
            let reason = launcher.last().fallback.clone().unwrap();
            assert!(reason.contains("memory.grow"), "{reason}");
        }
        assert!(launcher.guest.fault("load", &[-65540]).contains("out of bounds"), "no buffer is left in memory");
    }
}

#[test]
fn a_kernel_that_grows_a_memory_of_its_own_runs_in_order_alone() {
    let value = "(drop (memory.grow (i32.const 1)))
        (i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4096)) (i32.const 1)))
        (i32.add (i32.load (i32.const 4096)) (memory.size))
        (i32.store (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 4)) (i32.const 55))";
    for device in devices() {
        let mut launcher = Launcher::with(device, &kernel(OWN, value));
        launcher.guest.store(4096, 77);
        for _ in 0..2 {
            // The memory is new for each launch, its size is, too, and invocations share it.
            assert_eq!(launcher.results(4), [105, 107, 109, 111], "{device:?}");
        }
        assert_eq!((launcher.guest.load(4096), launcher.guest.call("pages", &[]).unwrap()), (77, 2));
        assert!(launcher.last().fallback.as_ref().unwrap().contains("memory.grow"));
        // A buffer that the kernel may not write.
        let buffer = launcher.buffer(16, 0);
        let error = launcher.launch(4, &[buffer], &[]).unwrap_err();
        assert!(matches!(&error, Error::Kernel(f) if f.kind == TrapKind::OutOfBounds && f.iteration == 0), "{error}");
    }
    // It grows up to the buffers.
    let mut launcher = Launcher::with(DeviceChoice::Cpu, &kernel("(memory 1)", "(memory.grow (i32.const 65000))"));
    assert_eq!(launcher.results(2), [1, -1]);
    launcher.buffer(64 << 20, 0);
    assert_eq!(launcher.results(1), [-1]);
}

#[test]
fn a_trap_in_order_has_its_place_in_the_kernels_module() {
    let text = kernel(IMPORT, "(i32.div_u (memory.grow (i32.const 0)) (i32.lt_u (local.get $i) (i32.const 2)))");
    let mut launcher = Launcher::with(DeviceChoice::Cpu, &text);
    let buffer = launcher.buffer(16, 2);
    let error = launcher.launch(4, &[], &[buffer]).unwrap_err();
    let Error::Kernel(fault) = error else { panic!("{error}") };
    assert_eq!((fault.function.as_str(), fault.kind, fault.iteration), ("kernel", TrapKind::DivideByZero, 2));
    assert_eq!(wat::parse_str(&text).unwrap()[fault.at.offset as usize], 0x6e, "the operator is `i32.div_u`");
}

/// The caller's own instance takes no byte of a buffer for one of its memory.
#[test]
fn bulk_operators_in_order_reach_buffers() {
    let grows = "(drop (memory.grow (i32.const 0)))";
    let text = kernel(
        IMPORT,
        &format!(
            "{grows} (memory.fill (local.get $at) (i32.const 0x107) (i32.const 4))
             (memory.copy (i32.const 4096) (local.get $at) (i32.const 3))
             (i32.load (i32.const 4096)) (memory.copy (i32.const 4099) (i32.const 4096) (i32.const 1))"
        ),
    );
    for device in devices() {
        let mut launcher = Launcher::with(device, &text);
        launcher.guest.store(4096, 0x0a0b_0c0d);
        assert_eq!(launcher.results(3), [0x0a07_0707, 0x0707_0707, 0x0707_0707], "{device:?}");
        assert!(launcher.last().fallback.as_ref().unwrap().contains("memory.grow"));
    }
    let beyond = "(memory.copy (local.get $at) (i32.const 0x70000000) (i32.const 4))";
    let over_the_end = "(memory.fill (local.get $at) (i32.const 0) (i32.const -1))";
    for (wrong, access) in
        [(beyond, 2), (over_the_end, 2), ("(memory.fill (local.get $at) (i32.const 0) (i32.const 4))", 0)]
    {
        let text = kernel(IMPORT, &format!("{grows} {wrong} (i32.const 1)"));
        let mut launcher = Launcher::with(DeviceChoice::Cpu, &text);
        let buffers = [launcher.buffer(16, access)];
        let (inputs, outputs) = if access == 0 { (&buffers[..], &[][..]) } else { (&[][..], &buffers[..]) };
        let Error::Kernel(fault) = launcher.launch(4, inputs, outputs).unwrap_err() else { panic!("{wrong}") };
        assert_eq!(
            (fault.function.as_str(), fault.kind, fault.iteration),
            ("kernel", TrapKind::OutOfBounds, 0),
            "{wrong}"
        );
        assert_eq!(wat::parse_str(&text).unwrap()[fault.at.offset as usize], 0xfc, "the operator is `{wrong}`");
    }
}

#[test]
fn there_are_not_more_instances_than_a_store_can_bear() {
    let mut launcher = Launcher::on(DeviceChoice::Cpu, Form::For);
    let buffer = launcher.buffer(4, 2);
    let codes: Vec<i32> = (0..66)
        .map(|number| {
            launcher.put(&kernel(IMPORT, &format!("(i32.add (memory.grow (i32.const 0)) (i32.const {number}))")));
            launcher.launch(1, &[], &[buffer]).unwrap()
        })
        .collect();
    assert_eq!(codes, [vec![0; 64], vec![UNSUPPORTED; 2]].concat());
    assert!(launcher.last().fallback.as_ref().unwrap().contains("64 kernel modules"));
}

/// A kernel with a stack that starts where the caller keeps something else.
fn with_stack(first: &str) -> String {
    kernel(
        &format!("{IMPORT} (global $__stack_pointer (mut i32) (i32.const 4096))"),
        &format!(
            "{first}
             (global.set $__stack_pointer (i32.sub (global.get $__stack_pointer) (i32.const 16)))
             (i32.store (global.get $__stack_pointer) (local.get $i))
             (i32.add (i32.load (global.get $__stack_pointer)) (i32.const 1))"
        ),
    )
}

#[test]
fn a_kernels_stack_is_not_where_the_caller_keeps_its_own() {
    for (text, devices) in
        [(with_stack(""), devices()), (with_stack("(drop (memory.grow (i32.const 0)))"), vec![DeviceChoice::Cpu])]
    {
        for device in devices {
            let mut launcher = Launcher::with(device, &text);
            launcher.guest.store(4080, 1234);
            assert_eq!(launcher.results(100), numbers(100, |i| i + 1));
            assert_eq!(launcher.guest.load(4080), 1234, "{device:?}");
        }
    }
}
