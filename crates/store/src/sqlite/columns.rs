//! A verdict as a row of `verdicts_by_id`, and back.

use std::error::Error;

use jiff::Timestamp;
use rusqlite::{ToSql, types::Type};
use schemas::{ModelRef, Origin, ReviewId, Verdict};

use crate::{Row, StoreError};

/// Of two rows of one review the one that outranks the other stays; see [`Row::outranks`].
pub(super) const UPSERT: &str = "
    INSERT INTO verdicts_by_id (
        id, review, review_sha256, label, confidence, probabilities, model_name, model_version, model_digest, tokens,
        truncated, source, language, metadata, origin_topic, origin_partition, origin_offset, occurred_at, received_at,
        scored_at, queue_ms, inference_ms, batch_size, trace_id, schema_version, written_at_us, digest,
        drift, precision
    ) VALUES (
        ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25,
        ?26, ?27, ?28, ?29
    ) ON CONFLICT (id) DO UPDATE SET
        review = excluded.review, review_sha256 = excluded.review_sha256, label = excluded.label,
        confidence = excluded.confidence, probabilities = excluded.probabilities, model_name = excluded.model_name,
        model_version = excluded.model_version, model_digest = excluded.model_digest, tokens = excluded.tokens,
        truncated = excluded.truncated, source = excluded.source, language = excluded.language,
        metadata = excluded.metadata, origin_topic = excluded.origin_topic, origin_partition = excluded.origin_partition,
        origin_offset = excluded.origin_offset, occurred_at = excluded.occurred_at, received_at = excluded.received_at,
        scored_at = excluded.scored_at, queue_ms = excluded.queue_ms, inference_ms = excluded.inference_ms,
        batch_size = excluded.batch_size, trace_id = excluded.trace_id, schema_version = excluded.schema_version,
        written_at_us = excluded.written_at_us, digest = excluded.digest, drift = excluded.drift,
        precision = excluded.precision
    WHERE (written_at_us, digest) < (excluded.written_at_us, excluded.digest)";

/// Which rows of `verdicts_by_id`, to be read by [`read`].
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT id, review, review_sha256, label, confidence, probabilities, model_name, model_version, model_digest, \
             tokens, truncated, source, language, metadata, origin_topic, origin_partition, origin_offset, occurred_at, \
             received_at, scored_at, queue_ms, inference_ms, batch_size, trace_id, schema_version, written_at_us, drift, \
             precision \
             FROM verdicts_by_id WHERE ",
            $which
        )
    };
}

/// One review.
pub(super) const SELECT: &str = select!("id = ?1");

/// All reviews after one, in the order of their ids.
pub(super) const SELECT_ALL: &str = select!("?1 < id ORDER BY id LIMIT ?2");

/// Of one source and day, all after a time and id, in that order.
pub(super) const SELECT_DAY: &str = select!(
    "source = ?1 AND day = ?2 AND (?3, ?4) < (occurred_at, id) ORDER BY occurred_at, id LIMIT ?5"
);

/// The same for reviews without a source.
pub(super) const SELECT_DAY_WITHOUT_SOURCE: &str = select!(
    "(source IS NULL OR source = ?1) AND day = ?2 AND (?3, ?4) < (occurred_at, id) \
     ORDER BY occurred_at, id LIMIT ?5"
);

/// A row whose compound values are text already, so that nothing but `SQLite`'s own work is done on its thread.
pub(super) struct Columns {
    id: String,
    verdict: Verdict,
    probabilities: String,
    drift: Option<String>,
    metadata: Option<String>,
    origin_topic: Option<String>,
    origin_partition: Option<i32>,
    origin_offset: Option<i64>,
    occurred_at: String,
    received_at: String,
    scored_at: String,
    written_at_us: i64,
    digest: String,
}

impl Columns {
    /// `Refused` where a number is not finite.
    pub(super) fn of(row: &Row) -> Result<Self, StoreError> {
        let mut verdict = row.verdict.clone();
        let json = |result: serde_json::Result<String>| result.map_err(|error| row.refused(error));
        let drift = verdict.drift.take();
        let metadata = verdict.metadata.take();
        let origin = verdict.origin.take();
        Ok(Self {
            id: verdict.id.to_string(),
            probabilities: json(serde_json::to_string(&verdict.probabilities))?,
            drift: drift.map(|features| json(serde_json::to_string(&features))).transpose()?,
            metadata: metadata.map(|map| json(serde_json::to_string(&map))).transpose()?,
            origin_partition: origin.as_ref().map(|origin| origin.partition),
            origin_offset: origin.as_ref().map(|origin| origin.offset),
            origin_topic: origin.map(|origin| origin.topic),
            occurred_at: time(verdict.occurred_at),
            received_at: time(verdict.received_at),
            scored_at: time(verdict.scored_at),
            written_at_us: row.written_at_us,
            digest: row.digest()?,
            verdict,
        })
    }

    /// In the order of [`UPSERT`].
    pub(super) fn params(&self) -> [&dyn ToSql; 29] {
        let verdict = &self.verdict;
        [
            &self.id,
            &verdict.review,
            &verdict.review_sha256,
            &verdict.label,
            &verdict.confidence,
            &self.probabilities,
            &verdict.model.name,
            &verdict.model.version,
            &verdict.model.digest,
            &verdict.tokens,
            &verdict.truncated,
            &verdict.source,
            &verdict.language,
            &self.metadata,
            &self.origin_topic,
            &self.origin_partition,
            &self.origin_offset,
            &self.occurred_at,
            &self.received_at,
            &self.scored_at,
            &verdict.queue_ms,
            &verdict.inference_ms,
            &verdict.batch_size,
            &verdict.trace_id,
            &verdict.schema_version,
            &self.written_at_us,
            &self.digest,
            &self.drift,
            &verdict.precision,
        ]
    }
}

/// A row of any `select!`.
pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let text = |index: usize| row.get::<_, String>(index);
    let metadata: Option<String> = row.get(13)?;
    let drift: Option<String> = row.get(26)?;
    let origin_topic: Option<String> = row.get(14)?;
    let origin = match origin_topic {
        Some(topic) => Some(Origin { topic, partition: row.get(15)?, offset: row.get(16)? }),
        None => None,
    };
    let verdict = Verdict {
        id: parsed(0, ReviewId::new(text(0)?))?,
        review: row.get(1)?,
        review_sha256: text(2)?,
        label: text(3)?,
        confidence: row.get(4)?,
        probabilities: parsed(5, serde_json::from_str(&text(5)?))?,
        model: ModelRef { name: text(6)?, version: text(7)?, digest: text(8)? },
        precision: row.get(27)?,
        tokens: row.get(9)?,
        truncated: row.get(10)?,
        drift: drift.map(|json| parsed(26, serde_json::from_str(&json))).transpose()?,
        source: row.get(11)?,
        language: row.get(12)?,
        metadata: metadata.map(|json| parsed(13, serde_json::from_str(&json))).transpose()?,
        origin,
        occurred_at: parsed(17, text(17)?.parse())?,
        received_at: parsed(18, text(18)?.parse())?,
        scored_at: parsed(19, text(19)?.parse())?,
        queue_ms: row.get(20)?,
        inference_ms: row.get(21)?,
        batch_size: row.get(22)?,
        trace_id: row.get(23)?,
        schema_version: row.get(24)?,
    };
    Ok(Row { verdict, written_at_us: row.get(25)? })
}

/// RFC 3339 with all nine decimals: exact, and the order of the texts is the order of the times.
pub(super) fn time(time: Timestamp) -> String {
    format!("{time:.9}")
}

/// A value of column `index` that was text; an error says that the column holds something that we never write.
pub(super) fn parsed<T, E>(index: usize, result: Result<T, E>) -> rusqlite::Result<T>
where
    E: Error + Send + Sync + 'static,
{
    result.map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
    })
}
