//! A review, as it comes and as the line carries it.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    dead_letter::{Refusal, Stage},
    headers,
    record::{Header, Record},
    text::ReviewText,
};

/// Longest id, in bytes of UTF-8.
pub const REVIEW_ID_BYTES_MAX: usize = 200;

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

/// A review as a client sends it, in the body of `POST /analyze` or in a record's value. Only `review` is required; fields
/// that are not listed here are accepted and kept out.
#[derive(
    Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema,
)]
pub struct IncomingReview {
    /// Names the review; made by the service where absent. 1 to 200 bytes, no white space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "order-4711")]
    pub id: Option<String>,
    /// The text to judge: 1 to 10,000 characters after normalisation.
    #[schema(example = "The room was clean and affordable.")]
    pub review: String,
    /// Where the review was written, such as `web` or `hotel-app`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Language of the text as a BCP 47 tag, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
        headers.push(Header::text(headers::CONTENT_TYPE, "application/json"));
        Ok(Record {
            key: Some(self.id.as_str().as_bytes().to_vec()),
            value: Some(value),
            headers,
            timestamp_ms: Some(self.occurred_at.as_millisecond()),
        })
    }

    /// Reads a record of [`crate::topics::REVIEWS`], whoever produced it.
    ///
    /// The value is JSON, bare or behind Confluent's 5-byte frame (magic byte 0, schema id; Confluent wire format). The id is
    /// the value's, else the record's key, else [`ReviewId::of_place`]. `now` stands in for times that nobody gave.
    pub fn from_record(record: &Record, place: Place<'_>, now: Timestamp) -> Result<Self, Refusal> {
        let value = record.value.as_deref().ok_or_else(|| {
            Refusal::new(
                Stage::Decode,
                "NullValue",
                "the record's value is null: a review cannot be deleted through this topic",
            )
        })?;
        let incoming: IncomingReview = decode(value)?;
        let recorded_at = record.timestamp_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        let id = match (incoming.id, key) {
            (Some(id), _) => ReviewId::new(id)
                .map_err(|error| Refusal::new(Stage::Validate, "InvalidId", error))?,
            (None, Some(key)) => {
                ReviewId::new(key).unwrap_or_else(|_unusable| ReviewId::of_place(place))
            }
            (None, None) => ReviewId::of_place(place),
        };
        let text = ReviewText::new(&incoming.review)
            .map_err(|error| Refusal::new(Stage::Validate, "InvalidText", error))?;
        Ok(Self {
            id,
            text,
            source: incoming.source,
            language: incoming.language,
            occurred_at: incoming.occurred_at.or(recorded_at).unwrap_or(now),
            received_at: incoming.received_at.or(recorded_at).unwrap_or(now),
            metadata: incoming.metadata,
        })
    }
}

/// JSON, with or without Confluent's frame. No JSON text starts with a zero byte, so the frame is told apart for certain.
fn decode(value: &[u8]) -> Result<IncomingReview, Refusal> {
    let json = match value {
        [] => {
            return Err(Refusal::new(
                Stage::Decode,
                "EmptyValue",
                "the record's value has no bytes",
            ));
        }
        [0, _, _, _, _, json @ ..] => json,
        json => json,
    };
    std::str::from_utf8(json).map_err(|error| {
        Refusal::new(
            Stage::Decode,
            "InvalidUtf8",
            format!("the record's value is not UTF-8: {error}"),
        )
    })?;
    serde_json::from_slice(json).map_err(|error| {
        let class = if error.is_data() { "InvalidField" } else { "InvalidJson" };
        Refusal::new(
            Stage::Decode,
            class,
            format!("the record's value is not a review in JSON: {error}"),
        )
    })
}
