//! What a kernel costs before it runs: lifting it, compiling it, launching nothing.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use wavelift::device::gpu::raw::{WgslBinding, WgslBuffer, WgslKernel};
use wavelift::device::gpu::{Adapter, GpuDevice, GpuOptions};
use wavelift::device::{Access, BufferId, BufferSpec, Context as _};
use wavelift::translator::{FloatMode, Module, Options, Profile, Shape, translate};

use crate::cases::{Case, GROUP};
use crate::gpu;
use crate::output::{Cell, Table};
use crate::stats::summarize;

const LIFTS: usize = 51;
const LAUNCHES: usize = 500;
/// Launches that are recorded without waiting, and how often all of them are.
const MANY: usize = 1000;
const MANY_ROUNDS: usize = 31;
/// The argument that makes this program the child that measures cold compilation.
pub const COLD: &str = "--cold-compilation";

/// Lift times, sizes of the modules, and times of the driver's compiler.
pub fn lifting(device: &GpuDevice, adapter: &Adapter, cases: &[Case], float: FloatMode) -> Result<Table> {
    let mut rows = Vec::new();
    for case in cases {
        let (module, function) = case.kernel()?;
        let (shape, options) = (case.shape(), gpu::options(device, float));
        let shader = translate(&module.wasm, function, &shape, &options)?;
        let mut times = Vec::new();
        for _ in 0..LIFTS {
            let start = Instant::now();
            translate(&module.wasm, function, &shape, &options)?;
            times.push(start.elapsed().as_secs_f64());
        }
        let [lifted, wgsl] = cold_compilation(adapter, &options, case)?;
        rows.push(vec![
            Cell::Text(case.name.into()),
            summarize(&times).map_or(Cell::Nothing, |s| Cell::Seconds(s.median)),
            Cell::Count(u64::from(shader.operators)),
            Cell::Count(shader.words.len() as u64),
            Cell::Count(shader.interface.trap_sites.len() as u64),
            Cell::Seconds(lifted),
            Cell::Seconds(wgsl),
        ]);
    }
    let note = format!(
        "Lift: WebAssembly to SPIR-V, median of {LIFTS}. Compile: from the module (of \
         WebAssembly: with lifting) to the end of a first dispatch of one group, once, in a new process with MESA_SHADER_CACHE_DISABLE=true."
    );
    let columns = vec!["kernel", "lift", "operators", "SPIR-V words", "trap sites", "compile lifted", "compile WGSL"];
    Ok(Table { title: "Lift and compile times".into(), note, columns, rows })
}

/// Seconds until the first dispatch's end, without a cache: of the lifted kernel, and of the shader.
fn cold_compilation(adapter: &Adapter, options: &Options, case: &Case) -> Result<[f64; 2]> {
    let float = if options.float == FloatMode::Strict { "strict" } else { "relaxed" };
    let profile = if options.profile == Profile::Vulkan { "vulkan" } else { "portable" };
    let child = Command::new(std::env::current_exe()?)
        .args([COLD, case.name, "--adapter", &adapter.index().to_string(), "--float", float, "--profile", profile])
        .env("MESA_SHADER_CACHE_DISABLE", "true")
        .output()?;
    let text = String::from_utf8_lossy(&child.stdout);
    ensure!(child.status.success(), "cold compilation failed: {}", String::from_utf8_lossy(&child.stderr));
    let times: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    times.try_into().ok().with_context(|| format!("cold compilation printed `{text}`"))
}

/// The child's part: prints two times in seconds.
pub fn compile_cold(adapter: &Adapter, profile: Profile, case: &Case, float: FloatMode) -> Result<()> {
    let device = GpuDevice::open(adapter, &GpuOptions { profile, ..GpuOptions::default() })?;
    let mut context = device.new_gpu_context();
    gpu::create(case, &mut context)?;
    for (spec, buffer) in case.specs().iter().zip(&case.buffers) {
        context.write_buffer(spec.id, 0, &buffer.bytes)?;
    }
    let start = Instant::now();
    let kernel = gpu::lift(&device, case, float)?;
    context.run(&kernel, GROUP, GROUP, &case.specs())?;
    let lifted = start.elapsed();
    let start = Instant::now();
    gpu::bind(&device, case, &mut context, true)?.dispatch_untimed([1, 1, 1])?;
    println!("{} {}", lifted.as_secs_f64(), start.elapsed().as_secs_f64());
    Ok(())
}

/// A kernel that does next to nothing, so that the launch is all there is.
const LEAST_KERNEL: &str = "(module (memory 1) (func $least (param i32 i32 i32 i32 i32)
    local.get 3 i32.const 1 i32.store))";
const LEAST_SHADER: &str = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) { if id.x < 1 { x[0] = 1u; } }";

/// What a launch of one invocation costs the host, against the least that wgpu itself can do.
pub fn empty_launches(device: &GpuDevice) -> Result<Table> {
    let module = Module::parse(wat::parse_str(LEAST_KERNEL)?)?;
    let shader = translate(&module, 0, &Shape::distinct(1), &gpu::options(device, FloatMode::Strict))?;
    // SAFETY: the words come from the translator, lifted for this device.
    let kernel = unsafe { device.prepare(shader) }?;
    let mut context = device.new_gpu_context();
    let spec = BufferSpec { id: BufferId(1), address: 0xfff0_0000, size: 256, access: Access::ReadWrite };
    context.create_buffer(&spec)?;
    let shared = WgslBuffer::shared(&mut context, spec.id)?;
    let raw = WgslKernel::new(device, LEAST_SHADER)?.bind_all(&[WgslBinding::Storage(&shared)])?;
    let mut launch = || -> Result<Duration> {
        let start = Instant::now();
        context.run(&kernel, 1, 1, &[spec])?;
        Ok(start.elapsed())
    };
    let (mut lifted, mut plain) = (Vec::new(), Vec::new());
    for round in 0..LAUNCHES + 20 {
        let times = (launch()?.as_secs_f64(), raw.dispatch_untimed([1, 1, 1])?.as_secs_f64());
        // The first ones compile.
        if round >= 20 {
            lifted.push(times.0);
            plain.push(times.1);
        }
    }
    let mut launch_many = || -> Result<Duration> {
        let start = Instant::now();
        for _ in 0..MANY {
            context.run_deferred(&kernel, 1, 1, &[spec])?;
        }
        let ended = context.finish();
        ensure!(ended.len() == MANY && ended.iter().all(Result::is_ok), "Not all launches ended.");
        Ok(start.elapsed())
    };
    let (mut lifted_many, mut plain_many) = (Vec::new(), Vec::new());
    for _ in 0..MANY_ROUNDS {
        lifted_many.push(launch_many()?.as_secs_f64());
        plain_many.push(raw.dispatch_many([1, 1, 1], MANY)?.as_secs_f64());
    }
    let row = |name: &str, times: &[f64]| {
        let s = summarize(times)?;
        Some(vec![Cell::Text(name.into()), Cell::Seconds(s.median), Cell::Share(s.spread), Cell::Count(s.count as u64)])
    };
    let rows = [
        row("lifted kernel, trap record read", &lifted),
        row("wgpu alone: one dispatch, waited for", &plain),
        row(&format!("{MANY} launches of the lifted kernel, recorded, all trap records read"), &lifted_many),
        row(&format!("wgpu alone: {MANY} dispatches in one pass, waited for"), &plain_many),
    ];
    Ok(Table {
        title: "Empty launches".into(),
        note: "One invocation that stores one word, from the call to its return, in turns.".into(),
        columns: vec!["launch", "time", "spread", "runs"],
        rows: rows.into_iter().flatten().collect(),
    })
}
