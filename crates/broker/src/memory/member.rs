//! One reader: the partitions it has, and how far it has read them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::{MemoryBroker, State};
use crate::{
    delivery::Delivery,
    exchange::Assignment,
    ledger::{Ledger, Partition},
    standing::{PartitionStanding, Standing},
};

/// A member of a group, until it is dropped. Or a tail, which has no group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) broker: MemoryBroker,
    pub(super) ledger: Ledger,
    /// `None` for a tail.
    pub(super) seat: Option<Seat>,
    /// The next offset to read of each partition that it has.
    positions: BTreeMap<Partition, i64>,
    topics: BTreeSet<Arc<str>>,
    /// Which partition is read first in the next poll: each in turn.
    turn: usize,
    pub(super) is_assigned: bool,
    /// How often partitions came or went.
    changes: u64,
}

/// A place in a group.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) group: String,
    pub(super) id: u64,
}

impl Member {
    pub(super) fn join(broker: MemoryBroker, group: &str, topics: &[&str]) -> Self {
        let topics: BTreeSet<Arc<str>> = topics.iter().map(|topic| Arc::from(*topic)).collect();
        let mut state = broker.state();
        let id = state.next_member;
        state.next_member += 1;
        state.group(group).members.insert(id, topics.clone());
        drop(state);
        broker.shared.changed.notify_all();
        let seat = Some(Seat { group: group.to_owned(), id });
        Self::new(broker, seat, BTreeMap::new(), topics)
    }

    pub(super) fn tail(broker: MemoryBroker, positions: BTreeMap<Partition, i64>) -> Self {
        Self::new(broker, None, positions, BTreeSet::new())
    }

    fn new(
        broker: MemoryBroker,
        seat: Option<Seat>,
        positions: BTreeMap<Partition, i64>,
        topics: BTreeSet<Arc<str>>,
    ) -> Self {
        let is_assigned = seat.is_none();
        Self {
            broker,
            ledger: Ledger::default(),
            seat,
            positions,
            topics,
            turn: 0,
            is_assigned,
            changes: 0,
        }
    }

    /// Waits at most `wait` for something to read or a rebalance, then takes `max` records at most. A rebalance is settled
    /// first; the ledger tells what it cost.
    pub(super) fn take(&mut self, max: usize, wait: Duration) -> Vec<Delivery> {
        let broker = self.broker.clone();
        let guard = broker.state();
        let waited =
            broker.shared.changed.wait_timeout_while(guard, wait, |state| !self.has_work(state));
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_away {
            return Vec::new();
        }
        let gave_up = self.settle(&mut state);
        let taken = if self.ledger.loss().is_none() { self.read(&state, max) } else { Vec::new() };
        drop(state);
        if gave_up {
            broker.shared.changed.notify_all();
        }
        taken
    }

    /// Gives up the partitions that are another's now, and takes those that are free and its own. Whether it gave up any.
    fn settle(&mut self, state: &mut State) -> bool {
        let Some(Seat { group, id }) = &self.seat else { return false };
        let all = state.partitions(&self.topics);
        let group = state.group(group);
        let mut gave_up = false;
        for partition in all {
            let heir = group.heir(&partition);
            let owner = group.owners.get(&partition).copied();
            if owner == Some(*id) && heir != Some(*id) {
                group.owners.remove(&partition);
                self.positions.remove(&partition);
                self.ledger.revoke(&partition);
                self.changes += 1;
                gave_up = true;
            } else if owner.is_none() && heir == Some(*id) {
                let committed = group.committed.get(&partition).copied().unwrap_or(0);
                group.owners.insert(partition.clone(), *id);
                self.positions.insert(partition, committed);
                self.changes += 1;
            }
        }
        self.is_assigned = true;
        gave_up
    }

    fn read(&mut self, state: &State, max: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        let count = self.positions.len().max(1);
        self.turn = (self.turn + 1) % count;
        let mut partitions: Vec<(&Partition, &mut i64)> = self.positions.iter_mut().collect();
        let first = self.turn.min(partitions.len());
        partitions.rotate_left(first);
        for (partition, next) in partitions {
            while taken.len() < max
                && let Some(delivery) = state.topics.get(partition, *next)
            {
                *next += 1;
                self.ledger.take(&delivery);
                taken.push(delivery);
            }
        }
        taken
    }

    /// Returns to the committed offsets; nothing is in hand any more.
    pub(super) fn go_back(&mut self, state: &State) {
        let Some(seat) = &self.seat else { return };
        let committed = state.groups.get(&seat.group).map(|group| &group.committed);
        for (partition, next) in &mut self.positions {
            *next = committed.and_then(|committed| committed.get(partition)).copied().unwrap_or(0);
        }
        self.ledger.clear();
    }

    /// As if `round`, just taken, had never been read.
    pub(super) fn give_back(&mut self, round: &[Delivery]) {
        for delivery in round.iter().rev() {
            let partition = (Arc::clone(&delivery.topic), delivery.partition);
            self.ledger.give_back(&partition, delivery.offset);
            self.positions.insert(partition, delivery.offset);
        }
    }

    /// How its partitions stand. A transaction is over as soon as it is begun here, so nothing is ever stalled.
    pub(super) fn standing(&self) -> Standing {
        if self.seat.is_none() {
            return Standing::default();
        }
        let state = self.broker.state();
        let standing = self.positions.iter().map(|(partition, next)| {
            let ends = state.topics.ends(&partition.0).unwrap_or_default();
            let end = ends.iter().find(|(it, _)| it == partition).map_or(0, |(_, end)| *end);
            let lag = u64::try_from(end - next).unwrap_or(0);
            (partition.clone(), PartitionStanding { lag, stalled: Duration::ZERO })
        });
        Standing(standing.collect())
    }

    /// The partitions that it has.
    pub(super) fn assignment(&self) -> Assignment {
        Assignment { partitions: self.positions.keys().cloned().collect(), changes: self.changes }
    }

    fn has_work(&self, state: &State) -> bool {
        if state.is_away {
            return false;
        }
        let is_readable = self
            .positions
            .iter()
            .any(|(partition, next)| state.topics.get(partition, *next).is_some());
        is_readable || self.must_settle(state)
    }

    fn must_settle(&self, state: &State) -> bool {
        let Some(Seat { group, id }) = &self.seat else { return false };
        let Some(group) = state.groups.get(group) else { return false };
        let mut partitions =
            self.topics.iter().filter_map(|topic| state.topics.ends(topic)).flatten();
        !self.is_assigned
            || partitions.any(|(partition, _)| {
                let heir = group.heir(&partition);
                match group.owners.get(&partition) {
                    Some(owner) => owner == id && heir != Some(*id),
                    None => heir == Some(*id),
                }
            })
    }
}

impl Drop for Member {
    /// Leaves the group. What was not committed is read again by the others.
    fn drop(&mut self) {
        let Some(Seat { group, id }) = &self.seat else { return };
        let mut state = self.broker.state();
        let group = state.group(group);
        group.members.remove(id);
        group.owners.retain(|_, owner| owner != id);
        drop(state);
        self.broker.shared.changed.notify_all();
    }
}
