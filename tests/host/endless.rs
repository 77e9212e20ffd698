//! Kernels that never end trap, on every device, and others do not.

use std::time::{Duration, Instant};

use wavelift::device::TrapKind;
use wavelift::translator::Profile;
use wavelift::{Config, DeviceChoice, Error, KernelFault, Limits, Runtime};

use super::Guest;
use super::launches::devices;

/// Entries of the table, in its order.
#[derive(Clone, Copy, Debug)]
enum Kernel {
    All = 1,
    One,
    Called,
    BehindResults,
    TailCalls,
    TailCalled,
    Nested,
    Left,
    Table,
    Long,
    Finite,
    Doubles,
    Recurses,
    Fills,
    Divides,
    Roots,
    Stores,
    Counts,
    CalledInLoop,
}

/// Each with the lowest invocation that does not end.
const ENDLESS: [(Kernel, u32); 17] = [
    (Kernel::All, 0),
    (Kernel::One, 70_001),
    (Kernel::Called, 777),
    (Kernel::BehindResults, 0),
    (Kernel::TailCalls, 0),
    (Kernel::TailCalled, 1),
    (Kernel::Nested, 0),
    (Kernel::Left, 0),
    (Kernel::Table, 3),
    (Kernel::Doubles, 0),
    (Kernel::Recurses, 0),
    (Kernel::Fills, 0),
    (Kernel::Divides, 0),
    (Kernel::Roots, 0),
    (Kernel::Stores, 0),
    (Kernel::Counts, 0),
    (Kernel::CalledInLoop, 0),
];

/// The guest, with functions `d0` to `d29` that each call the next one eight times.
fn text() -> String {
    let call = |next: u32| format!("(call $d{next} (local.get 0)) ");
    let functions = (0..30).map(|number| {
        let sum = (0..8).map(|_| call(number + 1)).collect::<String>() + &"i32.add ".repeat(7);
        format!("(func $d{number} (param i32) (result i32) {sum})\n")
    });
    let functions: String = functions.collect();
    include_str!("endless.wat").replace("DOUBLES", &(functions + "(func $d30 (param i32) (result i32) (local.get 0))"))
}

/// The devices of this machine, GPUs by both profiles.
fn configs() -> Vec<Config> {
    let config = |device| Config { device, ..Config::default() };
    let mut configs: Vec<Config> = devices().into_iter().map(config).collect();
    if devices().contains(&DeviceChoice::Gpu) {
        configs.push(Config { profile: Profile::Portable, ..config(DeviceChoice::Gpu) });
    }
    configs
}

fn guest(config: &Config, fuel: Option<u32>) -> Guest {
    let config = Config { limits: Limits { fuel, ..Limits::default() }, ..config.clone() };
    Guest::new(&Runtime::new(config).unwrap(), &text())
}

fn launch(guest: &mut Guest, kernel: Kernel, iterations: i32) -> Result<i32, Error> {
    guest.call("launch", &[kernel as i32, iterations])
}

fn trap(guest: &mut Guest, kernel: Kernel) -> KernelFault {
    let error = launch(guest, kernel, 1_000_000).unwrap_err();
    let Error::Kernel(fault) = error else { panic!("{kernel:?}: {error}") };
    assert_eq!(fault.kind, TrapKind::OutOfFuel, "{kernel:?}");
    fault
}

/// Has kernels run out of the fuel that there is by default, each within a time.
fn run_out(kernels: &[Kernel], limit: Duration) {
    for config in configs() {
        for (kernel, lowest) in ENDLESS {
            if !kernels.is_empty() && !kernels.iter().any(|wanted| *wanted as i32 == kernel as i32) {
                continue;
            }
            let mut guest = guest(&config, Limits::default().fuel);
            let started = Instant::now();
            let fault = trap(&mut guest, kernel);
            let took = started.elapsed();
            println!("{kernel:?} on {:?}, {:?}: {took:?}", config.device, config.profile);
            assert_eq!(fault.iteration, lowest, "{kernel:?}");
            assert!(took < limit, "{kernel:?} on {config:?} took {took:?}");
            assert_eq!(launch(&mut guest, Kernel::Finite, 100).unwrap(), 0, "after {kernel:?}");
        }
    }
}

#[test]
fn an_endless_kernel_traps_by_default() {
    // A second or two, and the machine may be busy.
    run_out(&[Kernel::All, Kernel::One, Kernel::Nested], Duration::from_secs(60));
}

#[test]
#[ignore = "takes a minute, and a machine that does nothing else"]
fn every_endless_kernel_traps_within_five_seconds() {
    run_out(&[], Duration::from_secs(5));
}

#[test]
fn the_lowest_endless_invocation_is_named_and_the_device_goes_on() {
    let mut first = Vec::new();
    for config in configs() {
        for (kernel, lowest) in ENDLESS {
            let mut guest = guest(&config, Some(1 << 22));
            let fault = trap(&mut guest, kernel);
            assert_eq!(fault.iteration, lowest, "{kernel:?}");
            match first.iter().find(|(other, _)| *other == kernel as i32) {
                Some((_, other)) => assert_eq!(&fault, other, "{kernel:?} on {config:?}: not the same place"),
                None => first.push((kernel as i32, fault.clone())),
            }
            for _ in 0..3 {
                assert_eq!(trap(&mut guest, kernel), fault);
            }
            assert_eq!(launch(&mut guest, Kernel::Finite, 100).unwrap(), 0);
            assert_eq!([0, 99].map(|i| guest.load(1024 + 4 * i)), [900_000; 2]);
        }
    }
}

#[test]
fn a_long_loop_ends() {
    let want = (0..40_000_000).fold(0i32, |sum, k| sum.wrapping_mul(5).wrapping_add(k));
    for config in configs() {
        let mut guest = guest(&config, Limits::default().fuel);
        assert_eq!(launch(&mut guest, Kernel::Long, 1).unwrap(), 0);
        assert_eq!(guest.load(1024), want);
    }
}

#[test]
fn the_limit_is_what_was_asked_for() {
    for config in configs() {
        // Four that run as one may do what each of them may, and share what is the same for all.
        let mut limited = guest(&config, Some(1 << 18));
        assert_eq!(trap(&mut limited, Kernel::Finite).iteration, 0);
        assert_eq!(limited.load(1024), 0);
        let mut free = guest(&config, None);
        assert_eq!(launch(&mut free, Kernel::Finite, 3).unwrap(), 0);
        assert_eq!([0, 1, 2, 3].map(|i| free.load(1024 + 4 * i)), [900_000, 900_000, 900_000, 0]);
    }
}
