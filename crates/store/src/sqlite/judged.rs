//! A judged window as a row of `judged_windows`, and back.

use rusqlite::ToSql;
use schemas::ModelRef;

use super::columns::{parsed, time};
use crate::{JudgedWindow, StoreError};

/// Of two judgements of one window the later stays.
pub(super) const UPSERT: &str = "
    INSERT INTO judged_windows (
        model_name, model_version, model_digest, window, first_at, last_at, n, alerting, estimated_accuracy,
        realised_accuracy, judged_at, judgement
    ) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    ON CONFLICT (model_digest, window, last_at) DO UPDATE SET
        n = excluded.n, first_at = excluded.first_at, alerting = excluded.alerting,
        estimated_accuracy = excluded.estimated_accuracy, realised_accuracy = excluded.realised_accuracy,
        judged_at = excluded.judged_at, judgement = excluded.judgement
    WHERE judged_at <= excluded.judged_at";

/// Read by [`read`].
pub(super) const SELECT: &str = "
    SELECT model_name, model_version, model_digest, window, first_at, last_at, n, alerting, estimated_accuracy,
        realised_accuracy, judged_at, judgement
    FROM judged_windows WHERE ?1 <= last_at AND last_at < ?2
    ORDER BY last_at DESC, model_digest DESC, window DESC LIMIT ?3";

/// A judged window whose compound values are text already.
pub(super) struct JudgedColumns {
    judged: JudgedWindow,
    first_at: String,
    last_at: String,
    n: i64,
    alerting: String,
    judged_at: String,
}

impl JudgedColumns {
    pub(super) fn of(judged: &JudgedWindow) -> Result<Self, StoreError> {
        let alerting = serde_json::to_string(&judged.alerting)
            .map_err(|error| StoreError::Refused(format!("signals of a window: {error}")))?;
        Ok(Self {
            first_at: time(judged.first_at),
            last_at: time(judged.last_at),
            n: judged.n_signed(),
            alerting,
            judged_at: time(judged.judged_at),
            judged: judged.clone(),
        })
    }

    /// In the order of [`UPSERT`].
    pub(super) fn params(&self) -> [&dyn ToSql; 12] {
        let judged = &self.judged;
        [
            &judged.model.name,
            &judged.model.version,
            &judged.model.digest,
            &judged.window,
            &self.first_at,
            &self.last_at,
            &self.n,
            &self.alerting,
            &judged.estimated_accuracy,
            &judged.realised_accuracy,
            &self.judged_at,
            &judged.judgement,
        ]
    }
}

/// A row of [`SELECT`].
pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<JudgedWindow> {
    let text = |index: usize| row.get::<_, String>(index);
    Ok(JudgedWindow {
        model: ModelRef { name: text(0)?, version: text(1)?, digest: text(2)? },
        window: row.get(3)?,
        first_at: parsed(4, text(4)?.parse())?,
        last_at: parsed(5, text(5)?.parse())?,
        n: u64::try_from(row.get::<_, i64>(6)?).unwrap_or_default(),
        alerting: parsed(7, serde_json::from_str(&text(7)?))?,
        estimated_accuracy: row.get(8)?,
        realised_accuracy: row.get(9)?,
        judged_at: parsed(10, text(10)?.parse())?,
        judgement: text(11)?,
    })
}
