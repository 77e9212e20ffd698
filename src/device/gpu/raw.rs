//! Hand-written WGSL kernels on the same device: the baseline that lifted kernels are measured against.
//!
//! A shader's bindings are those of set 0, numbered from 0 in the order in which they are given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::device::gpu::connection::Connection;
use crate::device::gpu::scratch::elapsed;
use crate::device::gpu::shader_module;
use crate::device::gpu::transfer::{GpuBuffer, read_staged};
use crate::device::gpu::{GpuContext, GpuDevice};
use crate::device::{BufferId, DeviceError};

/// Smallest uniform buffer that every device takes.
const UNIFORM_ALIGNMENT: usize = 16;

/// A compute shader in WGSL.
pub struct WgslKernel {
    connection: Arc<Connection>,
    pipeline: wgpu::ComputePipeline,
}

/// A storage buffer for WGSL kernels of one device.
pub struct WgslBuffer {
    connection: Arc<Connection>,
    buffer: GpuBuffer,
}

/// What a shader's binding is.
#[derive(Clone, Copy)]
pub enum WgslBinding<'a> {
    /// A storage buffer.
    Storage(&'a WgslBuffer),
    /// A uniform buffer of its own with these bytes, padded with zeros to a multiple of 16.
    Uniform(&'a [u8]),
}

/// A kernel with its buffers and parameters.
pub struct WgslLaunch {
    connection: Arc<Connection>,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    clock: Option<Clock>,
}

impl WgslKernel {
    /// Compiles a shader with one compute entry point, with the runtime checks that wgpu gives every shader.
    ///
    /// # Errors
    /// [`DeviceError::Failed`] with the compiler's message.
    pub fn new(device: &GpuDevice, source: &str) -> Result<WgslKernel, DeviceError> {
        WgslKernel::on(&device.connection()?, source)
    }

    /// The same without runtime checks.
    ///
    /// # Safety
    /// The shader must keep within its bindings and end its loops for every input it will get.
    pub unsafe fn new_unchecked(device: &GpuDevice, source: &str) -> Result<WgslKernel, DeviceError> {
        let connection = device.connection()?;
        // SAFETY: the caller vouches for the shader.
        let module = |connection: &Connection| unsafe { shader_module::wgsl_unchecked(connection, source) };
        WgslKernel::compile(&connection, module)
    }

    pub(crate) fn on(connection: &Arc<Connection>, source: &str) -> Result<WgslKernel, DeviceError> {
        WgslKernel::compile(connection, |connection| shader_module::wgsl(connection, source))
    }

    fn compile(
        connection: &Arc<Connection>,
        module: impl FnOnce(&Connection) -> wgpu::ShaderModule + Send,
    ) -> Result<WgslKernel, DeviceError> {
        let pipeline = shader_module::on_large_stack(connection, || {
            let module = module(connection);
            Ok(connection.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: None,
                module: &module,
                entry_point: None,
                compilation_options: Default::default(),
                cache: None,
            }))
        })?;
        Ok(WgslKernel { connection: connection.clone(), pipeline })
    }

    /// Creates a storage buffer with these bytes.
    pub fn buffer(&self, bytes: &[u8]) -> Result<WgslBuffer, DeviceError> {
        let buffer = GpuBuffer::new(&self.connection, bytes.len() as u64)?;
        buffer.write(&self.connection, 0, bytes)?;
        Ok(WgslBuffer { connection: self.connection.clone(), buffer })
    }

    /// Binds buffers in order, and the bytes of the uniform buffer after them (none if `params` is empty). The shader
    /// must use exactly these bindings.
    pub fn bind(&self, buffers: &[&WgslBuffer], params: &[u8]) -> Result<WgslLaunch, DeviceError> {
        let mut bindings: Vec<_> = buffers.iter().map(|buffer| WgslBinding::Storage(buffer)).collect();
        if !params.is_empty() {
            bindings.push(WgslBinding::Uniform(params));
        }
        self.bind_all(&bindings)
    }

    /// Binds these in order. The shader must use exactly these bindings.
    pub fn bind_all(&self, bindings: &[WgslBinding<'_>]) -> Result<WgslLaunch, DeviceError> {
        let connection = self.connection.clone();
        let device = &connection.device;
        let (bind_group, clock) = connection.guarded(0, || {
            let buffers: Vec<wgpu::Buffer> = bindings
                .iter()
                .map(|binding| match binding {
                    WgslBinding::Storage(buffer) => buffer.buffer.wgpu.clone(),
                    WgslBinding::Uniform(bytes) => self.uniform(bytes),
                })
                .collect();
            let entries: Vec<_> = (0..)
                .zip(&buffers)
                .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
                .collect();
            let layout = self.pipeline.get_bind_group_layout(0);
            let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
            let clock = connection.tick.map(|_| {
                let ty = wgpu::QueryType::Timestamp;
                let set = device.create_query_set(&wgpu::QuerySetDescriptor { label: None, ty, count: 2 });
                let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
                let size = wgpu::QUERY_RESOLVE_BUFFER_ALIGNMENT;
                let resolved = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
                (set, device.create_buffer(&resolved))
            });
            Ok((device.create_bind_group(&descriptor), clock))
        })?;
        let pipeline = self.pipeline.clone();
        Ok(WgslLaunch { connection, pipeline, bind_group, clock })
    }

    fn uniform(&self, params: &[u8]) -> wgpu::Buffer {
        let mut bytes = params.to_vec();
        bytes.resize(params.len().next_multiple_of(UNIFORM_ALIGNMENT), 0);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let size = bytes.len() as u64;
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        let buffer = self.connection.device.create_buffer(&descriptor);
        self.connection.queue.write_buffer(&buffer, 0, &bytes);
        buffer
    }
}

impl WgslBuffer {
    /// A buffer of a context, shared with it: a lifted kernel and its twin then work on the very same memory.
    pub fn shared(context: &mut GpuContext, id: BufferId) -> Result<WgslBuffer, DeviceError> {
        let connection = context.connection()?;
        let buffer = context.buffer(&connection, id)?.clone();
        Ok(WgslBuffer { connection, buffer })
    }

    /// The buffer's bytes, after all launches before.
    pub fn read(&self) -> Result<Vec<u8>, DeviceError> {
        let mut bytes = vec![0; self.buffer.size as usize];
        self.buffer.read(&self.connection, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies `data` to the bytes from `offset` on.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.buffer.write(&self.connection, offset, data)
    }
}

impl WgslLaunch {
    /// Runs `groups` workgroups, waits, and gives the run time: by the device's clock where it has one, else from
    /// submission to completion.
    pub fn dispatch(&self, groups: [u32; 3]) -> Result<Duration, DeviceError> {
        let wall = submit(&self.connection, self.clock.as_ref(), [(self, groups)].into_iter())?;
        time(&self.connection, self.clock.as_ref(), wall)
    }

    /// Runs launches of one device in order, each with its workgroups, in one pass; waits, and gives the run time of all as
    /// [`WgslLaunch::dispatch`] does.
    pub fn dispatch_all(launches: &[(WgslLaunch, [u32; 3])]) -> Result<Duration, DeviceError> {
        let Some((WgslLaunch { connection, clock, .. }, _)) = launches.first() else { return Ok(Duration::ZERO) };
        let wall = submit(connection, clock.as_ref(), launches.iter().map(|(launch, groups)| (launch, *groups)))?;
        time(connection, clock.as_ref(), wall)
    }

    /// Runs `groups` workgroups, waits, and gives the host's time from recording to completion: what the least
    /// launch costs that wgpu can make.
    pub fn dispatch_untimed(&self, groups: [u32; 3]) -> Result<Duration, DeviceError> {
        submit(&self.connection, None, [(self, groups)].into_iter())
    }

    /// The same `count` times, in one pass and one submission: what the launches cost of which nothing is to be known but
    /// that all have ended.
    pub fn dispatch_many(&self, groups: [u32; 3], count: usize) -> Result<Duration, DeviceError> {
        submit(&self.connection, None, std::iter::repeat_n((self, groups), count))
    }

    /// The run times of `count` dispatches, one after the other.
    pub fn time_launches(&self, groups: [u32; 3], count: usize) -> Result<Vec<Duration>, DeviceError> {
        (0..count).map(|_| self.dispatch(groups)).collect()
    }
}

/// Timestamps, and the buffer that they are resolved to.
type Clock = (wgpu::QuerySet, wgpu::Buffer);

/// Runs launches in one pass and waits; the host's time from recording to completion.
fn submit<'a>(
    connection: &Connection,
    clock: Option<&Clock>,
    launches: impl Iterator<Item = (&'a WgslLaunch, [u32; 3])>,
) -> Result<Duration, DeviceError> {
    connection.guarded(0, || {
        let start = Instant::now();
        let mut encoder = connection.device.create_command_encoder(&Default::default());
        let timestamp_writes = clock.map(|(query_set, _)| wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
        for (launch, [x, y, z]) in launches {
            pass.set_pipeline(&launch.pipeline);
            pass.set_bind_group(0, &launch.bind_group, &[]);
            pass.dispatch_workgroups(x, y, z);
        }
        drop(pass);
        if let Some((set, resolved)) = clock {
            encoder.resolve_query_set(set, 0..2, resolved, 0);
        }
        let submission = connection.queue.submit([encoder.finish()]);
        connection.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: None })?;
        Ok(start.elapsed())
    })
}

/// What the clock says of the last pass; without one, what the host's does.
fn time(connection: &Connection, clock: Option<&Clock>, wall: Duration) -> Result<Duration, DeviceError> {
    let (Some((_, resolved)), Some(tick)) = (clock, connection.tick) else { return Ok(wall) };
    let mut bytes = [0; 16];
    read_staged(connection, resolved, 0, &mut bytes)?;
    Ok(elapsed(&bytemuck::cast::<[u8; 16], [u32; 4]>(bytes), tick).unwrap_or(wall))
}
