//! A label that somebody gives to a review after its verdict.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    headers,
    json::{self, InvalidJson},
    record::{self, Header, Record},
    review::{InvalidId, ReviewId},
};

/// Longest label, in bytes of UTF-8.
pub const LABEL_BYTES_MAX: usize = 200;

/// Longest name of who gave it, in bytes of UTF-8.
pub const BY_BYTES_MAX: usize = 200;

/// One record of `feedback.v1`: a label that somebody gives to a review after its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(expecting = "feedback as a JSON object with the fields `id` and `label`")]
pub struct Feedback {
    /// The review's id.
    #[schemars(length(min = 1, max = 200))]
    pub id: String,
    /// The label that is right, one of the model's labels.
    #[schema(example = "negative")]
    #[schemars(length(min = 1, max = 200))]
    pub label: String,
    /// Who says so.
    #[schemars(length(max = 200))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When they said so (RFC 3339); the time of receipt where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub given_at: Option<Timestamp>,
}

/// Why a record or a request is not feedback.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFeedback {
    /// Its bytes are not feedback in JSON.
    #[error("not feedback: {0}")]
    Json(#[from] InvalidJson),
    /// The id cannot be a review's.
    #[error("`id`: {0}")]
    Id(#[from] InvalidId),
    /// No label, or one longer than [`LABEL_BYTES_MAX`].
    #[error("`label` has {bytes} bytes, 1 to {LABEL_BYTES_MAX} are accepted")]
    Label {
        /// How many there are.
        bytes: usize,
    },
    /// A name longer than [`BY_BYTES_MAX`].
    #[error("`by` has {bytes} bytes, at most {BY_BYTES_MAX} are accepted")]
    By {
        /// How many there are.
        bytes: usize,
    },
}

impl Feedback {
    /// Checks id, label and the length of the name; whether the model knows the label is for the reader to see.
    pub fn check(&self) -> Result<(), InvalidFeedback> {
        ReviewId::new(self.id.as_str())?;
        let bytes = self.label.len();
        if bytes == 0 || LABEL_BYTES_MAX < bytes {
            return Err(InvalidFeedback::Label { bytes });
        }
        let bytes = self.by.as_ref().map_or(0, String::len);
        if BY_BYTES_MAX < bytes {
            return Err(InvalidFeedback::By { bytes });
        }
        Ok(())
    }

    /// The record for [`crate::topics::FEEDBACK`], received at `now`: JSON value, the review's id as key, plus `headers`.
    pub fn to_record(
        &self,
        mut headers: Vec<Header>,
        now: Timestamp,
    ) -> Result<Record, serde_json::Error> {
        let given_at = self.given_at.unwrap_or(now);
        let value = serde_json::to_vec(&Self { given_at: Some(given_at), ..self.clone() })?;
        headers::set(&mut headers, headers::CONTENT_TYPE, headers::JSON);
        Ok(Record {
            key: Some(self.id.as_bytes().to_vec()),
            value: Some(value),
            headers,
            timestamp_ms: record::event_time_ms(given_at, now),
        })
    }

    /// Reads a record of [`crate::topics::FEEDBACK`], whoever produced it.
    pub fn from_record(record: &Record) -> Result<Self, InvalidFeedback> {
        let feedback: Self = json::read(record.value.as_deref())?;
        feedback.check()?;
        Ok(Self { given_at: feedback.given_at.or_else(|| record.written_at()), ..feedback })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &str) -> Record {
        Record { value: Some(value.into()), timestamp_ms: Some(1_000), ..Record::default() }
    }

    #[test]
    fn feedback_comes_back_as_it_was_written() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let feedback = Feedback {
            id: "order-4711".to_owned(),
            label: "negative".to_owned(),
            by: Some("support".to_owned()),
            given_at: None,
        };
        let written = feedback.to_record(vec![], now).unwrap();
        assert_eq!(written.key.as_deref(), Some(b"order-4711".as_slice()));
        assert_eq!(written.timestamp_ms, Some(now.as_millisecond()));
        let expected = Feedback { given_at: Some(now), ..feedback };
        assert_eq!(Feedback::from_record(&written).unwrap(), expected);
    }

    #[test]
    fn the_records_time_stands_in_for_the_time_that_nobody_gave() {
        let read = Feedback::from_record(&record(r#"{"id":"a","label":"b"}"#)).unwrap();
        assert_eq!(read.given_at, Some(Timestamp::from_second(1).unwrap()));
    }

    #[test]
    fn an_error_names_the_field() {
        let check = |value: &str, expected: &str| {
            let error = Feedback::from_record(&record(value)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(r#"{"id":"a"}"#, "missing field `label`");
        check(r#"{"id":"a","label":7}"#, "`label`: invalid type: integer `7`, expected a string");
        check(r#"{"id":"a b","label":"c"}"#, "`id`: the id contains white space");
        check(r#"{"id":"a","label":""}"#, "`label` has 0 bytes, 1 to 200 are accepted");
        let long = format!(r#"{{"id":"a","label":"b","by":"{}"}}"#, "x".repeat(201));
        check(&long, "`by` has 201 bytes, at most 200 are accepted");
        check("[\"a\",\"b\"]", "expected a JSON object");
    }
}
