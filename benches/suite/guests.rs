//! Guest programs, run through the library as an embedder runs them.

use anyhow::{Context as _, Result, ensure};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wavelift::{Instance, Module, Runtime, WasiCtxBuilder};

/// Bytes of output that a guest may print.
const OUTPUT: usize = 1 << 16;

/// The times that a guest prints, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuestTimes {
    /// Of its first round of launches, with lifting and compiling.
    pub first: f64,
    /// Of one upload, one round of launches and one download.
    pub total: f64,
}

/// What a run of a guest took.
#[derive(Clone, Debug)]
pub struct Run {
    /// By the guest's clock.
    pub times: GuestTimes,
    /// Lifting, all kernels together.
    pub lift: f64,
    /// The driver's or Wasmtime's compiler, all kernels together.
    pub compile: f64,
    /// Why a launch ran elsewhere.
    pub fallback: Option<String>,
}

/// Runs a guest, which checks its own result.
///
/// # Errors
/// The guest traps, ends with another exit code than 0, or prints no times.
pub fn run(runtime: &Runtime, module: &Module, arguments: &[String]) -> Result<Run> {
    let (out, errors) = (MemoryOutputPipe::new(OUTPUT), MemoryOutputPipe::new(OUTPUT));
    let mut wasi = WasiCtxBuilder::new();
    wasi.arg("guest").args(arguments).stdout(out.clone()).stderr(errors.clone()).allow_blocking_current_thread(true);
    let mut instance = Instance::new(runtime, module, wasi.build_p1())?;
    let code = instance.start()?;
    let (out, errors) = (out.contents(), errors.contents());
    let (out, errors) = (String::from_utf8_lossy(&out), String::from_utf8_lossy(&errors));
    ensure!(code == 0, "The guest's own check failed (exit code {code}): {}{}", out.trim_end(), errors.trim_end());
    let times = times(&out).with_context(|| format!("The guest printed no times: {out}"))?;
    let launches = instance.report().launches();
    let sum =
        |of: fn(&wavelift::LaunchRecord) -> std::time::Duration| launches.iter().map(|l| of(l).as_secs_f64()).sum();
    let fallback = launches.iter().find_map(|launch| launch.fallback.clone());
    Ok(Run { times, lift: sum(|l| l.lift), compile: sum(|l| l.compile), fallback })
}

/// The numbers of the line that starts with `time_s`.
fn times(text: &str) -> Option<GuestTimes> {
    let line = text.lines().find(|line| line.starts_with("time_s "))?;
    let number = |name: &str| -> Option<f64> {
        line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?.parse().ok()
    };
    Some(GuestTimes { first: number("first")?, total: number("total")? })
}
