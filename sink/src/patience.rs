//! What every loop of the sink does while the store or the broker is away: wait in place, with one round in hand.

use std::time::Duration;

use chassis::{Backoff, clock, health::Check};
use store::StoreError;
use tokio::{runtime::Handle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::instruments::Pauses;

/// How a loop waits, and who hears of it.
pub(crate) struct Patience {
    pub(crate) check: Check,
    pub(crate) stop: CancellationToken,
    pub(crate) runtime: Handle,
    pub(crate) backoff: Backoff,
    pub(crate) pauses: Pauses,
}

/// How a call of the store ended that is tried until it ends.
pub(crate) enum Ending<T> {
    Done(T),
    Refused(String),
    /// The store is away, and the sink is asked to stop.
    Stopped,
}

impl Patience {
    /// Calls the store until it has done it or never will, or until it is away and the sink is asked to stop. `meanwhile` is
    /// called at each pause, so that the group hears that this replica lives, however long the store is away.
    pub(crate) fn insist<T, E: From<StoreError>>(
        &self,
        mut call: impl FnMut() -> Result<T, StoreError>,
        mut meanwhile: impl FnMut() -> Result<(), E>,
    ) -> Result<Ending<T>, E> {
        let mut waits = self.backoff.attempts();
        loop {
            let ending = match call() {
                Ok(done) => Ending::Done(done),
                Err(StoreError::Refused(reason)) => Ending::Refused(reason),
                Err(unusable @ StoreError::Unusable(_)) => return Err(unusable.into()),
                Err(StoreError::Unavailable(_)) if self.stop.is_cancelled() => Ending::Stopped,
                Err(StoreError::Unavailable(reason)) => {
                    self.pause("store", &reason, waits.next());
                    meanwhile()?;
                    continue;
                }
            };
            if 0 < waits.failures() {
                info!(attempts = waits.failures(), "store back");
                self.check.ready();
            }
            return Ok(ending);
        }
    }

    /// Waits until `peer` may be back, or until asked to stop.
    pub(crate) fn pause(&self, peer: &'static str, reason: &str, wait: Option<Duration>) {
        let wait = wait.unwrap_or(self.backoff.max);
        warn!(peer, reason, wait_ms = wait.as_millis(), "away, trying again");
        self.pauses.paused(peer);
        self.check.not_ready(format!("{peer} away: {reason}"));
        self.sleep(wait);
    }

    /// Waits for `wait`, or until asked to stop. The caller tries once more, whichever it was.
    pub(crate) fn sleep(&self, wait: Duration) {
        self.check.beat(clock::monotonic());
        // In a block, since a timer is made in the runtime.
        let waited = self.runtime.block_on(async { timeout(wait, self.stop.cancelled()).await });
        debug!(stopped = waited.is_ok(), "waited");
    }
}
