//! Feedback in, rows and counted labels out.
//!
//! A label is joined with its verdict, kept as a row, and, where it is the first of its verdict, counted in a window of the
//! verdict's model that has labels and no verdicts. The windows of a round are written with its offsets in one transaction, so
//! each label counts once, through crashes and rebalances; its row is written before, and the round is read again if the
//! transaction does not come about. [`join`] says why the outcome is then the same.
//!
//! # Layout
//! - [`Joiner`]: the loop; [`connect()`]: what it reads and writes; `desk`: its side towards the store
//! - [`join`]: what becomes of each label; `windows`: what they add up to; both pure
//! - [`settings`]: all that can be set; `instruments`: what is measured; `spans`: what is told of each label

mod connect;
mod desk;
mod instruments;
pub mod join;
pub mod settings;
mod spans;
mod windows;

use std::{fmt, sync::Arc};

use broker::{Exchange, ExchangeError, Outgoing, Progress};
use chassis::{Tracer, clock, fault, health::Check};
use jiff::SignedDuration;
use store::{StoreError, VerdictStore};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::{desk::Desk, instruments::Instruments, join::Label, spans::Spans, windows::Counted};
use crate::{
    instruments::{Lags, Pauses},
    patience::Patience,
    references::References,
    writer::STANDING_EVERY,
};

pub use self::{connect::connect, join::Outcome, settings::Settings};

/// What the loop works with, made by whoever starts it.
pub struct Parts {
    /// Reads [`schemas::topics::FEEDBACK`], writes [`schemas::topics::DRIFT_WINDOWS`].
    pub exchange: Box<dyn Exchange>,
    /// Has the verdicts, takes the labels.
    pub store: Arc<dyn VerdictStore>,
    /// What the labels' windows are made for.
    pub references: References,
    /// Where it says how it fares.
    pub check: Check,
    /// Asks it to finish what is in hand and leave.
    pub stop: CancellationToken,
}

/// Why the loop cannot go on. Nothing is lost: what is not committed is read again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinerError {
    /// Nothing can be read or written to the broker any more. Exit.
    #[error(transparent)]
    Exchange(ExchangeError),
    /// Nothing can be written to the store any more. Exit: an operator has to act.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The loop and what it works with.
pub struct Joiner {
    exchange: Box<dyn Exchange>,
    desk: Desk,
    references: References,
    settings: Settings,
    instruments: Instruments,
    lags: Lags,
    spans: Spans,
}

impl Joiner {
    /// A loop that reads nothing yet. Calls of the store run on `runtime`.
    pub fn new(parts: Parts, settings: &Settings, runtime: Handle) -> Self {
        let Parts { exchange, store, references, check, stop } = parts;
        let (backoff, pauses) = (settings.backoff, Pauses::new());
        let patience = Patience { check, stop, runtime, backoff, pauses };
        let desk = Desk { store, patience, unknown_wait: settings.unknown_wait };
        let (instruments, lags) = (Instruments::new(), Lags::new());
        let spans = Spans::new(Tracer::current());
        Self { exchange, desk, references, settings: settings.clone(), instruments, lags, spans }
    }

    /// Runs until it is asked to stop: then it finishes the round in hand, unless that waits for a verdict or the store.
    /// Blocking, on a thread that is none of the runtime's.
    pub fn run(mut self) -> Result<(), JoinerError> {
        let mut waits = self.settings.backoff.attempts();
        let mut standing_next = clock::monotonic();
        while !self.desk.patience.stop.is_cancelled() {
            let now = clock::monotonic();
            self.desk.patience.check.beat(now);
            if standing_next <= now {
                standing_next = now + STANDING_EVERY;
                self.lags.standing(self.exchange.standing());
            }
            let done = self
                .exchange
                .poll(self.settings.rows_max.max(1), self.settings.wait_max)
                .map_err(JoinerError::Exchange)
                .and_then(|deliveries| {
                    self.tell_readiness();
                    if deliveries.is_empty() { Ok(()) } else { self.join(&deliveries) }
                });
            match done {
                Ok(()) => waits.reset(),
                Err(JoinerError::Exchange(ExchangeError::Aborted(reason))) => {
                    info!(reason, "round aborted, its labels are read again");
                }
                Err(JoinerError::Exchange(ExchangeError::Unavailable(reason))) => {
                    self.desk.patience.pause("broker", &reason, waits.next());
                }
                Err(fatal) => return Err(fatal),
            }
        }
        Ok(())
    }

    fn tell_readiness(&self) {
        if self.exchange.is_assigned() {
            self.desk.patience.check.ready();
        } else {
            self.desk.patience.check.not_ready("no partitions of the feedback's topic yet");
        }
    }

    /// Settles one round: rows first, then windows and offsets. When asked to stop while it waits, it leaves the round to be read
    /// again.
    fn join(&mut self, deliveries: &[broker::Delivery]) -> Result<(), JoinerError> {
        let now = clock::now();
        let (mut labels, mut refused) = (Vec::new(), Vec::new());
        for delivery in deliveries {
            match Label::read(delivery, now) {
                Ok(label) => labels.push(label),
                Err(record) => refused.push(*record),
            }
        }
        let Some(()) = self.desk.keep_refused(&refused)? else { return Ok(()) };
        let Some(verdicts) = self.desk.verdicts(&labels, now)? else { return Ok(()) };
        let Some(mut said) = self.desk.said(&labels)? else { return Ok(()) };
        let late_after = SignedDuration::try_from(self.settings.late_after);
        let late_after = late_after.unwrap_or(SignedDuration::MAX);
        let mut settled = join::settle(&labels, &verdicts, &mut said, late_after);

        fault::point("feedback_before_rows");
        let Some(untaken) = self.desk.keep(&mut settled, deliveries)? else { return Ok(()) };
        fault::point("feedback_after_rows");
        let counted = Counted::of(&mut settled, &mut self.references, clock::monotonic());
        let outbox = counted.outbox().map_err(StoreError::Refused)?;
        self.commit(outbox, deliveries)?;
        fault::point("feedback_after_commit");
        self.spans.tell(deliveries, &settled, now, clock::now());

        for outcome in Outcome::ALL {
            let count = settled.iter().filter(|one| one.outcome == outcome).count();
            let refused = if outcome == Outcome::Refused { refused.len() } else { 0 };
            self.instruments.count(outcome, (count + refused) as u64);
        }
        for delay in settled.iter().filter_map(join::Settled::delay) {
            self.instruments.delayed(delay);
        }
        debug!(
            labels = labels.len(),
            untaken,
            refused = refused.len(),
            "settled a round of labels"
        );
        Ok(())
    }

    /// Windows and offsets, both or neither.
    fn commit(
        &mut self,
        outbox: Vec<Outgoing>,
        deliveries: &[broker::Delivery],
    ) -> Result<(), JoinerError> {
        let committed = self.exchange.commit(outbox, &Progress::of(deliveries));
        if let Err(ExchangeError::Refused(reason)) = &committed {
            // Windows have a size that does not depend on what is counted: only a broker that takes less than Kafka does.
            warn!(
                reason,
                "the broker does not take windows of labels: raise its max.message.bytes"
            );
        }
        committed.map_err(JoinerError::Exchange)
    }
}

impl fmt::Debug for Joiner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Joiner").field("store", &self.desk.store).finish_non_exhaustive()
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Parts").field("store", &self.store).finish_non_exhaustive()
    }
}
