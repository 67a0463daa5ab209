//! Topics as vectors, and groups with their offsets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use schemas::Record;

use super::murmur2;
use crate::{delivery::Delivery, ledger::Partition};

/// Records by topic, partition and offset.
#[derive(Debug)]
pub(super) struct Topics {
    partitions_default: u16,
    logs: BTreeMap<Arc<str>, Vec<Vec<Record>>>,
}

/// Who reads which partition, and how far the group has got.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The members, and what each subscribes to.
    pub(super) members: BTreeMap<u64, BTreeSet<Arc<str>>>,
    /// Who has each partition. It stays with a member until that member has seen that it is to go (KIP-429).
    pub(super) owners: BTreeMap<Partition, u64>,
    pub(super) committed: BTreeMap<Partition, i64>,
}

impl Topics {
    pub(super) fn new(partitions_default: u16) -> Self {
        Self { partitions_default, logs: BTreeMap::new() }
    }

    pub(super) fn make(&mut self, name: &str, partitions: u16) {
        if !self.logs.contains_key(name) {
            self.logs.insert(Arc::from(name), vec![Vec::new(); usize::from(partitions.max(1))]);
        }
    }

    pub(super) fn append(&mut self, topic: &str, record: Record) {
        self.make(topic, self.partitions_default);
        let Some(partitions) = self.logs.get_mut(topic) else { return };
        let number = match &record.key {
            Some(key) => murmur2::partition(key, partitions.len()),
            // Kafka picks any; in turn is as good, and the same in every run.
            None => partitions.iter().map(Vec::len).sum::<usize>() % partitions.len().max(1),
        };
        if let Some(partition) = partitions.get_mut(number) {
            partition.push(record);
        }
    }

    /// The partitions of a topic, which is made when missing.
    pub(super) fn partitions(&mut self, topic: &Arc<str>) -> Vec<Partition> {
        self.make(topic, self.partitions_default);
        self.ends(topic).into_iter().flatten().map(|(partition, _)| partition).collect()
    }

    /// The offset after the last record, by partition.
    pub(super) fn ends(&self, topic: &str) -> Option<Vec<(Partition, i64)>> {
        let (name, partitions) = self.logs.get_key_value(topic)?;
        let ends = (0..)
            .zip(partitions)
            .map(|(number, records)| ((Arc::clone(name), number), offset(records.len())));
        Some(ends.collect())
    }

    /// The first offset whose record is not older than `at_ms`.
    pub(super) fn since(&self, partition: &Partition, at_ms: i64) -> Option<i64> {
        let records = self.log(partition)?;
        let at = records.iter().position(|record| Some(at_ms) <= record.timestamp_ms)?;
        Some(offset(at))
    }

    pub(super) fn get(&self, partition: &Partition, offset: i64) -> Option<Delivery> {
        let record = self.log(partition)?.get(usize::try_from(offset).ok()?)?.clone();
        Some(Delivery { topic: Arc::clone(&partition.0), partition: partition.1, offset, record })
    }

    pub(super) fn records(&self, topic: &str) -> Vec<Delivery> {
        let ends = self.ends(topic).unwrap_or_default();
        ends.iter()
            .flat_map(|(partition, end)| (0..*end).filter_map(|offset| self.get(partition, offset)))
            .collect()
    }

    fn log(&self, (topic, number): &Partition) -> Option<&Vec<Record>> {
        self.logs.get(topic)?.get(usize::try_from(*number).ok()?)
    }
}

impl Group {
    /// Who is to have each of `partitions`: the members that subscribe to its topic, in turn.
    pub(super) fn heir(&self, partition: &Partition) -> Option<u64> {
        let (topic, number) = partition;
        let readers: Vec<u64> = self
            .members
            .iter()
            .filter(|(_, topics)| topics.contains(topic))
            .map(|(member, _)| *member)
            .collect();
        let turn = usize::try_from(*number).ok()?.checked_rem(readers.len())?;
        readers.get(turn).copied()
    }
}

fn offset(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
