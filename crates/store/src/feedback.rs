//! Feedback as a store keeps it: what was said, and where it was read.

use jiff::Timestamp;
use schemas::{Feedback, Origin};

use crate::StoreError;

/// Feedback, and where it was read.
///
/// All feedback on one review is in one partition, since its key is the review's id, so offsets say in which order it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedbackRow {
    /// What was said.
    pub feedback: Feedback,
    /// The record that said so first.
    pub origin: Origin,
}

impl FeedbackRow {
    /// Whether `self` was read before `other`: at a lower offset of the same partition. What was read elsewhere came neither
    /// before nor after it.
    pub fn is_before(&self, other: &Origin) -> bool {
        let Origin { topic, partition, offset } = &self.origin;
        (topic, partition) == (&other.topic, &other.partition) && *offset < other.offset
    }

    /// Whether `self` takes the place of `present`, which says the same: the one at the lower offset stays, so that it does not
    /// matter how often and in which order they are written.
    pub(crate) fn takes_the_place_of(&self, present: &Self) -> bool {
        self.order() < present.order()
    }

    fn order(&self) -> (i64, i32, &str) {
        let Origin { topic, partition, offset } = &self.origin;
        (*offset, *partition, topic)
    }
}

/// The time of `feedback`; `Refused` where it has none, or where its id or label cannot be.
pub(crate) fn given_at(feedback: &Feedback) -> Result<Timestamp, StoreError> {
    let refused = |reason: String| {
        StoreError::Refused(format!("feedback on review {}: {reason}", feedback.id))
    };
    feedback.check().map_err(|error| refused(error.to_string()))?;
    feedback.given_at.ok_or_else(|| refused("nobody says when it was given".to_owned()))
}
