//! Requests to the cluster: so many at once, each with a bounded wait and few attempts.

use std::{fmt, time::Duration};

use chassis::{Backoff, retry::Jitter};
use futures::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use scylla::{
    client::session::Session,
    deserialize::row::DeserializeRow,
    errors::ExecutionError,
    response::{PagingState, PagingStateResponse, query_result::QueryResult},
    serialize::row::SerializeRow,
    statement::prepared::PreparedStatement,
};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::trouble;
use crate::StoreError;

/// Requests under way for each shard: enough to keep one busy, few enough that none waits long in its queue.
const PER_SHARD: usize = 32;
/// Most requests under way where the settings do not say.
const IN_FLIGHT_MAX: usize = 4_096;

/// Between attempts of one call. Whoever calls has a longer patience of his own: these only outlast the loss of one node.
const BETWEEN_ATTEMPTS: Backoff = Backoff {
    min: Duration::from_millis(20),
    max: Duration::from_millis(200),
    factor: 2.0,
    jitter: Jitter::Equal,
};
const ATTEMPTS_MORE: u32 = 2;

/// What was asked for, and where it goes on.
pub(super) type Answer = (QueryResult, PagingStateResponse);

/// The session, and how much it is asked at once.
pub(super) struct Calls {
    pub(super) session: Session,
    permits: Semaphore,
    in_flight_max: usize,
    wait_max: Duration,
}

impl Calls {
    /// `in_flight_max` of 0 is [`PER_SHARD`] for each shard that is there now.
    pub(super) fn new(session: Session, in_flight_max: usize, wait_max: Duration) -> Self {
        let in_flight_max = match in_flight_max {
            0 => PER_SHARD.saturating_mul(shards(&session)).clamp(PER_SHARD, IN_FLIGHT_MAX),
            set => set.min(Semaphore::MAX_PERMITS),
        };
        Self { session, permits: Semaphore::new(in_flight_max), in_flight_max, wait_max }
    }

    /// Runs `statement`, which must be idempotent.
    pub(super) async fn run(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow + Send + Sync,
    ) -> Result<QueryResult, StoreError> {
        Ok(self.attempt(statement, &values, None).await?.0)
    }

    /// One page of what `statement` reads; its size is the statement's.
    pub(super) async fn page(
        &self,
        statement: &PreparedStatement,
        from: PagingState,
    ) -> Result<Answer, StoreError> {
        self.attempt(statement, &(), Some(from)).await
    }

    /// Does all of `work`, as much at once as there may be requests, until one fails. The answers are in the order of the work.
    pub(super) async fn all<T: Send>(
        &self,
        work: Vec<BoxFuture<'_, Result<T, StoreError>>>,
    ) -> Result<Vec<T>, StoreError> {
        stream::iter(work).buffered(self.in_flight_max).try_collect().await
    }

    async fn attempt(
        &self,
        statement: &PreparedStatement,
        values: &(impl SerializeRow + Send + Sync),
        from: Option<PagingState>,
    ) -> Result<Answer, StoreError> {
        let attempts = async {
            let mut waits = BETWEEN_ATTEMPTS.attempts_at_most(ATTEMPTS_MORE);
            loop {
                let permit = self.permits.acquire().await;
                let answer = self.once(statement, values, from.clone()).await;
                drop(permit);
                let error = match answer {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                };
                match waits.next() {
                    Some(wait) if trouble::is_worth_another_attempt(&error) => sleep(wait).await,
                    _ => return Err(trouble::of_call(&error)),
                }
            }
        };
        timeout(self.wait_max, attempts).await.unwrap_or_else(|_elapsed| {
            Err(StoreError::Unavailable(format!("no answer within {:?}", self.wait_max)))
        })
    }

    async fn once(
        &self,
        statement: &PreparedStatement,
        values: &(impl SerializeRow + Send + Sync),
        from: Option<PagingState>,
    ) -> Result<Answer, ExecutionError> {
        if let Some(from) = from {
            return self.session.execute_single_page(statement, values, from).await;
        }
        let answer = self.session.execute_unpaged(statement, values).await?;
        Ok((answer, PagingStateResponse::NoMorePages))
    }
}

/// The rows of an answer.
pub(super) fn rows<T>(answer: QueryResult) -> Result<Vec<T>, StoreError>
where
    T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
{
    let rows = answer.into_rows_result().map_err(|error| trouble::of_answer(&error))?;
    let rows = rows.rows::<T>().map_err(|error| trouble::of_answer(&error))?;
    rows.collect::<Result<_, _>>().map_err(|error| trouble::of_answer(&error))
}

/// A node of Cassandra has no shards and counts as one.
fn shards(session: &Session) -> usize {
    let cluster = session.get_cluster_state();
    let nodes = cluster.get_nodes_info().iter();
    nodes.map(|node| node.sharder().map_or(1, |sharder| usize::from(sharder.nr_shards.get()))).sum()
}

impl fmt::Debug for Calls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Calls")
            .field("in_flight_max", &self.in_flight_max)
            .finish_non_exhaustive()
    }
}
