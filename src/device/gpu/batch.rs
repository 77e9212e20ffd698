//! Launches that were recorded, and are not known to have ended.
//!
//! Consecutive launches share a compute pass. It is submitted when as many launches stand in it as were submitted before, so
//! that a GPU starts on the first at once and the cost of a submission is soon shared by many; and whenever the host needs
//! what it writes. Each launch has a part of the trap record to itself: its trap is found when all have ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::HashSet;
use wavelift_translator::TrapSite;

use crate::device::gpu::connection::Connection;
use crate::device::gpu::group_size::{Choice, GroupSizes};
use crate::device::gpu::kept::Lift;
use crate::device::gpu::pace::Pace;
use crate::device::gpu::scratch::{MAX_TIMES, Scratch};
use crate::device::gpu::traps;
use crate::device::{BufferId, DeviceError, KernelTrap, LaunchError, LaunchTimes};

/// Most launches of one submission.
const MOST_RECORDED: usize = 256;
/// Most launches that are not known to have ended.
const MOST_LAUNCHES: usize = 1024;
/// Most work that is not known to have ended, in submissions as long as a kernel's pace allows: so long may a host that
/// wants to stop have to wait.
const MOST_WORK: f64 = 16.0;

/// What launches of a kernel share.
#[derive(Debug)]
pub(crate) struct Traits {
    pub sites: Arc<[TrapSite]>,
    pub pace: Arc<Pace>,
    pub groups: Arc<GroupSizes>,
    /// Invocations of a group.
    pub size: u32,
    /// How many invocations stand for an iteration of the guest's.
    pub rounds: u32,
}

/// A launch, or a part of one.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub traits: Arc<Traits>,
    /// How many invocations of the shader it has, of launches that are not waited for: the choice of groups is told how long it
    /// took.
    pub shaders: Option<u64>,
    pub lift: Lift,
    /// Invocations.
    pub count: u64,
    /// Most invocations that the pace allowed.
    pub budget: u64,
    /// Where its part of the trap record starts, in bytes.
    pub traps: u64,
}

impl Recorded {
    fn work(&self) -> f64 {
        self.count as f64 / self.budget.max(1) as f64
    }
}

/// What takes commands.
struct Recorder {
    // Before the encoder: a pass must end first.
    commands: Commands,
    encoder: wgpu::CommandEncoder,
}

/// The commands of a pass. What is bound already is not bound again: drivers look for a pipeline's state anew each time.
pub(crate) struct Commands {
    pass: wgpu::ComputePass<'static>,
    pipeline: Option<wgpu::ComputePipeline>,
    group: Option<wgpu::BindGroup>,
    /// Room for immediates.
    pub words: Vec<u32>,
}

impl Commands {
    /// Binds a pipeline and its only bind group.
    pub fn bind(&mut self, pipeline: &wgpu::ComputePipeline, group: &wgpu::BindGroup) {
        if self.pipeline.as_ref() != Some(pipeline) {
            self.pass.set_pipeline(pipeline);
            self.pipeline = Some(pipeline.clone());
        }
        if self.group.as_ref() != Some(group) {
            self.pass.set_bind_group(0, group, &[]);
            self.group = Some(group.clone());
        }
    }

    /// Runs so many groups with [`Commands::words`] as immediates.
    pub fn dispatch(&mut self, groups: u32) {
        if !self.words.is_empty() {
            self.pass.set_immediates(0, bytemuck::cast_slice(&self.words));
        }
        self.pass.dispatch_workgroups(groups, 1, 1);
    }
}

/// Commands that were submitted together.
struct Submission {
    index: wgpu::SubmissionIndex,
    /// Number of launches.
    launches: usize,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Batch {
    recorder: Option<Recorder>,
    /// Launches in the recorder.
    recorded: usize,
    submissions: Vec<Submission>,
    launches: Vec<Recorded>,
    work: f64,
    buffers: HashSet<BufferId>,
    /// The byte after the last part of the trap record.
    traps_end: u64,
    /// Why launches behind those of the submissions were never submitted. None is recorded any more until all are settled.
    failure: Option<DeviceError>,
    started: Option<Instant>,
    /// What became of launches, until somebody asks.
    outcomes: Vec<Result<LaunchTimes, LaunchError>>,
}

impl Batch {
    /// Whether no launch is recorded or submitted.
    pub fn is_empty(&self) -> bool {
        self.launches.is_empty()
    }

    /// Whether a launch uses the buffer that is not known to have ended.
    pub fn uses(&self, buffer: BufferId) -> bool {
        self.buffers.contains(&buffer)
    }

    /// Whether a launch is known to have failed: those behind it must have no effect.
    pub fn has_failed(&self) -> bool {
        self.outcomes.iter().any(Result::is_err)
    }

    /// Whether another launch with that many trap sites and that much work must wait for those before it.
    pub fn is_full(&self, scratch: &Scratch, sites: usize) -> bool {
        self.launches.len() >= MOST_LAUNCHES
            || self.work >= MOST_WORK
            || self.submissions.len() + 1 >= MAX_TIMES
            || self.traps_end + Scratch::part(sites) > scratch.traps_size()
    }

    /// Where the next launch's part of the trap record starts.
    pub fn next_part(&self) -> u64 {
        self.traps_end
    }

    /// Records a launch's commands.
    pub fn record(
        &mut self,
        connection: &Connection,
        scratch: &Scratch,
        timed: bool,
        (launch, buffers): (Recorded, impl Iterator<Item = BufferId>),
        commands: impl FnOnce(&mut Commands),
    ) -> Result<(), DeviceError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.started.get_or_insert_with(Instant::now);
        let index = self.submissions.len() as u32;
        let recorder = match &mut self.recorder {
            Some(recorder) => Ok(recorder),
            none => connection
                .guarded(0, || Ok(Recorder::new(connection, scratch, timed.then_some(index))))
                .map(|new| none.insert(new)),
        };
        let recorded = recorder.and_then(|recorder| connection.recording(|| commands(&mut recorder.commands)));
        if let Err(error) = recorded {
            // Nobody knows how much of the launch is in the pass.
            self.discard(connection);
            if std::mem::take(&mut self.recorded) > 0 {
                self.failure = Some(error.clone());
            }
            return Err(error);
        }
        self.traps_end += Scratch::part(launch.traits.sites.len());
        self.work += launch.work();
        self.launches.push(launch);
        self.buffers.extend(buffers);
        self.recorded += 1;
        Ok(())
    }

    /// Submits what is recorded if that is enough for a submission of its own.
    pub fn submit_if_due(&mut self, connection: &Connection) -> Result<(), DeviceError> {
        let before = self.launches.len() - self.recorded;
        if self.recorded >= MOST_RECORDED || self.recorded >= before { self.submit(connection) } else { Ok(()) }
    }

    /// Submits what is recorded.
    pub fn submit(&mut self, connection: &Connection) -> Result<(), DeviceError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let Some(Recorder { commands, encoder }) = self.recorder.take() else { return Ok(()) };
        let launches = std::mem::take(&mut self.recorded);
        let submitted = connection.guarded(0, || {
            drop(commands);
            Ok(connection.queue.submit([encoder.finish()]))
        });
        match submitted {
            Ok(index) => self.submissions.push(Submission { index, launches }),
            Err(error) => {
                self.failure = Some(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Waits for all launches; their outcomes are kept. Whether the trap record is clear for others.
    pub fn settle(&mut self, connection: &Connection, scratch: Option<&Scratch>, timed: bool) -> bool {
        if self.is_empty() {
            return true;
        }
        // Its failure is kept for the launches that it concerns.
        let _ = self.submit(connection);
        let settled = self.wait(connection, scratch, timed);
        let failure = self.failure.take();
        let launches = self.clear();
        match settled {
            Ok(outcomes) => {
                let missing = launches.len() - outcomes.len().min(launches.len());
                let failure = failure.unwrap_or_else(|| connection.failed("Launches were not submitted."));
                self.outcomes.extend(outcomes);
                self.outcomes.extend((0..missing).map(|_| Err(failure.clone().into())));
            }
            Err(error) => self.outcomes.extend(launches.iter().map(|_| Err(error.clone().into()))),
        }
        match scratch {
            Some(scratch) if self.has_failed() => scratch.reset_traps(connection).is_ok(),
            _ => true,
        }
    }

    /// Gives all launches up, which were on a device that is gone.
    pub fn abandon(&mut self, error: &DeviceError) {
        let launches = self.clear();
        self.outcomes.extend(launches.iter().map(|_| Err(error.clone().into())));
    }

    /// Gives up what is recorded and not submitted.
    pub fn discard(&mut self, connection: &Connection) {
        if let Some(recorder) = self.recorder.take() {
            // What fails in dropping commands concerns nobody.
            let _ = connection.guarded(0, || {
                drop(recorder);
                Ok(())
            });
        }
    }

    /// The outcomes of all launches that have ended, in order.
    pub fn take_outcomes(&mut self) -> Vec<Result<LaunchTimes, LaunchError>> {
        std::mem::take(&mut self.outcomes)
    }

    /// The outcome of the launch that ended last.
    pub fn pop_outcome(&mut self) -> Option<Result<LaunchTimes, LaunchError>> {
        self.outcomes.pop()
    }

    /// Takes note of a launch that was left out, as one before it failed.
    pub fn skip(&mut self) {
        self.outcomes.push(Ok(LaunchTimes::default()));
    }

    fn clear(&mut self) -> Vec<Recorded> {
        let Batch { outcomes, launches, .. } = std::mem::take(self);
        self.outcomes = outcomes;
        launches
    }

    fn wait(
        &self,
        connection: &Connection,
        scratch: Option<&Scratch>,
        timed: bool,
    ) -> Result<Vec<Result<LaunchTimes, LaunchError>>, DeviceError> {
        let (Some(last), Some(scratch)) = (self.submissions.last(), scratch) else { return Ok(Vec::new()) };
        let times = if timed { self.submissions.len() } else { 0 };
        let (clock, record) = scratch.read(connection, times, self.traps_end, last.index.clone())?;
        let wall = self.started.map_or(Duration::ZERO, |started| started.elapsed());
        let mut outcomes = Vec::with_capacity(self.launches.len());
        let mut launches = self.launches.iter();
        for (i, submission) in self.submissions.iter().enumerate() {
            let together: Vec<&Recorded> = launches.by_ref().take(submission.launches).collect();
            let measured = clock.get(i).copied().flatten();
            // Without a clock of its own, the device's time is the host's, of which each submission has its share.
            let shared = wall.mul_f64(submission.launches as f64 / self.launches.len() as f64);
            let ended = outcomes_of(&together, measured.unwrap_or(shared), &record);
            for (launch, outcome) in together.iter().zip(ended) {
                if let (Ok(times), Some(_)) = (&outcome, measured) {
                    launch.traits.pace.learn(launch.budget, launch.count, times.run);
                }
                if let (Ok(times), Some(shaders)) = (&outcome, launch.shaders) {
                    let Traits { groups, size, .. } = &*launch.traits;
                    groups.ran(shaders, Choice { size: *size, tried: false }, times.run);
                }
                outcomes.push(outcome);
            }
        }
        Ok(outcomes)
    }
}

impl Recorder {
    fn new(connection: &Connection, scratch: &Scratch, time: Option<u32>) -> Recorder {
        let mut encoder = connection.device.create_command_encoder(&Default::default());
        let timestamp_writes = time.and_then(|index| scratch.timestamp_writes(index));
        let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
        let pass = encoder.begin_compute_pass(&descriptor).forget_lifetime();
        let commands = Commands { pass, pipeline: None, group: None, words: Vec::new() };
        Recorder { commands, encoder }
    }
}

/// What became of launches that took `run` together, of which each has a share by its number of invocations.
fn outcomes_of(
    launches: &[&Recorded],
    run: Duration,
    record: &[u32],
) -> impl Iterator<Item = Result<LaunchTimes, LaunchError>> {
    let all: u64 = launches.iter().map(|launch| launch.count.max(1)).sum();
    launches.iter().map(move |launch| {
        let from = (launch.traps / 4) as usize;
        let Traits { sites, rounds, size, .. } = &*launch.traits;
        let words = record.get(from..from + sites.len()).unwrap_or_default();
        let run = run.mul_f64(launch.count.max(1) as f64 / all as f64);
        match traps::least(words, sites) {
            Some(trap) => {
                let iteration = trap.iteration / rounds;
                Err(LaunchError::Trap(KernelTrap { iteration, ..trap }))
            }
            None => {
                let (lift, from_cache) = (launch.lift.took, launch.lift.is_from_cache());
                let (rounds, group) = (*rounds, Some(*size));
                Ok(LaunchTimes { lift, from_cache, run, rounds, group, ..LaunchTimes::default() })
            }
        }
    })
}
