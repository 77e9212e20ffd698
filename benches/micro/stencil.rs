//! A hundred steps of a stencil, end to end: data to the device, two launches for each step, the result back.

use criterion::Criterion;
use wavelift::device::gpu::raw::{WgslBinding, WgslBuffer, WgslKernel, WgslLaunch};
use wavelift::device::gpu::{self, GpuDevice, GpuOptions};
use wavelift::device::{Access, BufferSpec, Context as _, GuestModule, Launch};
use wavelift::memory::AddressSpace;
use wavelift::translator::Module;

use crate::instance::{Instance, create, file};

/// Rows and columns of the grid.
const SIDE: u32 = 256;
const STEPS: usize = 100;
const CELLS: u32 = SIDE * SIDE;
/// The kernels of a step, which also name their shaders, and which of the buffers (size, grid, result) they take.
const STEP: [(&str, &[usize]); 2] = [("star", &[0, 1, 2]), ("star_refresh", &[1])];
const GROUP: u32 = 64;

/// On the best GPU, if there is one: the guest's kernels, and hand-written shaders on the same buffers.
pub fn stencil(criterion: &mut Criterion) {
    let Some(adapter) = gpu::adapters().into_iter().next() else { return };
    let device = GpuDevice::open(&adapter, &GpuOptions::default()).expect("no GPU");
    let bytes = std::fs::read(file("benches/guests/star.wasm")).expect("a guest is missing");
    let module = GuestModule::new(Module::parse(bytes).expect("a guest is broken"));
    let mut caller = Instance { memory: vec![0; 1 << 20], module: module.clone() };
    let mut context = device.new_gpu_context();
    let space = AddressSpace::detached().expect("no addresses");
    let size: Vec<u8> = [SIDE, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    let grid: Vec<u8> = (0..CELLS).flat_map(|i| ((i % SIDE + i / SIDE) as f32).to_le_bytes()).collect();
    let zeroes = vec![0; grid.len()];
    let data = [(size.as_slice(), Access::Read), (&grid, Access::ReadWrite), (&zeroes, Access::ReadWrite)];
    let specs = create(&mut context, &space, 1 << 20, &data).expect("no buffers");
    let launches = STEP.map(|(name, of)| {
        let function = module.wasm.find_function(name).expect("a kernel is missing");
        let buffers = of.iter().map(|index| specs[*index]).collect();
        Launch { module: module.clone(), function, iterations: CELLS, block_size: GROUP, buffers }
    });
    let shared: Vec<WgslBuffer> =
        specs.iter().map(|spec| WgslBuffer::shared(&mut context, spec.id).expect("no buffer")).collect();
    let shaders: Vec<(WgslLaunch, [u32; 3])> = bound(&device, &size, &shared);
    let mut group = criterion.benchmark_group(format!("{STEPS} steps of a stencil, {SIDE} x {SIDE}"));
    group.sample_size(20);
    let mut out = vec![0; grid.len()];
    let mut lifted = |out: &mut [u8]| {
        write(&mut context, &specs, &data);
        for launch in std::iter::repeat_n(&launches, STEPS).flatten() {
            context.enqueue(launch, &mut caller).expect("it is launched");
        }
        context.read_buffer(specs[2].id, 0, out).expect("it is read");
        assert!(context.finish().iter().all(Result::is_ok), "a launch failed");
    };
    lifted(&mut out);
    let expected = out.clone();
    group.bench_function("lifted", |bencher| bencher.iter(|| lifted(&mut out)));
    let hand_written = || {
        for (buffer, (bytes, _)) in shared.iter().zip(&data) {
            buffer.write(0, bytes).expect("it is written");
        }
        WgslLaunch::dispatch_all(&shaders).expect("they are launched");
        shared[2].read().expect("it is read")
    };
    // Sums in another order.
    let near = |(a, b): (&[u8; 4], &[u8; 4])| (f32::from_le_bytes(*a) - f32::from_le_bytes(*b)).abs() < 1e-2;
    let results = [hand_written(), expected];
    let [got, expected] = [results[0].as_chunks().0, results[1].as_chunks().0];
    assert!(got.iter().zip(expected).all(near), "the shaders compute something else");
    group.bench_function("hand-written", |bencher| bencher.iter(hand_written));
    group.finish();
}

fn write(context: &mut gpu::GpuContext, specs: &[BufferSpec], data: &[(&[u8], Access)]) {
    for (spec, (bytes, _)) in specs.iter().zip(data) {
        context.write_buffer(spec.id, 0, bytes).expect("it is written");
    }
}

/// The shaders of all steps, bound.
fn bound(device: &GpuDevice, size: &[u8], shared: &[WgslBuffer]) -> Vec<(WgslLaunch, [u32; 3])> {
    let kernels = STEP.map(|(name, of)| {
        let source = std::fs::read_to_string(file(&format!("shaders/{name}.wgsl"))).expect("a shader is missing");
        (WgslKernel::new(device, &source).expect("it is compiled"), of)
    });
    let bind = |(kernel, of): &(WgslKernel, &[usize])| {
        let bindings = of.iter().map(|index| match *index {
            0 => WgslBinding::Uniform(size),
            index => WgslBinding::Storage(&shared[index]),
        });
        let bindings: Vec<_> = bindings.collect();
        (kernel.bind_all(&bindings).expect("it is bound"), [CELLS.div_ceil(GROUP), 1, 1])
    };
    std::iter::repeat_n(&kernels, STEPS).flatten().map(bind).collect()
}
