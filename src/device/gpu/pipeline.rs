//! Lifted kernels and their pipelines, cached for the life of the device.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wavelift_translator as translator;
use wavelift_translator::{
    Answer, Assumption, Binding, Interface, Profile, Seen, Shader, Shape, Share, Source, Speculation, TRAP_BINDING,
    TrapSite,
};

use crate::device::gpu::bindings;
use crate::device::gpu::connection::Connection;
use crate::device::gpu::dump::dump;
use crate::device::gpu::group_size::{self, Choice, Facts, GroupSizes};
use crate::device::gpu::kept::{Kept, KeptAnswer, Lift, Question};
use crate::device::gpu::known_data::{ChangedWords, KnownData};
use crate::device::gpu::layout::Limits;
use crate::device::gpu::pace::Pace;
use crate::device::gpu::shader_module;
use crate::device::gpu::transfer::GpuBuffer;
use crate::device::{DeviceError, GuestModule, LaunchError};

/// A shader with all that is needed to launch it.
pub struct Kernel {
    /// Unique in the process.
    pub(crate) id: u64,
    pub(crate) shader: Shader,
    pub(crate) pace: Arc<Pace>,
    /// How large its groups are.
    pub(crate) groups: Arc<GroupSizes>,
    /// The interface's.
    pub(crate) sites: Arc<[TrapSite]>,
    /// What it takes for granted of memory.
    pub(crate) known_data: KnownData,
    /// Where its pipelines are kept.
    kept: Option<Arc<Kept>>,
    pipelines: Mutex<Pipelines>,
}

/// A kernel's pipelines on one connection.
#[derive(Default)]
struct Pipelines {
    /// The connection's.
    generation: u64,
    /// With the sizes of their groups.
    by_size: Vec<(u32, Arc<Pipeline>)>,
}

impl Pipelines {
    fn get(&self, connection: &Connection, size: u32) -> Option<Arc<Pipeline>> {
        let is_it = |(known, _): &&(u32, _)| *known == size && self.generation == connection.generation;
        self.by_size.iter().find(is_it).map(|(_, pipeline)| pipeline.clone())
    }
}

/// A shader as the driver holds it.
pub(crate) struct Pipeline {
    pub compute: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    /// The words of [`Interface::data`], where there are any.
    pub data: Option<GpuBuffer>,
}

impl Kernel {
    pub(crate) fn new(shader: Shader, known_data: KnownData, kept: Option<Arc<Kept>>) -> Result<Kernel, LaunchError> {
        let shader = bindings::renumber(shader).map_err(LaunchError::Internal)?;
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let sites = shader.interface.trap_sites.as_slice().into();
        let (pace, groups, pipelines) = Default::default();
        Ok(Kernel { id, shader, known_data, pace, groups, sites, kept, pipelines })
    }

    /// The same, in groups of the size that its shader declares and no other.
    pub(crate) fn with_fixed_groups(self) -> Kernel {
        Kernel { groups: Arc::new(GroupSizes::fixed(self.interface().workgroup_size)), ..self }
    }

    /// What the host binds and sets.
    pub fn interface(&self) -> &Interface {
        &self.shader.interface
    }

    /// Sets how many invocations the next submission holds, as a measurement of its speed does.
    #[doc(hidden)]
    pub fn set_pace(&self, invocations: u64) {
        self.pace.set(invocations);
    }

    /// What a launch of so many invocations of the shader takes for the size of its groups.
    pub(crate) fn group_size(&self, connection: &Connection, facts: &Facts, invocations: u64) -> Choice {
        let built = |size: u32| self.pipelines.lock().get(connection, size).is_some();
        let kept = |magnitude| self.kept.as_ref()?.group_size(&self.shader.words, magnitude);
        self.groups.choose(facts, invocations, built, kept)
    }

    /// Takes note of the time of a launch, alone on the device, of so many invocations of the shader.
    pub(crate) fn ran(&self, invocations: u64, choice: Choice, took: Duration) {
        if let (Some((magnitude, size)), Some(kept)) = (self.groups.ran(invocations, choice, took), &self.kept) {
            kept.keep_group_size(&self.shader.words, magnitude, size);
        }
    }

    /// The pipeline on this connection with groups of that size, and how long it took to make now (zero if it was there).
    pub(crate) fn pipeline(
        &self,
        connection: &Connection,
        profile: Profile,
        size: u32,
    ) -> Result<(Arc<Pipeline>, Duration), LaunchError> {
        let mut pipelines = self.pipelines.lock();
        if let Some(pipeline) = pipelines.get(connection, size) {
            return Ok((pipeline, Duration::ZERO));
        }
        let start = Instant::now();
        if pipelines.generation != connection.generation {
            *pipelines = Pipelines { generation: connection.generation, by_size: Vec::new() };
        }
        check_limits(connection, self.interface(), size)?;
        // Bind groups are good for pipelines of all sizes.
        let bound = match pipelines.by_size.first() {
            Some((_, other)) => Bound { layout: other.layout.clone(), data: other.data.clone() },
            None => Bound::new(connection, self.interface())?,
        };
        let words = group_size::with_size(&self.shader.words, size).map_err(LaunchError::Internal)?;
        let built =
            || Ok(build(connection, (&words, size), &self.shader.interface, (profile, bound), self.kept.as_deref()));
        let pipeline = Arc::new(match profile {
            Profile::Vulkan => connection.guarded(0, built)?,
            Profile::Portable => shader_module::on_large_stack(connection, built)?,
        });
        pipelines.by_size.push((size, pipeline.clone()));
        Ok((pipeline, start.elapsed()))
    }
}

/// Refuses a shader that needs more than the device gives. Lifted ones have a layout in which they need no more, but for
/// the size of a group.
fn check_limits(connection: &Connection, interface: &Interface, size: u32) -> Result<(), LaunchError> {
    let limits = connection.device.limits();
    let most = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
    if size == 0 || size > most {
        return Err(LaunchError::Unsupported(format!(
            "The kernel runs in groups of {size} invocations; this device's groups hold 1 to {most}."
        )));
    }
    let Limits { bindings: most, immediates_size, .. } = connection.limits;
    if interface.immediates_size > immediates_size {
        return Err(LaunchError::Unsupported(format!(
            "The kernel's arguments take {} bytes; this device passes at most {}. Use fewer buffers in one launch.",
            interface.immediates_size, immediates_size
        )));
    }
    let bindings = interface.bindings.len() + usize::from(!interface.trap_sites.is_empty());
    if bindings > most as usize {
        return Err(LaunchError::Unsupported(format!(
            "The kernel binds {bindings} buffers; this device binds at most {most} in one launch."
        )));
    }
    Ok(())
}

/// The buffer of data segments, the same for all launches.
fn data_buffer(connection: &Connection, interface: &Interface) -> Result<Option<GpuBuffer>, DeviceError> {
    if interface.data.is_empty() {
        return Ok(None);
    }
    let bytes = bytemuck::cast_slice(&interface.data);
    let buffer = GpuBuffer::with_usage(connection, bytes.len() as u64, wgpu::BufferUsages::UNIFORM)?;
    buffer.write(connection, 0, bytes)?;
    Ok(Some(buffer))
}

/// What pipelines of one kernel have in common.
struct Bound {
    layout: wgpu::BindGroupLayout,
    data: Option<GpuBuffer>,
}

impl Bound {
    fn new(connection: &Connection, interface: &Interface) -> Result<Bound, DeviceError> {
        let mut entries = Vec::new();
        if !interface.trap_sites.is_empty() {
            entries.push(layout_entry(TRAP_BINDING, wgpu::BufferBindingType::Storage { read_only: false }));
        }
        entries.extend(interface.bindings.iter().map(|b| layout_entry(b.binding, binding_type(b))));
        let descriptor = wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries };
        let layout = connection.guarded(0, || Ok(connection.device.create_bind_group_layout(&descriptor)))?;
        Ok(Bound { layout, data: data_buffer(connection, interface)? })
    }
}

/// A pipeline of these words, whose groups have that size.
fn build(
    connection: &Connection,
    (words, size): (&[u32], u32),
    interface: &Interface,
    (profile, bound): (Profile, Bound),
    kept: Option<&Kept>,
) -> Pipeline {
    let kept = kept.and_then(|kept| kept.pipeline(connection, profile, (words, size), interface));
    let module = match profile {
        // SAFETY: the words come from the translator, which emits valid SPIR-V with a bounds check on every access, whatever
        // the size of groups; or from a caller who vouched for them (`GpuDevice::prepare`).
        Profile::Vulkan => unsafe { shader_module::passthrough(connection, words, size) },
        // SAFETY: as above; naga validates the rest.
        Profile::Portable => unsafe { shader_module::portable(connection, words) },
    };
    let Bound { layout, data } = bound;
    let device = &connection.device;
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(&layout)],
        immediate_size: interface.immediates_size,
    });
    let compute = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: kept.as_ref().map(|kept| &kept.driver),
    });
    if let Some(kept) = kept {
        kept.keep();
    }
    Pipeline { compute, layout, data }
}

fn binding_type(binding: &Binding) -> wgpu::BufferBindingType {
    if binding.uniform {
        wgpu::BufferBindingType::Uniform
    } else {
        wgpu::BufferBindingType::Storage { read_only: !binding.writable }
    }
}

fn layout_entry(binding: u32, ty: wgpu::BufferBindingType) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    }
}

/// What a lifted kernel depends on, besides the device.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    module: u64,
    function: u32,
    shape: Shape,
    checks_proved: translator::Proved,
    coarsen: bool,
    flatten: bool,
    share: Share,
    speculation: Speculation,
    /// Whether the translator may ask for pointers instead.
    may_ask: bool,
}

impl Key {
    fn new(module: &GuestModule, function: u32, shape: Shape, options: &translator::Options, may_ask: bool) -> Key {
        let translator::Options { checks_proved, coarsen, flatten, share, speculation, .. } = *options;
        Key { module: module.id, function, shape, checks_proved, coarsen, flatten, share, speculation, may_ask }
    }
}

/// What lifting gives.
#[derive(Clone)]
pub(crate) enum Lifting {
    /// A kernel.
    Kernel(Arc<Kernel>),
    /// Pointers that are to be read first.
    Asks(Arc<[Source]>),
    /// It can't be lifted before the words at these addresses are known.
    AsksWords(Arc<[u32]>),
}

/// A kernel that is lifted once, whoever asks first; a refusal is kept as well.
#[derive(Clone)]
struct Entry {
    module: Weak<GuestModule>,
    lifting: Arc<OnceLock<Result<Lifting, LaunchError>>>,
}

/// What is known of a kernel that forms may assume something of.
struct Experience {
    module: Weak<GuestModule>,
    /// What no launch has broken.
    left: Speculation,
    /// Its arrays of variable length did not fit into the larger stack.
    too_deep: bool,
    /// What its accesses were seen to do.
    seen: Option<Arc<Seen>>,
    /// How often more was seen of it.
    again: u32,
}

/// How often more may be seen of a kernel, each time after a form of it was undone.
const MOST_AGAIN: u32 = 3;

/// All kernels that were lifted for one device.
#[derive(Default)]
pub(crate) struct KernelCache {
    /// Where they are kept for later processes.
    kept: Option<Arc<Kept>>,
    entries: Mutex<HashMap<Key, Entry>>,
    /// What is known of kernels that something was assumed of, by module and function.
    experience: Mutex<HashMap<(u64, u32), Experience>>,
    pub changed: ChangedWords,
}

impl KernelCache {
    /// An empty one that looks for kernels in a disk cache, too, and keeps them there.
    pub fn new(kept: Option<Kept>) -> KernelCache {
        KernelCache { kept: kept.map(Arc::new), ..KernelCache::default() }
    }

    /// See [`Kept::keep_empty_pipelines`].
    pub fn keep_empty_pipelines(&self) {
        if let Some(kept) = &self.kept {
            kept.keep_empty_pipelines();
        }
    }

    /// The kernel, and what it took to get it now (nothing if it was there).
    pub fn get(
        &self,
        module: &Arc<GuestModule>,
        function: u32,
        shape: Shape,
        options: &translator::Options,
    ) -> Result<(Arc<Kernel>, Lift), LaunchError> {
        let key = Key::new(module, function, shape, options, false);
        match self.lifting(module, key, options)? {
            (Lifting::Kernel(kernel), lift) => Ok((kernel, lift)),
            (Lifting::Asks(_) | Lifting::AsksWords(_), _) => {
                Err(LaunchError::Internal("Lifting asked for pointers or words that it has.".into()))
            }
        }
    }

    /// The same for a shape without pointers, if the kernel takes none that can be read before a launch; else those, or
    /// the words that must be read first.
    pub fn get_or_ask(
        &self,
        module: &Arc<GuestModule>,
        function: u32,
        shape: Shape,
        options: &translator::Options,
    ) -> Result<(Lifting, Lift), LaunchError> {
        let key = Key::new(module, function, shape, options, true);
        self.lifting(module, key, options)
    }

    /// What may be assumed of a kernel: what no launch has broken.
    pub fn speculation(&self, module: &GuestModule, function: u32) -> Speculation {
        self.experience.lock().get(&(module.id, function)).map_or(Speculation::ALL, |known| known.left)
    }

    /// Notes that something does not hold of a kernel.
    pub fn note_broken(&self, module: &Arc<GuestModule>, function: u32, assumption: Assumption) {
        self.note(module, function, |known| {
            known.too_deep |= assumption == Assumption::Frames && !known.left.frames;
            known.left = known.left.without(assumption);
        });
    }

    /// Whether a kernel's arrays of variable length did not fit into the larger stack either.
    pub fn is_too_deep(&self, module: &GuestModule, function: u32) -> bool {
        self.experience.lock().get(&(module.id, function)).is_some_and(|known| known.too_deep)
    }

    /// What accesses of a kernel were seen to do, in this process or before.
    pub fn seen(&self, module: &Arc<GuestModule>, function: u32) -> Option<Arc<Seen>> {
        let known = || self.experience.lock().get(&(module.id, function))?.seen.clone();
        known().or_else(|| {
            let seen = Arc::new(self.kept.as_ref()?.seen(&module.wasm, function)?);
            self.note(module, function, |known| known.seen = Some(seen.clone()));
            Some(seen)
        })
    }

    /// What was seen of a kernel of which a form was undone, if more may be seen.
    pub fn see_again(&self, module: &Arc<GuestModule>, function: u32) -> Option<Arc<Seen>> {
        self.note(module, function, |known| {
            known.again += 1;
            known.seen.clone().filter(|_| known.again <= MOST_AGAIN)
        })
    }

    /// Notes what accesses of a kernel were seen to do.
    pub fn note_seen(&self, module: &Arc<GuestModule>, function: u32, seen: Seen) -> Arc<Seen> {
        if let Some(kept) = &self.kept {
            kept.keep_seen(&module.wasm, function, &seen);
        }
        let seen = Arc::new(seen);
        self.note(module, function, |known| known.seen = Some(seen.clone()));
        seen
    }

    fn note<T>(&self, module: &Arc<GuestModule>, function: u32, note: impl FnOnce(&mut Experience) -> T) -> T {
        let mut experience = self.experience.lock();
        experience.retain(|_, known| known.module.strong_count() > 0);
        let fresh = || Experience {
            module: Arc::downgrade(module),
            left: Speculation::ALL,
            too_deep: false,
            seen: None,
            again: 0,
        };
        note(experience.entry((module.id, function)).or_insert_with(fresh))
    }

    fn lifting(
        &self,
        module: &Arc<GuestModule>,
        key: Key,
        options: &translator::Options,
    ) -> Result<(Lifting, Lift), LaunchError> {
        let (function, shape, may_ask) = (key.function, key.shape.clone(), key.may_ask);
        let entry = {
            let mut entries = self.entries.lock();
            // Lifting takes longer than looking at all of them. What a guest had on a device goes soon after the guest.
            if !entries.contains_key(&key) {
                entries.retain(|_, entry| entry.module.strong_count() > 0);
            }
            let fresh = || Entry { module: Arc::downgrade(module), lifting: Arc::default() };
            entries.entry(key).or_insert_with(fresh).clone()
        };
        let mut lift = Lift::default();
        // The map is free meanwhile: only launches of this very kernel wait for it.
        let lifting = entry.lifting.get_or_init(|| {
            let start = Instant::now();
            let question = Question { module: &module.wasm, function, shape: &shape, options, may_ask };
            let kept = self.kept.as_ref().map(|kept| kept.answer(question));
            let found = kept.as_ref().and_then(|kept| self.found(kept, &question));
            (lift.found, lift.lifted) = (found.is_some(), found.is_none());
            let lifting = found.unwrap_or_else(|| self.lifted(kept.as_ref(), &question));
            lift.took = start.elapsed();
            lifting
        });
        lifting.clone().map(|lifting| (lifting, lift))
    }

    /// What was kept in a disk cache.
    fn found(&self, kept: &KeptAnswer<'_>, question: &Question<'_>) -> Option<Result<Lifting, LaunchError>> {
        match kept.read()? {
            Err(refusal) => Some(Err(LaunchError::Unsupported(refusal))),
            // What can't be prepared is lifted again.
            Ok(answer) => self.prepared(answer, question).ok().map(Ok),
        }
    }

    fn lifted(&self, kept: Option<&KeptAnswer<'_>>, question: &Question<'_>) -> Result<Lifting, LaunchError> {
        let lifted = question.lift().map_err(|error| refusal(&error, question.module));
        match (kept, &lifted) {
            (Some(kept), Ok(answer)) => kept.keep(&Ok(answer)),
            (Some(kept), Err(LaunchError::Unsupported(refusal))) => kept.keep(&Err(refusal.clone())),
            // A defect may be repaired.
            _ => {}
        }
        self.prepared(lifted?, question)
    }

    fn prepared(&self, answer: Answer, question: &Question<'_>) -> Result<Lifting, LaunchError> {
        match answer {
            Answer::Shader(shader) => {
                dump(&shader.words, question.options.profile);
                let known_data = KnownData::new(&shader, question.module);
                Ok(Lifting::Kernel(Arc::new(Kernel::new(*shader, known_data, self.kept.clone())?)))
            }
            Answer::Pointers(sources) => Ok(Lifting::Asks(sources.into())),
            Answer::Words(addresses) => Ok(Lifting::AsksWords(addresses.into())),
        }
    }
}

/// What a translator's error means for a launch.
fn refusal(error: &translator::Error, module: &translator::Module) -> LaunchError {
    match error {
        translator::Error::Internal(_) => LaunchError::Internal(error.to_string()),
        translator::Error::TooMuchWork { .. } => {
            LaunchError::Unsupported(format!("{error} Raise the limit for it to run on a GPU."))
        }
        translator::Error::Unsupported { .. }
        | translator::Error::NotAKernel(_)
        | translator::Error::Invalid { .. }
        | translator::Error::Feature { .. } => LaunchError::Unsupported(error.sentence(module)),
    }
}

/// The refusal of a buffer of which a kernel binds at most `most` bytes.
pub(crate) fn binding_refusal(size: u64, most: u64) -> LaunchError {
    LaunchError::Unsupported(format!(
        "A kernel's buffer has {size} bytes; this device binds at most {most} of one buffer. Use smaller buffers."
    ))
}

/// The error for a buffer that the launch names and this context does not hold.
pub(crate) fn unknown_buffer(connection: &Connection, id: u64) -> DeviceError {
    connection.failed(format!("It holds no buffer with the number {id}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Location;

    #[test]
    fn only_defects_of_the_translator_are_internal() {
        let wasm = translator::Module::parse(wat::parse_str("(module)").unwrap()).unwrap();
        let refusal = |error| refusal(&error, &wasm);
        let unsupported = translator::Error::Unsupported {
            what: "`memory.grow`".into(),
            function_name: "f".into(),
            at: Some(Location { function: 1, offset: 9 }),
            too_large: false,
        };
        assert!(matches!(refusal(unsupported), LaunchError::Unsupported(text) if text.contains("memory.grow")));
        assert!(matches!(refusal(translator::Error::NotAKernel("No.".into())), LaunchError::Unsupported(_)));
        let invalid = translator::Error::Invalid { offset: 3, message: "bad".into() };
        assert!(matches!(refusal(invalid), LaunchError::Unsupported(_)));
        assert!(matches!(refusal(translator::Error::Internal("x".into())), LaunchError::Internal(_)));
    }

    #[test]
    fn a_kernel_is_lifted_once_and_refusals_are_kept() {
        let bytes = wat::parse_str("(module (func (param i32 i32 i32) (param i32)))").unwrap();
        let wasm = translator::Module::parse(bytes.as_slice()).unwrap();
        let module = Arc::new(GuestModule { id: 1, wasm });
        let cache = KernelCache::default();
        let options = translator::Options::default();
        let first = cache.get(&module, 0, Shape::default(), &options).err().unwrap();
        let again = cache.get(&module, 0, Shape::default(), &options).err().unwrap();
        assert!(matches!(first, LaunchError::Unsupported(_)), "{first}");
        assert_eq!(first.to_string(), again.to_string());
        assert_eq!(cache.entries.lock().len(), 1);
    }
}
