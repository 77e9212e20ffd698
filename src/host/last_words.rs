//! The end of a guest whose kernel gave up.

use wasmtime::{AsContextMut, Instance};

use super::GuestState;
use super::module_caller::run_instance;
use crate::error::Error;

/// What a call of a guest ended with, for hosts with a store of their own: give them what [`Error::of_call`] made of it. Where a kernel
/// came to a panic, an `abort` or the like, which devices trap in front of, the iteration is run once more in `instance`, which
/// is that of the call, so that the message is printed; where it ends by `proc_exit`, that is the end of the guest. An
/// [`Instance`](crate::Instance) of ours does so by itself.
pub fn last_words<T: 'static>(
    mut store: impl AsContextMut<Data = T>,
    instance: Instance,
    access: impl Fn(&mut T) -> &mut GuestState,
    ended: Error,
) -> Error {
    let mut store = store.as_context_mut();
    if !matches!(ended, Error::Kernel(_)) {
        return ended;
    }
    let Some(mut core) = access(store.data_mut()).take() else { return ended };
    let (module, interrupt) = (core.module.clone(), core.interrupt.clone());
    let said = core.last_words.take().and_then(|words| {
        words.say(&mut core, |launch, iteration| {
            run_instance(&mut store, &module, instance, (launch, iteration..iteration + 1, &interrupt))
        })
    });
    access(store.data_mut()).put(core);
    said.map_or(ended, |error| Error::of_call(error, &module))
}
