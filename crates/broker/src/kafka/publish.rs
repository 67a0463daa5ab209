//! Publishing to Kafka: idempotent, acknowledged by all in-sync replicas, bounded in flight.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rdkafka::{
    ClientConfig,
    client::ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{Producer as _, ProducerContext, ThreadedProducer},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{
    client::{ConnectError, creation_error, log_error, log_line},
    records::{FRAME_BYTES_MAX, unsent},
    settings::KafkaSettings,
};
use crate::{
    delivery::Outgoing,
    publish::{Publish, PublishError, RECORD_BYTES_MAX, record_bytes},
};

/// How long a record may stay without an answer. Longer than a partition takes to change its leader (4 to 9 seconds).
const DELIVERY_TIMEOUT_MS: u32 = 15_000;

/// Publishes to Kafka.
pub struct KafkaPublish {
    config: ClientConfig,
    /// Replaced when librdkafka gives it up; see [`KafkaPublish::replace`].
    producer: Mutex<Arc<Producer>>,
    permits: Arc<Semaphore>,
}

type Producer = ThreadedProducer<Receipts>;

/// Tells each publisher what became of its record.
struct Receipts;

/// A record on its way. It holds its permit until librdkafka is done with it, even when the publisher no longer waits.
struct InFlight {
    outcome: oneshot::Sender<Result<(), KafkaError>>,
    _permit: OwnedSemaphorePermit,
}

impl KafkaPublish {
    /// Makes a producer with at most `in_flight_max` records (at least one) between `publish` and its answer. Does not wait for a
    /// broker.
    pub fn connect(settings: &KafkaSettings, in_flight_max: usize) -> Result<Self, ConnectError> {
        let in_flight_max = in_flight_max.clamp(1, Semaphore::MAX_PERMITS.min(10_000_000));
        let config = producer_config(settings, in_flight_max)?;
        let producer = config.create_with_context(Receipts).map_err(creation_error)?;
        let permits = Arc::new(Semaphore::new(in_flight_max));
        Ok(Self { config, producer: Mutex::new(Arc::new(producer)), permits })
    }

    /// Waits at most `wait` until no record is in flight. Records still in flight then are given up when this is dropped.
    pub async fn close(&self, wait: Duration) -> Result<(), PublishError> {
        let producer = self.producer();
        let flushed = tokio::task::spawn_blocking(move || producer.flush(wait)).await;
        match flushed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(PublishError::Unavailable(error.to_string())),
            Err(panic) => Err(PublishError::Unavailable(panic.to_string())),
        }
    }

    fn producer(&self) -> Arc<Producer> {
        Arc::clone(&self.producer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a fresh producer when librdkafka has given this one up (a broker that lost acknowledged data, for instance):
    /// after a fatal error it refuses everything for ever.
    fn replace(&self, failed: &Arc<Producer>) {
        let Some((code, reason)) = failed.client().fatal_error() else { return };
        let mut current = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, failed) {
            return;
        }
        match self.config.create_with_context(Receipts) {
            Ok(fresh) => {
                tracing::warn!(%code, reason, "producer replaced");
                *current = Arc::new(fresh);
            }
            Err(error) => tracing::error!(%code, reason, %error, "producer beyond repair"),
        }
    }
}

#[async_trait]
impl Publish for KafkaPublish {
    async fn publish(&self, outgoing: Outgoing) -> Result<(), PublishError> {
        let bytes = record_bytes(&outgoing.record);
        if RECORD_BYTES_MAX < bytes {
            return Err(PublishError::Refused(format!(
                "{bytes} bytes, of {RECORD_BYTES_MAX} at most"
            )));
        }
        let permit =
            Arc::clone(&self.permits).try_acquire_owned().map_err(|_| PublishError::Full)?;
        let (outcome, receipt) = oneshot::channel();
        let producer = self.producer();
        let in_flight = Box::new(InFlight { outcome, _permit: permit });
        // In a statement of its own: what librdkafka hands back on an error must not live across the wait.
        let sent = producer.send(unsent(&outgoing, in_flight)).map_err(|(error, _)| error);
        let outcome = match sent {
            Ok(()) => receipt.await.unwrap_or(Err(KafkaError::Canceled)),
            Err(error) => Err(error),
        };
        outcome.map_err(|error| {
            self.replace(&producer);
            publish_error(&error)
        })
    }
}

impl fmt::Debug for KafkaPublish {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KafkaPublish")
            .field("permits", &self.permits)
            .finish_non_exhaustive()
    }
}

impl ClientContext for Receipts {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ProducerContext for Receipts {
    type DeliveryOpaque = Box<InFlight>;

    fn delivery(&self, result: &DeliveryResult<'_>, in_flight: Box<InFlight>) {
        let outcome: KafkaResult<()> = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.clone()),
        };
        // A publisher that no longer waits does not want to know.
        drop(in_flight.outcome.send(outcome));
    }
}

/// How publishing is tuned; an operator may change it.
const TUNING: &[(&str, &str)] = &[
    // What comes while five requests are in flight is batched anyway. Against Kafka 4.4 on 2 cores: 0.3 ms a record, one at a
    // time, and 8,000 at once in 68 ms; with a linger of 1 ms 1.6 ms and 71 ms.
    ("linger.ms", "0"),
    // The semaphore is the bound; librdkafka's queue must not be a tighter one, nor hold a gigabyte (its default).
    ("queue.buffering.max.kbytes", "262144"),
    // A new leader is tried soon after the old one is lost.
    ("retry.backoff.ms", "50"),
];

fn producer_config(
    settings: &KafkaSettings,
    in_flight_max: usize,
) -> Result<ClientConfig, ConnectError> {
    let mut config = settings.client_config(TUNING)?;
    // Durable when it returns: every in-sync replica has it, and a retry writes nothing twice (KIP-98).
    config.set("acks", "all").set("enable.idempotence", "true");
    // The Java default: both sides must agree on the partition of a key.
    config.set("partitioner", "murmur2_random");
    config.set("message.max.bytes", (RECORD_BYTES_MAX + FRAME_BYTES_MAX).to_string());
    // A publisher hears of an absent broker in bounded time.
    config.set("message.timeout.ms", DELIVERY_TIMEOUT_MS.to_string());
    config.set("queue.buffering.max.messages", in_flight_max.to_string());
    Ok(config)
}

fn publish_error(error: &KafkaError) -> PublishError {
    if is_refusal(error) {
        return PublishError::Refused(error.to_string());
    }
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => PublishError::Full,
        _ => PublishError::Unavailable(error.to_string()),
    }
}

/// Whether the fault lies in the record itself. A missing topic or a missing right is no fault of a record: an operator
/// mends it, and the record must not be thrown away meanwhile.
pub(super) fn is_refusal(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(error, KafkaError::Nul(_))
        || matches!(
            error.rdkafka_error_code(),
            Some(
                Code::MessageSizeTooLarge
                    | Code::MessageBatchTooLarge
                    | Code::InvalidMessage
                    | Code::InvalidMessageSize
                    | Code::InvalidTimestamp
                    | Code::InvalidTopic
                    | Code::InvalidRecord
                    | Code::PolicyViolation
            )
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_named_by_what_the_publisher_does_next() {
        let check = |code, expected: fn(String) -> PublishError| {
            let error = KafkaError::MessageProduction(code);
            assert_eq!(publish_error(&error), expected(error.to_string()));
        };
        check(RDKafkaErrorCode::QueueFull, |_| PublishError::Full);
        check(RDKafkaErrorCode::MessageSizeTooLarge, PublishError::Refused);
        check(RDKafkaErrorCode::MessageTimedOut, PublishError::Unavailable);
        check(RDKafkaErrorCode::UnknownTopicOrPartition, PublishError::Unavailable);
        check(RDKafkaErrorCode::TopicAuthorizationFailed, PublishError::Unavailable);
    }
}
