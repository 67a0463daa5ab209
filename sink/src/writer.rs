//! THE loop: read a round, make it durable, remember how far.
//!
//! An offset is remembered only once every record before it is a row or a refused record, durably. All else follows: a crash
//! at any point makes the sink read some verdicts again, which changes nothing, since the store is idempotent. Trouble that
//! may pass is waited out in place, with one round in memory; what will never pass is kept as refused, so that one bad
//! record holds up nobody.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use broker::{Progress, Subscribe, SubscribeError};
use chassis::{Tracer, clock, fault};
use store::{RefusedRecord, Row, StoreError, VerdictStore};
use tokio::runtime::Handle;
use tracing::{debug, info, warn};

use crate::{
    Parts, Settings,
    instruments::{Instruments, Lags, Pauses},
    patience::{Ending, Patience},
    round::Round,
    spans::{RoundTrace, Spans},
};

/// Between two looks at how far the sink is behind.
pub(crate) const STANDING_EVERY: Duration = Duration::from_secs(1);

/// Why the sink cannot go on. Nothing is lost: what is not remembered is read again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriterError {
    /// Nothing can be read any more. Exit.
    #[error(transparent)]
    Subscription(SubscribeError),
    /// Nothing can be written any more, not even what was refused. Exit: an operator has to act.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The loop and what it works with.
pub struct Writer {
    subscription: Box<dyn Subscribe>,
    desk: Desk,
    lags: Lags,
    rows_max: usize,
    wait_max: Duration,
}

/// The loop's side towards the store: everything but the subscription, which blocks.
struct Desk {
    store: Arc<dyn VerdictStore>,
    patience: Patience,
    instruments: Instruments,
    spans: Spans,
}

impl Writer {
    /// A writer that reads nothing yet. Calls of the store run on `runtime`.
    pub fn new(parts: Parts, settings: &Settings, runtime: Handle) -> Self {
        let Parts { subscription, store, check, stop } = parts;
        let spans = Spans::new(Tracer::current(), store.system());
        let (backoff, pauses) = (settings.backoff, Pauses::new());
        let patience = Patience { check, stop, runtime, backoff, pauses };
        let desk = Desk { store, patience, instruments: Instruments::new(), spans };
        let (rows_max, wait_max) = (settings.rows_max.max(1), settings.wait_max);
        Self { subscription, desk, lags: Lags::new(), rows_max, wait_max }
    }

    /// Runs until it is asked to stop: then it finishes the round in hand. Blocking, on a thread that is none of the runtime's.
    pub fn run(mut self) -> Result<(), WriterError> {
        let mut waits = self.desk.patience.backoff.attempts();
        let mut standing_next = clock::monotonic();
        while !self.desk.patience.stop.is_cancelled() {
            let now = clock::monotonic();
            self.desk.patience.check.beat(now);
            if standing_next <= now {
                standing_next = now + STANDING_EVERY;
                self.lags.standing(self.subscription.standing());
            }
            match self.subscription.poll(self.rows_max, self.wait_max) {
                Ok(deliveries) => {
                    waits.reset();
                    if self.subscription.is_assigned() {
                        self.desk.patience.check.ready();
                    } else {
                        self.desk
                            .patience
                            .check
                            .not_ready("no partitions of the verdicts' topic yet");
                    }
                    if !deliveries.is_empty() {
                        let now = clock::now();
                        let trace = self.desk.spans.note(&deliveries, now);
                        self.write(Round::new(deliveries, now), trace)?;
                    }
                }
                Err(SubscribeError::Lost(reason)) => {
                    info!(reason, "partition lost, its verdicts are read again elsewhere");
                }
                Err(SubscribeError::Unavailable(reason)) => {
                    self.desk.patience.pause("broker", &reason, waits.next());
                }
                Err(fatal @ SubscribeError::Fatal(_)) => {
                    return Err(WriterError::Subscription(fatal));
                }
            }
        }
        Ok(())
    }

    /// Makes `round` durable, then remembers it. When asked to stop while the store is away, as far as it came.
    fn write(
        &mut self,
        mut round: Round,
        mut trace: Option<RoundTrace>,
    ) -> Result<(), WriterError> {
        fault::point("sink_before_upsert");
        let _entered = trace.as_ref().map(|trace| trace.context().enter());
        self.desk.make_durable(&mut round, &mut trace, &mut *self.subscription)?;
        let progress = round.progress();
        if progress.0.is_empty() {
            return Ok(());
        }
        fault::point("sink_after_upsert");
        let durable_at = clock::now();
        self.remember(&progress)?;
        fault::point("sink_after_commit");
        if let Some(trace) = &trace {
            let row_of = |position| round.row_of(position);
            self.desk.spans.tell(trace, row_of, durable_at, clock::now());
        }
        Ok(())
    }

    /// Commits `progress`, again and again while the broker is away. Not committing is harmless.
    fn remember(&mut self, progress: &Progress) -> Result<(), WriterError> {
        let mut waits = self.desk.patience.backoff.attempts();
        loop {
            match self.subscription.commit(progress) {
                Ok(()) => return Ok(()),
                Err(SubscribeError::Lost(reason)) => {
                    info!(reason, "not remembered: what is taken away is read again elsewhere");
                    return Ok(());
                }
                Err(SubscribeError::Unavailable(reason)) => {
                    if self.desk.patience.stop.is_cancelled() {
                        return Ok(());
                    }
                    self.desk.patience.pause("broker", &reason, waits.next());
                }
                Err(fatal @ SubscribeError::Fatal(_)) => {
                    return Err(WriterError::Subscription(fatal));
                }
            }
        }
    }
}

impl Desk {
    /// Turns every record of `round` into a row or a refused record. Returns early only when asked to stop while the store is
    /// away.
    fn make_durable(
        &self,
        round: &mut Round,
        trace: &mut Option<RoundTrace>,
        subscription: &mut dyn Subscribe,
    ) -> Result<(), WriterError> {
        if !self.keep(&round.invalid(), subscription)? {
            return Ok(());
        }
        round.invalid_are_durable();

        // Ranges of rows that are still to be written, the first on top.
        let all = 0..round.rows().len();
        let mut ranges: Vec<Range<usize>> = vec![all];
        while let Some(range) = ranges.pop() {
            let rows = round.rows().get(range.clone()).unwrap_or_default();
            if rows.is_empty() {
                continue;
            }
            match self.upsert(rows, &range, trace, subscription)? {
                Ending::Done(()) => self.instruments.wrote(rows, clock::now()),
                Ending::Refused(reason) if rows.len() == 1 => {
                    let refused = round.refused_row(range.start, reason, clock::now());
                    if !self.keep(refused.as_slice(), subscription)? {
                        return Ok(());
                    }
                }
                // One row at fault refuses its whole batch: halve it until the row stands alone.
                Ending::Refused(_) => {
                    let middle = range.start + rows.len() / 2;
                    ranges.extend([middle..range.end, range.start..middle]);
                    continue;
                }
                Ending::Stopped => return Ok(()),
            }
            round.rows_are_durable(range);
        }
        debug!(rows = round.rows().len(), "made a round durable");
        Ok(())
    }

    /// Writes `rows`, which are those at `range` of the round.
    fn upsert(
        &self,
        rows: &[Row],
        range: &Range<usize>,
        trace: &mut Option<RoundTrace>,
        subscription: &mut dyn Subscribe,
    ) -> Result<Ending<()>, WriterError> {
        let call = || {
            let (begun, began_at) = (clock::monotonic(), clock::now());
            fault::point_soon("sink_mid_upsert");
            let result = self.patience.runtime.block_on(self.store.upsert(rows));
            self.instruments.upserted(clock::monotonic().duration_since(begun));
            if let Some(trace) = trace {
                trace.called(range.clone(), began_at, clock::now(), &result);
            }
            result
        };
        self.patience.insist(call, || keep_alive(subscription))
    }

    /// Keeps `records` as refused; `false` when asked to stop while the store is away. A store that does not even take those is
    /// beyond what can be done here: to go on would lose them.
    fn keep(
        &self,
        records: &[RefusedRecord],
        subscription: &mut dyn Subscribe,
    ) -> Result<bool, WriterError> {
        let Some(first) = records.first() else { return Ok(true) };
        let call = || self.patience.runtime.block_on(self.store.keep_refused(records));
        match self.patience.insist(call, || keep_alive(subscription))? {
            Ending::Done(()) => {}
            Ending::Refused(reason) => return Err(WriterError::Store(StoreError::Refused(reason))),
            Ending::Stopped => return Ok(false),
        }
        self.instruments.refused(records);
        // One line a round: the table has them all.
        warn!(
            count = records.len(),
            topic = first.topic,
            partition = first.partition,
            offset = first.offset,
            class = first.class,
            reason = first.message,
            "kept records that cannot be rows; the first is"
        );
        Ok(true)
    }
}

fn keep_alive(subscription: &mut dyn Subscribe) -> Result<(), WriterError> {
    subscription.keep_alive().map_err(WriterError::Subscription)
}

impl fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Writer").field("store", &self.desk.store).finish_non_exhaustive()
    }
}
