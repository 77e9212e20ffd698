//! The functions that guests import, module `wasi_ephemeral_parallel`.

mod abi;
mod calls;
mod guest;
mod handles;
mod imports;
mod view;

pub(crate) use abi::Hint;
pub use abi::{ErrorCode, HostFault};
pub use calls::add_to_linker;
pub(crate) use guest::Core;
pub use guest::GuestState;

/// The module that guests import these functions from.
pub(crate) const MODULE: &str = "wasi_ephemeral_parallel";
