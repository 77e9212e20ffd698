//! What launches do, on the CPU, in order, and on a GPU where this machine has one.

use wavelift::{Config, DeviceChoice, Error, Runtime};

use super::{DRIVER, Guest, filled, table};

/// Those of this machine.
pub fn devices() -> Vec<DeviceChoice> {
    let mut devices = vec![DeviceChoice::Cpu, DeviceChoice::Sequential];
    if !wavelift::device::gpu::adapters().is_empty() {
        devices.push(DeviceChoice::Gpu);
    }
    devices
}

#[test]
fn fills_and_doubles() {
    for device in devices() {
        let mut guest = Guest::on(device);
        let (a, b) = (guest.buffer(400, 2), guest.buffer(400, 1));
        assert_eq!(guest.launch(table::FILL, 100, &[], &[a]).unwrap(), 0);
        assert_eq!(guest.launch(table::DOUBLE, 100, &[a], &[b]).unwrap(), 0);
        assert_eq!(guest.words(a, 100), filled(100));
        assert_eq!(guest.words(b, 100), filled(100).iter().map(|v| 2 * v).collect::<Vec<_>>());
    }
}

#[test]
fn a_buffer_in_both_lists() {
    for device in devices() {
        let mut guest = Guest::on(device);
        let buffer = guest.buffer(40, 2);
        guest.set_words(buffer, &[1, 2, 3, 4, 5]);
        assert_eq!(guest.launch(table::DOUBLE, 5, &[buffer], &[buffer]).unwrap(), 0);
        assert_eq!(guest.words(buffer, 6), [2, 4, 6, 8, 10, 0]);
    }
}

#[test]
fn zero_iterations() {
    let mut guest = Guest::on(DeviceChoice::Cpu);
    let buffer = guest.buffer(16, 2);
    assert_eq!(guest.launch(table::TRAPS, 0, &[], &[buffer]).unwrap(), 0);
    assert!(guest.instance.report().launches().is_empty());
}

#[test]
fn linear_memory_without_buffers() {
    for device in devices() {
        let mut guest = Guest::on(device);
        assert_eq!(guest.launch(table::MEMORY, 9, &[], &[]).unwrap(), 0);
        let words: Vec<i32> = (0..10).map(|i| guest.load(4096 + 4 * i)).collect();
        assert_eq!(words, [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
    }
}

#[test]
fn indirect_calls_find_the_table_as_it_is() {
    // The driver's own table holds a function of the host, too, which no device can call.
    let text = DRIVER.replace("$calls_us $sched_yield", "$calls_us $fill");
    for device in devices() {
        let mut guest = Guest::new(&Runtime::new(Config { device, ..Config::default() }).unwrap(), &text);
        let buffer = guest.buffer(40, 2);
        for _ in 0..2 {
            assert_eq!(guest.launch(table::INDIRECT, 10, &[], &[buffer]).unwrap(), 0);
            assert_eq!(guest.words(buffer, 10), (1..11).collect::<Vec<i32>>());
        }
        guest.call("copy_entry", &[table::CALLED, table::NEGATED]).unwrap();
        assert_eq!(guest.launch(table::INDIRECT, 10, &[], &[buffer]).unwrap(), 0);
        assert_eq!(guest.words(buffer, 10), (0..10).map(|i| -i).collect::<Vec<i32>>());
        guest.call("copy_entry", &[table::CALLED, table::FILL]).unwrap();
        let error = guest.launch(table::INDIRECT, 10, &[], &[buffer]).unwrap_err().to_string();
        assert!(error.contains("function had another type") && error.ends_with("trapped is 0."), "{error}");
        guest.call("clear_entry", &[table::CALLED]).unwrap();
        let error = guest.launch(table::INDIRECT, 10, &[], &[buffer]).unwrap_err().to_string();
        assert!(error.contains("table entry was null"), "{error}");
        let fallbacks: Vec<_> = guest.instance.report().launches().iter().filter_map(|l| l.fallback.clone()).collect();
        assert!(fallbacks.iter().all(|reason| reason.starts_with("Trapped")), "{fallbacks:?}");
    }
}

/// The host's functions may not be called by devices: GPUs assume that they are not.
#[test]
fn indirect_calls_through_a_table_with_a_hosts_function() {
    for device in devices() {
        let mut guest = Guest::on(device);
        let buffer = guest.buffer(40, 2);
        assert_eq!(guest.launch(table::INDIRECT, 10, &[], &[buffer]).unwrap(), 0);
        assert_eq!(guest.words(buffer, 10), (1..11).collect::<Vec<i32>>());
        let launch = guest.instance.report().launches()[0].clone();
        let (note, says) = match device {
            DeviceChoice::Gpu => (launch.form, "indirect calls come to functions that can be lifted"),
            _ => (launch.fallback, "functions of other modules"),
        };
        assert!(note.as_ref().is_some_and(|note| note.contains(says)), "{note:?}");
    }
}

#[test]
fn dropped_data_is_the_instances_state_and_a_kernels_drop_the_invocations() {
    let expected: Vec<i32> = (0..20).map(|i| (1..=4).rev().fold(0, |word, byte| word << 8 | (i % 8 + byte))).collect();
    for device in devices() {
        let mut guest = Guest::on(device);
        let buffer = guest.buffer(400, 2);
        for kernel in [table::INIT, table::INIT_AND_DROP, table::INIT] {
            guest.set_words(buffer, &[0; 20]);
            assert_eq!(guest.launch(kernel, 20, &[], &[buffer]).unwrap(), 0);
            assert_eq!(guest.words(buffer, 20), expected);
        }
        let error = guest.launch(table::INIT_AND_DROP, 50, &[], &[buffer]).unwrap_err().to_string();
        assert!(error.contains("out of bounds") && error.ends_with("trapped is 20."), "{error}");
        let mut guest = Guest::on(device);
        let buffer = guest.buffer(400, 2);
        assert_eq!(guest.launch(table::INIT, 20, &[], &[buffer]).unwrap(), 0);
        guest.call("drop_data", &[]).unwrap();
        for kernel in [table::INIT, table::INIT_AND_DROP] {
            let error = guest.launch(kernel, 20, &[], &[buffer]).unwrap_err().to_string();
            assert!(error.contains("out of bounds") && error.ends_with("trapped is 0."), "{error}");
        }
        let fallbacks: Vec<_> = guest.instance.report().launches().iter().filter_map(|l| l.fallback.clone()).collect();
        assert!(fallbacks.iter().all(|reason| reason.starts_with("Trapped")), "{fallbacks:?}");
    }
}

#[test]
fn a_call_that_never_comes_back_is_a_trap_on_every_device() {
    let mut messages = Vec::new();
    for device in devices() {
        let mut guest = Guest::on(device);
        let buffer = guest.buffer(40, 2);
        assert_eq!(guest.launch(table::GIVES_UP, 5, &[], &[buffer]).unwrap(), 0);
        let error = guest.launch(table::GIVES_UP, 9, &[], &[buffer]).unwrap_err().to_string();
        assert!(error.contains("unreachable") && error.ends_with("trapped is 5."), "{error}");
        messages.push(error);
        let fallbacks = guest.instance.report().launches().iter().filter_map(|l| l.fallback.clone());
        assert!(fallbacks.clone().all(|reason| reason.starts_with("Trapped")), "{:?}", fallbacks.collect::<Vec<_>>());
    }
    messages.dedup();
    assert_eq!(messages.len(), 1, "{messages:?}");
}

#[test]
fn tables_changed_at_run_time() {
    let mut guest = Guest::on(DeviceChoice::Cpu);
    let buffer = guest.buffer(16, 2);
    assert_eq!(guest.launch(table::FREE, 4, &[], &[buffer]).unwrap(), 5);
    guest.call("copy_entry", &[table::FREE, table::FILL]).unwrap();
    assert_eq!(guest.launch(table::FREE, 4, &[], &[buffer]).unwrap(), 0);
    assert_eq!(guest.words(buffer, 4), filled(4));
    guest.call("clear_entry", &[table::FILL]).unwrap();
    assert_eq!(guest.launch(table::FILL, 4, &[], &[buffer]).unwrap(), 5);
}

#[test]
fn a_store_to_a_read_buffer_traps() {
    for device in devices() {
        let mut guest = Guest::on(device);
        let buffer = guest.buffer(16, 0);
        let error = guest.launch(table::FILL, 4, &[buffer], &[]).unwrap_err();
        let Error::Kernel(fault) = error else { panic!("{error}") };
        assert_eq!((fault.kind, fault.iteration), (wavelift::device::TrapKind::OutOfBounds, 0));
    }
}

#[test]
fn a_trap_names_kernel_offset_and_lowest_iteration() {
    let module = wavelift::translator::Module::parse(wat::parse_str(super::DRIVER).unwrap()).unwrap();
    let body = module.body(module.find_function("traps").unwrap()).unwrap().range();
    for device in devices() {
        let mut guest = Guest::on(device);
        let buffer = guest.buffer(16, 2);
        let error = guest.launch(table::TRAPS, 100_000, &[], &[buffer]).unwrap_err();
        let Error::Kernel(fault) = &error else { panic!("{error}") };
        assert_eq!((fault.kernel.as_str(), fault.function.as_str(), fault.iteration), ("traps", "traps", 5));
        assert_eq!(fault.kind, wavelift::device::TrapKind::Unreachable);
        let at = fault.at.offset as usize;
        assert_eq!(module.bytes()[at], 0x00, "offset {at:#x} is an `unreachable`");
        assert!(body.contains(&at));
        let message = error.to_string();
        assert!(message.contains("`traps`") && message.contains(&format!("{at:#x}")), "{message}");
    }
}

#[test]
fn a_kernel_that_calls_the_host_runs_in_the_guest() {
    for device in devices() {
        let mut guest = Guest::on(device);
        let buffer = guest.buffer(32, 2);
        assert_eq!(guest.launch(table::CALLS_HOST, 8, &[], &[buffer]).unwrap(), 0);
        // Each invocation starts from the global's value at the call, and what it writes is dropped.
        assert_eq!(guest.words(buffer, 8), [41, 42, 43, 44, 45, 46, 47, 48]);
        assert_eq!(guest.call("counter", &[]).unwrap(), 40);
        let launches = guest.instance.report().launches();
        assert_eq!(launches.len(), 1);
        assert!(launches[0].fallback.is_some());
        // The buffer is not left in the guest's own memory.
        assert!(guest.fault("load", &[-4]).contains("out of bounds"));
    }
}

#[test]
fn a_trap_in_the_guest_is_a_kernels_trap() {
    let module = wavelift::translator::Module::parse(wat::parse_str(super::DRIVER).unwrap()).unwrap();
    let mut guest = Guest::on(DeviceChoice::Cpu);
    let buffer = guest.buffer(32, 2);
    let error = guest.launch(table::CALLS_HOST_AND_TRAPS, 8, &[], &[buffer]).unwrap_err();
    let Error::Kernel(fault) = &error else { panic!("{error}") };
    assert_eq!((fault.kind, fault.iteration), (wavelift::device::TrapKind::DivideByZero, 5));
    assert_eq!(module.bytes()[fault.at.offset as usize], 0x6e, "the operator is `i32.div_u`");
    assert_eq!(guest.call("counter", &[]).unwrap(), 40);
}

#[test]
fn an_unaligned_atomic_traps_as_such_wherever_it_runs() {
    let module = wavelift::translator::Module::parse(wat::parse_str(super::DRIVER).unwrap()).unwrap();
    for (entry, name) in
        [(table::MISALIGNED, "misaligned"), (table::CALLS_HOST_AND_MISALIGNED, "calls_host_and_misaligned")]
    {
        let mut guest = Guest::on(DeviceChoice::Cpu);
        let buffer = guest.buffer(32, 2);
        let error = guest.launch(entry, 8, &[], &[buffer]).unwrap_err();
        let Error::Kernel(fault) = &error else { panic!("{name}: {error}") };
        assert_eq!((fault.kernel.as_str(), fault.iteration), (name, 5));
        assert_eq!(fault.kind, wavelift::device::TrapKind::UnalignedAtomic, "{name}");
        assert_eq!(module.bytes()[fault.at.offset as usize], 0xfe, "the operator is atomic");
    }
}

#[test]
fn a_kernel_can_end_the_guest_and_can_not_launch() {
    let mut guest = Guest::on(DeviceChoice::Cpu);
    let buffer = guest.buffer(32, 2);
    let error = guest.launch(table::EXITS, 8, &[], &[buffer]).unwrap_err();
    assert!(matches!(error, Error::Exit(7)), "{error}");
    let error = guest.launch(table::CALLS_US, 8, &[], &[buffer]).unwrap_err();
    assert!(error.to_string().contains("A kernel called `get_device`"), "{error}");
    guest.buffer(4, 2);
}

#[test]
fn a_guests_own_trap_has_its_place() {
    let module = wavelift::translator::Module::parse(wat::parse_str(super::DRIVER).unwrap()).unwrap();
    let mut guest = Guest::on(DeviceChoice::Cpu);
    let error = guest.call("divide", &[1, 0]).unwrap_err();
    let Error::Trap { what, function: Some(function), offset: Some(offset), line: None } = &error else {
        panic!("{error}")
    };
    assert_eq!((what.as_str(), function.as_str()), ("integer divide by zero", "divide"));
    assert_eq!(module.bytes()[*offset], 0x6d, "the operator is `i32.div_s`");
}

#[test]
fn the_report_groups_launches() {
    let mut guest = Guest::on(DeviceChoice::Cpu);
    let buffer = guest.buffer(400, 2);
    guest.set_words(buffer, &[1]);
    for _ in 0..3 {
        guest.launch(table::FILL, 100, &[], &[buffer]).unwrap();
    }
    guest.launch(table::FILL, 50, &[], &[buffer]).unwrap();
    guest.words(buffer, 1);
    let launches = guest.instance.report().launches();
    let rows: Vec<_> = launches.iter().map(|l| (l.kernel.as_str(), l.invocations, l.count)).collect();
    assert_eq!(rows, [("fill", 100, 3), ("fill", 50, 1)]);
    assert!(!launches[0].upload.is_zero() && launches[1].upload.is_zero());
    assert!(launches[0].download.is_zero() && !launches[1].download.is_zero());
    assert!(launches.iter().all(|l| !l.run.is_zero() && l.device.starts_with("CPU")));
}
