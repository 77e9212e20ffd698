//! `wavelift devices`

use anyhow::Result;
use comfy_table::{Table, presets};
use wavelift::device::{DeviceInfo, DeviceKind};
use wavelift::{Config, Runtime};

/// Prints a table of the adapters and the CPU.
pub fn run() -> Result<i32> {
    let runtime = Runtime::new(Config::default())?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "adapter",
        "name",
        "kind",
        "backend",
        "driver",
        "i64",
        "f64",
        "8-bit",
        "16-bit",
        "subgroup",
        "largest buffer",
        "largest binding",
        "workgroup",
        "buffers",
    ]);
    for (index, info) in runtime.list_devices() {
        table.add_row(row(index, &info));
    }
    println!("{table}");
    Ok(0)
}

fn row(index: Option<usize>, info: &DeviceInfo) -> Vec<String> {
    let yes_no = |has: bool| if has { "yes" } else { "no" }.to_string();
    vec![
        index.map_or_else(|| "-".to_string(), |index| index.to_string()),
        info.name.clone(),
        kind(info.kind).to_string(),
        info.backend.clone(),
        info.driver.clone(),
        yes_no(info.int64),
        yes_no(info.float64),
        yes_no(info.int8),
        yes_no(info.int16),
        info.subgroup.map_or_else(|| "no".to_string(), |(low, high)| format!("{low} to {high}")),
        bytes(info.max_buffer_size),
        bytes(info.max_binding_size),
        info.max_workgroup_size.to_string(),
        info.max_buffers.to_string(),
    ]
}

fn kind(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::DiscreteGpu => "discrete GPU",
        DeviceKind::IntegratedGpu => "integrated GPU",
        DeviceKind::SoftwareGpu => "software GPU",
        DeviceKind::Cpu => "CPU",
        DeviceKind::Sequential => "CPU, in order",
    }
}

/// A size in MiB, which all limits of interest are multiples of or far above.
fn bytes(size: u64) -> String {
    match size >> 20 {
        0 => format!("{size} bytes"),
        mebibytes => format!("{mebibytes} MiB"),
    }
}
