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

fn refuse(delivery: &Delivery, class: &str, message: String, now: Timestamp) -> RefusedRecord {
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
