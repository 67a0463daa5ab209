//! A refused record as a row of `refused_records`, and back.

use rusqlite::ToSql;
use schemas::{Record, record::Header};
use serde::{Deserialize, Serialize};

use super::columns::{parsed, time};
use crate::{RefusedRecord, StoreError};

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

/// A refused record whose compound values are text already.
pub(super) struct RefusedColumns {
    refused: RefusedRecord,
    headers: String,
    refused_at: String,
    digest: String,
}

/// A header in JSON: as text where it is text, so that a reader of the table can read it.
#[derive(Serialize, Deserialize)]
struct HeaderColumn {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

/// Hex digits are not what they should be.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not hex")]
struct InvalidHex(String);

impl RefusedColumns {
    pub(super) fn of(refused: &RefusedRecord) -> Result<Self, StoreError> {
        let headers: Vec<_> = refused.record.headers.iter().map(HeaderColumn::of).collect();
        let headers = serde_json::to_string(&headers)
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
    let headers: Vec<HeaderColumn> = parsed(5, serde_json::from_str(&text(5)?))?;
    let headers = headers.into_iter().map(HeaderColumn::into_header).collect::<Result<_, _>>();
    Ok(RefusedRecord {
        topic: text(0)?,
        partition: row.get(1)?,
        offset: row.get(2)?,
        record: Record {
            key: row.get(3)?,
            value: row.get(4)?,
            headers: parsed(5, headers)?,
            timestamp_ms: row.get(6)?,
        },
        class: text(7)?,
        message: text(8)?,
        refused_at: parsed(9, text(9)?.parse())?,
    })
}

impl HeaderColumn {
    fn of(header: &Header) -> Self {
        let name = header.name.clone();
        match header.value.as_deref().map(|value| (value, std::str::from_utf8(value))) {
            None => Self { name, text: None, hex: None },
            Some((_, Ok(text))) => Self { name, text: Some(text.to_owned()), hex: None },
            Some((value, Err(_not_text))) => {
                Self { name, text: None, hex: Some(crate::row::hex(value)) }
            }
        }
    }

    fn into_header(self) -> Result<Header, InvalidHex> {
        let value = match (self.text, self.hex) {
            (Some(text), _) => Some(text.into_bytes()),
            (None, Some(hex)) => Some(bytes(&hex)?),
            (None, None) => None,
        };
        Ok(Header { name: self.name, value })
    }
}

/// The bytes behind hex digits.
fn bytes(hex: &str) -> Result<Vec<u8>, InvalidHex> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).ok()?;
        u8::from_str_radix(digits, 16).ok()
    };
    digits.map(byte).collect::<Option<_>>().ok_or_else(|| InvalidHex(hex.to_owned()))
}
