//! What an operator sees: health, metrics, the description, and problems of any path.

use std::{fs, path::PathBuf, sync::Arc};

use axum::{body::Body, http::Request};
use ingest::Settings;

use crate::{
    ask::{ask, get, post, post_to, review},
    line::Line,
};

#[tokio::test]
async fn any_path_and_any_method_is_answered_with_a_whole_problem() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    assert_eq!(get(&router, "/nowhere").await.problem(), (404, "not_found".to_owned()));
    let wrong = get(&router, "/analyze").await;
    assert_eq!(wrong.problem(), (405, "method_not_allowed".to_owned()));
    assert_eq!(wrong.header("allow"), Some("POST"));
    let wrong = Request::delete("/verdicts/x").body(Body::empty()).unwrap();
    let wrong = ask(&router, wrong).await;
    assert_eq!(wrong.problem().0, 405);
    assert_eq!(wrong.header("allow"), Some("GET,HEAD"));
}

#[tokio::test]
async fn a_route_that_panics_is_answered_all_the_same() {
    let line = Line::new();
    let mut parts = line.parts();
    parts.publisher = Arc::new(Panicking);
    let stop = tokio_util::sync::CancellationToken::new();
    let (service, _listening) = ingest::Service::start(parts, Settings::default(), stop.clone());
    let router = ingest::router(&service);
    crate::waiting::eventually(&router, "/readyz", 200).await;
    for _ in 0..2 {
        let answer = post(&router, r#"{"id":"x","review":"a"}"#, &[]).await;
        assert_eq!(answer.problem(), (500, "internal".to_owned()));
    }
    stop.cancel();
}

struct Panicking;

#[async_trait::async_trait]
impl broker::Publish for Panicking {
    async fn publish(&self, _: broker::Outgoing) -> Result<(), broker::PublishError> {
        panic!("on purpose")
    }
}

#[tokio::test]
async fn requests_are_measured_by_route() {
    let telemetry =
        chassis::telemetry::start("ingest", &chassis::telemetry::TelemetrySettings::default())
            .unwrap();
    let line = Line::new();
    let mut parts = line.parts();
    parts.metrics = telemetry.router();
    let stop = tokio_util::sync::CancellationToken::new();
    let (service, _listening) = ingest::Service::start(parts, Settings::default(), stop.clone());
    let router = ingest::router(&service);
    crate::waiting::eventually(&router, "/readyz", 200).await;
    post(&router, review("measured"), &[]).await;
    let feedback = r#"{"id":"a","label":"b"}"#;
    post_to(&router, "/feedback", "application/json", feedback, &[]).await;
    get(&router, "/verdicts/unknown").await;
    get(&router, "/no/such/path").await;
    let text = get(&router, "/metrics").await.text;
    for expected in [
        "http_server_request_duration_seconds_count{http_request_method=\"POST\",http_response_status_code=\"200\",http_route=\"/analyze\"",
        "http_server_request_duration_seconds_count{http_request_method=\"GET\",http_response_status_code=\"404\",http_route=\"/verdicts/{id}\"",
        "http_server_request_duration_seconds_count{http_request_method=\"GET\",http_response_status_code=\"404\"}",
        "http_server_active_requests{http_request_method=\"GET\"} 1",
        "ingest_reviews_total{outcome=\"judged\"} 1",
        "ingest_feedback_total{outcome=\"accepted\"} 1",
        "http_server_request_duration_seconds_count{http_request_method=\"POST\",http_response_status_code=\"202\",http_route=\"/feedback\"",
        "ingest_reviews_in_flight 0",
        "ingest_waiters 0",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    assert!(!text.contains("no/such/path"), "a path that a client chose is no attribute");
    stop.cancel();
}

#[tokio::test]
async fn the_description_is_served_and_its_reader_needs_no_network() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let served = get(&router, "/openapi.json").await.json();
    assert_eq!(served, serde_json::to_value(ingest::openapi()).unwrap());
    let reader = get(&router, "/docs/").await;
    assert_eq!(reader.status, 200);
    assert!(!reader.text.contains("https://") && !reader.text.contains("//cdn"), "{}", reader.text);
    assert_eq!(get(&router, "/docs/swagger-ui-bundle.js").await.status, 200);
    assert_eq!(get(&router, "/docs/none.js").await.status, 404);
}

/// `VERDICT_REGENERATE=1` writes it anew.
#[test]
fn the_description_is_the_one_that_is_checked_in() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/openapi.json"));
    let described = serde_json::to_string_pretty(&ingest::openapi()).unwrap() + "\n";
    #[expect(clippy::disallowed_methods, reason = "a switch of the test, no setting")]
    if std::env::var("VERDICT_REGENERATE").is_ok() {
        fs::write(&path, &described).unwrap();
    }
    let checked_in = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == described,
        "schemas/openapi.json is out of date: run this test with VERDICT_REGENERATE=1"
    );
}
