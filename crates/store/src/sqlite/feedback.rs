//! Feedback as a row of `feedback`, and back.

use jiff::Timestamp;
use rusqlite::ToSql;
use schemas::Feedback;

use super::columns::{parsed, time};
use crate::{StoreError, feedback};

/// The same feedback is kept once.
pub(super) const INSERT: &str = "
    INSERT INTO feedback (id, given_at, given_by, label) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";

/// Read by [`read`].
pub(super) const SELECT: &str = "
    SELECT id, given_at, given_by, label FROM feedback WHERE id = ?1
    ORDER BY given_at, coalesce(given_by, ''), label";

/// Feedback whose time is text already.
pub(super) struct FeedbackColumns {
    feedback: Feedback,
    given_at: String,
}

impl FeedbackColumns {
    /// `Refused` where it is no feedback.
    pub(super) fn of(feedback: &Feedback) -> Result<Self, StoreError> {
        let given_at = time(feedback::given_at(feedback)?);
        Ok(Self { feedback: feedback.clone(), given_at })
    }

    /// In the order of [`INSERT`].
    pub(super) fn params(&self) -> [&dyn ToSql; 4] {
        let feedback = &self.feedback;
        [&feedback.id, &self.given_at, &feedback.by, &feedback.label]
    }
}

/// A row of [`SELECT`].
pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Feedback> {
    let given_at: Timestamp = parsed(1, row.get::<_, String>(1)?.parse())?;
    Ok(Feedback { id: row.get(0)?, label: row.get(3)?, by: row.get(2)?, given_at: Some(given_at) })
}
