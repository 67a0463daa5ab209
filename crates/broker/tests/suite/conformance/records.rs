//! Records: what is sent is what is read, whatever its shape, size or compression.

use std::collections::BTreeMap;

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::clients::{
    KEEP, PATIENCE, Read, UNCOMMITTED, Writer, consumer, fill, keys, position, read_to_end, take,
    topic, topic_with,
};
use crate::brokers::unused;

/// An hour in November 2023: no test may mistake the time of writing for the time of the event.
const EVENT_TIME_MS: i64 = 1_700_000_000_123;

on_kafka!(String::from:
    key_value_headers_and_timestamp_arrive_as_sent_and_in_order,
    a_record_may_lack_key_value_and_headers,
    an_offset_is_found_by_time_inside_a_batch,
    each_compression_of_our_build_is_stored_and_read_back,
    large_records_go_through_even_past_the_limit_of_a_fetch,
    a_record_that_is_too_large_is_refused_and_the_next_one_is_not,
    reading_from_an_offset_that_is_not_there_starts_over,
);

fn key_value_headers_and_timestamp_arrive_as_sent_and_in_order(broker: &str) {
    let topic = topic_with(broker, 4, KEEP);
    let writer = Writer::new(broker, &[]);
    let value = |number: i64| format!("value {number}");
    let headers = |number: i64| {
        let own = value(number).into_bytes();
        [("number", Some(own)), ("twice", Some(vec![1])), ("twice", Some(vec![2])), ("null", None)]
            .map(|(key, value)| (key.to_owned(), value))
    };
    let encoded = |number: i64| {
        headers(number).iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: value.as_ref() })
        })
    };
    for number in 0..1_000 {
        let (key, value) = (format!("key {}", number % 17), value(number));
        let record = BaseRecord::to(&topic).key(key.as_str()).payload(value.as_str());
        writer.send(record.timestamp(EVENT_TIME_MS + number).headers(encoded(number))).unwrap();
    }
    assert_eq!(writer.all_written(), 1_000);

    let reader = consumer(broker, &unused("group"), &[]);
    reader.subscribe(&[&topic]).unwrap();
    let mut next_offset = BTreeMap::new();
    let mut last_number = BTreeMap::new();
    for read in take(&reader, 1_000) {
        let number = read.timestamp.unwrap() - EVENT_TIME_MS;
        assert_eq!(read.value, Some(value(number).into_bytes()));
        assert_eq!(read.key(), format!("key {}", number % 17));
        assert_eq!(read.headers, headers(number));
        let next = next_offset.entry(read.partition).or_insert(0);
        assert_eq!(read.offset, *next);
        *next += 1;
        let last = last_number.insert(read.key.clone(), number);
        assert!(last < Some(number), "{number} after {last:?}");
    }
    assert_eq!(next_offset.values().sum::<i64>(), 1_000);
}

fn a_record_may_lack_key_value_and_headers(broker: &str) {
    let topic = topic(broker, 1);
    let writer = Writer::new(broker, &[]);
    writer.send::<str>(BaseRecord::to(&topic).partition(0)).unwrap();
    writer.send::<str>(BaseRecord::to(&topic).partition(0).key("tombstone")).unwrap();
    writer.send(BaseRecord::to(&topic).partition(0).key("").payload("")).unwrap();
    assert_eq!(writer.all_written(), 3);
    let shapes: Vec<_> = read_to_end(broker, &topic, UNCOMMITTED)
        .into_iter()
        .map(|Read { key, value, headers, .. }| (key, value, headers.is_empty()))
        .collect();
    let owned = |text: &str| Some(text.to_owned());
    assert_eq!(
        shapes,
        [(None, None, true), (owned("tombstone"), None, true), (owned(""), Some(vec![]), true)]
    );
}

fn an_offset_is_found_by_time_inside_a_batch(broker: &str) {
    let topic = topic_with(broker, 1, KEEP);
    // One batch, since the batch's own time is not enough to find the record.
    let writer = Writer::new(broker, &[("linger.ms", "500")]);
    for number in 0..50 {
        let record = BaseRecord::to(&topic).partition(0).key("k").payload("v");
        writer.send(record.timestamp(EVENT_TIME_MS + number * 1_000)).unwrap();
    }
    assert_eq!(writer.all_written(), 50);
    let reader = consumer(broker, &unused("group"), &[]);
    assert_eq!(reader.fetch_watermarks(&topic, 0, PATIENCE).unwrap(), (0, 50));
    let check = |time_ms: i64, found: Offset| {
        let mut times = TopicPartitionList::new();
        times.add_partition_offset(&topic, 0, Offset::Offset(EVENT_TIME_MS + time_ms)).unwrap();
        let answers = reader.offsets_for_times(times, PATIENCE).unwrap();
        assert_eq!(answers.elements()[0].offset(), found, "{time_ms} ms after the first");
    };
    check(-1, Offset::Offset(0));
    check(0, Offset::Offset(0));
    check(20_000, Offset::Offset(20));
    check(20_500, Offset::Offset(21));
    check(49_000, Offset::Offset(49));
    check(49_001, Offset::End);
}

fn each_compression_of_our_build_is_stored_and_read_back(broker: &str) {
    for codec in ["none", "gzip", "snappy", "lz4"] {
        let topic = topic(broker, 1);
        let writer = Writer::new(broker, &[("compression.type", codec), ("linger.ms", "50")]);
        let value = [b'a'; 500];
        for number in 0..500 {
            let key = number.to_string();
            writer
                .send(BaseRecord::to(&topic).partition(0).key(key.as_str()).payload(&value[..]))
                .unwrap();
        }
        assert_eq!(writer.all_written(), 500, "{codec}");
        let reads = read_to_end(broker, &topic, UNCOMMITTED);
        let sent: Vec<_> = (0..500).map(|number| number.to_string()).collect();
        assert_eq!(keys(&reads), sent, "{codec}");
        assert!(reads.iter().all(|read| read.value.as_deref() == Some(&value[..])), "{codec}");
    }
}

fn large_records_go_through_even_past_the_limit_of_a_fetch(broker: &str) {
    let topic = topic(broker, 1);
    let writer = Writer::new(broker, &[("message.max.bytes", "1000000")]);
    let value = vec![7; 900_000];
    for _ in 0..20 {
        writer.send(BaseRecord::to(&topic).partition(0).key("large").payload(&value)).unwrap();
    }
    assert_eq!(writer.all_written(), 20);
    // A fetch hands out at least one batch whatever its limits, or a reader would be stuck before it for ever.
    let small = [
        ("fetch.message.max.bytes", "1000"),
        ("fetch.max.bytes", "1000"),
        ("message.max.bytes", "1000"),
    ];
    for fetch in [UNCOMMITTED, &small] {
        let reads = read_to_end(broker, &topic, fetch);
        assert_eq!(reads.len(), 20);
        assert!(reads.iter().all(|read| read.value.as_ref() == Some(&value)));
    }
}

fn a_record_that_is_too_large_is_refused_and_the_next_one_is_not(broker: &str) {
    let topic = topic_with(broker, 1, &[("max.message.bytes", "10000")]);
    let writer = Writer::new(broker, &[("message.max.bytes", "1000000")]);
    let value: Vec<u8> = (0..20_000).map(|_| rand::random()).collect();
    writer.send(BaseRecord::to(&topic).partition(0).key("too large").payload(&value)).unwrap();
    let refused = Err(RDKafkaErrorCode::MessageSizeTooLarge);
    assert_eq!(writer.settled(), [refused]);
    writer.put(&topic, 0, "small");
    assert_eq!(writer.settled(), [refused, Ok((0, 0))]);
}

fn reading_from_an_offset_that_is_not_there_starts_over(broker: &str) {
    let topic = topic(broker, 1);
    fill(broker, &topic, 0, 3);
    let reader = consumer(broker, &unused("group"), &[]);
    reader.assign(&position(&topic, 0, 1_000)).unwrap();
    assert_eq!(keys(&take(&reader, 3)), ["0", "1", "2"]);
}
