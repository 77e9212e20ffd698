//! The clock by which guests look up from their own code.

use std::time::Duration;

use wasmtime::EngineWeak;

use crate::error::{Error, Result};

/// How often guests look whether they are to be stopped.
const TICK: Duration = Duration::from_millis(10);

/// Starts a thread that counts the engine's epochs until the engine is dropped.
pub(super) fn start(engine: EngineWeak) -> Result<()> {
    let thread = std::thread::Builder::new().name("wavelift-ticker".to_string());
    let spawned = thread.spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    });
    spawned.map(drop).map_err(|error| Error::Engine(format!("a thread can't be started: {error}")))
}
