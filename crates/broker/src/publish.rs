//! Appending records to topics.

use async_trait::async_trait;
use schemas::Record;

use crate::delivery::Outgoing;

/// Largest record that is published, in bytes: key, value and headers. With what Kafka writes around it, it stays below the
/// limit that brokers have by default, 1,048,588.
pub const RECORD_BYTES_MAX: usize = 1_000_000;

/// What Kafka writes around a header at most: two lengths.
const HEADER_FRAME_BYTES: usize = 10;

/// The size of a record, for comparison with [`RECORD_BYTES_MAX`].
pub(crate) fn record_bytes(record: &Record) -> usize {
    let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
    let headers = record.headers.iter();
    let headers: usize =
        headers.map(|header| header.name.len() + length(&header.value) + HEADER_FRAME_BYTES).sum();
    length(&record.key) + length(&record.value) + headers
}

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
