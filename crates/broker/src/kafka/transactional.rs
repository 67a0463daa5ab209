//! Writing records all or none, without reading: for tools, which move records between topics.

use std::{fmt, time::Duration};

use super::{
    client::ConnectError,
    settings::KafkaSettings,
    transaction::{Failure, Transactor},
};
use crate::delivery::Outgoing;

/// As a replica's session timeout: four fifths of it is how long readers wait for a transaction that a dead tool left open.
const SESSION_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the coordinator is waited for when a transaction has to be settled.
const READY_TIMEOUT: Duration = Duration::from_secs(15);

/// Writes records to any topics, each outbox in a transaction of its own. Blocking: it belongs on a thread of its own.
pub struct TransactionalPublish {
    transactor: Transactor,
}

/// Why an outbox was not written, by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// Nothing was written. The same outbox may be tried again.
    #[error("transaction aborted: {0}")]
    Aborted(String),
    /// It is written as a whole or not at all, and only a reader at `read_committed` can tell. Nothing of it is open any more, so
    /// what is not there now never will be.
    #[error("transaction of unknown outcome: {0}")]
    Unknown(String),
    /// The broker is away; whether the outbox was written is unknown, and may still change. Stop, and look later.
    #[error("broker unavailable: {0}")]
    Unavailable(String),
    /// Nothing was written, and one of the records never will be, for its size for instance.
    #[error("broker refused a record: {0}")]
    Refused(String),
    /// Nothing was written: another has taken the transactional id. Stop.
    #[error("transactional id taken by another: {0}")]
    Fenced(String),
}

impl TransactionalPublish {
    /// Fences the former holder of the transactional id, and has the coordinator finish what that left open. Blocks, 20 seconds
    /// at most.
    pub fn connect(settings: &KafkaSettings, transactional_id: &str) -> Result<Self, ConnectError> {
        let mut transactor = Transactor::new(settings, transactional_id, SESSION_TIMEOUT)?;
        transactor.connect(settings)?;
        Ok(Self { transactor })
    }

    /// Writes all of `outbox` or nothing of it.
    pub fn write(&mut self, outbox: &[Outgoing]) -> Result<(), TransactionError> {
        if outbox.is_empty() {
            return Ok(());
        }
        self.settle()?;
        match self.transactor.run(outbox, None) {
            Ok(()) => Ok(()),
            Err(Failure::Aborted(reason)) => Err(TransactionError::Aborted(reason)),
            Err(Failure::Refused(reason)) => Err(TransactionError::Refused(reason)),
            Err(Failure::Fenced(reason)) => Err(TransactionError::Fenced(reason)),
            Err(Failure::Unknown(reason) | Failure::Unusable(reason)) => {
                self.settle()?;
                Err(TransactionError::Unknown(reason))
            }
        }
    }

    /// Makes sure that nothing is open.
    fn settle(&mut self) -> Result<(), TransactionError> {
        self.transactor.ready(READY_TIMEOUT).map_err(|failure| match failure {
            Failure::Fenced(reason) => TransactionError::Fenced(reason),
            Failure::Aborted(reason)
            | Failure::Unknown(reason)
            | Failure::Refused(reason)
            | Failure::Unusable(reason) => TransactionError::Unavailable(reason),
        })
    }
}

impl fmt::Debug for TransactionalPublish {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TransactionalPublish").finish_non_exhaustive()
    }
}
