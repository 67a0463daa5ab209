//! Many reviews in one request.

use ingest::Settings;
use schemas::topics;
use serde_json::{Value, json};

use crate::{
    ask::{Answer, post_to},
    line::Line,
};

const LINES: &str = "application/x-ndjson";

async fn post(
    router: &axum::Router,
    content_type: &str,
    body: String,
    headers: &[(&str, &str)],
) -> Answer {
    post_to(router, "/analyze/batch", content_type, body, headers).await
}

#[tokio::test]
async fn each_line_has_its_outcome_in_order_and_none_fails_another() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let body = "{\"review\":\"lovely\"}\n\n{\"review\":\" \"}\nnot json\n{\"review\":\"dirty\"}\r\n{\"review\":\"poison\"}\n[]";
    let answer = post(&router, LINES, body.to_owned(), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some(LINES)));
    let rows: Vec<Value> =
        answer.text.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            let name = if row["status"] == 200 {
                &row["verdict"]["label"]
            } else {
                &row["problem"]["error"]
            };
            (row["row"].as_u64().unwrap(), row["status"].as_u64().unwrap(), name.as_str().unwrap())
        })
        .collect();
    let expected = [
        (0, 200, "positive"),
        (1, 422, "review_empty"),
        (2, 400, "body_not_json"),
        (3, 200, "negative"),
        (4, 424, "review_refused"),
        (5, 422, "wrong_type"),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn an_array_is_answered_with_an_array() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let body = json!([{ "review": "a" }, { "review": 7 }, { "id": "x/y z?".replace(' ', ""), "review": "b" }]);
    let answer = post(&router, "application/json", body.to_string(), &[("prefer", "wait=5")]).await;
    assert_eq!(answer.header("preference-applied"), Some("wait=5"));
    let rows = answer.json();
    let statuses: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| row["status"].clone()).collect();
    assert_eq!(statuses, [200, 422, 200]);
    let empty = post(&router, "application/json", "[]".to_owned(), &[]).await;
    assert_eq!((empty.status.as_u16(), empty.text.as_str()), (200, "[]"));
}

#[tokio::test]
async fn a_batch_that_does_not_wait_is_durable_when_it_is_answered() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    line.hold();
    let rows: Vec<_> = (0..600)
        .map(|row| json!({ "id": format!("b/{row}"), "review": format!("review {row}") }))
        .collect();
    let answer =
        post(&router, "application/json", json!(rows).to_string(), &[("prefer", "respond-async")])
            .await;
    let rows = answer.json();
    for (row, outcome) in rows.as_array().unwrap().iter().enumerate() {
        assert_eq!((&outcome["row"], &outcome["status"]), (&json!(row), &json!(202)), "{outcome}");
        assert_eq!(outcome["location"], format!("/verdicts/b%2F{row}"));
    }
    assert_eq!(line.broker.records(topics::REVIEWS).len(), 600);
}

#[tokio::test]
async fn a_batch_sent_again_with_its_key_is_judged_once() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let body = "{\"review\":\"a\"}\n{\"review\":\"a\"}\n";
    let key = [("idempotency-key", "batch-1")];
    let first = post(&router, LINES, body.to_owned(), &key).await;
    let second = post(&router, LINES, body.to_owned(), &key).await;
    assert_eq!(first.text, second.text);
    assert_eq!(line.broker.records(topics::REVIEWS).len(), 2, "two rows are two reviews");
}

#[tokio::test]
async fn a_batch_has_bounds() {
    let line = Line::new();
    let router = line.ingest(Settings {
        batch_rows_max: 3,
        batch_bytes_max: 1_000,
        in_flight_max: std::num::NonZeroUsize::new(2).unwrap(),
        ..Settings::default()
    });
    let rows = |count: usize| "{\"review\":\"a\"}\n".repeat(count);
    let answers = [
        (post(&router, LINES, String::new(), &[]).await, 400, "body_empty"),
        (post(&router, LINES, rows(4), &[]).await, 413, "too_many_rows"),
        (post(&router, LINES, rows(100), &[]).await, 413, "body_too_large"),
        (post(&router, "application/json", "{}".to_owned(), &[]).await, 400, "body_not_json"),
        (post(&router, "text/csv", rows(1), &[]).await, 415, "unsupported_media_type"),
        (post(&router, LINES, rows(3), &[]).await, 429, "overloaded"),
    ];
    for (answer, status, error) in answers {
        assert_eq!(answer.problem(), (status, error.to_owned()));
    }
    assert_eq!(line.broker.records(topics::REVIEWS), []);
    assert_eq!(post(&router, LINES, rows(2), &[]).await.status, 200);
}
