//! One open wgpu device: errors become values here, and nothing wgpu reports can panic past this file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use parking_lot::Mutex;

use crate::device::gpu::faults::{Fault, Faults, Plan};
use crate::device::gpu::features::More;
use crate::device::gpu::layout::Limits;
use crate::device::gpu::{Adapter, Transfers, features};
use crate::device::{DeviceError, DeviceKind};

/// How long a poll of another thread may take to call what it has taken; a callback that is lost is an error then.
const CALLBACK_LIMIT: Duration = Duration::from_secs(10);

/// An open wgpu device and its queue. After a loss it is of no more use; [`generation`](Self::generation) tells what
/// was made on it from what was made on the next one.
pub(crate) struct Connection {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    /// Counted up by one at each opening of the adapter.
    pub generation: u64,
    /// What a launch can bind.
    pub limits: Limits,
    /// Whether shaders may store bytes.
    pub storage8: bool,
    /// The alignment of memory that buffers may be made over; `None` where they can't be.
    pub imports: Option<u32>,
    /// Nanoseconds per tick of the device's timestamps; `None` where it has none.
    pub tick: Option<f64>,
    /// The driver runs on the CPU: the host's clock is as good as its own, and taking timestamps doubles the cost of a
    /// small launch.
    pub software: bool,
    /// How bytes reach buffers.
    pub transfers: Transfers,
    /// Staging buffers for reading, to be used again: a fresh one is four times slower.
    pub staging: Mutex<Vec<wgpu::Buffer>>,
    name: String,
    lost: Arc<OnceLock<String>>,
    /// What tests plant.
    pub faults: Arc<Faults>,
}

impl Connection {
    /// Opens the adapter with all of its features that are not experimental, and all of its limits that `limits` allow.
    pub fn open(
        adapter: &Adapter,
        transfers: Transfers,
        limits: &Limits,
        (generation, faults): (u64, Arc<Faults>),
    ) -> Result<Connection, DeviceError> {
        let name = adapter.info().name.clone();
        if faults.is_closed() {
            return Err(DeviceError::Failed { device: name, message: "It can't be opened: a test forbids it.".into() });
        }
        let features = adapter.wgpu().features() - wgpu::Features::all_experimental_mask();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wavelift"),
            required_features: features,
            required_limits: limits.lower(adapter.wgpu().limits()),
            ..Default::default()
        };
        let opened = catch_unwind(AssertUnwindSafe(|| match features::open_with_more(adapter.wgpu(), &descriptor) {
            Some((opened, more)) => (opened, more),
            None => (pollster::block_on(adapter.wgpu().request_device(&descriptor)), More::default()),
        }));
        let (opened, More { storage8, imports }) = match opened {
            Ok((opened, more)) => (Ok(opened), more),
            Err(panic) => (Err(panic), More::default()),
        };
        let (device, queue) = match opened {
            Ok(Ok(pair)) => pair,
            Ok(Err(error)) => {
                return Err(DeviceError::Failed { device: name, message: format!("It can't be opened: {error}.") });
            }
            Err(panic) => return Err(DeviceError::Failed { device: name, message: panic_text(&*panic) }),
        };
        // All our calls stand in error scopes; what arrives here comes from wgpu's own clean-up.
        device.on_uncaptured_error(Arc::new(|error| tracing::error!("wgpu reports outside of any call: {error}")));
        let lost = Arc::new(OnceLock::new());
        let flag = lost.clone();
        device.set_device_lost_callback(move |reason, message| {
            let text = if message.is_empty() { format!("the driver gives the reason {reason:?}") } else { message };
            let text = format!("{}.", one_line(&text));
            // Only the first report counts.
            let _ = flag.set(text);
        });
        let tick = features.contains(wgpu::Features::TIMESTAMP_QUERY).then(|| f64::from(queue.get_timestamp_period()));
        let mappable = features.contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS);
        let transfers = if mappable { transfers } else { Transfers::Staged };
        let staging = Mutex::default();
        let imports = imports.filter(|_| transfers == Transfers::Mapped);
        let software = adapter.info().kind == DeviceKind::SoftwareGpu;
        let limits = Limits::of(&device.limits());
        Ok(Connection {
            device,
            queue,
            generation,
            limits,
            storage8,
            imports,
            tick,
            software,
            transfers,
            staging,
            name,
            lost,
            faults,
        })
    }

    /// Whether the device has a feature.
    pub fn has(&self, feature: wgpu::Features) -> bool {
        self.device.features().contains(feature)
    }

    /// The error of a lost device; `None` while it is there.
    pub fn lost(&self) -> Option<DeviceError> {
        self.lost.get().map(|message| DeviceError::Lost { device: self.name.clone(), message: message.clone() })
    }

    /// The error of what was made on an earlier connection.
    pub fn gone(&self) -> DeviceError {
        let message = "this buffer was on the device before it was lost and opened anew; create it again.".into();
        DeviceError::Lost { device: self.name.clone(), message }
    }

    /// The error of a lost device that can't be opened anew.
    pub fn lost_for_good(&self, error: &DeviceError) -> DeviceError {
        DeviceError::Lost { device: self.name.clone(), message: error.to_string() }
    }

    /// An error that says `message`.
    pub fn failed(&self, message: impl Into<String>) -> DeviceError {
        DeviceError::Failed { device: self.name.clone(), message: message.into() }
    }

    /// The error for a buffer that does not fit.
    pub fn out_of_memory(&self, bytes: u64) -> DeviceError {
        DeviceError::OutOfMemory { device: self.name.clone(), bytes }
    }

    /// Destroys the device as a driver does that loses it.
    pub fn destroy(&self) {
        self.device.destroy();
        // The callback runs in a poll. A panic there changes nothing: the device is gone.
        let _ = catch_unwind(AssertUnwindSafe(|| self.poll(wgpu::PollType::Poll)));
        let _ = self.lost.set("it was destroyed.".into());
    }

    /// What goes wrong at a call, by a test's plan.
    fn strike<T>(&self, plan: Plan, bytes: u64) -> Result<T, DeviceError> {
        match plan.fault {
            Fault::OutOfMemory => Err(self.out_of_memory(bytes)),
            Fault::Lost => {
                self.destroy();
                Err(self.gone())
            }
            Fault::Failed => Err(self.failed("A test planted this fault.")),
            Fault::Panic => panic!("A test planted this panic."),
        }
    }

    /// Runs calls to wgpu so that every error comes back as a value: validation errors, memory used up (for `bytes`
    /// bytes), loss, and panics inside wgpu.
    pub fn guarded<T>(&self, bytes: u64, calls: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        if let Some(lost) = self.lost() {
            return Err(lost);
        }
        let internal = self.device.push_error_scope(Internal);
        let memory = self.device.push_error_scope(OutOfMemory);
        let validation = self.device.push_error_scope(Validation);
        let outcome = self.caught(bytes, calls);
        let errors = [
            pollster::block_on(validation.pop()),
            pollster::block_on(memory.pop()),
            pollster::block_on(internal.pop()),
        ];
        if let Some(lost) = self.lost() {
            return Err(lost);
        }
        match (errors.into_iter().flatten().next(), outcome) {
            (Some(wgpu::Error::OutOfMemory { .. }), _) => Err(self.out_of_memory(bytes)),
            (Some(error), _) => Err(self.failed(one_line(&error.to_string()))),
            (None, outcome) => outcome,
        }
    }

    /// Runs calls that record commands in a pass. What wgpu has against these it says when they are submitted, so that no errors
    /// are looked for: to do so takes longer than to record a launch. Loss and panics come back as errors.
    pub fn recording(&self, calls: impl FnOnce()) -> Result<(), DeviceError> {
        if let Some(lost) = self.lost() {
            return Err(lost);
        }
        let outcome = self.caught(0, || {
            calls();
            Ok(())
        });
        self.lost().map_or(outcome, Err)
    }

    /// Runs calls, or what a test planted in their place; a panic is an error.
    fn caught<T>(&self, bytes: u64, calls: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
        let fault = self.faults.due();
        let outcome = catch_unwind(AssertUnwindSafe(|| match fault {
            None => calls(),
            Some(plan) if plan.late => calls().and_then(|_| self.strike(plan, bytes)),
            Some(plan) => self.strike(plan, bytes),
        }));
        outcome.unwrap_or_else(|panic| Err(self.failed(panic_text(&*panic))))
    }

    /// Waits, or looks once, for submissions to end and mappings to be there. To be called in [`guarded`](Self::guarded).
    pub fn poll(&self, poll: wgpu::PollType) -> Result<(), DeviceError> {
        match self.device.poll(poll) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(format!("Waiting for it failed: {error}."))),
        }
    }

    /// Maps a range of a buffer that no later submission uses. To be called in [`guarded`](Self::guarded).
    pub fn map(
        &self,
        slice: wgpu::BufferSlice<'_>,
        mode: wgpu::MapMode,
        after: Option<wgpu::SubmissionIndex>,
    ) -> Result<(), DeviceError> {
        // One that stays half mapped is of no more use to anybody.
        self.map_or_leave(slice, mode, after).inspect_err(|_| slice.buffer().unmap())
    }

    fn map_or_leave(
        &self,
        slice: wgpu::BufferSlice<'_>,
        mode: wgpu::MapMode,
        after: Option<wgpu::SubmissionIndex>,
    ) -> Result<(), DeviceError> {
        let (sender, receiver) = mpsc::channel();
        slice.map_async(mode, move |result| {
            // Nobody listens any more if waiting failed.
            let _ = sender.send(result);
        });
        match after {
            Some(_) => self.poll(wgpu::PollType::Wait { submission_index: after, timeout: None })?,
            None => self.poll(wgpu::PollType::Poll)?,
        }
        let outcome = match receiver.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(_) => {
                self.poll(wgpu::PollType::wait_indefinitely())?;
                told(&receiver)
            }
        };
        match outcome {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.failed(format!("A buffer can't be mapped: {error}."))),
            None => Err(self.failed("A buffer was not mapped although all work has ended.")),
        }
    }
}

/// What a callback says once all work has ended: a poll of another thread may have taken it and not called it yet.
fn told<T>(receiver: &mpsc::Receiver<T>) -> Option<T> {
    receiver.recv_timeout(CALLBACK_LIMIT).ok()
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("The graphics library gave up: {}.", one_line(text.unwrap_or("it gives no reason")))
}

/// wgpu's messages are indented blocks; ours are sentences.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_that_another_thread_calls_late_is_waited_for_and_a_dropped_one_is_not() {
        let (sender, receiver) = mpsc::channel();
        let late = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            sender.send(7)
        });
        assert_eq!(told(&receiver), Some(7));
        late.join().unwrap().unwrap();
        let started = std::time::Instant::now();
        assert_eq!(told(&receiver), None);
        assert!(started.elapsed() < CALLBACK_LIMIT);
    }
}
