//! A topic from where it is told to where it ends now: for whoever looks at what is there and then is done.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{BorrowedMessage, Message as _},
};

use super::{
    client::{ConnectError, Logged, call_error, creation_error},
    consumer::{ends, reader_config, shared},
    diagnosis::diagnosed,
    records::delivery,
    settings::KafkaSettings,
    subscribe::start,
};
use crate::{delivery::Delivery, subscribe::TailFrom};

/// How long one question to the cluster may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest one look at the queue, so that an end that was reached meanwhile is seen.
const LOOK_WAIT_MAX: Duration = Duration::from_millis(500);

/// Longest time without a record before the broker counts as away.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Reads one topic at `read_committed`, without a group, up to the ends that its partitions had when it was made. Blocking.
pub struct KafkaScan {
    consumer: BaseConsumer<Logged>,
    servers: String,
    topic: Vec<Arc<str>>,
    /// The partitions that are not read through yet, and their ends.
    unread: BTreeMap<i32, i64>,
}

impl KafkaScan {
    /// Asks where the topic begins and ends. `None` where there is no such topic.
    pub fn open(
        settings: &KafkaSettings,
        topic: &str,
        from: TailFrom,
    ) -> Result<Option<Self>, ConnectError> {
        let spans = Self::spans(settings, topic, from)?;
        spans.map(|spans| Self::between(settings, topic, &spans)).transpose()
    }

    /// What [`open`](Self::open) would read, by partition: from the first offset that is asked for to where the partition ends
    /// now. `None` where there is no such topic.
    pub fn spans(
        settings: &KafkaSettings,
        topic: &str,
        from: TailFrom,
    ) -> Result<Option<BTreeMap<i32, Range<i64>>>, ConnectError> {
        match spans(&consumer(settings)?, topic, from) {
            Ok(spans) => Ok(Some(spans)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(diagnosed(settings, &error)),
        }
    }

    /// Reads `spans` of the topic, whatever else it holds.
    pub fn between(
        settings: &KafkaSettings,
        topic: &str,
        spans: &BTreeMap<i32, Range<i64>>,
    ) -> Result<Self, ConnectError> {
        let consumer = consumer(settings)?;
        let servers = settings.bootstrap_servers.clone();
        let unread =
            assign(&consumer, topic, spans).map_err(|error| call_error(&servers, &error))?;
        Ok(Self { consumer, servers, topic: shared(&[topic]), unread })
    }

    /// The next records, at most `max`; none once all were read. Those of one partition come in their order.
    pub fn read(&mut self, max: usize) -> Result<Vec<Delivery>, ConnectError> {
        let mut records = Vec::new();
        let mut heard = now();
        while !self.unread.is_empty() && records.len() < max {
            let wait = if records.is_empty() { LOOK_WAIT_MAX } else { Duration::ZERO };
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    heard = now();
                    if keep(&mut self.unread, &message) {
                        records.push(delivery(&message, &self.topic));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    heard = now();
                    self.unread.remove(&partition);
                }
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                    return Err(call_error(&self.servers, &error));
                }
                // Nothing yet, or an error that librdkafka mends by itself and that the context has logged.
                Some(Err(_)) | None if !records.is_empty() => break,
                Some(Err(_)) | None if heard.elapsed() < SILENCE_MAX => {}
                Some(Err(_)) | None => {
                    let reason = format!("nothing came for {SILENCE_MAX:?}");
                    return Err(ConnectError::Unreachable {
                        servers: self.servers.clone(),
                        reason,
                    });
                }
            }
        }
        Ok(records)
    }
}

fn consumer(settings: &KafkaSettings) -> Result<BaseConsumer<Logged>, ConnectError> {
    let mut config = reader_config(settings, &format!("{}-scan", settings.client_id()))?;
    // What lies before the end need not be records: transactions leave markers, and compaction leaves holes.
    config.set("enable.partition.eof", "true");
    config.create_with_context(Logged).map_err(creation_error)
}

fn spans(
    consumer: &BaseConsumer<Logged>,
    topic: &str,
    from: TailFrom,
) -> KafkaResult<BTreeMap<i32, Range<i64>>> {
    let mut spans = BTreeMap::new();
    for element in start(consumer, &[topic], from)?.elements() {
        let partition = element.partition();
        let (_first, end) = ends(consumer, topic, partition, ASK_TIMEOUT)?;
        let Offset::Offset(first) = element.offset() else { continue };
        spans.insert(partition, first..end);
    }
    Ok(spans)
}

/// Assigns what is there to be read, and says where it ends.
fn assign(
    consumer: &BaseConsumer<Logged>,
    topic: &str,
    spans: &BTreeMap<i32, Range<i64>>,
) -> KafkaResult<BTreeMap<i32, i64>> {
    let mut waiting = TopicPartitionList::new();
    let mut unread = BTreeMap::new();
    for (&partition, span) in spans.iter().filter(|(_, span)| !span.is_empty()) {
        waiting.add_partition_offset(topic, partition, Offset::Offset(span.start))?;
        unread.insert(partition, span.end);
    }
    consumer.assign(&waiting)?;
    Ok(unread)
}

/// Whether the message lies before its partition's end. Forgets the partition when the end is reached.
fn keep(unread: &mut BTreeMap<i32, i64>, message: &BorrowedMessage<'_>) -> bool {
    let partition = message.partition();
    let Some(&end) = unread.get(&partition) else { return false };
    if end <= message.offset().saturating_add(1) {
        unread.remove(&partition);
    }
    message.offset() < end
}

fn is_absent(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{UnknownTopic, UnknownTopicOrPartition};
    matches!(error.rdkafka_error_code(), Some(UnknownTopic | UnknownTopicOrPartition))
}

#[expect(clippy::disallowed_methods, reason = "librdkafka's poll returns early for its own events")]
fn now() -> Instant {
    Instant::now()
}

impl fmt::Debug for KafkaScan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KafkaScan")
            .field("topic", &self.topic)
            .field("unread", &self.unread)
            .finish_non_exhaustive()
    }
}
