//! What a guest may use up.

use std::time::Duration;

/// What one guest may use up, each with its own error. The defaults are far above what a program needs that does not run wild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a call of an exported function may take, launches included; `None`, the default, for any time. The guest is
    /// stopped with [`Error::Interrupted`](crate::Error::Interrupted), within about 100 ms where it runs its own code or many
    /// invocations. Costs a few percent of the guest's own speed where it is set.
    pub time: Option<Duration>,
    /// What one invocation of a kernel may do before it traps: about as many operators in loops, of the kernel as it was
    /// lifted or, on a CPU device, as it is written, slow ones counted several times; 2^30 by default, at most 2^31 - 1,
    /// `None` for any number. On a GPU, but for one in software, where each may take longer, half of it. The
    /// default is a second or two on every device. Code without loops or recursion is free. A kernel that runs in order in the guest's own instance, because it calls the host, say,
    /// does not count: that it ends only [`Limits::time`] or an [`Interrupt`](crate::Interrupt) can see to.
    pub fuel: Option<u32>,
    /// Bytes of all buffers of a guest together, on all devices; 4 GiB, all that has addresses, by default. Beyond it
    /// `create_buffer` gives `out_of_memory`.
    pub device_memory: u64,
    /// Bytes of a guest's linear memory; 4 GiB by default. Beyond it `memory.grow` fails, and a module that asks for more at
    /// once is not instantiated. Of a store of your own, limit the memory with
    /// [`Store::limiter`](wasmtime::Store::limiter).
    pub host_memory: u64,
    /// Buffers of a guest at once; 65,536 by default. Beyond it `create_buffer` gives `out_of_memory`.
    pub buffers: u32,
    /// Iterations of one launch; all that a number can say by default. Beyond it `parallel_for` stops the guest with
    /// [`HostFault::Limit`](crate::HostFault::Limit).
    pub iterations: u32,
    /// Bytes of code that a kernel can reach, those of functions in the table that it can call included; 16 MiB by default.
    /// Beyond it a launch gives `unsupported`, on every device.
    pub kernel_size: u64,
    /// Work of lifting one form of a kernel for a GPU, in statements that the translator's passes look at; 2^26 by default, which
    /// take ten to twenty seconds. It is no time, so that it does not depend on how busy the machine is what runs where. A kernel
    /// beyond it runs on the CPU. A launch may need several forms. How long the driver then compiles has no limit.
    pub lift_work: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            time: None,
            fuel: Some(1 << 30),
            device_memory: 4 << 30,
            host_memory: 4 << 30,
            buffers: 1 << 16,
            iterations: u32::MAX,
            kernel_size: 16 << 20,
            lift_work: wavelift_translator::DEFAULT_WORK,
        }
    }
}
