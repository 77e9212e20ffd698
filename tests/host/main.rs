//! The functions of `wasi_ephemeral_parallel`, called from a guest whose exports pass a test's numbers on.

mod codes;
mod deferred;
mod devices;
mod endless;
mod extensions;
mod faults;
mod guest;
mod hostile;
mod imported;
mod imports;
mod known_data;
mod last_words;
mod launches;
mod limits;
mod lines;
mod linker;
#[cfg(target_os = "linux")]
mod load;
mod many;
mod methods;
mod module_state;
mod modules;
mod pointers;
mod random;
mod rehearsal;
mod session;
mod speculation;
mod verify;

pub use guest::{DEEP, DRIVER, Guest, driver_with, filled, table};
