//! Clients as the tests need them, and waiting with a deadline.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, DefaultConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, ToBytes};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::brokers::{block_on, unused};

/// How long anything may take before a test calls it a failure. Long, since the machine may be busy with other tests.
pub(super) const PATIENCE: Duration = Duration::from_secs(45);

/// Settings of a client, over those that the constructors below choose.
pub(super) type Overrides<'a> = &'a [(&'a str, &'a str)];

/// Calls `attempt` until it answers, and panics with `what` when that takes longer than [`PATIENCE`].
pub(super) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = attempt() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn config(broker: &str, chosen: Overrides<'_>, overrides: Overrides<'_>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set("broker.address.family", "v4");
    config.set("reconnect.backoff.max.ms", "500");
    for (name, value) in chosen.iter().chain(overrides) {
        config.set(*name, *value);
    }
    config
}

pub(super) fn admin(broker: &str) -> AdminClient<DefaultClientContext> {
    config(broker, &[], &[]).create().unwrap()
}

pub(super) fn admin_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

/// Makes a topic and says what the broker said.
pub(super) fn create_topic(
    broker: &str,
    name: &str,
    partitions: i32,
    settings: Overrides<'_>,
) -> Result<(), RDKafkaErrorCode> {
    let topic = settings.iter().fold(
        NewTopic::new(name, partitions, TopicReplication::Fixed(1)),
        |topic, (name, value)| topic.set(name, value),
    );
    let answers = block_on(admin(broker).create_topics(&[topic], &admin_options())).unwrap();
    answers.into_iter().next().unwrap().map(drop).map_err(|(_, code)| code)
}

/// A new topic, with a leader for every partition.
pub(super) fn topic_with(broker: &str, partitions: i32, settings: Overrides<'_>) -> String {
    let name = unused("topic");
    create_topic(broker, &name, partitions, settings).unwrap();
    let wanted = usize::try_from(partitions).unwrap();
    eventually("a leader for every partition", || (led(broker, &name) == wanted).then_some(()));
    name
}

/// The settings of a topic whose records say that they are years old: age is counted from the time of the event.
pub(super) const KEEP: Overrides<'_> = &[("retention.ms", "-1")];

pub(super) fn topic(broker: &str, partitions: i32) -> String {
    topic_with(broker, partitions, &[])
}

/// How many partitions of the topic have a leader.
pub(super) fn led(broker: &str, topic: &str) -> usize {
    let metadata = admin(broker).inner().fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
    partitions.filter(|partition| partition.error().is_none() && 0 <= partition.leader()).count()
}

/// Where a record was written, by partition and offset, or why it was not.
pub(super) type Outcome = Result<(i32, i64), RDKafkaErrorCode>;

/// What became of a producer's records, in the order in which it was known.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcomes(Arc<Mutex<Vec<Outcome>>>);

impl ClientContext for Outcomes {}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let outcome = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap()),
        };
        self.0.lock().unwrap().push(outcome);
    }
}

/// A producer that remembers what became of each record. acks=all and idempotent, as everything of ours is.
pub(super) struct Writer {
    pub producer: ThreadedProducer<Outcomes>,
    outcomes: Outcomes,
}

impl Writer {
    pub(super) fn new(broker: &str, overrides: Overrides<'_>) -> Writer {
        let chosen =
            [("enable.idempotence", "true"), ("linger.ms", "5"), ("message.timeout.ms", "40000")];
        let outcomes = Outcomes::default();
        let producer =
            config(broker, &chosen, overrides).create_with_context(outcomes.clone()).unwrap();
        Writer { producer, outcomes }
    }

    /// A transactional one that has not yet called `init_transactions`.
    pub(super) fn transactional(broker: &str, id: &str, overrides: Overrides<'_>) -> Writer {
        let chosen = [
            ("transactional.id", id),
            ("message.timeout.ms", "10000"),
            ("transaction.timeout.ms", "10000"),
        ];
        Writer::new(broker, &[&chosen, overrides].concat())
    }

    /// A transactional one that is ready to begin.
    pub(super) fn initialized(broker: &str, id: &str) -> Writer {
        let writer = Writer::transactional(broker, id, &[]);
        writer.producer.init_transactions(PATIENCE).unwrap();
        writer
    }

    pub(super) fn send<P: ToBytes + ?Sized>(
        &self,
        record: BaseRecord<'_, str, P>,
    ) -> Result<(), KafkaError> {
        self.producer.send(record).map_err(|(error, _)| error)
    }

    /// Sends one small record.
    pub(super) fn put(&self, topic: &str, partition: i32, key: &str) {
        self.send(BaseRecord::to(topic).partition(partition).key(key).payload(key)).unwrap();
    }

    /// Waits until the fate of every record so far is known.
    pub(super) fn settled(&self) -> Vec<Outcome> {
        self.producer.flush(PATIENCE).unwrap();
        self.outcomes()
    }

    /// The fates known by now.
    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        self.outcomes.0.lock().unwrap().clone()
    }

    /// Waits, and panics unless every record was written.
    pub(super) fn all_written(&self) -> usize {
        let outcomes = self.settled();
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        outcomes.len()
    }
}

/// Records `0..count` in one partition of a topic.
pub(super) fn fill(broker: &str, topic: &str, partition: i32, count: usize) {
    let writer = Writer::new(broker, &[]);
    for number in 0..count {
        writer.put(topic, partition, &number.to_string());
    }
    assert_eq!(writer.all_written(), count);
}

/// A consumer that reads a group's topics from the start and commits when told to.
pub(super) fn consumer_with<C: ConsumerContext>(
    broker: &str,
    group: &str,
    overrides: Overrides<'_>,
    context: C,
) -> BaseConsumer<C> {
    let chosen = [
        ("group.id", group),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("fetch.wait.max.ms", "50"),
        ("fetch.queue.backoff.ms", "50"),
    ];
    config(broker, &chosen, overrides).create_with_context(context).unwrap()
}

pub(super) fn consumer(broker: &str, group: &str, overrides: Overrides<'_>) -> BaseConsumer {
    consumer_with(broker, group, overrides, DefaultConsumerContext)
}

/// The member of a classic group, whose timeouts suit a test.
pub(super) const CLASSIC: Overrides<'_> =
    &[("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "300")];

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<String>,
    pub value: Option<Vec<u8>>,
    /// Milliseconds, as the producer said.
    pub timestamp: Option<i64>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Read {
    pub(super) fn new(message: &BorrowedMessage<'_>) -> Read {
        let owned =
            |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(<[u8]>::to_vec));
        Read {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(|key| String::from_utf8_lossy(key).into_owned()),
            value: message.payload().map(<[u8]>::to_vec),
            timestamp: message.timestamp().to_millis(),
            headers: message.headers().into_iter().flat_map(Headers::iter).map(owned).collect(),
        }
    }

    pub(super) fn key(&self) -> &str {
        self.key.as_deref().unwrap()
    }
}

/// The keys, in order.
pub(super) fn keys(reads: &[Read]) -> Vec<&str> {
    reads.iter().map(Read::key).collect()
}

pub(super) const COMMITTED: Overrides<'_> = &[("isolation.level", "read_committed")];
pub(super) const UNCOMMITTED: Overrides<'_> = &[("isolation.level", "read_uncommitted")];

/// Everything in a topic that a reader of this isolation may see now.
pub(super) fn read_to_end(broker: &str, topic: &str, overrides: Overrides<'_>) -> Vec<Read> {
    let overrides = [&[("enable.partition.eof", "true")], overrides].concat();
    let consumer = consumer(broker, &unused("reader"), &overrides);
    let mut unfinished = led(broker, topic);
    assert!(0 < unfinished, "{topic} has no partition");
    let mut partitions = TopicPartitionList::new();
    for partition in 0..i32::try_from(unfinished).unwrap() {
        partitions.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let mut reads = Vec::new();
    eventually("the end of every partition", || {
        // What is there is taken at once: the deadline is for silence and not for large topics.
        while let Some(polled) = consumer.poll(Duration::from_millis(100)) {
            match polled {
                Ok(message) => reads.push(Read::new(&message)),
                Err(KafkaError::PartitionEOF(_)) => unfinished -= 1,
                Err(error) => panic!("reading {topic}: {error}"),
            }
            if unfinished == 0 {
                return Some(());
            }
        }
        None
    });
    reads
}

/// The next `count` records of a consumer.
pub(super) fn take<C: ConsumerContext>(consumer: &BaseConsumer<C>, count: usize) -> Vec<Read> {
    let mut reads = Vec::new();
    eventually("enough records", || {
        while reads.len() < count {
            let message = consumer.poll(Duration::from_millis(100))?;
            reads.push(Read::new(&message.unwrap()));
        }
        Some(())
    });
    reads
}

/// How many partitions the consumer has been given.
pub(super) fn assigned<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> usize {
    consumer.assignment().unwrap().count()
}

/// What the consumer's group has committed for partition 0 of a topic.
pub(super) fn committed<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str) -> Offset {
    committed_in(consumer, topic, 0)
}

pub(super) fn committed_in<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Offset {
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition(topic, partition);
    let answers = consumer.committed_offsets(partitions, PATIENCE).unwrap();
    answers.elements()[0].offset()
}

/// One partition and an offset, as the client wants to have it.
pub(super) fn position(topic: &str, partition: i32, offset: i64) -> TopicPartitionList {
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    partitions
}
