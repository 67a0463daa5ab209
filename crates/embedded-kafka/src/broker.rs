//! What all connections share, and what happens without a request: timeouts, syncs, retention.

use crate::StartError;
use crate::clock;
use crate::group::Group;
use crate::journal::Journal;
use crate::ledger::Entry;
use crate::settings::{Fsync, Settings};
use crate::sync::locked;
use crate::topics::Topics;
use crate::transaction::Coordinator;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// How often sessions and transactions are checked for being over time.
const TIMEOUTS_EVERY: Duration = Duration::from_millis(50);
/// How often a sync is made up for whose request went away before it was done.
const STRAYS_EVERY: Duration = Duration::from_millis(200);
const RETENTION_EVERY: Duration = Duration::from_secs(1);
const SWEEP_EVERY: Duration = Duration::from_hours(1);
/// A day, as Kafka's `producer.id.expiration.ms`.
const SILENT_SWEEPS_MAX: u32 = 24;
/// Seven days, as Kafka's `offsets.retention.minutes` and `transactional.id.expiration.ms`.
const FORGET_AFTER_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// One broker.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) settings: Arc<Settings>,
    /// Where clients are told to connect to.
    pub(crate) address: SocketAddr,
    pub(crate) cluster: String,
    pub(crate) journal: Journal,
    pub(crate) topics: Topics,
    pub(crate) groups: Mutex<HashMap<String, Group>>,
    pub(crate) coordinator: Coordinator,
    /// What must be finished even when the client that asked for it is gone.
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: CancellationToken,
}

impl Broker {
    /// Reads the directory and finishes what a crash cut off.
    pub(crate) fn open(settings: Arc<Settings>, address: SocketAddr) -> Result<Broker, StartError> {
        let data_dir = settings.data_dir.clone();
        let failed = |source| StartError::Io {
            context: "opening the journal in",
            path: data_dir.clone(),
            source,
        };
        let journal =
            Journal::open(&data_dir, settings.journal_bytes_max, settings.fsync).map_err(failed)?;
        if journal.read(|ledger| ledger.cluster.is_nil()) {
            journal.record(Entry::Cluster { id: Uuid::new_v4() }).map_err(failed)?;
        }
        let cluster = journal.read(|ledger| ledger.cluster.simple().to_string());
        let topics = Topics::open(Arc::clone(&settings), &journal)?;
        let broker = Broker {
            settings,
            address,
            cluster,
            journal,
            topics,
            groups: Mutex::default(),
            coordinator: Coordinator::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        };
        broker.recover_transactions().map_err(failed)?;
        Ok(broker)
    }

    /// Does what no request asks for, until the broker stops.
    pub(crate) async fn keep_house(self: Arc<Self>) {
        let sync_every = match self.settings.fsync {
            Fsync::Always => STRAYS_EVERY,
            Fsync::Interval(every) => every,
            Fsync::Never => SWEEP_EVERY,
        };
        let mut timeouts = interval(TIMEOUTS_EVERY);
        let mut syncs = interval(sync_every);
        let mut retention = interval(RETENTION_EVERY);
        let mut sweeps = interval(SWEEP_EVERY);
        for timer in [&mut timeouts, &mut syncs, &mut retention, &mut sweeps] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                _ = timeouts.tick() => self.check_timeouts(Instant::now()),
                _ = syncs.tick() => if self.settings.fsync != Fsync::Never { self.sync_all().await },
                _ = retention.tick() => self.retain(),
                _ = sweeps.tick() => self.sweep(),
            }
        }
    }

    fn check_timeouts(self: &Arc<Self>, now: Instant) {
        locked(&self.groups).retain(|_, group| {
            group.tick(now);
            !group.is_unused()
        });
        self.end_overdue_transactions(now);
    }

    /// Syncs all that is written and not synced.
    pub(crate) async fn sync_all(&self) {
        if let Err(error) = self.journal.sync().await {
            tracing::error!(%error, "the journal could not be synced");
        }
        for (name, topic) in self.topics.all() {
            for partition in topic.partitions.iter().filter(|partition| partition.is_behind()) {
                if let Err(error) = partition.sync().await {
                    tracing::error!(topic = name, ?error, "a partition could not be synced");
                }
            }
        }
    }

    fn retain(&self) {
        let now_ms = clock::now_ms();
        for (name, topic) in self.topics.all() {
            for partition in &topic.partitions {
                let retention = topic.config.retention(now_ms);
                if let Err(error) = partition.retain(retention, topic.config.rolling()) {
                    tracing::warn!(topic = name, %error, "old records could not be removed");
                }
            }
        }
    }

    /// Forgets producers, offsets and transactional ids that nobody has used for long.
    fn sweep(&self) {
        for (_, topic) in self.topics.all() {
            for partition in &topic.partitions {
                partition.log().contents_mut().sweep_producers(SILENT_SWEEPS_MAX);
            }
        }
        let oldest_ms = clock::now_ms() - FORGET_AFTER_MS;
        let mut stale = self.journal.read(|ledger| {
            let producers = ledger.transactions.iter();
            let idle = producers
                .filter(|(_, known)| known.ongoing.is_none() && known.producer.at_ms < oldest_ms);
            idle.map(|(id, _)| Entry::ProducerForgotten { transactional_id: id.clone() })
                .collect::<Vec<_>>()
        });
        let groups = locked(&self.groups);
        stale.extend(self.journal.read(|ledger| {
            let unused = ledger.offsets.iter().filter(|(group, _)| !groups.contains_key(*group));
            let stale = unused.filter(|(_, offsets)| {
                offsets.values().all(|committed| committed.at_ms < oldest_ms)
            });
            stale
                .map(|(group, _)| Entry::OffsetsForgotten { group: group.clone(), places: vec![] })
                .collect::<Vec<_>>()
        }));
        for entry in stale {
            if let Err(error) = self.journal.record(entry) {
                tracing::warn!(%error, "stale offsets stay");
                return;
            }
        }
    }
}
