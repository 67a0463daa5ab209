//! What must not get through, and what must although it looks odd.

use axum::{body::Body, http::Request};
use ingest::Settings;
use schemas::{Review, review::Place, topics};
use serde_json::json;

use crate::{
    ask::{ask, post, review},
    line::Line,
};

/// Posts each body and expects a status with the name of an error; nothing of it may reach the topic.
async fn refused(cases: Vec<(Vec<u8>, u16, &str)>) {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    for (body, status, error) in cases {
        let shown = String::from_utf8_lossy(&body).chars().take(60).collect::<String>();
        let answer = post(&router, body, &[]).await;
        assert_eq!(answer.problem(), (status, error.to_owned()), "{shown}");
    }
    assert_eq!(line.broker.records(topics::REVIEWS), []);
}

#[tokio::test]
async fn what_is_not_json_is_refused() {
    refused(vec![
        (b"".to_vec(), 400, "body_empty"),
        (b" \n ".to_vec(), 400, "body_empty"),
        (b"{".to_vec(), 400, "body_not_json"),
        (b"review=nice".to_vec(), 400, "body_not_json"),
        (b"{\"review\":\"a\"} trailing".to_vec(), 400, "body_not_json"),
        (b"{\"review\":\"\xff\xfe\"}".to_vec(), 400, "body_not_utf8"),
        (br#"{"review":"\ud800 alone"}"#.to_vec(), 400, "body_not_json"),
        (br#"{"review":"\udc00 alone"}"#.to_vec(), 400, "body_not_json"),
        (b"{\"review\":\"a\nb\"}".to_vec(), 400, "body_not_json"),
        ("[".repeat(200).into_bytes(), 400, "body_not_json"),
        (format!("{}{}", "[".repeat(200), "]".repeat(200)).into_bytes(), 400, "body_not_json"),
        (
            format!(r#"{{"review":"a","metadata":{}"#, "{\"a\":".repeat(200)).into_bytes(),
            400,
            "body_not_json",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_field_that_breaks_a_rule_is_refused_by_name() {
    let long = "x".repeat(10_001);
    let metadata = json!({ "blob": "m".repeat(17 * 1024) });
    let cases = [
        (json!({}), "review_missing"),
        (json!([]), "wrong_type"),
        (json!("a review"), "wrong_type"),
        (json!({ "text": "a review" }), "review_missing"),
        (json!({ "review": null }), "wrong_type"),
        (json!({ "review": 7 }), "wrong_type"),
        (json!({ "review": ["a"] }), "wrong_type"),
        (json!({ "review": "" }), "review_empty"),
        (json!({ "review": " \t\n\u{a0}\u{3000}" }), "review_empty"),
        (json!({ "review": "\u{0}\u{1}\u{7f}" }), "review_empty"),
        (json!({ "review": long }), "review_too_long"),
        (json!({ "review": "x".repeat(160_001) }), "review_too_many_bytes"),
        (json!({ "review": "a", "id": 7 }), "wrong_type"),
        (json!({ "review": "a", "id": "" }), "id_invalid"),
        (json!({ "review": "a", "id": "two words" }), "id_invalid"),
        (json!({ "review": "a", "id": "i".repeat(201) }), "id_invalid"),
        (json!({ "review": "a", "source": "s".repeat(201) }), "source_invalid"),
        (json!({ "review": "a", "source": "" }), "source_invalid"),
        (json!({ "review": "a", "language": "e" .repeat(36) }), "language_invalid"),
        (json!({ "review": "a", "language": "en_GB" }), "language_invalid"),
        (json!({ "review": "a", "occurred_at": "yesterday" }), "occurred_at_invalid"),
        (json!({ "review": "a", "occurred_at": 1_700_000_000 }), "wrong_type"),
        (json!({ "review": "a", "metadata": "none" }), "wrong_type"),
        (json!({ "review": "a", "metadata": metadata }), "metadata_too_large"),
    ];
    refused(cases.map(|(body, error)| (body.to_string().into_bytes(), 422, error)).to_vec()).await;
}

#[tokio::test]
async fn all_that_is_wrong_is_named_at_once_and_where() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let body = json!({ "review": " ", "language": "??", "metadata": [] }).to_string();
    let problem = post(&router, body, &[]).await.json();
    let named: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!(named, ["review", "language", "metadata"]);
    assert_eq!(problem["instance"], "/analyze");

    let answer = post(&router, "{\n  \"review\": oops\n}", &[]).await;
    let problem = answer.json();
    assert!(problem["detail"].as_str().unwrap().contains("line 2 column 13"), "{problem}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let large = review(&"x".repeat(5 * 1024 * 1024));
    let announced =
        post(&router, large.clone(), &[("content-length", &large.len().to_string())]).await;
    assert_eq!(announced.problem(), (413, "body_too_large".to_owned()));
    let silent = post(&router, large, &[]).await;
    assert_eq!(silent.problem(), (413, "body_too_large".to_owned()));
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let line = Line::new();
    let wait_max = std::time::Duration::from_millis(30);
    let router = line.ingest(Settings { body_wait_max: wait_max, ..Settings::default() });
    let endless =
        Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let answer = post(&router, endless, &[]).await;
    assert_eq!(answer.problem(), (408, "body_too_slow".to_owned()));
}

#[tokio::test]
async fn another_content_type_is_refused_with_what_to_send() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    for content_type in [
        None,
        Some("application/x-www-form-urlencoded"),
        Some("text/plain"),
        Some("application/jsonx"),
    ] {
        let mut request = Request::post("/analyze");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let answer = ask(&router, request.body(Body::from(review("fine"))).unwrap()).await;
        assert_eq!(answer.problem(), (415, "unsupported_media_type".to_owned()));
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("send the header `content-type: application/json`"), "{detail}");
        assert_eq!(answer.header("accept-post"), Some("application/json"));
    }
    for content_type in
        ["application/json", "Application/JSON; charset=utf-8", "application/cloudevents+json"]
    {
        let request = Request::post("/analyze").header("content-type", content_type);
        let answer = ask(&router, request.body(Body::from(review("fine"))).unwrap()).await;
        assert_eq!(answer.status, 200, "{content_type}");
    }
}

#[tokio::test]
async fn odd_reviews_are_reviews() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    for (sent, kept) in [
        ("\u{1f600}".repeat(10_000), "\u{1f600}".repeat(10_000)),
        ("\u{0}ni\u{7}ce\u{7f}".to_owned(), "nice".to_owned()),
        ("  two\t\r\n words ".to_owned(), "two words".to_owned()),
        ("e\u{301}t\u{e9}".to_owned(), "\u{e9}t\u{e9}".to_owned()),
        ("<script>alert(1)</script>".to_owned(), "<script>alert(1)</script>".to_owned()),
        ("x".repeat(10_000), "x".repeat(10_000)),
    ] {
        let answer = post(&router, review(&sent), &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json()["review"], kept);
    }
    let paired = post(&router, br#"{"review":"\ud83d\ude00 \u0000"}"#.to_vec(), &[]).await;
    assert_eq!(paired.json()["review"], "\u{1f600}");
    let marked = post(&router, "\u{feff}{\"review\":\"with a byte order mark\"}", &[]).await;
    assert_eq!(marked.status, 200, "{}", marked.text);
}

#[tokio::test]
async fn unknown_fields_are_left_out_and_known_ones_come_back() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let body = json!({
        "id": "order-4711", "review": "nice", "source": "web", "language": "pt-BR", "stars": 5,
        "occurred_at": "2999-01-01T00:00:00Z", "received_at": "1999-01-01T00:00:00Z",
        "metadata": { "hotel": 7, "nested": { "a": [1, 2] } },
    });
    let verdict = post(&router, body.to_string(), &[]).await.json();
    for field in ["id", "source", "language", "occurred_at", "metadata"] {
        assert_eq!(verdict[field], body[field], "{field}");
    }
    let records = line.broker.records(topics::REVIEWS);
    let [delivery] = records.as_slice() else { panic!("{records:?}") };
    let value: serde_json::Value =
        serde_json::from_slice(delivery.record.value.as_deref().unwrap()).unwrap();
    assert_eq!(value.get("stars"), None);
    assert_ne!(value["received_at"], body["received_at"], "the service's clock decides");
    let place = Place { topic: topics::REVIEWS, partition: 0, offset: 0 };
    let read = Review::from_record(&delivery.record, place, chassis::clock::now()).unwrap();
    assert_eq!(read.id.as_str(), "order-4711");
    assert_eq!(
        delivery.record.timestamp_ms,
        Some(read.received_at.as_millisecond()),
        "Kafka refuses 2999"
    );
}
