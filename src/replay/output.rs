//! Where a replay's verdicts go, and its state with them.

use std::{sync::Arc, thread, time::Duration};

use anyhow::{Context as _, anyhow};
use broker::{
    Outgoing,
    kafka::{TransactionError, TransactionalPublish},
};
use chassis::Backoff;
use schemas::Verdict;
use store::{Row, StoreError, VerdictStore};
use tokio::runtime::Runtime;

use super::state::State;

/// Waits before a round is written again; half a minute in all.
const ATTEMPTS_MAX: u32 = 8;
const BACKOFF: Backoff = Backoff {
    min: Duration::from_millis(200),
    max: Duration::from_secs(10),
    factor: 2.0,
    jitter: chassis::retry::Jitter::Equal,
};

/// What a round came to.
#[derive(Debug)]
pub(crate) enum Scored {
    /// Records for a topic.
    Records(Vec<Outgoing>),
    /// Verdicts for rows.
    Verdicts(Vec<Verdict>),
}

/// Writes rounds.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    pub(crate) name: String,
    pub(crate) publisher: TransactionalPublish,
    pub(crate) store: Option<Rows>,
    pub(crate) runtime: &'a Runtime,
}

/// Rows of a store.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) store: Arc<dyn VerdictStore>,
    /// Whether they may take the place of rows that the line wrote.
    pub(crate) overwrite: bool,
}

impl Output<'_> {
    /// Writes a round and the state after it: records in one transaction with the state; rows before it, since a row that is
    /// written twice is written once.
    pub(crate) fn write(&mut self, scored: Scored, state: &mut State) -> anyhow::Result<()> {
        let mut outbox = match (scored, &self.store) {
            (Scored::Records(records), _) => records,
            (Scored::Verdicts(verdicts), Some(rows)) => {
                let refused = self.runtime.block_on(rows.write(verdicts))?;
                state.counts.take_back(refused);
                Vec::new()
            }
            (Scored::Verdicts(_), None) => return Err(anyhow!("rows without a store")),
        };
        outbox.push(state.to_outgoing(&self.name)?);
        let mut waits = BACKOFF.attempts_at_most(ATTEMPTS_MAX);
        loop {
            match (self.publisher.write(&outbox), waits.next()) {
                (Ok(()), _) => return Ok(()),
                (Err(TransactionError::Aborted(reason)), Some(wait)) => {
                    tracing::warn!(reason, "writing the round again");
                    thread::sleep(wait);
                }
                (Err(TransactionError::Fenced(reason)), _) => {
                    return Err(anyhow!("another run of this replay has taken over: {reason}"));
                }
                (Err(error), _) => {
                    return Err(error).context("the same command goes on where this one stopped");
                }
            }
        }
    }
}

impl Rows {
    /// Writes a row for each verdict; how many of them the store will never take.
    async fn write(&self, verdicts: Vec<Verdict>) -> anyhow::Result<u64> {
        let row = if self.overwrite { Row::new } else { Row::backfill };
        let rows: Vec<Row> = verdicts.into_iter().map(row).collect();
        match self.upsert(&rows).await {
            Err(StoreError::Refused(_)) => {}
            outcome => return Ok(outcome.map(|()| 0)?),
        }
        // One row at fault refuses all, and nobody says which.
        let mut refused = 0;
        for row in &rows {
            match self.upsert(std::slice::from_ref(row)).await {
                Err(StoreError::Refused(reason)) => {
                    tracing::warn!(id = %row.verdict.id, reason, "row refused");
                    refused += 1;
                }
                outcome => outcome?,
            }
        }
        Ok(refused)
    }

    /// Waits for a store that is away.
    async fn upsert(&self, rows: &[Row]) -> Result<(), StoreError> {
        let mut waits = BACKOFF.attempts_at_most(ATTEMPTS_MAX);
        loop {
            match (self.store.upsert(rows).await, waits.next()) {
                (Err(StoreError::Unavailable(reason)), Some(wait)) => {
                    tracing::warn!(reason, "waiting for the store");
                    tokio::time::sleep(wait).await;
                }
                (outcome, _) => return outcome,
            }
        }
    }
}
