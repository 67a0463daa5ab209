//! What the store on a CQL server promises beyond the contract.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use schemas::Verdict;
use scylla::client::{session::Session, session_builder::SessionBuilder};
use store::{ConnectError, Row, StoreError, StoreSettings, connect, migrate};

use crate::{
    servers::{shared, unused},
    verdicts::{id, row, verdict},
};

/// A session of the test's own, in the keyspace of `settings`.
async fn session(settings: &StoreSettings) -> Session {
    let session = SessionBuilder::new().known_node(shared().unwrap()).build().await.unwrap();
    let keyspace = settings.url.rsplit_once('/').unwrap().1;
    session.use_keyspace(keyspace, true).await.unwrap();
    session
}

async fn run(session: &Session, sql: &str) {
    session.query_unpaged(sql, ()).await.unwrap();
}

async fn unusable(settings: &StoreSettings) -> String {
    match connect(settings).await {
        Err(ConnectError::Unusable(message)) => message,
        other => panic!("expected tables that cannot be used, found {other:?}"),
    }
}

#[tokio::test]
async fn tables_are_made_once_even_by_two_at_once() {
    let Some(settings) = unused() else { return };
    let message = unusable(&settings).await;
    assert!(message.contains("run `verdict store migrate`"), "{message}");

    let planned = migrate(&settings, None, true).await.unwrap().unwrap();
    assert_eq!((planned.from, planned.to), (0, 3));
    let message = unusable(&settings).await;
    assert!(message.contains("has no tables"), "a dry run changes nothing: {message}");

    // Which of the two finds the server first is open: one runs the whole plan, the other what it still sees undone.
    let both = futures::join!(migrate(&settings, None, false), migrate(&settings, None, false));
    let both = [both.0.unwrap().unwrap(), both.1.unwrap().unwrap()];
    assert!(both.iter().all(|one| planned.statements.ends_with(&one.statements)), "{both:?}");
    assert!(both.iter().any(|one| one.statements == planned.statements), "{both:?}");
    assert!(both.iter().all(|one| one.to == 3), "{both:?}");
    let again = migrate(&settings, None, false).await.unwrap().unwrap();
    assert_eq!((again.from, again.to, again.statements.len()), (3, 3, 0));
    connect(&settings).await.unwrap();
}

#[tokio::test]
async fn newer_tables_are_taken_and_older_ones_refused() {
    let Some(settings) = unused() else { return };
    migrate(&settings, None, false).await.unwrap();
    let session = session(&settings).await;
    run(&session, "INSERT INTO schema_versions (version) VALUES (99)").await;
    run(&session, "ALTER TABLE verdicts_by_id ADD something_new text").await;
    let store = connect(&settings).await.unwrap();
    store.upsert(&[Row::new(verdict("a"))]).await.unwrap();
    assert_eq!(store.get(&id("a")).await.unwrap(), Some(verdict("a")));
    assert_eq!(migrate(&settings, None, false).await.unwrap().unwrap().to, 99);

    run(&session, "TRUNCATE schema_versions").await;
    let message = unusable(&settings).await;
    assert!(message.contains("run `verdict store migrate`"), "{message}");
}

#[tokio::test]
async fn a_table_that_is_gone_is_neither_waited_for_nor_blamed_on_the_rows() {
    let Some(settings) = unused() else { return };
    migrate(&settings, None, false).await.unwrap();
    let store = connect(&settings).await.unwrap();
    run(&session(&settings).await, "DROP TABLE verdicts_by_source_day").await;
    let error = store.upsert(&[Row::new(verdict("a"))]).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unusable(message) if message.contains("store migrate")),
        "{error}"
    );
}

#[tokio::test]
async fn a_verdict_lives_from_its_scoring_on() {
    let Some(settings) = unused() else { return };
    let settings = StoreSettings { ttl: Duration::from_hours(1), ..settings };
    migrate(&settings, None, false).await.unwrap();
    let store = connect(&settings).await.unwrap();
    let scored = |name: &str, ago: i64| Verdict {
        scored_at: Timestamp::now() - SignedDuration::from_mins(ago),
        ..verdict(name)
    };
    let rows =
        [("new", 0), ("half", 30), ("old", 61)].map(|(name, ago)| Row::new(scored(name, ago)));
    store.upsert(&rows).await.unwrap();
    assert_eq!(store.get(&id("old")).await.unwrap(), None);
    let session = session(&settings).await;
    for table in ["verdicts_by_id", "verdicts_by_source_day"] {
        let sql = format!("SELECT id, TTL(label) FROM {table}");
        let answer = session.query_unpaged(sql, ()).await.unwrap().into_rows_result().unwrap();
        let mut lives: Vec<(String, i32)> =
            answer.rows().unwrap().collect::<Result<_, _>>().unwrap();
        lives.sort_unstable();
        let names: Vec<_> = lives.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(names, ["half", "new"], "{table}");
        assert!((1..=1_800).contains(&lives[0].1), "{lives:?}");
        assert!((1_801..=3_600).contains(&lives[1].1), "{lives:?}");
    }
}

/// Those who look with their own client see one verdict, whole, and when it was written.
#[tokio::test]
async fn the_columns_for_people_are_those_of_the_later_verdict() {
    type Columns = (String, String, String, i64, i64, i64);
    let Some(settings) = unused() else { return };
    migrate(&settings, None, false).await.unwrap();
    let store = connect(&settings).await.unwrap();
    let bare = Verdict { source: None, metadata: None, trace_id: None, ..verdict("a") };
    let late = Row { verdict: bare, written_at_us: 2_000 };
    store.upsert(std::slice::from_ref(&late)).await.unwrap();
    store.upsert(&[row("a", 1_000, "early")]).await.unwrap();
    let sql = "SELECT label, source, metadata, written_at_us, WRITETIME(label), origin_offset FROM verdicts_by_id";
    let answer = session(&settings).await.query_unpaged(sql, ()).await.unwrap();
    let found: Columns = answer.into_rows_result().unwrap().single_row().unwrap();
    let offset = late.verdict.origin.unwrap().offset;
    assert_eq!(found, (late.verdict.label, String::new(), String::new(), 2_000, 2_000, offset));
}

/// More than the server takes at once: the row is to blame, and its neighbours are not.
#[tokio::test]
async fn a_row_that_is_too_large_is_refused() {
    let Some(settings) = unused() else { return };
    migrate(&settings, None, false).await.unwrap();
    let store = connect(&settings).await.unwrap();
    let large = Verdict { review: Some("long ".repeat(4 << 20)), ..verdict("large") };
    let error = store.upsert(&[Row::new(large)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    store.upsert(&[Row::new(verdict("a"))]).await.unwrap();
}

#[tokio::test]
async fn a_datacenter_that_is_not_there_is_named() {
    let Some(settings) = unused() else { return };
    migrate(&settings, None, false).await.unwrap();
    let settings = StoreSettings { datacenter: "atlantis".to_owned(), ..settings };
    let message = unusable(&settings).await;
    assert!(message.contains("atlantis") && message.contains("datacenter1"), "{message}");
    let settings = StoreSettings { datacenter: "datacenter1".to_owned(), ..settings };
    connect(&settings).await.unwrap();
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_without_showing_a_password() {
    let check = async |url: &str, expected: &str| {
        let error = connect(&StoreSettings::at(url)).await.unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, ConnectError::InvalidUrl { .. }) && text.contains(expected),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    };
    check("cql://127.0.0.1:9042", "the keyspace is missing").await;
    check("cql://user:hunter2@127.0.0.1:9042/verdict", "store.password").await;
    let long = StoreSettings {
        ttl: Duration::from_hours(24 * 366 * 20),
        ..StoreSettings::at("cql://127.0.0.1:1/verdict")
    };
    let error = connect(&long).await.unwrap_err();
    assert!(error.to_string().contains("20 years"), "{error}");
}
