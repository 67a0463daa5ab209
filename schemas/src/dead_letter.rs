//! What a refused record becomes: itself, with the reason in headers.
//!
//! The names are those of Kafka Connect's dead letter queue (KIP-298), so that existing tools read them.

use jiff::Timestamp;

use crate::{
    record::{Header, Record},
    review::Place,
};

/// Topic that the record was read from.
pub const TOPIC: &str = "__connect.errors.topic";
/// Partition that the record was read from.
pub const PARTITION: &str = "__connect.errors.partition";
/// Offset that the record was read from.
pub const OFFSET: &str = "__connect.errors.offset";
/// Where it was refused: a [`Stage`].
pub const STAGE: &str = "__connect.errors.stage";
/// The kind of error, a stable name to filter by.
pub const CLASS: &str = "__connect.errors.exception.class.name";
/// The error in words.
pub const MESSAGE: &str = "__connect.errors.exception.message";
/// How often the record was tried, this time included.
pub const ATTEMPTS: &str = "dlq.attempts";
/// When it was refused (RFC 3339).
pub const FAILED_AT: &str = "dlq.failed-at";
/// Whether trying again may help: `true` or `false`.
pub const RETRYABLE: &str = "dlq.retryable";

/// Names of the headers that a dead letter adds; a second failure replaces them.
const ADDED: [&str; 9] =
    [TOPIC, PARTITION, OFFSET, STAGE, CLASS, MESSAGE, ATTEMPTS, FAILED_AT, RETRYABLE];

/// Where in the line a record was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Its bytes are not a review.
    Decode,
    /// It is a review, but breaks a rule.
    Validate,
    /// The tokenizer failed on its text.
    Tokenize,
    /// The model failed on it.
    Infer,
}

/// Why a record was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Where.
    pub stage: Stage,
    /// The kind of error: a stable name in `UpperCamelCase`.
    pub class: &'static str,
    /// What was wrong, in words.
    pub message: String,
}

impl Stage {
    /// The name as it stands in the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "DECODE",
            Self::Validate => "VALIDATE",
            Self::Tokenize => "TOKENIZE",
            Self::Infer => "INFER",
        }
    }

    /// Whether the same record may pass another time: only what depends on the model may.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Tokenize | Self::Infer)
    }
}

impl Refusal {
    /// A refusal at `stage`.
    pub fn new(stage: Stage, class: &'static str, message: impl ToString) -> Self {
        Self { stage, class, message: message.to_string() }
    }

    /// The dead letter of `record`: key, value, headers and timestamp unchanged, the reason added.
    pub fn to_dead_letter(&self, record: &Record, place: Place<'_>, now: Timestamp) -> Record {
        let attempts = crate::headers::text(&record.headers, ATTEMPTS)
            .and_then(|attempts| attempts.parse::<u32>().ok())
            .unwrap_or(0)
            .saturating_add(1);
        let mut letter = record.clone();
        letter.headers.retain(|header| !ADDED.contains(&header.name.as_str()));
        letter.headers.extend([
            Header::text(TOPIC, place.topic),
            Header::text(PARTITION, place.partition.to_string()),
            Header::text(OFFSET, place.offset.to_string()),
            Header::text(STAGE, self.stage.as_str()),
            Header::text(CLASS, self.class),
            Header::text(MESSAGE, self.message.as_str()),
            Header::text(ATTEMPTS, attempts.to_string()),
            Header::text(FAILED_AT, now.to_string()),
            Header::text(RETRYABLE, self.stage.is_retryable().to_string()),
        ]);
        letter
    }
}
