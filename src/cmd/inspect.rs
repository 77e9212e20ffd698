//! `wavelift inspect`

use anyhow::Result;
use comfy_table::{Table, presets};
use wavelift::translator::{self, AccessSummary, Inspection, Options};

use crate::cli::InspectArguments;

/// Prints a table of the kernels in a module's function table, and below it why some can't be lifted.
pub fn run(arguments: &InspectArguments) -> Result<i32> {
    let module = super::parse_file(&arguments.module)?;
    let kernels = module.kernels();
    if kernels.is_empty() {
        super::print(
            "The module has no kernels: no function of type (i32, i32, i32, (i32, i32)*) is in an element segment.",
        )?;
        return Ok(0);
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["index", "kernel", "buffers", "operators", "accesses", "needs", "lifts"]);
    let mut reasons = Vec::new();
    for function in kernels {
        let kernel = translator::inspect(&module, function, &Options::default())?;
        let lifts = match &kernel.verdict {
            Ok(words) => format!("yes, {words} words"),
            Err(error) => {
                reasons.push(error.to_string());
                format!("no [{}]", reasons.len())
            }
        };
        table.add_row([
            function.to_string(),
            module.function_name(function),
            module.kernel_buffers(function).unwrap_or(0).to_string(),
            kernel.operators.map_or_else(|| "-".to_string(), |count| count.to_string()),
            accesses(&kernel),
            needs(&kernel).to_string(),
            lifts,
        ]);
    }
    super::print(&table.to_string())?;
    for (i, reason) in reasons.iter().enumerate() {
        super::print(&format!("[{}] {reason}", i + 1))?;
    }
    Ok(0)
}

/// Where the kernel's accesses go, a line for each root.
fn accesses(kernel: &Inspection) -> String {
    let counted = |count: u32, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    let line = |access: &AccessSummary| {
        format!("{}: {}, {}", access.root, counted(access.loads, "load"), counted(access.stores, "store"))
    };
    let lines: Vec<String> = kernel.accesses.iter().map(line).collect();
    if lines.is_empty() { "-".to_string() } else { lines.join("\n") }
}

/// What the kernel needs of a device beyond 32-bit numbers.
fn needs(kernel: &Inspection) -> &'static str {
    match (kernel.int64, kernel.float64) {
        (true, true) => "i64, f64",
        (true, false) => "i64",
        (false, true) => "f64",
        (false, false) => "-",
    }
}
