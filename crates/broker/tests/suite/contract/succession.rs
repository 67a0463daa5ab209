//! What a replica that was killed leaves behind for the one that is started in its place.

use std::time::Duration;

use rdkafka::{
    ClientConfig,
    producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer},
};

use super::cluster::{Cluster, commit, numbers, read, take};
use crate::brokers::unused;

on_kafka!(String::from:
    a_transaction_left_open_does_not_hold_up_the_successor,
    a_transaction_left_open_is_told_by_those_it_holds_up,
);

/// How long to look for what is told of a reader, and how often: a minute in all.
const LOOK_WAIT: Duration = Duration::from_millis(200);
const LOOKS_MAX: usize = 300;

/// Begins a transaction as `id`, writes to `topic`, and is gone.
fn die_writing(address: &str, id: &str, topic: &str) {
    let wait = Duration::from_secs(20);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("transactional.id", id);
    // Longer than this check may take.
    config.set("transaction.timeout.ms", "300000");
    let dead: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
    dead.init_transactions(wait).unwrap();
    dead.begin_transaction().unwrap();
    let sent = dead.send(BaseRecord::to(topic).key("0").payload("0"));
    sent.map_err(|(error, _)| error).unwrap();
    dead.flush(wait).unwrap();
}

/// Its successor takes its transactional id, whereupon the coordinator aborts what was open.
fn a_transaction_left_open_does_not_hold_up_the_successor(address: &str) {
    let cluster = Cluster::kafka(address);
    let (input, output, id) = (cluster.topic("in", 1), cluster.topic("out", 1), unused("id"));
    cluster.fill(&input, 0..10);
    die_writing(address, &id, &output);

    let mut successor = cluster.exchange(&unused("group"), &input, &id);
    let round = take(successor.as_mut(), 10);
    commit(successor.as_mut(), &round, &output).unwrap();
    assert_eq!(numbers(&cluster.contents(&output)), (0..10).collect::<Vec<_>>());
}

/// A reader that is held up can tell: by how long, and that it is not for want of records.
fn a_transaction_left_open_is_told_by_those_it_holds_up(address: &str) {
    let cluster = Cluster::kafka(address);
    let (topic, id) = (cluster.topic("in", 1), unused("id"));
    cluster.fill(&topic, 0..3);
    die_writing(address, &id, &topic);
    cluster.fill(&topic, 3..10);
    let mut reader = cluster.subscribe(&unused("group"), &topic);
    assert_eq!(read(reader.as_mut(), 3).len(), 3);
    let stalled_at_least = Duration::from_secs(2);
    let mut told = None;
    for _ in 0..LOOKS_MAX {
        assert_eq!(reader.poll(10, LOOK_WAIT), Ok(Vec::new()));
        told = reader.standing().0.into_values().next();
        if told.is_some_and(|it| it.lag == 0 && stalled_at_least <= it.stalled) {
            return;
        }
    }
    panic!("held up and not told: {told:?}");
}
