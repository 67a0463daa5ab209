//! Reviews of one kind only: the line says that its verdicts drift, once, though it is killed in the midst of it.

use std::{collections::BTreeMap, ops::Range};

use broker::{
    Outgoing, Publish as _, TailFrom,
    kafka::{KafkaPublish, KafkaScan, KafkaSettings},
};
use jiff::Timestamp;
use schemas::{DriftAlert, DriftChange, Record, topics};
use serde_json::{Value, json};
use store::{JudgedWindow, StoreSettings};

use crate::line::{LOOK_EVERY, Line, now, verdict};

/// Without what is waited for after this long, the line is taken to be stuck.
const STUCK_AFTER: std::time::Duration = std::time::Duration::from_secs(90);
/// Reviews of one part of the story.
const REVIEWS: usize = 600;
const WINDOW: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_told_once_though_the_process_is_killed_on_the_way() {
    let flags = [
        format!("drift.window_reviews={WINDOW}"),
        format!("drift.decisions.reviews_min={WINDOW}"),
        "drift.partial_every=100ms".to_owned(),
    ];
    let flags = flags.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect();
    let mut line = Line::start_tiny_with(flags, &[]).await;

    publish(&line, 0).await;
    // The line dies as soon as it has judged anything, wherever it is then.
    until("a judgement", async || !judged(&line).await.is_empty()).await;
    line.kill();
    line.start_again();
    line.ready().await;
    publish(&line, 1).await;
    until("an alert", async || !records(&line, topics::DRIFT_ALERTS).is_empty()).await;
    line.kill();
    line.start_again();
    line.ready().await;
    publish(&line, 2).await;
    let all = 3 * REVIEWS as u64;
    until("all summed", async || summed(&line) == all).await;
    // What is left is less than a window, so that no more can be judged.
    until("all judged", async || {
        let n: u64 = judged(&line).await.iter().map(|window| window.n).sum();
        all < n + WINDOW
    })
    .await;

    let windows = judged(&line).await;
    let mut numbers: Vec<_> = windows.iter().map(|window| window.window).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..i64::try_from(windows.len()).unwrap()).collect::<Vec<_>>());
    let labels_alert = |it: &&JudgedWindow| it.alerting.iter().any(|signal| signal == "labels");
    assert_eq!(windows.iter().filter(labels_alert).count(), windows.len() - 1);

    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for record in records(&line, topics::DRIFT_ALERTS) {
        let alert = DriftAlert::from_record(&record).unwrap();
        assert_eq!(alert.change, DriftChange::Began, "{}", alert.sentence);
        assert_eq!(alert.model.name, "tiny", "{}", alert.sentence);
        // Which reviews are in the first windows is a matter of timing, and what is near its limit may begin later.
        assert!(alert.signal != "labels" || alert.since == 0, "{}", alert.sentence);
        *told.entry(alert.signal).or_default() += 1;
    }
    assert_eq!(told.get("labels"), Some(&1), "{told:?}");
    assert!(told.values().all(|times| *times == 1), "told twice: {told:?}");
    check_report(&line);
    assert_eq!(line.terminate().code(), Some(0));
}

/// `verdict drift report` says the same of these rows, on the terminal and as a page.
fn check_report(line: &Line) {
    let store = format!("sqlite:{}", line.store_path().display());
    let page = line.data().join("report.html");
    let time = around_now();
    let mut command = verdict();
    command.args(["drift", "report", "--window", "4h", "--models", "tests/fixtures/models"]);
    command.args(["--from", &time.start.to_string(), "--to", &time.end.to_string()]);
    let output = command.args(["--store", &store, "--html"]).arg(&page).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let refused = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{refused}");
    assert!(said.contains("tiny@1") && said.contains("labels"), "{said}");
    let html = std::fs::read_to_string(&page).unwrap();
    for part in ["<svg", "tiny@1", "labels"] {
        assert!(html.contains(part), "no {part} in the page: {said}");
    }
}

async fn publish(line: &Line, part: usize) {
    let kafka = KafkaPublish::connect(&line.kafka(), 1_000).unwrap();
    for number in 0..REVIEWS {
        // One text, so one label: whichever reviews a window has, its labels are as far from held-out data as can be.
        let text =
            json!({ "id": format!("{part}-{number}"), "review": "The room was clean and quiet." });
        let value = Some(text.to_string().into_bytes());
        let key = Some(format!("{part}-{number}").into_bytes());
        let record = Record { key, value, ..Record::default() };
        kafka.publish(Outgoing { topic: topics::REVIEWS.into(), record }).await.unwrap();
    }
}

async fn judged(line: &Line) -> Vec<JudgedWindow> {
    let url = format!("sqlite:{}", line.store_path().display());
    let store = store::connect(&StoreSettings::at(url)).await.unwrap();
    store.judgements(&around_now(), usize::MAX).await.unwrap()
}

fn around_now() -> Range<Timestamp> {
    let now = chassis::clock::now();
    let day = jiff::SignedDuration::from_hours(24);
    now - day..now + day
}

/// Verdicts in all partial windows.
fn summed(line: &Line) -> u64 {
    let n = |record: &Record| {
        let window: Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        window["n"].as_u64().unwrap()
    };
    records(line, topics::DRIFT_WINDOWS).iter().map(n).sum()
}

/// What is in a topic now, at `read_committed`.
fn records(line: &Line, topic: &str) -> Vec<Record> {
    tokio::task::block_in_place(|| read(&line.kafka(), topic))
}

fn read(kafka: &KafkaSettings, topic: &str) -> Vec<Record> {
    let scan = KafkaScan::open(kafka, topic, TailFrom::Beginning).unwrap();
    let mut scan = scan.unwrap();
    let mut records = Vec::new();
    loop {
        let more = scan.read(1_000).unwrap();
        if more.is_empty() {
            return records;
        }
        records.extend(more.into_iter().map(|delivery| delivery.record));
    }
}

async fn until(what: &str, mut is_there: impl AsyncFnMut() -> bool) {
    let deadline = now() + STUCK_AFTER;
    while now() < deadline {
        if is_there().await {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    panic!("no {what} within {STUCK_AFTER:?}");
}
