//! What a round holds, and how far it may be remembered.
//!
//! Pure: the [writer](crate::writer) does what has to be done and notes it here.

use std::collections::BTreeSet;

use broker::{Delivery, Progress};
use jiff::Timestamp;
use schemas::{Verdict, verdict::InvalidVerdict};
use store::{RefusedRecord, Row};

/// The records of one poll, in the order in which they were read.
#[derive(Debug)]
pub struct Round {
    deliveries: Vec<Delivery>,
    /// By position in `deliveries`: whether it is a row or a refused record, durably.
    durable: Vec<bool>,
    rows: Vec<Row>,
    /// By position in `rows`: the position in `deliveries`.
    sources: Vec<usize>,
    /// Records that are no verdicts, with their positions in `deliveries`.
    invalid: Vec<(usize, RefusedRecord)>,
}

impl Round {
    /// Reads each of `deliveries` as a verdict. `now` is the time at which those that are none are refused.
    pub fn new(deliveries: Vec<Delivery>, now: Timestamp) -> Self {
        let mut round = Self {
            durable: vec![false; deliveries.len()],
            rows: Vec::with_capacity(deliveries.len()),
            sources: Vec::with_capacity(deliveries.len()),
            invalid: Vec::new(),
            deliveries: Vec::new(),
        };
        for (position, delivery) in deliveries.iter().enumerate() {
            match Verdict::from_record(&delivery.record) {
                Ok(verdict) => {
                    round.rows.push(Row::new(verdict));
                    round.sources.push(position);
                }
                Err(error) => {
                    let class = match error {
                        InvalidVerdict::Null => "NullValue",
                        InvalidVerdict::Json(_) => "InvalidVerdict",
                    };
                    let refused = refuse(delivery, class, error.to_string(), now);
                    round.invalid.push((position, refused));
                }
            }
        }
        round.deliveries = deliveries;
        round
    }

    /// The rows to be written.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The index of the row that the record at `position` is to become. `None` where it is no verdict.
    pub(crate) fn row_of(&self, position: usize) -> Option<usize> {
        // Records are read in their order.
        self.sources.binary_search(&position).ok()
    }

    /// The records that are no verdicts.
    pub fn invalid(&self) -> Vec<RefusedRecord> {
        self.invalid.iter().map(|(_position, refused)| refused.clone()).collect()
    }

    /// The record of the row at `index`, refused by the store with `message` at `now`. `None` where there is no such row.
    pub fn refused_row(
        &self,
        index: usize,
        message: String,
        now: Timestamp,
    ) -> Option<RefusedRecord> {
        let delivery = self.deliveries.get(*self.sources.get(index)?)?;
        Some(refuse(delivery, "StoreRefused", message, now))
    }

    /// Notes that the rows at `indexes` are durable, as rows or as refused records.
    pub fn rows_are_durable(&mut self, indexes: impl IntoIterator<Item = usize>) {
        for index in indexes {
            let position = self.sources.get(index).copied();
            self.is_durable(position);
        }
    }

    /// Notes that the records that are no verdicts are durable, as refused records.
    pub fn invalid_are_durable(&mut self) {
        let positions: Vec<_> = self.invalid.iter().map(|(position, _)| *position).collect();
        for position in positions {
            self.is_durable(Some(position));
        }
    }

    fn is_durable(&mut self, position: Option<usize>) {
        if let Some(durable) = position.and_then(|position| self.durable.get_mut(position)) {
            *durable = true;
        }
    }

    /// How far the round may be remembered: in each partition up to the first record that is not durable.
    pub fn progress(&self) -> Progress {
        let mut progress = Progress::default();
        let mut blocked = BTreeSet::new();
        for (delivery, durable) in self.deliveries.iter().zip(&self.durable) {
            let partition = (&delivery.topic, delivery.partition);
            if !durable {
                blocked.insert(partition);
            }
            if !blocked.contains(&partition) {
                progress.advance(delivery);
            }
        }
        progress
    }
}

/// The record of `delivery` as it is kept, with the class of its error and the error in words.
pub(crate) fn refuse(
    delivery: &Delivery,
    class: &str,
    message: String,
    now: Timestamp,
) -> RefusedRecord {
    RefusedRecord {
        topic: delivery.topic.to_string(),
        partition: delivery.partition,
        offset: delivery.offset,
        record: delivery.record.clone(),
        class: class.to_owned(),
        message,
        refused_at: now,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::Record;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// A verdict that only a reader of JSON would take for one.
    const VERDICT: &str = r#"{"schema_version": 1, "id": "a", "review_sha256": "", "label": "positive", "confidence": 1,
        "probabilities": {}, "model": {"name": "m", "version": "1", "digest": ""}, "tokens": 1, "truncated": false,
        "occurred_at": "2025-01-01T00:00:00Z", "received_at": "2025-01-01T00:00:00Z",
        "scored_at": "2025-01-01T00:00:00.000007Z", "queue_ms": 0, "inference_ms": 0, "batch_size": 1, "new_field": []}"#;

    fn delivery(partition: i32, offset: i64, value: Option<&str>) -> Delivery {
        let value = value.map(|value| value.as_bytes().to_vec());
        let record = Record { value, ..Record::default() };
        Delivery { topic: Arc::from("verdicts.v1"), partition, offset, record }
    }

    /// Two partitions, interleaved: offsets 5, 6 and 7 of one, 1 and 2 of the other; 6 is no verdict.
    fn round() -> Round {
        let deliveries = vec![
            delivery(0, 5, Some(VERDICT)),
            delivery(1, 1, Some(VERDICT)),
            delivery(0, 6, None),
            delivery(0, 7, Some(VERDICT)),
            delivery(1, 2, Some(VERDICT)),
        ];
        Round::new(deliveries, NOW)
    }

    #[track_caller]
    fn check(durable_rows: &[usize], invalid: bool, expected: &[(i32, i64)]) {
        let mut round = round();
        round.rows_are_durable(durable_rows.iter().copied());
        if invalid {
            round.invalid_are_durable();
        }
        let progress: Vec<_> = round
            .progress()
            .0
            .into_iter()
            .map(|((_, partition), next)| (partition, next))
            .collect();
        assert_eq!(progress, expected);
    }

    #[test]
    fn a_partition_is_remembered_up_to_its_first_record_that_is_not_durable() {
        check(&[], false, &[]);
        check(&[], true, &[]);
        check(&[0, 1, 2, 3], true, &[(0, 8), (1, 3)]);
        check(&[0, 1, 2, 3], false, &[(0, 6), (1, 3)]);
        check(&[0, 2], true, &[(0, 8)]);
        check(&[2, 3], true, &[]);
        check(&[1, 99], true, &[(1, 2)]);
    }

    #[test]
    fn what_is_no_verdict_is_refused_with_its_place_and_a_reason() {
        let values =
            [(None, "NullValue"), (Some(""), "InvalidVerdict"), (Some("{}"), "InvalidVerdict")];
        for (offset, (value, class)) in (3..).zip(values) {
            let delivery = delivery(2, offset, value);
            let round = Round::new(vec![delivery.clone()], NOW);
            assert!(round.rows().is_empty());
            let [refused] = &round.invalid()[..] else { panic!("{value:?} is taken") };
            assert_eq!(
                (refused.partition, refused.offset, refused.class.as_str()),
                (2, offset, class)
            );
            assert_eq!(refused.record, delivery.record);
            assert!(!refused.message.is_empty());
        }
    }

    #[test]
    fn a_record_is_found_again_as_its_row() {
        let found: Vec<_> = (0..6).map(|position| round().row_of(position)).collect();
        assert_eq!(found, [Some(0), Some(1), None, Some(2), Some(3), None]);
    }

    #[test]
    fn a_row_is_written_at_its_time_of_scoring() {
        let written_at_us = round().rows().first().map(|row| row.written_at_us);
        assert_eq!(written_at_us, Some(1_735_689_600_000_007));
    }
}
