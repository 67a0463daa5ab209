//! Sending the records of a transaction, and waiting until all are delivered.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rdkafka::{
    client::ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{Producer as _, ProducerContext, ThreadedProducer},
};

use super::{
    client::{log_error, log_line},
    records::unsent,
};
use crate::delivery::Outgoing;

/// How long a sender waits for room before it looks again.
const ROOM_WAIT: Duration = Duration::from_millis(5);

/// How long librdkafka may take to forget a record after it has reported its delivery, and the pause between looks.
const FORGET_TIMEOUT: Duration = Duration::from_millis(50);
const FORGET_PAUSE: Duration = Duration::from_micros(20);

/// What librdkafka calls a lost connection in its log, whoever broke it. It has no other word for it.
const CONNECTION_LOST: &str = "FAIL";

/// Counts the records of a transaction that are on their way.
///
/// rdkafka's own `flush` (and so its `commit_transaction`, which begins with one) sleeps in steps of 100 ms while
/// anything is on its way. Waiting here first makes a small transaction take milliseconds.
#[derive(Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    changed: Condvar,
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
        producer: &ThreadedProducer<Self>,
        outgoing: &Outgoing,
        wait: Duration,
    ) -> KafkaResult<()> {
        self.state().in_flight += 1;
        let mut waits_left = wait.as_millis() / ROOM_WAIT.as_millis();
        loop {
            let Err((error, _)) = producer.send(unsent(outgoing, ())) else { return Ok(()) };
            let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !is_full || waits_left == 0 {
                self.state().in_flight -= 1;
                return Err(error);
            }
            waits_left -= 1;
            // Woken by the next delivery; a missed one costs one wait.
            let waited = self.changed.wait_timeout(self.state(), ROOM_WAIT);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Waits until every record is delivered, at most `wait`.
    pub(super) fn delivered(
        &self,
        producer: &ThreadedProducer<Self>,
        wait: Duration,
    ) -> KafkaResult<()> {
        let state = self.state();
        let pending = |state: &mut State| 0 < state.in_flight && state.failed.is_none();
        let (mut state, timeout) = self
            .changed
            .wait_timeout_while(state, wait, pending)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        if timeout.timed_out() {
            return Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut));
        }
        drop(state);
        // A record is forgotten just after its delivery is reported: microseconds that would cost 100 ms in `flush`.
        let mut looks_left = FORGET_TIMEOUT.as_micros() / FORGET_PAUSE.as_micros();
        while 0 < looks_left && 0 < producer.in_flight_count() {
            thread::sleep(FORGET_PAUSE);
            looks_left -= 1;
        }
        Ok(())
    }

    /// Whether a connection broke since the producer was made. What was asked on it may still reach the broker, whenever.
    pub(super) fn has_lost_connection(&self) -> bool {
        self.has_lost_connection.load(Ordering::Relaxed)
    }

    /// Waits until nothing is on its way, delivered or not, at most `wait`.
    pub(super) fn settle(&self, wait: Duration) {
        let settled =
            self.changed.wait_timeout_while(self.state(), wait, |state| 0 < state.in_flight);
        drop(settled.unwrap_or_else(PoisonError::into_inner));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Outbox {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == CONNECTION_LOST {
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
        drop(state);
        self.changed.notify_all();
    }
}
