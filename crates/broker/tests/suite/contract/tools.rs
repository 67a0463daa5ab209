//! What tools do with a cluster from outside any group: write all or none, ask how far, delete.

use std::sync::Arc;

use broker::{
    Outgoing, Progress,
    kafka::{
        ConnectError, KafkaSettings, TransactionError, TransactionalPublish, committed,
        delete_records, watermarks,
    },
};
use schemas::Record;

use super::cluster::{Cluster, commit, numbered, numbers, take};
use crate::brokers::{block_on, unused};

on_kafka!(super::KafkaSettings::at:
    an_outbox_is_written_whole_or_not_at_all,
    a_tool_that_starts_shuts_out_the_one_before,
    offsets_are_told_and_records_before_one_are_deleted,
    a_topic_that_is_not_there_is_named,
);

fn outbox(topics: [&str; 2], number: usize) -> Vec<Outgoing> {
    let to = |topic: &str| Outgoing { topic: Arc::from(topic), record: numbered(number) };
    topics.map(to).into()
}

fn an_outbox_is_written_whole_or_not_at_all(settings: &KafkaSettings) {
    let cluster = Cluster::kafka_at(settings.clone());
    let (first, second, id) = (cluster.topic("a", 1), cluster.topic("b", 1), unused("tool"));
    let mut tool = TransactionalPublish::connect(settings, &id).unwrap();
    tool.write(&outbox([&first, &second], 1)).unwrap();

    let mut refused = outbox([&first, &second], 2);
    let too_large = Record { value: Some(vec![b'x'; 2_000_000]), ..Record::default() };
    refused[1].record = too_large;
    assert!(matches!(tool.write(&refused), Err(TransactionError::Refused(_))));

    tool.write(&outbox([&first, &second], 3)).unwrap();
    for topic in [first, second] {
        assert_eq!(numbers(&cluster.contents(&topic)), [1, 3], "{topic}");
    }
}

fn a_tool_that_starts_shuts_out_the_one_before(settings: &KafkaSettings) {
    let cluster = Cluster::kafka_at(settings.clone());
    let (topic, id) = (cluster.topic("a", 1), unused("tool"));
    let mut before = TransactionalPublish::connect(settings, &id).unwrap();
    before.write(&outbox([&topic, &topic], 1)).unwrap();
    let mut after = TransactionalPublish::connect(settings, &id).unwrap();
    let fenced = before.write(&outbox([&topic, &topic], 2));
    assert!(matches!(fenced, Err(TransactionError::Fenced(_))), "{fenced:?}");
    after.write(&outbox([&topic, &topic], 3)).unwrap();
    assert_eq!(numbers(&cluster.contents(&topic)), [1, 1, 3, 3]);
}

fn offsets_are_told_and_records_before_one_are_deleted(settings: &KafkaSettings) {
    let cluster = Cluster::kafka_at(settings.clone());
    let (topic, group) = (cluster.topic("in", 2), unused("group"));
    let output = cluster.topic("out", 1);
    assert_eq!(committed(settings, &group, &[&topic]).unwrap(), Progress::default());
    cluster.fill(&topic, 0..100);
    let before = watermarks(settings, &topic).unwrap();
    assert_eq!(before.values().map(|offsets| offsets.end - offsets.start).sum::<i64>(), 100);

    let mut exchange = cluster.exchange(&group, &topic, &unused("id"));
    let round = take(exchange.as_mut(), 100);
    commit(exchange.as_mut(), &round, &output).unwrap();
    let progress = committed(settings, &group, &[&topic]).unwrap();
    assert_eq!(progress, Progress::of(&round));

    let ((name, partition), end) = progress.0.first_key_value().unwrap();
    let delete = Progress([((Arc::clone(name), *partition), end - 1)].into());
    block_on(delete_records(settings, &delete)).unwrap();
    let mut expected = before;
    *expected.get_mut(partition).unwrap() = end - 1..*end;
    assert_eq!(watermarks(settings, &topic).unwrap(), expected);
}

fn a_topic_that_is_not_there_is_named(settings: &KafkaSettings) {
    let missing = unused("missing");
    for refused in [
        watermarks(settings, &missing).map(drop),
        committed(settings, "group", &[&missing]).map(drop),
        block_on(delete_records(
            settings,
            &Progress([((Arc::from(missing.as_str()), 0), 1)].into()),
        )),
    ] {
        assert!(matches!(&refused, Err(ConnectError::Refused(_))), "{refused:?}");
    }
}
