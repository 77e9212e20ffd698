//! Kernels that call the C library's mathematical functions against hand-written shaders that call the device's.

use anyhow::{Context as _, Result};
use wavelift::device::gpu::{Adapter, GpuDevice, GpuOptions};
use wavelift::translator::{FloatMode, Profile};

use crate::cases::Case;
use crate::gpu::{Bench, Clock, Rounds, float_name, rows_of};
use crate::output::Table;

/// Measures the cases: lifted in each float mode, and their hand-written twins.
pub fn measure(
    adapter: &Adapter,
    profile: Profile,
    cases: &[Case],
    floats: Vec<FloatMode>,
    clock: Clock,
) -> Result<Table> {
    let open = |float| GpuDevice::open(adapter, &GpuOptions { profile, float, timed: true, ..GpuOptions::default() });
    let devices = floats.into_iter().map(|float| Ok((float, open(float)?))).collect::<Result<Vec<_>>>()?;
    let mut rows = Vec::new();
    for case in cases {
        eprintln!("{}: lifted, with its mathematical functions, and hand-written ...", case.name);
        let rounds = rounds(&devices, case, clock).with_context(|| format!("kernel `{}`", case.name))?;
        rows.extend(rows_of(case, &rounds));
    }
    let note = "Kernels that call the C library's `expf`, `logf` and their like. Strict and relaxed floats keep the guest's own \
                functions, which compute in `f64`; fast ones take the device's, as WGSL does. Each is launched as a guest \
                launches it, in turns, by CLOCK, with the parts of linear memory (the library's tables) moved that it reads. \
                A ratio is the median over all turns of WGSL's time divided by the lifted kernel's. Outputs are equal within \
                what the guest's own check allows for single precision.";
    Ok(Table {
        title: "Mathematical functions".into(),
        note: note.replace("CLOCK", clock.name()),
        columns: vec!["kernel", "size", "variant", "time", "spread", "runs", "WGSL / it", "WGSL, unchecked / it"],
        rows,
    })
}

fn rounds(devices: &[(FloatMode, GpuDevice)], case: &Case, clock: Clock) -> Result<Rounds> {
    let mut bench = Bench::new(case, clock);
    for (float, device) in devices {
        let context = bench.add_context(device)?;
        bench.add_launched(format!("lifted, {}", float_name(*float)), context)?;
    }
    let (_, device) = devices.first().context("no float mode")?;
    bench.add_wgsl(0, device)?;
    bench.run()
}
