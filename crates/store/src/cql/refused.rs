//! A refused record as a row of `refused_records`, and back.
#![expect(clippy::ref_option_ref, reason = "what `SerializeRow` derives has it")]

use jiff::Timestamp;
use schemas::Record;
use scylla::{DeserializeRow, SerializeRow};

use super::trouble;
use crate::{RefusedRecord, StoreError, headers};

/// Offsets of one topic and partition that share a partition of the table. Part of the table: never change it.
const SLICE: i64 = 4_096;

/// What is written into `refused_records`.
#[derive(SerializeRow)]
pub(super) struct Columns<'a> {
    topic: &'a str,
    partition: i32,
    slice: i64,
    offset: i64,
    record_digest: String,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: String,
    timestamp_ms: Option<i64>,
    class: &'a str,
    message: &'a str,
    refused_at: String,
    written: i64,
    ttl: i32,
}

/// What is read from `refused_records`.
#[derive(DeserializeRow)]
pub(super) struct Kept {
    topic: String,
    partition: i32,
    offset: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: String,
    timestamp_ms: Option<i64>,
    class: String,
    message: String,
    refused_at: String,
}

impl<'a> Columns<'a> {
    pub(super) fn of(refused: &'a RefusedRecord, ttl: i32) -> Result<Self, StoreError> {
        let record = &refused.record;
        let headers = headers::to_json(&record.headers)
            .map_err(|error| StoreError::Refused(format!("headers of a record: {error}")))?;
        Ok(Self {
            topic: &refused.topic,
            partition: refused.partition,
            slice: refused.offset.div_euclid(SLICE),
            offset: refused.offset,
            record_digest: refused.record_digest(),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers,
            timestamp_ms: record.timestamp_ms,
            class: &refused.class,
            message: &refused.message,
            refused_at: format!("{:.9}", refused.refused_at),
            // The earlier it was refused the later it is written: so the first reason stays.
            written: refused.refused_at.as_microsecond().saturating_neg(),
            ttl,
        })
    }
}

impl Kept {
    pub(super) fn into_refused(self) -> Result<RefusedRecord, StoreError> {
        let refused_at: Timestamp =
            self.refused_at.parse().map_err(|error| trouble::of_answer(&error))?;
        let headers =
            headers::from_json(&self.headers).map_err(|error| trouble::of_answer(&error))?;
        Ok(RefusedRecord {
            topic: self.topic,
            partition: self.partition,
            offset: self.offset,
            record: Record {
                key: self.key,
                value: self.value,
                headers,
                timestamp_ms: self.timestamp_ms,
            },
            class: self.class,
            message: self.message,
            refused_at,
        })
    }
}
