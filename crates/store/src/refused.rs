//! A record that could not become a row, kept with the reason so that its offset may be passed.

use jiff::Timestamp;
use schemas::Record;
use sha2::{Digest as _, Sha256};

use crate::hex;

/// A record that could not become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Topic that it was read from.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// The record, byte for byte.
    pub record: Record,
    /// The kind of error: a stable name in `UpperCamelCase`.
    pub class: String,
    /// What was wrong, in words.
    pub message: String,
    /// When it was refused.
    pub refused_at: Timestamp,
}

impl RefusedRecord {
    /// [`record_digest`] of the record.
    pub fn record_digest(&self) -> String {
        record_digest(&self.record)
    }
}

/// SHA-256 of key, value, headers and timestamp, in hex. Beside the place it tells records apart that were written to a topic
/// which has been deleted and made anew.
pub fn record_digest(record: &Record) -> String {
    let mut digest = Sha256::new();
    feed(&mut digest, record.key.as_deref());
    feed(&mut digest, record.value.as_deref());
    for header in &record.headers {
        feed(&mut digest, Some(header.name.as_bytes()));
        feed(&mut digest, header.value.as_deref());
    }
    digest.update(record.timestamp_ms.unwrap_or(i64::MIN).to_be_bytes());
    hex::encode(&digest.finalize())
}

/// Length before content, so that no two lists of parts look alike; a null has a length that nothing has.
fn feed(digest: &mut Sha256, part: Option<&[u8]>) {
    let length = part.map_or(u64::MAX, |bytes| bytes.len() as u64);
    digest.update(length.to_be_bytes());
    digest.update(part.unwrap_or_default());
}
