//! Ctrl-C during a download: it ends in order, and what arrived is kept. A second one ends the process at once.
//! Outside of downloads signals do what they did before.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

use crate::ending::INTERRUPTED;

static REGISTERED: Mutex<Vec<SigId>> = Mutex::new(Vec::new());

/// Runs `work` with a flag that SIGINT and SIGTERM set.
pub(super) fn guarded<T>(work: impl FnOnce(&AtomicBool) -> T) -> io::Result<T> {
    release();
    let stop = Arc::new(AtomicBool::new(false));
    let idle = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // They run in this order. Handlers stay when the work is done, since a signal without any would be ignored
        // from then on; the one of `idle` does what the system does by default.
        let ids = [
            flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&stop))?,
            flag::register_conditional_default(signal, Arc::clone(&idle))?,
            flag::register(signal, Arc::clone(&stop))?,
        ];
        let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        registered.extend(ids);
    }
    let done = work(&stop);
    idle.store(true, Ordering::SeqCst);
    Ok(done)
}

/// Takes the handlers away; another must follow.
pub(super) fn release() {
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    for id in registered.drain(..) {
        low_level::unregister(id);
    }
}
