//! `wavelift devices --conformance`

use std::collections::BTreeMap;

use anyhow::Result;
use comfy_table::{Table, presets};
use wavelift::device::gpu::{self, Adapter, GpuDevice, GpuOptions, OperatorCheck, Outcome};
use wavelift::translator::FloatSupport;
use wavelift::translator::ir::WasmOp;

use crate::cli::DevicesArguments;

/// Random operands of each sort.
const RANDOM: usize = 10_000;

/// Checks the adapter asked for, or all. The exit code is 1 if some result was wrong or an adapter could not be checked.
pub fn run(arguments: &DevicesArguments) -> Result<i32> {
    let adapters = match &arguments.adapter {
        Some(wanted) => vec![gpu::find(wanted)?],
        None => gpu::adapters(),
    };
    if adapters.is_empty() {
        anyhow::bail!("There is no GPU to check: install a Vulkan, Metal or DX12 driver. The CPU needs no check.");
    }
    let options = GpuOptions { profile: arguments.profile.into(), ..GpuOptions::default() };
    let mut failed = false;
    for adapter in &adapters {
        failed |= !check(adapter, &options)?;
    }
    Ok(i32::from(failed))
}

/// Prints an adapter's table; whether all was right.
fn check(adapter: &Adapter, options: &GpuOptions) -> Result<bool> {
    let info = adapter.info();
    super::print(&format!("{}: {} ({}, {})", adapter.index(), info.name, info.backend, info.driver))?;
    let checks = GpuDevice::open(adapter, options).map_err(Into::into).and_then(|device| device.check_floats(RANDOM));
    let checks = match checks {
        Ok(checks) => checks,
        Err(error) => {
            super::print(&format!("Not checked. {error}\n"))?;
            return Ok(false);
        }
    };
    super::print(&table(&checks).to_string())?;
    super::print(&summary(&checks))?;
    Ok(wrong_results(&checks) == 0)
}

fn table(checks: &[OperatorCheck]) -> Table {
    let mut rows: Vec<(String, BTreeMap<&str, String>)> = Vec::new();
    for check in checks {
        let (name, column) = place(check.operator);
        let cell = (column, outcome(check.outcome));
        match rows.iter_mut().find(|(n, _)| *n == name) {
            Some((_, cells)) => _ = cells.insert(cell.0, cell.1),
            None => rows.push((name, BTreeMap::from([cell]))),
        }
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["operator", "f32", "f64"]);
    for (name, cells) in rows {
        let cell = |column| cells.get(column).cloned().unwrap_or_default();
        table.add_row([name.clone(), cell("f32"), cell("f64")]);
    }
    table
}

/// An operator's line and column: its name without the float type that it works on, and that type.
fn place(op: WasmOp) -> (String, &'static str) {
    let of_f64 = match op.params()[0].is_float() {
        true => op.params()[0].bits() == 64,
        false => op.result().bits() == 64,
    };
    let column = if of_f64 { "f64" } else { "f32" };
    let name = match op.text().strip_prefix(column).and_then(|rest| rest.strip_prefix('.')) {
        Some(rest) => rest.replace(&format!("_{column}"), ""),
        None => op.text().replace(&format!("_{column}"), ""),
    };
    (name, column)
}

fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::NotLifted => "on the CPU".to_string(),
        Outcome::Ran { rows, wrong, first: Some([a, b]), .. } => {
            format!("WRONG: {wrong} of {rows}, first of {a:#x}, {b:#x}")
        }
        Outcome::Ran { support: FloatSupport::Native, .. } => "native".to_string(),
        Outcome::Ran { .. } => "corrected".to_string(),
    }
}

fn wrong_results(checks: &[OperatorCheck]) -> usize {
    let wrong = |check: &OperatorCheck| match check.outcome {
        Outcome::Ran { wrong, .. } => wrong,
        Outcome::NotLifted => 0,
    };
    checks.iter().map(wrong).sum()
}

fn summary(checks: &[OperatorCheck]) -> String {
    let ran = |check: &OperatorCheck| match check.outcome {
        Outcome::Ran { rows, .. } => rows,
        Outcome::NotLifted => 0,
    };
    let (results, wrong) = (checks.iter().map(ran).sum::<usize>(), wrong_results(checks));
    let verdict = match wrong {
        0 => "all equal WebAssembly's".to_string(),
        wrong => format!("{wrong} differ from WebAssembly's; please report this, and use `--device cpu`"),
    };
    format!(
        "{results} results: {verdict}.\nnative: the GPU rounds it exactly. corrected: made exact by integer arithmetic. \
         on the CPU: kernels that\nuse it in strict mode run there; `--float relaxed` takes the GPU's own.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_of_both_types_share_a_line() {
        assert_eq!(place(WasmOp::F32Add), ("add".to_string(), "f32"));
        assert_eq!(place(WasmOp::F64Add), ("add".to_string(), "f64"));
        assert_eq!(place(WasmOp::F64ConvertI32S), ("convert_i32_s".to_string(), "f64"));
        assert_eq!(place(WasmOp::I32TruncSatF32S).0, place(WasmOp::I32TruncSatF64S).0);
        assert_eq!(place(WasmOp::F32DemoteF64), ("f32.demote".to_string(), "f64"));
        assert_eq!(place(WasmOp::F64PromoteF32), ("f64.promote".to_string(), "f32"));
    }

    #[test]
    fn a_wrong_result_is_told_and_counted() {
        let ran = Outcome::Ran { support: FloatSupport::Corrected, rows: 10, wrong: 2, first: Some([1, 2]) };
        let checks = [
            OperatorCheck { operator: WasmOp::F32Add, outcome: ran },
            OperatorCheck { operator: WasmOp::F64Add, outcome: Outcome::NotLifted },
        ];
        let text = format!("{}\n{}", table(&checks), summary(&checks));
        assert!(text.contains("WRONG: 2 of 10, first of 0x1, 0x2") && text.contains("2 differ"), "{text}");
        assert!(text.contains("on the CPU"), "{text}");
        assert_eq!(wrong_results(&checks), 2);
    }
}
