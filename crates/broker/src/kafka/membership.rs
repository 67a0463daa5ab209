//! What a consumer learns about its place in the group: partitions come and go, and under which generation.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chassis::clock;
use rdkafka::{
    TopicPartitionList,
    client::ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, ConsumerGroupMetadata, Rebalance},
    error::KafkaError,
    statistics::Statistics,
};

use super::client::{log_error, log_line};
use crate::{
    exchange::Assignment,
    ledger::{Ledger, Partition},
    standing::{Report, Reports, Standing},
};

/// The context of a consumer in a group.
///
/// librdkafka calls it only from within `poll` (or when the consumer is dropped), so on the thread of the exchange; the lock
/// is never contended.
#[derive(Default)]
pub(super) struct Membership {
    state: Mutex<State>,
}

/// What rebalances have told so far.
#[derive(Default)]
pub(super) struct State {
    /// The records in hand.
    pub(super) ledger: Ledger,
    /// Whether a first assignment has come.
    pub(super) is_assigned: bool,
    /// Who we were, and in which generation, when the last assignment was handed to us.
    ///
    /// It is taken here and not at the commit, because librdkafka joins the next generation in the background, before
    /// we have seen what that takes away from us, and the coordinator checks the generation only, not who owns a
    /// partition. With that new generation a member that was thrown out and came back could commit what another
    /// has committed meanwhile; with this one it is refused.
    pub(super) generation: Option<Arc<ConsumerGroupMetadata>>,
    pub(super) assignment: Assignment,
    reports: Reports,
}

impl Membership {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn standing(&self) -> Standing {
        self.state().reports.standing(clock::monotonic())
    }
}

impl ClientContext for Membership {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let reports = statistics.topics.into_values().flat_map(|topic| {
            let name: Arc<str> = Arc::from(topic.topic);
            // Those that were here once are still told of, as are those that nothing is known of yet.
            let partitions = topic.partitions.into_values();
            let active = partitions.filter(|it| it.fetch_state == "active" && 0 <= it.ls_offset);
            active.map(move |it| {
                let next = it.app_offset.max(it.committed_offset).max(it.lo_offset);
                let report = Report { stable: it.ls_offset, end: it.hi_offset, next };
                ((Arc::clone(&name), it.partition), report)
            })
        });
        self.state().reports.take(reports, clock::monotonic());
    }
}

impl ConsumerContext for Membership {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(added) => {
                // librdkafka stays in this generation until the assignment is acknowledged, after this returns.
                let generation = consumer.group_metadata().map(Arc::new);
                let mut state = self.state();
                state.generation = generation;
                state.is_assigned = true;
                state.assignment.partitions.extend(partitions(added));
                state.assignment.changes += 1;
                tracing::info!(partitions = ?partitions(added), "partitions assigned");
            }
            Rebalance::Revoke(removed) => {
                let removed = partitions(removed);
                let mut state = self.state();
                for partition in &removed {
                    state.ledger.revoke(partition);
                    state.assignment.partitions.remove(partition);
                }
                state.assignment.changes += 1;
                tracing::info!(partitions = ?removed, "partitions revoked");
            }
            Rebalance::Error(error) => tracing::warn!(%error, "rebalance failed"),
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements()
        .iter()
        .map(|element| (Arc::from(element.topic()), element.partition()))
        .collect()
}
