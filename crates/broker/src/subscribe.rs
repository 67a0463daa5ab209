//! Reading records at least once, and noting how far.

use std::time::Duration;

use crate::{
    delivery::{Delivery, Progress},
    standing::Standing,
};

/// A consumer at `read_committed`. Blocking: it belongs on a thread of its own.
pub trait Subscribe: Send {
    /// Waits at most `wait` for a first record, then takes what is there without waiting, `max` records at most.
    ///
    /// No record is no error: an empty answer says that nothing came, or that the broker is away and will be tried again.
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, SubscribeError>;

    /// Shows the group that this replica lives, while what it has read is still in hand and it does not poll: without it a group
    /// takes a replica for dead that has not polled for some minutes. A rebalance is let in. Nothing is delivered and nothing is
    /// skipped: the next [`poll`](Self::poll) goes on where the last one ended. Only ever fails for good.
    fn keep_alive(&mut self) -> Result<(), SubscribeError>;

    /// Remembers `progress`, so that a restart reads on from there. A tail, which has no group, remembers nothing.
    ///
    /// What is refused in a rebalance or while the broker is away is remembered by a later call or [`poll`](Self::poll), as
    /// long as its partition stays here. What another has read since is never taken back.
    fn commit(&mut self, progress: &Progress) -> Result<(), SubscribeError>;

    /// Whether this replica knows which partitions are its own.
    fn is_assigned(&self) -> bool;

    /// How the partitions of this replica stand, as far as is known; a few seconds old. Nothing for a tail.
    fn standing(&self) -> Standing {
        Standing::default()
    }
}

/// Where a tail begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailFrom {
    /// With what is written from now on.
    End,
    /// With the oldest record that is kept.
    Beginning,
    /// With the first record that is not older than this, in milliseconds since the Unix epoch.
    TimestampMs(i64),
}

/// Why reading did not go on, by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// A partition was taken away, or may be in a rebalance that is on: its progress was not remembered, and where it goes its
    /// records are delivered again. Go on; writing a row twice is harmless.
    #[error("no longer the owner: {0}")]
    Lost(String),
    /// The broker is away. Back off and call again.
    #[error("broker unavailable: {0}")]
    Unavailable(String),
    /// Nothing will be read any more. Exit.
    #[error("subscription unusable: {0}")]
    Fatal(String),
}
