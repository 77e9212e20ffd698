//! Many guests of one runtime: what one has is nothing to another, and nothing of one that is gone is left.

use std::process::Command;
use std::sync::Barrier;

use wavelift::{Config, DeviceChoice, ErrorCode, Instance, Limits, Module, Runtime, WasiCtxBuilder};

use super::launches::devices;
use super::{DRIVER, Guest, filled, table};

fn runtime(device: DeviceChoice) -> Runtime {
    let limits = Limits { device_memory: 64 << 20, ..Limits::default() };
    Runtime::new(Config { device, limits, ..Config::default() }).unwrap()
}

#[test]
fn handles_of_one_guest_mean_nothing_to_another() {
    const BAD_HANDLE: i32 = ErrorCode::BadHandle as i32;
    for device in devices() {
        let runtime = runtime(device);
        let mut owner = Guest::new(&runtime, DRIVER);
        let handles: Vec<_> = (0..5).map(|_| owner.buffer(4000, 2)).collect();
        for handle in &handles {
            assert_eq!(owner.launch(table::FILL, 1000, &[], &[*handle]).unwrap(), 0);
        }
        let mut other = Guest::new(&runtime, DRIVER);
        let forged = handles.iter().flat_map(|handle| [*handle, handle.wrapping_add(1 << 24), !handle]);
        for handle in forged.chain([0, -1, 1, i32::MIN, owner.device(0)]) {
            assert_eq!(other.call("read_buffer", &[handle, 1024, 4]).unwrap(), BAD_HANDLE);
            assert_eq!(other.call("write_buffer", &[1024, 4, handle]).unwrap(), BAD_HANDLE);
            assert_eq!(other.launch(table::FILL, 1, &[], &[handle]).unwrap(), BAD_HANDLE);
            assert_eq!(other.launch(table::DOUBLE, 1, &[handle], &[handle]).unwrap(), BAD_HANDLE);
        }
        // The same number is another buffer here.
        let own = other.buffer(4000, 2);
        assert!(handles.contains(&own));
        assert_eq!(other.words(own, 1000), [0; 1000]);
        for handle in handles {
            assert_eq!(owner.words(handle, 1000), filled(1000));
        }
    }
}

#[test]
fn memory_that_is_used_again_is_zero() {
    for device in devices() {
        let runtime = runtime(device);
        for round in 0..20 {
            let size = [64, 4096, 65_536, 1 << 20][round % 4];
            let mut guest = Guest::new(&runtime, DRIVER);
            let buffers: Vec<_> = (0..3).map(|_| guest.buffer(size, 2)).collect();
            for buffer in buffers {
                // A kernel sees it first, or the host does.
                if round % 2 == 0 {
                    let copy = guest.buffer(size, 2);
                    assert_eq!(guest.launch(table::DOUBLE, size / 4, &[buffer], &[copy]).unwrap(), 0);
                    assert_eq!(guest.words(copy, (size / 4).min(16)), vec![0; (size / 4).min(16) as usize]);
                }
                let step = (size / 40).max(1) / 4 * 4 + 4;
                guest.ok("read_buffer", &[buffer, 65_536, size.min(65_536)]);
                for at in (0..size.min(65_536)).step_by(step as usize) {
                    assert_eq!(guest.load(65_536 + at / 4 * 4), 0, "{device:?}, {size} bytes at {at}");
                }
                assert_eq!(guest.launch(table::FILL, size / 4, &[], &[buffer]).unwrap(), 0);
            }
        }
    }
}

#[test]
fn guests_on_many_threads_get_their_own_results() {
    const THREADS: usize = 12;
    for device in devices() {
        let (runtime, start) = (runtime(device), Barrier::new(THREADS));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (runtime, start) = (&runtime, &start);
                scope.spawn(move || {
                    start.wait();
                    for _ in 0..3 {
                        let mut guest = Guest::new(runtime, DRIVER);
                        let (a, b) = (guest.buffer(4000, 2), guest.buffer(4000, 2));
                        let count = 100 + thread as i32;
                        for _ in 0..10 {
                            assert_eq!(guest.launch(table::FILL, count, &[], &[a]).unwrap(), 0);
                            assert_eq!(guest.launch(table::DOUBLE, count, &[a], &[b]).unwrap(), 0);
                        }
                        if thread % 3 == 0 {
                            assert!(
                                guest
                                    .launch(table::TRAPS, 9, &[], &[a])
                                    .and_then(|_| guest.call("load", &[0]))
                                    .is_err()
                            );
                        }
                        let doubled: Vec<_> = filled(count).iter().map(|word| 2 * word).collect();
                        assert_eq!(guest.words(b, count), doubled);
                    }
                });
            }
        });
    }
}

/// Resident memory of this process in pages; a software GPU's memory is among it.
#[cfg(target_os = "linux")]
pub fn resident_pages() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

/// One guest from its making to its end, or one guest's buffers.
#[cfg(target_os = "linux")]
fn cycle(runtime: &Runtime, module: &Module, number: usize) {
    let instance = Instance::new(runtime, module, WasiCtxBuilder::new().build_p1()).unwrap();
    let mut guest = Guest { instance };
    let (a, b) = (guest.buffer(40_000, 2), guest.buffer(40_000, 2));
    assert_eq!(guest.launch(table::FILL, 10_000, &[], &[a]).unwrap(), 0);
    assert_eq!(guest.launch(table::DOUBLE, 10_000, &[a], &[b]).unwrap(), 0);
    if number.is_multiple_of(3) {
        assert_eq!(guest.launch(table::MEMORY, 100, &[], &[]).unwrap(), 0);
    }
    if number.is_multiple_of(5) {
        let _ = guest.launch(table::TRAPS, 9, &[], &[a]);
        return;
    }
    assert_eq!(guest.words(b, 3), filled(10_000)[..3].iter().map(|word| 2 * word).collect::<Vec<_>>());
}

/// Runs so many guests one after the other in a process of its own: other tests use memory, too.
#[cfg(target_os = "linux")]
fn cycles_apart(count: usize) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["many::cycles", "--exact", "--ignored", "--nocapture"]).env("WAVELIFT_CYCLES", count.to_string());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{text}");
    assert!(output.status.success(), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_guests_leave_nothing() {
    cycles_apart(1000);
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "takes minutes"]
fn ten_thousand_guests_leave_nothing() {
    cycles_apart(10_000);
}

/// Has the allocator give the system what is free: glibc keeps a megabyte more now and then, which is no guest's.
#[cfg(target_os = "linux")]
fn give_back_free_memory() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: glibc's function of that name and type, which any thread may call at any time.
        unsafe { malloc_trim(0) };
    }
}

/// What [`cycles_apart`] runs. Some guests come with a module of their own, so that caches fill up; they are full when
/// measuring begins.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "run by others, in a process of its own"]
fn cycles() {
    let count: usize = std::env::var("WAVELIFT_CYCLES").map_or(1000, |text| text.parse().unwrap());
    for device in devices() {
        let runtime = runtime(device);
        let shared = Module::new(&runtime, DRIVER).unwrap();
        let run = |number: usize| match number % 10 {
            9 => cycle(&runtime, &Module::new(&runtime, DRIVER).unwrap(), number),
            _ => cycle(&runtime, &shared, number),
        };
        (0..count / 2).for_each(run);
        give_back_free_memory();
        let before = resident_pages();
        let mut most = before;
        for number in 0..count {
            run(number);
            if number % (count / 10).max(1) == 0 {
                most = most.max(resident_pages());
            }
        }
        give_back_free_memory();
        let after = resident_pages();
        println!("{count} guests on {device:?}: {before} pages before, {after} after, {most} at most");
        // A hundredth.
        assert!(after <= before + before / 100, "{device:?}: {before} pages before and {after} after");
    }
}
