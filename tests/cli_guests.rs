//! The example guests by the command, on every device. Each checks its own results, and `--verify` compares every
//! byte of every launch with another device's.
//!
//! Where the machine has no GPU driver the tests on one show as ignored.

use std::process::Command;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use wavelift::device::gpu;

const GUESTS: [&str; 10] = [
    "hello_parallel",
    "saxpy_module",
    "nstream",
    "nstream_block",
    "sgemm",
    "stencil",
    "mandelbrot",
    "nbody",
    "histogram",
    "random",
];

fn main() {
    let has_gpu = !gpu::adapters().is_empty();
    let mut trials = Vec::new();
    for guest in GUESTS {
        for device in ["cpu", "sequential", "gpu"] {
            trials.push(Trial::ignorable_test(format!("{guest}_on_{device}"), move || {
                if device == "gpu" && !has_gpu {
                    return Ok(Completion::ignored_with("this machine has no GPU driver"));
                }
                run(guest, device).map(|()| Completion::Completed)
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn run(guest: &str, device: &str) -> Result<(), Failed> {
    let module = format!("{}/examples/guests/{guest}.wasm", env!("CARGO_MANIFEST_DIR"));
    let options = ["run", &module, "--device", device, "--verify", "--report"];
    let output = Command::new(env!("CARGO_BIN_EXE_wavelift")).args(options).env("WAVELIFT_CACHE_DIR", "").output()?;
    let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("exit code {:?}\n{out}{said}", output.status.code()).into());
    }
    if !said.contains(" verified") {
        return Err(format!("no launch was verified\n{said}").into());
    }
    // A note below the table is the reason for a fallback, and these kernels need none, or says that loops were flattened.
    let is_reason = |line: &str| line.starts_with('[') && !line.contains("Iterations of its loops ran as invocations");
    if said.lines().any(is_reason) {
        return Err(format!("a launch ran on another device\n{said}").into());
    }
    Ok(())
}
