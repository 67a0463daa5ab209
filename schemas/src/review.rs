//! A review, as it comes and as the line carries it.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    cloudevents,
    dead_letter::{self, Refusal, Stage},
    headers,
    json::{self, InvalidJson},
    record::{self, Header, Record},
    text::ReviewText,
};

/// Longest id, in bytes of UTF-8.
pub const REVIEW_ID_BYTES_MAX: usize = 200;

/// Longest `source`, in bytes of UTF-8: it is part of the store's keys.
pub const SOURCE_BYTES_MAX: usize = 200;

/// Longest `language`, in bytes: what RFC 5646, section 4.4.1, asks of an implementation.
pub const LANGUAGE_BYTES_MAX: usize = 35;

/// Namespace of the ids that we derive (UUID version 5, RFC 9562).
pub const ID_NAMESPACE: Uuid = Uuid::from_u128(0x6f0c_7a51_8f0e_5d0a_9f43_52d1_6b1e_77c4);

/// Names a review from the HTTP request to the table row: 1 to [`REVIEW_ID_BYTES_MAX`] bytes of UTF-8 without control
/// characters and without white space.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReviewId(String);

/// Why a text is not a [`ReviewId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// No bytes at all.
    #[error("the id is empty")]
    Empty,
    /// More than [`REVIEW_ID_BYTES_MAX`] bytes.
    #[error("the id has {bytes} bytes, at most {REVIEW_ID_BYTES_MAX} are accepted")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// White space or a control character in it.
    #[error("the id contains white space or control characters")]
    Unprintable,
}

/// Why `source` or `language` cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` has {bytes} bytes, at most {bytes_max} are accepted")]
pub struct TooLong {
    /// The field's name.
    pub field: &'static str,
    /// How many bytes it has.
    pub bytes: usize,
    /// How many it may have.
    pub bytes_max: usize,
}

/// A review as a client sends it, in the body of `POST /analyze` or in a record's value. Only `review` is required; fields
/// that are not listed here are accepted and kept out.
#[derive(
    Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema,
)]
#[serde(expecting = "a JSON object with the field `review`")]
#[schemars(title = "Review")]
pub struct IncomingReview {
    /// Names the review; made by the service where absent. 1 to 200 bytes, no white space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    #[schema(example = "order-4711")]
    pub id: Option<String>,
    /// The text to judge: 1 to 10,000 characters after normalisation.
    #[schemars(length(min = 1))]
    #[schema(example = "The room was clean and affordable.")]
    pub review: String,
    /// Where the review was written, such as `web` or `hotel-app`. At most 200 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub source: Option<String>,
    /// Language of the text as a BCP 47 tag, if known. At most 35 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 35))]
    pub language: Option<String>,
    /// When the review was written (RFC 3339); the time of receipt where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub occurred_at: Option<Timestamp>,
    /// When the line received it (RFC 3339); set by ingest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, read_only)]
    pub received_at: Option<Timestamp>,
    /// Anything else that is to come back with the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
}

/// A review that the line carries: id, text and times are there and valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Review {
    /// Its id, also the record's key.
    pub id: ReviewId,
    /// Its text, normalised.
    pub text: ReviewText,
    /// Where it was written.
    pub source: Option<String>,
    /// BCP 47 tag of its language.
    pub language: Option<String>,
    /// When it was written.
    pub occurred_at: Timestamp,
    /// When the line received it.
    pub received_at: Timestamp,
    /// Passed through to the verdict.
    pub metadata: Option<Map<String, Value>>,
}

/// Where a record was read from, for ids and for [`crate::verdict::Origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

impl ReviewId {
    /// Checks `id`.
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidId> {
        let id = id.into();
        if id.is_empty() {
            return Err(InvalidId::Empty);
        }
        if REVIEW_ID_BYTES_MAX < id.len() {
            return Err(InvalidId::TooLong { bytes: id.len() });
        }
        if id.chars().any(|character| character.is_whitespace() || character.is_control()) {
            return Err(InvalidId::Unprintable);
        }
        Ok(Self(id))
    }

    /// The id of a record that came without one: the same each time the record is read.
    pub fn of_place(place: Place<'_>) -> Self {
        let name = format!("{}/{}/{}", place.topic, place.partition, place.offset);
        Self(Uuid::new_v5(&ID_NAMESPACE, name.as_bytes()).to_string())
    }

    /// The id that a record says outside of its value: its event's, else its key, else the one that it had before it was sent
    /// again. What was not meant as our id need not be fit for one, and is passed over.
    pub fn beside_value(record: &Record) -> Option<Self> {
        let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        let event = cloudevents::read(&record.headers);
        let before = headers::text(&record.headers, dead_letter::REVIEW_ID);
        [event.id, key, before].into_iter().flatten().find_map(|id| Self::new(id).ok())
    }

    /// The id of a review that came with an `Idempotency-Key`: the same each time the key is used by `tenant`.
    pub fn of_idempotency_key(tenant: &str, key: &str) -> Self {
        let name = format!("{tenant}\u{0}{key}");
        Self(Uuid::new_v5(&ID_NAMESPACE, name.as_bytes()).to_string())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Uuid> for ReviewId {
    fn from(id: Uuid) -> Self {
        Self(id.to_string())
    }
}

impl TryFrom<String> for ReviewId {
    type Error = InvalidId;

    fn try_from(id: String) -> Result<Self, InvalidId> {
        Self::new(id)
    }
}

impl From<ReviewId> for String {
    fn from(id: ReviewId) -> Self {
        id.0
    }
}

impl fmt::Display for ReviewId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl IncomingReview {
    /// Checks what [`ReviewId`] and [`ReviewText`] do not: that `source` and `language` are short enough to be kept.
    pub fn check_lengths(&self) -> Result<(), TooLong> {
        let fields = [
            ("source", &self.source, SOURCE_BYTES_MAX),
            ("language", &self.language, LANGUAGE_BYTES_MAX),
        ];
        for (field, value, bytes_max) in fields {
            let bytes = value.as_ref().map_or(0, String::len);
            if bytes_max < bytes {
                return Err(TooLong { field, bytes, bytes_max });
            }
        }
        Ok(())
    }
}

impl Review {
    /// The record for [`crate::topics::REVIEWS`]: JSON value, id as key, event time as timestamp, plus `headers`.
    pub fn to_record(&self, mut headers: Vec<Header>) -> Result<Record, serde_json::Error> {
        let value = serde_json::to_vec(&IncomingReview {
            id: Some(self.id.to_string()),
            review: self.text.to_string(),
            source: self.source.clone(),
            language: self.language.clone(),
            occurred_at: Some(self.occurred_at),
            received_at: Some(self.received_at),
            metadata: self.metadata.clone(),
        })?;
        headers::set(&mut headers, headers::CONTENT_TYPE, headers::JSON);
        Ok(Record {
            key: Some(self.id.as_str().as_bytes().to_vec()),
            value: Some(value),
            headers,
            timestamp_ms: record::event_time_ms(self.occurred_at, self.received_at),
        })
    }

    /// Reads a record of [`crate::topics::REVIEWS`], whoever produced it.
    ///
    /// The value is JSON, bare or behind Confluent's 5-byte frame (magic byte 0, schema id; Confluent wire format). What the
    /// value does not say, the `CloudEvents` headers may. The id is the value's, else [`ReviewId::beside_value`], else
    /// [`ReviewId::of_place`]. `now` stands in for times that nobody gave.
    pub fn from_record(record: &Record, place: Place<'_>, now: Timestamp) -> Result<Self, Refusal> {
        let incoming = decode(record.value.as_deref())?;
        let event = cloudevents::read(&record.headers);
        let incoming = IncomingReview {
            source: incoming.source.or_else(|| event.source.map(str::to_owned)),
            ..incoming
        };
        incoming
            .check_lengths()
            .map_err(|error| Refusal::new(Stage::Validate, "InvalidField", error))?;
        let id = match incoming.id {
            Some(id) => ReviewId::new(id)
                .map_err(|error| Refusal::new(Stage::Validate, "InvalidId", error))?,
            None => ReviewId::beside_value(record).unwrap_or_else(|| ReviewId::of_place(place)),
        };
        let text = ReviewText::new(&incoming.review)
            .map_err(|error| Refusal::new(Stage::Validate, "InvalidText", error))?;
        let recorded_at = record.written_at();
        Ok(Self {
            id,
            text,
            source: incoming.source,
            language: incoming.language,
            occurred_at: incoming.occurred_at.or(event.time).or(recorded_at).unwrap_or(now),
            received_at: incoming.received_at.or(recorded_at).unwrap_or(now),
            metadata: incoming.metadata,
        })
    }
}

/// JSON, with or without Confluent's frame. No JSON text starts with a zero byte, so the frame is told apart for certain.
fn decode(value: Option<&[u8]>) -> Result<IncomingReview, Refusal> {
    let json = match value {
        Some([0, _, _, _, _, json @ ..]) => Some(json),
        value => value,
    };
    json::read(json).map_err(|error| {
        let class = match error {
            InvalidJson::Null => "NullValue",
            InvalidJson::Empty => "EmptyValue",
            InvalidJson::NotUtf8(_) => "InvalidUtf8",
            InvalidJson::Syntax(_) => "InvalidJson",
            InvalidJson::NotAnObject | InvalidJson::Field { .. } => "InvalidField",
        };
        Refusal::new(Stage::Decode, class, format!("the record's value is not a review: {error}"))
    })
}

#[cfg(test)]
mod tests;
