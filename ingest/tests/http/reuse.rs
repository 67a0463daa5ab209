//! An id or an Idempotency-Key that comes twice.

use ingest::Settings;
use schemas::topics;
use store::{Row, VerdictStore as _};
use tokio::task::JoinSet;

use crate::{
    ask::{post, review},
    line::Line,
    waiting::eventually,
};

const A: &str = r#"{"id":"twice","review":"the  same"}"#;
const SAME_TEXT: &str = r#"{"id":"twice","review":" the same "}"#;
const OTHER_TEXT: &str = r#"{"id":"twice","review":"another"}"#;

#[tokio::test]
async fn the_same_review_is_judged_once() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let first = post(&router, A, &[]).await;
    let second = post(&router, SAME_TEXT, &[]).await;
    assert_eq!((first.status.as_u16(), first.header("idempotency-replayed")), (200, None));
    assert_eq!(
        (second.status.as_u16(), second.header("idempotency-replayed")),
        (200, Some("true"))
    );
    assert_eq!(first.json(), second.json());
    assert_eq!(line.broker.records(topics::REVIEWS).len(), 1);
    assert_eq!(post(&router, OTHER_TEXT, &[]).await.problem(), (409, "id_reused".to_owned()));
    assert_eq!(line.broker.records(topics::REVIEWS).len(), 1);
}

#[tokio::test]
async fn what_this_replica_never_saw_the_store_knows() {
    let line = Line::new();
    let verdict = post(&line.ingest(Settings::default()), A, &[]).await.json();
    let verdict = serde_json::from_value(verdict).unwrap();
    line.store.upsert(&[Row { verdict, written_at_us: 1 }]).await.unwrap();
    // A tail begins at the end, so another replica has not heard of it.
    let other = line.ingest(Settings::default());
    assert_eq!(post(&other, SAME_TEXT, &[]).await.header("idempotency-replayed"), Some("true"));
    assert_eq!(post(&other, OTHER_TEXT, &[]).await.problem(), (409, "id_reused".to_owned()));
    assert_eq!(line.broker.records(topics::REVIEWS).len(), 1);
}

#[tokio::test]
async fn a_review_that_is_under_way_is_joined() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    line.hold();
    assert_eq!(post(&router, A, &[("prefer", "respond-async")]).await.status, 202);
    assert_eq!(post(&router, OTHER_TEXT, &[]).await.problem(), (409, "id_reused".to_owned()));
    let mut tasks = JoinSet::new();
    let joining = router.clone();
    tasks.spawn(async move { post(&joining, SAME_TEXT, &[("prefer", "wait=10")]).await.status });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    line.release();
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), 200);
    assert_eq!(line.broker.records(topics::REVIEWS).len(), 1);
}

#[tokio::test]
async fn a_key_is_good_for_one_review() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let key = [("idempotency-key", "\"8e03978e-40d5\"")];
    let first = post(&router, review("a"), &key).await;
    let second = post(&router, review("a"), &key).await;
    assert_eq!(first.json(), second.json());
    assert_eq!(second.header("idempotency-replayed"), Some("true"));
    let id = first.json()["id"].as_str().unwrap().parse::<uuid::Uuid>().unwrap();
    assert_eq!(id.get_version_num(), 5);
    let reused = post(&router, review("b"), &key).await;
    assert_eq!(reused.problem(), (422, "idempotency_key_reused".to_owned()));
    let malformed = post(&router, review("a"), &[("idempotency-key", "\"open")]).await;
    assert_eq!(malformed.problem(), (400, "idempotency_key_invalid".to_owned()));
    let two = [("idempotency-key", "a"), ("idempotency-key", "b")];
    assert_eq!(post(&router, review("a"), &two).await.problem().0, 400);
}

#[tokio::test]
async fn a_key_whose_first_request_is_not_answered_yet_conflicts() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    line.hold();
    let mut tasks = JoinSet::new();
    let first = router.clone();
    tasks.spawn(async move {
        post(&first, review("a"), &[("idempotency-key", "k"), ("prefer", "wait=10")]).await.status
    });
    while line.broker.records(topics::REVIEWS).is_empty() {
        tokio::task::yield_now().await;
    }
    let second = post(&router, review("a"), &[("idempotency-key", "k")]).await;
    assert_eq!(second.problem(), (409, "request_in_progress".to_owned()));
    line.release();
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), 200);
    assert_eq!(line.broker.records(topics::REVIEWS).len(), 1);
}

#[tokio::test]
async fn a_key_whose_first_client_went_away_may_be_sent_again() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    line.hold();
    let mut tasks = JoinSet::new();
    let first = router.clone();
    tasks.spawn(async move {
        post(&first, review("a"), &[("idempotency-key", "k"), ("prefer", "wait=10")]).await
    });
    while line.broker.records(topics::REVIEWS).is_empty() {
        tokio::task::yield_now().await;
    }
    tasks.shutdown().await;
    let second =
        post(&router, review("a"), &[("idempotency-key", "k"), ("prefer", "respond-async")]).await;
    assert_eq!(second.status, 202, "{}", second.text);
    assert_eq!(
        line.broker.records(topics::REVIEWS).len(),
        1,
        "it was durable, so it is not sent again"
    );
    line.release();
    eventually(&router, second.header("location").unwrap(), 200).await;
}
