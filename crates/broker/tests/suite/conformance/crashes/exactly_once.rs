//! Read, transform, write in transactions, while broker and workers die: nothing lost, nothing twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng as _;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::super::clients::{
    CLASSIC, COMMITTED, PATIENCE, Writer, committed_in, consumer, consumer_with, eventually, fill,
    read_to_end, topic,
};
use super::{Victim, scale};
use crate::brokers::unused;

const PARTITIONS: i32 = 4;
const WORKERS: usize = 2;
/// Short, so that what a dropped worker left open does not hold up the others for long.
const TIMEOUT: Duration = Duration::from_secs(5);

#[test]
fn every_record_has_one_answer_though_broker_and_workers_die() {
    let begun = Instant::now();
    let mut broker = Victim::start();
    let address = broker.address();
    let records_each = 1_000 * scale();
    let line = Line {
        input: topic(&address, PARTITIONS),
        output: topic(&address, PARTITIONS),
        group: unused("line"),
        broker: address,
        stop: AtomicBool::new(false),
        tally: Tally::default(),
    };
    for partition in 0..PARTITIONS {
        fill(&line.broker, &line.input, partition, records_each);
    }
    let total = records_each * usize::try_from(PARTITIONS).unwrap();
    let kills = 5 * scale();
    // Twice: stopped in the middle, with answers and offsets compared, and then to the end.
    for (from, goal) in [(0, total / 2), (total / 2, total)] {
        line.stop.store(false, Ordering::SeqCst);
        thread::scope(|scope| {
            for number in 0..WORKERS {
                let line = &line;
                scope.spawn(move || line.work(number));
            }
            let _stopping = StopOnDrop(&line.stop);
            for kill in 1..=kills {
                let due = from + (goal - from) * kill / (kills + 1);
                eventually("answers before the next kill", || (due <= line.done()).then_some(()));
                broker.kill_and_restart();
            }
            eventually("answers after the last kill", || (goal <= line.done()).then_some(()));
        });
        line.check_atomic();
    }
    assert_eq!(
        line.offsets(),
        vec![i64::try_from(records_each).unwrap(); 4],
        "not everything was read"
    );
    let Tally { committed, aborted, dropped, failed } = &line.tally;
    println!(
        "{} kills of the broker, {dropped:?} workers dropped in a transaction, {aborted:?} rounds aborted, {failed:?} failed, \
         {committed:?} committed: {total} records, 0 lost, 0 duplicated, {:.1?}",
        broker.kills,
        begun.elapsed()
    );
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What happened, counted.
#[derive(Debug, Default)]
struct Tally {
    committed: AtomicUsize,
    aborted: AtomicUsize,
    dropped: AtomicUsize,
    failed: AtomicUsize,
}

fn count(of: &AtomicUsize) {
    of.fetch_add(1, Ordering::SeqCst);
}

/// Input, output, and the group of workers between them.
struct Line {
    broker: String,
    input: String,
    output: String,
    group: String,
    stop: AtomicBool,
    tally: Tally,
}

/// How a worker's life ended.
enum End {
    /// It was told to stop, and has nothing open.
    Stopped,
    /// It was dropped in the middle of a transaction, or something went wrong: another life begins.
    Died,
}

impl Line {
    /// Lives one life after the other, with the same transactional id.
    fn work(&self, number: usize) {
        let id = format!("{}-{number}", self.group);
        let deadline = Instant::now() + PATIENCE * 3 * u32::try_from(scale()).unwrap();
        loop {
            assert!(Instant::now() < deadline, "worker {number} never came to its end");
            match self.live(&id) {
                Ok(End::Stopped) => return,
                Ok(End::Died) => count(&self.tally.dropped),
                Err(_) => count(&self.tally.failed),
            }
        }
    }

    fn live(&self, id: &str) -> Result<End, KafkaError> {
        let timeouts = [
            ("transaction.timeout.ms", "5000"),
            ("message.timeout.ms", "5000"),
            ("retry.backoff.ms", "10"),
        ];
        let writer = Writer::transactional(&self.broker, id, &timeouts);
        // Also ends what an earlier life left open.
        writer.producer.init_transactions(TIMEOUT)?;
        if self.stop.load(Ordering::SeqCst) {
            return Ok(End::Stopped);
        }
        let settings = [CLASSIC, COMMITTED].concat();
        let reader = consumer_with(&self.broker, &self.group, &settings, Revocations::default());
        reader.subscribe(&[&self.input])?;
        while !self.stop.load(Ordering::SeqCst) {
            let Some(round) = Round::poll(&reader) else { continue };
            writer.producer.begin_transaction()?;
            for (key, partition) in &round.answers {
                writer.send(
                    BaseRecord::to(&self.output)
                        .partition(*partition)
                        .key(key.as_str())
                        .payload(""),
                )?;
            }
            match rand::rng().random_range(0..100) {
                0..3 => return Ok(End::Died),
                3..10 => {
                    writer.producer.flush(TIMEOUT)?;
                    writer.producer.abort_transaction(TIMEOUT)?;
                    count(&self.tally.aborted);
                    reader.seek_partitions(round.first(&self.input), TIMEOUT)?;
                }
                _ => {
                    let group = reader.group_metadata().unwrap();
                    writer.producer.send_offsets_to_transaction(
                        &round.next(&self.input),
                        &group,
                        TIMEOUT,
                    )?;
                    writer.producer.commit_transaction(TIMEOUT)?;
                    count(&self.tally.committed);
                }
            }
        }
        Ok(End::Stopped)
    }

    /// How many records have been dealt with.
    fn done(&self) -> usize {
        self.offsets().iter().map(|offset| usize::try_from(*offset).unwrap()).sum()
    }

    /// What the group has committed, by partition.
    fn offsets(&self) -> Vec<i64> {
        let asking = consumer(&self.broker, &self.group, COMMITTED);
        let offset = |partition| match committed_in(&asking, &self.input, partition) {
            Offset::Offset(offset) => offset,
            _ => 0,
        };
        (0..PARTITIONS).map(offset).collect()
    }

    /// Each record before the committed offset of its partition has one answer, and no other record has any.
    fn check_atomic(&self) {
        let mut answers = BTreeMap::<(i32, i64), usize>::new();
        for read in read_to_end(&self.broker, &self.output, COMMITTED) {
            let (partition, offset) = read.key().split_once(':').unwrap();
            *answers.entry((partition.parse().unwrap(), offset.parse().unwrap())).or_default() += 1;
        }
        let expected = (0..PARTITIONS).zip(self.offsets()).flat_map(|(partition, committed)| {
            (0..committed).map(move |offset| ((partition, offset), 1))
        });
        let expected: BTreeMap<_, _> = expected.collect();
        let lost: Vec<_> = expected.keys().filter(|source| !answers.contains_key(source)).collect();
        let duplicated: Vec<_> = answers.iter().filter(|(_, times)| 1 < **times).collect();
        let premature: Vec<_> =
            answers.keys().filter(|source| !expected.contains_key(source)).collect();
        let wrong = (lost.len(), duplicated.len(), premature.len());
        assert_eq!(
            wrong,
            (0, 0, 0),
            "lost {lost:?}, duplicated {duplicated:?}, answered, not committed {premature:?}"
        );
    }
}

/// The records of one transaction.
struct Round {
    /// The key of each answer, which says what it answers, and the partition that it came from.
    answers: Vec<(String, i32)>,
    /// First and next offset of each partition.
    spans: BTreeMap<i32, (i64, i64)>,
}

impl Round {
    /// The next records, or none when nothing came.
    ///
    /// What was read before partitions changed hands is let go: whoever has them now starts from what is committed.
    fn poll(reader: &BaseConsumer<Revocations>) -> Option<Round> {
        let changes = || reader.context().0.load(Ordering::SeqCst);
        let mut known_changes = changes();
        let mut round = Round { answers: Vec::new(), spans: BTreeMap::new() };
        let mut wait = Duration::from_millis(50);
        while round.answers.len() < 25 {
            let polled = reader.poll(wait);
            if known_changes != changes() {
                known_changes = changes();
                round = Round { answers: Vec::new(), spans: BTreeMap::new() };
            }
            match polled {
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    round.answers.push((format!("{partition}:{offset}"), partition));
                    round.spans.entry(partition).or_insert((offset, offset)).1 = offset + 1;
                    wait = Duration::from_millis(2);
                }
                // The broker is away: the consumer comes back by itself.
                Some(Err(_)) => {}
                None => break,
            }
        }
        (!round.answers.is_empty()).then_some(round)
    }

    fn first(&self, topic: &str) -> TopicPartitionList {
        self.positions(topic, |(first, _)| first)
    }

    fn next(&self, topic: &str) -> TopicPartitionList {
        self.positions(topic, |(_, next)| next)
    }

    fn positions(&self, topic: &str, pick: impl Fn((i64, i64)) -> i64) -> TopicPartitionList {
        let mut positions = TopicPartitionList::new();
        for (partition, span) in &self.spans {
            positions.add_partition_offset(topic, *partition, Offset::Offset(pick(*span))).unwrap();
        }
        positions
    }
}

/// How often partitions changed hands.
#[derive(Debug, Default)]
struct Revocations(AtomicUsize);

impl ClientContext for Revocations {}

impl ConsumerContext for Revocations {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        count(&self.0);
    }
}
