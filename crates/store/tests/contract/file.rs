//! What the store in a file promises beyond the contract.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};
use store::{
    ConnectError, Row, SqliteSettings, SqliteStore, StoreError, StoreSettings, VerdictStore as _,
    connect,
};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::verdicts::{id, refused, row, verdict};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("verdicts.db");
    (folder, path)
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, &SqliteSettings::default()).unwrap()
}

/// A store that gives up on a locked file soon.
fn open_impatient(path: &Path) -> Result<SqliteStore, ConnectError> {
    SqliteStore::open(path, &SqliteSettings { busy_wait_ms_max: 10, ..SqliteSettings::default() })
}

/// The message of a file that cannot be used.
fn unusable(path: &Path) -> String {
    match SqliteStore::open(path, &SqliteSettings::default()) {
        Err(ConnectError::Unusable(message)) => message,
        other => panic!("expected an unusable file, found {other:?}"),
    }
}

#[tokio::test]
async fn rows_outlive_the_store() {
    let (_folder, path) = folder();
    for round in 0..3 {
        let store = open(&path);
        store.upsert(&[row(&format!("round-{round}"), 1, "kept")]).await.unwrap();
        store.keep_refused(&[refused(round)]).await.unwrap();
        drop(store);
        let store = open(&path);
        for earlier in 0..=round {
            assert!(store.get(&id(&format!("round-{earlier}"))).await.unwrap().is_some());
        }
        assert_eq!(store.refused(10).await.unwrap().len(), usize::try_from(round).unwrap() + 1);
    }
    assert!(!path.with_extension("db-wal").exists(), "all is in the one file after an orderly end");
}

#[tokio::test]
async fn others_read_plain_columns_while_we_write() {
    let (_folder, path) = folder();
    let store = open(&path);
    store.upsert(&[Row::new(verdict("first"))]).await.unwrap();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = Connection::open_with_flags(&path, flags).unwrap();
    let count = || reader.query_row("SELECT count(*) FROM verdicts_by_id", [], |row| row.get(0));
    // An open read transaction sees its snapshot and does not hold up the writer.
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(count(), Ok(1));
    store.upsert(&[Row::new(verdict("second"))]).await.unwrap();
    assert_eq!(count(), Ok(1));
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(count(), Ok(2));

    let text = |sql: &str| reader.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("SELECT day FROM verdicts_by_id WHERE id = 'first'"), "2025-03-01");
    assert_eq!(
        text("SELECT occurred_at FROM verdicts_by_id WHERE id = 'first'"),
        "2025-03-01T23:59:59.999999999Z"
    );
    assert_eq!(text("SELECT metadata ->> '$.tenant' FROM verdicts_by_id"), "blue");
    let plan = "EXPLAIN QUERY PLAN SELECT id FROM verdicts_by_id WHERE source = 'web' AND day = '2025-03-01'";
    let plan: String = reader.query_row(plan, [], |row| row.get("detail")).unwrap();
    assert!(plan.contains("verdicts_by_source_day"), "{plan}");
}

#[tokio::test]
async fn a_file_that_another_holds_is_unavailable_and_comes_back() {
    let (_folder, path) = folder();
    let store = open_impatient(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let rows = [Row::new(verdict("a"))];
    let error = store.upsert(&rows).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(message) if message.contains("locked")),
        "{error}"
    );
    assert_eq!(store.get(&id("a")).await.unwrap(), None, "a reader is not held up");
    let error = open_impatient(&path).unwrap_err();
    assert!(matches!(error, ConnectError::Unavailable(_)), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    store.upsert(&rows).await.unwrap();
}

#[tokio::test]
async fn a_full_queue_is_unavailable_at_once() {
    let (_folder, path) = folder();
    let settings = SqliteSettings { queue_max: 1, busy_wait_ms_max: 2_000 };
    let store = SqliteStore::open(&path, &settings).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let rows = [Row::new(verdict("a"))];
    let mut errors = Vec::new();
    // One call is with the file, one in the queue; a third finds no place.
    for _ in 0..3 {
        let call = timeout(Duration::from_millis(100), store.upsert(&rows));
        errors.extend(call.await.ok().and_then(Result::err));
    }
    assert!(
        matches!(&errors[..], [StoreError::Unavailable(message)] if message.contains("queue is full")),
        "{errors:?}"
    );
    other.execute_batch("ROLLBACK").unwrap();
}

/// As the first release made it.
#[tokio::test]
async fn an_older_file_is_upgraded_and_keeps_its_rows() {
    let (_folder, path) = folder();
    let first = include_str!("../../src/sqlite/schema/0001.sql");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(first).unwrap();
    connection
        .execute_batch("PRAGMA application_id = 1447383620; PRAGMA user_version = 1")
        .unwrap();
    let columns = "INSERT INTO verdicts_by_id VALUES ('old', NULL, '', 'positive', 1.0, '{}', 'm', '1', '', 1, 0, NULL, NULL,
        NULL, NULL, NULL, NULL, '2025-03-01T00:00:00.000000000Z', '2025-03-01T00:00:00.000000000Z',
        '2025-03-01T00:00:00.000000000Z', 0.0, 0.0, 1, NULL, 1, 1, '')";
    connection.execute_batch(columns).unwrap();
    drop(connection);
    let store = open(&path);
    assert!(store.get(&id("old")).await.unwrap().is_some());
    assert_eq!(store.feedback(&id("old")).await.unwrap(), []);
}

#[test]
fn a_newer_file_is_refused_by_name() {
    let (_folder, path) = folder();
    drop(open(&path));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let message = unusable(&path);
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    assert!(message.contains("version 99"), "{message}");
    assert!(message.contains("or a newer one"), "{message}");
}

#[test]
fn a_file_of_another_program_is_left_alone() {
    let (_folder, path) = folder();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let message = unusable(&path);
    assert!(message.contains("another program"), "{message}");
    let tables = "SELECT count(*) FROM sqlite_schema";
    let count: i64 =
        Connection::open(&path).unwrap().query_row(tables, [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let (_folder, path) = folder();
    let text = "id,label\n1,positive\n".repeat(1_000);
    fs::write(&path, &text).unwrap();
    let message = unusable(&path);
    assert!(message.contains("choose another path"), "{message}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn damage_is_neither_retried_nor_blamed_on_the_rows() {
    let (_folder, path) = folder();
    let store = open(&path);
    let rows: Vec<_> = (0..500).map(|index| row(&format!("row-{index}"), 1, "kept")).collect();
    store.upsert(&rows).await.unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    // The first page holds the schema and stays; all else is overwritten.
    bytes.iter_mut().skip(4_096).for_each(|byte| *byte = 0xa5);
    fs::write(&path, bytes).unwrap();
    let error = open(&path).upsert(&rows).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unusable(message) if message.contains("restore")),
        "{error}"
    );
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let (folder, _path) = folder();
    let message = unusable(&folder.path().join("missing").join("verdicts.db"));
    assert!(message.contains("make its folder"), "{message}");
}

#[tokio::test]
async fn a_url_leads_to_its_store() {
    let (_folder, path) = folder();
    for url in [format!("sqlite:{}", path.display()), format!("sqlite://{}", path.display())] {
        connect(&StoreSettings::at(url))
            .await
            .unwrap()
            .upsert(&[Row::new(verdict("a"))])
            .await
            .unwrap();
    }
    assert!(open(&path).get(&id("a")).await.unwrap().is_some());
    for url in ["verdicts.db", "redis:verdicts", "sqlite:", "sqlite::memory:", "SQLITE:a.db"] {
        let error = connect(&StoreSettings::at(url)).await.unwrap_err();
        assert!(error.to_string().contains("known are sqlite:PATH"), "{error}");
    }
}
