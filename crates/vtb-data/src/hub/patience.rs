//! Why a request brought nothing, whether to repeat it, and how long to wait before.

use std::time::Duration;

use super::Watch;
use super::error::{HubError, Result};

/// Requests without progress before a download or a look-up fails.
pub(super) const ATTEMPTS: u32 = 5;
/// Longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A status that says no, and why.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// The hub's name for the reason, such as `GatedRepo`; empty where it gives none.
    pub(super) code: String,
    pub(super) message: String,
    pub(super) address: String,
}

/// Why one request brought nothing.
pub(super) enum Trouble {
    /// It may go well the next time.
    Again {
        address: String,
        reason: String,
        after: Option<Duration>,
    },
    /// The server refuses.
    Refused(Refusal),
    /// It will not go well.
    End(HubError),
}

/// Why a look-up brought nothing in the end.
pub(super) enum Failure {
    Refused(Refusal),
    Hub(HubError),
}

impl From<HubError> for Failure {
    fn from(fault: HubError) -> Self {
        Self::Hub(fault)
    }
}

/// How often a request is repeated, and how long one waits before.
pub(super) struct Patience {
    first: Duration,
    attempts: u32,
    failed: u32,
}

impl Patience {
    pub(super) fn new(first: Duration, attempts: u32) -> Self {
        Self {
            first,
            attempts,
            failed: 0,
        }
    }

    /// There was progress: count anew.
    pub(super) fn refresh(&mut self) {
        self.failed = 0;
    }

    /// Waits until the request may be repeated.
    ///
    /// # Errors
    /// What is no use to repeat, or was repeated enough; [`HubError::Stopped`].
    pub(super) fn wait(
        &mut self,
        trouble: Trouble,
        watch: &dyn Watch,
    ) -> std::result::Result<(), Failure> {
        let (address, reason, after) = match trouble {
            Trouble::Again {
                address,
                reason,
                after,
            } => (address, reason, after),
            Trouble::Refused(refusal) => return Err(Failure::Refused(refusal)),
            Trouble::End(fault) => return Err(fault.into()),
        };
        self.failed += 1;
        if self.failed >= self.attempts || after.is_some_and(|after| after > LONGEST_WAIT) {
            let reason = match after {
                Some(after) => format!("{reason}, and asks to wait {} s", after.as_secs()),
                None => reason,
            };
            let attempts = self.failed;
            return Err(HubError::Unreachable {
                address,
                reason,
                attempts,
            }
            .into());
        }
        let own = self.first * 2u32.saturating_pow((self.failed - 1).min(4));
        tracing::debug!("{address}: {reason}; attempt {} follows", self.failed + 1);
        pause(after.map_or(own, |after| after.max(own)), watch)?;
        Ok(())
    }
}

/// Sleeps, in parts short enough to stop soon.
fn pause(mut left: Duration, watch: &dyn Watch) -> Result<()> {
    const PART: Duration = Duration::from_millis(50);
    while !left.is_zero() {
        if watch.stopped() {
            return Err(HubError::Stopped);
        }
        let part = left.min(PART);
        std::thread::sleep(part);
        left -= part;
    }
    Ok(())
}
