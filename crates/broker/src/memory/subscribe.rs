//! Reading the broker in the process at least once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    MemoryBroker,
    member::{Member, Seat},
};
use crate::{
    delivery::{Delivery, Progress},
    owed::Owed,
    standing::Standing,
    subscribe::{Subscribe, SubscribeError, TailFrom},
};

/// Reads a [`MemoryBroker`]. Dropping it is its crash.
#[derive(Debug)]
pub struct MemorySubscribe {
    member: Member,
    owed: Owed,
}

impl MemorySubscribe {
    pub(super) fn join(broker: MemoryBroker, group: &str, topics: &[&str]) -> Self {
        Self { member: Member::join(broker, group, topics), owed: Owed::default() }
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
        Self { member: Member::tail(broker, positions), owed: Owed::default() }
    }

    /// Commits what is owed, of partitions that are still here.
    fn settle(&mut self) -> Result<(), SubscribeError> {
        let Some(Seat { group, .. }) = &self.member.seat else { return Ok(()) };
        let mut state = self.member.broker.state();
        if state.is_away {
            return Err(SubscribeError::Unavailable("the broker is away".to_owned()));
        }
        state.group(group).committed.extend(self.owed.due(&self.member.ledger).0);
        self.owed.settle(&mut self.member.ledger);
        Ok(())
    }
}

impl Subscribe for MemorySubscribe {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, SubscribeError> {
        if !self.owed.is_empty() && self.settle().is_err() {
            return Ok(Vec::new());
        }
        let mut records = self.member.take(max, wait);
        if self.member.ledger.loss().is_some() {
            // What was lost matters to an exchange only. This one reads on in what it still has.
            self.member.ledger.forgive();
            records = self.member.take(max, Duration::ZERO);
        }
        Ok(records)
    }

    fn keep_alive(&mut self) -> Result<(), SubscribeError> {
        // Members here never die of silence; a rebalance is settled by taking, also by taking nothing.
        self.member.take(0, Duration::ZERO);
        self.member.ledger.forgive();
        Ok(())
    }

    fn commit(&mut self, progress: &Progress) -> Result<(), SubscribeError> {
        if self.member.seat.is_none() {
            return Ok(());
        }
        let lost = self.owed.take_on(progress, &self.member.ledger);
        self.settle()?;
        lost.map_or(Ok(()), |reason| Err(SubscribeError::Lost(reason)))
    }

    fn is_assigned(&self) -> bool {
        self.member.is_assigned
    }

    fn standing(&self) -> Standing {
        self.member.standing()
    }
}

#[cfg(test)]
mod tests {
    use schemas::Record;

    use super::*;
    use crate::{delivery::Outgoing, publish::Publish as _};

    #[tokio::test]
    async fn what_could_not_be_committed_is_committed_by_a_later_poll() {
        let broker = MemoryBroker::new(1);
        for _ in 0..4 {
            let outgoing = Outgoing { topic: Arc::from("t"), record: Record::default() };
            broker.publish(outgoing).await.unwrap();
        }
        let mut reader = broker.subscribe("g", &["t"]);
        let records = reader.poll(10, Duration::ZERO).unwrap();
        assert_eq!(records.len(), 4);
        broker.set_away(true);
        let away = reader.commit(&Progress::of(&records)).unwrap_err();
        assert!(matches!(away, SubscribeError::Unavailable(_)), "{away}");
        assert_eq!(broker.lag("g", "t"), 4);
        broker.set_away(false);
        assert_eq!(reader.poll(10, Duration::ZERO), Ok(Vec::new()));
        assert_eq!(broker.lag("g", "t"), 0);
    }
}
