//! The functions that guests import, modules `wasi_ephemeral_parallel` and `wavelift`.

mod abi;
mod calls;
mod extensions;
mod guest;
mod handles;
mod imports;
mod last_words;
mod launch;
mod module_caller;
mod view;

pub(crate) use abi::Hint;
pub use abi::{ErrorCode, HostFault};
pub use calls::add_to_linker;
pub(crate) use guest::Core;
pub use guest::GuestState;
pub use last_words::last_words;

/// The module that guests import these functions from.
pub(crate) const MODULE: &str = "wasi_ephemeral_parallel";

/// Two forms have this name.
pub(crate) const PARALLEL_FOR: &str = "parallel_for";
/// What compiled modules call the form of it with a kernel module.
pub(crate) const PARALLEL_FOR_MODULE: &str = "parallel:for";
/// Parameters of that form.
pub(crate) const PARALLEL_FOR_MODULE_PARAMETERS: usize = 8;
