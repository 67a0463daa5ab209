//! Both or neither, in order, once.

use std::time::Duration;

use broker::{ExchangeError, OUTBOX_RECORD_BYTES_MAX, Outgoing, Progress};
use schemas::Record;

use super::{
    cluster::{Cluster, commit, echo, numbered, numbers, take},
    publishing::awkward,
};
use crate::brokers::unused;

pub(super) fn a_commit_is_seen_whole(cluster: &Cluster) {
    let (input, output, group) = (cluster.topic("in", 3), cluster.topic("out", 1), unused("group"));
    cluster.fill(&input, 0..100);
    let mut exchange = cluster.exchange(&group, &input, &unused("id"));
    let round = take(exchange.as_mut(), 100);
    assert!(exchange.is_assigned());
    assert!(cluster.contents(&output).is_empty(), "nothing is written before the commit");
    commit(exchange.as_mut(), &round, &output).unwrap();

    let mut written = numbers(&cluster.contents(&output));
    written.sort_unstable();
    assert_eq!(written, (0..100).collect::<Vec<_>>());
    assert_eq!(cluster.lag(&group, &input), 0);
}

pub(super) fn a_failed_commit_leaves_no_trace_and_is_read_again(cluster: &Cluster) {
    let (input, output, group) = (cluster.topic("in", 1), cluster.topic("out", 1), unused("group"));
    cluster.fill(&input, 0..10);
    let mut exchange = cluster.exchange(&group, &input, &unused("id"));
    let round = take(exchange.as_mut(), 10);
    let mut outbox = echo(&round, &output);
    let oversized =
        Record { value: Some(vec![7; OUTBOX_RECORD_BYTES_MAX + 1]), ..Record::default() };
    outbox.push(Outgoing { topic: output.as_str().into(), record: oversized });

    let refused = exchange.commit(outbox, &Progress::of(&round)).unwrap_err();
    assert!(matches!(refused, ExchangeError::Refused(_)), "{refused}");
    assert!(cluster.contents(&output).is_empty(), "neither records");
    assert_eq!(cluster.lag(&group, &input), 10, "nor offsets");

    let again = take(exchange.as_mut(), 10);
    assert_eq!(again, round);
    commit(exchange.as_mut(), &again, &output).unwrap();
    assert_eq!(numbers(&cluster.contents(&output)), (0..10).collect::<Vec<_>>());
}

pub(super) fn what_is_not_committed_is_read_again_by_the_next(cluster: &Cluster) {
    let (input, output, group, id) =
        (cluster.topic("in", 1), cluster.topic("out", 1), unused("group"), unused("id"));
    cluster.fill(&input, 0..10);
    let mut first = cluster.exchange(&group, &input, &id);
    let round = take(first.as_mut(), 4);
    commit(first.as_mut(), &round, &output).unwrap();
    take(first.as_mut(), 3);
    drop(first);

    let mut second = cluster.exchange(&group, &input, &id);
    let rest = take(second.as_mut(), 6);
    assert_eq!(numbers(&rest), (4..10).collect::<Vec<_>>());
    commit(second.as_mut(), &rest, &output).unwrap();
    assert_eq!(numbers(&cluster.contents(&output)), (0..10).collect::<Vec<_>>());
}

pub(super) fn two_rounds_in_hand_are_committed_in_order(cluster: &Cluster) {
    let (input, output, group) = (cluster.topic("in", 1), cluster.topic("out", 1), unused("group"));
    cluster.fill(&input, 0..30);
    let mut exchange = cluster.exchange(&group, &input, &unused("id"));
    let mut in_hand = take(exchange.as_mut(), 10);
    for _ in 0..2 {
        let next = take(exchange.as_mut(), 10);
        commit(exchange.as_mut(), &in_hand, &output).unwrap();
        in_hand = next;
    }
    commit(exchange.as_mut(), &in_hand, &output).unwrap();
    assert_eq!(numbers(&cluster.contents(&output)), (0..30).collect::<Vec<_>>());
    assert_eq!(cluster.lag(&group, &input), 0);
}

pub(super) fn a_round_is_not_committed_twice(cluster: &Cluster) {
    let (input, output) = (cluster.topic("in", 1), cluster.topic("out", 1));
    cluster.fill(&input, 0..5);
    let mut exchange = cluster.exchange(&unused("group"), &input, &unused("id"));
    let round = take(exchange.as_mut(), 5);
    commit(exchange.as_mut(), &round, &output).unwrap();
    let second = commit(exchange.as_mut(), &round, &output).unwrap_err();
    assert!(matches!(second, ExchangeError::Aborted(_)), "{second}");
    assert_eq!(cluster.contents(&output).len(), 5);
}

pub(super) fn an_exchanged_record_is_kept_byte_for_byte(cluster: &Cluster) {
    let (input, output) = (cluster.topic("in", 1), cluster.topic("out", 1));
    for record in awkward() {
        cluster.publish(&input, record).unwrap();
    }
    let mut exchange = cluster.exchange(&unused("group"), &input, &unused("id"));
    let round = take(exchange.as_mut(), awkward().len());
    commit(exchange.as_mut(), &round, &output).unwrap();
    let seen: Vec<Record> =
        cluster.contents(&output).into_iter().map(|delivery| delivery.record).collect();
    assert_eq!(seen, awkward());
}

pub(super) fn an_empty_outbox_moves_the_offsets(cluster: &Cluster) {
    let (input, group, id) = (cluster.topic("in", 1), unused("group"), unused("id"));
    cluster.fill(&input, 0..5);
    let mut exchange = cluster.exchange(&group, &input, &id);
    let round = take(exchange.as_mut(), 3);
    exchange.commit(Vec::new(), &Progress::of(&round)).unwrap();
    exchange.commit(Vec::new(), &Progress::default()).unwrap();
    assert_eq!(cluster.lag(&group, &input), 2);
}

pub(super) fn a_large_outbox_is_one_transaction(cluster: &Cluster) {
    /// More than librdkafka's queue holds at once.
    const RECORDS: usize = 110_000;
    let (input, output, group) = (cluster.topic("in", 1), cluster.topic("out", 1), unused("group"));
    cluster.fill(&input, 0..1);
    let mut exchange = cluster.exchange(&group, &input, &unused("id"));
    let round = take(exchange.as_mut(), 1);
    let outgoing = |number| Outgoing { topic: output.as_str().into(), record: numbered(number) };
    exchange.commit((0..RECORDS).map(outgoing).collect(), &Progress::of(&round)).unwrap();
    assert_eq!(numbers(&cluster.contents(&output)), (0..RECORDS).collect::<Vec<_>>());
    assert_eq!(cluster.lag(&group, &input), 0);
}

pub(super) fn a_zombie_is_fenced_and_leaves_nothing(cluster: &Cluster) {
    let (input, output, group, id) =
        (cluster.topic("in", 1), cluster.topic("out", 1), unused("group"), unused("id"));
    cluster.fill(&input, 0..6);
    let mut zombie = cluster.exchange(&group, &input, &id);
    let round = take(zombie.as_mut(), 6);
    commit(zombie.as_mut(), &round[..2], &output).unwrap();
    let mut successor = cluster.exchange(&group, &input, &id);

    let fenced = commit(zombie.as_mut(), &round[2..], &output).unwrap_err();
    assert!(matches!(fenced, ExchangeError::Fatal(_)), "{fenced}");
    drop(zombie);
    assert_eq!(numbers(&cluster.contents(&output)), [0, 1]);

    let rest = take(successor.as_mut(), 4);
    commit(successor.as_mut(), &rest, &output).unwrap();
    assert_eq!(numbers(&cluster.contents(&output)), [0, 1, 2, 3, 4, 5]);
    assert_eq!(successor.poll(1, Duration::from_millis(100)), Ok(Vec::new()));
}
