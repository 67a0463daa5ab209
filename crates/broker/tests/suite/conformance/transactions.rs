//! Transactions: all or nothing, seen by those who ask for it, and by one writer at a time.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use broker::kafka::{KafkaSettings, settled};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::Offset;

use super::clients::{
    CLASSIC, COMMITTED, PATIENCE, UNCOMMITTED, Writer, committed, consumer, eventually, fill, keys,
    position, read_to_end, take, topic,
};
use crate::brokers::unused;

on_kafka!(String::from:
    what_is_committed_is_seen_and_what_is_aborted_is_not,
    an_open_transaction_hides_itself_and_all_that_comes_after_it,
    a_topic_is_settled_once_its_open_transactions_have_ended,
    a_transaction_left_open_is_aborted_after_its_timeout,
    a_second_holder_of_a_transactional_id_shuts_out_the_first,
    offsets_are_committed_with_the_transaction_and_lost_with_it,
    offsets_of_an_open_transaction_make_who_asks_for_them_wait,
    offsets_from_a_member_that_has_left_are_refused,
);

fn what_is_committed_is_seen_and_what_is_aborted_is_not(broker: &str) {
    let topic = topic(broker, 2);
    let writer = Writer::initialized(broker, &unused("writer"));
    let round = |word: &str| {
        writer.producer.begin_transaction().unwrap();
        for number in 0..10 {
            writer.put(&topic, number % 2, word);
        }
        writer.producer.flush(PATIENCE).unwrap();
    };
    round("first");
    writer.producer.commit_transaction(PATIENCE).unwrap();
    round("aborted");
    writer.producer.abort_transaction(PATIENCE).unwrap();
    round("last");
    writer.producer.commit_transaction(PATIENCE).unwrap();

    let count = |isolation| {
        let reads = read_to_end(broker, &topic, isolation);
        ["first", "aborted", "last"]
            .map(|word| keys(&reads).iter().filter(|key| **key == word).count())
    };
    assert_eq!(count(COMMITTED), [10, 0, 10]);
    assert_eq!(count(UNCOMMITTED), [10, 10, 10]);
}

fn an_open_transaction_hides_itself_and_all_that_comes_after_it(broker: &str) {
    let topic = topic(broker, 1);
    fill(broker, &topic, 0, 1);
    let writer = Writer::initialized(broker, &unused("writer"));
    writer.producer.begin_transaction().unwrap();
    writer.put(&topic, 0, "open");
    assert_eq!(writer.all_written(), 1);
    fill(broker, &topic, 0, 1);

    let end = |isolation| {
        let reader = consumer(broker, &unused("group"), isolation);
        reader.fetch_watermarks(&topic, 0, PATIENCE).unwrap().1
    };
    assert_eq!(end(COMMITTED), 1, "the last stable offset");
    assert_eq!(end(UNCOMMITTED), 3);
    assert_eq!(keys(&read_to_end(broker, &topic, COMMITTED)), ["0"]);
    assert_eq!(keys(&read_to_end(broker, &topic, UNCOMMITTED)), ["0", "open", "0"]);

    writer.producer.commit_transaction(PATIENCE).unwrap();
    // The marker takes an offset of its own.
    eventually("the marker", || (end(COMMITTED) == 4).then_some(()));
    assert_eq!(keys(&read_to_end(broker, &topic, COMMITTED)), ["0", "open", "0"]);
}

fn a_topic_is_settled_once_its_open_transactions_have_ended(broker: &str) {
    let topic = topic(broker, 2);
    let writer = Writer::initialized(broker, &unused("writer"));
    writer.producer.begin_transaction().unwrap();
    writer.put(&topic, 1, "open");
    assert_eq!(writer.all_written(), 1);
    fill(broker, &topic, 0, 1);

    let ask = |wait| settled(&KafkaSettings::at(broker), &topic, wait).unwrap();
    let open = ask(Duration::ZERO);
    assert_eq!((open.spans, open.open), (BTreeMap::from([(0, 0..1), (1, 0..0)]), vec![1]));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(PATIENCE));
        writer.producer.commit_transaction(PATIENCE).unwrap();
        let ended = waiting.join().unwrap();
        assert_eq!(ended.open, Vec::<i32>::new());
        assert!(ended.holds(1, 0) && !ended.holds(1, 7) && !ended.holds(2, 0), "{ended:?}");
    });
}

fn a_transaction_left_open_is_aborted_after_its_timeout(broker: &str) {
    let topic = topic(broker, 1);
    let hasty = [("transaction.timeout.ms", "1000"), ("message.timeout.ms", "1000")];
    let writer = Writer::transactional(broker, &unused("writer"), &hasty);
    writer.producer.init_transactions(PATIENCE).unwrap();
    writer.producer.begin_transaction().unwrap();
    writer.put(&topic, 0, "left open");
    assert_eq!(writer.all_written(), 1);
    fill(broker, &topic, 0, 1);
    eventually("the broker to abort it", || {
        let reads = read_to_end(broker, &topic, COMMITTED);
        (keys(&reads) == ["0"]).then_some(())
    });
    writer.producer.commit_transaction(PATIENCE).unwrap_err();
}

fn a_second_holder_of_a_transactional_id_shuts_out_the_first(broker: &str) {
    let topic = topic(broker, 1);
    let id = unused("writer");
    let first = Writer::initialized(broker, &id);
    first.producer.begin_transaction().unwrap();
    first.put(&topic, 0, "before the second came");
    assert_eq!(first.all_written(), 1);

    let second = Writer::initialized(broker, &id);
    first.put(&topic, 0, "after the second came");
    let error = first.producer.commit_transaction(PATIENCE).unwrap_err();
    assert!(is_fatal(&error), "{error:?}");
    assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fenced));

    second.producer.begin_transaction().unwrap();
    second.put(&topic, 0, "by the second");
    second.producer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(keys(&read_to_end(broker, &topic, COMMITTED)), ["by the second"]);
}

fn is_fatal(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.is_fatal())
}

fn offsets_are_committed_with_the_transaction_and_lost_with_it(broker: &str) {
    let (input, output) = (topic(broker, 1), topic(broker, 1));
    fill(broker, &input, 0, 10);
    let reader = member_after(broker, &unused("group"), &input, 10);
    let writer = Writer::initialized(broker, &unused("writer"));
    let round = |key: &str, offset: i64| {
        writer.producer.begin_transaction().unwrap();
        writer.put(&output, 0, key);
        let group = reader.group_metadata().unwrap();
        writer
            .producer
            .send_offsets_to_transaction(&position(&input, 0, offset), &group, PATIENCE)
            .unwrap();
    };
    round("aborted", 5);
    writer.producer.abort_transaction(PATIENCE).unwrap();
    assert_eq!(committed(&reader, &input), Offset::Invalid);
    round("committed", 7);
    writer.producer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(committed(&reader, &input), Offset::Offset(7));
    assert_eq!(keys(&read_to_end(broker, &output, COMMITTED)), ["committed"]);
}

fn offsets_of_an_open_transaction_make_who_asks_for_them_wait(broker: &str) {
    let (input, output) = (topic(broker, 1), topic(broker, 1));
    fill(broker, &input, 0, 10);
    let reader = member_after(broker, &unused("group"), &input, 10);
    let writer = Writer::initialized(broker, &unused("writer"));
    writer.producer.begin_transaction().unwrap();
    writer.put(&output, 0, "open");
    let group = reader.group_metadata().unwrap();
    writer
        .producer
        .send_offsets_to_transaction(&position(&input, 0, 10), &group, PATIENCE)
        .unwrap();
    thread::scope(|scope| {
        // The answer would be stale, and whoever starts from it would do the round again (KIP-447).
        let asking = scope.spawn(|| committed(&reader, &input));
        thread::sleep(Duration::from_millis(300));
        assert!(!asking.is_finished(), "answered while the transaction was open");
        writer.producer.commit_transaction(PATIENCE).unwrap();
        assert_eq!(asking.join().unwrap(), Offset::Offset(10));
    });
}

fn offsets_from_a_member_that_has_left_are_refused(broker: &str) {
    let (input, output) = (topic(broker, 2), topic(broker, 1));
    fill(broker, &input, 0, 1);
    let group = unused("group");
    let gone = member_after(broker, &group, &input, 1);
    let stale = gone.group_metadata().unwrap();
    drop(gone);
    let present = member_after(broker, &group, &input, 1);

    let writer = Writer::initialized(broker, &unused("writer"));
    writer.producer.begin_transaction().unwrap();
    writer.put(&output, 0, "by the one that left");
    let refusal = writer
        .producer
        .send_offsets_to_transaction(&position(&input, 0, 5), &stale, PATIENCE)
        .unwrap_err();
    println!("refused: {refusal}");
    assert!(
        matches!(&refusal, KafkaError::Transaction(error) if error.txn_requires_abort()),
        "{refusal:?}"
    );
    writer.producer.abort_transaction(PATIENCE).unwrap();

    writer.producer.begin_transaction().unwrap();
    writer.put(&output, 0, "by the one that is there");
    let current = present.group_metadata().unwrap();
    writer
        .producer
        .send_offsets_to_transaction(&position(&input, 0, 5), &current, PATIENCE)
        .unwrap();
    writer.producer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(committed(&present, &input), Offset::Offset(5));
    assert_eq!(keys(&read_to_end(broker, &output, COMMITTED)), ["by the one that is there"]);
}

/// The only member of its group, which has read this many records.
fn member_after(broker: &str, group: &str, topic: &str, count: usize) -> BaseConsumer {
    let member = consumer(broker, group, &[CLASSIC, COMMITTED].concat());
    member.subscribe(&[topic]).unwrap();
    take(&member, count);
    member
}
