//! What a topic holds now: all of it, nothing twice, and an end.

use std::{collections::BTreeMap, sync::Arc};

use broker::{
    Outgoing, Publish as _, TailFrom,
    kafka::{KafkaPublish, KafkaScan, KafkaSettings},
};
use schemas::Record;

use crate::brokers::{block_on, topic, unused};

on_kafka!(super::KafkaSettings::at:
    a_scan_reads_every_partition_to_where_it_ended_and_no_further,
    an_empty_topic_ends_at_once_and_an_absent_one_is_none,
    spans_that_were_found_once_are_read_again_from_the_middle,
);

fn fill(settings: &KafkaSettings, topic: &str, numbers: std::ops::Range<i64>) {
    let publish = KafkaPublish::connect(settings, 1_000).unwrap();
    for number in numbers {
        let text = Some(number.to_string().into_bytes());
        let timestamp_ms = Some(1_700_000_000_000 + number);
        let record = Record { key: text.clone(), value: text, timestamp_ms, ..Record::default() };
        block_on(publish.publish(Outgoing { topic: Arc::from(topic), record })).unwrap();
    }
}

/// All that is read until the end, as numbers in order.
fn read(mut scan: KafkaScan, max: usize) -> Vec<i64> {
    let mut numbers = Vec::new();
    loop {
        let records = scan.read(max).unwrap();
        assert!(records.len() <= max);
        if records.is_empty() {
            assert_eq!(scan.read(max), Ok(Vec::new()), "an end is an end");
            numbers.sort_unstable();
            return numbers;
        }
        let number = |value: &[u8]| str::from_utf8(value).unwrap().parse::<i64>().unwrap();
        numbers.extend(records.iter().filter_map(|it| it.record.value.as_deref().map(number)));
    }
}

fn open(settings: &KafkaSettings, topic: &str, from: TailFrom) -> KafkaScan {
    KafkaScan::open(settings, topic, from).unwrap().unwrap()
}

fn a_scan_reads_every_partition_to_where_it_ended_and_no_further(settings: &KafkaSettings) {
    let topic = topic(settings, "scan", 4);
    fill(settings, &topic, 0..50);
    let scan = open(settings, &topic, TailFrom::Beginning);
    fill(settings, &topic, 50..60);
    assert_eq!(read(scan, 7), (0..50).collect::<Vec<_>>());
    let since = TailFrom::TimestampMs(1_700_000_000_030);
    assert_eq!(read(open(settings, &topic, since), 1_000), (30..60).collect::<Vec<_>>());
    assert_eq!(read(open(settings, &topic, TailFrom::End), 1_000), Vec::<i64>::new());
}

fn an_empty_topic_ends_at_once_and_an_absent_one_is_none(settings: &KafkaSettings) {
    let topic = topic(settings, "scan", 2);
    assert_eq!(read(open(settings, &topic, TailFrom::Beginning), 10), Vec::<i64>::new());
    let absent = KafkaScan::open(settings, &unused("absent"), TailFrom::Beginning).unwrap();
    assert!(absent.is_none());
}

fn spans_that_were_found_once_are_read_again_from_the_middle(settings: &KafkaSettings) {
    let topic = topic(settings, "scan", 1);
    fill(settings, &topic, 0..50);
    let since = TailFrom::TimestampMs(1_700_000_000_030);
    let spans = KafkaScan::spans(settings, &topic, since).unwrap().unwrap();
    assert_eq!(spans, BTreeMap::from([(0, 30..50)]));
    fill(settings, &topic, 50..60);
    let rest = BTreeMap::from([(0, 40..50)]);
    let scan = KafkaScan::between(settings, &topic, &rest).unwrap();
    assert_eq!(read(scan, 1_000), (40..50).collect::<Vec<_>>());
    assert_eq!(KafkaScan::spans(settings, &unused("absent"), since), Ok(None));
}
