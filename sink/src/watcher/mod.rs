//! Sums verdicts in partial windows and hands them on, exactly once, whatever crashes.
//!
//! A loop of its own beside the writer's, on a thread of its own: whatever holds it up, rows are written. The sums and the offsets
//! of what they are of are written in one transaction, so that any number of replicas may share the verdicts and each verdict is
//! in one window. It remembers nothing that is not committed: what is in hand at a crash is read again.
//!
//! # Layout
//! - here: the loop; `partials`: what is in hand, pure; `instruments`: what is measured

mod instruments;
mod partials;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use broker::{Exchange, ExchangeError, Outgoing};
use chassis::fault;
use drift::Window;
use schemas::{Record, headers, record::Header, topics};
use tracing::{debug, warn};

use crate::{
    DriftSettings,
    drift_line::{Turn, Turning, instruments::LineInstruments},
    references::References,
};
use instruments::Instruments;
use partials::Partials;

/// Most windows in hand: of a history that comes all at once each verdict may have a slot of its own.
const PARTIALS_MAX: usize = 64;

/// Most records of one poll.
const POLL_MAX: usize = 1_000;

/// The loop and what it works with.
pub struct Watcher {
    exchange: Box<dyn Exchange>,
    references: References,
    partial_every: Duration,
    records_max: u64,
    partials: Partials,
    /// When the first record in hand was read.
    began: Option<Instant>,
    instruments: Instruments,
    line: LineInstruments,
}

impl Watcher {
    /// A watcher that has read nothing yet of what `exchange` reads, [`topics::VERDICTS`].
    pub fn new(
        exchange: Box<dyn Exchange>,
        references: References,
        settings: &DriftSettings,
    ) -> Self {
        Self {
            exchange,
            references,
            partial_every: settings.partial_every,
            records_max: settings.partial_verdicts_max.get() as u64,
            partials: Partials::new(settings.assembly()),
            began: None,
            instruments: Instruments::new(),
            line: LineInstruments::new("watcher"),
        }
    }

    /// Reads on, waiting at most `wait`, and hands on what is in hand once it is time.
    pub fn turn(&mut self, now: Instant, wait: Duration) -> Result<(), ExchangeError> {
        if self.is_due(now) {
            self.commit()?;
        }
        let until_due = self
            .began
            .map(|began| self.partial_every.saturating_sub(now.saturating_duration_since(began)));
        let room = self.records_max.saturating_sub(self.partials.records());
        let max = usize::try_from(room).unwrap_or(POLL_MAX).clamp(1, POLL_MAX);
        let wait = until_due.map_or(wait, |until_due| until_due.min(wait));
        for delivery in self.exchange.poll(max, wait)? {
            self.began.get_or_insert(now);
            self.partials.add(&delivery, &mut self.references, now);
            if PARTIALS_MAX <= self.partials.len() {
                // Commits what is in hand only: the rest of the poll is added afterwards.
                self.commit()?;
            }
        }
        Ok(())
    }

    /// Hands on what is in hand, whether or not it is time.
    pub fn commit(&mut self) -> Result<(), ExchangeError> {
        self.began = None;
        let (windows, progress, tally) = self.partials.take();
        let records: Result<Vec<_>, _> = windows.iter().map(record).collect();
        let outbox = match records {
            Ok(records) => records.into_iter().map(outgoing).collect(),
            Err(error) => return Err(ExchangeError::Fatal(error.to_string())),
        };
        fault::point("drift_before_partial");
        self.exchange.commit(outbox, &progress)?;
        fault::point("drift_after_partial");
        self.instruments.committed(tally);
        self.line.committed();
        debug!(windows = windows.len(), verdicts = tally.counted, "handed on partial windows");
        Ok(())
    }

    fn is_due(&self, now: Instant) -> bool {
        let is_old = |began: Instant| self.partial_every <= now.saturating_duration_since(began);
        self.began.is_some_and(is_old) || self.records_max <= self.partials.records()
    }
}

impl Turning for Watcher {
    fn turn(&mut self, now: Instant, wait: Duration) -> Result<Turn, ExchangeError> {
        Self::turn(self, now, wait)?;
        let is_assigned = self.exchange.is_assigned();
        Ok(if is_assigned {
            Turn::Ready
        } else {
            Turn::Waiting("no partitions of the verdicts' topic yet")
        })
    }

    fn recover(&mut self, error: &ExchangeError) {
        self.began = None;
        drop(self.partials.take());
        self.line.aborted();
        warn!(reason = %error, "sums in hand dropped, their verdicts are read again");
    }

    fn report(&mut self) {
        self.line.standing(self.exchange.standing());
    }

    fn finish(&mut self) -> Result<(), ExchangeError> {
        self.commit()
    }
}

/// A partial window as a record of [`topics::DRIFT_WINDOWS`].
pub fn record(window: &Window) -> Result<Record, serde_json::Error> {
    Ok(Record {
        key: Some(window.sums().model.name.clone().into_bytes()),
        value: Some(serde_json::to_vec(window)?),
        headers: vec![Header::text(headers::CONTENT_TYPE, headers::JSON)],
        // The broker's clock: reviews may be years old, and the topic is kept by age elsewhere.
        timestamp_ms: None,
    })
}

fn outgoing(record: Record) -> Outgoing {
    Outgoing { topic: Arc::from(topics::DRIFT_WINDOWS), record }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watcher").field("partials", &self.partials).finish_non_exhaustive()
    }
}
