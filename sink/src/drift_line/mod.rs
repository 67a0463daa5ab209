//! The drift line: verdicts summed by the [watcher](crate::watcher), judged by the [aggregator](crate::aggregator).
//!
//! Each is a loop on a thread of its own. None of their troubles stops the rows: a broker or a store that is away is waited for, and
//! one that is shut out (another took its transactional id, or a transaction grew too old) says so and joins anew, where the
//! processor would end its process.

pub(crate) mod instruments;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use broker::{
    ExchangeError,
    kafka::{ConnectError, ExchangeOptions, KafkaExchange, KafkaSettings},
};
use chassis::{Backoff, Health, clock, health::Check};
use schemas::topics;
use store::VerdictStore;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    DriftSettings,
    aggregator::{Aggregator, AggregatorParts, Instruments, KafkaSnapshots},
    references::References,
    watcher::Watcher,
};

/// Names of the loops in health reports.
pub const WATCHER: &str = "drift-watcher";
/// As [`WATCHER`].
pub const AGGREGATOR: &str = "drift-aggregator";

/// Longest wait for a first record. Bounds how late a stop is noticed.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// Between two looks at how far the line is behind.
const STANDING_EVERY: Duration = Duration::from_secs(1);
/// Longest silence of a loop: a commit may wait for its broker for as long as a transaction may take (60 s).
const BEAT_WAIT_MAX: Duration = Duration::from_mins(2);

/// What the drift line works with, made by whoever starts it.
#[derive(Clone, Debug)]
pub struct DriftParts {
    /// Where verdicts, windows, states and alerts are.
    pub kafka: KafkaSettings,
    /// Takes the judgements.
    pub store: Arc<dyn VerdictStore>,
    /// Where the loops say how they fare.
    pub health: Health,
    /// How.
    pub settings: DriftSettings,
    /// The name of this replica, see [`DriftSettings::replica`].
    pub replica: String,
    /// Asks both to hand on what is in hand and leave.
    pub stop: CancellationToken,
}

/// How one turn of a loop went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It did what there was to do.
    Ready,
    /// It has nothing to do yet, for this reason.
    Waiting(&'static str),
    /// Somebody is away, or something is wrong, for this reason. Wait, then try the same again.
    Paused(String),
}

/// A loop that reads, concludes and writes, in transactions.
pub(crate) trait Turning {
    fn turn(&mut self, now: Instant, wait: Duration) -> Result<Turn, ExchangeError>;
    /// Drops what is in hand: the exchange has gone back.
    fn recover(&mut self, error: &ExchangeError);
    /// Tells how far it is behind.
    fn report(&mut self);
    /// Hands on what is in hand, since it is to stop.
    fn finish(&mut self) -> Result<(), ExchangeError>;
}

/// Sums verdicts on a thread of its own until asked to stop.
pub async fn watch(parts: DriftParts) -> anyhow::Result<()> {
    let DriftParts { kafka, health, settings, replica, stop, .. } = parts;
    let turns = Turns::new(health.register_beating(WATCHER, BEAT_WAIT_MAX), &settings, stop);
    let (kafka, options) = joining(&kafka, &settings, &replica, WATCHER);
    let start = move || {
        let exchange = KafkaExchange::connect(&kafka, options.clone())?;
        let references = References::directory(&settings.repository(), &settings.profile);
        Ok(Watcher::new(Box::new(exchange), references, &settings))
    };
    chassis::stop::thread(WATCHER, move || {
        turns.run(start);
        Ok(())
    })
    .await
}

/// Judges windows on a thread of its own, or stands ready to, until asked to stop. Belongs in a Tokio runtime.
pub async fn aggregate(parts: DriftParts) -> anyhow::Result<()> {
    let DriftParts { kafka, store, health, settings, replica, stop } = parts;
    let turns = Turns::new(health.register_beating(AGGREGATOR, BEAT_WAIT_MAX), &settings, stop);
    let (kafka, options) = joining(&kafka, &settings, &replica, AGGREGATOR);
    let (runtime, instruments) = (Handle::current(), Instruments::new());
    let start = move || {
        let exchange = KafkaExchange::connect(&kafka, options.clone())?;
        Ok(Aggregator::new(
            AggregatorParts {
                exchange: Box::new(exchange),
                snapshots: Box::new(KafkaSnapshots::new(&kafka, &settings.aggregator_group)),
                store: Arc::clone(&store),
                references: References::directory(&settings.repository(), &settings.profile),
                runtime: runtime.clone(),
                instruments: instruments.clone(),
            },
            &settings,
        ))
    };
    chassis::stop::thread(AGGREGATOR, move || {
        turns.run(start);
        Ok(())
    })
    .await
}

/// As whom a part reads and writes.
fn joining(
    kafka: &KafkaSettings,
    settings: &DriftSettings,
    replica: &str,
    part: &str,
) -> (KafkaSettings, ExchangeOptions) {
    let id = format!("{replica}-{part}");
    let (group, topic) = match part {
        WATCHER => (&settings.watcher_group, topics::VERDICTS),
        _ => (&settings.aggregator_group, topics::DRIFT_WINDOWS),
    };
    let options = ExchangeOptions {
        session_timeout: settings.session_timeout,
        ..ExchangeOptions::new(group, [topic], &id)
    };
    (kafka.named(&id), options)
}

/// What drives a loop.
struct Turns {
    check: Check,
    stop: CancellationToken,
    backoff: Backoff,
}

impl Turns {
    fn new(check: Check, settings: &DriftSettings, stop: CancellationToken) -> Self {
        Self { check, stop, backoff: settings.backoff }
    }

    /// Starts, and starts anew whenever it was shut out, until asked to stop.
    fn run<T: Turning>(&self, mut start: impl FnMut() -> Result<T, ConnectError>) {
        let mut waits = self.backoff.attempts();
        while !self.stop.is_cancelled() {
            self.check.beat(clock::monotonic());
            let reason = match start() {
                Ok(mut part) => match self.turn_on(&mut part) {
                    Ok(()) => return,
                    Err(fatal) => {
                        error!(reason = %fatal, "shut out, joining anew");
                        fatal.to_string()
                    }
                },
                Err(error) => {
                    warn!(reason = %error, "not joined yet, trying again");
                    error.to_string()
                }
            };
            self.check.not_ready(reason);
            self.pause(waits.next().unwrap_or(self.backoff.max));
        }
    }

    /// Turns until asked to stop, or until it may not write any more.
    fn turn_on(&self, part: &mut impl Turning) -> Result<(), ExchangeError> {
        let mut waits = self.backoff.attempts();
        let mut report_next = clock::monotonic();
        while !self.stop.is_cancelled() {
            let now = clock::monotonic();
            self.check.beat(now);
            if report_next <= now {
                report_next = now + STANDING_EVERY;
                part.report();
            }
            match part.turn(now, IDLE_WAIT) {
                Ok(Turn::Ready) => {
                    waits.reset();
                    self.check.ready();
                }
                Ok(Turn::Waiting(reason)) => self.check.not_ready(reason),
                Ok(Turn::Paused(reason)) => {
                    warn!(reason, "drift is not judged, trying again");
                    self.check.not_ready(reason);
                    self.pause(waits.next().unwrap_or(self.backoff.max));
                }
                Err(fatal @ ExchangeError::Fatal(_)) => return Err(fatal),
                Err(error) => {
                    part.recover(&error);
                    if let ExchangeError::Unavailable(_) = &error {
                        self.check.not_ready(error.to_string());
                    }
                    // After an abort as well: what is refused once is refused again.
                    self.pause(waits.next().unwrap_or(self.backoff.max));
                }
            }
        }
        match part.finish() {
            Ok(()) => info!("stopped"),
            // It was not committed, so a successor reads it again.
            Err(error) => warn!(reason = %error, "stopped with something in hand"),
        }
        Ok(())
    }

    /// Waits, and says so while it does; a stop ends it.
    fn pause(&self, wait: Duration) {
        let until = clock::monotonic() + wait;
        loop {
            let now = clock::monotonic();
            self.check.beat(now);
            let left = until.saturating_duration_since(now);
            if left.is_zero() || self.stop.is_cancelled() {
                return;
            }
            thread::sleep(left.min(IDLE_WAIT));
        }
    }
}
