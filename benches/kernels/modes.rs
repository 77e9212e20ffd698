//! What strict floats cost: the kernel of each guest in each float mode and in both profiles, in turns.

use anyhow::{Context as _, Result};
use wavelift::device::gpu::{Adapter, GpuDevice, GpuOptions};
use wavelift::translator::{FloatMode, Profile};

use crate::cases::Case;
use crate::gpu::{Bench, Clock, Rounds, float_name, ratio};
use crate::output::{Cell, Table};
use crate::stats::{Summary, summarize};

const FLOATS: [FloatMode; 3] = [FloatMode::Strict, FloatMode::Relaxed, FloatMode::Fast];

/// Measures the cases on a device for each profile that the adapter takes.
pub fn measure(adapter: &Adapter, cases: &[Case], clock: Clock) -> Result<Table> {
    let mut devices = Vec::new();
    for profile in [Profile::Vulkan, Profile::Portable] {
        let device = GpuDevice::open(adapter, &GpuOptions { profile, ..GpuOptions::default() })?;
        // Adapters that can't take SPIR-V as it is have the portable profile in any case.
        if device.options().profile == profile {
            devices.push(device);
        }
    }
    let mut rows = Vec::new();
    for case in cases {
        eprintln!("{}: float modes ...", case.name);
        let rounds = rounds(&devices, case, clock).with_context(|| format!("kernel `{}`", case.name))?;
        rows.extend(rows_of(&devices, case, &rounds));
    }
    let note = "What strict floats cost. Resident kernel time of one launch, by CLOCK; `vulkan` is SPIR-V as the driver gets \
                it, `portable` goes through naga. All modes in both profiles take turns, each profile on buffers of its \
                own. The ratio is the median over all turns of the strict kernel's time divided by this one's, in the same \
                profile: above 1, strict is slower. Outputs of all are compared before and after.";
    Ok(Table {
        title: "Float modes".into(),
        note: note.replace("CLOCK", clock.name()),
        columns: vec!["kernel", "size", "profile", "floats", "time", "spread", "runs", "strict / it"],
        rows,
    })
}

fn rounds(devices: &[GpuDevice], case: &Case, clock: Clock) -> Result<Rounds> {
    let mut bench = Bench::new(case, clock);
    for device in devices {
        let context = bench.add_context(device)?;
        for float in FLOATS {
            bench.add_lifted(name(device, float), context, device, float)?;
        }
    }
    bench.run()
}

fn name(device: &GpuDevice, float: FloatMode) -> String {
    format!("{}, {}", profile_name(device), float_name(float))
}

fn profile_name(device: &GpuDevice) -> &'static str {
    if device.options().profile == Profile::Vulkan { "vulkan" } else { "portable" }
}

fn rows_of(devices: &[GpuDevice], case: &Case, rounds: &Rounds) -> Vec<Vec<Cell>> {
    let row = |device: &GpuDevice, float: FloatMode| {
        let (_, times) = rounds.iter().find(|(of, _)| *of == name(device, float))?;
        let Summary { median, spread, count } = summarize(times)?;
        Some(vec![
            Cell::Text(case.name.into()),
            Cell::Text(case.size.clone()),
            Cell::Text(profile_name(device).into()),
            Cell::Text(float_name(float).into()),
            Cell::Seconds(median),
            Cell::Share(spread),
            Cell::Count(count as u64),
            match float {
                FloatMode::Strict => Cell::Nothing,
                _ => ratio(rounds, &name(device, FloatMode::Strict), times),
            },
        ])
    };
    devices.iter().flat_map(|device| FLOATS.into_iter().filter_map(move |float| row(device, float))).collect()
}
