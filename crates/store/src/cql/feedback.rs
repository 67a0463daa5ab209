//! Feedback as a row of `feedback_by_id`, and back.

use schemas::Origin;
use scylla::{DeserializeRow, SerializeRow, value::CqlTimestamp};

use super::{columns::time, trouble};
use crate::{FeedbackRow, StoreError, feedback};

/// What is written into `feedback_by_id`.
#[derive(SerializeRow)]
pub(super) struct Columns<'a> {
    id: &'a str,
    given_at: CqlTimestamp,
    given_by: &'a str,
    label: &'a str,
    feedback: String,
    origin_topic: &'a str,
    origin_partition: i32,
    origin_offset: i64,
    written: i64,
}

/// What is read from `feedback_by_id`.
#[derive(DeserializeRow)]
pub(super) struct Kept {
    feedback: String,
    origin_topic: String,
    origin_partition: i32,
    origin_offset: i64,
}

impl<'a> Columns<'a> {
    /// `Refused` where it is no feedback.
    pub(super) fn of(row: &'a FeedbackRow) -> Result<Self, StoreError> {
        let FeedbackRow { feedback, origin } = row;
        let json = serde_json::to_string(feedback)
            .map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok(Self {
            id: &feedback.id,
            given_at: time(feedback::given_at(feedback)?),
            given_by: feedback.by.as_deref().unwrap_or_default(),
            label: &feedback.label,
            feedback: json,
            origin_topic: &origin.topic,
            origin_partition: origin.partition,
            origin_offset: origin.offset,
            // The earlier it was read the later it is written: so the first place stays.
            written: origin.offset.saturating_neg().saturating_sub(1),
        })
    }
}

impl Kept {
    pub(super) fn into_row(self) -> Result<FeedbackRow, StoreError> {
        let feedback =
            serde_json::from_str(&self.feedback).map_err(|error| trouble::of_answer(&error))?;
        let Self { origin_topic: topic, origin_partition, origin_offset, .. } = self;
        let origin = Origin { topic, partition: origin_partition, offset: origin_offset };
        Ok(FeedbackRow { feedback, origin })
    }
}
