//! Ctrl-C and SIGTERM: the first asks the loop to finish its step and save, the second ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::TrainError;

/// Exit code of an interrupted program.
pub const EXIT_INTERRUPTED: i32 = 130;

/// A request to stop; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// A request that only [`Interrupt::trigger`] makes: for tests and programs with signal handling of their own.
    pub fn manual() -> Self {
        Self::default()
    }

    /// A request made by SIGINT or SIGTERM. A second signal exits with [`EXIT_INTERRUPTED`] without saving; the
    /// checkpoint on disk stays valid. Handlers last as long as the process: install once.
    pub fn install() -> Result<Self, TrainError> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // Actions run in this order, so the exit sees only a flag set by an earlier signal.
            flag::register_conditional_shutdown(signal, EXIT_INTERRUPTED, Arc::clone(&stop.0))
                .and_then(|_| flag::register(signal, Arc::clone(&stop.0)))
                .map_err(TrainError::other)?;
        }
        Ok(stop)
    }

    /// Makes the request.
    pub fn trigger(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the request was made.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_request() {
        let stop = Interrupt::manual();
        let seen = stop.clone();
        assert!(!seen.is_set());
        stop.trigger();
        assert!(seen.is_set());
    }
}
