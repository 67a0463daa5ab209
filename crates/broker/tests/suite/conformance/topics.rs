//! Topics: made, described, emptied, aged, deleted.

use std::time::{Duration, Instant};

use rdkafka::admin::{ConfigSource, ResourceSpecifier};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::BaseRecord;

use super::clients::{
    PATIENCE, UNCOMMITTED, Writer, admin, admin_options, consumer, create_topic, eventually, fill,
    keys, led, position, read_to_end, topic, topic_with,
};
use crate::brokers::{block_on, unused};

on_kafka!(String::from:
    a_new_topic_has_the_partitions_asked_for_and_is_made_once,
    writing_to_a_topic_that_is_not_there_makes_it,
    reading_a_topic_that_is_not_there_does_not_make_it,
    a_deleted_topic_is_gone_and_its_name_is_free,
    the_settings_of_a_topic_are_described,
    records_deleted_up_to_an_offset_are_gone_and_the_rest_keep_theirs,
    a_record_about_long_ago_is_past_its_retention_at_once,
    records_past_their_retention_go_and_offsets_go_on,
);

fn a_new_topic_has_the_partitions_asked_for_and_is_made_once(broker: &str) {
    let name = topic_with(broker, 8, &[("retention.ms", "60000"), ("cleanup.policy", "delete")]);
    assert_eq!(led(broker, &name), 8);
    assert_eq!(create_topic(broker, &name, 8, &[]), Err(RDKafkaErrorCode::TopicAlreadyExists));
    assert_eq!(
        create_topic(broker, &unused("topic"), 0, &[]),
        Err(RDKafkaErrorCode::InvalidPartitions)
    );
    assert_eq!(create_topic(broker, "no spaces!", 1, &[]), Err(RDKafkaErrorCode::InvalidTopic));
}

fn writing_to_a_topic_that_is_not_there_makes_it(broker: &str) {
    let name = unused("made-by-writing");
    let writer = Writer::new(broker, &[]);
    writer.put(&name, 0, "first");
    assert_eq!(writer.all_written(), 1);
    assert_eq!(keys(&read_to_end(broker, &name, UNCOMMITTED)), ["first"]);
}

fn reading_a_topic_that_is_not_there_does_not_make_it(broker: &str) {
    let name = unused("not-made-by-reading");
    let reader = consumer(broker, &unused("group"), &[]);
    reader.subscribe(&[&name]).unwrap();
    let refusal = eventually("a refusal", || reader.poll(Duration::from_millis(100))?.err());
    assert_eq!(refusal.rdkafka_error_code(), Some(RDKafkaErrorCode::UnknownTopicOrPartition));
    assert!(!names(broker).contains(&name));
}

fn a_deleted_topic_is_gone_and_its_name_is_free(broker: &str) {
    let name = topic(broker, 2);
    fill(broker, &name, 0, 10);
    let delete = || {
        let answers = block_on(admin(broker).delete_topics(&[&name], &admin_options())).unwrap();
        answers.into_iter().next().unwrap().map(drop).map_err(|(_, code)| code)
    };
    assert_eq!(delete(), Ok(()));
    eventually("the topic to be gone", || (!names(broker).contains(&name)).then_some(()));
    assert_eq!(delete(), Err(RDKafkaErrorCode::UnknownTopicOrPartition));

    create_topic(broker, &name, 1, &[]).unwrap();
    eventually("the topic to be back", || (led(broker, &name) == 1).then_some(()));
    assert_eq!(read_to_end(broker, &name, UNCOMMITTED), [], "what was deleted came back");
    fill(broker, &name, 0, 1);
    assert_eq!(read_to_end(broker, &name, UNCOMMITTED)[0].offset, 0);
}

fn names(broker: &str) -> Vec<String> {
    let metadata = admin(broker).inner().fetch_metadata(None, PATIENCE).unwrap();
    metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
}

fn the_settings_of_a_topic_are_described(broker: &str) {
    let name = topic_with(broker, 1, &[("retention.ms", "61000")]);
    let resource = ResourceSpecifier::Topic(&name);
    let answers = block_on(admin(broker).describe_configs([&resource], &admin_options())).unwrap();
    let described = answers.into_iter().next().unwrap().unwrap();
    let check = |setting: &str, value: &str, source: ConfigSource| {
        let entry = described.get(setting).unwrap_or_else(|| panic!("{setting} is not described"));
        assert_eq!((entry.value.as_deref(), &entry.source), (Some(value), &source), "{setting}");
    };
    check("retention.ms", "61000", ConfigSource::DynamicTopic);
    check("cleanup.policy", "delete", ConfigSource::Default);
    println!("{} settings described", described.entries.len());

    let nobody = unused("nobody");
    let missing = ResourceSpecifier::Topic(&nobody);
    let answers = block_on(admin(broker).describe_configs([&missing], &admin_options())).unwrap();
    // The client keeps the broker's refusal to itself.
    let described = answers.into_iter().next().unwrap().unwrap();
    assert_eq!(described.entries, []);
}

fn records_deleted_up_to_an_offset_are_gone_and_the_rest_keep_theirs(broker: &str) {
    let name = topic(broker, 1);
    fill(broker, &name, 0, 100);
    let delete_before = |offset: i64| {
        let before = position(&name, 0, offset);
        let answers = block_on(admin(broker).delete_records(&before, &admin_options())).unwrap();
        answers.elements()[0].error()
    };
    delete_before(40).unwrap();
    let watermarks = admin(broker).inner().fetch_watermarks(&name, 0, PATIENCE).unwrap();
    assert_eq!(watermarks, (40, 100));
    let offsets: Vec<_> =
        read_to_end(broker, &name, UNCOMMITTED).iter().map(|read| read.offset).collect();
    assert_eq!(offsets, (40..100).collect::<Vec<_>>());
    let beyond = delete_before(101).unwrap_err().rdkafka_error_code();
    assert_eq!(beyond, Some(RDKafkaErrorCode::OffsetOutOfRange));
}

/// Age is counted from the time of the event, which the producer says, and not from the time of writing.
fn a_record_about_long_ago_is_past_its_retention_at_once(broker: &str) {
    let name = topic_with(broker, 1, &[("retention.ms", "3600000")]);
    let writer = Writer::new(broker, &[]);
    writer
        .send(
            BaseRecord::to(&name).partition(0).key("old").payload("").timestamp(1_700_000_000_000),
        )
        .unwrap();
    assert_eq!(writer.all_written(), 1);
    let client = admin(broker);
    let low = || client.inner().fetch_watermarks(&name, 0, PATIENCE).unwrap().0;
    eventually("the old record to go", || (low() == 1).then_some(()));
}

fn records_past_their_retention_go_and_offsets_go_on(broker: &str) {
    let name = topic_with(broker, 1, &[("retention.ms", "1000"), ("segment.ms", "1000")]);
    fill(broker, &name, 0, 100);
    let written = Instant::now();
    let client = admin(broker);
    let low = || client.inner().fetch_watermarks(&name, 0, PATIENCE).unwrap().0;
    eventually("old records to go", || (low() == 100).then_some(()));
    println!("gone after {:.1?}", written.elapsed());
    assert_eq!(read_to_end(broker, &name, UNCOMMITTED), []);
    let writer = Writer::new(broker, &[]);
    writer.put(&name, 0, "next");
    assert_eq!(writer.settled(), [Ok((0, 100))]);
}
