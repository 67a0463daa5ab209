//! Sending the records of a transaction, and serving what librdkafka tells of them.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use chassis::clock;
use rdkafka::{
    client::ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseProducer, Producer as _, ProducerContext},
};

use super::{
    client::{log_error, log_line},
    records::unsent,
};
use crate::delivery::Outgoing;

/// The producer of transactions. Its events are served by whoever calls it, not by a thread in the background: when a call has
/// returned and [`Outbox::serve`] after it, all is known that librdkafka had to say until then.
pub(super) type Producer = BaseProducer<Outbox>;

/// Pause between two looks for events. Not a wait of rdkafka's `poll`, which uses up its time whatever comes, and spins where less
/// than a millisecond is left of it.
const SERVE_PAUSE: Duration = Duration::from_micros(100);

/// Most events that are served at once without waiting; far more than ever lie there.
const EVENTS_MAX: usize = 100_000;

/// What librdkafka calls a lost connection in its log, whoever broke it: its end, and requests that were not answered in time, after
/// which it breaks the connection itself and says so at `debug` only. It has no other word for them.
///
/// It also breaks connections to a coordinator that has moved, without a word: what was asked of the former one late, that one
/// refuses (`NOT_COORDINATOR`).
const CONNECTION_LOST: [&str; 2] = ["FAIL", "REQTMOUT"];

/// Counts the records of a transaction that are on their way.
#[derive(Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    has_lost_connection: AtomicBool,
}

#[derive(Default)]
struct State {
    in_flight: usize,
    failed: Option<KafkaError>,
}

impl Outbox {
    /// Forgets the failures of the last transaction.
    pub(super) fn open(&self) {
        self.state().failed = None;
    }

    /// Hands one record to librdkafka. A full queue is waited for, at most `wait` for each record.
    pub(super) fn send(
        &self,
        producer: &Producer,
        outgoing: &Outgoing,
        wait: Duration,
    ) -> KafkaResult<()> {
        self.state().in_flight += 1;
        let until = clock::monotonic() + wait;
        loop {
            let Err((error, _)) = producer.send(unsent(outgoing, ())) else { return Ok(()) };
            let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !is_full || until <= clock::monotonic() {
                self.state().in_flight -= 1;
                return Err(error);
            }
            self.serve(producer);
            thread::sleep(SERVE_PAUSE);
        }
    }

    /// Waits until every record is delivered, at most `wait`.
    pub(super) fn delivered(&self, producer: &Producer, wait: Duration) -> KafkaResult<()> {
        let is_over = |state: &State| state.in_flight == 0 || state.failed.is_some();
        let in_time = self.serve_until(producer, wait, is_over);
        match self.state().failed.take() {
            Some(error) => Err(error),
            None if in_time => Ok(()),
            None => Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)),
        }
    }

    /// Waits until nothing is on its way, delivered or not, at most `wait`.
    pub(super) fn settle(&self, producer: &Producer, wait: Duration) {
        self.serve_until(producer, wait, |state| state.in_flight == 0);
    }

    /// Serves the events that are there.
    pub(super) fn serve(&self, producer: &Producer) {
        let mut left = EVENTS_MAX;
        // What librdkafka calls in flight are records and, beyond these, events that wait to be served.
        let has_events = || {
            let count = usize::try_from(producer.in_flight_count()).unwrap_or(0);
            self.state().in_flight < count
        };
        while 0 < left && has_events() {
            producer.poll(Duration::ZERO);
            left -= 1;
        }
    }

    /// Whether a connection broke since the producer was made. What was asked on it may still reach the broker, whenever.
    ///
    /// A lost connection is an event, which comes before the answer to what was asked again on a new one: it is known as soon as
    /// a call has returned, and not a moment later.
    pub(super) fn has_lost_connection(&self, producer: &Producer) -> bool {
        self.serve(producer);
        self.has_lost_connection.load(Ordering::Relaxed)
    }

    /// Whether it is over in time. Serves events meanwhile.
    fn serve_until(
        &self,
        producer: &Producer,
        wait: Duration,
        is_over: impl Fn(&State) -> bool,
    ) -> bool {
        let until = clock::monotonic() + wait;
        loop {
            self.serve(producer);
            if is_over(&self.state()) {
                return true;
            }
            if until <= clock::monotonic() {
                return false;
            }
            thread::sleep(SERVE_PAUSE);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a call that waits inside of librdkafka for deliveries, which somebody else has to serve.
pub(super) fn served<T>(producer: &Producer, call: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let serving = || {
            while !is_over.load(Ordering::Acquire) {
                producer.context().serve(producer);
                thread::sleep(SERVE_PAUSE);
            }
        };
        // Without it the call takes until its own timeout.
        if let Err(error) = thread::Builder::new().spawn_scoped(scope, serving) {
            tracing::warn!(%error, "no thread to serve deliveries");
        }
        let outcome = call();
        is_over.store(true, Ordering::Release);
        outcome
    })
}

impl ClientContext for Outbox {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if CONNECTION_LOST.contains(&facility) {
            self.has_lost_connection.store(true, Ordering::Relaxed);
        }
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ProducerContext for Outbox {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        if let Err((error, _)) = result {
            state.failed.get_or_insert_with(|| error.clone());
        }
    }
}
