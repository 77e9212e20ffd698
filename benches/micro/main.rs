//! Micro-benchmarks: what lifting costs, kernel by kernel, and what a launch costs that does next to nothing.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use wavelift::device::gpu::raw::{WgslBinding, WgslBuffer, WgslKernel};
use wavelift::device::gpu::{self, GpuContext, GpuDevice, GpuOptions};
use wavelift::device::{Access, BufferId, BufferSpec, Context as _, GuestModule, Launch, Launched, cpu};
use wavelift::translator::{BufferParam, Module, Options, Shape, translate};

#[path = "../shared/instance.rs"]
mod instance;
mod stencil;

use instance::{Attached, Instance, create, file};

/// Guests whose kernels are lifted: small ones and large ones, with loops, calls of the C library, and 64-bit floats. How many
/// buffers each takes.
const LIFTED: [(&str, &str, u32); 8] = [
    ("examples/guests/nstream", "nstream", 3),
    ("examples/guests/mandelbrot", "mandelbrot", 2),
    ("examples/guests/nbody", "nbody", 4),
    ("examples/guests/black_scholes", "black_scholes", 2),
    ("benches/guests/gemm_f64", "gemm_f64", 4),
    ("benches/guests/sha256", "sha256", 2),
    ("benches/guests/kmeans", "kmeans", 4),
    ("benches/guests/pic", "pic", 3),
];
/// A kernel that stores one word.
const LEAST_KERNEL: &str = "(module (memory 1) (func $least (param i32 i32 i32 i32 i32)
    local.get 3 i32.const 1 i32.store))";
const LEAST_SHADER: &str = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) { if id.x < 1 { x[0] = 1u; } }";
/// Elements of a launch that is short, but long enough for all cores.
const MILLION: usize = 1 << 20;
/// Launches that are recorded together.
const MANY: [usize; 2] = [100, 1000];

/// Wasm to SPIR-V, for a full device.
fn lifting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lift");
    for (path, kernel, buffers) in LIFTED {
        let bytes = std::fs::read(file(&format!("{path}.wasm"))).expect("a guest is missing");
        let module = Module::parse(bytes).expect("a guest is broken");
        let function = module.find_function(kernel).expect("a kernel is missing");
        let shape = Shape::of((0..buffers).map(|slot| BufferParam { slot, access: Access::ReadWrite }).collect());
        group.bench_function(kernel, |bencher| {
            bencher.iter(|| translate(&module, function, &shape, &Options::default()).expect("it is lifted"));
        });
    }
    group.finish();
}

/// A launch of one invocation, from the call to its end.
fn launches(criterion: &mut Criterion) {
    let module = GuestModule::new(
        Module::parse(wat::parse_str(LEAST_KERNEL).expect("it is a module")).expect("it is a valid module"),
    );
    let mut group = criterion.benchmark_group("launch");
    group.measurement_time(Duration::from_secs(3));
    let memory = Attached::new(1 << 16).expect("no memory");
    let space = memory.space().expect("no addresses");
    let address = space.allocate(256, 1 << 16).expect("no addresses");
    let spec = BufferSpec { id: BufferId(1), address, size: 256, access: Access::ReadWrite };
    for (name, device) in [("CPU, all cores", cpu::all_cores()), ("CPU, sequential", cpu::sequential())] {
        let mut context = device.new_context(space.clone()).expect("no context");
        context.create_buffer(&spec).expect("no buffer");
        let launch = Launch { module: module.clone(), function: 0, iterations: 1, block_size: 1, buffers: vec![spec] };
        let mut caller = Instance { memory: vec![0; 1 << 16], module: module.clone() };
        group.bench_function(name, |bencher| {
            bencher.iter(|| context.launch(&launch, &mut caller).expect("it is launched"));
        });
    }
    if let Some(adapter) = gpu::adapters().into_iter().next() {
        let device = GpuDevice::open(&adapter, &GpuOptions::default()).expect("no GPU");
        let launch = Launch { module: module.clone(), function: 0, iterations: 1, block_size: 1, buffers: vec![spec] };
        let mut caller = Instance { memory: vec![0; 1 << 16], module: module.clone() };
        let mut context = device.new_gpu_context();
        context.create_buffer(&spec).expect("no buffer");
        let shared = WgslBuffer::shared(&mut context, spec.id).expect("no buffer");
        let raw = WgslKernel::new(&device, LEAST_SHADER).expect("it is compiled");
        let raw = raw.bind_all(&[WgslBinding::Storage(&shared)]).expect("it is bound");
        group.bench_function("GPU, lifted", |bencher| {
            bencher.iter(|| context.launch(&launch, &mut caller).expect("it is launched"));
        });
        group.bench_function("GPU, wgpu alone", |bencher| {
            bencher.iter(|| raw.dispatch_untimed([1, 1, 1]).expect("it is launched"));
        });
        for count in MANY {
            group.bench_function(format!("GPU, {count} lifted"), |bencher| {
                bencher.iter(|| many(&mut context, &launch, &mut caller, count));
            });
            group.bench_function(format!("GPU, wgpu alone, {count} in one pass"), |bencher| {
                bencher.iter(|| raw.dispatch_many([1, 1, 1], count).expect("they are launched"));
            });
        }
    }
    group.finish();
}

fn many(context: &mut GpuContext, launch: &Launch, caller: &mut Instance, count: usize) {
    let mut launch = || context.enqueue(launch, caller).expect("it is launched");
    // The first one of a kernel waits for its compilation, and ends at once.
    let deferred = (0..count).filter(|_| matches!(launch(), Launched::Deferred)).count();
    let ended = context.finish();
    assert!(ended.len() == deferred && ended.iter().all(Result::is_ok), "not all launches ended");
}

/// One launch of a million invocations that do little, and native code that does the same.
fn million(criterion: &mut Criterion) {
    let bytes = std::fs::read(file("benches/guests/saxpy.wasm")).expect("a guest is missing");
    let module = GuestModule::new(Module::parse(bytes).expect("a guest is broken"));
    let function = module.wasm.find_function("saxpy").expect("a kernel is missing");
    let mut group = criterion.benchmark_group("a million elements of saxpy");
    for (name, device) in [("CPU, all cores", cpu::all_cores()), ("CPU, sequential", cpu::sequential())] {
        let memory = Attached::new(1 << 20).expect("no memory");
        let space = memory.space().expect("no addresses");
        let mut context = device.new_context(space.clone()).expect("no context");
        let zeroes = vec![0; 4 * MILLION];
        let buffers = [(zeroes.as_slice(), Access::Read), (zeroes.as_slice(), Access::ReadWrite)];
        let buffers = create(&mut *context, &space, 1 << 20, &buffers).expect("no buffers");
        let launch = Launch { module: module.clone(), function, iterations: MILLION as u32, block_size: 64, buffers };
        let mut caller = Instance { memory: vec![0; 1 << 20], module: module.clone() };
        group.bench_function(name, |bencher| {
            bencher.iter(|| context.launch(&launch, &mut caller).expect("it is launched"));
        });
    }
    let (mut x, mut y) = (vec![0u8; 4 * MILLION], vec![0u8; 4 * MILLION]);
    group.bench_function("native", |bencher| {
        bencher.iter(|| assert!(wavelift_twins::run("saxpy", &mut [&mut x, &mut y]), "there is no such twin"));
    });
    group.finish();
}

criterion_group!(benches, lifting, launches, million, stencil::stencil);
criterion_main!(benches);
