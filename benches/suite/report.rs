//! A run as Markdown, for people.

use std::fmt::Write;

use crate::kernels;
use crate::measure::Clock;
use crate::output::{Cell, Table};
use crate::results::{Measured, Results, Timed};

/// The engines that are compared with hand-written shaders, in the order of their columns.
pub const LIFTED: [&str; 6] = [
    "lifted, vulkan, strict",
    "lifted, vulkan, relaxed",
    "lifted, vulkan, fast",
    "lifted, portable, strict",
    "lifted, portable, relaxed",
    "lifted, portable, fast",
];
/// Below this share of its ceiling a hand-written shader needs a reason.
const NEEDS_REASON: f64 = 0.7;
/// Below this ratio to its hand-written twin a lifted kernel is listed.
const SLOW: f64 = 0.9;
/// What the ratios of two runs must differ by, beyond their spreads, to be listed.
const CHANGED: f64 = 0.05;

/// The whole report.
pub fn markdown(results: &Results, old: Option<&Results>) -> String {
    let mut text = String::from("# The benchmark suite\n\n");
    for (name, value) in &results.facts {
        // Writing to a string can't fail.
        let _ = writeln!(text, "- {name}: {value}");
    }
    let _ = writeln!(text, "- sizes: {:?}", results.size);
    let clock = match results.clock {
        Clock::Device => "the GPU's own where it has one, else the host's",
        Clock::Cpu => "the process's time on the CPU, divided by the threads that an engine uses",
    };
    let _ = writeln!(text, "- clock: {clock}");
    if let Some(roofline) = &results.roofline {
        let giga = |value: f64| format!("{:.1}", value * 1e-9);
        let _ = writeln!(
            text,
            "- the GPU's ceilings, measured: {} GB/s copied, {} GF/s in f32, {} GF/s in f64, {} Gops/s in i32",
            giga(roofline.copy),
            giga(roofline.f32),
            giga(roofline.f64),
            giga(roofline.i32)
        );
    }
    let failures = results.kernels.iter().filter_map(|k| Some((&k.kernel, k.failure.as_ref()?)));
    for (kernel, failure) in failures {
        let _ = writeln!(text, "- **{kernel} failed**: {failure}");
    }
    let mut tables = vec![means(results), twins(results), ceilings(results), cpu(results)];
    tables.extend([end_to_end(results), cold(results)]);
    tables.extend(old.map(|old| changes(results, old)));
    tables.push(all(results));
    for table in tables.iter().filter(|table| !table.rows.is_empty()) {
        let _ = write!(text, "\n{}", table.markdown());
    }
    text + &slow(results) + &reasons(results) + &skipped(results)
}

fn text(value: impl Into<String>) -> Cell {
    Cell::Text(value.into())
}

fn ratio(value: Option<f64>) -> Cell {
    value.map_or(Cell::Nothing, Cell::Ratio)
}

fn sizes(kernel: &Measured) -> Cell {
    text(kernel.arguments.iter().map(u64::to_string).collect::<Vec<_>>().join(" "))
}

fn means(results: &Results) -> Table {
    let mut rows = Vec::new();
    let mut add = |name: &str, than: &str| {
        if let Some((mean, count)) = results.mean(|kernel| kernel.ratio(name, than)) {
            rows.push(vec![text(name), text(than), Cell::Ratio(mean), Cell::Count(count as u64)]);
        }
    };
    for name in LIFTED {
        ["WGSL", "WGSL, unchecked"].into_iter().for_each(|than| add(name, than));
    }
    add("WGSL, tuned", "WGSL");
    for name in ["CPU", "CPU, simd128", "sequential"] {
        ["native", "native, this processor"].into_iter().for_each(|than| add(name, than));
    }
    Table {
        title: "Geometric means".into(),
        note: "How much faster an engine is than another one, as the geometric mean of the ratios of all kernels that both \
               ran: above 1, the first one is faster."
            .into(),
        columns: vec!["engine", "than", "ratio", "kernels"],
        rows,
    }
}

fn twins(results: &Results) -> Table {
    let row = |kernel: &Measured| {
        let wgsl = kernel.engine("WGSL")?;
        let mut row = vec![text(&kernel.kernel), sizes(kernel), Cell::Seconds(wgsl.time.seconds)];
        row.extend(LIFTED.map(|name| ratio(kernel.ratio(name, "WGSL"))));
        row.push(ratio(kernel.ratio(LIFTED[0], "WGSL, unchecked")));
        row.push(ratio(kernel.ratio("WGSL, tuned", "WGSL")));
        Some(row)
    };
    let columns = vec![
        "kernel",
        "sizes",
        "WGSL",
        "vulkan, strict",
        "relaxed",
        "fast",
        "portable, strict",
        "relaxed",
        "fast",
        "vulkan, strict, to unchecked WGSL",
        "tuned WGSL",
    ];
    Table {
        title: "Lifted kernels against hand-written WGSL".into(),
        note: "Rounds with all data in place. `WGSL` is the shader as wgpu compiles it by default; `unchecked` without its checks. \
               All other numbers are the shader's time divided by that of the engine, the median over turns: above 1, the \
               engine is faster."
            .into(),
        columns,
        rows: results.kernels.iter().filter_map(row).collect(),
    }
}

/// The fastest of the shaders: only it says what the device could do.
pub fn fastest(kernel: &Measured) -> Option<&Timed> {
    let shaders = kernel.resident.iter().map(|engine| &engine.time).filter(|time| time.name.starts_with("WGSL"));
    shaders.min_by(|a, b| a.seconds.total_cmp(&b.seconds))
}

fn ceilings(results: &Results) -> Table {
    let row = |kernel: &Measured| {
        let (roofline, shader) = (results.roofline.as_ref()?, fastest(kernel)?);
        let lifted = kernel.engine(LIFTED[0]).or_else(|| kernel.engine(LIFTED[3]));
        let rate = |seconds: f64| text(format!("{:.4e}", kernel.amount / seconds));
        let (share, by_bytes) = roofline.share(&kernel.work(), shader.seconds);
        let of = |time: &Timed| Cell::Share(roofline.share(&kernel.work(), time.seconds).0);
        Some(vec![
            text(&kernel.kernel),
            text(&kernel.unit),
            rate(shader.seconds),
            lifted.map_or(Cell::Nothing, |lifted| rate(lifted.time.seconds)),
            text(if by_bytes { "copying".into() } else { format!("{:?}", kernel.kind).to_lowercase() }),
            Cell::Share(share),
            lifted.map_or(Cell::Nothing, |lifted| of(&lifted.time)),
        ])
    };
    let columns = vec!["kernel", "unit", "WGSL", "lifted, strict", "ceiling", "WGSL's share", "lifted's share"];
    Table {
        title: "Rates and ceilings".into(),
        note: "The kernels' own rates; those of the Parallel Research Kernels are the published ones. The ceiling is the lower one of \
               the device's copy bandwidth, for the bytes that a round must move at least, and its arithmetic, for the operations that \
               it must do. `WGSL` is the fastest of a kernel's shaders. Data that stays in a cache can be faster than copying."
            .into(),
        columns,
        rows: results.kernels.iter().filter_map(row).collect(),
    }
}

fn cpu(results: &Results) -> Table {
    let row = |kernel: &Measured| {
        kernel.engine("CPU")?;
        let time = |name| kernel.engine(name).map_or(Cell::Nothing, |engine| Cell::Seconds(engine.time.seconds));
        let mut row = vec![text(&kernel.kernel), sizes(kernel)];
        row.extend(["CPU", "CPU, simd128", "sequential", "native", "native, this processor"].map(time));
        for than in ["native", "native, this processor"] {
            row.extend(["CPU", "CPU, simd128"].map(|name| ratio(kernel.ratio(name, than))));
        }
        Some(row)
    };
    let columns = vec![
        "kernel",
        "sizes",
        "CPU device",
        "of -msimd128",
        "sequential",
        "native",
        "native, this processor",
        "native / CPU device",
        "/ of -msimd128",
        "native, this processor / CPU device",
        "/ of -msimd128",
    ];
    Table {
        title: "The CPU device against native code".into(),
        note: "Rounds with all data in place. Native code is Rust with rayon on all cores, for any processor of the family (`native`) \
               and for this one. A ratio is native code's time divided by the CPU device's: above 1, the device is faster."
            .into(),
        columns,
        rows: results.kernels.iter().filter_map(row).collect(),
    }
}

fn end_to_end(results: &Results) -> Table {
    let names = ["lifted, strict", "lifted, relaxed", "lifted, fast", "WGSL", "CPU"];
    let row = |kernel: &Measured| {
        let of = |name: &str| kernel.end_to_end.iter().find(|time| time.name == name);
        let mut row = vec![text(&kernel.kernel), sizes(kernel)];
        row.extend(names.map(|name| of(name).map_or(Cell::Nothing, |time| Cell::Seconds(time.seconds))));
        row.push(kernel.engine("native").map_or(Cell::Nothing, |native| Cell::Seconds(native.time.seconds)));
        row.push(ratio(of("WGSL").and_then(|wgsl| Some(wgsl.seconds / of("lifted, strict")?.seconds))));
        (!kernel.end_to_end.is_empty()).then_some(row)
    };
    let columns = vec![
        "kernel",
        "sizes",
        "lifted, strict",
        "relaxed",
        "fast",
        "WGSL",
        "CPU device",
        "native, nothing moved",
        "WGSL / lifted, strict",
    ];
    Table {
        title: "End to end".into(),
        note: "Upload, one round, download, by the host's clock: of lifted kernels and the CPU device in whole guests, run through \
               the library and timed by themselves; of shaders the same bytes on the same device. Kernels are compiled before."
            .into(),
        columns,
        rows: results.kernels.iter().filter_map(row).collect(),
    }
}

fn cold(results: &Results) -> Table {
    let names = ["lift", "compile", "compile WGSL", "lift for the CPU", "compile for the CPU"];
    let row = |kernel: &Measured| {
        let of = |name: &str| kernel.cold.iter().find(|time| time.name == name);
        let mut row = vec![text(&kernel.kernel)];
        row.extend(names.map(|name| of(name).map_or(Cell::Nothing, |time| Cell::Seconds(time.seconds))));
        (!kernel.cold.is_empty()).then_some(row)
    };
    Table {
        title: "Cold starts".into(),
        note: "In a new process, without the driver's cache, once, all kernels of a guest together: lifting to SPIR-V, the driver's \
               compiler, the same for the shaders (with wgpu's), and what the CPU device does in their place."
            .into(),
        columns: vec!["kernel", "lift", "compile", "compile WGSL", "CPU: lift", "CPU: compile"],
        rows: results.kernels.iter().filter_map(row).collect(),
    }
}

fn all(results: &Results) -> Table {
    let rows = results.kernels.iter().flat_map(|kernel| {
        kernel.resident.iter().map(|engine| {
            let Timed { name, seconds, spread, runs } = &engine.time;
            vec![
                text(&kernel.kernel),
                text(name),
                Cell::Seconds(*seconds),
                Cell::Share(*spread),
                Cell::Count(*runs as u64),
                ratio(engine.faster_than.get("WGSL").copied()),
            ]
        })
    });
    Table {
        title: "All times".into(),
        note: "Medians of rounds with all data in place; spread is half the distance between the quartiles.".into(),
        columns: vec!["kernel", "engine", "time", "spread", "rounds", "WGSL / it"],
        rows: rows.collect(),
    }
}

/// What differs from a run before by more than both spreads. Ratios to the twin are compared, which other machines have, too.
fn changes(results: &Results, old: &Results) -> Table {
    let mut rows = Vec::new();
    for kernel in &results.kernels {
        let Some(before) = old.kernels.iter().find(|of| of.kernel == kernel.kernel) else { continue };
        if before.arguments != kernel.arguments {
            continue;
        }
        for engine in &kernel.resident {
            let Some(was) = before.engine(&engine.time.name) else { continue };
            let quotient = was.time.seconds / engine.time.seconds;
            let noise = engine.time.spread + was.time.spread + CHANGED;
            if (quotient - 1.0).abs() > noise {
                let to = |of: &crate::results::Resident| {
                    let than = if engine.time.name.starts_with("lifted") { "WGSL" } else { "native" };
                    ratio(of.faster_than.get(than).copied())
                };
                rows.push(vec![
                    text(&kernel.kernel),
                    text(&engine.time.name),
                    Cell::Seconds(was.time.seconds),
                    Cell::Seconds(engine.time.seconds),
                    Cell::Ratio(quotient),
                    to(was),
                    to(engine),
                ]);
            }
        }
    }
    let of = old.facts.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("; ");
    Table {
        title: "What has changed".into(),
        note: format!(
            "Against a run before ({of}): times that differ by more than both spreads and {:.0}%. `faster` above 1: it was slower \
             before. Ratios are those to the twin, WGSL or native, before and now: where only they stay, the machine has changed.",
            CHANGED * 100.0
        ),
        columns: vec!["kernel", "engine", "before", "now", "faster", "ratio before", "ratio now"],
        rows,
    }
}

/// Lifted kernels that are slower than their twins.
fn slow(results: &Results) -> String {
    let mut text = String::new();
    for kernel in &results.kernels {
        let slow: Vec<String> = LIFTED
            .iter()
            .filter_map(|name| Some((name, kernel.ratio(name, "WGSL")?)))
            .filter(|(_, ratio)| *ratio < SLOW)
            .map(|(name, ratio)| format!("{} {ratio:.2}", name.trim_start_matches("lifted, ")))
            .collect();
        if !slow.is_empty() {
            let _ = writeln!(text, "- {}: {}", kernel.kernel, slow.join("; "));
        }
    }
    if text.is_empty() { text } else { format!("\n## Lifted kernels below {SLOW} of their WGSL twins\n\n{text}") }
}

/// Shaders that are far from what the device could do, and why.
fn reasons(results: &Results) -> String {
    let mut text = String::new();
    let known = kernels::all();
    for kernel in &results.kernels {
        let (Some(roofline), Some(shader)) = (&results.roofline, fastest(kernel)) else { continue };
        let (share, _) = roofline.share(&kernel.work(), shader.seconds);
        let reason = known.iter().find(|of| of.name == kernel.kernel).map(|of| of.bound);
        if let (true, Some(reason)) = (share < NEEDS_REASON, reason) {
            let _ = writeln!(text, "- {}, {:.0}%: {reason}", kernel.kernel, share * 100.0);
        }
    }
    let heading = format!("\n## Shaders below {:.0}% of their ceilings\n\n", NEEDS_REASON * 100.0);
    if text.is_empty() { text } else { heading + &text }
}

/// Engines that did not run a kernel.
fn skipped(results: &Results) -> String {
    let mut text = String::new();
    for kernel in &results.kernels {
        for (engine, reason) in &kernel.skipped {
            let _ = writeln!(text, "- {}, {engine}: {reason}", kernel.kernel);
        }
    }
    if text.is_empty() { text } else { format!("\n## Not run\n\n{text}") }
}
