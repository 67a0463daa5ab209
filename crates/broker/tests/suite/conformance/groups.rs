//! Consumer groups: who reads what, and from where after a change.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::Offset;

use super::clients::{
    CLASSIC, Overrides, PATIENCE, Read, Writer, assigned, committed_in, consumer, consumer_with,
    eventually, fill, take, topic,
};
use crate::brokers::{embedded, unused};

on_kafka!(String::from:
    a_group_reads_on_from_what_it_committed,
    two_members_share_the_partitions_and_one_takes_over_when_the_other_leaves,
    a_cooperative_member_keeps_reading_what_it_keeps,
    the_consumer_protocol_works_or_is_refused_cleanly,
    records_that_flow_through_rebalances_are_read_once,
);

fn a_group_reads_on_from_what_it_committed(broker: &str) {
    let topic = topic(broker, 2);
    fill(broker, &topic, 0, 100);
    fill(broker, &topic, 1, 100);
    let group = unused("group");
    let mut seen = Vec::new();
    for _ in 0..2 {
        let reader = consumer(broker, &group, CLASSIC);
        reader.subscribe(&[&topic]).unwrap();
        seen.extend(take(&reader, 100));
        reader.commit_consumer_state(CommitMode::Sync).unwrap();
    }
    let mut positions: Vec<_> = seen.iter().map(|read| (read.partition, read.offset)).collect();
    positions.sort_unstable();
    let all: Vec<_> =
        (0..2).flat_map(|partition| (0..100).map(move |offset| (partition, offset))).collect();
    assert_eq!(positions, all);
    let reader = consumer(broker, &group, CLASSIC);
    assert_eq!(
        [0, 1].map(|partition| committed_in(&reader, &topic, partition)),
        [Offset::Offset(100); 2]
    );
    let stranger = consumer(broker, &unused("group"), CLASSIC);
    assert_eq!(committed_in(&stranger, &topic, 0), Offset::Invalid);
}

fn two_members_share_the_partitions_and_one_takes_over_when_the_other_leaves(broker: &str) {
    let classic = [CLASSIC, &[("partition.assignment.strategy", "range")]].concat();
    share_and_take_over(broker, &classic).unwrap();
}

fn a_cooperative_member_keeps_reading_what_it_keeps(broker: &str) {
    let cooperative =
        [CLASSIC, &[("partition.assignment.strategy", "cooperative-sticky")]].concat();
    let fewest = share_and_take_over(broker, &cooperative).unwrap();
    assert_eq!(fewest, 3, "the first member was stopped by the second");
}

fn the_consumer_protocol_works_or_is_refused_cleanly(broker: &str) {
    let outcome = share_and_take_over(broker, &[("group.protocol", "consumer")]);
    println!("KIP-848: {outcome:?}");
    if broker == embedded() {
        assert_eq!(
            outcome.unwrap_err().rdkafka_error_code(),
            Some(RDKafkaErrorCode::UnsupportedVersion)
        );
    } else {
        outcome.unwrap();
    }
}

/// One member takes six partitions, shares them with a second, and has them back when that one leaves. Answers how few the
/// first one held while it was sharing.
fn share_and_take_over(broker: &str, protocol: Overrides<'_>) -> Result<usize, KafkaError> {
    let topic = topic(broker, 6);
    let group = unused("group");
    let join = || {
        let member = consumer(broker, &group, protocol);
        member.subscribe(&[&topic]).unwrap();
        member
    };
    let poll = |member: &BaseConsumer| match member.poll(Duration::from_millis(20)) {
        Some(Err(error)) => Err(error),
        _ => Ok(assigned(member)),
    };
    let reach = |what: &str, mut held: Box<dyn FnMut() -> Result<bool, KafkaError> + '_>| {
        let begun = Instant::now();
        let reached = eventually(what, || match held() {
            Ok(false) => None,
            Ok(true) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        });
        println!("{what} {:.1?}", begun.elapsed());
        reached
    };
    let first = join();
    reach("the first has all six:", Box::new(|| Ok(poll(&first)? == 6)))?;
    let second = join();
    let mut fewest = 6;
    let mut both = || {
        let held = (poll(&first)?, poll(&second)?);
        fewest = fewest.min(held.0);
        Ok(held == (3, 3))
    };
    reach("each has three:", Box::new(&mut both))?;
    drop(second);
    reach("the first has all six again:", Box::new(|| Ok(poll(&first)? == 6)))?;
    Ok(fewest)
}

fn records_that_flow_through_rebalances_are_read_once(broker: &str) {
    let (topic, group) = (topic(broker, 6), unused("group"));
    let (seen, stop, begun) = (Seen::default(), AtomicBool::new(false), Instant::now());
    let writer = Writer::new(broker, &[]);
    let mut written = 0;
    let mut write_some = || {
        for _ in 0..10 {
            let key = written.to_string();
            writer.send(BaseRecord::to(&topic).key(key.as_str()).payload("")).unwrap();
            written += 1;
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            read_as_member(broker, &group, &topic, &seen, |_| stop.load(Ordering::SeqCst));
        });
        let mut write_until = |what: &str, reached: &dyn Fn() -> bool| {
            eventually(what, || {
                write_some();
                reached().then_some(())
            });
        };
        write_until("the first member to read", &|| 300 < seen.total());
        let visitor =
            scope.spawn(|| read_as_member(broker, &group, &topic, &seen, |read| 300 < read));
        write_until("the second member to come, read and leave", &|| visitor.is_finished());
        let then = seen.total();
        write_until("the first member to read on", &|| then + 300 < seen.total());
        let count = writer.all_written();
        eventually("every record", || (seen.distinct() == count).then_some(()));
        stop.store(true, Ordering::SeqCst);
    });
    println!("{written} records written, read {} times in {:.1?}", seen.total(), begun.elapsed());
    assert_eq!(
        seen.total(),
        written,
        "members that commit what they did before they give it up make no duplicates"
    );
}

/// How often each key was read.
#[derive(Debug, Default)]
struct Seen(Mutex<BTreeMap<String, usize>>);

impl Seen {
    fn distinct(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn total(&self) -> usize {
        self.0.lock().unwrap().values().sum()
    }
}

/// Reads until it is `done`, by how many records it has read.
fn read_as_member(
    broker: &str,
    group: &str,
    topic: &str,
    seen: &Seen,
    done: impl Fn(usize) -> bool,
) {
    let explicit = [CLASSIC, &[("enable.auto.offset.store", "false")]].concat();
    let member = consumer_with(broker, group, &explicit, CommitOnRevoke);
    member.subscribe(&[topic]).unwrap();
    let (mut read, deadline) = (0, Instant::now() + 2 * PATIENCE);
    while !done(read) {
        assert!(Instant::now() < deadline, "still not done after {read} records");
        if let Some(message) = member.poll(Duration::from_millis(20)) {
            let message = message.unwrap();
            let key = Read::new(&message).key().to_owned();
            *seen.0.lock().unwrap().entry(key).or_default() += 1;
            member.store_offset_from_message(&message).unwrap();
            read += 1;
        }
    }
}

/// Commits what has been dealt with whenever partitions are taken away, which leaving the group does too.
struct CommitOnRevoke;

impl ClientContext for CommitOnRevoke {}

impl ConsumerContext for CommitOnRevoke {
    fn pre_rebalance(&self, member: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(_) = rebalance {
            match member.commit_consumer_state(CommitMode::Sync) {
                Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
                Err(error) => panic!("committing what was read: {error}"),
            }
        }
    }
}
