//! What was read of each partition and is not yet committed: pure bookkeeping, shared by Kafka and its twin.

use std::{collections::BTreeMap, sync::Arc};

use crate::delivery::{Delivery, Progress};

/// A partition of a topic.
pub(crate) type Partition = (Arc<str>, i32);

/// The records in hand, as a span of offsets by partition. Rounds are not told apart: they are commits of ever higher
/// offsets of the same spans, so that several may be in hand, and a commit needs only to lie within them.
///
/// A commit is refused when its partition has nothing in hand: it was revoked, or the exchange has gone back, since the
/// round was polled.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    held: BTreeMap<Partition, Span>,
    lost: Option<Partition>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    /// The first offset in hand. A commit that reaches no further commits nothing, or commits it a second time.
    first: i64,
    /// The last offset in hand, plus one.
    next: i64,
}

impl Ledger {
    /// Notes that a record is in hand.
    pub(crate) fn take(&mut self, delivery: &Delivery) {
        let next = delivery.offset.saturating_add(1);
        let partition = (Arc::clone(&delivery.topic), delivery.partition);
        self.held.entry(partition).or_insert(Span { first: delivery.offset, next }).next = next;
    }

    /// Notes that the record at `offset` and those after it are no longer in hand.
    pub(crate) fn give_back(&mut self, partition: &Partition, offset: i64) {
        match self.held.get_mut(partition) {
            Some(span) if span.first < offset => span.next = span.next.min(offset),
            _ => drop(self.held.remove(partition)),
        }
    }

    /// Why `progress` may not be committed, if so.
    pub(crate) fn refusal(&self, progress: &Progress) -> Option<String> {
        progress.0.iter().find_map(|(partition, &next)| {
            let (topic, number) = partition;
            match self.held.get(partition) {
                None => Some(format!(
                    "{topic}-{number} was revoked, or read anew, since the round was polled"
                )),
                Some(span) if next <= span.first => {
                    Some(format!("{topic}-{number} is committed past {next} already"))
                }
                Some(span) if span.next < next => {
                    Some(format!("{topic}-{number} was not read as far as {next}"))
                }
                Some(_) => None,
            }
        })
    }

    /// Notes that `progress` is committed.
    pub(crate) fn release(&mut self, progress: &Progress) {
        for (partition, &next) in &progress.0 {
            let Some(span) = self.held.get_mut(partition) else { continue };
            span.first = next;
            if span.next <= next {
                self.held.remove(partition);
            }
        }
    }

    /// Notes that a partition was taken away. It matters only when records of it are in hand.
    pub(crate) fn revoke(&mut self, partition: &Partition) {
        if self.held.remove(partition).is_some() {
            self.lost = Some(partition.clone());
        }
    }

    /// Why all rounds in hand must be dropped, if a partition of theirs was taken away.
    pub(crate) fn loss(&self) -> Option<String> {
        self.lost
            .as_ref()
            .map(|(topic, number)| format!("{topic}-{number} was revoked with records in hand"))
    }

    /// Notes that a partition was taken away, for a reader whose other partitions need not be read anew for that.
    pub(crate) fn forgive(&mut self) {
        self.lost = None;
    }

    /// The partitions with records in hand.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.held.keys()
    }

    /// Forgets all that is in hand: it will be read anew.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
        self.lost = None;
    }
}

#[cfg(test)]
mod tests {
    use schemas::Record;

    use super::*;

    fn delivery(partition: i32, offset: i64) -> Delivery {
        Delivery { topic: Arc::from("t"), partition, offset, record: Record::default() }
    }

    fn progress(partition: i32, next: i64) -> Progress {
        Progress(BTreeMap::from([((Arc::from("t"), partition), next)]))
    }

    fn holding(offsets: std::ops::Range<i64>) -> Ledger {
        let mut ledger = Ledger::default();
        for offset in offsets {
            ledger.take(&delivery(0, offset));
        }
        ledger
    }

    #[test]
    fn only_what_is_in_hand_may_be_committed() {
        let ledger = holding(5..9);
        let check = |partition, next, allowed| {
            assert_eq!(
                ledger.refusal(&progress(partition, next)).is_none(),
                allowed,
                "{partition} {next}"
            );
        };
        check(0, 5, false);
        check(0, 6, true);
        check(0, 9, true);
        check(0, 10, false);
        check(1, 1, false);
    }

    #[test]
    fn rounds_are_committed_one_after_the_other_and_none_twice() {
        let mut ledger = holding(0..8);
        for next in [4, 8] {
            assert_eq!(ledger.refusal(&progress(0, next)), None);
            ledger.release(&progress(0, next));
            assert!(ledger.refusal(&progress(0, next)).is_some());
        }
        assert_eq!(ledger.partitions().count(), 0);
    }

    #[test]
    fn losing_a_partition_matters_only_with_records_in_hand() {
        let mut ledger = holding(0..2);
        ledger.revoke(&(Arc::from("t"), 1));
        assert_eq!(ledger.loss(), None);
        ledger.revoke(&(Arc::from("t"), 0));
        assert!(ledger.loss().is_some());
        assert!(ledger.refusal(&progress(0, 2)).is_some());
        ledger.clear();
        assert_eq!(ledger.loss(), None);
    }
}
