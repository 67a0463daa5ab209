//! At least once, from where it is told.

use std::{thread, time::Duration};

use broker::{PartitionStanding, Progress, SubscribeError, TailFrom};
use schemas::Record;

use super::cluster::{Cluster, commit, numbered, numbers, read, take};
use crate::brokers::unused;

pub(super) fn a_tail_sees_what_comes_after(cluster: &Cluster) {
    let (input, topic) = (cluster.topic("in", 1), cluster.topic("tail", 4));
    cluster.fill(&topic, 0..50);
    cluster.fill(&input, 60..70);
    let mut tail = cluster.tail(&topic, TailFrom::End);
    assert!(tail.is_assigned());
    cluster.fill(&topic, 50..60);
    let mut exchange = cluster.exchange(&unused("group"), &input, &unused("id"));
    let round = take(exchange.as_mut(), 10);
    commit(exchange.as_mut(), &round, &topic).unwrap();

    let mut seen = numbers(&read(tail.as_mut(), 20));
    seen.sort_unstable();
    assert_eq!(seen, (50..70).collect::<Vec<_>>());
    assert_eq!(tail.commit(&Progress::default()), Ok(()));
}

pub(super) fn a_tail_starts_where_it_is_told(cluster: &Cluster) {
    let topic = cluster.topic("tail", 1);
    for number in 0..10 {
        let at = 1_700_000_000_000 + i64::try_from(number).unwrap() * 1_000;
        cluster.publish(&topic, Record { timestamp_ms: Some(at), ..numbered(number) }).unwrap();
    }
    let check = |from, expected: std::ops::Range<usize>| {
        let mut tail = cluster.tail(&topic, from);
        assert_eq!(
            numbers(&read(tail.as_mut(), expected.len())),
            expected.collect::<Vec<_>>(),
            "{from:?}"
        );
        assert_eq!(tail.poll(10, Duration::from_millis(100)), Ok(Vec::new()), "{from:?}");
    };
    check(TailFrom::Beginning, 0..10);
    check(TailFrom::TimestampMs(0), 0..10);
    check(TailFrom::TimestampMs(1_700_000_003_001), 4..10);
    check(TailFrom::TimestampMs(1_900_000_000_000), 10..10);
    check(TailFrom::End, 10..10);
}

pub(super) fn a_group_goes_on_from_its_commit(cluster: &Cluster) {
    let (topic, group) = (cluster.topic("in", 1), unused("group"));
    cluster.fill(&topic, 0..10);
    let mut first = cluster.subscribe(&group, &topic);
    let records = read(first.as_mut(), 7);
    assert!(first.is_assigned());
    first.commit(&Progress::of(&records[..4])).unwrap();
    drop(first);
    let mut second = cluster.subscribe(&group, &topic);
    assert_eq!(numbers(&read(second.as_mut(), 6)), (4..10).collect::<Vec<_>>());
}

pub(super) fn a_partition_taken_away_is_lost(cluster: &Cluster) {
    let (topic, group) = (cluster.topic("in", 2), unused("group"));
    cluster.fill(&topic, 0..40);
    let mut first = cluster.subscribe(&group, &topic);
    let records = read(first.as_mut(), 40);
    let mut second = cluster.subscribe(&group, &topic);
    for _ in 0..400 {
        let taken = second.poll(40, Duration::from_millis(50)).unwrap();
        first.poll(40, Duration::from_millis(50)).unwrap();
        if !taken.is_empty() {
            let lost = first.commit(&Progress::of(&records)).unwrap_err();
            assert!(matches!(lost, SubscribeError::Lost(_)), "{lost}");
            return;
        }
    }
    panic!("the second member got nothing");
}

/// With the partition that stays nobody else will, and if nothing more is written there, no later commit would.
pub(super) fn what_stays_is_remembered_though_another_was_taken_away(cluster: &Cluster) {
    let (topic, group) = (cluster.topic("in", 2), unused("group"));
    cluster.fill(&topic, 0..40);
    let mut first = cluster.subscribe(&group, &topic);
    let records = read(first.as_mut(), 40);
    let mut second = cluster.subscribe(&group, &topic);
    let mut of_second = Vec::new();
    for _ in 0..400 {
        of_second.extend(second.poll(40, Duration::from_millis(50)).unwrap());
        first.poll(40, Duration::from_millis(50)).unwrap();
        if !of_second.is_empty() {
            break;
        }
    }
    let waiting = of_second.first().map(|it| it.partition).expect("the second member got nothing");
    let stayed = records.iter().filter(|it| it.partition != waiting).count();
    let lost = first.commit(&Progress::of(&records)).unwrap_err();
    assert!(matches!(lost, SubscribeError::Lost(_)), "{lost}");
    first.poll(40, Duration::from_millis(50)).unwrap();
    assert_eq!(cluster.lag(&group, &topic), 40 - u64::try_from(stayed).unwrap());
}

/// Long enough for what lies ready in a client to be tempting.
const ALIVE: usize = 20;

pub(super) fn staying_alive_neither_delivers_nor_skips(cluster: &Cluster) {
    let (topic, group) = (cluster.topic("in", 2), unused("group"));
    cluster.fill(&topic, 0..30);
    let mut member = cluster.subscribe(&group, &topic);
    // Before it has any partition, too.
    assert_eq!(member.keep_alive(), Ok(()));
    let mut seen = numbers(&read(member.as_mut(), 10));
    for _ in 0..ALIVE {
        assert_eq!(member.keep_alive(), Ok(()));
    }
    cluster.fill(&topic, 30..60);
    for _ in 0..ALIVE {
        assert_eq!(member.keep_alive(), Ok(()));
    }
    let rest = read(member.as_mut(), 50);
    member.commit(&Progress::of(&rest)).unwrap();
    seen.extend(numbers(&rest));
    seen.sort_unstable();
    assert_eq!(seen, (0..60).collect::<Vec<_>>());
    assert_eq!(member.poll(10, Duration::from_millis(100)), Ok(Vec::new()));
}

pub(super) fn a_rebalance_is_let_in_while_staying_alive(cluster: &Cluster) {
    let (topic, group) = (cluster.topic("in", 2), unused("group"));
    cluster.fill(&topic, 0..40);
    let mut first = cluster.subscribe(&group, &topic);
    let records = read(first.as_mut(), 40);
    let mut second = cluster.subscribe(&group, &topic);
    for _ in 0..400 {
        let taken = second.poll(40, Duration::from_millis(50)).unwrap();
        first.keep_alive().unwrap();
        if !taken.is_empty() {
            let lost = first.commit(&Progress::of(&records)).unwrap_err();
            assert!(matches!(lost, SubscribeError::Lost(_)), "{lost}");
            return;
        }
    }
    panic!("the second member got nothing");
}

pub(super) fn lag_is_what_waits(cluster: &Cluster) {
    let (topic, group) = (cluster.topic("in", 3), unused("group"));
    assert_eq!(cluster.lag(&group, &topic), 0);
    cluster.fill(&topic, 0..30);
    assert_eq!(cluster.lag(&group, &topic), 30);
    let mut member = cluster.subscribe(&group, &topic);
    let records = read(member.as_mut(), 12);
    member.commit(&Progress::of(&records)).unwrap();
    assert_eq!(cluster.lag(&group, &topic), 18);
}

/// What was given out is behind a reader, committed or not.
pub(super) fn a_reader_knows_how_far_it_is_behind(cluster: &Cluster) {
    let (topic, group) = (cluster.topic("in", 1), unused("group"));
    cluster.fill(&topic, 0..200);
    let mut reader = cluster.subscribe(&group, &topic);
    let mut wait_for = |is_it: fn(PartitionStanding) -> bool| {
        let mut told = None;
        for _ in 0..600 {
            // Brokers report once a second, and the report is seen by polling.
            reader.poll(1, Duration::from_millis(50)).unwrap();
            told = reader.standing().0.into_values().next();
            if told.is_some_and(is_it) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("not told: {told:?}");
    };
    wait_for(|it| 0 < it.lag && it.lag < 200 && it.stalled == Duration::ZERO);
    wait_for(|it| it == PartitionStanding::default());
}
