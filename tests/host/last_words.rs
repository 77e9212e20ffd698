//! What kernels say before they give up is printed, though devices trap in front of it.

use std::time::{Duration, Instant};

use wasmtime_wasi::p1;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wavelift::wasmtime::{Linker, Store, Val};
use wavelift::{
    Config, DeviceChoice, Error, GuestState, HostFault, Instance, Limits, Module, Runtime, WasiCtxBuilder, WasiP1Ctx,
    add_to_linker, last_words,
};

use super::launches::devices;

const GUEST: &str = include_str!("last_words.wat");

const PANIC: i32 = 1;
const EXIT: i32 = 2;
const DIVIDE: i32 = 3;
const SILENT: i32 = 4;
const IN_ORDER: i32 = 5;
const ONCE: i32 = 6;
const ENDLESS: i32 = 7;
const LAUNCH_AGAIN: i32 = 8;
const BY_TABLE: i32 = 9;
const LATER: i32 = 10;

fn with_output() -> (MemoryOutputPipe, WasiP1Ctx) {
    let stdout = MemoryOutputPipe::new(1 << 10);
    let wasi = WasiCtxBuilder::new().stdout(stdout.clone()).allow_blocking_current_thread(true).build_p1();
    (stdout, wasi)
}

fn text(stdout: &MemoryOutputPipe) -> String {
    String::from_utf8(stdout.contents().to_vec()).unwrap()
}

/// What launches of a kernel print, and how they end; then the instance can still be called.
fn see(config: &Config, kernel: i32, times: i32, speak: i32) -> (String, Error) {
    let runtime = Runtime::new(config.clone()).unwrap();
    let module = Module::new(&runtime, GUEST).unwrap();
    let (stdout, wasi) = with_output();
    let mut instance = Instance::new(&runtime, &module, wasi).unwrap();
    let error = instance.call("launch", &[kernel, times, speak].map(Val::I32)).unwrap_err();
    assert_eq!(instance.call("works", &[]).unwrap()[0].i32(), Some(0), "a global of the kernel's was kept");
    (text(&stdout), error)
}

fn configs() -> impl Iterator<Item = Config> {
    devices().into_iter().flat_map(|device| [true, false].map(|sync| Config { device, sync, ..Config::default() }))
}

/// What a launch of a kernel prints, with the trap that it ends with; in iteration 7.
fn trapped(config: &Config, kernel: i32, times: i32, speak: i32) -> (String, String) {
    let (printed, error) = see(config, kernel, times, speak);
    let Error::Kernel(fault) = error else { panic!("kernel {kernel}, {:?}: {error:?}", config.device) };
    assert_eq!(fault.iteration, 7);
    (printed, fault.kind.to_string())
}

#[test]
fn a_panics_message_is_printed() {
    const UNREACHABLE: &str = "unreachable code was reached";
    for config in configs() {
        let said = |kernel| trapped(&config, kernel, 1, 0);
        assert_eq!(said(PANIC), ("zh".to_string(), UNREACHABLE.to_string()), "{:?}", config.device);
        assert_eq!(said(BY_TABLE), ("h".to_string(), UNREACHABLE.to_string()), "{:?}", config.device);
        assert_eq!(said(SILENT), (String::new(), UNREACHABLE.to_string()));
        // Another trap has no words.
        assert_eq!(said(DIVIDE), (String::new(), "an integer was divided by zero".to_string()));
        // Whatever it does when it is run again, the trap is what it was.
        assert_eq!(said(ONCE), (String::new(), UNREACHABLE.to_string()));
        // What comes behind the launch does not happen, though the guest may go on meanwhile.
        assert_eq!(trapped(&config, PANIC, 1, 1).0, "zh");
        for speak in [0, 1] {
            assert_eq!(trapped(&config, LATER, 5, speak).0, "k");
        }
    }
}

#[test]
fn it_ends_the_guest_by_the_status_that_it_says() {
    for config in configs() {
        let (printed, error) = see(&config, EXIT, 1, 1);
        assert!(matches!(error, Error::Exit(7)), "{error:?}");
        assert_eq!(printed, "h");
    }
}

/// As it does where the kernel runs in order.
#[test]
fn it_ends_the_guest_by_what_the_host_makes_of_it() {
    for config in configs() {
        let (_, error) = see(&config, LAUNCH_AGAIN, 1, 1);
        assert!(matches!(error, Error::Host(HostFault::InsideKernel { function: "parallel_for" })), "{error:?}");
    }
}

#[test]
fn a_kernel_in_the_guests_instance_says_it_once() {
    for config in configs() {
        let (printed, error) = see(&config, IN_ORDER, 1, 0);
        assert!(matches!(&error, Error::Kernel(fault) if fault.iteration == 2), "{error:?}");
        assert_eq!(printed, "abcc");
    }
}

#[test]
fn words_without_an_end_are_stopped() {
    for device in devices() {
        let limits = Limits { time: Some(Duration::from_secs(3)), ..Limits::default() };
        let started = Instant::now();
        let (printed, _) = trapped(&Config { device, limits, ..Config::default() }, ENDLESS, 1, 0);
        assert_eq!(printed, "a");
        assert!(started.elapsed() < Duration::from_secs(60));
    }
}

/// A host with a store of its own asks for them.
#[test]
fn hosts_with_a_linker_of_their_own_have_them_printed() {
    struct Data {
        guest: GuestState,
        wasi: WasiP1Ctx,
    }
    let runtime = Runtime::new(Config { device: DeviceChoice::Cpu, ..Config::default() }).unwrap();
    let module = Module::new(&runtime, GUEST).unwrap();
    let mut linker: Linker<Data> = Linker::new(runtime.engine());
    add_to_linker(&mut linker, |data: &mut Data| &mut data.guest).unwrap();
    p1::add_to_linker_sync(&mut linker, |data: &mut Data| &mut data.wasi).unwrap();
    let (stdout, wasi) = with_output();
    let mut store = Store::new(runtime.engine(), Data { guest: GuestState::new(&runtime, &module).unwrap(), wasi });
    let instance = linker.instantiate(&mut store, module.compiled()).unwrap();
    let launch = instance.get_typed_func::<(i32, i32, i32), ()>(&mut store, "launch").unwrap();
    let mut ended = |kernel| {
        let error = Error::of_call(launch.call(&mut store, (kernel, 1, 0)).unwrap_err(), &module);
        last_words(&mut store, instance, |data| &mut data.guest, error)
    };
    assert!(matches!(ended(PANIC), Error::Kernel(_)));
    assert_eq!(text(&stdout), "zh");
    assert!(matches!(ended(EXIT), Error::Exit(7)));
    // Words are said once.
    assert!(matches!(ended(DIVIDE), Error::Kernel(_)));
    assert_eq!(text(&stdout), "zhh");
}
