//! Random sequences of host calls with random arguments: each returns a code of the ABI or stops the guest with a sentence,
//! and another guest's buffer stays as it is.
//!
//! `WAVELIFT_FUZZ_SECONDS=600 cargo test --test host random` runs for so long.

use std::time::Duration;

use arbtest::arbitrary::{Result, Unstructured};
use wavelift::{Config, DeviceChoice, Error, HostFault, Limits, Runtime};

use super::launches::devices;
use super::modules::{Form, KERNEL_AT, Launcher};
use super::{DRIVER, Guest, filled, table};

/// Numbers at the edges of what calls look at.
const EDGES: [i32; 24] = [
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    63,
    255,
    256,
    1024,
    4095,
    65_535,
    65_536,
    131_068,
    131_071,
    131_072,
    1 << 24,
    1 << 30,
    i32::MAX,
    i32::MIN,
    -4,
    -1,
];

const CALLS: [(&str, usize); 8] = [
    ("get_device", 2),
    ("create_buffer", 4),
    ("create_buffer", 4),
    ("write_buffer", 3),
    ("read_buffer", 3),
    ("parallel_for", 7),
    ("parallel_for", 7),
    ("copy_entry", 2),
];

/// A guest under random calls, and what it got from them.
struct Session<'a> {
    guest: &'a mut Guest,
    /// Handles that calls gave, and some that none did.
    handles: Vec<i32>,
}

impl Session<'_> {
    fn number(&self, u: &mut Unstructured<'_>) -> Result<i32> {
        Ok(match u.int_in_range(0..=9)? {
            0 => u.arbitrary()?,
            1..=3 => *u.choose(&EDGES)?,
            4..=5 => u.int_in_range(0..=20)?,
            _ => *u.choose(&self.handles)?,
        })
    }

    fn arguments(&self, u: &mut Unstructured<'_>, name: &str, count: usize) -> Result<Vec<i32>> {
        let mut arguments = (0..count).map(|_| self.number(u)).collect::<Result<Vec<_>>>()?;
        // Mostly calls that get somewhere.
        if u.ratio(3, 4)? {
            match name {
                "create_buffer" => {
                    let size = *u.choose(&[0, 1, 3, 400, 4000, 70_000])?;
                    arguments = vec![self.handles[0], size, u.int_in_range(0..=2)?, 0];
                }
                "parallel_for" => {
                    // The lists are where the handles were written.
                    let ins = u.int_in_range(0..=1)?;
                    arguments = vec![u.int_in_range(0..=20)?, 0, arguments[2], 256, ins, 260, u.int_in_range(0..=1)?];
                }
                _ => {}
            }
        }
        if name == "parallel_for" {
            // Any number is allowed, and takes its time.
            arguments[1] = *u.choose(&[0, 1, 5, 100, 1000])?;
        }
        Ok(arguments)
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        for at in [256, 260, 264] {
            let handle = self.number(u)?;
            self.guest.store(at, handle);
        }
        let (name, count) = *u.choose(&CALLS)?;
        let arguments = self.arguments(u, name, count)?;
        let called = self.guest.call(name, &arguments);
        judge(called, &format!("{name}{arguments:?}"));
        if name == "create_buffer" {
            self.handles.push(self.guest.load(0));
        }
        Ok(())
    }
}

/// A code of the ABI, or an error in a whole sentence that blames no defect.
fn judge(called: std::result::Result<i32, Error>, what: &str) {
    match called {
        Ok(code) => assert!((0..8).contains(&code), "{what} gave {code}"),
        Err(Error::Host(HostFault::Launch { kernel, reason })) => panic!("{what}, kernel `{kernel}`: {reason}"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.starts_with(char::is_uppercase) && text.ends_with('.'), "{what}: {text}");
        }
    }
}

fn budget() -> Duration {
    let seconds = std::env::var("WAVELIFT_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

fn runtime(device: DeviceChoice) -> Runtime {
    let limits = Limits { device_memory: 4 << 20, ..Limits::default() };
    Runtime::new(Config { device, limits, ..Config::default() }).unwrap()
}

#[test]
fn random_calls() {
    let runtimes: Vec<_> = devices().into_iter().map(runtime).collect();
    let mut bystanders: Vec<_> = runtimes
        .iter()
        .map(|runtime| {
            let mut guest = Guest::new(runtime, DRIVER);
            let buffer = guest.buffer(4000, 2);
            assert_eq!(guest.launch(table::FILL, 1000, &[], &[buffer]).unwrap(), 0);
            (guest, buffer)
        })
        .collect();
    let mut steps = 0;
    arbtest::arbtest(|u| {
        let which = u.choose_index(runtimes.len())?;
        let mut guest = Guest::new(&runtimes[which], DRIVER);
        let device = guest.device(0);
        let mut session = Session { guest: &mut guest, handles: vec![device, 0, 0x5b00_0000, 0x5b00_0001] };
        for _ in 0..u.int_in_range(1..=25)? {
            session.step(u)?;
            steps += 1;
        }
        let (bystander, buffer) = &mut bystanders[which];
        assert_eq!(bystander.words(*buffer, 100), filled(1000)[..100]);
        Ok(())
    })
    .budget(budget());
    println!("{steps} random calls");
    assert!(steps > 100, "{steps} calls only");
}

/// Kernel modules of random bytes, and good ones with some bytes changed.
#[test]
fn random_kernel_modules() {
    let kernel = wat::parse_str(
        r#"(module (import "env" "memory" (memory 1)) (global $g (mut i32) (i32.const 3))
          (func (export "kernel") (param $i i32) (param i32 i32) (param $p i32) (param $l i32)
            (if (i32.lt_u (i32.shl (local.get $i) (i32.const 2)) (local.get $l)) (then
              (i32.store (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2)))
                (i32.add (global.get $g) (i32.load offset=64 (i32.and (local.get $i) (i32.const 1020)))))))))"#,
    )
    .unwrap();
    let mut launches = 0;
    for device in devices() {
        let runtime = runtime(device);
        arbtest::arbtest(|u| {
            let mut launcher = Launcher::of(&runtime, Form::Exec);
            let buffer = launcher.buffer(400, 2);
            let mut bytes = kernel.clone();
            for _ in 0..u.int_in_range(0..=3)? {
                let at = u.choose_index(bytes.len())?;
                bytes[at] ^= 1 << u.int_in_range(0..=7)?;
            }
            if u.ratio(1, 8)? {
                bytes = u.arbitrary()?;
            }
            launcher.put_bytes(&bytes);
            let outs: &[i32] = if u.ratio(1, 8)? { &[] } else { &[buffer] };
            judge(launcher.launch(20, &[], outs), &format!("a kernel module at {KERNEL_AT}"));
            judge(launcher.guest.call("read_buffer", &[buffer, 1024, 4]), "read_buffer");
            launches += 1;
            Ok(())
        })
        .budget(budget() / 3);
    }
    println!("{launches} random kernel modules");
    assert!(launches > 20, "{launches} launches only");
}
