//! What runs a recorded round: a device of Wavelift's, hand-written shaders on one, or native code.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use wavelift::device::gpu::raw::{WgslBinding, WgslBuffer, WgslKernel, WgslLaunch};
use wavelift::device::gpu::{self, GpuContext, GpuDevice};
use wavelift::device::{Access, BufferId, Context, Device, LaunchError, Launched};
use wavelift::memory::AddressSpace;
use wavelift::translator::{BufferParam, Interface, LINEAR, Options, Shader, Shape, testing, translate};
use wavelift_twins as twins;

use crate::instance::Attached;
use crate::kernels::{self, Kernel};
use crate::record::{Recording, Step};

/// Invocations of a shader's workgroup, as it is written.
pub const GROUP: u32 = 64;
/// A larger size, which is faster for some on some devices.
const LARGE_GROUP: u32 = 256;

/// Runs rounds on buffers of its own, or on those of another engine.
pub trait Engine {
    /// Puts the buffers' bytes back as they were before the first round.
    fn restore(&mut self, recording: &Recording) -> Result<()>;
    /// Runs a round and waits for its end. Seconds: of a GPU by its own clock where it has one, else the host's.
    fn round(&mut self) -> Result<f64>;

    /// Runs it till its device has found out how it runs best.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }
    /// The bytes of a buffer, by its place in the recording.
    fn read(&mut self, index: usize) -> Result<Vec<u8>>;
}

/// A device of Wavelift's, which replays the guest's launches.
pub struct Lifted<C: ?Sized> {
    pub context: Box<C>,
    steps: Vec<Step>,
    ids: Vec<(BufferId, usize)>,
    /// Whether the device's own times count, and not the host's.
    own_clock: bool,
    memory: Option<Shown>,
}

/// Linear memory for a device that works in it.
struct Shown {
    memory: Attached,
    /// What each launch finds changed since the one before, or since the last one of a round: places, and their bytes.
    changes: Vec<Vec<(usize, Vec<u8>)>>,
}

/// Linear memory is compared in pieces of this size.
const PIECE: usize = 256;

impl Shown {
    fn new(mut memory: Attached, steps: &[Step]) -> Shown {
        let before = steps.iter().cycle().skip(steps.len().saturating_sub(1));
        let changes =
            before.zip(steps).map(|(before, step)| changes(before.state.bytes(), step.state.bytes())).collect();
        if let Some(last) = steps.last() {
            memory.bytes()[..last.state.bytes().len()].copy_from_slice(last.state.bytes());
        }
        Shown { memory, changes }
    }

    /// Sets it to what a launch found, where it is what the launch before found and left.
    fn show(&mut self, step: usize) {
        let memory = self.memory.bytes();
        for (at, bytes) in &self.changes[step] {
            memory[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
    }
}

fn changes(old: &[u8], new: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let pieces = new.chunks(PIECE).enumerate().map(|(index, piece)| (index * PIECE, piece));
    let changed = pieces.filter(|(at, piece)| old.get(*at..*at + piece.len()) != Some(*piece));
    changed.map(|(at, piece)| (at, piece.to_vec())).collect()
}

impl Lifted<GpuContext> {
    /// A GPU.
    ///
    /// # Errors
    /// The device has no memory left.
    pub fn on_gpu(device: &GpuDevice, recording: &Recording) -> Result<Lifted<GpuContext>> {
        Lifted::new(Box::new(device.new_gpu_context()), recording, None, true)
    }
}

impl Lifted<dyn Context> {
    /// The CPU, in an address space with a linear memory like the guest's.
    ///
    /// # Errors
    /// The device has no memory left.
    pub fn on_cpu(device: &dyn Device, recording: &Recording) -> Result<Lifted<dyn Context>> {
        let bytes = recording.steps.iter().map(|step| step.state.memory()).max().unwrap_or_default();
        let memory = Attached::new(bytes)?;
        let space = memory.space()?;
        let context = device.new_context(space.clone())?;
        let lifted = Lifted::new(context, recording, Some(&space), false)?;
        Ok(Lifted { memory: Some(Shown::new(memory, &recording.steps)), ..lifted })
    }
}

impl<C: Context + ?Sized> Lifted<C> {
    fn new(
        mut context: Box<C>,
        recording: &Recording,
        space: Option<&AddressSpace>,
        own_clock: bool,
    ) -> Result<Lifted<C>> {
        let mut steps = recording.steps.clone();
        for buffer in &recording.buffers {
            let mut spec = buffer.spec;
            if let Some(space) = space {
                let memory = steps.iter().map(|step| step.state.memory()).max().unwrap_or_default();
                spec.address = space.allocate(spec.size, memory).context("There are no addresses left.")?;
            }
            context.create_buffer(&spec)?;
            let launches = steps.iter_mut().flat_map(|step| &mut step.launch.buffers);
            launches.filter(|of| of.id == spec.id).for_each(|of| *of = spec);
        }
        let ids = recording.buffers.iter().map(|buffer| (buffer.spec.id, buffer.spec.size as usize)).collect();
        let mut engine = Lifted { context, steps, ids, own_clock, memory: None };
        engine.write_all(recording, |_| true)?;
        Ok(engine)
    }

    fn write_all(&mut self, recording: &Recording, wanted: impl Fn(Access) -> bool) -> Result<()> {
        for buffer in recording.buffers.iter().filter(|buffer| wanted(buffer.spec.access)) {
            self.context.write_buffer(buffer.spec.id, 0, &buffer.before)?;
        }
        Ok(())
    }
}

/// Why a kernel was not launched, where that is no error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

fn launch_error(error: LaunchError) -> anyhow::Error {
    match error {
        LaunchError::Unsupported(reason) => Refused(reason).into(),
        error => error.into(),
    }
}

/// So many rounds take all launches, of which a GPU tries up to three sizes of groups, three times each.
const ROUNDS_TO_SETTLE: usize = 11;

impl<C: Context + ?Sized> Engine for Lifted<C> {
    fn settle(&mut self) -> Result<()> {
        let rounds = if self.own_clock { ROUNDS_TO_SETTLE } else { 0 };
        (0..rounds).try_for_each(|_| self.round().map(drop))
    }

    fn restore(&mut self, recording: &Recording) -> Result<()> {
        self.write_all(recording, |access| access != Access::Read)
    }

    fn round(&mut self) -> Result<f64> {
        let start = Instant::now();
        let mut own = 0.0;
        for (index, Step { launch, state }) in self.steps.iter_mut().enumerate() {
            if let Some(memory) = &mut self.memory {
                memory.show(index);
            }
            match self.context.enqueue(launch, state).map_err(launch_error)? {
                Launched::Done(times) => own += times.run.as_secs_f64(),
                Launched::Deferred => {}
            }
        }
        for outcome in self.context.finish() {
            own += outcome.map_err(launch_error)?.run.as_secs_f64();
        }
        Ok(if self.own_clock { own } else { start.elapsed().as_secs_f64() })
    }

    fn read(&mut self, index: usize) -> Result<Vec<u8>> {
        let (id, size) = self.ids[index];
        let mut bytes = vec![0; size];
        self.context.read_buffer(id, 0, &mut bytes)?;
        Ok(bytes)
    }
}

/// What stands in place of the words that a kernel is lifted to, on the same bindings.
pub enum Form<'a> {
    /// A file of SPIR-V.
    File(&'a Path),
    /// The kernel without checks of bounds.
    Unchecked,
}

/// A kernel in another form.
pub struct Edited {
    lifted: Lifted<GpuContext>,
    kernel: Arc<gpu::Kernel>,
}

impl Edited {
    /// Compiles a form of a kernel of one launch that reads no linear memory.
    ///
    /// # Errors
    /// [`Refused`] if it is no such kernel; the file is no SPIR-V.
    pub fn new(device: &GpuDevice, recording: &Recording, form: Form<'_>) -> Result<Edited> {
        let [Step { launch, .. }] = recording.steps.as_slice() else {
            bail!(Refused("only kernels of one launch have other forms".into()))
        };
        let buffers = (0..).zip(&launch.buffers).map(|(slot, spec)| BufferParam { slot, access: spec.access });
        let options = Options { workgroup_size: GROUP, ..*device.options() };
        let (module, shape) = (&launch.module.wasm, Shape::of(buffers.collect()));
        let shader = match form {
            Form::File(path) => {
                let bytes = std::fs::read(path).with_context(|| format!("`{}` can't be read", path.display()))?;
                ensure!(bytes.len() % 4 == 0, "`{}` is no SPIR-V.", path.display());
                let lifted = translate(module, launch.function, &shape, &options)?;
                Shader { words: words(&bytes, usize::MAX), ..lifted }
            }
            Form::Unchecked => testing::translate_unchecked(module, launch.function, &shape, &options)?,
        };
        let Interface { bindings, inputs, .. } = &shader.interface;
        if !inputs.is_empty() || bindings.iter().any(|binding| binding.slot == LINEAR) {
            bail!(Refused("only kernels that need nothing but their buffers have other forms".into()))
        }
        // SAFETY: whoever names a file vouches for it, as the option's description says. Without its checks a kernel does what it
        // does with them in a launch in which none traps, and only the guest's own launch is repeated, which did not trap.
        let kernel = unsafe { device.prepare(shader) }?;
        Ok(Edited { lifted: Lifted::on_gpu(device, recording)?, kernel })
    }
}

impl Engine for Edited {
    fn restore(&mut self, recording: &Recording) -> Result<()> {
        self.lifted.restore(recording)
    }

    fn round(&mut self) -> Result<f64> {
        // One submission, as the shader's.
        self.kernel.set_pace(u64::MAX);
        let Lifted { context, steps, .. } = &mut self.lifted;
        let launch = &steps[0].launch;
        let times = context.time_runs(&self.kernel, launch.iterations, launch.block_size, &launch.buffers, 1)?;
        Ok(times.iter().map(std::time::Duration::as_secs_f64).sum())
    }

    fn read(&mut self, index: usize) -> Result<Vec<u8>> {
        self.lifted.read(index)
    }
}

/// Hand-written shaders on the buffers of a context.
pub struct Wgsl {
    buffers: Vec<WgslBuffer>,
    launches: Vec<(WgslLaunch, [u32; 3])>,
}

/// Which shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shaders {
    /// With the checks that wgpu gives every shader.
    pub checked: bool,
    /// The faster ones, where there are any.
    pub tuned: bool,
    /// Invocations of a group of all others.
    pub group: u32,
}

impl Wgsl {
    /// Compiles a kernel's shaders and binds them to a context's buffers.
    ///
    /// # Errors
    /// A shader is missing or wrong.
    pub fn new(
        device: &GpuDevice,
        kernel: &Kernel,
        recording: &Recording,
        context: &mut GpuContext,
        shaders: Shaders,
    ) -> Result<Wgsl> {
        let shared = |spec| WgslBuffer::shared(context, spec);
        let buffers: Vec<WgslBuffer> =
            recording.buffers.iter().map(|buffer| buffer.spec.id).map(shared).collect::<Result<_, _>>()?;
        let mut compiled: Vec<(String, String, WgslKernel)> = Vec::new();
        let mut launches = Vec::new();
        for Step { launch, .. } in &recording.steps {
            let function = Recording::name(launch);
            let first = recording.index(launch.buffers.first().context("a launch without buffers")?.id);
            let words = first.map(|index| words(&recording.buffers[index].before, 4)).unwrap_or_default();
            let tuned = kernel.tuned.iter().find(|tuned| shaders.tuned && tuned.function == function);
            let (name, groups) = match tuned {
                Some(tuned) => (tuned.shader.to_string(), (tuned.groups)(&words, launch.iterations)),
                None => (function.clone(), groups(&function, launch.iterations, shaders.group)),
            };
            if !compiled.iter().any(|(of, ..)| *of == name) {
                let source = source(&name)?;
                let source = if tuned.is_some() { source } else { in_groups(&source, shaders.group)? };
                let kernel = match shaders.checked {
                    true => WgslKernel::new(device, &source)?,
                    // SAFETY: the shaders return where there is no element, and count their loops up to a parameter.
                    false => unsafe { WgslKernel::new_unchecked(device, &source) }?,
                };
                compiled.push((name.clone(), source, kernel));
            }
            let (_, source, shader) = compiled.iter().find(|(of, ..)| *of == name).context("not compiled")?;
            let mut bindings = Vec::new();
            for (binding, spec) in launch.buffers.iter().enumerate() {
                let index = recording.index(spec.id).context("a buffer that was not recorded")?;
                bindings.push(match is_uniform(source, binding) {
                    true => WgslBinding::Uniform(&recording.buffers[index].before),
                    false => WgslBinding::Storage(&buffers[index]),
                });
            }
            launches.push((shader.bind_all(&bindings)?, groups));
        }
        Ok(Wgsl { buffers, launches })
    }
}

/// The first words of a buffer.
fn words(bytes: &[u8], count: usize) -> Vec<u32> {
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    bytes.chunks_exact(4).take(count).map(word).collect()
}

/// A shader's text.
pub fn source(name: &str) -> Result<String> {
    let path = crate::root().join(format!("shaders/{name}.wgsl"));
    std::fs::read_to_string(&path).with_context(|| format!("`{}` can't be read", path.display()))
}

/// A plain shader's text with groups of another size.
fn in_groups(source: &str, size: u32) -> Result<String> {
    let [declared, used] = ["@workgroup_size(64)", "id.y * groups.x * 64u + id.x"];
    ensure!(source.contains(declared) && source.contains(used), "A shader is not in groups of 64: {source}");
    let source = source.replace(declared, &format!("@workgroup_size({size})"));
    Ok(source.replace(used, &format!("id.y * groups.x * {size}u + id.x")))
}

/// Whether a binding of a shader is a uniform buffer.
fn is_uniform(source: &str, binding: usize) -> bool {
    let of = format!("@binding({binding}) var<uniform>");
    source.contains(&of)
}

/// The dispatch of a plain shader: an invocation for each iteration, but those on bytes take four at once.
fn groups(function: &str, iterations: u32, group: u32) -> [u32; 3] {
    let invocations = if function == "sobel" { iterations.div_ceil(4) } else { iterations };
    kernels::rows(invocations.div_ceil(group))
}

/// Hand-written shaders in groups of the size that is the faster one, as lifted kernels are.
pub struct Fastest {
    sizes: Vec<Wgsl>,
}

/// Rounds in which sizes are tried, as often as by the runtime.
const TRIALS: usize = 3;

impl Fastest {
    /// Shaders in groups of all sizes that are tried: as `make` makes them.
    ///
    /// # Errors
    /// As `make`'s.
    pub fn new(mut make: impl FnMut(u32) -> Result<Wgsl>) -> Result<Fastest> {
        Ok(Fastest { sizes: vec![make(GROUP)?, make(LARGE_GROUP)?] })
    }

    /// The fastest, or the first while nothing was tried.
    ///
    /// # Errors
    /// A round fails.
    pub fn settled(mut self) -> Result<Wgsl> {
        self.settle()?;
        Ok(self.sizes.swap_remove(0))
    }
}

impl Engine for Fastest {
    fn restore(&mut self, recording: &Recording) -> Result<()> {
        self.sizes[0].restore(recording)
    }

    fn round(&mut self) -> Result<f64> {
        self.sizes[0].round()
    }

    fn read(&mut self, index: usize) -> Result<Vec<u8>> {
        self.sizes[0].read(index)
    }

    fn settle(&mut self) -> Result<()> {
        let mut best = vec![f64::INFINITY; self.sizes.len()];
        // The driver may compile in a first round.
        for _ in 0..=TRIALS {
            for (best, size) in best.iter_mut().zip(&mut self.sizes) {
                *best = best.min(size.round()?);
            }
        }
        let fastest = (0..best.len()).min_by(|a, b| best[*a].total_cmp(&best[*b])).unwrap_or(0);
        self.sizes = vec![self.sizes.swap_remove(fastest)];
        Ok(())
    }
}

impl Engine for Wgsl {
    fn restore(&mut self, recording: &Recording) -> Result<()> {
        for (shared, buffer) in self.buffers.iter().zip(&recording.buffers) {
            if buffer.spec.access != Access::Read {
                shared.write(0, &buffer.before)?;
            }
        }
        Ok(())
    }

    fn round(&mut self) -> Result<f64> {
        Ok(WgslLaunch::dispatch_all(&self.launches)?.as_secs_f64())
    }

    fn read(&mut self, index: usize) -> Result<Vec<u8>> {
        Ok(self.buffers[index].read()?)
    }
}

impl Wgsl {
    /// Has the driver compile all shaders: some do so at the first dispatch only.
    ///
    /// # Errors
    /// The device fails.
    pub fn compile(&mut self) -> Result<()> {
        self.launches.iter_mut().for_each(|(_, groups)| *groups = [1, 1, 1]);
        self.round().map(|_| ())
    }

    /// Writes all that the guest writes, runs a round, and reads what it reads. Seconds.
    ///
    /// # Errors
    /// The device fails.
    pub fn end_to_end(&mut self, recording: &Recording) -> Result<f64> {
        let start = Instant::now();
        for (shared, buffer) in self.buffers.iter().zip(&recording.buffers) {
            if buffer.spec.access != Access::Write {
                shared.write(0, &buffer.before)?;
            }
        }
        self.round()?;
        for (shared, buffer) in self.buffers.iter().zip(&recording.buffers) {
            if buffer.output {
                shared.read()?;
            }
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

/// A build of the native kernels.
pub enum Twins {
    /// The one that is linked: for all processors of the family.
    Baseline,
    /// A library for better ones.
    Loaded(Library),
}

/// A loaded library, which is never unloaded: its threads live as long as the process.
pub struct Library {
    run: unsafe extern "C" fn(*const u8, usize, *const twins::RawBuffer, usize) -> bool,
}

impl Library {
    /// Loads a library that `scripts/build-native` made.
    ///
    /// # Errors
    /// A sentence that says why it can't be used.
    pub fn load(path: &Path) -> Result<Library> {
        let name = path.file_name().unwrap_or_default().display();
        ensure!(path.exists(), "`target/native/{name}` is not there: scripts/build-native makes it.");
        // SAFETY: the library is this repository's own crate, which does nothing when it is loaded.
        let library = unsafe { libloading::Library::new(path) }?;
        let library = Box::leak(Box::new(library));
        // SAFETY: these are the types of the functions of that name.
        let can_run = unsafe { library.get::<extern "C" fn() -> bool>(b"wavelift_twins_can_run") }?;
        if !can_run() {
            bail!("`{}` was built for another processor.", path.display());
        }
        // SAFETY: as above.
        let run = unsafe { library.get(b"wavelift_twins_run") }?;
        Ok(Library { run: *run })
    }
}

/// Native code on memory of its own.
pub struct Native<'a> {
    twins: &'a Twins,
    kernel: &'static str,
    buffers: Vec<Vec<u8>>,
}

impl Native<'_> {
    /// A kernel's twin.
    pub fn new<'a>(twins: &'a Twins, kernel: &Kernel, recording: &Recording) -> Native<'a> {
        let buffers = recording.buffers.iter().map(|buffer| buffer.before.clone()).collect();
        Native { twins, kernel: kernel.name, buffers }
    }
}

impl Engine for Native<'_> {
    fn restore(&mut self, recording: &Recording) -> Result<()> {
        self.buffers.iter_mut().zip(&recording.buffers).for_each(|(bytes, of)| bytes.copy_from_slice(&of.before));
        Ok(())
    }

    fn round(&mut self) -> Result<f64> {
        let start = Instant::now();
        let known = match self.twins {
            Twins::Baseline => {
                let mut slices: Vec<&mut [u8]> = self.buffers.iter_mut().map(Vec::as_mut_slice).collect();
                twins::run(self.kernel, &mut slices)
            }
            Twins::Loaded(library) => {
                let raw = |bytes: &mut Vec<u8>| twins::RawBuffer { at: bytes.as_mut_ptr(), size: bytes.len() };
                let raw: Vec<_> = self.buffers.iter_mut().map(raw).collect();
                // SAFETY: the name is a string, and the buffers are this engine's own.
                unsafe { (library.run)(self.kernel.as_ptr(), self.kernel.len(), raw.as_ptr(), raw.len()) }
            }
        };
        ensure!(known, "there is no native `{}`", self.kernel);
        Ok(start.elapsed().as_secs_f64())
    }

    fn read(&mut self, index: usize) -> Result<Vec<u8>> {
        Ok(self.buffers[index].clone())
    }
}
