//! Where verdicts are kept and found again.
//!
//! # Layout
//! - [`VerdictStore`]: the contract, held by one suite for every store (`tests/contract.rs`)
//! - [`row`]: a verdict to be written, and which of two wins; [`refused`]: a record that could not become a row
//! - [`judged`]: a window of verdicts that was judged for drift
//! - [`page`]: what is read a page at a time; [`digest()`]: all rows in one number
//! - [`settings`] and [`connect()`]: from settings to a store
//! - [`cql`]: a cluster; [`sqlite`]: one file, for a laptop; [`memory`]: none, for tests

mod connect;
pub mod cql;
pub mod digest;
mod feedback;
mod headers;
mod hex;
pub mod judged;
pub mod memory;
pub mod page;
pub mod refused;
pub mod row;
pub mod settings;
pub mod sqlite;

use std::{fmt::Debug, ops::Range};

use async_trait::async_trait;
use jiff::Timestamp;
use schemas::{ReviewId, Verdict};

pub use connect::{ConnectError, connect, migrate};
pub use cql::{
    CqlStore,
    migrate::{Migration, Replication},
};
pub use digest::{Digest, digest};
pub use feedback::FeedbackRow;
pub use judged::JudgedWindow;
pub use memory::MemoryStore;
pub use page::{Page, PageToken, SourceDay};
pub use refused::{RefusedRecord, record_digest};
pub use row::Row;
pub use settings::{StoreSettings, StoreTls};
pub use sqlite::{SqliteSettings, SqliteStore};

/// A table of verdicts, one row for each review, and beside it the records that could not become rows.
#[async_trait]
pub trait VerdictStore: Debug + Send + Sync + 'static {
    /// What OpenTelemetry calls the system behind it (`db.system.name`).
    fn system(&self) -> &'static str {
        "memory"
    }

    /// Writes all rows, durably, before it returns. After an error none, some or all are written: write them again.
    ///
    /// Idempotent and free of order: of two rows of one review the one that [outranks](Row::outranks) the other stays,
    /// whatever the order and however often they are written. The sink relies on it when a crash makes it read verdicts twice.
    async fn upsert(&self, rows: &[Row]) -> Result<(), StoreError>;

    /// The verdict of one review, or `None`. Equal to the one that was written, to the last bit.
    async fn get(&self, id: &ReviewId) -> Result<Option<Verdict>, StoreError>;

    /// The verdicts of one source and day, a page of `limit` at most, in the order of `occurred_at` to the millisecond. `from`
    /// is [`Page::next`] of the page before, `None` at the start; `Refused` if it is not.
    ///
    /// A review is listed once. One that is written or scored anew meanwhile may be missed or listed at another place.
    async fn list(
        &self,
        day: &SourceDay,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<Verdict>, StoreError>;

    /// All rows, a page of `limit` at most, in an order of the store's choice. `from` as in [`list`](Self::list).
    async fn scan(&self, from: Option<&PageToken>, limit: usize) -> Result<Page<Row>, StoreError>;

    /// Keeps feedback, durably, before it returns. Idempotent: the same label, given by the same person at the same time, is
    /// kept once, and of two places where it was read the lower offset stays, in whatever order they come. `Refused` where the
    /// feedback has no time, or where its id or label cannot be.
    async fn keep_feedback(&self, rows: &[FeedbackRow]) -> Result<(), StoreError>;

    /// All feedback on one review, the earliest first, whether or not there is a verdict.
    async fn feedback(&self, id: &ReviewId) -> Result<Vec<FeedbackRow>, StoreError>;

    /// All feedback, a page of `limit` at most, in an order of the store's choice. `from` as in [`list`](Self::list).
    async fn scan_feedback(
        &self,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<FeedbackRow>, StoreError>;

    /// Keeps windows that were judged for drift, durably, before it returns. Idempotent: of two judgements of one window the one that
    /// was made later stays, whatever the order.
    async fn keep_judgements(&self, judged: &[JudgedWindow]) -> Result<(), StoreError>;

    /// The judged windows whose last review was written in `period`, the newest first, `count_max` at most. `Refused` where the
    /// period is longer than [`judged::PERIOD_DAYS_MAX`] days.
    async fn judgements(
        &self,
        period: &Range<Timestamp>,
        count_max: usize,
    ) -> Result<Vec<JudgedWindow>, StoreError>;

    /// Keeps records that cannot become rows, durably, before it returns. Idempotent: the same record from the same place is
    /// kept once, with the reason that was given first.
    async fn keep_refused(&self, records: &[RefusedRecord]) -> Result<(), StoreError>;

    /// The `count_max` records that were refused last, the latest first.
    async fn refused(&self, count_max: usize) -> Result<Vec<RefusedRecord>, StoreError>;

    /// All refused records, a page of `limit` at most, in an order of the store's choice. `from` as in [`list`](Self::list).
    async fn scan_refused(
        &self,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<RefusedRecord>, StoreError>;
}

/// Why the store did not do it, by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Busy, full or away. Back off and try the same again.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// It will never take this. Do not try it again; one row at fault refuses its whole batch.
    #[error("store refused: {0}")]
    Refused(String),
    /// It is damaged and will take nothing until an operator has acted. Exit.
    #[error("store unusable: {0}")]
    Unusable(String),
}
