//! Feedback as a row of `feedback`, and back.

use jiff::Timestamp;
use rusqlite::ToSql;
use schemas::{Feedback, Origin};

use super::columns::{parsed, time};
use crate::{FeedbackRow, StoreError, feedback};

/// The same feedback is kept once; of two places the lower offset stays, see [`FeedbackRow`].
pub(super) const INSERT: &str = "
    INSERT INTO feedback (id, given_at, given_by, label, origin_topic, origin_partition, origin_offset)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (id, given_at, coalesce(given_by, ''), label) DO UPDATE SET
        given_by = excluded.given_by, origin_topic = excluded.origin_topic,
        origin_partition = excluded.origin_partition, origin_offset = excluded.origin_offset
    WHERE (excluded.origin_offset, excluded.origin_partition, excluded.origin_topic)
        < (origin_offset, origin_partition, origin_topic)";

/// Read by [`read`].
pub(super) const SELECT: &str = "
    SELECT id, given_at, given_by, label, origin_topic, origin_partition, origin_offset FROM feedback WHERE id = ?1
    ORDER BY given_at, coalesce(given_by, ''), label";

/// Read by [`read_numbered`].
pub(super) const SELECT_ALL: &str = "
    SELECT id, given_at, given_by, label, origin_topic, origin_partition, origin_offset, rowid FROM feedback
    WHERE ?1 < rowid ORDER BY rowid LIMIT ?2";

/// Feedback whose time is text already.
pub(super) struct FeedbackColumns {
    row: FeedbackRow,
    given_at: String,
}

impl FeedbackColumns {
    /// `Refused` where it is no feedback.
    pub(super) fn of(row: &FeedbackRow) -> Result<Self, StoreError> {
        let given_at = time(feedback::given_at(&row.feedback)?);
        Ok(Self { row: row.clone(), given_at })
    }

    /// In the order of [`INSERT`].
    pub(super) fn params(&self) -> [&dyn ToSql; 7] {
        let FeedbackRow { feedback, origin } = &self.row;
        [
            &feedback.id,
            &self.given_at,
            &feedback.by,
            &feedback.label,
            &origin.topic,
            &origin.partition,
            &origin.offset,
        ]
    }
}

/// A row of [`SELECT`].
pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<FeedbackRow> {
    let given_at: Timestamp = parsed(1, row.get::<_, String>(1)?.parse())?;
    Ok(FeedbackRow {
        feedback: Feedback {
            id: row.get(0)?,
            label: row.get(3)?,
            by: row.get(2)?,
            given_at: Some(given_at),
        },
        origin: Origin { topic: row.get(4)?, partition: row.get(5)?, offset: row.get(6)? },
    })
}

/// A row of [`SELECT_ALL`], after its number.
pub(super) fn read_numbered(row: &rusqlite::Row<'_>) -> rusqlite::Result<(i64, FeedbackRow)> {
    Ok((row.get(7)?, read(row)?))
}
