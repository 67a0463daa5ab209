//! Reading records and swapping them for others, atomically.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    delivery::{Delivery, Outgoing, Progress},
    publish::RECORD_BYTES_MAX,
    standing::Standing,
};

/// Largest record of an outbox, in bytes: key, value and headers. It leaves room for a dead letter, which is a record of the
/// largest size, unchanged, and up to 40,000 bytes of headers that say why. Still below the limit of brokers, 1,048,588.
pub const OUTBOX_RECORD_BYTES_MAX: usize = RECORD_BYTES_MAX + 40_000;

/// A consumer and a transactional producer that move together. Blocking: it belongs on a thread of its own.
///
/// Kafka implements it with one transaction per [`commit`](Exchange::commit). Several rounds may have been polled and not yet
/// committed; they are committed in the order in which they were polled. What is read but not committed is delivered again,
/// here or to whoever owns the partition next.
pub trait Exchange: Send {
    /// Waits at most `wait` for a first record, then takes what is there without waiting, `max` records at most.
    ///
    /// No record is no error: an empty answer says that nothing came, or that the broker is away and will be tried again.
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, ExchangeError>;

    /// Writes `outbox` and remembers `progress`: both or neither.
    fn commit(&mut self, outbox: Vec<Outgoing>, progress: &Progress) -> Result<(), ExchangeError>;

    /// Whether this replica has joined its group and knows which partitions are its own (perhaps none).
    fn is_assigned(&self) -> bool;

    /// How the partitions of this replica stand, as far as is known; a few seconds old.
    fn standing(&self) -> Standing {
        Standing::default()
    }

    /// What this replica has been given. Exact after each [`poll`](Exchange::poll), since a rebalance is let in there only.
    fn assignment(&self) -> Assignment {
        Assignment::default()
    }
}

/// The partitions of a replica, by topic and number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Those that it has.
    pub partitions: BTreeSet<(Arc<str>, i32)>,
    /// How often partitions came or went. Between two looks with the same number nobody else had them, so what was concluded from
    /// their records still holds.
    pub changes: u64,
}

impl Assignment {
    /// Whether it has partition `number` of `topic`.
    pub fn has(&self, topic: &str, number: i32) -> bool {
        self.partitions.iter().any(|(name, it)| &**name == topic && *it == number)
    }
}

/// Why an exchange did not happen, by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// Nothing of the round was written, or it is unknown whether it was, or a partition was taken away meanwhile. The exchange
    /// has gone back to what is committed: drop every round in hand and poll on.
    #[error("round aborted: {0}")]
    Aborted(String),
    /// The broker is away, and the exchange has gone back as in `Aborted`. Drop every round in hand, back off, poll on.
    #[error("broker unavailable: {0}")]
    Unavailable(String),
    /// The broker will never take one of the records, for its size for instance; nothing of the round was written. The exchange
    /// has gone back as in `Aborted`. The same outbox would be refused again: leave the record out, or make it smaller.
    #[error("broker refused a record of the round: {0}")]
    Refused(String),
    /// This replica may not write any more, for instance since another uses its transactional id. Exit.
    #[error("exchange unusable: {0}")]
    Fatal(String),
}
