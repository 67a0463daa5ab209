//! Finding verdicts and following them.

use std::{num::NonZeroUsize, ops::Range, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, Response},
};
use futures::StreamExt as _;
use ingest::Settings;
use jiff::Timestamp;
use schemas::{ReviewId, Verdict};
use store::{
    FeedbackRow, JudgedWindow, Page, PageToken, RefusedRecord, Row, SourceDay, StoreError,
    VerdictStore,
};
use tower::ServiceExt as _;

use crate::{
    ask::{get, post, review},
    line::Line,
    waiting::eventually,
};

#[tokio::test]
async fn a_verdict_is_found_in_the_store_or_among_the_last_seen() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let verdict = post(&router, r#"{"id":"a/b?","review":"found"}"#, &[]).await.json();
    assert_eq!(get(&router, "/verdicts/a%2Fb%3F").await.json(), verdict);

    let row = Row { verdict: serde_json::from_value(verdict.clone()).unwrap(), written_at_us: 1 };
    line.store.upsert(&[row]).await.unwrap();
    let other = line.ingest(Settings::default());
    assert_eq!(get(&other, "/verdicts/a%2Fb%3F").await.json(), verdict);
}

#[tokio::test]
async fn what_nobody_knows_is_not_found() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    for path in ["/verdicts/nobody", "/verdicts/%20", &format!("/verdicts/{}", "i".repeat(300))] {
        assert_eq!(
            get(&router, path).await.problem(),
            (404, "verdict_unknown".to_owned()),
            "{path}"
        );
    }
    assert_eq!(get(&router, "/verdicts/%ff").await.problem(), (400, "path_invalid".to_owned()));
}

#[tokio::test]
async fn what_is_forgotten_and_not_stored_is_not_found() {
    let line = Line::new();
    let router = line.ingest(Settings { recent_bytes_max: 8_000, ..Settings::default() });
    for number in 0..20 {
        post(&router, format!(r#"{{"id":"{number}","review":"a"}}"#), &[]).await;
    }
    assert_eq!(get(&router, "/verdicts/0").await.status, 404);
    assert_eq!(get(&router, "/verdicts/19").await.status, 200);
}

async fn open(router: &Router) -> Response<Body> {
    let request = Request::get("/verdicts/stream").body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

/// Reads until `text` has come.
async fn read_until(stream: &mut axum::body::BodyDataStream, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let chunk = tokio::time::timeout(Duration::from_secs(10), stream.next()).await.unwrap();
        read.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
    }
    read
}

#[tokio::test]
async fn verdicts_are_streamed_as_they_come() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let response = open(&router).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    post(&router, r#"{"id":"s-1","review":"line\nbreaks \u2028 and all"}"#, &[]).await;
    let read = read_until(&mut stream, "\n\n").await + &read_until(&mut stream, "\n\n").await;
    assert!(read.contains("event: verdict\nid: s-1\ndata: {\"schema_version\":1,"), "{read}");
}

#[tokio::test]
async fn a_slow_reader_is_told_what_it_lost() {
    let line = Line::new();
    let lag_max = NonZeroUsize::new(4).unwrap();
    let router = line.ingest(Settings { stream_lag_max: lag_max, ..Settings::default() });
    let mut stream = open(&router).await.into_body().into_data_stream();
    for number in 0..20 {
        post(&router, format!(r#"{{"id":"{number}","review":"a"}}"#), &[]).await;
    }
    let read = read_until(&mut stream, "id: 19").await;
    // How many depends on whether the last one was on its way when the reader came to; none may be missing without a word.
    let lost = read.split("event: lagged\ndata: {\"lost\":").skip(1);
    let lost: Vec<usize> =
        lost.map(|rest| rest.split('}').next().unwrap().parse().unwrap()).collect();
    assert!(!lost.is_empty(), "{read}");
    let told = read.matches("event: verdict\n").count();
    assert_eq!(lost.iter().sum::<usize>() + told, 20, "{read}");
}

#[tokio::test]
async fn there_are_so_many_streams_and_no_more() {
    let line = Line::new();
    let router = line.ingest(Settings { streams_max: 1, ..Settings::default() });
    let first = open(&router).await;
    assert_eq!(
        get(&router, "/verdicts/stream").await.problem(),
        (429, "too_many_streams".to_owned())
    );
    drop(first);
    assert_eq!(open(&router).await.status(), 200);
}

#[tokio::test]
async fn silence_is_kept_alive() {
    let line = Line::new();
    let router = line
        .ingest(Settings { stream_keep_alive: Duration::from_millis(20), ..Settings::default() });
    let mut stream = open(&router).await.into_body().into_data_stream();
    assert!(read_until(&mut stream, ": idle").await.contains("retry: 2000"));
}

#[tokio::test]
async fn a_store_that_is_away_is_told_where_nothing_else_is_known() {
    let line = Line::new();
    let mut parts = line.parts();
    parts.store = std::sync::Arc::new(Away);
    let stop = tokio_util::sync::CancellationToken::new();
    let (service, _listening) = ingest::Service::start(parts, Settings::default(), stop.clone());
    let router = ingest::router(&service);
    eventually(&router, "/readyz", 200).await;
    assert_eq!(get(&router, "/verdicts/x").await.problem(), (503, "store_unavailable".to_owned()));
    let taken = post(&router, r#"{"id":"x","review":"taken all the same"}"#, &[]).await;
    assert_eq!(taken.status, 200, "{}", taken.text);
    assert_eq!(get(&router, "/verdicts/x").await.status, 200);
    assert_eq!(post(&router, review("and one more"), &[]).await.status, 200);
    stop.cancel();
}

/// A store that is away.
#[derive(Debug)]
pub(crate) struct Away;

fn away<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("away".to_owned()))
}

#[async_trait::async_trait]
impl VerdictStore for Away {
    async fn upsert(&self, _: &[Row]) -> Result<(), StoreError> {
        away()
    }

    async fn get(&self, _: &ReviewId) -> Result<Option<Verdict>, StoreError> {
        away()
    }

    async fn list(
        &self,
        _: &SourceDay,
        _: Option<&PageToken>,
        _: usize,
    ) -> Result<Page<Verdict>, StoreError> {
        away()
    }

    async fn scan(&self, _: Option<&PageToken>, _: usize) -> Result<Page<Row>, StoreError> {
        away()
    }

    async fn keep_feedback(&self, _: &[FeedbackRow]) -> Result<(), StoreError> {
        away()
    }

    async fn feedback(&self, _: &ReviewId) -> Result<Vec<FeedbackRow>, StoreError> {
        away()
    }

    async fn scan_feedback(
        &self,
        _: Option<&PageToken>,
        _: usize,
    ) -> Result<Page<FeedbackRow>, StoreError> {
        away()
    }

    async fn keep_judgements(&self, _: &[JudgedWindow]) -> Result<(), StoreError> {
        away()
    }

    async fn judgements(
        &self,
        _: &Range<Timestamp>,
        _: usize,
    ) -> Result<Vec<JudgedWindow>, StoreError> {
        away()
    }

    async fn keep_refused(&self, _: &[RefusedRecord]) -> Result<(), StoreError> {
        away()
    }

    async fn refused(&self, _: usize) -> Result<Vec<RefusedRecord>, StoreError> {
        away()
    }

    async fn scan_refused(
        &self,
        _: Option<&PageToken>,
        _: usize,
    ) -> Result<Page<RefusedRecord>, StoreError> {
        away()
    }
}
