//! Random sequences of host calls: what the tests of random calls and the fuzz target `calls` share.

use arbtest::arbitrary::{Result, Unstructured};
use wavelift::{Config, DeviceChoice, Error, HostFault, Limits, Runtime};

use super::guest::{DRIVER, Guest, driver_with_extensions, filled, table};

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

const CALLS: [(&str, usize); 13] = [
    ("get_device", 2),
    ("create_buffer", 4),
    ("create_buffer", 4),
    ("write_buffer", 3),
    ("read_buffer", 3),
    ("parallel_for", 7),
    ("parallel_for", 7),
    ("copy_entry", 2),
    ("free_buffer", 1),
    ("buffer_copy_in", 4),
    ("buffer_copy_out", 4),
    ("synchronize", 1),
    ("device_info", 3),
];

/// A runtime for guests under random calls, with a guest that has nothing to do with them.
pub struct Host {
    runtime: Runtime,
    bystander: Guest,
    buffer: i32,
}

impl Host {
    pub fn new(device: DeviceChoice) -> Host {
        let runtime = runtime(device);
        let mut bystander = Guest::new(&runtime, DRIVER);
        let buffer = bystander.buffer(4000, 2);
        assert_eq!(bystander.launch(table::FILL, 1000, &[], &[buffer]).unwrap(), 0);
        Host { runtime, bystander, buffer }
    }

    /// Has a new guest make random calls, says how many.
    ///
    /// # Panics
    /// If a call does what none may, or the other guest's buffer has changed.
    pub fn random_calls(&mut self, u: &mut Unstructured<'_>) -> Result<u32> {
        let mut guest = Guest::new(&self.runtime, &driver_with_extensions());
        let device = guest.device(0);
        let mut session = Session { guest: &mut guest, handles: vec![device, 0, 0x5b00_0000, 0x5b00_0001] };
        let steps = u.int_in_range(1..=25)?;
        for _ in 0..steps {
            session.step(u)?;
        }
        assert_eq!(self.bystander.words(self.buffer, 100), filled(1000)[..100]);
        Ok(steps)
    }
}

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
pub fn judge(called: std::result::Result<i32, Error>, what: &str) {
    match called {
        Ok(code) => assert!((0..8).contains(&code), "{what} gave {code}"),
        Err(Error::Host(HostFault::Launch { kernel, reason })) => panic!("{what}, kernel `{kernel}`: {reason}"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.starts_with(char::is_uppercase) && text.ends_with('.'), "{what}: {text}");
        }
    }
}

pub fn runtime(device: DeviceChoice) -> Runtime {
    let limits = Limits { device_memory: 4 << 20, ..Limits::default() };
    Runtime::new(Config { device, limits, ..Config::default() }).unwrap()
}
