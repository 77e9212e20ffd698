//! `wavelift inspect`

use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets};
use wavelift::device::gpu;
use wavelift::translator::speculation::{self, Assumption};
use wavelift::translator::{self, AccessSummary, LibraryCall, Module, Options, PlainUpdate};

use crate::cli::InspectArguments;

/// Prints a table of the kernels in a module's function table, and of the one that a kernel module exports.
pub fn run(arguments: &InspectArguments) -> Result<i32> {
    let module = super::parse_file(&arguments.module)?;
    let kernels = module.kernels();
    if kernels.is_empty() {
        super::print(
            "The module has no kernels: no function of type (i32, i32, i32, (i32, i32)*) is in an element segment, or \
             exported as `kernel`.",
        )?;
        return Ok(0);
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["index", "kernel", "buffers", "operators", "accesses", "library", "needs", "forms", "lifts"]);
    let (mut notes, mut hints, mut any_refused) = (Vec::new(), Vec::new(), false);
    for function in kernels {
        let kernel = inspect(&module, function)?;
        any_refused |= kernel.lifts == "no";
        let lifts = match &kernel.note {
            None => kernel.lifts.to_string(),
            Some(_) => format!("{} [{}]", kernel.lifts, notes.len() + 1),
        };
        notes.extend(kernel.note);
        if kernel.flattens {
            hints.push(format!(
                "Note: the iterations of `{}`'s loops don't depend on one another: on GPUs each may be an invocation of its own.",
                module.function_name(function)
            ));
        }
        hints.extend(update_hints(&module, &module.function_name(function), &kernel.updates));
        table.add_row([
            function.to_string(),
            module.function_name(function),
            module.kernel_buffers(function).unwrap_or(0).to_string(),
            kernel.operators,
            kernel.accesses,
            library(&module, function),
            kernel.needs,
            kernel.forms,
            lifts,
        ]);
    }
    super::print(&table.to_string())?;
    for (i, note) in notes.iter().enumerate() {
        super::print(&format!("[{}] {note}", i + 1))?;
    }
    if any_refused {
        hints.push(REHEARSED.into());
    }
    for hint in hints {
        super::print(&hint)?;
    }
    Ok(0)
}

/// What a refusal does not say.
const REHEARSED: &str = "Note: a launch of a kernel that can't be lifted rehearses some iterations; if what they reach can be, that is \
     what a GPU gets, and the launch goes to the CPU only where an iteration reaches more.";

/// What is said of one kernel.
struct Findings {
    /// Operators after inlining.
    operators: String,
    /// What its memory accesses are rooted in, and how many there are in the code.
    accesses: String,
    /// Features of a device that it needs.
    needs: String,
    /// Which other forms devices take, and when.
    forms: String,
    /// Whether it lifts.
    lifts: &'static str,
    /// Why it can't be lifted, or what decides that.
    note: Option<String>,
    updates: Vec<PlainUpdate>,
    /// Whether iterations of its loops can be invocations.
    flattens: bool,
}

/// Inspects the kernel for distinct read_write buffers and a device with all features, within the limits that the GPU device keeps.
fn inspect(module: &Module, function: u32) -> anyhow::Result<Findings> {
    let found = translator::inspect(module, function, &gpu::within_limits(Options::default()))?;
    let mut needs = Vec::new();
    needs.extend(found.int64.then_some("i64"));
    needs.extend(found.float64.then_some("f64"));
    needs.extend(found.int64_atomics.then_some("64-bit atomics"));
    let reason = found.verdict.err().map(|error| error.sentence(module));
    let is_refused = reason.is_some();
    let (lifts, note) = match (found.words, reason) {
        (0, None) => ("yes", None),
        (0, reason) if found.assumes.is_empty() => ("no", reason),
        (0, reason) => ("assuming", reason),
        (words, reason) => {
            let assumes = !found.assumes.is_empty();
            ("at launch", Some(at_launch(&module.function_name(function), words, reason, assumes)))
        }
    };
    Ok(Findings {
        operators: found.operators.map_or_else(|| "-".to_string(), |count| count.to_string()),
        accesses: found.accesses.iter().map(access).chain(known_data(found.known_data)).collect::<Vec<_>>().join("\n"),
        needs: needs.join(", "),
        forms: forms(found.coarsens, &found.assumes, is_refused),
        lifts,
        note,
        updates: found.plain_updates,
        flattens: found.flattens,
    })
}

/// The forms that devices take beside the exact one for one invocation, or in its place.
fn forms(coarsens: bool, assumes: &[Assumption], is_refused: bool) -> String {
    let coarse = coarsens.then(|| "four invocations as one, in large launches".to_string());
    let assuming = (!assumes.is_empty()).then(|| {
        let how = if is_refused { "" } else { "smaller, " };
        format!("{how}assuming that {}, which is checked", speculation::list(assumes.iter().copied()))
    });
    coarse.into_iter().chain(assuming).collect::<Vec<_>>().join("\n")
}

/// What it knows of the module's data, if anything.
fn known_data(words: usize) -> Option<String> {
    (words > 0).then(|| {
        format!("{words} word{} of the module's data, known before the launch", if words == 1 { "" } else { "s" })
    })
}

/// What decides whether a kernel lifts that finds functions by words of memory; whether it does so assuming something.
fn at_launch(kernel: &str, words: usize, reason: Option<String>, assumes: bool) -> String {
    let words = if words == 1 { "a word".to_string() } else { format!("{words} words") };
    let now = match reason {
        None => "With what a new instance has there it can be lifted.".to_string(),
        Some(reason) if assumes => {
            format!("With what a new instance has there it can be lifted only assuming what is said there: {reason}")
        }
        Some(reason) => format!("With what a new instance has there it can't be: {reason}"),
    };
    format!(
        "Which functions `{kernel}` calls is read from {words} of linear memory before each launch, which decides whether it \
         can be lifted. {now}"
    )
}

/// What to think of when the source says atomic: one hint for each kind of update.
fn update_hints(module: &Module, kernel: &str, updates: &[PlainUpdate]) -> Vec<String> {
    let kinds = [(false, "a place that data decides"), (true, "one place for all invocations")];
    let hint = |(same_place, which): (bool, &str)| {
        let mut of_kind = updates.iter().filter(|update| update.same_place == same_place);
        let first = of_kind.next()?;
        let more = match of_kind.count() {
            0 => String::new(),
            1 => ", and at one more place".to_string(),
            more => format!(", and at {more} more places"),
        };
        Some(format!(
            "Note: `{kernel}` loads {which}, computes, and stores it again, with plain accesses (function {}, {}{more}). \
             Where invocations meet, updates are lost. If they are atomic in the source, build it with atomics: clang's \
             `-matomics`, rustc's `-C target-feature=+atomics`.",
            first.at.function,
            module.place(first.at.offset)
        ))
    };
    kinds.into_iter().filter_map(hint).collect()
}

/// The mathematical functions that it calls, and how they were recognised: with fast floats they are the device's.
fn library(module: &Module, function: u32) -> String {
    let call = |call: &LibraryCall| match call.how {
        Some(how) => format!("{} ({how})", call.name),
        None => format!("{} (f64: the guest's own)", call.name),
    };
    module.library_calls(function).iter().map(call).collect::<Vec<_>>().join("\n")
}

fn access(summary: &AccessSummary) -> String {
    let count = |number: u32, one: &str| match number {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ if one.ends_with('s') => Some(format!("{number} {one}es")),
        _ => Some(format!("{number} {one}s")),
    };
    let counts: Vec<String> =
        [count(summary.loads, "load"), count(summary.stores, "store"), count(summary.atomics, "atomic access")]
            .into_iter()
            .flatten()
            .collect();
    format!("{}: {} ({})", summary.root, counts.join(", "), summary.root.resolution())
}
