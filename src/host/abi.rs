//! Numbers of the ABI: error codes, device hints, access kinds; and what stops a guest that breaks its rules.

use crate::device::{Access, DeviceKind};

/// What a function of `wasi_ephemeral_parallel` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum ErrorCode {
    /// It is done.
    Success = 0,
    /// Unknown or freed device or buffer.
    BadHandle = 1,
    /// Buffers of several devices.
    BadDevice = 2,
    /// A length beyond a buffer's size.
    OutOfBounds = 3,
    /// Device memory or the address space is used up.
    OutOfMemory = 4,
    /// No such table entry, or a function of another type.
    BadKernel = 5,
    /// The embedder forbade the fallback that this launch needs.
    Unsupported = 6,
    /// The device went away; it is opened again for later calls, and its buffers are gone.
    DeviceLost = 7,
}

/// The device a guest asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hint {
    Sequential,
    Cpu,
    DiscreteGpu,
    IntegratedGpu,
}

impl Hint {
    /// The two numberings of the proposal's history: guests that import `parallel_exec` count from SEQUENTIAL.
    pub fn decode(value: u32, imports_parallel_exec: bool) -> Option<Hint> {
        Some(match (imports_parallel_exec, value) {
            (true, 0) | (false, 3) => Hint::Sequential,
            (true, 1) | (false, 0) => Hint::Cpu,
            (true, 2) | (false, 1) => Hint::DiscreteGpu,
            (true, 3) | (false, 2) => Hint::IntegratedGpu,
            _ => return None,
        })
    }
}

/// The access kind of a number.
pub(crate) fn decode_access(value: u32) -> Option<Access> {
    Some(match value {
        0 => Access::Read,
        1 => Access::Write,
        2 => Access::ReadWrite,
        _ => return None,
    })
}

/// What `device_info` tells of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// Its kind, a number of [`kind_number`].
    Kind,
    /// Bytes that all buffers of the guest may take.
    Memory,
    /// Bytes of the largest buffer.
    LargestBuffer,
    /// Most invocations of a group.
    LargestGroup,
}

impl Fact {
    /// What a guest's number stands for.
    pub fn decode(value: u32) -> Option<Fact> {
        Some(match value {
            0 => Fact::Kind,
            1 => Fact::Memory,
            2 => Fact::LargestBuffer,
            3 => Fact::LargestGroup,
            _ => return None,
        })
    }
}

/// The number that `device_info` gives for a kind, the same in modules of all forms.
pub(crate) fn kind_number(kind: DeviceKind) -> u64 {
    match kind {
        DeviceKind::Sequential => 0,
        DeviceKind::Cpu => 1,
        DeviceKind::DiscreteGpu => 2,
        DeviceKind::IntegratedGpu => 3,
        DeviceKind::SoftwareGpu => 4,
    }
}

/// Why a guest was stopped by a call of `wasi_ephemeral_parallel`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostFault {
    /// A pointer outside linear memory.
    #[error(
        "The guest called `{function}` with {what} outside its memory: {length} bytes at address {address:#x}, and the \
         memory has {memory_size} bytes."
    )]
    Pointer {
        /// The function called.
        function: &'static str,
        /// What the pointer is for.
        what: &'static str,
        /// The pointer.
        address: u32,
        /// How many bytes are read or written there.
        length: u64,
        /// The memory's size in bytes.
        memory_size: u64,
    },
    /// A pointer, and no memory.
    #[error("The guest called `{function}`, which needs a linear memory, and its module has none.")]
    NoMemory {
        /// The function called.
        function: &'static str,
    },
    /// A number that stands for nothing.
    #[error("The guest called `{function}` with the unknown {parameter} {value}; known are {known}.")]
    UnknownValue {
        /// The function called.
        function: &'static str,
        /// What the number is for.
        parameter: &'static str,
        /// The number.
        value: u32,
        /// The known ones.
        known: &'static str,
    },
    /// More than the host allows.
    #[error("The guest called `{function}` with {given} {what}, and the host's limit is {most}.")]
    Limit {
        /// The function called.
        function: &'static str,
        /// What there is too much of.
        what: &'static str,
        /// How much.
        given: u32,
        /// The most that is allowed.
        most: u32,
    },
    /// A call from inside a kernel.
    #[error("A kernel called `{function}`: kernels can't use the functions of `wasi_ephemeral_parallel`.")]
    InsideKernel {
        /// The function called.
        function: &'static str,
    },
    /// A call from an instance that the state is not for.
    #[error(
        "`{function}` was called from an instance of another module than its `GuestState` was made for: instantiate \
         `Module::compiled` of that module, with one `GuestState` for each instance."
    )]
    OtherModule {
        /// The function called.
        function: &'static str,
    },
    /// A launch failed for a reason that lies with the host.
    #[error("The kernel `{kernel}` could not be run: {reason}")]
    Launch {
        /// The kernel's name.
        kernel: String,
        /// Why, as a sentence.
        reason: String,
    },
    /// Memory for the guest's buffers can't be set up.
    #[error("The guest's device address space can't be set up: {0}")]
    AddressSpace(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_numbered_by_the_form_that_is_imported() {
        let new: Vec<_> = (0..5).map(|v| Hint::decode(v, true)).collect();
        let old: Vec<_> = (0..5).map(|v| Hint::decode(v, false)).collect();
        use Hint::*;
        assert_eq!(new, [Some(Sequential), Some(Cpu), Some(DiscreteGpu), Some(IntegratedGpu), None]);
        assert_eq!(old, [Some(Cpu), Some(DiscreteGpu), Some(IntegratedGpu), Some(Sequential), None]);
    }
}
