//! Devices that fail: at every call to the driver in a guest's life, in every way that a driver may fail, once before the
//! call's work is done and once after. The guest gets an error code or a trap that says why in a whole sentence, and no
//! wrong bytes; other guests go on, and so does the host.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use wavelift::device::gpu::{self, Fault, GpuDevice, GpuOptions, Plan, Transfers};
use wavelift::translator::Profile;
use wavelift::{Config, Error, ErrorCode, Runtime};

use super::{DRIVER, Guest, filled, table};

/// How long a test may take before it hangs.
const WATCHDOG: Duration = Duration::from_secs(300);
/// More calls to the driver than a life has.
const MOST_CALLS: u64 = 300;

/// How a step of a guest went wrong.
#[derive(Debug)]
enum End {
    /// A call returned an error code.
    Code(&'static str, i32),
    /// The guest was stopped.
    Trap(&'static str, Error),
}

/// A GPU that can be told to fail, and a runtime on it.
struct Fragile {
    gpu: Arc<GpuDevice>,
    runtime: Runtime,
}

impl Fragile {
    /// `None` where there is no GPU.
    fn new(transfers: Transfers, profile: Profile) -> Option<Fragile> {
        let adapter = gpu::adapters().into_iter().next()?;
        let options = GpuOptions { profile, ..GpuOptions::default() };
        let gpu = Arc::new(GpuDevice::open_with(&adapter, &options, Some(transfers)).unwrap());
        let runtime = Runtime::with_device(Config { profile, ..Config::default() }, gpu.clone()).unwrap();
        Some(Fragile { gpu, runtime })
    }

    fn guest(&self) -> Guest {
        Guest::new(&self.runtime, DRIVER)
    }

    fn plant(&self, fault: Fault, call: u64, late: bool) {
        self.gpu.plant(Some(Plan { fault, call, late }));
    }
}

/// Runs a test on a thread of its own; one that hangs fails.
fn watched(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let running = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match ended.recv_timeout(WATCHDOG) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test hangs"),
        _ => running.join().unwrap(),
    }
}

/// A call that returns a code.
fn step(guest: &mut Guest, name: &'static str, arguments: &[i32]) -> Result<(), End> {
    ended(name, guest.call(name, arguments))
}

fn ended(name: &'static str, called: Result<i32, Error>) -> Result<(), End> {
    match called {
        Ok(0) => Ok(()),
        Ok(code) => Err(End::Code(name, code)),
        Err(error) => Err(End::Trap(name, error)),
    }
}

fn buffer(guest: &mut Guest, size: i32) -> Result<i32, End> {
    step(guest, "get_device", &[0, 0])?;
    let device = guest.load(0);
    step(guest, "create_buffer", &[device, size, 2, 0])?;
    Ok(guest.load(0))
}

fn launch(guest: &mut Guest, kernel: i32, count: i32, ins: &[i32], outs: &[i32]) -> Result<(), End> {
    ended("parallel_for", guest.launch(kernel, count, ins, outs))
}

/// The buffer's words are `expected`, or an end; other words are a panic.
fn expect(guest: &mut Guest, buffer: i32, expected: &[i32]) -> Result<(), End> {
    let count = expected.len() as i32;
    step(guest, "read_buffer", &[buffer, 1024, 4 * count])?;
    let words: Vec<_> = (0..count).map(|i| guest.load(1024 + 4 * i)).collect();
    assert_eq!(words, expected, "wrong words were read");
    Ok(())
}

/// Everything that a guest does with a device, with a launch of each sort: the first of its kernel, deferred, behind
/// writes, of linear memory, on the CPU.
fn live(guest: &mut Guest) -> Result<(), End> {
    let (a, b) = (buffer(guest, 400)?, buffer(guest, 400)?);
    expect(guest, b, &[0; 100])?;
    guest.store(1024, 77);
    step(guest, "write_buffer", &[1024, 4, a])?;
    launch(guest, table::FILL, 90, &[], &[a])?;
    launch(guest, table::FILL, 100, &[], &[a])?;
    launch(guest, table::DOUBLE, 100, &[a], &[b])?;
    launch(guest, table::FILL, 50, &[], &[a])?;
    launch(guest, table::DOUBLE, 100, &[a], &[b])?;
    let first = [filled(50), filled(100)[50..].to_vec()].concat();
    expect(guest, b, &first.iter().map(|word| 2 * word).collect::<Vec<_>>())?;
    launch(guest, table::FILL, 100, &[], &[a])?;
    // Behind a launch, and over a part of a word.
    guest.store(1024, 5);
    step(guest, "write_buffer", &[1024, 4, a])?;
    step(guest, "write_buffer", &[1024, 3, b])?;
    launch(guest, table::DOUBLE, 100, &[a], &[b])?;
    let doubled: Vec<_> = [vec![10], filled(100)[1..].iter().map(|word| 2 * word).collect()].concat();
    expect(guest, b, &doubled)?;
    launch(guest, table::MEMORY, 20, &[], &[])?;
    launch(guest, table::MEMORY, 30, &[], &[])?;
    assert_eq!((0..30).map(|i| guest.load(4096 + 4 * i)).collect::<Vec<_>>(), (1..31).collect::<Vec<_>>());
    launch(guest, table::INIT, 8, &[], &[a])?;
    launch(guest, table::INDIRECT, 8, &[], &[a])?;
    let changed = [(1..9).collect(), filled(100)[8..].to_vec()].concat();
    expect(guest, a, &changed)?;
    launch(guest, table::CALLS_HOST, 3, &[], &[b])?;
    expect(guest, b, &[&[41, 42, 43], &doubled[3..]].concat())
}

/// What must be true of any end.
fn check(end: &End, fault: Fault, at: &str) {
    match end {
        End::Code(step, code) => {
            let lost = [ErrorCode::DeviceLost as i32, ErrorCode::BadHandle as i32];
            let fits = match fault {
                Fault::OutOfMemory => *code == ErrorCode::OutOfMemory as i32,
                Fault::Lost => lost.contains(code),
                Fault::Failed | Fault::Panic => false,
            };
            assert!(fits, "{at}: `{step}` returned {code}");
        }
        End::Trap(step, error) => {
            let text = error.to_string();
            assert!(text.starts_with(char::is_uppercase) && text.ends_with('.'), "{at}: `{step}`: {text}");
            let said = match fault {
                Fault::OutOfMemory => "has no memory left",
                Fault::Lost => "was lost",
                Fault::Failed => "planted this fault",
                Fault::Panic => "planted this panic",
            };
            assert!(text.contains(said), "{at}: `{step}`: {text}");
        }
    }
}

/// A guest beside the one that is struck: its buffer is as it was, or gone with the device.
fn look_after(bystander: &mut Guest, kept: &mut i32, fault: Fault, at: &str) {
    match expect(bystander, *kept, &filled(100)) {
        Ok(()) => {}
        Err(End::Code(_, code)) if fault == Fault::Lost && code == ErrorCode::DeviceLost as i32 => {
            *kept = buffer(bystander, 400).unwrap();
        }
        Err(end) => panic!("{at}: the other guest: {end:?}"),
    }
    launch(bystander, table::FILL, 100, &[], &[*kept]).unwrap();
}

/// Lives with a fault at the first call, at the second, and so on until one passes unharmed; the number of calls.
fn strike_everywhere(fragile: &Fragile, fault: Fault, late: bool) -> u64 {
    let mut bystander = fragile.guest();
    let mut kept = buffer(&mut bystander, 400).unwrap();
    launch(&mut bystander, table::FILL, 100, &[], &[kept]).unwrap();
    for call in 1..MOST_CALLS {
        let at = format!("{fault:?} at call {call}{}", if late { ", after its work" } else { "" });
        let mut guest = fragile.guest();
        fragile.plant(fault, call, late);
        let lived = live(&mut guest);
        let unharmed = fragile.gpu.is_planted();
        fragile.gpu.plant(None);
        // What the driver was only asked to make faster may fail unseen.
        if let Err(end) = &lived {
            check(end, fault, &at);
        }
        if unharmed {
            assert!(lived.is_ok(), "{at}: {lived:?}");
            return call - 1;
        }
        look_after(&mut bystander, &mut kept, fault, &at);
        // An error code is no end: the same guest begins again.
        if let Err(End::Code(..)) = lived {
            live(&mut guest).unwrap_or_else(|end| panic!("{at}: the guest afterwards: {end:?}"));
        }
        drop(guest);
        if call % 8 == 0 {
            live(&mut fragile.guest()).unwrap_or_else(|end| panic!("{at}: the next guest: {end:?}"));
        }
    }
    panic!("a life has more than {MOST_CALLS} calls");
}

fn strike(fault: Fault, late: bool, transfers: Transfers, profile: Profile) {
    watched(move || {
        let Some(fragile) = Fragile::new(transfers, profile) else { return };
        let started = Instant::now();
        let calls = strike_everywhere(&fragile, fault, late);
        println!("{fault:?}: {calls} calls in {:?}", started.elapsed());
        assert!(calls > 20, "a life of {calls} calls only");
    });
}

#[test]
fn memory_is_used_up_before_a_call() {
    strike(Fault::OutOfMemory, false, Transfers::Staged, Profile::Vulkan);
}

#[test]
fn memory_is_used_up_after_a_call() {
    strike(Fault::OutOfMemory, true, Transfers::Mapped, Profile::Vulkan);
}

#[test]
fn the_driver_refuses_a_call() {
    strike(Fault::Failed, false, Transfers::Mapped, Profile::Vulkan);
}

#[test]
fn the_driver_reports_an_error_after_a_call() {
    strike(Fault::Failed, true, Transfers::Staged, Profile::Vulkan);
}

#[test]
fn the_graphics_library_panics_before_a_call() {
    strike(Fault::Panic, false, Transfers::Staged, Profile::Portable);
}

#[test]
fn the_graphics_library_panics_after_a_call() {
    strike(Fault::Panic, true, Transfers::Mapped, Profile::Portable);
}

#[test]
fn the_device_is_lost_before_a_call() {
    strike(Fault::Lost, false, Transfers::Staged, Profile::Vulkan);
}

#[test]
fn the_device_is_lost_after_a_call() {
    strike(Fault::Lost, true, Transfers::Mapped, Profile::Vulkan);
}

/// A device that can't be opened again is an error for each guest that wants it, until it can.
#[test]
fn a_device_that_stays_away() {
    watched(|| {
        let Some(fragile) = Fragile::new(Transfers::Staged, Profile::Vulkan) else { return };
        let mut guest = fragile.guest();
        live(&mut guest).unwrap();
        fragile.gpu.close(true);
        fragile.gpu.lose();
        for _ in 0..3 {
            let Err(end) = live(&mut guest) else { panic!("the device is away") };
            assert!(matches!(end, End::Code("create_buffer", 7)), "{end:?}");
            let Err(end) = live(&mut fragile.guest()) else { panic!("the device is away") };
            assert!(matches!(end, End::Code("create_buffer", 7)), "{end:?}");
        }
        fragile.gpu.close(false);
        live(&mut guest).unwrap();
        live(&mut fragile.guest()).unwrap();
    });
}

/// A lost device takes the buffers on it along, and no others: those on the CPU stay.
#[test]
fn a_lost_device_harms_no_buffer_of_another() {
    watched(|| {
        let Some(fragile) = Fragile::new(Transfers::Staged, Profile::Vulkan) else { return };
        let mut guests: Vec<_> = (0..4).map(|_| fragile.guest()).collect();
        let mut buffers: Vec<_> = guests.iter_mut().map(|guest| guest.buffer(400, 2)).collect();
        for round in 0..3 {
            for (guest, buffer) in guests.iter_mut().zip(&buffers) {
                for _ in 0..3 {
                    launch(guest, table::FILL, 100, &[], &[*buffer]).unwrap();
                }
            }
            fragile.gpu.lose();
            let started = Instant::now();
            for (guest, buffer) in guests.iter_mut().zip(&mut buffers) {
                let read = guest.call("read_buffer", &[*buffer, 1024, 4]).unwrap();
                assert_eq!(read, ErrorCode::DeviceLost as i32);
                assert_eq!(guest.call("read_buffer", &[*buffer, 1024, 4]).unwrap(), ErrorCode::BadHandle as i32);
                *buffer = guest.buffer(400, 2);
                assert_eq!(guest.words(*buffer, 100), [0; 100]);
                launch(guest, table::FILL, 100, &[], &[*buffer]).unwrap();
                assert_eq!(guest.words(*buffer, 100), filled(100));
            }
            println!("round {round}: all four guests work again after {:?}", started.elapsed());
        }
    });
}
