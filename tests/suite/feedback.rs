//! Labels given by HTTP, through a SIGKILL between their rows and the commit of their windows: each is kept and counted once.

use std::{collections::BTreeMap, time::Duration};

use broker::{
    Subscribe as _, TailFrom,
    kafka::{KafkaSettings, KafkaSubscribe},
};
use drift::Window;
use reqwest::{Client, StatusCode};
use schemas::{ReviewId, topics};
use serde_json::{Value, json};
use store::StoreSettings;

use crate::line::{LOOK_EVERY, Line, now};

const REVIEWS: usize = 60;
/// Of which people disagree with one in so many.
const WRONG_EVERY: usize = 3;

/// Longest wait for the line to have settled all labels.
const SETTLED_WAIT_MAX: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_are_kept_and_counted_once_though_the_process_is_killed_between_the_two() {
    let flags = ["--set", "feedback.rows_max=7", "--set", "feedback.unknown_wait=1s"];
    let fault = [("VERDICT_TEST_FAULT", "feedback_after_rows:3")];
    let mut line = Line::start_tiny_with(flags.map(str::to_owned).to_vec(), &fault).await;
    let client = Client::new();
    let verdicts = post_reviews(&line, &client).await;

    // The line dies in the midst of it, after the rows of its third round and before their commit.
    for (number, (id, verdict)) in verdicts.iter().enumerate() {
        if !give(&line, &client, &said(id, verdict, number)).await {
            break;
        }
    }
    line.exited(SETTLED_WAIT_MAX).await;
    line.start_again_without_variables();
    line.ready().await;
    // What was not answered is sent again, and all that was answered too: it counts once.
    for (number, (id, verdict)) in verdicts.iter().enumerate() {
        assert!(give(&line, &client, &said(id, verdict, number)).await);
    }
    line.kill();
    line.start_again();
    line.ready().await;
    let first = verdicts.keys().next().unwrap();
    let known = json!({ "id": first, "label": "sarcastic", "by": "anna" });
    let unknown = json!({ "id": "nobody-wrote-it", "label": "positive", "by": "anna" });
    for body in [known, unknown] {
        assert!(give(&line, &client, &body).await);
    }
    let refused = client.post(line.url("/feedback")).json(&json!({ "id": "a" })).send().await;
    assert_eq!(refused.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);

    let kafka = line.kafka();
    let counted = tokio::task::spawn_blocking(move || counted(&kafka)).await.unwrap();
    let wrong = REVIEWS.div_ceil(WRONG_EVERY);
    assert_eq!(counted, (REVIEWS, REVIEWS - wrong));
    let ids = verdicts.keys().map(String::as_str).chain(["nobody-wrote-it"]);
    let mut kept = BTreeMap::new();
    for id in ids {
        kept.insert(id.to_owned(), rows(&line, id).await);
    }
    let expected = |id: &String| if id == first { 2 } else { 1 };
    let differing: Vec<_> = kept.iter().filter(|(id, rows)| **rows != expected(id)).collect();
    assert!(differing.is_empty(), "{differing:?}");
    assert_eq!(line.terminate().code(), Some(0));
}

/// What is said of the review `id`: one in so many is wrong.
fn said(id: &str, verdict: &Value, number: usize) -> Value {
    let own = verdict["label"].as_str().unwrap();
    let labels = verdict["probabilities"].as_object().unwrap();
    let other = labels.keys().find(|label| *label != own).unwrap();
    let label = if number.is_multiple_of(WRONG_EVERY) { other } else { own };
    json!({ "id": id, "label": label, "by": "anna" })
}

/// Whether it was taken; not where the line has died.
async fn give(line: &Line, client: &Client, body: &Value) -> bool {
    match client.post(line.url("/feedback")).json(body).send().await {
        Ok(answer) => {
            assert_eq!(answer.status(), StatusCode::ACCEPTED);
            let answer = answer.json::<Value>().await.unwrap();
            assert_eq!(answer["id"], body["id"]);
            true
        }
        Err(_gone) => false,
    }
}

async fn post_reviews(line: &Line, client: &Client) -> BTreeMap<String, Value> {
    let mut verdicts = BTreeMap::new();
    for number in 0..REVIEWS {
        let id = format!("review-{number:02}");
        let body = json!({ "id": id, "review": format!("Room {number} was clean.") });
        let answer = client.post(line.url("/analyze")).header("prefer", "wait=30").json(&body);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        verdicts.insert(id, answer.json().await.unwrap());
    }
    verdicts
}

/// Labels counted in the windows, and right ones among them, once all are there and no more come.
fn counted(kafka: &KafkaSettings) -> (usize, usize) {
    let topic = topics::DRIFT_WINDOWS;
    let mut subscription = KafkaSubscribe::tail(kafka, &[topic], TailFrom::Beginning).unwrap();
    let (mut labelled, mut correct) = (0, 0);
    let (begun, mut quiet_since) = (now(), now());
    loop {
        for delivery in subscription.poll(1_000, LOOK_EVERY).unwrap() {
            let value = delivery.record.value.unwrap();
            let window: Window = serde_json::from_slice(&value).unwrap();
            let sums = &window.sums().labelled;
            labelled += usize::try_from(sums.n()).unwrap();
            correct += usize::try_from(sums.correct).unwrap();
            if 0 < sums.n() {
                quiet_since = now();
            }
        }
        // A label that is counted twice could come late, so it must have been quiet for a while.
        if REVIEWS <= labelled && Duration::from_secs(4) < quiet_since.elapsed() {
            return (labelled, correct);
        }
        assert!(begun.elapsed() < SETTLED_WAIT_MAX, "only {labelled} labels are counted");
    }
}

/// Rows of feedback on one review, once there is one.
async fn rows(line: &Line, id: &str) -> usize {
    let url = format!("sqlite:{}", line.store_path().display());
    let store = store::connect(&StoreSettings::at(url)).await.unwrap();
    let begun = now();
    loop {
        let found = store.feedback(&ReviewId::new(id).unwrap()).await.unwrap().len();
        if 0 < found || SETTLED_WAIT_MAX < begun.elapsed() {
            return found;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
