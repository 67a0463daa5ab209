//! A verdict as a row of `verdicts_by_id` and as an entry of `verdicts_by_source_day`.
//!
//! The verdict is read back from its JSON alone: one cell is written or not, so no reader sees half of one verdict and half of
//! another, not even where two were written with the same time.
#![expect(clippy::ref_option_ref, reason = "what `SerializeRow` derives has it")]

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use schemas::{ReviewId, Verdict};
use scylla::{
    SerializeRow,
    value::{CqlDate, CqlTimestamp},
};
use sha2::{Digest as _, Sha256};

use crate::{Row, SourceDay, StoreError};

/// Partitions over which the reviews of one source and day are spread. Part of the tables: never change it.
pub(super) const BUCKETS: u8 = 16;

/// The day 0 of CQL's dates lies 2^31 days before 1970.
const DAY_ZERO: i64 = 1 << 31;

/// A row, ready to be written.
pub(super) struct Columns<'a> {
    row: &'a Row,
    json: String,
    metadata: String,
    place: SourceDay,
    ttl: i32,
}

/// What is written into `verdicts_by_id`.
#[derive(SerializeRow)]
pub(super) struct ById<'a> {
    id: &'a str,
    verdict: &'a str,
    written_at_us: i64,
    review: &'a str,
    review_sha256: &'a str,
    label: &'a str,
    confidence: f32,
    probabilities: &'a BTreeMap<String, f32>,
    model_name: &'a str,
    model_version: &'a str,
    model_digest: &'a str,
    tokens: i64,
    truncated: bool,
    source: &'a str,
    language: &'a str,
    metadata: &'a str,
    origin_topic: Option<&'a str>,
    origin_partition: Option<i32>,
    origin_offset: Option<i64>,
    occurred_at: CqlTimestamp,
    received_at: CqlTimestamp,
    scored_at: CqlTimestamp,
    queue_ms: f64,
    inference_ms: f64,
    batch_size: i64,
    trace_id: &'a str,
    schema_version: i32,
    written: i64,
    ttl: i32,
}

/// What is written into `verdicts_by_source_day`.
#[derive(SerializeRow)]
pub(super) struct BySourceDay<'a> {
    source: &'a str,
    day: CqlDate,
    bucket: i16,
    occurred_at: CqlTimestamp,
    id: &'a str,
    label: &'a str,
    confidence: f32,
    model_name: &'a str,
    model_version: &'a str,
    written: i64,
    ttl: i32,
}

impl<'a> Columns<'a> {
    /// `Refused` where a number is not finite. `ttl` in seconds, 0 for ever.
    pub(super) fn of(row: &'a Row, ttl: i32) -> Result<Self, StoreError> {
        let metadata = row.verdict.metadata.as_ref().map(serde_json::to_string).transpose();
        Ok(Self {
            row,
            json: row.json()?,
            metadata: metadata.map_err(|error| row.refused(error))?.unwrap_or_default(),
            place: SourceDay::of(&row.verdict),
            ttl,
        })
    }

    pub(super) fn by_id(&self) -> ById<'_> {
        let Row { verdict, written_at_us } = self.row;
        let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
        let origin = verdict.origin.as_ref();
        ById {
            id: verdict.id.as_str(),
            verdict: &self.json,
            written_at_us: *written_at_us,
            review: text(&verdict.review),
            review_sha256: &verdict.review_sha256,
            label: &verdict.label,
            confidence: verdict.confidence,
            probabilities: &verdict.probabilities,
            model_name: &verdict.model.name,
            model_version: &verdict.model.version,
            model_digest: &verdict.model.digest,
            tokens: verdict.tokens.into(),
            truncated: verdict.truncated,
            source: text(&verdict.source),
            language: text(&verdict.language),
            metadata: &self.metadata,
            origin_topic: origin.map(|origin| origin.topic.as_str()),
            origin_partition: origin.map(|origin| origin.partition),
            origin_offset: origin.map(|origin| origin.offset),
            occurred_at: time(verdict.occurred_at),
            received_at: time(verdict.received_at),
            scored_at: time(verdict.scored_at),
            queue_ms: verdict.queue_ms,
            inference_ms: verdict.inference_ms,
            batch_size: verdict.batch_size.into(),
            trace_id: text(&verdict.trace_id),
            schema_version: verdict.schema_version.into(),
            written: *written_at_us,
            ttl: self.ttl,
        }
    }

    pub(super) fn by_source_day(&self) -> BySourceDay<'_> {
        let Row { verdict, written_at_us } = self.row;
        BySourceDay {
            source: &self.place.source,
            day: date(self.place.day),
            bucket: bucket(&verdict.id),
            occurred_at: time(verdict.occurred_at),
            id: verdict.id.as_str(),
            label: &verdict.label,
            confidence: verdict.confidence,
            model_name: &verdict.model.name,
            model_version: &verdict.model.version,
            written: *written_at_us,
            ttl: self.ttl,
        }
    }
}

/// Whether an entry of `place` at `occurred_at` is the one that `verdict` has now.
pub(super) fn is_listed_at(verdict: &Verdict, place: &SourceDay, occurred_at: Timestamp) -> bool {
    time(verdict.occurred_at) == time(occurred_at) && SourceDay::of(verdict) == *place
}

/// The partition of a source and day in which a review is.
fn bucket(id: &ReviewId) -> i16 {
    let hash = Sha256::digest(id.as_str());
    (hash.first().copied().unwrap_or_default() % BUCKETS).into()
}

/// To the millisecond, as CQL has it.
pub(super) fn time(time: Timestamp) -> CqlTimestamp {
    CqlTimestamp(time.as_millisecond())
}

/// Days since 1970, counted from [`DAY_ZERO`].
pub(super) fn date(date: Date) -> CqlDate {
    let days = date.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24;
    CqlDate(u32::try_from(days + DAY_ZERO).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_cql_counts_them() {
        let check = |day: &str, expected: u32| assert_eq!(date(day.parse().unwrap()).0, expected);
        check("1970-01-01", 1 << 31);
        check("1969-12-31", (1 << 31) - 1);
        check("2025-03-01", (1 << 31) + 20_148);
    }

    /// Rows are found by it for ever.
    #[test]
    fn a_review_stays_in_its_bucket() {
        let check =
            |id: &str, expected: i16| assert_eq!(bucket(&ReviewId::new(id).unwrap()), expected);
        check("a", 10);
        check("b", 14);
    }
}
