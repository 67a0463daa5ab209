//! `verdict replay` of what a line scored: interrupted, resumed, into a topic and into the store.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use broker::{
    Outgoing, TailFrom,
    kafka::{KafkaScan, KafkaSettings, watermarks},
};
use schemas::{Record, ReviewId, Verdict, topics};
use serde_json::Value;
use store::StoreSettings;

use crate::{
    checking::{send, settled, stored},
    line::{LOOK_EVERY, Line, now, verdict},
};

/// Longest wait for something to be there.
const WAIT_MAX: Duration = Duration::from_mins(1);

const REVIEWS: i64 = 600;
/// The first review's time; each later one is a second later.
const BEGUN_MS: i64 = 1_767_225_600_000;
/// The window: the reviews from number 100 up to and without number 500.
const WINDOW: [&str; 4] = ["--from", "2026-01-01T00:01:40Z", "--to", "2026-01-01T00:08:20Z"];
const IN_WINDOW: std::ops::Range<i64> = 100..500;
/// One in so many is no review.
const POISON_EVERY: i64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_is_killed_and_resumed_scores_each_review_of_its_window_once() {
    let line = Line::start_tiny().await;
    send(&line.kafka(), (0..REVIEWS).map(review)).await;
    settled(&line);

    // One review a round, so that there is a middle to be stopped in.
    let slow = ["--set", "processor.max_round_records=1"];
    let mut killed = start(&line, &slow);
    wait_for_offsets(&line, 40);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let interrupted = start(&line, &slow);
    wait_for_offsets(&line, 200);
    let sent = Command::new("kill").args(["-INT", &interrupted.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let interrupted = interrupted.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&interrupted.stderr).into_owned();
    assert!(said.contains("goes on"), "the kill came too late: {said}");
    assert_eq!(interrupted.status.code(), Some(130), "{said}");
    // What comes after the first run began is no history.
    send(&line.kafka(), (200..205).map(review)).await;

    let (output, summary) = replay(&line, &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("goes on"), "{output:?}");
    assert_eq!((&summary["resumed"], &summary["done"]), (&true.into(), &true.into()), "{summary}");
    let refused = IN_WINDOW.filter(|number| is_poison(*number)).count();
    let scored = usize::try_from(IN_WINDOW.end - IN_WINDOW.start).unwrap() - refused;
    assert_eq!(summary["scored"], scored, "{summary}");
    assert_eq!(summary["refused"], refused, "{summary}");

    let kafka = line.kafka();
    let replayed = verdicts(&kafka, topics::REPLAY_VERDICTS);
    assert_eq!(replayed.len(), scored);
    for (times, verdict) in replayed.values() {
        assert_eq!(*times, 1, "{}", verdict.id);
        let at = verdict.occurred_at.as_millisecond();
        assert!(IN_WINDOW.contains(&((at - BEGUN_MS) / 1_000)), "{verdict:?}");
        assert_eq!((verdict.model.version.as_str(), verdict.model.name.as_str()), ("2", "tiny"));
        assert_eq!(verdict.origin.as_ref().unwrap().topic, topics::REVIEWS);
    }
    let (_, again) = replay(&line, &[]);
    assert_eq!((&again["scored_now"], &again["scored"]), (&0.into(), &scored.into()), "{again}");
    // The line's own topics are as they were.
    assert_eq!(settled(&line)["faults"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_into_the_store_leaves_the_line_s_rows_alone_unless_it_is_told_to() {
    let line = Line::start_tiny().await;
    send(&line.kafka(), (0..REVIEWS).map(review)).await;
    let good = (0..REVIEWS).filter(|number| !is_poison(*number)).count();
    stored(&line);
    let rows = format!("sqlite:{}", line.store_path().display());
    let line_s = vec![Some("1".to_owned()); good];
    assert_eq!(versions(&rows).await, line_s);

    // A store that has none of the rows gets those of the window.
    let other = format!("sqlite:{}", line.data().join("other.db").display());
    let to_other = format!("store.url={other}");
    replay(&line, &["--to-store", "--name", "elsewhere", "--set", &to_other]);
    let in_window = |inside: &str, outside: Option<&str>| -> Vec<Option<String>> {
        let good = (0..REVIEWS).filter(|number| !is_poison(*number));
        let version = |number| if IN_WINDOW.contains(&number) { Some(inside) } else { outside };
        good.map(|number| version(number).map(str::to_owned)).collect()
    };
    assert_eq!(versions(&other).await, in_window("2", None));

    replay(&line, &["--to-store"]);
    assert_eq!(versions(&rows).await, line_s, "the line's rows stay");
    replay(&line, &["--to-store", "--overwrite"]);
    assert_eq!(versions(&rows).await, in_window("2", Some("1")));
}

/// The version of the model that each review's row is of.
async fn versions(url: &str) -> Vec<Option<String>> {
    let store = store::connect(&StoreSettings::at(url)).await.unwrap();
    let mut versions = Vec::new();
    for number in (0..REVIEWS).filter(|number| !is_poison(*number)) {
        let id = ReviewId::new(format!("review-{number}")).unwrap();
        versions.push(store.get(&id).await.unwrap().map(|verdict| verdict.model.version));
    }
    versions
}

fn is_poison(number: i64) -> bool {
    number % POISON_EVERY == 0
}

fn review(number: i64) -> Outgoing {
    let value = if is_poison(number) {
        "{\"review\": 7}".to_owned()
    } else {
        format!("{{\"review\": \"Room {number} was clean.\"}}")
    };
    let record = Record {
        key: Some(format!("review-{number}").into_bytes()),
        value: Some(value.into_bytes()),
        timestamp_ms: Some(BEGUN_MS + number * 1_000),
        ..Record::default()
    };
    Outgoing { topic: topics::REVIEWS.into(), record }
}

/// A replay of the window with the other model.
fn command(line: &Line, arguments: &[&str]) -> Command {
    let mut command = verdict();
    command
        .args(["replay", "--json", "--kafka", &line.kafka_address()])
        .args(["--models", "tests/fixtures/models", "--model", "tiny@2"])
        .args(["--set", &format!("up.data={}", line.data().display())])
        .args(WINDOW)
        .args(arguments);
    command
}

fn start(line: &Line, arguments: &[&str]) -> Child {
    command(line, arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn replay(line: &Line, arguments: &[&str]) -> (Output, Value) {
    let output = command(line, arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let summary = serde_json::from_slice(&output.stdout).unwrap();
    (output, summary)
}

/// How many records each key has in the topic, with the last of its verdicts.
fn verdicts(kafka: &KafkaSettings, topic: &str) -> BTreeMap<String, (usize, Verdict)> {
    let mut verdicts = BTreeMap::new();
    let Some(mut scan) = KafkaScan::open(kafka, topic, TailFrom::Beginning).unwrap() else {
        return verdicts;
    };
    loop {
        let deliveries = scan.read(1_000).unwrap();
        if deliveries.is_empty() {
            return verdicts;
        }
        for delivery in deliveries {
            let verdict = Verdict::from_record(&delivery.record).unwrap();
            let times = verdicts.get(verdict.id.as_str()).map_or(0, |(times, _)| *times);
            verdicts.insert(verdict.id.to_string(), (times + 1, verdict));
        }
    }
}

/// Waits until the topic of a replay has that many offsets: each verdict takes one, and the marker of its transaction another.
fn wait_for_offsets(line: &Line, count: i64) {
    let until = now() + WAIT_MAX;
    loop {
        let spans = watermarks(&line.kafka(), topics::REPLAY_VERDICTS).unwrap_or_default();
        if count <= spans.values().map(|span| span.end).sum::<i64>() {
            return;
        }
        assert!(now() < until, "still only {spans:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}
