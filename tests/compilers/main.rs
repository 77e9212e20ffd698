//! Guests of several compilers and optimisation levels, on every device.
//!
//! Each guest in `tests/guests/` runs its kernels by `parallel_for` and in a plain loop, compares the results bit by bit,
//! and prints a checksum for each kernel. Here each build must end with exit code 0 on each device and print what is
//! committed beside its source, so that builds and devices are compared with each other; and which of its kernels are
//! lifted, or why not, must be as in `tests/compilers/lifted.csv`.
//!
//! With `WAVELIFT_BLESS=1` in the environment, everything runs and the table and the printed lines are written anew; builds
//! of one source that print different lines are a failure then, too.
//!
//! Where the machine has no GPU driver the tests on GPUs show as ignored.

mod guest;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use guest::{Guest, Outcome, Way};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use table::Table;
use wavelift::DeviceChoice;
use wavelift::device::gpu;
use wavelift::translator::{Emulate, Profile, Share};

const NOTHING: Emulate = Emulate { i64: false, f64: false };

/// For guests with 64-bit types, at levels that people ship.
const EMULATING: Way = Way {
    name: "gpu_vulkan_emulated",
    device: DeviceChoice::Gpu,
    profile: Profile::Vulkan,
    emulate: Emulate { i64: true, f64: true },
    share: Share::Auto,
};

/// For guests that were compiled without optimisation, which call functions from everywhere: these are kept once.
const SHARING: Way = Way {
    name: "gpu_vulkan_shared",
    device: DeviceChoice::Gpu,
    profile: Profile::Vulkan,
    emulate: NOTHING,
    share: Share::Called { places: 2, operators: 20 },
};

const WAYS: [Way; 4] = [
    Way {
        name: "sequential",
        device: DeviceChoice::Sequential,
        profile: Profile::Vulkan,
        emulate: NOTHING,
        share: Share::Auto,
    },
    Way { name: "cpu", device: DeviceChoice::Cpu, profile: Profile::Vulkan, emulate: NOTHING, share: Share::Auto },
    Way {
        name: "gpu_vulkan",
        device: DeviceChoice::Gpu,
        profile: Profile::Vulkan,
        emulate: NOTHING,
        share: Share::Auto,
    },
    Way {
        name: "gpu_portable",
        device: DeviceChoice::Gpu,
        profile: Profile::Portable,
        emulate: NOTHING,
        share: Share::Auto,
    },
];

const NO_GPU: &str = "this machine has no GPU driver; install Mesa 25 or newer for its software one";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let guests = match guest::all() {
        Ok(guests) => guests,
        Err(message) => return fail(&message),
    };
    if std::env::var_os("WAVELIFT_BLESS").is_some() {
        return match bless(&guests) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failed) => fail(failed.message().unwrap_or("a run failed")),
        };
    }
    let committed = Arc::new(table::read());
    let mut trials = vec![table_trial(&guests, &committed)];
    for guest in guests {
        let is_wide = ["mathlib", "hash", "signal", "kernels"].contains(&&*guest.name);
        let is_shipped = ["O2", "release", "ReleaseFast"].contains(&&*guest.level);
        let is_plain = ["O0", "debug", "Debug"].contains(&&*guest.level);
        let more = (is_wide && is_shipped).then_some(EMULATING).into_iter().chain(is_plain.then_some(SHARING));
        for way in WAYS.into_iter().chain(more) {
            trials.push(trial(guest.clone(), way, committed.clone()));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn fail(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::FAILURE
}

fn has_gpu() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| !gpu::adapters().is_empty())
}

fn trial(guest: Guest, way: Way, committed: Arc<Result<Table, String>>) -> Trial {
    let name = format!("{}::{}::{}::{}", guest.language, guest.name, guest.level, way.name);
    Trial::ignorable_test(name, move || match way.device == DeviceChoice::Gpu && !has_gpu() {
        true => Ok(Completion::ignored_with(NO_GPU)),
        false => check(&guest, way, committed.as_ref().as_ref()?).map(|()| Completion::Completed),
    })
}

/// No row of the table is of a build that is not there any more.
fn table_trial(guests: &[Guest], committed: &Arc<Result<Table, String>>) -> Trial {
    let (guests, committed) = (guests.to_vec(), committed.clone());
    Trial::test("table::is_of_these_guests", move || {
        let of_these: Vec<_> =
            guests.iter().map(|guest| (&*guest.name, table::compiler(&guest.language), &*guest.level)).collect();
        for key in committed.as_ref().as_ref()?.keys() {
            if !of_these.contains(&(&*key.guest, &*key.compiler, &*key.level)) {
                return Err(format!("There is no such build: {key:?}").into());
            }
        }
        Ok(())
    })
}

fn check(guest: &Guest, way: Way, committed: &Table) -> Result<(), Failed> {
    let outcome = guest.run(way)?;
    let path = guest.expected();
    let expected = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    if outcome.stdout != expected {
        return Err(format!("It printed\n{}instead of\n{expected}", outcome.stdout).into());
    }
    check_launches(&outcome)?;
    if way.device == DeviceChoice::Gpu {
        return check_lifting(&table::rows(guest, way.profile, &outcome), committed);
    }
    match outcome.launches.iter().find_map(|launch| Some((&launch.kernel, launch.fallback.as_ref()?))) {
        Some((kernel, reason)) => Err(format!("`{kernel}` did not run on the CPU's workers: {reason}").into()),
        None => Ok(()),
    }
}

/// Each printed line is of a launch, and each launch has its line.
fn check_launches(outcome: &Outcome) -> Result<(), Failed> {
    let launches: u64 = outcome.launches.iter().map(|launch| launch.count).sum();
    match outcome.stdout.lines().count() as u64 == launches {
        true => Ok(()),
        false => Err(format!("There were {launches} launches for these lines:\n{}", outcome.stdout).into()),
    }
}

fn check_lifting(found: &Table, committed: &Table) -> Result<(), Failed> {
    let committed = table::part(committed, found);
    if *found == committed {
        return Ok(());
    }
    Err(format!(
        "What is lifted is not as in the table (WAVELIFT_BLESS=1 writes it anew); found\n{}instead of\n{}",
        table::text(found),
        table::text(&committed)
    )
    .into())
}

/// Writes the table and the printed lines anew.
fn bless(guests: &[Guest]) -> Result<(), Failed> {
    if !has_gpu() {
        return Err(NO_GPU.into());
    }
    let (mut found, mut printed) = (Table::new(), BTreeMap::new());
    for guest in guests {
        for way in WAYS {
            let outcome = guest.run(way).map_err(|failed| about(guest, way, failed.message().unwrap_or_default()))?;
            check_launches(&outcome)?;
            let first = printed.entry(guest.expected()).or_insert_with(|| outcome.stdout.clone());
            if *first != outcome.stdout {
                return Err(about(guest, way, &format!("It printed\n{}instead of\n{first}", outcome.stdout)));
            }
            if way.device == DeviceChoice::Gpu {
                found.extend(table::rows(guest, way.profile, &outcome));
            }
        }
    }
    for (path, text) in printed {
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(table::write(&found)?)
}

fn about(guest: &Guest, way: Way, message: &str) -> Failed {
    format!("{guest:?} on {}: {message}", way.name).into()
}
