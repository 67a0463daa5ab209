//! Waiting for a verdict, or not.

use std::time::Duration;

use ingest::Settings;
use schemas::{headers, topics};

use crate::{
    ask::{get, post, review},
    line::Line,
};

#[tokio::test]
async fn a_review_is_answered_with_its_verdict_and_its_times() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let answer = post(&router, review("The room was clean and affordable."), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["label"], "positive");
    assert_eq!(answer.header("x-queue-time"), Some("1"));
    assert_eq!(answer.header("x-inference-time"), Some("3"));
    assert_eq!(answer.header("x-compute-tokens"), Some("8"));
    assert!(answer.header("x-total-time").unwrap().parse::<u64>().unwrap() < 2_000);
    assert_eq!(answer.header("preference-applied"), None);
    let id = answer.json()["id"].as_str().unwrap().parse::<uuid::Uuid>().unwrap();
    assert_eq!(id.get_version_num(), 7);
}

#[tokio::test]
async fn past_the_wait_the_answer_is_a_promise_that_is_kept() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    line.hold();
    let start = chassis::clock::monotonic();
    let answer = post(&router, review("slow"), &[("prefer", "wait=1")]).await;
    assert!(Duration::from_secs(1) <= start.elapsed());
    assert_eq!(
        (answer.status.as_u16(), answer.header("preference-applied")),
        (202, Some("wait=1"))
    );
    let location = answer.header("location").unwrap().to_owned();
    let body = answer.json();
    assert_eq!(body["status"], "pending");
    assert_eq!(location, format!("/verdicts/{}", body["id"].as_str().unwrap()));
    assert_eq!(get(&router, &location).await.status, 202);
    line.release();
    let found = eventually(&router, &location, 200).await;
    assert_eq!(found["review"], "slow");
}

#[tokio::test]
async fn who_does_not_want_to_wait_does_not() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    line.hold();
    let answer = post(&router, review("later"), &[("prefer", "respond-async")]).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    assert_eq!(
        line.broker.records(topics::REVIEWS).len(),
        1,
        "a promise is given once it can be kept"
    );
}

#[tokio::test]
async fn a_review_that_the_model_fails_on_is_told_so() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let answer = post(&router, r#"{"id":"p-1","review":"poison"}"#, &[]).await;
    assert_eq!(answer.problem(), (424, "review_refused".to_owned()));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("infer: the stub does not like it"), "{detail}");
    assert_eq!(get(&router, "/verdicts/p-1").await.problem().0, 424);
    let again = post(&router, r#"{"id":"p-1","review":"an antidote"}"#, &[]).await;
    assert_eq!(again.status, 200, "a refused review does not hold its id");
}

#[tokio::test]
async fn trace_and_request_id_travel_with_the_review_and_back() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let sent =
        [("x-request-id", "mine-1"), ("traceparent", parent.as_str()), ("tracestate", "vendor=1")];
    let answer = post(&router, review("traced"), &sent).await;
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    assert_eq!(answer.json()["trace_id"], TRACE);
    let own = answer.header("traceparent").unwrap();
    assert!(own.contains(TRACE) && own != parent, "{own}");
    let records = line.broker.records(topics::REVIEWS);
    let record = &records.first().unwrap().record;
    assert_eq!(headers::text(&record.headers, "traceparent"), Some(own));
    assert_eq!(headers::text(&record.headers, "tracestate"), Some("vendor=1"));
    assert_eq!(headers::text(&record.headers, "x-request-id"), Some("mine-1"));

    let made = post(
        &router,
        review("not traced"),
        &[("x-request-id", "two words"), ("traceparent", "00-0-0-0")],
    )
    .await;
    let made_id = made.header("x-request-id").unwrap();
    assert!(made_id.parse::<uuid::Uuid>().is_ok(), "{made_id}");
    assert_eq!(made.json()["trace_id"].as_str().map(str::len), Some(32));
}

#[tokio::test]
async fn what_the_broker_does_not_take_is_not_promised() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    line.broker.set_full(true);
    assert_eq!(post(&router, review("a"), &[]).await.problem(), (429, "overloaded".to_owned()));
    line.broker.set_full(false);
    line.broker.set_away(true);
    let body = r#"{"id":"again","review":"a"}"#;
    assert_eq!(post(&router, body, &[]).await.problem(), (503, "broker_unavailable".to_owned()));
    line.broker.set_away(false);
    assert_eq!(post(&router, body, &[]).await.status, 200, "its id was given back");
}

#[tokio::test]
async fn past_the_bound_a_client_is_told_when_to_come_again() {
    let line = Line::new();
    let router =
        line.ingest(Settings { in_flight_max: std::num::NonZeroUsize::MIN, ..Settings::default() });
    line.hold();
    let mut tasks = tokio::task::JoinSet::new();
    let first = router.clone();
    tasks
        .spawn(async move { post(&first, review("first"), &[("prefer", "wait=10")]).await.status });
    while line.broker.records(topics::REVIEWS).is_empty() {
        tokio::task::yield_now().await;
    }
    let refused = post(&router, review("second"), &[]).await;
    assert_eq!(refused.problem(), (429, "overloaded".to_owned()));
    assert!(refused.header("retry-after").is_some());
    line.release();
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), 200);
    assert_eq!(post(&router, review("third"), &[]).await.status, 200);
}

#[tokio::test]
async fn until_answers_can_be_heard_nothing_is_taken() {
    let line = Line::new();
    let mut parts = line.parts();
    parts.tail = Box::new(Deaf);
    let stop = tokio_util::sync::CancellationToken::new();
    let (service, _listening) = ingest::Service::start(parts, Settings::default(), stop.clone());
    let router = ingest::router(&service);
    assert_eq!(post(&router, review("early"), &[]).await.problem(), (503, "not_ready".to_owned()));
    assert_eq!(get(&router, "/readyz").await.status, 503);
    assert_eq!(get(&router, "/livez").await.status, 200);
    stop.cancel();
}

/// A subscription that is never assigned.
struct Deaf;

impl broker::Subscribe for Deaf {
    fn keep_alive(&mut self) -> Result<(), broker::SubscribeError> {
        Ok(())
    }

    fn poll(
        &mut self,
        _: usize,
        wait: Duration,
    ) -> Result<Vec<broker::Delivery>, broker::SubscribeError> {
        std::thread::sleep(wait);
        Ok(Vec::new())
    }

    fn commit(&mut self, _: &broker::Progress) -> Result<(), broker::SubscribeError> {
        Ok(())
    }

    fn is_assigned(&self) -> bool {
        false
    }
}

/// Asks until the answer has this status.
pub(crate) async fn eventually(
    router: &axum::Router,
    path: &str,
    status: u16,
) -> serde_json::Value {
    for _ in 0..500 {
        let answer = get(router, path).await;
        if answer.status == status {
            return answer.json();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{path} never answered {status}");
}
