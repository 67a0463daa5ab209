//! The first thing that a newcomer does: post the seed review and find its verdict everywhere.

use std::process::Command;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::line::{LOOK_EVERY, Line, verdict};

/// Looks at something that may not be there yet; ten seconds in all.
const LOOKS_MAX: usize = 200;

const SEED: &str = "The room was clean and affordable.";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_posted_review_is_found_everywhere_and_after_a_restart() {
    let mut line = Line::start().await;
    let client = Client::new();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    let answer = client
        .post(line.url("/analyze"))
        .header("traceparent", trace)
        .json(&json!({ "review": SEED }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let verdict: Value = answer.json().await.unwrap();
    assert_eq!(verdict["label"], "positive");
    assert_eq!(
        (&verdict["model"]["name"], &verdict["model"]["version"]),
        (&json!("sentiment"), &json!("1"))
    );
    assert!(verdict["model"]["digest"].as_str().unwrap().starts_with("sha256:"));
    assert!(0.9 < verdict["probabilities"]["positive"].as_f64().unwrap());
    assert_eq!(verdict["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    let id = verdict["id"].as_str().unwrap().to_owned();

    assert_eq!(stored(&line, &client, &id).await, verdict);
    assert_eq!(tapped(&line), verdict);
    assert_eq!(in_topic(&line), verdict);

    assert_eq!(line.terminate().code(), Some(0), "SIGTERM is a clean exit");
    line.start_again();
    line.ready().await;
    assert_eq!(stored(&line, &client, &id).await, verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_the_documentation_and_the_metrics_are_served() {
    let line = Line::start().await;
    let client = Client::new();
    let get = |path: &str| client.get(line.url(path)).send();
    let page = get("/").await.unwrap().text().await.unwrap();
    assert!(page.contains("<title>") && !page.contains("https://"), "no file from elsewhere");
    let api: Value = get("/openapi.json").await.unwrap().json().await.unwrap();
    assert!(api["paths"]["/analyze"]["post"].is_object());
    assert!(get("/docs/").await.unwrap().status().is_success());
    client.post(line.url("/analyze")).json(&json!({ "review": SEED })).send().await.unwrap();
    // The processor counts a verdict after it is committed, so the answer may overtake the count.
    let mut missing = Vec::new();
    for _look in 0..LOOKS_MAX {
        let metrics = get("/metrics").await.unwrap().text().await.unwrap();
        let names = ["http_server_request_duration", "inference_duration", "inference_predictions"];
        missing = names.into_iter().filter(|name| !metrics.contains(name)).collect();
        if missing.is_empty() {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    panic!("{missing:?} missing from /metrics");
}

async fn stored(line: &Line, client: &Client, id: &str) -> Value {
    // The answer may overtake the store.
    for _look in 0..LOOKS_MAX {
        let answer = client.get(line.url(&format!("/verdicts/{id}"))).send().await.unwrap();
        if answer.status() == StatusCode::OK {
            return answer.json().await.unwrap();
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    panic!("no verdict of {id} in the store");
}

fn tapped(line: &Line) -> Value {
    let output = verdict()
        .args([
            "tap",
            "--json",
            "--from",
            "beginning",
            "--count",
            "1",
            "--kafka",
            &line.kafka_address(),
        ])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn in_topic(line: &Line) -> Value {
    let output = Command::new("kcat")
        .args(["-C", "-q", "-e", "-b", &line.kafka_address(), "-t", "verdicts.v1", "-c", "1"])
        .output()
        .expect("kcat is needed: install it with `apt-get install kcat` or `brew install kcat`");
    serde_json::from_slice(&output.stdout).unwrap()
}
