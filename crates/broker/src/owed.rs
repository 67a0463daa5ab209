//! What a reader has dealt with and not yet committed: pure bookkeeping, shared by Kafka and its twin.

use crate::{
    delivery::Progress,
    ledger::{Ledger, Partition},
};

/// Progress that is to be committed, kept over refusals for as long as its partitions stay with this reader.
///
/// A coordinator in the midst of a rebalance refuses the commit of every partition, also of those that stay (KIP-429), and
/// a partition in which nothing more is written gives no later commit that would cover it.
#[derive(Debug, Default)]
pub(crate) struct Owed(Progress);

impl Owed {
    /// Takes on what `ledger` allows of `progress`. Why it does not allow the rest, if there is any: that is another's now.
    pub(crate) fn take_on(&mut self, progress: &Progress, ledger: &Ledger) -> Option<String> {
        let mut refusal = None;
        for (partition, &next) in &progress.0 {
            match ledger.refusal(&single(partition, next)) {
                None => drop(self.0.0.insert(partition.clone(), next)),
                reason => refusal = refusal.or(reason),
            }
        }
        refusal
    }

    /// What may be committed now. What was taken away since is forgotten: its records are delivered elsewhere.
    pub(crate) fn due(&mut self, ledger: &Ledger) -> Progress {
        self.0.0.retain(|partition, next| ledger.refusal(&single(partition, *next)).is_none());
        self.0.clone()
    }

    /// Notes that all of it is committed.
    pub(crate) fn settle(&mut self, ledger: &mut Ledger) {
        ledger.release(&self.0);
        self.0.0.clear();
    }

    /// Whether nothing is to be committed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }
}

fn single(partition: &Partition, next: i64) -> Progress {
    Progress([(partition.clone(), next)].into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::Record;

    use super::*;
    use crate::delivery::Delivery;

    fn partition(number: i32) -> Partition {
        (Arc::from("t"), number)
    }

    fn take(ledger: &mut Ledger, number: i32, offset: i64) {
        let (topic, partition) = partition(number);
        ledger.take(&Delivery { topic, partition, offset, record: Record::default() });
    }

    fn progress(of: &[(i32, i64)]) -> Progress {
        Progress(of.iter().map(|(number, next)| (partition(*number), *next)).collect())
    }

    #[test]
    fn what_stays_is_owed_until_it_is_committed() {
        let (mut owed, mut ledger) = (Owed::default(), Ledger::default());
        take(&mut ledger, 0, 4);
        take(&mut ledger, 1, 7);
        assert_eq!(owed.take_on(&progress(&[(0, 5), (1, 8)]), &ledger), None);
        // Refused: it stays due, and what is read and dealt with meanwhile is due with it.
        assert_eq!(owed.due(&ledger), progress(&[(0, 5), (1, 8)]));
        take(&mut ledger, 1, 8);
        assert_eq!(owed.take_on(&progress(&[(1, 9)]), &ledger), None);
        assert_eq!(owed.due(&ledger), progress(&[(0, 5), (1, 9)]));
        owed.settle(&mut ledger);
        assert!(owed.is_empty());
        assert!(owed.take_on(&progress(&[(1, 9)]), &ledger).is_some(), "committed twice");
    }

    #[test]
    fn what_is_taken_away_is_not_owed_even_if_it_comes_back() {
        let (mut owed, mut ledger) = (Owed::default(), Ledger::default());
        take(&mut ledger, 0, 4);
        take(&mut ledger, 1, 7);
        owed.take_on(&progress(&[(0, 5), (1, 8)]), &ledger);
        ledger.revoke(&partition(0));
        // Another has committed it as far as 20 meanwhile, and it is read on from there.
        take(&mut ledger, 0, 20);
        assert_eq!(owed.due(&ledger), progress(&[(1, 8)]));
    }

    #[test]
    fn one_partition_taken_away_does_not_keep_the_others_from_being_owed() {
        let (mut owed, mut ledger) = (Owed::default(), Ledger::default());
        take(&mut ledger, 1, 7);
        let refusal = owed.take_on(&progress(&[(0, 5), (1, 8)]), &ledger).unwrap();
        assert!(refusal.contains("t-0"), "{refusal}");
        assert_eq!(owed.due(&ledger), progress(&[(1, 8)]));
    }
}
