//! Launches that are under way while the guest goes on: what it does outside is as if each had been waited for.

use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wavelift::translator::Profile;
use wavelift::wasmtime::Val;
use wavelift::{Config, DeviceChoice, Instance, Module, Runtime, WasiCtxBuilder};

use super::launches::devices;

const GUEST: &str = include_str!("deferred.wat");

/// What an export did: what it printed, and its result, or the error that it ended with.
type Seen = (String, Result<Option<i32>, String>);

/// The guest on runtimes that wait for each launch, and that do not.
struct Pair {
    device: DeviceChoice,
    guests: [(Runtime, Module); 2],
}

impl Pair {
    fn all() -> Vec<Pair> {
        let guest = |device, profile, sync| {
            let runtime = Runtime::new(Config { device, profile, sync, ..Config::default() }).unwrap();
            let module = Module::new(&runtime, GUEST).unwrap();
            // A kernel's first launch is always waited for.
            for export in ["nothing_behind_a_trap", "two_traps_the_other_way"] {
                assert!(see(&runtime, &module, export, &[]).1.is_err());
            }
            (runtime, module)
        };
        let pairs = devices().into_iter().flat_map(|device| {
            let profiles: &[Profile] = match device {
                DeviceChoice::Gpu => &[Profile::Vulkan, Profile::Portable],
                _ => &[Profile::Vulkan],
            };
            profiles
                .iter()
                .map(move |profile| Pair { device, guests: [true, false].map(|sync| guest(device, *profile, sync)) })
        });
        pairs.collect()
    }

    /// What an export does, which is the same either way.
    fn see(&self, export: &str, arguments: &[i32]) -> Seen {
        let [waits, goes_on] = &self.guests;
        let seen = see(&waits.0, &waits.1, export, arguments);
        assert_eq!(see(&goes_on.0, &goes_on.1, export, arguments), seen, "`{export}` on {:?}", self.device);
        seen
    }
}

fn see(runtime: &Runtime, module: &Module, export: &str, arguments: &[i32]) -> Seen {
    let stdout = MemoryOutputPipe::new(1 << 10);
    let wasi = WasiCtxBuilder::new().stdout(stdout.clone()).allow_blocking_current_thread(true).build_p1();
    let mut instance = Instance::new(runtime, module, wasi).unwrap();
    let arguments: Vec<Val> = arguments.iter().map(|value| Val::I32(*value)).collect();
    let result = instance.call(export, &arguments);
    let result = result.map(|values| values.first().and_then(Val::i32)).map_err(|error| error.to_string());
    (String::from_utf8(stdout.contents().to_vec()).unwrap(), result)
}

#[test]
fn results_are_those_of_launches_that_were_waited_for() {
    for pair in Pair::all() {
        let result = |export, arguments: &[i32]| {
            let (printed, result) = pair.see(export, arguments);
            assert_eq!(printed, "");
            result.unwrap().unwrap()
        };
        // Two launches of `count` come before, in the start function.
        assert_eq!(result("chain", &[1]), 3);
        assert_eq!(result("chain", &[1500]), 1502);
        assert_eq!(result("memory_as_at_the_call", &[20]), 2 + 210);
        assert_eq!(result("writes_between", &[20]), 2 + 210);
        assert_eq!(result("memory_is_there_at_once", &[]), 3);
    }
}

#[test]
fn nothing_happens_behind_a_trap() {
    for pair in Pair::all() {
        let trapped = |export, lowest: u32, what: &str| {
            let (printed, result) = pair.see(export, &[]);
            let error = result.unwrap_err();
            assert!(error.contains(what) && error.ends_with(&format!("trapped is {lowest}.")), "{export}: {error}");
            printed
        };
        let unreachable = "unreachable";
        assert_eq!(trapped("output_behind_a_trap", 7, unreachable), "a");
        assert_eq!(trapped("exit_behind_a_trap", 7, unreachable), "");
        assert_eq!(trapped("the_guests_own_trap_behind_one", 7, unreachable), "");
        assert_eq!(trapped("endless_behind_a_trap", 7, unreachable), "");
        assert_eq!(trapped("a_fault_behind_a_trap", 7, unreachable), "");
        assert_eq!(trapped("a_kernel_that_speaks_behind_a_trap", 7, unreachable), "");
        assert_eq!(trapped("memory_behind_a_trap", 7, unreachable), "");
        assert_eq!(trapped("two_traps", 7, unreachable), "");
        assert_eq!(trapped("two_traps_the_other_way", 0, "divi"), "");
        assert_eq!(trapped("nothing_behind_a_trap", 7, unreachable), "");
        assert_eq!(trapped("a_read_behind_a_trap", 7, unreachable), "");
    }
}

#[test]
fn output_comes_in_the_order_of_the_calls() {
    for pair in Pair::all() {
        let (printed, result) = pair.see("a_kernel_that_speaks", &[]);
        assert_eq!((printed, result), (format!("a{}", "!".repeat(64)), Ok(None)));
    }
}

/// The report counts what was deferred, in order, and a trap ends it.
#[test]
fn the_report_has_all_launches() {
    for device in devices() {
        let runtime = Runtime::new(Config { device, timed: true, ..Config::default() }).unwrap();
        let module = Module::new(&runtime, GUEST).unwrap();
        let mut instance = Instance::new(&runtime, &module, WasiCtxBuilder::new().build_p1()).unwrap();
        instance.call("chain", &[Val::I32(100)]).unwrap();
        assert!(instance.call("two_traps", &[]).is_err());
        let launches = instance.report().launches();
        let counts: Vec<_> = launches.iter().map(|l| (l.kernel.as_str(), l.count, l.fallback.is_some())).collect();
        let all = [("count", 1), ("add_word", 1), ("add_buffer", 1), ("count", 102)];
        let mut expected: Vec<_> = all.iter().map(|(kernel, count)| (*kernel, *count, false)).collect();
        expected.push(("trap", 1, true));
        assert_eq!(counts, expected);
        assert!(launches.iter().take(4).all(|launch| !launch.run.is_zero()), "{launches:?}");
    }
}
