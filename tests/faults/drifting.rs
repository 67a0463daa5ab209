//! P12: one stream through 1, 2 and 5 watchers of drift, of which some are killed: the same windows and the same decisions.
//!
//! Windows are of event time, so that which review is in which does not depend on who came first. The stream is half of reviews like those
//! that the model's reference has, and half of one review over and over.

use std::time::Duration;

use broker::{
    Outgoing, Publish as _,
    kafka::{KafkaPublish, KafkaSettings, TopicSpec, ensure_topics},
};
use jiff::{SignedDuration, Timestamp};
use schemas::{DriftAlert, Record, topics};
use serde_json::json;
use store::{JudgedWindow, StoreSettings};

use crate::{
    form::{until, until_none_is_left},
    proof::Proof,
    replica::Replica,
    report::Report,
    servers::{Cluster, text},
    stream::read_all,
};

/// Reviews of each half, one a second of event time, and seconds of a window.
const HALF: i64 = 3_000;
const WINDOW: i64 = 500;

/// How much later than a window's end a review must be for the window to be closed: nothing of the stream is, but its end.
const LATENESS: i64 = 100_000;

/// Longest wait for the topics to have leaders.
const TOPICS_WAIT_MAX: Duration = Duration::from_mins(1);

/// When the stream begins.
const BEGIN: Timestamp = Timestamp::constant(1_790_000_000, 0);

/// What came of one stream, but for when it was judged.
#[derive(Debug, PartialEq)]
struct Decided {
    /// Number, reviews, signals that alert, and all of the judgement.
    windows: Vec<(i64, u64, Vec<String>, String)>,
    /// What was told of it, each once.
    alerts: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p12_however_many_watch_for_drift_they_see_the_same() {
    let proof = Proof::begin("P12").await;
    let replicas: &[usize] = proof.form.pick(&[1, 3], &[1, 2, 5]);
    let mut all = Vec::new();
    for &count in replicas {
        let decided = decide(&proof, count).await;
        Report::of(&proof)
            .with("replicas", count)
            .with("killed", 2)
            .with("windows", decided.windows.len())
            .with("summed", decided.windows.iter().map(|window| window.1).sum::<u64>())
            .with("alerts", decided.alerts.len())
            .print();
        all.push(decided);
    }
    let first = &all[0];
    let numbers: Vec<_> = first.windows.iter().map(|window| (window.0, window.1)).collect();
    let each = u64::try_from(WINDOW).unwrap();
    let begin = BEGIN.as_second() / WINDOW;
    let expected: Vec<_> =
        (begin..begin + 2 * HALF / WINDOW).map(|window| (window, each)).collect();
    assert_eq!(numbers, expected, "every review is in its window, once");
    assert!(first.alerts.iter().any(|alert| alert.starts_with("labels")), "{:?}", first.alerts);
    for (decided, count) in all.iter().zip(replicas).skip(1) {
        assert_eq!(decided, first, "{count} replicas against {}", replicas[0]);
    }
}

/// The stream through `count` sinks, on servers of their own.
async fn decide(proof: &Proof, count: usize) -> Decided {
    let folder = proof.folder().join(format!("replicas-{count}"));
    let kafka = Cluster::kafka(&folder, 1).await;
    let settings = kafka.settings();
    let specs = topics::DRIFT.map(|name| TopicSpec::new(name, 1));
    ensure_topics(&settings, &specs, TOPICS_WAIT_MAX).await.unwrap();
    let store = format!("sqlite:{}", text(&folder.join("verdicts.db")));
    let mut processors = proof.processors(&kafka, 1).await;
    let mut sinks: Vec<_> = (0..count).map(|number| sink(proof, &kafka, &store, number)).collect();
    for sink in &mut sinks {
        sink.start();
        sink.ready().await;
    }
    for half in 0..2 {
        publish(&settings, half * HALF..(half + 1) * HALF).await;
        // In the midst of it, whatever it is at.
        let victim = usize::try_from(half).unwrap() % count;
        let goal = u64::try_from(half * HALF + HALF / 3).unwrap();
        until("sums", async || (goal <= summed(&settings).await).then_some(())).await;
        sinks[victim].kill();
        sinks[victim].start();
        sinks[victim].ready().await;
    }
    let all = u64::try_from(2 * HALF).unwrap();
    until_none_is_left("all reviews in sums", async || {
        processors.iter_mut().chain(&mut sinks).for_each(Replica::tend);
        match all - summed(&settings).await {
            0 => Ok(()),
            left => Err(Some(left)),
        }
    })
    .await;
    // One review from long after, on every partition, closes every window.
    publish(&settings, LATENESS + 2 * HALF..LATENESS + 2 * HALF + 64).await;
    let windows = usize::try_from(2 * HALF / WINDOW).unwrap();
    let mut judged = Vec::new();
    until_none_is_left("all windows judged", async || {
        judged = judgements(&store).await;
        let left = windows.saturating_sub(judged.len());
        if left == 0 { Ok(()) } else { Err(u64::try_from(left).ok()) }
    })
    .await;
    for replica in processors.iter_mut().chain(&mut sinks) {
        replica.terminate().await;
    }
    let window = |it: JudgedWindow| (it.window, it.n, it.alerting, it.judgement);
    let mut windows: Vec<_> = judged.into_iter().map(window).collect();
    windows.sort();
    let mut alerts: Vec<_> = read_all(&settings, topics::DRIFT_ALERTS)
        .await
        .iter()
        .map(|delivery| DriftAlert::from_record(&delivery.record).unwrap())
        .map(|alert| format!("{} in {}: {}", alert.signal, alert.window, alert.sentence))
        .collect();
    alerts.sort();
    Decided { windows, alerts }
}

fn sink(proof: &Proof, kafka: &Cluster, store: &str, number: usize) -> Replica {
    let mut sink = proof.sink_of(kafka, store, number);
    for (key, value) in [
        ("drift.enabled", "true".to_owned()),
        ("drift.models", "tests/fixtures/models".to_owned()),
        ("drift.transactional_id", format!("drift-{number}")),
        ("drift.session_timeout", "6s".to_owned()),
        ("drift.partial_every", "200ms".to_owned()),
        ("drift.window_seconds", WINDOW.to_string()),
        ("drift.lateness_seconds", LATENESS.to_string()),
        ("drift.decisions.reviews_min", "100".to_owned()),
    ] {
        sink.set(key, value);
    }
    sink
}

/// Reviews with these numbers: the second of event time is the number.
async fn publish(kafka: &KafkaSettings, numbers: std::ops::Range<i64>) {
    let kafka = KafkaPublish::connect(kafka, 1_000).unwrap();
    for number in numbers {
        let review = if number < HALF {
            format!("Room {number} {}.", if number % 2 == 0 { "was clean" } else { "smelled" })
        } else {
            "The room was clean and quiet.".to_owned()
        };
        let occurred_at = BEGIN.checked_add(SignedDuration::from_secs(number)).unwrap();
        let value =
            json!({ "id": format!("{number}"), "review": review, "occurred_at": occurred_at });
        let record = Record {
            key: Some(number.to_string().into_bytes()),
            value: Some(value.to_string().into_bytes()),
            ..Record::default()
        };
        kafka.publish(Outgoing { topic: topics::REVIEWS.into(), record }).await.unwrap();
    }
}

/// Verdicts in all partial windows.
async fn summed(kafka: &KafkaSettings) -> u64 {
    let n = |record: &Record| {
        let window: serde_json::Value =
            serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        window["n"].as_u64().unwrap()
    };
    read_all(kafka, topics::DRIFT_WINDOWS).await.iter().map(|it| n(&it.record)).sum()
}

async fn judgements(url: &str) -> Vec<JudgedWindow> {
    let store = store::connect(&StoreSettings::at(url.to_owned())).await.unwrap();
    let day = SignedDuration::from_hours(24);
    let period = BEGIN - day..BEGIN + 3 * day;
    store.judgements(&period, usize::MAX).await.unwrap()
}
