//! Where verdicts are kept and found again.
//!
//! # Layout
//! - [`VerdictStore`]: the contract, held by one suite for every store (`tests/contract.rs`)
//! - [`row`]: a verdict to be written, and which of two wins; [`refused`]: a record that could not become a row
//! - [`connect()`]: a URL to a store
//! - [`sqlite`]: one file, for a laptop; [`memory`]: none, for tests

mod connect;
pub mod memory;
pub mod refused;
pub mod row;
pub mod sqlite;

use std::fmt::Debug;

use async_trait::async_trait;
use schemas::{ReviewId, Verdict};

pub use connect::{ConnectError, connect};
pub use memory::MemoryStore;
pub use refused::RefusedRecord;
pub use row::Row;
pub use sqlite::{SqliteSettings, SqliteStore};

/// A table of verdicts, one row for each review, and beside it the records that could not become rows.
#[async_trait]
pub trait VerdictStore: Debug + Send + Sync + 'static {
    /// Writes all rows, durably, before it returns. After an error none, some or all are written: write them again.
    ///
    /// Idempotent and free of order: of two rows of one review the one that [outranks](Row::outranks) the other stays,
    /// whatever the order and however often they are written. The sink relies on it when a crash makes it read verdicts twice.
    async fn upsert(&self, rows: &[Row]) -> Result<(), StoreError>;

    /// The verdict of one review, or `None`. Equal to the one that was written, to the last bit.
    async fn get(&self, id: &ReviewId) -> Result<Option<Verdict>, StoreError>;

    /// Keeps records that cannot become rows, durably, before it returns. Idempotent: the same record from the same place is
    /// kept once, with the reason that was given first.
    async fn keep_refused(&self, records: &[RefusedRecord]) -> Result<(), StoreError>;

    /// The `count_max` records that were refused last, the latest first.
    async fn refused(&self, count_max: usize) -> Result<Vec<RefusedRecord>, StoreError>;
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
