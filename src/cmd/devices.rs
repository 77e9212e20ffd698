//! `wavelift devices`

use anyhow::Result;
use comfy_table::{Table, presets};
use wavelift::device::{DeviceInfo, DeviceKind};
use wavelift::{Config, Runtime};

/// What the lines of the table say; [`values`] gives them in this order.
const LINES: [&str; 15] = [
    "adapter",
    "name",
    "kind",
    "backend",
    "driver",
    "64-bit integers",
    "64-bit atomics",
    "64-bit floats",
    "8-bit storage",
    "16-bit storage",
    "subgroup",
    "largest buffer",
    "largest binding",
    "largest workgroup",
    "most buffers",
];

/// Prints a table with a column for each adapter and for the CPU.
pub fn run() -> Result<i32> {
    let runtime = Runtime::new(Config::default())?;
    let columns: Vec<[String; 15]> = runtime.list_devices().iter().map(|(index, info)| values(*index, info)).collect();
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    for (i, line) in LINES.iter().enumerate() {
        let row: Vec<&str> = std::iter::once(*line).chain(columns.iter().map(|c| c[i].as_str())).collect();
        match i {
            0 => table.set_header(row),
            _ => table.add_row(row),
        };
    }
    super::print(&table.to_string())?;
    Ok(0)
}

fn values(index: Option<usize>, info: &DeviceInfo) -> [String; 15] {
    let yes_no = |has: bool| if has { "yes" } else { "no" }.to_string();
    [
        index.map_or_else(|| "-".to_string(), |index| index.to_string()),
        info.name.clone(),
        kind(info.kind).to_string(),
        info.backend.clone(),
        if info.driver.is_empty() { "-".to_string() } else { info.driver.clone() },
        yes_no(info.int64),
        yes_no(info.int64_atomics),
        yes_no(info.float64),
        yes_no(info.int8),
        yes_no(info.int16),
        match info.subgroup {
            None => "no".to_string(),
            Some((low, high)) if low == high => format!("{low} lanes"),
            Some((low, high)) => format!("{low} to {high} lanes"),
        },
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
