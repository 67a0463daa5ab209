//! What is read, what is to be written, and how far reading has come.

use std::{collections::BTreeMap, sync::Arc};

use schemas::Record;

/// A record, and where it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// The record.
    pub record: Record,
}

/// A record, and the topic it is to be written to. The record's key picks the partition (`murmur2_random`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Topic.
    pub topic: Arc<str>,
    /// The record.
    pub record: Record,
}

/// The next offset to read, by topic and partition: always the last offset dealt with plus one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress(pub BTreeMap<(Arc<str>, i32), i64>);

impl Progress {
    /// Notes that `delivery` has been dealt with. Never goes back.
    pub fn advance(&mut self, delivery: &Delivery) {
        let next = delivery.offset.saturating_add(1);
        let entry = self.0.entry((Arc::clone(&delivery.topic), delivery.partition)).or_insert(next);
        *entry = next.max(*entry);
    }

    /// The progress of all of `deliveries`.
    pub fn of<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>) -> Self {
        let mut progress = Self::default();
        for delivery in deliveries {
            progress.advance(delivery);
        }
        progress
    }
}
