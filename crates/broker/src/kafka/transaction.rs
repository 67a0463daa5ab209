//! One transaction at a time: what was written and how far was read, both or neither (KIP-98, KIP-447).

use std::time::Duration;

use chassis::fault;
use rdkafka::{
    ClientConfig, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    producer::Producer as _,
};

use super::{
    client::{ConnectError, creation_error},
    diagnosis::no_answer,
    outbox::{Outbox, Producer, served},
    publish::is_refusal,
    records::FRAME_BYTES_MAX,
    settings::KafkaSettings,
};
use crate::{delivery::Outgoing, exchange::OUTBOX_RECORD_BYTES_MAX};

/// Longest one call of a transaction may take before it is made again.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Most times a call is made whose outcome stays open; with [`CALL_TIMEOUT`], nine seconds.
const CALLS_MAX: usize = 3;

/// How often a coordinator is waited for at the start, each time for [`CALL_TIMEOUT`]; a fresh Kafka takes seconds to have one.
const CONNECTS_MAX: usize = 5;

/// How long records still in flight are waited for before an abort. librdkafka's own abort can fail for good
/// (`INVALID_TXN_STATE`) when it overtakes the first record's registration with the coordinator.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Records of one outbox that librdkafka holds at once; a larger outbox is sent as room comes.
const QUEUE_RECORDS_MAX: usize = 100_000;

/// How transactions are tuned; an operator may change it.
const TUNING: &[(&str, &str)] = &[
    // The outbox is sent in one burst and then waited for: a linger would be waited for too.
    ("linger.ms", "0"),
    // Memory is bounded (the default is a gigabyte).
    ("queue.buffering.max.kbytes", "131072"),
    // A coordinator that still writes the markers of the last transaction says "try again" (`CONCURRENT_TRANSACTIONS`):
    // the default of 100 ms would be the latency of every small transaction.
    ("retry.backoff.ms", "5"),
    ("retry.backoff.max.ms", "500"),
];

/// A producer with a transactional id. It is thrown away, and made anew with the same id, whenever the outcome of a
/// transaction is unknown: librdkafka 2.12 has no other way to find out (it lacks KIP-890). Its successor's first act
/// has the coordinator finish what was left open.
///
/// So it is after each transaction in which a connection broke, however it ended: librdkafka asks again on a new connection, and
/// what it asked on the old one may reach the coordinator later, in the midst of another transaction, and end that one. All
/// transactions of a producer have one epoch, so that the coordinator cannot tell; a successor has the next.
pub(super) struct Transactor {
    config: ClientConfig,
    delivery_timeout: Duration,
    producer: Option<Producer>,
    is_initialised: bool,
}

/// How far was read, and by which member of a group.
type Offsets<'a> = (&'a TopicPartitionList, &'a ConsumerGroupMetadata);

/// Why a transaction did not happen.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was written.
    Aborted(String),
    /// It is not known whether something was written; [`Transactor::ready`] settles it.
    Unknown(String),
    /// Nothing was written, and one of the records never will be.
    Refused(String),
    /// Another has taken the transactional id.
    Fenced(String),
    /// The producer cannot be made.
    Unusable(String),
}

impl Transactor {
    /// Nothing is sent before [`Transactor::ready`].
    pub(super) fn new(
        settings: &KafkaSettings,
        transactional_id: &str,
        session_timeout: Duration,
    ) -> Result<Self, ConnectError> {
        // The transaction of a replica that died is aborted before its partitions go to another...
        let transaction_timeout = session_timeout * 4 / 5;
        // ...and librdkafka wants no record to outlive its transaction.
        let delivery_timeout = session_timeout * 3 / 5;
        let mut config = settings.client_config(TUNING)?;
        config.set("transactional.id", transactional_id);
        config.set("transaction.timeout.ms", transaction_timeout.as_millis().to_string());
        config.set("message.timeout.ms", delivery_timeout.as_millis().to_string());
        // Both are implied by a transactional id; said, because durability rests on them.
        config.set("acks", "all").set("enable.idempotence", "true");
        // The Java default: both sides must agree on the partition of a key.
        config.set("partitioner", "murmur2_random");
        config.set("message.max.bytes", (OUTBOX_RECORD_BYTES_MAX + FRAME_BYTES_MAX).to_string());
        config.set("queue.buffering.max.messages", QUEUE_RECORDS_MAX.to_string());
        // Lost connections are heard of by way of the log, at this level.
        config.set("log.connection.close", "true").set_log_level(RDKafkaLogLevel::Info);
        Ok(Self { config, delivery_timeout, producer: None, is_initialised: false })
    }

    /// [`Transactor::ready`] for the first time: waits for a coordinator, 20 seconds at most, unless no broker lets us in.
    pub(super) fn connect(&mut self, settings: &KafkaSettings) -> Result<(), ConnectError> {
        for connects_left in (0..CONNECTS_MAX).rev() {
            let reason = match self.ready(CALL_TIMEOUT) {
                Ok(()) => return Ok(()),
                Err(Failure::Aborted(reason) | Failure::Unknown(reason)) => reason,
                Err(Failure::Unusable(reason)) => return Err(ConnectError::Settings(reason)),
                Err(Failure::Refused(reason) | Failure::Fenced(reason)) => {
                    return Err(ConnectError::Refused(reason));
                }
            };
            let is_first = connects_left + 1 == CONNECTS_MAX;
            if is_first || connects_left == 0 {
                let error = no_answer(settings, reason);
                if connects_left == 0 || matches!(error, ConnectError::ShutOut { .. }) {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Makes sure that there is a producer and that no transaction of this id is open, waiting at most `wait`. It fences
    /// whoever used the id before.
    pub(super) fn ready(&mut self, wait: Duration) -> Result<(), Failure> {
        if self.producer.is_none() {
            let producer = self.config.create_with_context(Outbox::default());
            let producer =
                producer.map_err(|error| Failure::Unusable(creation_error(error).to_string()))?;
            self.producer = Some(producer);
            self.is_initialised = false;
        }
        let Some(producer) = self.producer.as_ref().filter(|_| !self.is_initialised) else {
            return Ok(());
        };
        match producer.init_transactions(wait) {
            Ok(()) => {
                self.is_initialised = true;
                Ok(())
            }
            // The same call goes on with what it has begun.
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                Err(Failure::Unknown(error.to_string()))
            }
            Err(error) => Err(self.give_up(&error)),
        }
    }

    /// Serves what librdkafka has to tell between transactions.
    pub(super) fn serve(&self) {
        if let Some(producer) = &self.producer {
            producer.context().serve(producer);
        }
    }

    /// Writes `outbox`, and `offsets` as a member of a generation of a group, in one transaction. After an error the caller
    /// goes back and calls [`Transactor::ready`].
    pub(super) fn run(
        &mut self,
        outbox: &[Outgoing],
        offsets: Option<Offsets<'_>>,
    ) -> Result<(), Failure> {
        let outcome = self.transact(outbox, offsets);
        if self.producer.as_ref().is_some_and(|it| it.context().has_lost_connection(it)) {
            tracing::info!("producer made anew, for it has lost a connection");
            self.producer = None;
            self.is_initialised = false;
            // Should this fail, the next transaction does, and its caller goes back.
            if let Err(failure) = self.ready(CALL_TIMEOUT) {
                tracing::debug!(?failure, "not ready yet");
            }
        }
        outcome
    }

    fn transact(
        &mut self,
        outbox: &[Outgoing],
        offsets: Option<Offsets<'_>>,
    ) -> Result<(), Failure> {
        let Some(producer) = self.producer.as_ref().filter(|_| self.is_initialised) else {
            return Err(Failure::Unknown("the producer is being made anew".to_owned()));
        };
        let Err(error) = attempt(producer, outbox, offsets, self.delivery_timeout) else {
            return Ok(());
        };
        if !may_abort(producer, &error) {
            return Err(self.give_up(&error));
        }
        producer.context().settle(producer, SETTLE_TIMEOUT);
        match repeat(|| served(producer, || producer.abort_transaction(CALL_TIMEOUT))) {
            Ok(()) if is_refusal(&error) => Err(Failure::Refused(error.to_string())),
            Ok(()) => Err(Failure::Aborted(error.to_string())),
            Err(abort) => Err(self.give_up(&abort)),
        }
    }

    /// Drops the producer, unless another has its id: then a successor would only fence the other in turn.
    fn give_up(&mut self, error: &KafkaError) -> Failure {
        let fatal = self.producer.as_ref().and_then(|producer| producer.client().fatal_error());
        self.producer = None;
        self.is_initialised = false;
        let code = fatal.as_ref().map(|(code, _)| *code).or_else(|| error.rdkafka_error_code());
        let reason = fatal.map_or_else(|| error.to_string(), |(_, reason)| reason);
        match code {
            Some(
                RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch,
            ) => Failure::Fenced(reason),
            _ => Failure::Unknown(reason),
        }
    }
}

fn attempt(
    producer: &Producer,
    outbox: &[Outgoing],
    offsets: Option<Offsets<'_>>,
    delivery_timeout: Duration,
) -> KafkaResult<()> {
    producer.context().open();
    producer.begin_transaction()?;
    for (index, outgoing) in outbox.iter().enumerate() {
        producer.context().send(producer, outgoing, delivery_timeout)?;
        if index == outbox.len() / 2 {
            // What was sent is to be found in the log, or the point would be the same as the one before.
            fault::point_after("mid_produce", || {
                producer.context().settle(producer, SETTLE_TIMEOUT);
            });
        }
    }
    fault::point("before_send_offsets");
    if let Some((offsets, generation)) = offsets.filter(|(offsets, _)| 0 < offsets.count()) {
        repeat(|| producer.send_offsets_to_transaction(offsets, generation, CALL_TIMEOUT))?;
    }
    fault::point("after_send_offsets");
    producer.context().delivered(producer, delivery_timeout)?;
    fault::point_soon("mid_commit");
    repeat(|| producer.commit_transaction(CALL_TIMEOUT))
}

/// Makes a call again while librdkafka says that the same call may go on, a bounded number of times.
fn repeat(mut call: impl FnMut() -> KafkaResult<()>) -> KafkaResult<()> {
    for _ in 1..CALLS_MAX {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                tracing::debug!(%error, "call made again");
            }
            outcome => return outcome,
        }
    }
    call()
}

/// Whether the transaction can still be aborted, so that its outcome is known.
fn may_abort(producer: &Producer, error: &KafkaError) -> bool {
    if producer.client().fatal_error().is_some() {
        return false;
    }
    match error {
        KafkaError::Transaction(error) => error.txn_requires_abort(),
        // Sending or delivering went wrong: no commit was asked for yet.
        KafkaError::MessageProduction(_) | KafkaError::Nul(_) => true,
        _ => false,
    }
}
