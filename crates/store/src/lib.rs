//! Where verdicts are kept and found again.
//!
//! # Layout
//! - [`VerdictStore`]: the contract, held by one suite for every store
//! - `sqlite`: one file, for a laptop

use std::fmt::Debug;

use async_trait::async_trait;
use schemas::{ReviewId, Verdict};

/// A verdict to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The verdict.
    pub verdict: Verdict,
    /// Decides between two verdicts of one review: the larger is kept. Microseconds since the Unix epoch: the time of
    /// scoring, so that a replay is harmless and a later scoring wins.
    pub written_at_us: i64,
}

/// A table of verdicts, one row for each review.
#[async_trait]
pub trait VerdictStore: Debug + Send + Sync + 'static {
    /// Writes all rows, durably, before it returns.
    ///
    /// Idempotent and free of order: of two rows of one review the one with the larger `written_at_us` stays, whatever the
    /// order and however often they are written. The sink relies on it when a crash makes it read verdicts twice.
    async fn upsert(&self, rows: &[Row]) -> Result<(), StoreError>;

    /// The verdict of one review, or `None`.
    async fn get(&self, id: &ReviewId) -> Result<Option<Verdict>, StoreError>;
}

/// Why the store did not do it, by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Busy or away. Back off and try the same again.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// It will never take this. Do not try it again.
    #[error("store refused: {0}")]
    Refused(String),
}
