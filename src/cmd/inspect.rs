//! `wavelift inspect`

use anyhow::Result;
use comfy_table::{Table, presets};
use wavelift::translator::{self, Options, Shape};

use crate::cli::InspectArguments;

/// Prints a table of the kernels in a module's function table.
pub fn run(arguments: &InspectArguments) -> Result<i32> {
    let module = super::parse_file(&arguments.module)?;
    let kernels = module.kernels();
    if kernels.is_empty() {
        println!(
            "The module has no kernels: no function of type (i32, i32, i32, (i32, i32)*) is in an element segment."
        );
        return Ok(0);
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["index", "kernel", "buffers", "operators", "accesses", "needs", "lifts"]);
    let mut reasons = Vec::new();
    for function in kernels {
        let kernel = inspect(&module, function);
        let lifts = match &kernel.reason {
            None => "yes".to_string(),
            Some(_) => format!("no [{}]", reasons.len() + 1),
        };
        reasons.extend(kernel.reason);
        table.add_row([
            function.to_string(),
            module.function_name(function),
            module.kernel_buffers(function).unwrap_or(0).to_string(),
            kernel.operators,
            kernel.roots,
            kernel.features,
            lifts,
        ]);
    }
    println!("{table}");
    for (i, reason) in reasons.iter().enumerate() {
        println!("[{}] {reason}", i + 1);
    }
    Ok(0)
}

/// What is said of one kernel.
struct Findings {
    /// Operators after inlining.
    operators: String,
    /// What its memory accesses are rooted in.
    roots: String,
    /// Features of a device that it needs.
    features: String,
    /// Why it can't be lifted, if it can't.
    reason: Option<String>,
}

/// Lifts the kernel for distinct read_write buffers and a device with all features, and says what came of it.
fn inspect(module: &translator::Module, function: u32) -> Findings {
    let shape = Shape::distinct(module.kernel_buffers(function).unwrap_or(0));
    match translator::translate(module, function, &shape, &Options::default()) {
        Ok(shader) => Findings {
            operators: shader.operators.to_string(),
            roots: roots(&shader.interface),
            features: features(&shader.words),
            reason: None,
        },
        Err(error) => {
            let none = || "-".to_string();
            Findings { operators: none(), roots: none(), features: none(), reason: Some(error.to_string()) }
        }
    }
}

fn roots(interface: &translator::Interface) -> String {
    let root = |binding: &translator::Binding| {
        let access = if binding.writable { "read_write" } else { "read" };
        format!("buffer {} ({access})", binding.slot)
    };
    let roots: Vec<String> = interface.bindings.iter().map(root).collect();
    if roots.is_empty() { "none".to_string() } else { roots.join(", ") }
}

/// The capabilities that the SPIR-V declares, apart from those that every shader has.
fn features(words: &[u32]) -> String {
    let Ok(module) = rspirv::dr::load_words(words) else { return "?".to_string() };
    let capabilities = module.capabilities.iter().flat_map(|c| &c.operands).map(|operand| operand.to_string());
    let capabilities: Vec<String> = capabilities.filter(|c| c != "Shader").collect();
    if capabilities.is_empty() { "none".to_string() } else { capabilities.join(", ") }
}
