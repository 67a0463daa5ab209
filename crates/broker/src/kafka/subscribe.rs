//! Reading Kafka at least once: as a member of a group, or from the end of a topic without one.

use std::{fmt, mem, sync::Arc, thread, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use tracing::debug;

use super::{
    client::{ConnectError, creation_error, is_transient},
    consumer::{drain, ends, join_config, offsets, partitions_of, reader_config, shared},
    diagnosis::diagnosed,
    membership::Membership,
    records::delivery,
    settings::KafkaSettings,
};
use crate::{
    delivery::{Delivery, Progress},
    owed::Owed,
    standing::Standing,
    subscribe::{Subscribe, SubscribeError, TailFrom},
};

/// How long one question to the cluster may take when a tail is made.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Most times that a topic is looked at which was just made, and the pause between two looks.
const LOOKS_MAX: usize = 20;
const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// Reads Kafka at `read_committed`.
pub struct KafkaSubscribe {
    consumer: BaseConsumer<Membership>,
    topics: Vec<Arc<str>>,
    is_tail: bool,
    /// Whether partitions are paused, since the last call was [`Subscribe::keep_alive`].
    is_paused: bool,
    /// What came although its partition was to be paused: one that has just been assigned, for instance.
    early: Vec<Delivery>,
    owed: Owed,
}

impl KafkaSubscribe {
    /// Joins a group, whose other members wait for `session_timeout` (as in [`super::ExchangeOptions`]) when this one dies. Does
    /// not wait for a broker.
    pub fn group(
        settings: &KafkaSettings,
        group: &str,
        topics: &[&str],
        session_timeout: Duration,
    ) -> Result<Self, ConnectError> {
        let mut config = reader_config(settings, group)?;
        join_config(&mut config, session_timeout)?;
        let consumer: BaseConsumer<Membership> =
            config.create_with_context(Membership::default()).map_err(creation_error)?;
        consumer.subscribe(topics).map_err(|error| diagnosed(settings, &error))?;
        Ok(Self {
            consumer,
            topics: shared(topics),
            is_tail: false,
            is_paused: false,
            early: Vec::new(),
            owed: Owed::default(),
        })
    }

    /// Reads all partitions of `topics` without a group. Blocks until it knows where `from` is, so that what is published
    /// after it returns is seen. Partitions added later are not: make a new tail.
    pub fn tail(
        settings: &KafkaSettings,
        topics: &[&str],
        from: TailFrom,
    ) -> Result<Self, ConnectError> {
        // librdkafka wants a group id to assign partitions; no group of that name is joined, nor offsets kept.
        let config = reader_config(settings, &format!("{}-tail", settings.client_id()))?;
        let consumer: BaseConsumer<Membership> =
            config.create_with_context(Membership::default()).map_err(creation_error)?;
        let start = start(&consumer, topics, from).map_err(|error| diagnosed(settings, &error))?;
        consumer.assign(&start).map_err(|error| diagnosed(settings, &error))?;
        Ok(Self {
            consumer,
            topics: shared(topics),
            is_tail: true,
            is_paused: false,
            early: Vec::new(),
            owed: Owed::default(),
        })
    }

    /// Takes `max` records at most, and notes that they are in hand.
    fn take(
        &self,
        max: usize,
        wait: Duration,
        into: &mut Vec<Delivery>,
    ) -> Result<(), SubscribeError> {
        let membership = self.consumer.context();
        // What was taken away before matters to its own partitions only, and those are no longer in hand.
        membership.state().ledger.forgive();
        let drained = drain(&self.consumer, max, wait, |message| {
            let delivery = delivery(message, &self.topics);
            membership.state().ledger.take(&delivery);
            into.push(delivery);
        });
        drained.map_err(|code| SubscribeError::Fatal(code.to_string()))
    }

    /// Commits what is owed, of partitions that are still here.
    fn settle(&mut self) -> Result<(), SubscribeError> {
        let due = self.owed.due(&self.consumer.context().state().ledger);
        if due.0.is_empty() {
            return Ok(());
        }
        let offsets = offsets(&due).map_err(|error| commit_error(&error))?;
        self.consumer.commit(&offsets, CommitMode::Sync).map_err(|error| commit_error(&error))?;
        self.owed.settle(&mut self.consumer.context().state().ledger);
        Ok(())
    }
}

/// Where a tail begins, in every partition, as numbers: "the end" would be looked up only later, and skip what comes meanwhile.
pub(super) fn start<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &[&str],
    from: TailFrom,
) -> KafkaResult<TopicPartitionList> {
    for _ in 1..LOOKS_MAX {
        match look(consumer, topics, from) {
            Err(error) if is_being_made(&error) => thread::sleep(LOOK_PAUSE),
            outcome => return outcome,
        }
    }
    look(consumer, topics, from)
}

/// Whether the broker that was asked does not know yet that it leads the partition.
fn is_being_made(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{LeaderNotAvailable, NotLeaderForPartition};
    matches!(error.rdkafka_error_code(), Some(LeaderNotAvailable | NotLeaderForPartition))
}

fn look<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &[&str],
    from: TailFrom,
) -> KafkaResult<TopicPartitionList> {
    let mut start = TopicPartitionList::new();
    for topic in topics {
        for partition in partitions_of(consumer, topic, ASK_TIMEOUT)? {
            // At read_committed the end is before the first open transaction.
            let (first, end) = ends(consumer, topic, partition, ASK_TIMEOUT)?;
            let offset = match from {
                TailFrom::Beginning => first,
                TailFrom::End => end,
                TailFrom::TimestampMs(at) => since(consumer, topic, partition, at)?.unwrap_or(end),
            };
            start.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        }
    }
    Ok(start)
}

/// The first offset whose timestamp is not before `at_ms`, if there is one.
fn since<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    at_ms: i64,
) -> KafkaResult<Option<i64>> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset(topic, partition, Offset::Offset(at_ms.max(0)))?;
    let found = consumer.offsets_for_times(asked, ASK_TIMEOUT)?;
    match found.find_partition(topic, partition) {
        None => Ok(None),
        Some(element) => {
            element.error()?;
            match element.offset() {
                Offset::Offset(offset) => Ok(Some(offset)),
                _ => Ok(None),
            }
        }
    }
}

impl Subscribe for KafkaSubscribe {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, SubscribeError> {
        if self.is_paused {
            let assigned = self.consumer.assignment().map_err(|error| fatal(&error))?;
            self.consumer.resume(&assigned).map_err(|error| fatal(&error))?;
            self.is_paused = false;
        }
        match self.settle() {
            Err(fatal @ SubscribeError::Fatal(_)) => return Err(fatal),
            Err(passing) => debug!(%passing, "still not committed"),
            Ok(()) => {}
        }
        let early = self.early.len().min(max);
        let mut records: Vec<_> = self.early.drain(..early).collect();
        let wait = if records.is_empty() { wait } else { Duration::ZERO };
        self.take(max - early, wait, &mut records)?;
        Ok(records)
    }

    /// librdkafka counts a poll whether or not it gives anything, and takes nothing out of partitions that are paused.
    fn keep_alive(&mut self) -> Result<(), SubscribeError> {
        let assigned = self.consumer.assignment().map_err(|error| fatal(&error))?;
        self.consumer.pause(&assigned).map_err(|error| fatal(&error))?;
        self.is_paused = true;
        let mut early = mem::take(&mut self.early);
        let taken = self.take(1, Duration::ZERO, &mut early);
        self.early = early;
        taken
    }

    fn commit(&mut self, progress: &Progress) -> Result<(), SubscribeError> {
        if self.is_tail {
            return Ok(());
        }
        let lost = self.owed.take_on(progress, &self.consumer.context().state().ledger);
        self.settle()?;
        lost.map_or(Ok(()), |reason| Err(SubscribeError::Lost(reason)))
    }

    fn is_assigned(&self) -> bool {
        self.is_tail || self.consumer.context().state().is_assigned
    }

    fn standing(&self) -> Standing {
        self.consumer.context().standing()
    }
}

fn fatal(error: &KafkaError) -> SubscribeError {
    SubscribeError::Fatal(error.to_string())
}

fn commit_error(error: &KafkaError) -> SubscribeError {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(
            Code::UnknownMemberId
            | Code::IllegalGeneration
            | Code::RebalanceInProgress
            | Code::AssignmentLost
            | Code::UnknownPartition
            | Code::StaleMemberEpoch,
        ) => SubscribeError::Lost(error.to_string()),
        _ if is_transient(error) => SubscribeError::Unavailable(error.to_string()),
        _ => SubscribeError::Fatal(error.to_string()),
    }
}

impl fmt::Debug for KafkaSubscribe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KafkaSubscribe")
            .field("topics", &self.topics)
            .field("is_tail", &self.is_tail)
            .finish_non_exhaustive()
    }
}
