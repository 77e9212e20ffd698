//! Launches: a kernel's invocations as dispatches, their time and their traps.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wavelift_translator::layout::{DATA, PARAMETERS};
use wavelift_translator::{Assumption, Binding, BufferParam, Environment, Interface, Shape, TRAP_BINDING, immediate};

use crate::device::gpu::again::Identity;
use crate::device::gpu::batch::{Commands, Recorded, Traits};
use crate::device::gpu::connection::Connection;
use crate::device::gpu::context::{AFTER_FAILURE, BindGroupKey, GpuContext, MOST_STAGED};
use crate::device::gpu::group_size::Facts;
use crate::device::gpu::immediates::{immediates, set_word};
use crate::device::gpu::kept::Lift;
use crate::device::gpu::layout;
use crate::device::gpu::linear::CallerState;
use crate::device::gpu::pace::Pace;
use crate::device::gpu::pipeline::{Kernel, Pipeline, binding_refusal};
use crate::device::gpu::scratch::Scratch;
use crate::device::gpu::speculation::Undone;
use crate::device::{BufferId, BufferSpec, Caller, KernelTrap, Launch, LaunchError, LaunchTimes, Launched};
use crate::report;

/// Invocations of one dispatch stay below this, so that ids of the last group's idle invocations don't wrap around.
const MAX_DISPATCH: u64 = 1 << 31;

/// What a kernel is run with.
pub(super) struct Arguments<'a> {
    pub iterations: u32,
    /// How many invocations of the shader's kernel stand for one of them.
    rounds: u32,
    pub block_size: u32,
    /// In list order.
    pub buffers: &'a [BufferSpec],
    /// The words of [`Interface::inputs`].
    pub inputs: &'a [u32],
    /// Whether linear memory is bound itself, and not a copy.
    imported: bool,
    /// What lifting took.
    lift: Lift,
    /// What equal launches are known by that need not be made ready again.
    identity: Option<Identity>,
}

impl<'a> Arguments<'a> {
    /// Those of a kernel that reads no state of a caller.
    pub fn plain(iterations: u32, block_size: u32, buffers: &'a [BufferSpec]) -> Arguments<'a> {
        let lift = Lift::default();
        Arguments { iterations, rounds: 1, block_size, buffers, inputs: &[], imported: false, lift, identity: None }
    }
}

/// A launch made ready: what stays the same over its submissions.
pub(super) struct Ready {
    pipeline: Arc<Pipeline>,
    bind_group: wgpu::BindGroup,
    /// The immediates; the first two words are each dispatch's own, the third each submission's.
    words: Vec<u32>,
    /// Most invocations of one dispatch, a multiple of `group`.
    dispatch: u64,
    /// Invocations of the kernel that a group runs.
    group: u32,
    traits: Arc<Traits>,
    /// Invocations of the shader that the launch has.
    shaders: u64,
    lift: Lift,
    /// Invocations of the kernel.
    pub(super) invocations: u64,
    /// The guest's buffers that are bound.
    buffers: Vec<BufferId>,
}

impl GpuContext {
    /// Lifts the kernel, if it was not lifted before, and runs it; with `defer` without waiting for its end, where that makes
    /// no difference to the guest.
    pub(crate) fn launch_lifted(
        &mut self,
        launch: &Launch,
        caller: &mut dyn Caller,
        defer: bool,
    ) -> Result<Launched, LaunchError> {
        if defer && let Some(launched) = self.launch_again(launch)? {
            return Ok(launched);
        }
        let (wasm, kernel) = (&launch.module.wasm, launch.function);
        let environment = Environment::with_tables(wasm, kernel, |table| caller.table(table));
        let environment = environment.with_dropped(wasm, kernel, |segment| caller.has_dropped(segment));
        let mut state = CallerState::new(caller);
        let mut bailed_out: Option<KernelTrap> = None;
        self.undone = Undone::default();
        loop {
            let outcome = self.launch_form(launch, &environment, &mut state, defer);
            match (outcome, bailed_out) {
                (Err(LaunchError::Trap(trap)), _) if let Some(assumption) = trap.kind.bail_out() => {
                    let is_seen = assumption != Assumption::Frames
                        && self.see_again(launch, &environment, &mut state, trap.iteration);
                    if !is_seen {
                        self.shared.kernels.note_broken(&launch.module, launch.function, assumption);
                    }
                    bailed_out = Some(trap);
                }
                (Ok(Launched::Done(times)), bailed_out) => {
                    let Undone { lift, compile } = self.undone;
                    let (lift, compile) = (times.lift + lift, times.compile + compile);
                    return Ok(Launched::Done(LaunchTimes { lift, compile, bailed_out, ..times }));
                }
                (Ok(Launched::Deferred), _) => return Ok(Launched::Deferred),
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
        defer: bool,
    ) -> Result<Launched, LaunchError> {
        let connection = self.connection()?;
        let lifted = self.lifted(launch, environment, state, &connection)?;
        // What a launch writes to linear memory is there when the call returns; and one that may have to be undone is waited
        // for.
        let imported = lifted.imported;
        let written = lifted.window.filter(|_| lifted.stores && !imported);
        let assumed = lifted.kernel.assumed();
        let defer = defer && written.is_none() && !imported && !assumed.any();
        let started = Instant::now();
        if let Some(window) = lifted.window.filter(|_| !imported) {
            let waits = !(defer && window.size() <= MOST_STAGED);
            if waits && !self.settle(&connection) {
                return Ok(self.skip());
            }
            state.upload(self, &connection, window)?;
        }
        let moving = started.elapsed();
        let arguments = Arguments {
            iterations: launch.iterations,
            rounds: lifted.rounds,
            block_size: launch.block_size,
            buffers: &launch.buffers,
            inputs: &lifted.inputs,
            imported,
            lift: lifted.lift,
            identity: if defer { Identity::of(launch, &lifted) } else { None },
        };
        let launched = self.run_with(&lifted.kernel, &arguments, defer)?;
        let Launched::Done(mut times) = launched else { return Ok(launched) };
        let started = Instant::now();
        if let Some(window) = written {
            state.download(self, &connection, window)?;
        }
        times.run += moving + started.elapsed();
        Ok(Launched::Done(LaunchTimes { assumed, ..times }))
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
        let arguments = Arguments::plain(iterations, block_size, buffers);
        match self.run_with(kernel, &arguments, false)? {
            Launched::Done(times) => Ok(times),
            Launched::Deferred => Err(LaunchError::Internal(AFTER_FAILURE.into())),
        }
    }

    /// The same without waiting for its end, if it was launched before.
    #[doc(hidden)]
    pub fn run_deferred(
        &mut self,
        kernel: &Kernel,
        iterations: u32,
        block_size: u32,
        buffers: &[BufferSpec],
    ) -> Result<Launched, LaunchError> {
        let arguments = Arguments::plain(iterations, block_size, buffers);
        self.run_with(kernel, &arguments, true)
    }

    fn run_with(&mut self, kernel: &Kernel, arguments: &Arguments<'_>, defer: bool) -> Result<Launched, LaunchError> {
        let connection = self.connection()?;
        let (_, slots) = shape_of(arguments.buffers);
        let interface = kernel.interface();
        if interface.inputs.len() != arguments.inputs.len() {
            return Err(LaunchError::Internal("A kernel was not given the state that it reads.".into()));
        }
        let bound = self.check_bindings(&connection, interface, &slots, arguments.imported)?;
        let written: Vec<BufferId> = written(interface, &slots).collect();
        self.host_copies.drop_written(written.iter().copied());
        let invocations = u64::from(arguments.iterations) * u64::from(arguments.rounds);
        let facts = self.shared.groups();
        let shaders = invocations.div_ceil(interface.lanes.into());
        let choice = kernel.group_size(&connection, &facts, shaders);
        let (pipeline, mut compile) = kernel.pipeline(&connection, self.shared.options.profile, choice.size)?;
        let places = self.pooled(&connection, &interface.layout, &slots)?;
        let group = choice.size * interface.lanes;
        let budget = budget_of(&kernel.pace, group);
        let at_once = invocations <= budget;
        // A first launch waits for the driver's compiler in any case, and shows how fast the kernel is; one that tries a size of
        // groups runs alone.
        let defer = defer
            && at_once
            && compile.is_zero()
            && !choice.tried
            && places.is_empty()
            && interface.parameters_size == 0;
        if !defer && !self.settle(&connection) {
            return Ok(self.skip());
        }
        self.prepare_scratch(&connection, interface)?;
        let started = Instant::now();
        self.fill_pools(&connection, &places, &slots)?;
        let mut words = immediates(interface, arguments, &slots, &places);
        if interface.parameters_size > 0 {
            let parameters = self.own_buffer(&connection, PARAMETERS, interface.parameters_size.into())?;
            parameters.write(&connection, 0, bytemuck::cast_slice(&words))?;
            words.truncate((interface.immediates_size / 4) as usize);
        }
        let mut moving = started.elapsed();
        let buffers = bound.iter().flatten().copied().collect();
        let copies = self.copies(&connection, interface, &slots)?;
        let bind_group = self.bind_group(&connection, (kernel, &pipeline), bound, &slots, arguments.imported)?;
        let ready = Ready {
            pipeline,
            bind_group,
            words,
            dispatch: dispatch_limit(&connection, group),
            group,
            traits: Arc::new(Traits {
                sites: kernel.sites.clone(),
                pace: kernel.pace.clone(),
                groups: kernel.groups.clone(),
                size: choice.size,
                rounds: arguments.rounds,
            }),
            shaders,
            lift: arguments.lift,
            invocations,
            buffers,
        };
        if defer {
            self.record_deferred(&connection, &ready, budget)?;
            if let Some(identity) = arguments.identity.clone() {
                self.keep_launch(identity, Ready { lift: Lift::default(), ..ready }, written);
            }
            return Ok(Launched::Deferred);
        }
        if !compile.is_zero() {
            // Some drivers compile at the first dispatch only. No invocation runs.
            let started = Instant::now();
            self.run_part(&connection, &ready, 0..0, budget)?;
            compile += started.elapsed();
            kernel.groups.compiled(compile);
        }
        let run = match self.run_all(&connection, &ready) {
            Err(LaunchError::Trap(trap)) if trap.kind.bail_out().is_some() => {
                if !self.shared.forgets_restoring.load(Ordering::Relaxed) {
                    copies.restore(&connection)?;
                }
                self.undone.lift += arguments.lift.took;
                self.undone.compile += compile;
                return Err(LaunchError::Trap(trap));
            }
            outcome => outcome?,
        };
        kernel.ran(shaders, choice, run);
        let started = Instant::now();
        self.empty_pools(&connection, &places, &slots)?;
        moving += started.elapsed();
        let Lift { took: lift, .. } = arguments.lift;
        let from_cache = arguments.lift.is_from_cache();
        let (run, rounds) = (run + moving, arguments.rounds);
        let group = Some(choice.size);
        Ok(Launched::Done(LaunchTimes { lift, from_cache, compile, run, rounds, group, ..LaunchTimes::default() }))
    }

    /// All invocations, in as many submissions as the kernel's pace asks for.
    fn run_all(&mut self, connection: &Connection, ready: &Ready) -> Result<Duration, LaunchError> {
        let (mut first, mut run) = (0, Duration::ZERO);
        while first < ready.invocations {
            self.interrupt.check()?;
            let budget = ready.budget();
            let end = ready.invocations.min(first + budget);
            // Later submissions have higher iteration ids: the least one that traps is in the first that does.
            let took = self.run_part(connection, ready, first..end, budget)?;
            ready.traits.pace.learn(budget, end - first, took);
            run += took;
            first = end;
        }
        Ok(run)
    }

    /// These invocations in one submission, and waits for it.
    fn run_part(
        &mut self,
        connection: &Connection,
        ready: &Ready,
        part: Range<u64>,
        budget: u64,
    ) -> Result<Duration, LaunchError> {
        self.record(connection, ready, part, (budget, false))?;
        self.settle(connection);
        let outcome = self.batch.pop_outcome();
        let outcome = outcome.unwrap_or_else(|| Err(LaunchError::Internal("A launch has no outcome.".into())));
        Ok(outcome?.run)
    }

    /// Records a launch that is not waited for.
    pub(super) fn record_deferred(
        &mut self,
        connection: &Connection,
        ready: &Ready,
        budget: u64,
    ) -> Result<(), LaunchError> {
        self.record(connection, ready, 0..ready.invocations, (budget, true))?;
        // If this fails, that is what becomes of the launch: the batch knows.
        let _ = self.batch.submit_if_due(connection);
        Ok(())
    }

    /// Records these invocations, all of the launch or a part, behind those that are recorded.
    fn record(
        &mut self,
        connection: &Connection,
        ready: &Ready,
        part: Range<u64>,
        (budget, all): (u64, bool),
    ) -> Result<(), LaunchError> {
        let timed = self.is_timed(connection);
        let Some(scratch) = &self.scratch else {
            return Err(LaunchError::Internal("A launch has no scratch buffers.".into()));
        };
        let traps = self.batch.next_part();
        let launch = Recorded {
            traits: ready.traits.clone(),
            shaders: all.then_some(ready.shaders),
            lift: ready.lift,
            count: part.end - part.start,
            budget,
            traps,
        };
        let buffers = ready.buffers.iter().copied();
        Ok(self
            .batch
            .record(connection, scratch, timed, (launch, buffers), |commands| ready.commands(commands, part, traps))?)
    }

    /// Whether the device's clock takes the time of submissions.
    pub(crate) fn is_timed(&self, connection: &Connection) -> bool {
        connection.tick.is_some() && (self.timed || !connection.software)
    }

    /// Waits for all launches that are recorded; whether none failed.
    pub(crate) fn settle(&mut self, connection: &Connection) -> bool {
        let timed = self.is_timed(connection);
        if !self.batch.settle(connection, self.scratch.as_ref(), timed) {
            // Traps of launches that are over would be taken for those of the next.
            self.scratch = None;
            self.forget_bindings();
        }
        !self.batch.has_failed()
    }

    /// Leaves a launch out, as one before it failed: what it would have done nobody may see.
    fn skip(&mut self) -> Launched {
        self.batch.skip();
        Launched::Deferred
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
        let timed = std::mem::replace(&mut self.timed, true);
        let times = (0..count).map(|_| Ok(self.run(kernel, iterations, block_size, buffers)?.run)).collect();
        self.timed = timed;
        times
    }

    /// The buffers of the interface's bindings, in their order.
    fn check_bindings(
        &self,
        connection: &Connection,
        interface: &Interface,
        slots: &[BufferSpec],
        imported: bool,
    ) -> Result<Vec<Option<BufferId>>, LaunchError> {
        let mut bound = Vec::with_capacity(interface.bindings.len());
        for binding in &interface.bindings {
            let spec = slots.get(binding.slot as usize);
            if spec.is_some() {
                let size = self.bound_buffer(connection, binding.slot, slots, imported)?.wgpu.size();
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
        let sites = interface.trap_sites.len();
        if Scratch::part(sites) > connection.device.limits().max_storage_buffer_binding_size {
            return Err(LaunchError::Unsupported(format!("The kernel has {sites} trap sites, too many to record.")));
        }
        let full = self.scratch.as_ref().is_some_and(|scratch| self.batch.is_full(scratch, sites));
        if full {
            self.settle(connection);
        }
        if self.scratch.as_ref().is_none_or(|scratch| scratch.traps_size() < Scratch::part(sites)) {
            // Bind groups hold the old trap record.
            self.forget_bindings();
            self.scratch = Some(Scratch::new(connection, sites)?);
        }
        Ok(())
    }

    fn bind_group(
        &mut self,
        connection: &Connection,
        (kernel, pipeline): (&Kernel, &Pipeline),
        buffers: Vec<Option<BufferId>>,
        slots: &[BufferSpec],
        imported: bool,
    ) -> Result<wgpu::BindGroup, LaunchError> {
        let key = BindGroupKey { kernel: kernel.id, buffers, imported };
        if let Some(group) = self.bind_groups.get(&key) {
            return Ok(group);
        }
        let interface = kernel.interface();
        let mut entries = Vec::with_capacity(interface.bindings.len() + 1);
        if let (false, Some(scratch)) = (interface.trap_sites.is_empty(), &self.scratch) {
            let resource = scratch.traps_binding();
            entries.push(wgpu::BindGroupEntry { binding: TRAP_BINDING, resource });
        }
        for binding in &interface.bindings {
            let buffer = match &pipeline.data {
                Some(data) if binding.slot == DATA => &data.wgpu,
                _ => &self.bound_buffer(connection, binding.slot, slots, imported)?.wgpu,
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
        self.bind_groups.insert(key, group.clone());
        Ok(group)
    }
}

impl Ready {
    /// Most invocations of the next submission.
    pub(super) fn budget(&self) -> u64 {
        budget_of(&self.traits.pace, self.group)
    }

    /// Whether a launch that equals this one takes groups of the same size.
    pub(super) fn keeps_size(&self, facts: &Facts) -> bool {
        self.traits.groups.still_takes(facts, self.shaders, self.traits.size)
    }

    /// Number of trap sites.
    pub(super) fn sites(&self) -> usize {
        self.traits.sites.len()
    }

    /// The dispatches of these invocations, whose part of the trap record starts at that byte.
    fn commands(&self, commands: &mut Commands, part: Range<u64>, traps: u64) {
        commands.bind(&self.pipeline.compute, &self.bind_group);
        commands.words.clone_from(&self.words);
        // The record is smaller than 4 GiB.
        set_word(&mut commands.words, immediate::TRAPS, (traps / 4) as u32);
        for (first, count) in dispatches(part.start, part.end - part.start, self.dispatch) {
            set_word(&mut commands.words, immediate::FIRST, first);
            set_word(&mut commands.words, immediate::COUNT, count);
            // One group at least: that of the warm-up, whose invocations all return at once.
            commands.dispatch(count.div_ceil(self.group).max(1));
        }
    }
}

fn budget_of(pace: &Pace, group: u32) -> u64 {
    pace.budget().next_multiple_of(group.into())
}

/// The guest's buffers that a kernel may store to.
fn written<'a>(interface: &'a Interface, slots: &'a [BufferSpec]) -> impl Iterator<Item = BufferId> + 'a {
    (0..).zip(slots).filter_map(|(slot, spec)| {
        let holder = interface.layout.holder(slot);
        let written = interface.bindings.iter().any(|binding| binding.writable && binding.slot == holder);
        written.then_some(spec.id)
    })
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

/// First invocation and number of invocations of each dispatch of `[first, first + count)`, one at least. They fit in
/// words: a launch has fewer than 2^32 invocations.
fn dispatches(first: u64, count: u64, most: u64) -> impl Iterator<Item = (u32, u32)> {
    let pieces = count.div_ceil(most).max(1);
    (0..pieces).map(move |piece| ((first + piece * most) as u32, most.min(count - piece * most) as u32))
}

/// Most invocations of one dispatch, a multiple of those of a group.
fn dispatch_limit(connection: &Connection, group: u32) -> u64 {
    let groups = u64::from(connection.device.limits().max_compute_workgroups_per_dimension);
    let group = u64::from(group);
    (groups * group).min(MAX_DISPATCH / group * group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Access;

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
}
