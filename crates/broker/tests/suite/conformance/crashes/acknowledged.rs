//! What was acknowledged before the broker was killed is there afterwards, once and in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::BaseRecord;

use super::super::clients::{UNCOMMITTED, Writer, eventually, read_to_end, topic};
use super::{Victim, scale};

const PARTITIONS: usize = 4;

#[test]
fn acknowledged_records_survive_ten_kills_exactly_once() {
    let begun = Instant::now();
    let mut broker = Victim::start();
    let topic = topic(&broker.address(), 4);
    // No record is given up: whatever is sent must be acknowledged in the end.
    let patient = [("message.timeout.ms", "0"), ("queue.buffering.max.messages", "1000")];
    let writer = Writer::new(&broker.address(), &patient);
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let writing = scope.spawn(|| write_until(&stop, &writer, &topic));
        // A panic below must not leave the writer writing for ever.
        let stopping = StopOnDrop(&stop);
        for kill in 0..10 * scale() {
            let before = writer.outcomes().len();
            eventually("acknowledgements", || {
                (before + 300 < writer.outcomes().len()).then_some(())
            });
            // In the middle of things, and each time elsewhere.
            thread::sleep(Duration::from_millis(7 * (kill as u64 % 10)));
            broker.kill_and_restart();
        }
        drop(stopping);
        writing.join().unwrap()
    });
    assert_eq!(writer.all_written(), sent);

    let mut last = BTreeMap::new();
    let reads = read_to_end(&broker.address(), &topic, UNCOMMITTED);
    for read in &reads {
        let number: usize = read.key().parse().unwrap();
        let expected =
            last.get(&read.partition).map_or(number % PARTITIONS, |last| last + PARTITIONS);
        assert_eq!(number, expected, "lost, twice or out of order in partition {}", read.partition);
        last.insert(read.partition, number);
    }
    println!(
        "{} kills: {sent} records acknowledged, {} read, 0 lost, 0 duplicated, {:.1?}",
        broker.kills,
        reads.len(),
        begun.elapsed()
    );
    assert_eq!(reads.len(), sent);
}

/// Sends numbered records, each to the partition of its number, as fast as they are taken.
fn write_until(stop: &AtomicBool, writer: &Writer, topic: &str) -> usize {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let key = number.to_string();
        let partition = i32::try_from(number % PARTITIONS).unwrap();
        match writer.send(
            BaseRecord::to(topic).partition(partition).key(key.as_str()).payload(key.as_str()),
        ) {
            Ok(()) => number += 1,
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("sending {number}: {error}"),
        }
    }
    number
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
