//! `verdict check` on a line that did its work, and then on one whose topics and store somebody tampered with.

use std::{collections::BTreeMap, fs, path::Path, process::Output};

use broker::{
    Delivery, Exchange as _, Outgoing, Progress, Publish as _, TailFrom,
    kafka::{
        ExchangeOptions, KafkaExchange, KafkaPublish, KafkaScan, KafkaSettings, TopicSpec,
        ensure_topics,
    },
};
use futures::future::join_all;
use jiff::ToSpan as _;
use schemas::{Record, ReviewId, Verdict, topics};
use serde_json::Value;
use store::{RefusedRecord, Row, StoreSettings};

use crate::line::{LOOK_EVERY, Line, now, verdict};

/// Longest wait for the line to have scored what was published.
const SCORED_WAIT_MAX: std::time::Duration = std::time::Duration::from_mins(1);

const REVIEWS: usize = 400;
/// Of which one in so many is no review.
const POISON_EVERY: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_is_checked_clean_and_every_fault_put_into_it_is_counted() {
    let line = Line::start_tiny().await;
    send(&line.kafka(), (0..REVIEWS).map(review)).await;
    let clean = stored(&line);
    let count = |object: &Value, name: &str| object[name].as_u64().unwrap();
    assert_eq!(count(&clean, "faults"), 0, "{clean}");
    assert_eq!(count(&clean, "reviews"), u64::try_from(REVIEWS).unwrap());
    assert_eq!(count(&clean, "dead_letters"), u64::try_from(REVIEWS / POISON_EVERY).unwrap());
    assert_eq!(count(&clean, "verdicts") + count(&clean, "dead_letters"), count(&clean, "reviews"));

    let ids = line.data().join("acknowledged");
    fs::write(&ids, "review-1\nreview-2\nnever-published\n").unwrap();
    tamper(&line).await;
    let acknowledged = ["--model", "tiny@1", "--acknowledged", path(&ids)];
    let (output, faulty) = check_line(&line, &acknowledged);
    assert_eq!(output.status.code(), Some(1), "{faulty}");
    let expected = [
        ("lost", 0),
        ("duplicated", 3),
        ("torn", 1),
        ("out_of_order", 1),
        ("wrong_version", 2),
        ("unexplained", 2),
        ("unacknowledged", 1),
    ];
    for (name, expected) in expected {
        assert_eq!(count(&faulty, name), expected, "{name}: {faulty}");
    }
    assert!(faulty["examples"].to_string().contains("never-published"), "{faulty}");

    let rows = u64::try_from(REVIEWS - REVIEWS / POISON_EVERY).unwrap();
    assert_eq!(count(&clean, "rows"), rows, "{clean}");
    let altered = line.data().join("altered.db");
    alter(&line, &altered).await;
    let url = format!("store.url=sqlite:{}", path(&altered));
    let (_, report) = check_line(&line, &["--set", &url]);
    let expected = [
        ("rows", rows - 1),
        ("rows_refused", 1),
        ("rows_missing", 1),
        ("rows_stale", 1),
        ("rows_unexplained", 1),
    ];
    for (name, expected) in expected {
        assert_eq!(count(&report, name), expected, "{name}: {report}");
    }

    let table = verdict()
        .args(["check", "--kafka", &line.kafka_address()])
        .args(["--set", &format!("up.data={}", path(&line.data()))])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&table.stdout).into_owned();
    assert_eq!(table.status.code(), Some(1), "{said}");
    for part in ["duplicated", "What to do", "verdicts.v1-"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reviews_whose_offsets_were_committed_without_their_outcomes_are_lost() {
    // A broker without a line, and offsets that go on by themselves: what a commit before the verdicts would leave behind.
    let folder = tempfile::tempdir().unwrap();
    let settings = embedded_kafka::Settings::new(folder.path(), ([127, 0, 0, 1], 0).into());
    let broker = embedded_kafka::EmbeddedKafka::start(settings).await.unwrap();
    let kafka = KafkaSettings::at(broker.local_addr().to_string());
    let specs = topics::ALL.map(|topic| TopicSpec::new(topic, 2));
    ensure_topics(&kafka, &specs, SCORED_WAIT_MAX).await.unwrap();
    send(&kafka, (0..20).map(review)).await;
    let skipping = kafka.clone();
    tokio::task::spawn_blocking(move || skip(&skipping, 20)).await.unwrap();

    let check = || check(&kafka.bootstrap_servers, &["--no-store"]).1;
    let (before, example) = (check(), "reviews.v1-");
    assert_eq!((&before["lost"], &before["faults"]), (&20.into(), &20.into()), "{before}");
    assert!(before["examples"].to_string().contains(example), "{before}");
    // What comes after the group's offsets is still to be scored, and no fault.
    send(&kafka, (20..23).map(review)).await;
    assert_eq!((&check()["lost"], &check()["pending"]), (&20.into(), &3.into()));
    broker.stop().await;
}

/// Commits the offsets of the first `count` reviews as the processor's group, and writes nothing.
fn skip(kafka: &KafkaSettings, count: usize) {
    let options = ExchangeOptions::new("processor", [topics::REVIEWS], "skipping");
    let mut exchange = KafkaExchange::connect(kafka, options).unwrap();
    let until = now() + SCORED_WAIT_MAX;
    let mut read = 0;
    while read < count {
        assert!(now() < until, "only {read} of {count} reviews came");
        let deliveries = exchange.poll(count, LOOK_EVERY).unwrap();
        read += deliveries.len();
        exchange.commit(Vec::new(), &Progress::of(&deliveries)).unwrap();
    }
}

/// Puts the faults into the topics that `expected` counts.
async fn tamper(line: &Line) {
    let kafka = line.kafka();
    let verdicts =
        tokio::task::spawn_blocking(move || all(&kafka, topics::VERDICTS)).await.unwrap();
    let mut same = verdicts.iter().filter(|it| it.partition == verdicts[0].partition);
    let (first, second) = (same.next().unwrap(), same.next().unwrap());
    let records = vec![
        // The same verdict once more.
        first.record.clone(),
        // One of a later review with an earlier one's key after it: out of order, and both are duplicates.
        changed(second, |verdict| verdict.id = first_id(first)),
        changed(first, |_same| {}),
        // Foreign weights under a known name, and a model that nobody asked for. Both name no review.
        changed(first, |verdict| {
            "sha256:foreign".clone_into(&mut verdict.model.digest);
            verdict.origin = None;
        }),
        changed(first, |verdict| {
            "2".clone_into(&mut verdict.model.version);
            verdict.origin = None;
        }),
        // A verdict of a review that nobody has read yet.
        changed(first, |verdict| {
            if let Some(origin) = verdict.origin.as_mut() {
                origin.offset = 1_000_000;
            }
        }),
    ];
    let topic = topics::VERDICTS;
    let outgoing = records.into_iter().map(|record| Outgoing { topic: topic.into(), record });
    send(&line.kafka(), outgoing).await;
}

/// A store with a row for each verdict, but for one that is missing, one that it refused, one that is stale, and one that nobody
/// wrote to the topic.
async fn alter(line: &Line, path: &Path) {
    let kafka = line.kafka();
    let verdicts =
        tokio::task::spawn_blocking(move || all(&kafka, topics::VERDICTS)).await.unwrap();
    // The first is the one that was tampered with: it has several verdicts.
    let read = |delivery: &Delivery| Verdict::from_record(&delivery.record).unwrap();
    let mut latest: BTreeMap<String, Verdict> = BTreeMap::new();
    for verdict in verdicts.iter().map(read) {
        let rank = |verdict: &Verdict| Row::new(verdict.clone());
        let former = latest.get(verdict.id.as_str());
        if former.is_none_or(|former| rank(&verdict).outranks(&rank(former)).unwrap()) {
            latest.insert(verdict.id.to_string(), verdict);
        }
    }
    let mut rows: Vec<Row> = latest.into_values().map(Row::new).collect();
    let tampered = first_id(&verdicts[0]);
    rows.sort_by_key(|row| row.verdict.id != tampered);
    let mut foreign = rows.pop().unwrap();
    foreign.verdict.id = ReviewId::new("nobody-s").unwrap();
    rows.push(foreign);
    let stale = rows.get_mut(1).unwrap();
    stale.verdict.scored_at -= 1.second();
    stale.written_at_us -= 1_000_000;
    let refused = rows.remove(2).verdict;
    let refused = verdicts.iter().find(|delivery| read(delivery) == refused).unwrap();
    let refused = RefusedRecord {
        topic: refused.topic.to_string(),
        partition: refused.partition,
        offset: refused.offset,
        record: refused.record.clone(),
        class: "StoreRefused".to_owned(),
        message: "too large".to_owned(),
        refused_at: chassis::clock::now(),
    };
    let url = format!("sqlite:{}", path.display());
    let store = store::connect(&StoreSettings::at(url)).await.unwrap();
    store.upsert(&rows).await.unwrap();
    store.keep_refused(&[refused]).await.unwrap();
}

fn first_id(delivery: &Delivery) -> ReviewId {
    Verdict::from_record(&delivery.record).unwrap().id
}

/// The verdict with a change, as the line would have written it.
fn changed(delivery: &Delivery, change: impl FnOnce(&mut Verdict)) -> Record {
    let mut verdict = Verdict::from_record(&delivery.record).unwrap();
    change(&mut verdict);
    verdict.to_record(Vec::new()).unwrap()
}

fn all(kafka: &KafkaSettings, topic: &str) -> Vec<Delivery> {
    let mut scan = KafkaScan::open(kafka, topic, TailFrom::Beginning).unwrap().unwrap();
    let mut all = Vec::new();
    loop {
        let deliveries = scan.read(1_000).unwrap();
        if deliveries.is_empty() {
            return all;
        }
        all.extend(deliveries);
    }
}

fn review(number: usize) -> Outgoing {
    let value = if number % POISON_EVERY == POISON_EVERY - 1 {
        "{\"review\": 7}".to_owned()
    } else {
        format!("{{\"review\": \"Room {number} was clean.\"}}")
    };
    let key = Some(format!("review-{number}").into_bytes());
    let record = Record { key, value: Some(value.into_bytes()), ..Record::default() };
    Outgoing { topic: topics::REVIEWS.into(), record }
}

pub(crate) async fn send(kafka: &KafkaSettings, outgoing: impl Iterator<Item = Outgoing>) {
    let publisher = KafkaPublish::connect(kafka, 10_000).unwrap();
    for outcome in join_all(outgoing.map(|outgoing| publisher.publish(outgoing))).await {
        outcome.unwrap();
    }
}

/// The report once nothing is pending any more.
pub(crate) fn settled(line: &Line) -> Value {
    let until = now() + SCORED_WAIT_MAX;
    loop {
        let (_, report) = check_line(line, &[]);
        if report["pending"] == 0 {
            return report;
        }
        assert!(now() < until, "still not scored: {report}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The report once every verdict has its row, too.
pub(crate) fn stored(line: &Line) -> Value {
    let until = now() + SCORED_WAIT_MAX;
    loop {
        let report = settled(line);
        if report["rows"] == report["verdicts"] {
            return report;
        }
        assert!(now() < until, "still not stored: {report}");
        std::thread::sleep(LOOK_EVERY);
    }
}

pub(crate) fn check_line(line: &Line, arguments: &[&str]) -> (Output, Value) {
    let data = format!("up.data={}", path(&line.data()));
    check(&line.kafka_address(), &[arguments, &["--set", &data]].concat())
}

fn check(kafka: &str, arguments: &[&str]) -> (Output, Value) {
    let output =
        verdict().args(["check", "--json", "--kafka", kafka]).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&said)
        .unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    (output, report)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
