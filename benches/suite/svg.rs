//! Charts: lifted kernels against their hand-written twins, and both on the device's roofline.

use std::fmt::Write;

use crate::kernels::Kind;
use crate::results::{Measured, Results};

/// Colours that people with any colour vision tell apart (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#56b4e9", "#009e73", "#d55e00", "#e69f00", "#cc79a7"];
const TEXT: &str = "#222";
const GRID: &str = "#ddd";

/// A drawing that grows.
struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    fn new(width: f64, height: f64) -> Canvas {
        Canvas { width, height, body: String::new() }
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        // Writing to a string can't fail.
        let _ = writeln!(
            self.body,
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}" stroke-width="{width}"/>"#,
            from.0, from.1, to.0, to.1
        );
    }

    fn bar(&mut self, from: (f64, f64), width: f64, height: f64, colour: &str, title: &str) {
        let _ = writeln!(
            self.body,
            r#"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" fill="{colour}"><title>{}</title></rect>"#,
            from.0,
            from.1,
            width.max(0.5),
            height,
            escaped(title)
        );
    }

    fn dot(&mut self, at: (f64, f64), colour: &str, hollow: bool, title: &str) {
        let fill = if hollow { "white" } else { colour };
        let _ = writeln!(
            self.body,
            r#"<circle cx="{:.1}" cy="{:.1}" r="4" fill="{fill}" stroke="{colour}" stroke-width="1.5"><title>{}</title></circle>"#,
            at.0,
            at.1,
            escaped(title)
        );
    }

    /// Text that starts, is centred or ends at a point.
    fn text(&mut self, at: (f64, f64), anchor: &str, size: f64, text: &str) {
        let _ = writeln!(
            self.body,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="{anchor}" font-size="{size}" fill="{TEXT}">{}</text>"#,
            at.0,
            at.1,
            escaped(text)
        );
    }

    fn finish(self) -> String {
        let Canvas { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"sans-serif\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n{body}</svg>\n"
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A logarithmic axis from one pixel to another.
#[derive(Clone, Copy)]
struct Axis {
    values: (f64, f64),
    pixels: (f64, f64),
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let share = (value / self.values.0).ln() / (self.values.1 / self.values.0).ln();
        self.pixels.0 + share.clamp(0.0, 1.0) * (self.pixels.1 - self.pixels.0)
    }

    /// Powers of ten within it.
    fn decades(&self) -> impl Iterator<Item = f64> {
        let (low, high) = (self.values.0.log10().ceil() as i32, self.values.1.log10().floor() as i32);
        (low..=high).map(|power| 10f64.powi(power))
    }
}

fn place(results: &Results) -> String {
    let fact = |name: &str| results.facts.iter().find(|(of, _)| of == name).map_or("", |(_, value)| value.as_str());
    format!("{}, {:?} sizes, {}", fact("GPU"), results.size, fact("date"))
}

/// Bars: each kernel's twin divided by it, in each profile and float mode. `None` where no GPU was measured.
pub fn ratios(results: &Results) -> Option<String> {
    let kernels: Vec<&Measured> = results.kernels.iter().filter(|kernel| kernel.engine("WGSL").is_some()).collect();
    let engines: Vec<&str> = crate::report::LIFTED
        .into_iter()
        .filter(|name| kernels.iter().any(|kernel| kernel.ratio(name, "WGSL").is_some()))
        .collect();
    let values = kernels.iter().flat_map(|kernel| engines.iter().filter_map(|name| kernel.ratio(name, "WGSL")));
    let (least, most) = values.fold((0.5f64, 2.0f64), |(least, most), value| (least.min(value), most.max(value)));
    if engines.is_empty() {
        return None;
    }
    let (bar, top, left, width) = (7.0, 80.0, 130.0, 900.0);
    let row = bar * engines.len() as f64 + 8.0;
    let bottom = top + row * kernels.len() as f64;
    let mut canvas = Canvas::new(width, bottom + 40.0);
    let axis = Axis { values: (least * 0.9, most * 1.1), pixels: (left, width - 30.0) };
    canvas.text((20.0, 24.0), "start", 16.0, "Lifted kernels against hand-written WGSL: times as fast");
    canvas.text((20.0, 42.0), "start", 11.0, &place(results));
    legend(&mut canvas, &engines.iter().map(|name| name.trim_start_matches("lifted, ")).collect::<Vec<_>>(), 62.0);
    let ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9, 1.0, 1.5, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
    for tick in ticks.into_iter().filter(|tick| (axis.values.0..=axis.values.1).contains(tick)) {
        let x = axis.at(tick);
        canvas.line((x, top - 4.0), (x, bottom), if tick == 1.0 { TEXT } else { GRID }, 1.0);
        canvas.text((x, bottom + 16.0), "middle", 11.0, &tick.to_string());
    }
    for (index, kernel) in kernels.iter().enumerate() {
        let y = top + row * index as f64;
        canvas.text((left - 8.0, y + row / 2.0), "end", 12.0, &kernel.kernel);
        for (place, name) in engines.iter().enumerate() {
            let Some(ratio) = kernel.ratio(name, "WGSL") else { continue };
            let (from, to) = (axis.at(ratio.min(1.0)), axis.at(ratio.max(1.0)));
            let title = format!("{}, {name}: {ratio:.2}", kernel.kernel);
            canvas.bar((from, y + bar * place as f64), to - from, bar - 1.0, COLOURS[place % COLOURS.len()], &title);
        }
    }
    Some(canvas.finish())
}

fn legend(canvas: &mut Canvas, names: &[&str], y: f64) {
    let mut x = 20.0;
    for (place, name) in names.iter().enumerate() {
        canvas.bar((x, y - 9.0), 10.0, 10.0, COLOURS[place % COLOURS.len()], name);
        canvas.text((x + 15.0, y), "start", 11.0, name);
        x += 40.0 + 7.0 * name.len() as f64;
    }
}

/// Operations a second over operations a byte, with the device's ceilings. `None` where no GPU was measured.
pub fn roofline(results: &Results) -> Option<String> {
    let roofline = results.roofline.as_ref()?;
    let points: Vec<(&Measured, bool, f64, f64)> = results
        .kernels
        .iter()
        .flat_map(|kernel| {
            let shader = crate::report::fastest(kernel).map(|time| (true, time.seconds));
            let lifted = kernel.engine(crate::report::LIFTED[0]).map(|engine| (false, engine.time.seconds));
            let intensity = kernel.operations / kernel.bytes;
            let point = move |(hollow, seconds)| (kernel, hollow, intensity, kernel.operations / seconds);
            shader.into_iter().chain(lifted).map(point)
        })
        .collect();
    let (width, height, left, bottom) = (900.0, 620.0, 80.0, 560.0);
    let range = |of: fn(&(&Measured, bool, f64, f64)) -> f64| {
        points.iter().map(of).fold((f64::INFINITY, 0f64), |(low, high), value| (low.min(value), high.max(value)))
    };
    let ((low_x, high_x), (low_y, high_y)) = (range(|point| point.2), range(|point| point.3));
    let top_y = roofline.f32.max(roofline.i32).max(roofline.f64).max(high_y) * 2.0;
    let x = Axis { values: (low_x * 0.6, high_x * 1.6), pixels: (left, width - 30.0) };
    let y = Axis { values: (low_y * 0.5, top_y), pixels: (bottom, 80.0) };
    let mut canvas = Canvas::new(width, height);
    canvas.text((20.0, 24.0), "start", 16.0, "Roofline: what kernels reach of the device's measured ceilings");
    canvas.text((20.0, 42.0), "start", 11.0, &place(results));
    canvas.text(
        (20.0, 60.0),
        "start",
        11.0,
        "Filled: lifted, vulkan, strict. Hollow: the fastest hand-written shader.",
    );
    for value in x.decades() {
        canvas.line((x.at(value), 80.0), (x.at(value), bottom), GRID, 1.0);
        canvas.text((x.at(value), bottom + 16.0), "middle", 11.0, &value.to_string());
    }
    for value in y.decades() {
        canvas.line((left, y.at(value)), (width - 30.0, y.at(value)), GRID, 1.0);
        canvas.text((left - 6.0, y.at(value) + 4.0), "end", 11.0, &format!("{}", value * 1e-9));
    }
    canvas.text((width / 2.0, height - 20.0), "middle", 12.0, "operations / byte");
    canvas.text((left - 6.0, 72.0), "end", 11.0, "Gops/s");
    let kinds = [(Kind::F32, "f32", COLOURS[0]), (Kind::I32, "i32", COLOURS[3]), (Kind::F64, "f64", COLOURS[2])];
    for (place, (kind, name, colour)) in kinds.into_iter().enumerate() {
        let most = roofline.operations(kind);
        if most <= 0.0 || !points.iter().any(|(kernel, ..)| kernel.kind == kind) {
            continue;
        }
        let ridge = (most / roofline.copy).clamp(x.values.0, x.values.1);
        let low = (roofline.copy * x.values.0).max(y.values.0);
        let start = low / roofline.copy;
        canvas.line((x.at(start), y.at(low)), (x.at(ridge), y.at(ridge * roofline.copy)), TEXT, 1.5);
        canvas.line((x.at(ridge), y.at(most)), (width - 30.0, y.at(most)), colour, 1.5);
        // Beside each other, as ceilings may be equal.
        canvas.text(
            (width - 34.0 - 120.0 * place as f64, y.at(most) - 5.0),
            "end",
            11.0,
            &format!("{name}, {:.0} Gops/s", most * 1e-9),
        );
    }
    let slope = (low_x * roofline.copy * 1.5).clamp(y.values.0, y.values.1);
    canvas.text((x.at(low_x), y.at(slope) - 8.0), "start", 11.0, &format!("copying, {:.0} GB/s", roofline.copy * 1e-9));
    for (kernel, hollow, intensity, rate) in &points {
        let lifted = points.iter().find(|point| point.0.kernel == kernel.kernel && !point.1);
        if let (true, Some(lifted)) = (hollow, lifted) {
            canvas.line((x.at(*intensity), y.at(*rate)), (x.at(*intensity), y.at(lifted.3)), "#999", 1.0);
        }
    }
    let mut labels: Vec<(f64, f64)> = Vec::new();
    for (kernel, hollow, intensity, rate) in &points {
        let colour = kinds.iter().find(|(kind, ..)| *kind == kernel.kind).map_or(TEXT, |(.., colour)| colour);
        let at = (x.at(*intensity), y.at(*rate));
        let title = format!("{}: {:.2} Gops/s, {:.2} GB/s", kernel.kernel, rate * 1e-9, rate / intensity * 1e-9);
        canvas.dot(at, colour, *hollow, &title);
        if !hollow {
            // Names go down until they are clear of those before.
            let mut label = (at.0 + 7.0, at.1 + 4.0);
            while labels.iter().any(|(x, y)| (x - label.0).abs() < 70.0 && (y - label.1).abs() < 10.0) {
                label.1 += 10.0;
            }
            labels.push(label);
            canvas.text(label, "start", 10.0, &kernel.kernel);
        }
    }
    Some(canvas.finish())
}
