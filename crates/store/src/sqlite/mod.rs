//! Verdicts in one `SQLite` file, which anyone with the `sqlite3` shell may read while we write.
//!
//! # Layout
//! - `file`: opening it, so that a commit is durable; `schema`: its tables and their versions
//! - `columns`: a verdict as a row, and back; `refused`, `feedback` and `judged`: likewise
//! - `desk`: the thread that a connection lives on
//! - `trouble`: what `SQLite`'s errors mean to the caller

mod columns;
mod desk;
mod feedback;
mod file;
mod judged;
mod refused;
mod schema;
mod trouble;

use std::{ops::Range, path::Path};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, ToSql, TransactionBehavior};
use schemas::{ReviewId, Verdict};
use serde::{Deserialize, Serialize};

use self::{
    columns::Columns, desk::Desk, feedback::FeedbackColumns, judged::JudgedColumns,
    refused::RefusedColumns,
};
use crate::{
    ConnectError, FeedbackRow, JudgedWindow, Page, PageToken, RefusedRecord, Row, SourceDay,
    StoreError, VerdictStore, judged as judgements,
    page::{self, Kind},
};

/// How the file is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqliteSettings {
    /// Most calls that wait for the file. Past it a call is answered `Unavailable` at once.
    pub queue_max: usize,
    /// Longest wait, in milliseconds, for another process to let go of the file. Past it a call is answered `Unavailable`.
    pub busy_wait_ms_max: u64,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self { queue_max: 64, busy_wait_ms_max: 2_000 }
    }
}

/// A store in one file. Dropping it finishes the calls that wait and closes the file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Desk,
    /// Apart, so that a look-up does not wait for a batch to reach the disk: with a write-ahead log neither blocks the other.
    reader: Desk,
}

impl SqliteStore {
    /// Opens the file at `path`, makes it where there is none, and brings its tables up to date. Blocking.
    pub fn open(path: &Path, settings: &SqliteSettings) -> Result<Self, ConnectError> {
        let mut writer = file::open(path, settings)?;
        schema::upgrade(&mut writer, path)?;
        let reader = file::open(path, settings)?;
        let place = path.display().to_string();
        Ok(Self {
            writer: Desk::open("store-write", writer, place.clone(), settings.queue_max)?,
            reader: Desk::open("store-read", reader, place, settings.queue_max)?,
        })
    }
}

#[async_trait]
impl VerdictStore for SqliteStore {
    fn system(&self) -> &'static str {
        "sqlite"
    }

    async fn upsert(&self, rows: &[Row]) -> Result<(), StoreError> {
        let rows = rows.iter().map(Columns::of).collect::<Result<Vec<_>, _>>()?;
        self.writer
            .call(move |connection| {
                write(connection, columns::UPSERT, rows.iter().map(Columns::params))
            })
            .await
    }

    async fn get(&self, id: &ReviewId) -> Result<Option<Verdict>, StoreError> {
        let id = id.clone();
        self.reader
            .call(move |connection| {
                let mut select = connection.prepare_cached(columns::SELECT)?;
                let row = select.query_row([id.as_str()], columns::read).optional()?;
                Ok(row.map(|row| row.verdict))
            })
            .await
    }

    async fn list(
        &self,
        day: &SourceDay,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<Verdict>, StoreError> {
        let after = from.map(PageToken::place).transpose()?;
        // Nothing is before the empty text.
        let (time, id) = after.map_or_else(Default::default, |(time, id)| {
            (columns::time(time), id.as_str().to_owned())
        });
        let sql = match day.source.as_str() {
            "" => columns::SELECT_DAY_WITHOUT_SOURCE,
            _ => columns::SELECT_DAY,
        };
        let (source, day) = (day.source.clone(), day.day.to_string());
        let limit = limit.max(1);
        let rows = self.reader.call(move |connection| {
            let mut select = connection.prepare_cached(sql)?;
            let rows = select.query_map((source, day, time, id, one_more(limit)), columns::read)?;
            rows.map(|row| Ok(row?.verdict)).collect()
        });
        Ok(page::cut(rows.await?, limit, |verdict: &Verdict| {
            PageToken::after_place(verdict.occurred_at, &verdict.id)
        }))
    }

    async fn scan(&self, from: Option<&PageToken>, limit: usize) -> Result<Page<Row>, StoreError> {
        let after = from.map(PageToken::id).transpose()?;
        let after = after.map_or_else(String::new, |id| id.as_str().to_owned());
        let limit = limit.max(1);
        let rows = self.reader.call(move |connection| {
            let mut select = connection.prepare_cached(columns::SELECT_ALL)?;
            let rows = select.query_map((after, one_more(limit)), columns::read)?;
            rows.collect()
        });
        Ok(page::cut(rows.await?, limit, |row: &Row| PageToken::after_id(&row.verdict.id)))
    }

    async fn keep_feedback(&self, rows: &[FeedbackRow]) -> Result<(), StoreError> {
        let feedback = rows.iter().map(FeedbackColumns::of).collect::<Result<Vec<_>, _>>()?;
        self.writer
            .call(move |connection| {
                write(connection, feedback::INSERT, feedback.iter().map(FeedbackColumns::params))
            })
            .await
    }

    async fn feedback(&self, id: &ReviewId) -> Result<Vec<FeedbackRow>, StoreError> {
        let id = id.clone();
        self.reader
            .call(move |connection| {
                let mut select = connection.prepare_cached(feedback::SELECT)?;
                let feedback = select.query_map([id.as_str()], feedback::read)?;
                feedback.collect()
            })
            .await
    }

    async fn scan_feedback(
        &self,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<FeedbackRow>, StoreError> {
        let after = from.map_or(Ok(i64::MIN), |token| token.number(Kind::Feedback))?;
        let limit = limit.max(1);
        let rows = self.reader.call(move |connection| {
            let mut select = connection.prepare_cached(feedback::SELECT_ALL)?;
            let rows = select.query_map((after, one_more(limit)), feedback::read_numbered)?;
            rows.collect()
        });
        Ok(numbered(Kind::Feedback, rows.await?, limit))
    }

    async fn keep_judgements(&self, judged: &[JudgedWindow]) -> Result<(), StoreError> {
        let judged = judged.iter().map(JudgedColumns::of).collect::<Result<Vec<_>, _>>()?;
        self.writer
            .call(move |connection| {
                write(connection, judged::UPSERT, judged.iter().map(JudgedColumns::params))
            })
            .await
    }

    async fn judgements(
        &self,
        period: &Range<Timestamp>,
        count_max: usize,
    ) -> Result<Vec<JudgedWindow>, StoreError> {
        judgements::days(period)?;
        let (first, end) = (columns::time(period.start), columns::time(period.end));
        let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
        self.reader
            .call(move |connection| {
                let mut select = connection.prepare_cached(judged::SELECT)?;
                let judged = select.query_map((first, end, count_max), judged::read)?;
                judged.collect()
            })
            .await
    }

    async fn keep_refused(&self, records: &[RefusedRecord]) -> Result<(), StoreError> {
        let records = records.iter().map(RefusedColumns::of).collect::<Result<Vec<_>, _>>()?;
        self.writer
            .call(move |connection| {
                write(connection, refused::INSERT, records.iter().map(RefusedColumns::params))
            })
            .await
    }

    async fn refused(&self, count_max: usize) -> Result<Vec<RefusedRecord>, StoreError> {
        let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
        self.reader
            .call(move |connection| {
                let mut select = connection.prepare_cached(refused::SELECT)?;
                let records = select.query_map([count_max], refused::read)?;
                records.collect()
            })
            .await
    }

    async fn scan_refused(
        &self,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<RefusedRecord>, StoreError> {
        let after = from.map_or(Ok(i64::MIN), |token| token.number(Kind::Refused))?;
        let limit = limit.max(1);
        let records = self.reader.call(move |connection| {
            let mut select = connection.prepare_cached(refused::SELECT_ALL)?;
            let records = select.query_map((after, one_more(limit)), refused::read_numbered)?;
            records.collect()
        });
        Ok(numbered(Kind::Refused, records.await?, limit))
    }
}

/// A page of rows that were read after their numbers.
fn numbered<T>(kind: Kind, rows: Vec<(i64, T)>, limit: usize) -> Page<T> {
    let page = page::cut(rows, limit, |(number, _)| PageToken::after_number(kind, *number));
    Page { items: page.items.into_iter().map(|(_, one)| one).collect(), next: page.next }
}

/// One row past a page says that there is another page.
fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

/// Runs `sql` once for each of `rows`, in one transaction, which is durable when this returns.
fn write<'a, const N: usize>(
    connection: &mut Connection,
    sql: &str,
    rows: impl Iterator<Item = [&'a dyn ToSql; N]>,
) -> rusqlite::Result<()> {
    // Immediate: a transaction that became a writer half way could not wait for another one to end.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut statement = transaction.prepare_cached(sql)?;
        for row in rows {
            statement.execute(row.as_slice())?;
        }
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &tempfile::TempDir) -> SqliteStore {
        SqliteStore::open(&folder.path().join("verdicts.db"), &SqliteSettings::default()).unwrap()
    }

    fn records() -> Vec<RefusedRecord> {
        let record = |offset| RefusedRecord {
            topic: "verdicts.v1".to_owned(),
            partition: 0,
            offset,
            record: schemas::Record::default(),
            class: "InvalidVerdict".to_owned(),
            message: "long ".repeat(200),
            refused_at: Timestamp::UNIX_EPOCH,
        };
        (0..1_000).map(record).collect()
    }

    #[tokio::test]
    async fn each_commit_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        let pragma = |sql: &'static str| {
            move |connection: &mut Connection| connection.query_row(sql, [], |row| row.get(0))
        };
        let store = open(&folder);
        let mode: String = store.writer.call(pragma("PRAGMA journal_mode")).await.unwrap();
        let synchronous: String = store
            .writer
            .call(pragma("SELECT synchronous || '' FROM pragma_synchronous"))
            .await
            .unwrap();
        assert_eq!((mode.as_str(), synchronous.as_str()), ("wal", "2"));
    }

    /// No file may grow past what it is: `SQLite` then answers as it does on a full disk.
    #[tokio::test]
    async fn a_full_disk_is_unavailable_and_half_a_batch_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let limit = |pages: i64| {
            move |connection: &mut Connection| {
                connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_row| Ok(()))
            }
        };
        store.writer.call(limit(20)).await.unwrap();
        let error = store.keep_refused(&records()).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Unavailable(text) if text.contains("full")),
            "{error}"
        );
        assert_eq!(store.refused(1).await.unwrap(), []);
        store.writer.call(limit(1_000_000)).await.unwrap();
        store.keep_refused(&records()).await.unwrap();
        assert_eq!(store.refused(usize::MAX).await.unwrap().len(), 1_000);
    }
}
