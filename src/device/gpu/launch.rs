//! Launches: a kernel's invocations as dispatches, their time and their traps.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wavelift_translator::layout::{DATA, PARAMETERS};
use wavelift_translator::{Binding, BufferParam, Environment, Interface, Shape, TRAP_BINDING, immediate};

use crate::device::gpu::Transfers;
use crate::device::gpu::connection::Connection;
use crate::device::gpu::context::{BindGroupKey, GpuContext};
use crate::device::gpu::layout::{self, Pooled};
use crate::device::gpu::linear::CallerState;
use crate::device::gpu::pipeline::{Kernel, Pipeline, binding_refusal};
use crate::device::gpu::traps;
use crate::device::{BufferId, BufferSpec, Caller, DeviceError, KernelTrap, Launch, LaunchError, LaunchTimes};
use crate::report;

/// Two timestamps of 8 bytes.
const TIMES_SIZE: u64 = 16;
/// Queries are resolved to multiples of this.
const RESOLVE_SIZE: u64 = wgpu::QUERY_RESOLVE_BUFFER_ALIGNMENT;
/// Fewest words of a trap record.
const MIN_TRAP_WORDS: u32 = 64;
/// Invocations of one dispatch stay below this, so that ids of the last group's idle invocations don't wrap around.
const MAX_DISPATCH: u64 = 1 << 31;

/// Small buffers that a context needs at every launch.
pub(crate) struct Scratch {
    /// The connection's generation.
    pub generation: u64,
    /// Start and end of a submission; `None` where the device has no timestamps.
    timestamps: Option<(wgpu::QuerySet, wgpu::Buffer)>,
    /// The timestamps, then the trap record, for the host to read.
    readback: wgpu::Buffer,
    traps: wgpu::Buffer,
    /// The host reads the trap record where it is.
    traps_mapped: bool,
    trap_words: u32,
}

impl Scratch {
    fn new(connection: &Connection, trap_words: u32) -> Result<Scratch, DeviceError> {
        use wgpu::BufferUsages as Usage;
        let trap_words = trap_words.max(MIN_TRAP_WORDS).next_power_of_two();
        let trap_bytes = u64::from(trap_words) * 4;
        let device = &connection.device;
        let buffer = |label, size, usage| {
            let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
            device.create_buffer(&descriptor)
        };
        connection.guarded(trap_bytes, || {
            let timestamps = connection.tick.map(|_| {
                let ty = wgpu::QueryType::Timestamp;
                let set = device.create_query_set(&wgpu::QuerySetDescriptor { label: None, ty, count: 2 });
                (set, buffer("timestamps", RESOLVE_SIZE, Usage::QUERY_RESOLVE | Usage::COPY_SRC))
            });
            let readback = buffer("readback", TIMES_SIZE + trap_bytes, Usage::MAP_READ | Usage::COPY_DST);
            let traps_mapped = connection.transfers == Transfers::Mapped;
            let map = if traps_mapped { Usage::MAP_READ } else { Usage::empty() };
            let traps = buffer("traps", trap_bytes, Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST | map);
            connection.queue.write_buffer(&traps, 0, &vec![0xff; trap_bytes as usize]);
            let generation = connection.generation;
            Ok(Scratch { generation, timestamps, readback, traps, traps_mapped, trap_words })
        })
    }

    fn reset_traps(&self, connection: &Connection, words: usize) -> Result<(), DeviceError> {
        connection.guarded(0, || {
            connection.queue.write_buffer(&self.traps, 0, &vec![0xff; words * 4]);
            Ok(())
        })
    }
}

/// What one submission gave.
struct Outcome {
    run: Duration,
    trap: Option<KernelTrap>,
}

/// What a kernel is run with.
struct Arguments<'a> {
    iterations: u32,
    block_size: u32,
    /// In list order.
    buffers: &'a [BufferSpec],
    /// The words of [`Interface::inputs`].
    inputs: &'a [u32],
}

/// A launch made ready: what stays the same over its submissions.
struct Ready<'a> {
    connection: &'a Connection,
    scratch: &'a Scratch,
    pipeline: &'a Pipeline,
    bind_group: &'a wgpu::BindGroup,
    interface: &'a Interface,
    /// The immediates; the first two words are each dispatch's own.
    words: Vec<u32>,
    /// Most invocations of one dispatch, a multiple of the group size.
    dispatch: u64,
    /// Whether the device's clock takes the time.
    timed: bool,
}

impl GpuContext {
    /// Lifts the kernel, if it was not lifted before, and runs it.
    pub(crate) fn launch_lifted(
        &mut self,
        launch: &Launch,
        caller: &mut dyn Caller,
    ) -> Result<LaunchTimes, LaunchError> {
        let (wasm, kernel) = (&launch.module.wasm, launch.function);
        let environment = Environment::with_tables(wasm, kernel, |table| caller.table(table));
        let environment = environment.with_dropped(wasm, kernel, |segment| caller.has_dropped(segment));
        let mut state = CallerState::new(caller);
        let mut bailed_out: Option<KernelTrap> = None;
        loop {
            let outcome = self.launch_form(launch, &environment, &mut state);
            match (outcome, bailed_out) {
                (Err(LaunchError::Trap(trap)), _) if let Some(assumption) = trap.kind.bail_out() => {
                    self.shared.kernels.note_broken(&launch.module, launch.function, assumption);
                    bailed_out = Some(trap);
                }
                (Ok(times), bailed_out) => return Ok(LaunchTimes { bailed_out, ..times }),
                (Err(LaunchError::Unsupported(reason)), Some(trap)) => {
                    let bailed_out = report::bail_out(&launch.module.wasm, &trap);
                    return Err(LaunchError::Unsupported(format!("{bailed_out} {reason}")));
                }
                (Err(error), _) => return Err(error),
            }
        }
    }

    /// Runs the form of the kernel that is the next to be tried. One that bails out leaves nothing changed.
    fn launch_form(
        &mut self,
        launch: &Launch,
        environment: &Environment,
        state: &mut CallerState<'_>,
    ) -> Result<LaunchTimes, LaunchError> {
        let connection = self.connection()?;
        let lifted = self.lifted(launch, environment, state, &connection)?;
        let started = Instant::now();
        if let Some(window) = lifted.window {
            state.upload(self, &connection, window)?;
        }
        let moving = started.elapsed();
        let arguments = Arguments {
            iterations: launch.iterations,
            block_size: launch.block_size,
            buffers: &launch.buffers,
            inputs: &lifted.inputs,
        };
        let mut times = self.run_with(&lifted.kernel, &arguments)?;
        let started = Instant::now();
        if let Some(window) = lifted.window.filter(|_| lifted.stores) {
            state.download(self, &connection, window)?;
        }
        times.run += moving + started.elapsed();
        Ok(LaunchTimes { lift: lifted.lift, assumed: lifted.kernel.assumed(), ..times })
    }

    /// Runs a kernel that reads no state of a caller on buffers of this context, in list order, and waits for its end.
    #[doc(hidden)]
    pub fn run(
        &mut self,
        kernel: &Kernel,
        iterations: u32,
        block_size: u32,
        buffers: &[BufferSpec],
    ) -> Result<LaunchTimes, LaunchError> {
        self.run_with(kernel, &Arguments { iterations, block_size, buffers, inputs: &[] })
    }

    fn run_with(&mut self, kernel: &Kernel, arguments: &Arguments<'_>) -> Result<LaunchTimes, LaunchError> {
        let connection = self.connection()?;
        let (_, slots) = shape_of(arguments.buffers);
        let interface = kernel.interface();
        if interface.inputs.len() != arguments.inputs.len() {
            return Err(LaunchError::Internal("A kernel was not given the state that it reads.".into()));
        }
        let bound = self.check_bindings(&connection, interface, &slots)?;
        self.host_copies.drop_written(|id| {
            let slot = (0..).zip(&slots).find(|(_, spec)| spec.id == id).map(|(slot, _)| interface.layout.holder(slot));
            interface.bindings.iter().any(|binding| binding.writable && Some(binding.slot) == slot)
        });
        let (pipeline, mut compile) = kernel.pipeline(&connection, self.shared.options.profile)?;
        self.prepare_scratch(&connection, interface)?;
        let started = Instant::now();
        let places = self.pooled(&connection, &interface.layout, &slots)?;
        self.fill_pools(&connection, &places, &slots)?;
        let mut words = immediates(interface, arguments, &slots, &places);
        if interface.parameters_size > 0 {
            let parameters = self.own_buffer(&connection, PARAMETERS, interface.parameters_size.into())?;
            parameters.write(&connection, 0, bytemuck::cast_slice(&words))?;
            words.truncate((interface.immediates_size / 4) as usize);
        }
        let mut moving = started.elapsed();
        let copies = self.copies(&connection, interface, &slots)?;
        let bind_group = self.bind_group(&connection, kernel, &pipeline, bound, &slots)?;
        let Some(scratch) = &self.scratch else {
            return Err(LaunchError::Internal("A launch has no scratch buffers.".into()));
        };
        let ready = Ready {
            connection: &connection,
            scratch,
            pipeline: &pipeline,
            bind_group: &bind_group,
            interface,
            words,
            dispatch: dispatch_limit(&connection, interface.workgroup_size),
            timed: self.timed || !connection.software,
        };
        if !compile.is_zero() {
            compile += ready.warm_up()?;
        }
        let run = match ready.run_all(kernel, u64::from(arguments.iterations)) {
            Err(LaunchError::Trap(trap)) if trap.kind.bail_out().is_some() => {
                if !self.shared.forgets_restoring.load(Ordering::Relaxed) {
                    copies.restore(&connection)?;
                }
                return Err(LaunchError::Trap(trap));
            }
            outcome => outcome?,
        };
        let started = Instant::now();
        self.empty_pools(&connection, &places, &slots)?;
        moving += started.elapsed();
        Ok(LaunchTimes { compile, run: run + moving, ..LaunchTimes::default() })
    }

    /// Runs a kernel `count` times and gives the run time of each: by the device's clock where it has one, else from
    /// submission to completion. For measurements.
    ///
    /// # Errors
    /// As a launch's; what the launches before wrote stays.
    #[doc(hidden)]
    pub fn time_runs(
        &mut self,
        kernel: &Kernel,
        iterations: u32,
        block_size: u32,
        buffers: &[BufferSpec],
        count: usize,
    ) -> Result<Vec<Duration>, LaunchError> {
        self.timed = true;
        let times = (0..count).map(|_| Ok(self.run(kernel, iterations, block_size, buffers)?.run)).collect();
        self.timed = false;
        times
    }

    /// The buffers of the interface's bindings, in their order.
    fn check_bindings(
        &self,
        connection: &Connection,
        interface: &Interface,
        slots: &[BufferSpec],
    ) -> Result<Vec<Option<BufferId>>, LaunchError> {
        let mut bound = Vec::with_capacity(interface.bindings.len());
        for binding in &interface.bindings {
            let spec = slots.get(binding.slot as usize);
            if spec.is_some() {
                let size = self.bound_buffer(connection, binding.slot, slots)?.wgpu.size();
                let most = layout::reach(&interface.layout, binding.slot, &connection.limits);
                if size > most {
                    return Err(binding_refusal(size, most));
                }
            }
            bound.push(spec.map(|spec| spec.id));
        }
        Ok(bound)
    }

    fn prepare_scratch(&mut self, connection: &Connection, interface: &Interface) -> Result<(), LaunchError> {
        let words = u32::try_from(interface.trap_sites.len()).unwrap_or(u32::MAX);
        if u64::from(words) * 4 > connection.device.limits().max_storage_buffer_binding_size {
            return Err(LaunchError::Unsupported(format!("The kernel has {words} trap sites, too many to record.")));
        }
        if self.scratch.as_ref().is_none_or(|scratch| scratch.trap_words < words) {
            // Bind groups hold the old trap record.
            self.bind_groups.clear();
            self.scratch = Some(Scratch::new(connection, words)?);
        }
        Ok(())
    }

    fn bind_group(
        &mut self,
        connection: &Connection,
        kernel: &Kernel,
        pipeline: &Pipeline,
        buffers: Vec<Option<BufferId>>,
        slots: &[BufferSpec],
    ) -> Result<wgpu::BindGroup, LaunchError> {
        let key = BindGroupKey { kernel: kernel.id, buffers };
        if let Some(group) = self.bind_groups.get(&key) {
            return Ok(group.clone());
        }
        let interface = kernel.interface();
        let mut entries = Vec::with_capacity(interface.bindings.len() + 1);
        if let (false, Some(scratch)) = (interface.trap_sites.is_empty(), &self.scratch) {
            let resource = scratch.traps.as_entire_binding();
            entries.push(wgpu::BindGroupEntry { binding: TRAP_BINDING, resource });
        }
        for binding in &interface.bindings {
            let buffer = match &pipeline.data {
                Some(data) if binding.slot == DATA => &data.wgpu,
                _ => &self.bound_buffer(connection, binding.slot, slots)?.wgpu,
            };
            let Binding { binding, slot, slice, .. } = *binding;
            let Some((offset, size)) =
                layout::slice_range(&interface.layout, slot, slice, buffer.size(), &connection.limits)
            else {
                return Err(LaunchError::Internal(format!("Slice {slice} of slot {slot} lies beyond its buffer.")));
            };
            let range = wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(size) };
            entries.push(wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(range) });
        }
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &pipeline.layout, entries: &entries };
        let group = connection.guarded(0, || Ok(connection.device.create_bind_group(&descriptor)))?;
        self.keep_bind_group(key, group.clone());
        Ok(group)
    }
}

impl Ready<'_> {
    /// All invocations, in as many submissions as the kernel's pace asks for.
    fn run_all(&self, kernel: &Kernel, iterations: u64) -> Result<Duration, LaunchError> {
        let group = u64::from(self.interface.workgroup_size);
        let (mut first, mut run) = (0, Duration::ZERO);
        while first < iterations {
            let budget = kernel.pace.budget().next_multiple_of(group);
            let count = budget.min(iterations - first);
            let outcome = self.submit(first, count)?;
            // Later submissions have higher iteration ids: the least one is here.
            if let Some(trap) = outcome.trap {
                self.scratch.reset_traps(self.connection, self.interface.trap_sites.len())?;
                return Err(LaunchError::Trap(trap));
            }
            kernel.pace.learn(budget, count, outcome.run);
            run += outcome.run;
            first += count;
        }
        Ok(run)
    }

    /// Makes the driver compile the kernel: some do so at the first dispatch only. No invocation runs.
    fn warm_up(&self) -> Result<Duration, DeviceError> {
        let start = Instant::now();
        self.submit(0, 0)?;
        Ok(start.elapsed())
    }

    /// Invocations `[first, first + count)` in one submission, and waits for it.
    fn submit(&self, first: u64, count: u64) -> Result<Outcome, DeviceError> {
        self.connection.guarded(0, || {
            let start = Instant::now();
            let mut encoder = self.connection.device.create_command_encoder(&Default::default());
            self.record(&mut encoder, first, count);
            self.record_readback(&mut encoder);
            let submission = self.connection.queue.submit([encoder.finish()]);
            let Some(slice) = self.readback() else {
                let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: None };
                self.connection.poll(wait)?;
                return Ok(Outcome { run: start.elapsed(), trap: None });
            };
            self.connection.map(slice, wgpu::MapMode::Read, Some(submission))?;
            let wall = start.elapsed();
            let words = slice.get_mapped_range().map(|view| bytemuck::pod_collect_to_vec::<u8, u32>(&view));
            slice.buffer().unmap();
            let words = words.map_err(|e| self.connection.failed(format!("A readback can't be mapped: {e}.")))?;
            Ok(self.outcome(&words, wall))
        })
    }

    /// What the host reads after a submission: the trap record where it is, or what was copied to the readback.
    fn readback(&self) -> Option<wgpu::BufferSlice<'_>> {
        let (scratch, traps) = (self.scratch, self.trap_bytes());
        match (self.timestamps().is_some(), traps) {
            (true, _) => Some(scratch.readback.slice(..TIMES_SIZE + traps)),
            (false, 0) => None,
            (false, _) if scratch.traps_mapped => Some(scratch.traps.slice(..traps)),
            (false, _) => Some(scratch.readback.slice(TIMES_SIZE..TIMES_SIZE + traps)),
        }
    }

    fn timestamps(&self) -> Option<&(wgpu::QuerySet, wgpu::Buffer)> {
        self.scratch.timestamps.as_ref().filter(|_| self.timed)
    }

    fn record(&self, encoder: &mut wgpu::CommandEncoder, first: u64, count: u64) {
        let timestamp_writes = self.timestamps().map(|(query_set, _)| wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
        pass.set_pipeline(&self.pipeline.compute);
        pass.set_bind_group(0, self.bind_group, &[]);
        let mut words = self.words.clone();
        for (first, count) in dispatches(first, count, self.dispatch) {
            set_word(&mut words, immediate::FIRST, first);
            set_word(&mut words, immediate::COUNT, count);
            if !words.is_empty() {
                pass.set_immediates(0, bytemuck::cast_slice(&words));
            }
            // One group at least: that of the warm-up, whose invocations all return at once.
            pass.dispatch_workgroups(count.div_ceil(self.interface.workgroup_size).max(1), 1, 1);
        }
    }

    fn record_readback(&self, encoder: &mut wgpu::CommandEncoder) {
        let scratch = self.scratch;
        if let Some((set, resolved)) = self.timestamps() {
            encoder.resolve_query_set(set, 0..2, resolved, 0);
            encoder.copy_buffer_to_buffer(resolved, 0, &scratch.readback, 0, TIMES_SIZE);
        }
        let trap_bytes = self.trap_bytes();
        if trap_bytes > 0 && !(scratch.traps_mapped && self.timestamps().is_none()) {
            encoder.copy_buffer_to_buffer(&scratch.traps, 0, &scratch.readback, TIMES_SIZE, trap_bytes);
        }
    }

    fn trap_bytes(&self) -> u64 {
        self.interface.trap_sites.len() as u64 * 4
    }

    fn outcome(&self, words: &[u32], wall: Duration) -> Outcome {
        let (times, record) = match self.timestamps() {
            Some(_) => words.split_at((TIMES_SIZE / 4) as usize),
            None => (&words[..0], words),
        };
        let run = self.connection.tick.and_then(|tick| elapsed(times, tick)).unwrap_or(wall);
        Outcome { run, trap: traps::least(record, &self.interface.trap_sites) }
    }
}

/// The time between two timestamps of two words each; `None` for a clock that did not run.
pub(crate) fn elapsed(words: &[u32], tick: f64) -> Option<Duration> {
    let [low0, high0, low1, high1] = *words else { return None };
    let start = u64::from(low0) | u64::from(high0) << 32;
    let end = u64::from(low1) | u64::from(high1) << 32;
    let ticks = end.checked_sub(start).filter(|ticks| *ticks > 0)?;
    Some(Duration::from_nanos((ticks as f64 * tick) as u64))
}

/// The launch's shape, and its distinct buffers in order of first appearance.
pub(super) fn shape_of(buffers: &[BufferSpec]) -> (Shape, Vec<BufferSpec>) {
    let mut slots: Vec<BufferSpec> = Vec::new();
    let params = buffers.iter().map(|spec| {
        let slot = slots.iter().position(|known| known.id == spec.id).unwrap_or_else(|| {
            slots.push(*spec);
            slots.len() - 1
        });
        BufferParam { slot: slot as u32, access: slots[slot].access }
    });
    let shape = Shape::of(params.collect());
    (shape, slots)
}

/// All immediates of a launch, apart from those of a single dispatch.
pub(super) fn all_immediates(launch: &Launch, slots: &[BufferSpec]) -> Vec<u32> {
    let words = immediate::SLOTS as usize + 2 * slots.len();
    fill(vec![0; words], launch.iterations, launch.block_size, slots)
}

/// The arguments as the shader declares them: those of the immediates, or those of the buffer that has the same words and
/// more.
fn immediates(interface: &Interface, arguments: &Arguments<'_>, slots: &[BufferSpec], places: &[Pooled]) -> Vec<u32> {
    let size = interface.immediates_size.max(interface.parameters_size);
    let mut words = fill(vec![0; (size / 4) as usize], arguments.iterations, arguments.block_size, slots);
    let starts = places.iter().map(|place| (place.start / 4) as u32);
    let behind = arguments.inputs.iter().copied().chain(starts);
    for (word, value) in (immediate::SLOTS + 2 * slots.len() as u32..).zip(behind) {
        set_word(&mut words, word, value);
    }
    words
}

fn fill(mut words: Vec<u32>, iterations: u32, block_size: u32, slots: &[BufferSpec]) -> Vec<u32> {
    set_word(&mut words, immediate::ITERATIONS, iterations);
    set_word(&mut words, immediate::BLOCK_SIZE, block_size);
    set_word(&mut words, immediate::ZERO, 0);
    for (slot, spec) in (0..).zip(slots) {
        set_word(&mut words, immediate::SLOTS + 2 * slot, spec.address);
        set_word(&mut words, immediate::SLOTS + 2 * slot + 1, spec.size);
    }
    words
}

/// Sets a word that the shader declares; one that it does not is left out.
fn set_word(words: &mut [u32], index: u32, value: u32) {
    if let Some(word) = words.get_mut(index as usize) {
        *word = value;
    }
}

/// First invocation and number of invocations of each dispatch of `[first, first + count)`, one at least. They fit in
/// words: a launch has fewer than 2^32 invocations.
fn dispatches(first: u64, count: u64, most: u64) -> impl Iterator<Item = (u32, u32)> {
    let pieces = count.div_ceil(most).max(1);
    (0..pieces).map(move |piece| ((first + piece * most) as u32, most.min(count - piece * most) as u32))
}

/// Most invocations of one dispatch, a multiple of the group size.
fn dispatch_limit(connection: &Connection, group: u32) -> u64 {
    let groups = u64::from(connection.device.limits().max_compute_workgroups_per_dimension);
    let group = u64::from(group);
    (groups * group).min(MAX_DISPATCH / group * group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Access;
    use wavelift_translator::layout::POOL_READ;
    use wavelift_translator::{Input, Layout};

    fn spec(id: u64, address: u32) -> BufferSpec {
        BufferSpec { id: BufferId(id), address, size: 12, access: Access::ReadWrite }
    }

    #[test]
    fn equal_buffers_share_a_slot_in_order_of_first_appearance() {
        let (shape, slots) = shape_of(&[spec(7, 256), spec(3, 512), spec(7, 256)]);
        assert_eq!(shape.buffers.iter().map(|b| b.slot).collect::<Vec<_>>(), [0, 1, 0]);
        assert_eq!(slots.iter().map(|s| s.id.0).collect::<Vec<_>>(), [7, 3]);
    }

    #[test]
    fn immediates_stand_where_the_shader_reads_them() {
        let inputs = vec![Input::MemorySize];
        let interface = Interface {
            workgroup_size: 64,
            bindings: vec![],
            immediates_size: 40,
            parameters_size: 0,
            data: [].into(),
            trap_sites: vec![],
            inputs,
            layout: Layout::default(),
        };
        let arguments = |inputs| Arguments { iterations: 100, block_size: 8, buffers: &[], inputs };
        let slots = [spec(1, 256), spec(2, 512)];
        let words = immediates(&interface, &arguments(&[65536]), &slots, &[]);
        assert_eq!(words, [0, 0, 100, 8, 0, 256, 12, 512, 12, 65536]);
        let places = [Pooled { slot: 1, pool: POOL_READ, start: 64, size: 16 }];
        let more = Interface { immediates_size: 8, parameters_size: 44, ..interface.clone() };
        let words = immediates(&more, &arguments(&[65536]), &slots, &places);
        assert_eq!(words, [0, 0, 100, 8, 0, 256, 12, 512, 12, 65536, 16]);
        let short = Interface { immediates_size: 20, ..interface };
        assert_eq!(immediates(&short, &arguments(&[]), &[spec(1, 256)], &[]), [0, 0, 100, 8, 0]);
    }

    #[test]
    fn dispatches_reach_the_highest_iteration_and_no_further() {
        let all = u64::from(u32::MAX);
        let split = |first, count, most| dispatches(first, count, most).collect::<Vec<_>>();
        assert_eq!(split(0, 0, 64), [(0, 0)]);
        assert_eq!(split(128, 64, 64), [(128, 64)]);
        assert_eq!(split(all - 65, 65, 64), [(u32::MAX - 65, 64), (u32::MAX - 1, 1)]);
        assert_eq!(split(0, all, MAX_DISPATCH), [(0, 1 << 31), (1 << 31, (1 << 31) - 1)]);
        for most in [4_194_240, 65_535, MAX_DISPATCH] {
            let mut next = 0;
            for (first, count) in dispatches(0, all, most) {
                assert_eq!((u64::from(first), count > 0), (next, true));
                // The idle invocations of the last group have ids that don't wrap around, either.
                assert!(u64::from(count).next_multiple_of(64) <= MAX_DISPATCH);
                next += u64::from(count);
            }
            assert_eq!(next, all);
        }
    }

    #[test]
    fn timestamps_of_a_clock_that_stands_still_are_no_time() {
        assert_eq!(elapsed(&[5, 0, 5, 0], 1.0), None);
        assert_eq!(elapsed(&[5, 1, 5, 0], 1.0), None);
        assert_eq!(elapsed(&[u32::MAX, 0, 0, 1], 2.0), Some(Duration::from_nanos(2)));
    }
}
