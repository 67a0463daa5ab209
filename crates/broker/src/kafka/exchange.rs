//! The exchange over Kafka: one transaction per commit, and a way back from every outcome.

use std::{fmt, sync::Arc, time::Duration};

use rdkafka::{
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaResult,
};

use super::{
    client::{ConnectError, creation_error},
    consumer::{committed, drain, join_config, offsets, reader_config, shared},
    diagnosis::diagnosed,
    membership::Membership,
    records::delivery,
    settings::KafkaSettings,
    transaction::{Failure, Transactor},
};
use crate::{
    delivery::{Delivery, Outgoing, Progress},
    exchange::{Assignment, Exchange, ExchangeError, OUTBOX_RECORD_BYTES_MAX},
    publish::record_bytes,
    standing::Standing,
};

/// How long a failed commit tries to go back before it leaves that to the next poll.
const BACK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one poll tries to go back. Longer than most polls, since a poll that gives up at once never gets there.
const BACK_IN_POLL_TIMEOUT: Duration = Duration::from_secs(1);

/// What an exchange reads, and as whom it reads and writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeOptions {
    /// The consumer group, whose members share the partitions.
    pub group: String,
    /// The topics to read.
    pub topics: Vec<String>,
    /// One for each replica, the same after a restart: the name of the pod. Whoever takes it fences its former holder.
    pub transactional_id: String,
    /// How long after its last sign of life a replica is given up, and its partitions go to others. Brokers allow
    /// 6 seconds to 30 minutes. Four fifths of it is the transaction timeout, three fifths the delivery timeout.
    pub session_timeout: Duration,
}

impl ExchangeOptions {
    /// With a session timeout of 15 seconds.
    pub fn new<T: Into<String>>(
        group: impl Into<String>,
        topics: impl IntoIterator<Item = T>,
        transactional_id: impl Into<String>,
    ) -> Self {
        Self {
            group: group.into(),
            topics: topics.into_iter().map(Into::into).collect(),
            transactional_id: transactional_id.into(),
            session_timeout: Duration::from_secs(15),
        }
    }
}

/// Reads and writes Kafka, atomically.
///
/// # Rounds in hand
/// The exchange keeps, for each partition, the span of offsets that were polled and not yet committed. A commit must lie
/// within these spans, so several rounds may be in hand and are committed in order. When a partition with records in
/// hand is revoked, and after every commit that did not succeed, all rounds in hand are void: the exchange goes
/// back to the committed offsets, empties the spans, and says so once, as the error of that poll or commit. A commit of
/// a void round is refused. A rebalance that takes nothing in hand (cooperative) disturbs nothing.
///
/// # While the broker is away
/// `commit` answers `Unavailable` after a quarter of a minute; `poll` gives nothing and tries to go back, for up to a
/// second at a time. No record is given out before it has gone back, so nothing is lost or written twice.
///
/// # Fencing
/// Taking the transactional id of a living replica makes that replica's next commit `Fatal`. So does a broker that
/// aborted a transaction for its age, since librdkafka cannot tell the two apart: the replica restarts, nothing is lost.
pub struct KafkaExchange {
    consumer: BaseConsumer<Membership>,
    transactor: Transactor,
    topics: Vec<Arc<str>>,
    /// Whether it must go back before it gives out another record.
    is_astray: bool,
}

impl KafkaExchange {
    /// Fences the former holder of the transactional id and joins the group. Blocks, 20 seconds at most.
    pub fn connect(
        settings: &KafkaSettings,
        options: ExchangeOptions,
    ) -> Result<Self, ConnectError> {
        let ExchangeOptions { group, topics, transactional_id, session_timeout } = options;
        let mut config = reader_config(settings, &group)?;
        join_config(&mut config, session_timeout)?;
        let mut transactor = Transactor::new(settings, &transactional_id, session_timeout)?;
        transactor.connect(settings)?;
        let consumer: BaseConsumer<Membership> =
            config.create_with_context(Membership::default()).map_err(creation_error)?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|error| diagnosed(settings, &error))?;
        Ok(Self { consumer, transactor, topics: shared(&names), is_astray: false })
    }

    /// Takes records in hand.
    fn take(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, ExchangeError> {
        let mut round = Vec::new();
        let drained = drain(&self.consumer, max, wait, |message| {
            let delivery = delivery(message, &self.topics);
            self.consumer.context().state().ledger.take(&delivery);
            round.push(delivery);
        });
        drained.map_err(|code| ExchangeError::Fatal(code.to_string()))?;
        Ok(round)
    }

    /// Settles the transaction left open, if any, and returns to the committed offsets; all rounds in hand are void.
    fn go_back(&mut self, wait: Duration) -> Result<(), ExchangeError> {
        self.is_astray = true;
        self.transactor.ready(wait).map_err(|failure| match failure {
            Failure::Fenced(reason) | Failure::Unusable(reason) => ExchangeError::Fatal(reason),
            Failure::Aborted(reason) | Failure::Unknown(reason) | Failure::Refused(reason) => {
                ExchangeError::Unavailable(reason)
            }
        })?;
        self.seek(wait).map_err(|error| ExchangeError::Unavailable(error.to_string()))?;
        self.consumer.context().state().ledger.clear();
        self.is_astray = false;
        Ok(())
    }

    /// Seeks in the partitions that gave out records, and only in these: the others still are where they were, and librdkafka
    /// cannot seek in a partition that is not being fetched yet.
    fn seek(&self, wait: Duration) -> KafkaResult<()> {
        // No rebalance can come in between: it is handed out by `poll` only.
        let targets = {
            let state = self.consumer.context().state();
            if state.ledger.partitions().next().is_none() {
                return Ok(());
            }
            committed(&self.consumer, state.ledger.partitions(), wait)?
        };
        let sought = self.consumer.seek_partitions(targets, wait)?;
        sought
            .elements()
            .iter()
            .try_for_each(rdkafka::topic_partition_list::TopicPartitionListElem::error)
    }

    /// Goes back, and says so.
    fn void(&mut self, error: ExchangeError) -> ExchangeError {
        match self.go_back(BACK_TIMEOUT) {
            Ok(()) => error,
            Err(worse) => worse,
        }
    }
}

impl Exchange for KafkaExchange {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, ExchangeError> {
        self.transactor.serve();
        if self.is_astray {
            match self.go_back(BACK_IN_POLL_TIMEOUT.max(wait)) {
                Ok(()) => {}
                Err(ExchangeError::Unavailable(reason)) => {
                    tracing::debug!(reason, "not back yet");
                    // Still to be polled, or the group would take us for stuck; and the caller must not spin. The ledger
                    // notes what is thrown away.
                    self.take(max, wait)?;
                    return Ok(Vec::new());
                }
                Err(error) => return Err(error),
            }
        }
        let round = self.take(max, wait)?;
        let loss = self.consumer.context().state().ledger.loss();
        match loss {
            None => Ok(round),
            Some(reason) => Err(self.void(ExchangeError::Aborted(reason))),
        }
    }

    fn commit(&mut self, outbox: Vec<Outgoing>, progress: &Progress) -> Result<(), ExchangeError> {
        if outbox.is_empty() && progress.0.is_empty() {
            return Ok(());
        }
        let (refusal, generation) = {
            let state = self.consumer.context().state();
            (state.ledger.refusal(progress), state.generation.clone())
        };
        if self.is_astray {
            return Err(self.void(ExchangeError::Aborted(
                "the round was polled before going back".to_owned(),
            )));
        }
        if let Some(reason) = refusal {
            return Err(self.void(ExchangeError::Aborted(reason)));
        }
        if let Some(bytes) = outbox
            .iter()
            .map(|it| record_bytes(&it.record))
            .find(|bytes| OUTBOX_RECORD_BYTES_MAX < *bytes)
        {
            let reason = format!("{bytes} bytes, of {OUTBOX_RECORD_BYTES_MAX} at most");
            return Err(self.void(ExchangeError::Refused(reason)));
        }
        let Some(generation) = generation else {
            return Err(ExchangeError::Aborted("not a member of the group yet".to_owned()));
        };
        let offsets = offsets(progress).map_err(|error| ExchangeError::Fatal(error.to_string()))?;
        match self.transactor.run(&outbox, Some((&offsets, &generation))) {
            Ok(()) => {
                self.consumer.context().state().ledger.release(progress);
                Ok(())
            }
            Err(Failure::Aborted(reason) | Failure::Unknown(reason)) => {
                Err(self.void(ExchangeError::Aborted(reason)))
            }
            Err(Failure::Refused(reason)) => Err(self.void(ExchangeError::Refused(reason))),
            Err(Failure::Fenced(reason) | Failure::Unusable(reason)) => {
                self.is_astray = true;
                Err(ExchangeError::Fatal(reason))
            }
        }
    }

    fn is_assigned(&self) -> bool {
        self.consumer.context().state().is_assigned
    }

    fn standing(&self) -> Standing {
        self.consumer.context().standing()
    }

    fn assignment(&self) -> Assignment {
        self.consumer.context().state().assignment.clone()
    }
}

impl fmt::Debug for KafkaExchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KafkaExchange")
            .field("topics", &self.topics)
            .field("is_astray", &self.is_astray)
            .finish_non_exhaustive()
    }
}
