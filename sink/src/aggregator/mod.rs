//! Decides whether verdicts drift: merges partial windows, judges those that are complete, and tells of it.
//!
//! The windows' topic has one partition, so that one aggregator of its group decides and the others stand by. What it knows, the alerts
//! and its offsets are written in one transaction, and the rows before it: whoever takes over goes on from the same state, and after a
//! crash the same windows give the same decisions, told once.
//!
//! # Layout
//! - here: the loop; `state`: what is known and what a window makes of it, pure; `snapshot`: that as records
//! - `telling`: alerts and rows, pure; `instruments`: what is measured

mod instruments;
#[cfg(test)]
mod simulation;
mod snapshot;
mod state;
mod telling;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use broker::{Assignment, Delivery, Exchange, ExchangeError, Outgoing, Progress};
use chassis::{clock, fault};
use drift::Window;
use jiff::Timestamp;
use schemas::{DriftAlert, DriftChange, Record, topics};
use store::{JudgedWindow, StoreError, VerdictStore};
use tokio::runtime::Handle;
use tracing::{error, info, warn};

pub use instruments::Instruments;
pub use snapshot::{KafkaSnapshots, Snapshots};
pub use state::{Judged, Outcome, Rules, State, Version};
pub use telling::{alerts, row};

use crate::{
    DriftSettings,
    drift_line::{Turn, Turning, instruments::LineInstruments},
    references::References,
};
use instruments::Counts;
use snapshot::Patience;

/// Most partial windows of one round, some kilobytes each.
const ROUND_MAX: usize = 256;

/// How long a state is waited for that is as new as what was committed. Then an older one is taken, and said so.
const STATE_WAIT_MAX: Duration = Duration::from_secs(10);

/// What the aggregator works with.
pub struct AggregatorParts {
    /// Reads [`topics::DRIFT_WINDOWS`].
    pub exchange: Box<dyn Exchange>,
    /// What was known.
    pub snapshots: Box<dyn Snapshots>,
    /// Takes the judgements.
    pub store: Arc<dyn VerdictStore>,
    /// What windows are compared with.
    pub references: References,
    /// Where calls of the store run.
    pub runtime: Handle,
    /// What is measured.
    pub instruments: Instruments,
}

/// The loop.
pub struct Aggregator {
    parts: AggregatorParts,
    rules: Rules,
    group: String,
    /// `None` until it is read, and where another decides.
    state: Option<State>,
    /// The change of the assignment with which it was read.
    read_at: u64,
    patience: Patience,
    /// Partial windows that are not committed.
    in_hand: Vec<Delivery>,
    line: LineInstruments,
}

/// What a round is to write.
#[derive(Default)]
struct Round {
    rows: Vec<JudgedWindow>,
    alerts: Vec<DriftAlert>,
    counts: Counts,
}

impl Aggregator {
    /// An aggregator that has read nothing yet.
    pub fn new(parts: AggregatorParts, settings: &DriftSettings) -> Self {
        let rules = Rules {
            assembly: settings.assembly(),
            decisions: settings.decisions.clone(),
            versions_max: settings.versions_max.get(),
        };
        Self {
            parts,
            rules,
            group: settings.aggregator_group.clone(),
            state: None,
            read_at: 0,
            patience: Patience::default(),
            in_hand: Vec::new(),
            line: LineInstruments::new("aggregator"),
        }
    }

    /// Reads on, waiting at most `wait`, judges and tells.
    pub fn turn(&mut self, now: Instant, wait: Duration) -> Result<Turn, ExchangeError> {
        let room = ROUND_MAX.saturating_sub(self.in_hand.len());
        if 0 < room {
            self.in_hand.extend(self.parts.exchange.poll(room, wait)?);
        }
        let assignment = self.parts.exchange.assignment();
        if assignment.partitions.iter().any(|(_topic, number)| *number != 0) {
            let topic = topics::DRIFT_WINDOWS;
            return Ok(Turn::Paused(format!(
                "{topic} has more than one partition, so that nobody sees all windows: make it anew with one"
            )));
        }
        if !assignment.has(topics::DRIFT_WINDOWS, 0) {
            self.stand_by();
            let is_known = self.parts.exchange.is_assigned();
            return Ok(if is_known { Turn::Ready } else { Turn::Waiting("not in its group yet") });
        }
        let mut state = match self.known(&assignment, now) {
            Ok(Some(state)) => state,
            Ok(None) => return Ok(Turn::Waiting("its state is not there yet")),
            Err(reason) => return Ok(Turn::Paused(reason)),
        };
        if self.in_hand.is_empty() {
            return Ok(Turn::Ready);
        }
        let round = self.judge(&mut state, now, clock::now());
        if let Err(reason) = self.keep(&round.rows) {
            return Ok(Turn::Paused(reason));
        }
        self.commit(state, &round)?;
        Ok(Turn::Ready)
    }

    /// The state to go on from: read anew after every change of the assignment, in which another may have gone on.
    fn known(&mut self, assignment: &Assignment, now: Instant) -> Result<Option<State>, String> {
        if self.read_at == assignment.changes
            && let Some(state) = &self.state
        {
            return Ok(Some(state.clone()));
        }
        self.state = None;
        let state = snapshot::read(&mut *self.parts.snapshots, &self.group)?;
        let committed = self.parts.snapshots.committed()?;
        if committed.is_some_and(|committed| state.next < committed) {
            if self.patience.is_left(now, STATE_WAIT_MAX) {
                return Ok(None);
            }
            // Its topic was emptied. To wait for ever would judge nothing any more.
            warn!(state = state.next, committed, "the newest state is older than what was judged");
        }
        self.patience.reset();
        info!(next = state.next, versions = state.versions().count(), "drift is judged here");
        self.parts.instruments.show(&state);
        self.read_at = assignment.changes;
        self.state = Some(state.clone());
        Ok(Some(state))
    }

    fn stand_by(&mut self) {
        if self.state.take().is_some() {
            info!("drift is judged elsewhere");
        }
        self.parts.instruments.hide();
    }

    /// Takes what is in hand into `state`.
    fn judge(&mut self, state: &mut State, now: Instant, at: Timestamp) -> Round {
        let mut round = Round::default();
        let mut refused = None;
        for delivery in &self.in_hand {
            // It was read before the state was written; or its offsets were forgotten, and it is read once more.
            if delivery.offset < state.next {
                continue;
            }
            state.next = delivery.offset.saturating_add(1);
            let taken = window(delivery).and_then(|window| {
                let model = &window.sums().model;
                let reference = self.parts.references.of(model, now);
                let reference = reference.ok_or_else(|| format!("no reference of {model}"))?;
                let taken = state.take(&window, &reference, &self.rules);
                taken.map_err(|error| error.to_string())
            });
            match taken {
                Ok(outcome) => round.add(outcome, at),
                Err(reason) => {
                    round.counts.refused += 1;
                    refused.get_or_insert((delivery.offset, reason));
                }
            }
        }
        if let Some((offset, reason)) = refused {
            let count = round.counts.refused;
            warn!(count, offset, reason, "partial windows that count nowhere; the first is");
        }
        round
    }

    /// Makes the rows durable. Why not, where it is to be tried again.
    fn keep(&self, rows: &[JudgedWindow]) -> Result<(), String> {
        if rows.is_empty() {
            return Ok(());
        }
        match self.parts.runtime.block_on(self.parts.store.keep_judgements(rows)) {
            Ok(()) => Ok(()),
            Err(StoreError::Refused(reason)) => {
                // The decision stands without its row: to wait would judge nothing any more.
                error!(rows = rows.len(), reason, "the store refuses judgements, going on without");
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Writes the state, the alerts and the offsets: all or none.
    fn commit(&mut self, mut state: State, round: &Round) -> Result<(), ExchangeError> {
        let invalid = |error: serde_json::Error| ExchangeError::Fatal(error.to_string());
        let states = snapshot::write(&mut state, &self.group).map_err(invalid)?;
        let alerts = round.alerts.iter().map(DriftAlert::to_record);
        let alerts = alerts.collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        let outgoing = |topic: &str, records: Vec<Record>| {
            let topic: Arc<str> = Arc::from(topic);
            let of = move |record| Outgoing { topic: Arc::clone(&topic), record };
            records.into_iter().map(of).collect::<Vec<_>>()
        };
        let mut outbox = outgoing(topics::DRIFT_STATES, states);
        outbox.extend(outgoing(topics::DRIFT_ALERTS, alerts));
        fault::point("drift_before_decision");
        self.parts.exchange.commit(outbox, &Progress::of(&self.in_hand))?;
        fault::point("drift_after_decision");
        self.in_hand.clear();
        for alert in &round.alerts {
            let DriftAlert { model, signal, sentence, .. } = alert;
            let (name, version) = (&model.name, &model.version);
            match alert.change {
                DriftChange::Began => warn!(name, version, signal, sentence, "drift began"),
                DriftChange::Ceased => info!(name, version, signal, sentence, "drift ceased"),
            }
        }
        self.line.committed();
        self.parts.instruments.committed(&round.counts);
        self.parts.instruments.show(&state);
        self.state = Some(state);
        Ok(())
    }
}

impl Round {
    fn add(&mut self, outcome: Outcome, at: Timestamp) {
        let Outcome { judged, late, errors_rose } = outcome;
        let counts = &mut self.counts;
        counts.late += late;
        if errors_rose {
            counts.shifts.push(("ddm", "errors".to_owned()));
        }
        for judged in judged {
            *(if judged.is_large() { &mut counts.judged } else { &mut counts.too_small }) += 1;
            counts.shifts.extend(judged.shifts.iter().map(|series| ("adwin", series.clone())));
            for alert in alerts(&judged, at) {
                let change = match alert.change {
                    DriftChange::Began => "began",
                    DriftChange::Ceased => "ceased",
                };
                counts.alerts.push((change, alert.signal.clone()));
                self.alerts.push(alert);
            }
            match row(&judged, at) {
                Ok(row) => self.rows.push(row),
                Err(error) => error!(%error, "a judgement cannot be a row"),
            }
        }
    }
}

impl Turning for Aggregator {
    fn turn(&mut self, now: Instant, wait: Duration) -> Result<Turn, ExchangeError> {
        Self::turn(self, now, wait)
    }

    fn recover(&mut self, error: &ExchangeError) {
        // The outcome may be unknown, and another may have gone on: what is known is read anew.
        self.state = None;
        self.in_hand.clear();
        self.line.aborted();
        warn!(reason = %error, "windows in hand dropped, reading them again");
    }

    fn report(&mut self) {
        self.line.standing(self.parts.exchange.standing());
    }

    fn finish(&mut self) -> Result<(), ExchangeError> {
        Ok(())
    }
}

/// What is told here is true no longer.
impl Drop for Aggregator {
    fn drop(&mut self) {
        self.parts.instruments.hide();
    }
}

fn window(delivery: &Delivery) -> Result<Window, String> {
    let value = delivery.record.value.as_deref().ok_or("its value is null")?;
    serde_json::from_slice(value).map_err(|error| format!("no window: {error}"))
}

impl fmt::Debug for Aggregator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Aggregator")
            .field("rules", &self.rules)
            .field("in_hand", &self.in_hand.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AggregatorParts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AggregatorParts")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
