//! What the journal adds up to: topics, committed offsets, producer ids, transactions and their decisions.
//!
//! The ledger changes only by [`Ledger::apply`], so that reading the journal again makes the same ledger.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A partition by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Entry {
    /// The name that clients know this broker by.
    Cluster {
        id: Uuid,
    },
    /// A topic as it is from now on: new, with more partitions, or with other settings.
    Topic {
        name: String,
        topic: Topic,
    },
    TopicDeleted {
        name: String,
    },
    /// Records before this were deleted on request.
    LogStart {
        place: Place,
        offset: i64,
    },
    /// Ids below this may be in use.
    ProducerIds {
        next: i64,
    },
    Offsets {
        group: String,
        offsets: Vec<(Place, Committed)>,
    },
    /// Offsets that expired or were deleted. No places means the whole group.
    OffsetsForgotten {
        group: String,
        places: Vec<Place>,
    },
    /// A transactional producer begins (again).
    Producer {
        transactional_id: String,
        producer: Producer,
    },
    /// A transaction is open, and these partitions and groups are in it.
    Enlisted {
        transactional_id: String,
        places: Vec<Place>,
    },
    /// Offsets that become visible with the decision to commit.
    Pending {
        transactional_id: String,
        group: String,
        offsets: Vec<(Place, Committed)>,
    },
    /// The point of no return: markers are written again from this line after a crash.
    Decided {
        transactional_id: String,
        decision: Decision,
    },
    ProducerForgotten {
        transactional_id: String,
    },
}

/// What is known of a topic besides its records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) partitions: i32,
    pub(crate) configs: BTreeMap<String, String>,
}

/// A committed position of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) metadata: String,
    pub(crate) at_ms: i64,
}

/// Who holds a transactional id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    /// The epoch before, which a lost answer may leave a client with (KIP-360).
    pub(crate) epoch_before: Option<i16>,
    pub(crate) timeout_ms: i32,
    /// How its last transaction ended: `Some(true)` is committed.
    pub(crate) outcome: Option<bool>,
    pub(crate) at_ms: i64,
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Decision {
    pub(crate) producer_id: i64,
    /// The epoch of the markers: higher than that of the records when the transaction was taken from its producer.
    pub(crate) epoch: i16,
    pub(crate) commit: bool,
    /// Where markers go, and the offset before which the transaction began there.
    pub(crate) places: Vec<(Place, i64)>,
    pub(crate) at_ms: i64,
}

/// One transactional id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Transactions {
    pub(crate) producer: Producer,
    pub(crate) ongoing: Option<Ongoing>,
    /// The last decision. It is kept until the next one, which waits until the markers of this one are on disk.
    pub(crate) decision: Option<Decision>,
}

/// An open transaction.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Ongoing {
    pub(crate) places: BTreeSet<Place>,
    pub(crate) pending: BTreeMap<String, BTreeMap<Place, Committed>>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Ledger {
    pub(crate) cluster: Uuid,
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) log_starts: BTreeMap<Place, i64>,
    pub(crate) next_producer_id: i64,
    pub(crate) offsets: BTreeMap<String, BTreeMap<Place, Committed>>,
    pub(crate) transactions: BTreeMap<String, Transactions>,
}

impl Ledger {
    /// Takes one entry in.
    pub(crate) fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Cluster { id } => self.cluster = id,
            Entry::Topic { name, topic } => {
                self.topics.insert(name, topic);
            }
            Entry::TopicDeleted { name } => self.delete_topic(&name),
            Entry::LogStart { place, offset } => {
                self.log_starts.insert(place, offset);
            }
            Entry::ProducerIds { next } => self.next_producer_id = next,
            Entry::Offsets { group, offsets } => {
                self.offsets.entry(group).or_default().extend(offsets);
            }
            Entry::OffsetsForgotten { group, places } => self.forget_offsets(&group, &places),
            Entry::Producer { transactional_id, producer } => {
                self.begin_producer(transactional_id, producer);
            }
            Entry::Enlisted { transactional_id, places } => {
                if let Some(ongoing) = self.ongoing(&transactional_id) {
                    ongoing.places.extend(places);
                }
            }
            Entry::Pending { transactional_id, group, offsets } => {
                if let Some(ongoing) = self.ongoing(&transactional_id) {
                    ongoing.pending.entry(group).or_default().extend(offsets);
                }
            }
            Entry::Decided { transactional_id, decision } => {
                self.decide(&transactional_id, decision);
            }
            Entry::ProducerForgotten { transactional_id } => {
                self.transactions.remove(&transactional_id);
            }
        }
    }

    fn delete_topic(&mut self, name: &str) {
        self.topics.remove(name);
        self.log_starts.retain(|place, _| place.topic != name);
        self.offsets.retain(|_, offsets| {
            offsets.retain(|place, _| place.topic != name);
            !offsets.is_empty()
        });
        for transactions in self.transactions.values_mut() {
            if let Some(ongoing) = &mut transactions.ongoing {
                ongoing.places.retain(|place| place.topic != name);
                ongoing
                    .pending
                    .values_mut()
                    .for_each(|offsets| offsets.retain(|place, _| place.topic != name));
            }
            if let Some(decision) = &mut transactions.decision {
                decision.places.retain(|(place, _)| place.topic != name);
            }
        }
    }

    fn forget_offsets(&mut self, group: &str, places: &[Place]) {
        if let Some(offsets) = self.offsets.get_mut(group) {
            offsets.retain(|place, _| !places.is_empty() && !places.contains(place));
            if offsets.is_empty() {
                self.offsets.remove(group);
            }
        }
    }

    fn begin_producer(&mut self, transactional_id: String, producer: Producer) {
        if let Some(transactions) = self.transactions.get_mut(&transactional_id) {
            transactions.producer = producer;
        } else {
            let transactions = Transactions { producer, ongoing: None, decision: None };
            self.transactions.insert(transactional_id, transactions);
        }
    }

    fn ongoing(&mut self, transactional_id: &str) -> Option<&mut Ongoing> {
        self.transactions
            .get_mut(transactional_id)
            .map(|transactions| transactions.ongoing.get_or_insert_default())
    }

    fn decide(&mut self, transactional_id: &str, decision: Decision) {
        let Some(transactions) = self.transactions.get_mut(transactional_id) else { return };
        let ongoing = transactions.ongoing.take().unwrap_or_default();
        let producer = &mut transactions.producer;
        if producer.epoch < decision.epoch {
            producer.epoch_before = None;
            producer.epoch = decision.epoch;
        }
        producer.outcome = Some(decision.commit);
        producer.at_ms = decision.at_ms;
        if decision.commit {
            for (group, offsets) in ongoing.pending {
                self.offsets.entry(group).or_default().extend(offsets);
            }
        }
        transactions.decision = Some(decision);
    }

    /// Whether an open transaction is about to move this position (KIP-447).
    pub(crate) fn is_unstable(&self, group: &str, place: &Place) -> bool {
        let ongoing =
            self.transactions.values().filter_map(|transactions| transactions.ongoing.as_ref());
        ongoing
            .filter_map(|ongoing| ongoing.pending.get(group))
            .any(|offsets| offsets.contains_key(place))
    }

    /// The shortest journal that makes this ledger.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut entries = vec![
            Entry::Cluster { id: self.cluster },
            Entry::ProducerIds { next: self.next_producer_id },
        ];
        for (name, topic) in &self.topics {
            entries.push(Entry::Topic { name: name.clone(), topic: topic.clone() });
        }
        for (place, offset) in &self.log_starts {
            entries.push(Entry::LogStart { place: place.clone(), offset: *offset });
        }
        for (group, offsets) in &self.offsets {
            entries.push(Entry::Offsets { group: group.clone(), offsets: pairs(offsets) });
        }
        for (transactional_id, transactions) in &self.transactions {
            transactions.entries(transactional_id, &mut entries);
        }
        entries
    }
}

impl Transactions {
    fn entries(&self, transactional_id: &str, entries: &mut Vec<Entry>) {
        let id = || transactional_id.to_owned();
        let begin = Entry::Producer { transactional_id: id(), producer: self.producer.clone() };
        if let Some(decision) = &self.decision {
            // Twice, because a decision needs a producer to be about, and changes it.
            entries.push(begin.clone());
            entries.push(Entry::Decided { transactional_id: id(), decision: decision.clone() });
        }
        entries.push(begin);
        let Some(ongoing) = &self.ongoing else { return };
        let places = ongoing.places.iter().cloned().collect();
        entries.push(Entry::Enlisted { transactional_id: id(), places });
        for (group, offsets) in &ongoing.pending {
            let (group, offsets) = (group.clone(), pairs(offsets));
            entries.push(Entry::Pending { transactional_id: id(), group, offsets });
        }
    }
}

fn pairs(offsets: &BTreeMap<Place, Committed>) -> Vec<(Place, Committed)> {
    offsets.iter().map(|(place, committed)| (place.clone(), committed.clone())).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn place(topic: &str, partition: i32) -> Place {
        Place { topic: topic.to_owned(), partition }
    }

    fn committed(offset: i64) -> Committed {
        Committed { offset, metadata: String::new(), at_ms: 1 }
    }

    pub(crate) fn producer(id: i64, epoch: i16) -> Producer {
        Producer { id, epoch, epoch_before: None, timeout_ms: 1_000, outcome: None, at_ms: 1 }
    }

    fn decision(commit: bool) -> Decision {
        Decision { producer_id: 5, epoch: 0, commit, places: vec![(place("a", 0), 10)], at_ms: 2 }
    }

    fn id() -> String {
        "worker".to_owned()
    }

    fn with_open_transaction() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.apply(Entry::Producer { transactional_id: id(), producer: producer(5, 0) });
        ledger.apply(Entry::Enlisted { transactional_id: id(), places: vec![place("a", 0)] });
        let offsets = vec![(place("in", 1), committed(7))];
        ledger.apply(Entry::Pending { transactional_id: id(), group: "g".to_owned(), offsets });
        ledger
    }

    #[test]
    fn offsets_of_a_transaction_appear_with_the_decision_to_commit() {
        let mut ledger = with_open_transaction();
        assert!(ledger.offsets.is_empty() && ledger.is_unstable("g", &place("in", 1)));
        ledger.apply(Entry::Decided { transactional_id: id(), decision: decision(true) });
        assert_eq!(ledger.offsets["g"][&place("in", 1)], committed(7));
        assert!(!ledger.is_unstable("g", &place("in", 1)));
    }

    #[test]
    fn offsets_of_an_aborted_transaction_never_appear() {
        let mut ledger = with_open_transaction();
        ledger.apply(Entry::Decided { transactional_id: id(), decision: decision(false) });
        assert!(ledger.offsets.is_empty() && !ledger.is_unstable("g", &place("in", 1)));
    }

    #[test]
    fn the_shortest_journal_makes_the_same_ledger() {
        let mut ledger = with_open_transaction();
        let check = |ledger: &Ledger| {
            let mut again = Ledger::default();
            ledger.entries().into_iter().for_each(|entry| again.apply(entry));
            assert_eq!(&again, ledger);
        };
        check(&ledger);
        ledger.apply(Entry::Decided { transactional_id: id(), decision: decision(true) });
        check(&ledger);
        let topic = Topic { id: Uuid::nil(), partitions: 2, configs: BTreeMap::new() };
        ledger.apply(Entry::Topic { name: "a".to_owned(), topic });
        ledger.apply(Entry::LogStart { place: place("a", 1), offset: 4 });
        ledger.apply(Entry::Producer { transactional_id: id(), producer: producer(5, 1) });
        ledger.apply(Entry::Enlisted { transactional_id: id(), places: vec![place("a", 1)] });
        check(&ledger);
    }

    #[test]
    fn a_deleted_topic_leaves_nothing() {
        let mut ledger = with_open_transaction();
        ledger.apply(Entry::Offsets {
            group: "g".to_owned(),
            offsets: vec![(place("a", 0), committed(1))],
        });
        ledger.apply(Entry::TopicDeleted { name: "a".to_owned() });
        assert!(ledger.offsets.is_empty());
        assert!(ledger.transactions["worker"].ongoing.as_ref().unwrap().places.is_empty());
    }
}
