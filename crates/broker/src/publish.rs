//! Appending records to topics.

use async_trait::async_trait;

use crate::delivery::Outgoing;

/// Appends records.
#[async_trait]
pub trait Publish: Send + Sync + 'static {
    /// Returns once the record is durable (acks=all, idempotent).
    ///
    /// In flight is bounded: past the bound it answers [`PublishError::Full`] at once and does not wait.
    async fn publish(&self, outgoing: Outgoing) -> Result<(), PublishError>;
}

/// Why a record is not known to be durable, by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Not taken: too much is in flight. Send less, try later.
    #[error("too many records in flight to the broker")]
    Full,
    /// Its outcome is unknown: the broker was away for longer than the delivery timeout. Try the same record again; a
    /// duplicate is possible.
    #[error("broker unavailable: {0}")]
    Unavailable(String),
    /// The broker will never take this record. Do not try it again.
    #[error("broker refused the record: {0}")]
    Refused(String),
}
