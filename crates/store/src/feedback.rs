//! Which feedback a store keeps.

use jiff::Timestamp;
use schemas::Feedback;

use crate::StoreError;

/// The time of `feedback`; `Refused` where it has none, or where its id or label cannot be.
pub(crate) fn given_at(feedback: &Feedback) -> Result<Timestamp, StoreError> {
    let refused = |reason: String| {
        StoreError::Refused(format!("feedback on review {}: {reason}", feedback.id))
    };
    feedback.check().map_err(|error| refused(error.to_string()))?;
    feedback.given_at.ok_or_else(|| refused("nobody says when it was given".to_owned()))
}
