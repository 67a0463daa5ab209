//! A broker in the process: Kafka's promises, none of its sockets. For tests.
//!
//! It has topics of several partitions, groups that share them, transactions that are seen whole or not at all, and fencing.
//! It has no clock and no threads, so a run with the same calls has the same outcome. It differs from Kafka in that offsets
//! have no gaps, that a record without a timestamp stays without one, and that a member is given up only when dropped.
//!
//! # Layout
//! - [`MemoryBroker`]: logs, and what tests see and break
//! - [`MemoryExchange`], [`MemorySubscribe`]: the traits
//! - [`Fault`]: what can go wrong

mod exchange;
mod log;
mod member;
mod murmur2;
#[cfg(test)]
mod simulation;
mod subscribe;

pub use exchange::{Fault, MemoryExchange};
pub use subscribe::MemorySubscribe;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    delivery::{Delivery, Outgoing},
    ledger::Partition,
    publish::{Publish, PublishError, RECORD_BYTES_MAX, record_bytes},
    subscribe::TailFrom,
};
use log::{Group, Topics};

/// The broker. Clones share everything.
#[derive(Clone, Debug)]
pub struct MemoryBroker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    topics: Topics,
    groups: BTreeMap<String, Group>,
    /// By transactional id, how often it was taken.
    epochs: BTreeMap<String, u64>,
    next_member: u64,
    is_away: bool,
    is_full: bool,
}

impl Default for MemoryBroker {
    fn default() -> Self {
        Self::new(1)
    }
}

impl MemoryBroker {
    /// A broker whose topics are made at their first mention, with `partitions` partitions (at least one).
    pub fn new(partitions: u16) -> Self {
        let state = State {
            topics: Topics::new(partitions),
            groups: BTreeMap::new(),
            epochs: BTreeMap::new(),
            next_member: 0,
            is_away: false,
            is_full: false,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }) }
    }

    /// Makes a topic with its own number of partitions (at least one), unless it is there.
    pub fn topic(&self, name: &str, partitions: u16) {
        self.state().topics.make(name, partitions);
    }

    /// Joins `group` and takes `transactional_id` from whoever has it.
    pub fn exchange(&self, group: &str, topics: &[&str], transactional_id: &str) -> MemoryExchange {
        MemoryExchange::join(self.clone(), group, topics, transactional_id)
    }

    /// Joins `group`.
    pub fn subscribe(&self, group: &str, topics: &[&str]) -> MemorySubscribe {
        MemorySubscribe::join(self.clone(), group, topics)
    }

    /// Reads all partitions of `topics` without a group.
    pub fn tail(&self, topics: &[&str], from: TailFrom) -> MemorySubscribe {
        MemorySubscribe::tail(self.clone(), topics, from)
    }

    /// All records of a topic, by partition and offset.
    pub fn records(&self, topic: &str) -> Vec<Delivery> {
        self.state().topics.records(topic)
    }

    /// The next offset that `group` reads in a partition, when it has committed one.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let partition: Partition = (Arc::from(topic), partition);
        self.state().groups.get(group)?.committed.get(&partition).copied()
    }

    /// Records of `topic` that `group` has not committed.
    pub fn lag(&self, group: &str, topic: &str) -> u64 {
        let state = self.state();
        let Some(ends) = state.topics.ends(topic) else { return 0 };
        let committed = state.groups.get(group).map(|group| &group.committed);
        let waiting = ends.into_iter().map(|(partition, end)| {
            let done =
                committed.and_then(|committed| committed.get(&partition)).copied().unwrap_or(0);
            u64::try_from(end - done).unwrap_or(0)
        });
        waiting.sum()
    }

    /// While away, publishes and commits answer `Unavailable`, and polls give nothing.
    pub fn set_away(&self, is_away: bool) {
        self.state().is_away = is_away;
        self.shared.changed.notify_all();
    }

    /// While full, publishes answer `Full`.
    pub fn set_full(&self, is_full: bool) {
        self.state().is_full = is_full;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Publish for MemoryBroker {
    async fn publish(&self, outgoing: Outgoing) -> Result<(), PublishError> {
        let mut state = self.state();
        if state.is_full {
            return Err(PublishError::Full);
        }
        if RECORD_BYTES_MAX < record_bytes(&outgoing.record) {
            return Err(PublishError::Refused("the record is too large".to_owned()));
        }
        if state.is_away {
            return Err(PublishError::Unavailable("the broker is away".to_owned()));
        }
        state.topics.append(&outgoing.topic, outgoing.record);
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }
}

impl State {
    fn group(&mut self, name: &str) -> &mut Group {
        self.groups.entry(name.to_owned()).or_default()
    }

    /// The partitions of `topics`, which are made when missing.
    fn partitions(&mut self, topics: &BTreeSet<Arc<str>>) -> Vec<Partition> {
        topics.iter().flat_map(|topic| self.topics.partitions(topic)).collect()
    }
}
