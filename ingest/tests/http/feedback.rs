//! `POST /feedback`: taken only once it is durable, and refused in the words of the other routes.

use ingest::Settings;
use jiff::{SignedDuration, Timestamp};
use schemas::{Feedback, headers, topics};
use serde_json::json;

use crate::{
    ask::{Answer, post_to},
    line::Line,
};

async fn give(
    router: &axum::Router,
    body: impl Into<axum::body::Body>,
    headers: &[(&str, &str)],
) -> Answer {
    post_to(router, "/feedback", "application/json", body, headers).await
}

#[tokio::test]
async fn feedback_is_on_the_topic_before_it_is_answered() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let body = json!({ "id": "order-4711", "label": "negative", "by": "support",
        "given_at": "2025-03-01T10:00:00Z", "stars": 1 });
    let sent = [("x-request-id", "mine-1")];
    let answer = give(&router, body.to_string(), &sent).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (202, json!({ "id": "order-4711" })));
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    let records = line.broker.records(topics::FEEDBACK);
    let [delivery] = &records[..] else { panic!("{records:?}") };
    assert_eq!(delivery.record.key.as_deref(), Some(b"order-4711".as_slice()));
    let written = headers::text(&delivery.record.headers, "x-request-id");
    assert_eq!(written, Some("mine-1"));
    assert_eq!(
        headers::text(&delivery.record.headers, "traceparent"),
        answer.header("traceparent"),
        "no span is recorded, so the record is the request's own"
    );
    let expected = Feedback {
        id: "order-4711".to_owned(),
        label: "negative".to_owned(),
        by: Some("support".to_owned()),
        given_at: Some("2025-03-01T10:00:00Z".parse().unwrap()),
    };
    assert_eq!(Feedback::from_record(&delivery.record).unwrap(), expected);
    assert_eq!(line.broker.records(topics::REVIEWS), []);
}

#[tokio::test]
async fn a_time_that_nobody_gave_or_that_is_still_to_come_is_that_of_receipt() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let before = Timestamp::now();
    for given_at in [json!(null), json!("2999-01-01T00:00:00Z")] {
        let body = json!({ "id": "a", "label": "b", "given_at": given_at });
        assert_eq!(give(&router, body.to_string(), &[]).await.status, 202);
    }
    for delivery in line.broker.records(topics::FEEDBACK) {
        let given_at = Feedback::from_record(&delivery.record).unwrap().given_at.unwrap();
        assert!((before..=Timestamp::now()).contains(&given_at), "{given_at}");
        let age = Timestamp::now().duration_since(delivery.record.written_at().unwrap());
        assert!(age < SignedDuration::from_mins(1), "{age}");
    }
}

#[tokio::test]
async fn feedback_that_breaks_a_rule_is_refused_by_name() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let long = "x".repeat(201);
    for (body, status, error) in [
        (String::new(), 400, "body_empty"),
        ("{".to_owned(), 400, "body_not_json"),
        (json!([]).to_string(), 422, "wrong_type"),
        (json!({}).to_string(), 422, "id_missing"),
        (json!({ "id": "a" }).to_string(), 422, "label_missing"),
        (json!({ "id": 7, "label": "b" }).to_string(), 422, "wrong_type"),
        (json!({ "id": "a b", "label": "b" }).to_string(), 422, "id_invalid"),
        (json!({ "id": "a", "label": "" }).to_string(), 422, "label_invalid"),
        (json!({ "id": "a", "label": long }).to_string(), 422, "label_invalid"),
        (json!({ "id": "a", "label": "b", "by": long }).to_string(), 422, "by_invalid"),
        (json!({ "id": "a", "label": "b", "by": 7 }).to_string(), 422, "wrong_type"),
        (
            json!({ "id": "a", "label": "b", "given_at": "now" }).to_string(),
            422,
            "given_at_invalid",
        ),
    ] {
        let answer = give(&router, body.clone(), &[]).await;
        assert_eq!(answer.problem(), (status, error.to_owned()), "{body}");
        assert_eq!(answer.json()["instance"], "/feedback");
    }
    let both = give(&router, json!({ "label": 7 }).to_string(), &[]).await.json();
    assert_eq!(both["title"], "The feedback breaks a rule");
    let named: Vec<_> =
        both["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!(named, ["label", "id"]);
    assert_eq!(line.broker.records(topics::FEEDBACK), []);
}

#[tokio::test]
async fn what_is_too_large_or_of_another_type_is_not_read() {
    let line = Line::new();
    let router = line.ingest(Settings { body_bytes_max: 1_000, ..Settings::default() });
    let large = json!({ "id": "a", "label": "b", "note": "x".repeat(2_000) }).to_string();
    assert_eq!(give(&router, large, &[]).await.problem(), (413, "body_too_large".to_owned()));
    let body = json!({ "id": "a", "label": "b" }).to_string();
    let text = post_to(&router, "/feedback", "text/plain", body, &[]).await;
    assert_eq!(text.problem(), (415, "unsupported_media_type".to_owned()));
    assert_eq!(text.header("accept-post"), Some("application/json"));
    assert_eq!(line.broker.records(topics::FEEDBACK), []);
}

#[tokio::test]
async fn what_the_broker_does_not_take_is_not_promised() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let body = json!({ "id": "a", "label": "b" }).to_string();
    line.broker.set_full(true);
    assert_eq!(give(&router, body.clone(), &[]).await.problem(), (429, "overloaded".to_owned()));
    line.broker.set_full(false);
    line.broker.set_away(true);
    let away = give(&router, body.clone(), &[]).await;
    assert_eq!(away.problem(), (503, "broker_unavailable".to_owned()));
    let detail = away.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("send it again, and it counts once"), "{detail}");
    line.broker.set_away(false);
    assert_eq!(give(&router, body, &[]).await.status, 202);
    assert_eq!(line.broker.records(topics::FEEDBACK).len(), 1);
}
