//! A verdict: what the model said of a review, and all that is needed to trace it back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    cloudevents, headers,
    json::{self, InvalidJson},
    record::{self, Header, Record},
    review::ReviewId,
};

/// Version of the verdict's shape. Additive changes keep it; readers ignore fields that they do not know.
pub const SCHEMA_VERSION: u16 = 1;

/// One record of `verdicts.v1`, one row of the store, one answer of the HTTP service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(expecting = "a verdict as a JSON object")]
pub struct Verdict {
    /// Version of this shape.
    pub schema_version: u16,
    /// The review's id.
    #[schema(value_type = String)]
    #[schemars(with = "String")]
    pub id: ReviewId,
    /// The text that was judged, normalised; absent where storage of text is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<String>,
    /// SHA-256 of the normalised text, in hex: the same text has the same hash, whether the text is kept or not.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub review_sha256: String,
    /// The most probable label.
    #[schema(example = "positive")]
    pub label: String,
    /// Probability of `label`, 0 to 1, calibrated.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: f32,
    /// Probability of each label; they sum to 1.
    pub probabilities: BTreeMap<String, f32>,
    /// The model that said so.
    pub model: ModelRef,
    /// What it was computed in: `f32` or `int8`; absent from verdicts of a program that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "int8")]
    pub precision: Option<String>,
    /// Tokens that the model read, special tokens included, padding not.
    pub tokens: u32,
    /// Whether the text had more tokens than the model reads.
    pub truncated: bool,
    /// What drift needs to know beyond the rest; absent from verdicts of a program that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftFeatures>,
    /// Where the review was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// BCP 47 tag of its language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// What the client sent along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// Where the review was read from; absent where no broker was involved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// When the review was written (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Timestamp,
    /// When the line received it (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// When the model judged it (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub scored_at: Timestamp,
    /// Milliseconds from receipt until the model began; never negative, whatever the clocks say.
    pub queue_ms: f64,
    /// Milliseconds that the model took for the batch.
    pub inference_ms: f64,
    /// Reviews in the batch; 0 where the model was not asked, because the answer to this very text was remembered.
    pub batch_size: u32,
    /// W3C trace id, 32 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{32}$"))]
    pub trace_id: Option<String>,
}

/// A handful of numbers of which windows are made that are compared with the model's reference profile.
#[derive(
    Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema,
)]
pub struct DriftFeatures {
    /// How many of `tokens` are special ones, which every text has.
    pub special_tokens: u32,
    /// How many of `tokens` stand for what is not in the model's vocabulary.
    pub unknown_tokens: u32,
    /// How surprising the words are to a unigram model of the data that the model was made with, in bits a token (Chang et al.,
    /// ACL 2023, section 3.1); absent where the bundle has no such model or the text no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_entropy: Option<f32>,
    /// The pooled embedding, projected at random onto 16 coordinates, 32 steps a standard deviation; absent where the bundle
    /// does not say how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<[i8; 16]>,
    /// The language that the text looks like, as an ISO 639-1 code, whatever the client says; absent where that is unclear or the
    /// bundle does not say which languages the model was tried on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Buckets of a hash, 0 to 2047, of the at most 16 words that are most surprising to that unigram model, each once and in order;
    /// absent where the bundle does not say which words its held-out data has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<Vec<u16>>,
}

/// Names one version of one model, down to its bytes.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, utoipa::ToSchema,
)]
pub struct ModelRef {
    /// Name.
    #[schema(example = "sentiment")]
    pub name: String,
    /// Version.
    #[schema(example = "1")]
    pub version: String,
    /// `sha256:` and the hex digest of the bundle's manifest, which names the digests of all its files.
    pub digest: String,
}

/// Where a review was read from.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, utoipa::ToSchema,
)]
pub struct Origin {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// Why a record of [`crate::topics::VERDICTS`] is not a verdict.
#[derive(Debug, thiserror::Error)]
pub enum InvalidVerdict {
    /// The value is null.
    #[error("the record's value is null")]
    Null,
    /// The value is not a verdict in JSON.
    #[error("the record's value is not a verdict: {0}")]
    Json(#[from] InvalidJson),
}

impl Verdict {
    /// The record for [`crate::topics::VERDICTS`]: JSON value, id as key, event time as timestamp, plus `headers` with the
    /// `CloudEvents` attributes of the review replaced by those of the verdict.
    pub fn to_record(&self, mut headers: Vec<Header>) -> Result<Record, serde_json::Error> {
        let value = serde_json::to_vec(self)?;
        headers::set(&mut headers, headers::CONTENT_TYPE, headers::JSON);
        cloudevents::write(self, &mut headers);
        Ok(Record {
            key: Some(self.id.as_str().as_bytes().to_vec()),
            value: Some(value),
            headers,
            timestamp_ms: record::event_time_ms(self.occurred_at, self.scored_at),
        })
    }

    /// Reads a record of [`crate::topics::VERDICTS`].
    pub fn from_record(record: &Record) -> Result<Self, InvalidVerdict> {
        let value = record.value.as_deref().ok_or(InvalidVerdict::Null)?;
        Ok(json::read(Some(value))?)
    }
}

#[cfg(test)]
mod tests;
