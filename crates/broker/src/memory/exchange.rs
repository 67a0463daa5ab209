//! The exchange over the broker in the process: a transaction is a lock held.

use std::{fmt, iter, time::Duration};

use super::{
    MemoryBroker,
    member::{Member, Seat},
};
use crate::{
    delivery::{Delivery, Outgoing, Progress},
    exchange::{Assignment, Exchange, ExchangeError, OUTBOX_RECORD_BYTES_MAX},
    publish::record_bytes,
    standing::Standing,
};

/// What goes wrong with one poll that would give out records, or with one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The round is aborted, as by a rebalance.
    Abort,
    /// The broker is away: a poll gives nothing, a commit is not done.
    Unavailable,
    /// The commit is done, but its answer is lost: it says `Aborted`, after going back to what is committed, this round
    /// included. In a poll, the same as `Abort`.
    LoseOutcome,
}

/// Reads and writes a [`MemoryBroker`], atomically. Dropping it is its crash.
pub struct MemoryExchange {
    member: Member,
    transactional_id: String,
    epoch: u64,
    faults: Box<dyn Iterator<Item = Option<Fault>> + Send>,
}

impl MemoryExchange {
    pub(super) fn join(
        broker: MemoryBroker,
        group: &str,
        topics: &[&str],
        transactional_id: &str,
    ) -> Self {
        let epoch = {
            let mut state = broker.state();
            let epoch = state.epochs.entry(transactional_id.to_owned()).or_insert(0);
            *epoch += 1;
            *epoch
        };
        let member = Member::join(broker, group, topics);
        Self {
            member,
            transactional_id: transactional_id.to_owned(),
            epoch,
            faults: Box::new(iter::empty()),
        }
    }

    /// Asks `faults` before each poll that would give out records and before each commit. When it ends, all is well.
    #[must_use]
    pub fn with_faults(self, faults: impl Iterator<Item = Option<Fault>> + Send + 'static) -> Self {
        Self { faults: Box::new(faults), ..self }
    }

    fn void(&mut self, error: ExchangeError) -> ExchangeError {
        let broker = self.member.broker.clone();
        self.member.go_back(&broker.state());
        error
    }

    /// Writes and remembers, unless something forbids it.
    fn apply(&mut self, outbox: Vec<Outgoing>, progress: &Progress) -> Result<(), ExchangeError> {
        let broker = self.member.broker.clone();
        let mut state = broker.state();
        if state.is_away {
            return Err(ExchangeError::Unavailable("the broker is away".to_owned()));
        }
        if state.epochs.get(&self.transactional_id) != Some(&self.epoch) {
            return Err(ExchangeError::Fatal("another has the transactional id".to_owned()));
        }
        if let Some(reason) = self.member.ledger.refusal(progress) {
            return Err(ExchangeError::Aborted(reason));
        }
        if outbox.iter().any(|outgoing| OUTBOX_RECORD_BYTES_MAX < record_bytes(&outgoing.record)) {
            return Err(ExchangeError::Refused("a record is too large".to_owned()));
        }
        for Outgoing { topic, record } in outbox {
            state.topics.append(&topic, record);
        }
        if let Some(Seat { group, .. }) = &self.member.seat {
            state.group(group).committed.extend(progress.0.clone());
        }
        self.member.ledger.release(progress);
        drop(state);
        broker.shared.changed.notify_all();
        Ok(())
    }
}

impl Exchange for MemoryExchange {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, ExchangeError> {
        let round = self.member.take(max, wait);
        if let Some(reason) = self.member.ledger.loss() {
            return Err(self.void(ExchangeError::Aborted(reason)));
        }
        if round.is_empty() {
            return Ok(round);
        }
        match self.faults.next().flatten() {
            None => Ok(round),
            Some(Fault::Abort | Fault::LoseOutcome) => {
                Err(self.void(ExchangeError::Aborted("injected fault".to_owned())))
            }
            Some(Fault::Unavailable) => {
                self.member.give_back(&round);
                Ok(Vec::new())
            }
        }
    }

    fn commit(&mut self, outbox: Vec<Outgoing>, progress: &Progress) -> Result<(), ExchangeError> {
        if outbox.is_empty() && progress.0.is_empty() {
            return Ok(());
        }
        let fault = self.faults.next().flatten();
        let outcome = match fault {
            None => self.apply(outbox, progress),
            Some(Fault::Abort) => Err(ExchangeError::Aborted("injected fault".to_owned())),
            Some(Fault::Unavailable) => {
                Err(ExchangeError::Unavailable("injected fault".to_owned()))
            }
            Some(Fault::LoseOutcome) => self.apply(outbox, progress).and_then(|()| {
                Err(ExchangeError::Aborted("injected fault: the answer was lost".to_owned()))
            }),
        };
        outcome.map_err(|error| self.void(error))
    }

    fn is_assigned(&self) -> bool {
        self.member.is_assigned
    }

    fn standing(&self) -> Standing {
        self.member.standing()
    }

    fn assignment(&self) -> Assignment {
        self.member.assignment()
    }
}

impl fmt::Debug for MemoryExchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MemoryExchange")
            .field("transactional_id", &self.transactional_id)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
