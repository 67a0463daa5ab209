//! A refused record as a row of `refused_records`, and back.

use rusqlite::ToSql;
use schemas::Record;

use super::columns::{parsed, time};
use crate::{RefusedRecord, StoreError, headers};

/// The same record from the same place is kept once.
pub(super) const INSERT: &str = r#"
    INSERT INTO refused_records (
        topic, partition, "offset", key, value, headers, timestamp_ms, class, message, refused_at, record_digest
    ) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT (topic, partition, "offset", record_digest) DO NOTHING"#;

/// Read by [`read`].
pub(super) const SELECT: &str = r#"
    SELECT topic, partition, "offset", key, value, headers, timestamp_ms, class, message, refused_at
    FROM refused_records ORDER BY number DESC LIMIT ?1"#;

/// Read by [`read_numbered`].
pub(super) const SELECT_ALL: &str = r#"
    SELECT topic, partition, "offset", key, value, headers, timestamp_ms, class, message, refused_at, number
    FROM refused_records WHERE ?1 < number ORDER BY number LIMIT ?2"#;

/// A refused record whose compound values are text already.
pub(super) struct RefusedColumns {
    refused: RefusedRecord,
    headers: String,
    refused_at: String,
    digest: String,
}

impl RefusedColumns {
    pub(super) fn of(refused: &RefusedRecord) -> Result<Self, StoreError> {
        let headers = headers::to_json(&refused.record.headers)
            .map_err(|error| StoreError::Refused(format!("headers of a record: {error}")))?;
        Ok(Self {
            headers,
            refused_at: time(refused.refused_at),
            digest: refused.record_digest(),
            refused: refused.clone(),
        })
    }

    /// In the order of [`INSERT`].
    pub(super) fn params(&self) -> [&dyn ToSql; 11] {
        let refused = &self.refused;
        [
            &refused.topic,
            &refused.partition,
            &refused.offset,
            &refused.record.key,
            &refused.record.value,
            &self.headers,
            &refused.record.timestamp_ms,
            &refused.class,
            &refused.message,
            &self.refused_at,
            &self.digest,
        ]
    }
}

/// A row of [`SELECT`].
pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<RefusedRecord> {
    let text = |index: usize| row.get::<_, String>(index);
    Ok(RefusedRecord {
        topic: text(0)?,
        partition: row.get(1)?,
        offset: row.get(2)?,
        record: Record {
            key: row.get(3)?,
            value: row.get(4)?,
            headers: parsed(5, headers::from_json(&text(5)?))?,
            timestamp_ms: row.get(6)?,
        },
        class: text(7)?,
        message: text(8)?,
        refused_at: parsed(9, text(9)?.parse())?,
    })
}

/// A row of [`SELECT_ALL`], after its number.
pub(super) fn read_numbered(row: &rusqlite::Row<'_>) -> rusqlite::Result<(i64, RefusedRecord)> {
    Ok((row.get(10)?, read(row)?))
}
