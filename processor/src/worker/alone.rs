//! Finds the one record that the broker refuses, so that its neighbours get through.
//!
//! A topic may be configured to take less than what the line writes. Then a round is refused as a whole, and the same round
//! would be refused for ever: its records are read again one by one, and the one at fault becomes a small dead letter.

use std::{collections::BTreeMap, sync::Arc};

use broker::{Delivery, Progress};
use schemas::{Refusal, Stage};

/// What is known of refused rounds.
#[derive(Debug, Default)]
pub(super) struct Alone {
    /// Records to be read one by one.
    records_left: usize,
    /// Why the broker refused the record before this offset; cleared once its dead letter is committed.
    refused: BTreeMap<(Arc<str>, i32), (i64, String)>,
}

impl Alone {
    /// Most records in the next round.
    pub(super) fn records_max(&self, usual: usize) -> usize {
        if 0 < self.records_left { 1 } else { usual }
    }

    /// The broker refused a round of `records`.
    pub(super) fn note_refused(&mut self, records: usize, progress: &Progress, reason: &str) {
        self.records_left = self.records_left.max(records);
        if records == 1 {
            for (partition, next) in &progress.0 {
                self.refused.insert(partition.clone(), (*next, reason.to_owned()));
            }
        }
    }

    /// A round of `records` was committed.
    pub(super) fn note_committed(&mut self, records: usize, progress: &Progress) {
        self.records_left = self.records_left.saturating_sub(records);
        self.refused.retain(|partition, (next, _)| {
            progress.0.get(partition).is_none_or(|committed| committed < next)
        });
    }

    /// Why this record is not to be written as it is.
    pub(super) fn refusal(&self, delivery: &Delivery) -> Option<Refusal> {
        let (next, reason) =
            self.refused.get(&(Arc::clone(&delivery.topic), delivery.partition))?;
        let is_this = delivery.offset.saturating_add(1) == *next;
        is_this.then(|| Refusal::new(Stage::Validate, "RefusedByBroker", reason))
    }
}
