//! Reading the broker in the process at least once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    MemoryBroker,
    member::{Member, Seat},
};
use crate::{
    delivery::{Delivery, Progress},
    standing::Standing,
    subscribe::{Subscribe, SubscribeError, TailFrom},
};

/// Reads a [`MemoryBroker`]. Dropping it is its crash.
#[derive(Debug)]
pub struct MemorySubscribe {
    member: Member,
}

impl MemorySubscribe {
    pub(super) fn join(broker: MemoryBroker, group: &str, topics: &[&str]) -> Self {
        Self { member: Member::join(broker, group, topics) }
    }

    pub(super) fn tail(broker: MemoryBroker, topics: &[&str], from: TailFrom) -> Self {
        let topics = topics.iter().map(|topic| Arc::from(*topic)).collect();
        let mut state = broker.state();
        let partitions = state.partitions(&topics);
        let ends: BTreeMap<_, _> =
            topics.iter().filter_map(|topic| state.topics.ends(topic)).flatten().collect();
        let positions = partitions.into_iter().map(|partition| {
            let end = ends.get(&partition).copied().unwrap_or(0);
            let start = match from {
                TailFrom::Beginning => 0,
                TailFrom::End => end,
                TailFrom::TimestampMs(at) => state.topics.since(&partition, at).unwrap_or(end),
            };
            (partition, start)
        });
        let positions = positions.collect();
        drop(state);
        Self { member: Member::tail(broker, positions) }
    }
}

impl Subscribe for MemorySubscribe {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, SubscribeError> {
        let mut records = self.member.take(max, wait);
        if self.member.ledger.loss().is_some() {
            // What was lost matters to an exchange only. This one reads on in what it still has.
            self.member.ledger.clear();
            records = self.member.take(max, Duration::ZERO);
        }
        Ok(records)
    }

    fn keep_alive(&mut self) -> Result<(), SubscribeError> {
        // Members here never die of silence; a rebalance is settled by taking, also by taking nothing.
        self.member.take(0, Duration::ZERO);
        self.member.ledger.clear();
        Ok(())
    }

    fn commit(&mut self, progress: &Progress) -> Result<(), SubscribeError> {
        let Some(Seat { group, .. }) = &self.member.seat else { return Ok(()) };
        let mut state = self.member.broker.state();
        if state.is_away {
            return Err(SubscribeError::Unavailable("the broker is away".to_owned()));
        }
        if let Some((topic, partition)) =
            progress.0.keys().find(|partition| !self.member.has(partition))
        {
            return Err(SubscribeError::Lost(format!("{topic}-{partition} was revoked")));
        }
        state.group(group).committed.extend(progress.0.clone());
        Ok(())
    }

    fn is_assigned(&self) -> bool {
        self.member.is_assigned
    }

    fn standing(&self) -> Standing {
        self.member.standing()
    }
}
