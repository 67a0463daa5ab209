//! Consumers: their settings with reasons, and where a group has got to.

use std::{
    ops::RangeInclusive,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::BorrowedMessage,
};

use super::{
    client::{ConnectError, is_transient},
    membership::Membership,
    settings::KafkaSettings,
};
use crate::{delivery::Progress, ledger::Partition};

/// How reading is tuned; an operator may change it.
const TUNING: &[(&str, &str)] = &[
    // A fetch is answered as soon as there is a byte, and asked anew after half a second without.
    ("fetch.min.bytes", "1"),
    ("fetch.wait.max.ms", "500"),
    // When a fetch fails, or the local queue was full, look again soon (the defaults are 500 and 1,000).
    ("fetch.error.backoff.ms", "100"),
    ("fetch.queue.backoff.ms", "50"),
    // Memory is bounded: what lies ready and unread (the default is 64 MiB for each partition).
    ("queued.min.messages", "10000"),
    ("queued.max.messages.kbytes", "32768"),
    // Blocking calls (commit, committed) give up on an absent broker in bounded time (the default is a minute).
    ("socket.timeout.ms", "10000"),
    // How far behind a reader is, and whether a transaction holds it up, is told by librdkafka's statistics.
    ("statistics.interval.ms", "1000"),
    // A replica that has not polled for five minutes is given up, although it heartbeats.
    ("max.poll.interval.ms", "300000"),
];

/// What brokers allow unless told otherwise (`group.min.session.timeout.ms`, `group.max.session.timeout.ms`).
const SESSION_TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(6)..=Duration::from_mins(30);

/// Pause before a question that the cluster cannot answer yet is asked again.
const ASK_PAUSE: Duration = Duration::from_millis(50);

/// What all consumers share.
pub(super) fn reader_config(
    settings: &KafkaSettings,
    group: &str,
) -> Result<ClientConfig, ConnectError> {
    let mut config = settings.client_config(TUNING)?;
    config.set("group.id", group);
    // Offsets move only with what they produced: by a transaction, or after the rows are stored.
    config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    // Records of aborted transactions stay unseen; without it librdkafka also drops the guard that makes a new
    // owner wait for the offsets of an open transaction (KIP-447).
    config.set("isolation.level", "read_committed");
    // A new group must not skip what is waiting. Nor may an expired offset: old records are read twice at worst.
    config.set("auto.offset.reset", "earliest");
    // An end of partition would be one more event that is no record.
    config.set("enable.partition.eof", "false");
    Ok(config)
}

/// Adds what a member of a group needs.
pub(super) fn join_config(
    config: &mut ClientConfig,
    session_timeout: Duration,
) -> Result<(), ConnectError> {
    if !SESSION_TIMEOUTS.contains(&session_timeout) {
        let (min, max) = (SESSION_TIMEOUTS.start(), SESSION_TIMEOUTS.end());
        return Err(ConnectError::Settings(format!(
            "a session timeout of {session_timeout:?}: brokers allow {min:?} to {max:?}"
        )));
    }
    // KIP-848 groups are not in every broker that we meet, and these rules were proven on the classic protocol.
    config.set("group.protocol", "classic");
    // Only what moves is taken away, so that a round of the other partitions survives a rebalance (KIP-429).
    config.set("partition.assignment.strategy", "cooperative-sticky");
    config.set("session.timeout.ms", session_timeout.as_millis().to_string());
    // Three heartbeats may be lost, at least.
    config.set(
        "heartbeat.interval.ms",
        (session_timeout.as_millis() / 5).clamp(1, 3_000).to_string(),
    );
    Ok(())
}

/// Hands records to `keep`: waits at most `wait` for a first one, then takes what is there, `max` at most. A rebalance is let in
/// on the way, and ends the wait when it takes away records in hand. The error is one that librdkafka cannot mend.
#[expect(
    clippy::disallowed_methods,
    reason = "librdkafka's poll returns early for each of its own events"
)]
pub(super) fn drain(
    consumer: &BaseConsumer<Membership>,
    max: usize,
    wait: Duration,
    mut keep: impl FnMut(&BorrowedMessage<'_>),
) -> Result<(), RDKafkaErrorCode> {
    let started = Instant::now();
    let mut count = 0;
    while count < max {
        let patience =
            if count == 0 { wait.saturating_sub(started.elapsed()) } else { Duration::ZERO };
        match consumer.poll(patience) {
            Some(Ok(message)) => {
                keep(&message);
                count += 1;
                continue;
            }
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => return Err(code),
            // An error that librdkafka mends by itself and that the context has logged, a rebalance, or nothing.
            Some(Err(_)) | None => {}
        }
        if 0 < count
            || wait <= started.elapsed()
            || consumer.context().state().ledger.loss().is_some()
        {
            break;
        }
    }
    Ok(())
}

/// Where the group has got to in `partitions`: its committed offset, or the beginning when it has none.
pub(super) fn committed<'a, C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: impl Iterator<Item = &'a Partition>,
    wait: Duration,
) -> KafkaResult<TopicPartitionList> {
    let mut asked = TopicPartitionList::new();
    for (topic, partition) in partitions {
        asked.add_partition(topic, *partition);
    }
    let mut committed = consumer.committed_offsets(asked, wait)?;
    for element in committed.elements() {
        element.error()?;
    }
    for (topic, partition) in missing(&committed) {
        committed.set_partition_offset(&topic, partition, Offset::Beginning)?;
    }
    Ok(committed)
}

fn missing(committed: &TopicPartitionList) -> Vec<(String, i32)> {
    let elements = committed.elements();
    let missing = elements.iter().filter(|element| element.offset() == Offset::Invalid);
    missing.map(|element| (element.topic().to_owned(), element.partition())).collect()
}

/// Progress as librdkafka takes it.
pub(super) fn offsets(progress: &Progress) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), &next) in &progress.0 {
        list.add_partition_offset(topic, *partition, Offset::Offset(next))?;
    }
    Ok(list)
}

/// The first offset of a partition that is kept, and the one after the last: at `read_committed` the last stable one.
///
/// A leader that was chosen a moment ago does not know it yet, and says so: asked again within `wait`, it answers.
#[expect(clippy::disallowed_methods, reason = "a wait for the cluster, at the edge")]
pub(super) fn ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    wait: Duration,
) -> KafkaResult<(i64, i64)> {
    let started = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, partition, wait) {
            Err(error) if is_transient(&error) && started.elapsed() < wait => {
                thread::sleep(ASK_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// The numbers of all partitions of a topic.
pub(super) fn partitions_of<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    wait: Duration,
) -> KafkaResult<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), wait)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
    };
    if let Some(error) = found.error() {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    Ok(found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())
}

/// Names to be shared by all deliveries.
pub(super) fn shared(topics: &[&str]) -> Vec<Arc<str>> {
    topics.iter().map(|topic| Arc::from(*topic)).collect()
}
