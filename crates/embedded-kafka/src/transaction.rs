//! How a transaction ends (KIP-98): a decision in the journal, which is the point of no return, then a marker in every
//! partition that it wrote to.
//!
//! Between the two a crash may come. The decision is kept until the next one of the same transactional id, and that one
//! waits until these markers are on disk; so at start every missing marker can be written again from the last decision.

#[cfg(test)]
mod tests;

use crate::batch::{self, Header};
use crate::broker::Broker;
use crate::clock;
use crate::contents::Open;
use crate::ledger::{Decision, Entry, Ledger, Place, Transactions};
use crate::log::{AppendError, Rolling};
use crate::partition::Partition;
use crate::sync::locked;
use crate::topics::{Refusal, storage_error};
use kafka_protocol::ResponseError;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long to wait before markers are tried again when the disk refuses.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for a request of the same transactional id that is being handled, and how often that is looked at.
const TURN_WAIT_MAX: Duration = Duration::from_secs(1);
const TURN_LOOK_EVERY: Duration = Duration::from_millis(1);
/// Markers never begin a new segment: they are a hundred bytes.
const NO_ROLLING: Rolling = Rolling { segment_bytes: u64::MAX, segment_ms: i64::MAX };

/// What of transactions is not in the journal.
#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    /// Transactional ids that something is being done for.
    busy: Mutex<HashSet<String>>,
    /// When each open transaction began.
    since: Mutex<HashMap<String, Instant>>,
    pub(crate) producer_ids: Mutex<std::ops::Range<i64>>,
}

/// The right to change the state of one transactional id.
#[derive(Debug)]
pub(crate) struct Turn {
    broker: Arc<Broker>,
    pub(crate) transactional_id: String,
}

/// How to end a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Commit,
    Abort,
    /// Abort, and let the producer that began it do nothing any more.
    Fence,
}

impl Drop for Turn {
    fn drop(&mut self) {
        locked(&self.broker.coordinator.busy).remove(&self.transactional_id);
    }
}

impl Broker {
    /// Takes the turn of a transactional id, or says that another request has it.
    pub(crate) fn take_turn(
        self: &Arc<Self>,
        transactional_id: &str,
    ) -> Result<Turn, ResponseError> {
        if locked(&self.coordinator.busy).insert(transactional_id.to_owned()) {
            Ok(Turn { broker: Arc::clone(self), transactional_id: transactional_id.to_owned() })
        } else {
            Err(ResponseError::ConcurrentTransactions)
        }
    }

    /// As [`Broker::take_turn`], but waits for the other request. For `TxnOffsetCommit`, which clients send beside
    /// `AddPartitionsToTxn` and to the group's coordinator, which in Kafka does not know of the other: told that transactions
    /// are concurrent, librdkafka asks again only after half a second.
    pub(crate) async fn await_turn(
        self: &Arc<Self>,
        transactional_id: &str,
    ) -> Result<Turn, ResponseError> {
        let deadline = Instant::now() + TURN_WAIT_MAX;
        loop {
            match self.take_turn(transactional_id) {
                Err(_busy) if Instant::now() < deadline => sleep(TURN_LOOK_EVERY).await,
                taken => return taken,
            }
        }
    }

    /// Remembers when a transaction began.
    pub(crate) fn begin_clock(&self, transactional_id: &str, now: Instant) {
        locked(&self.coordinator.since).entry(transactional_id.to_owned()).or_insert(now);
    }

    /// Aborts transactions that have been open longer than their producers asked for, and fences those producers.
    pub(crate) fn end_overdue_transactions(self: &Arc<Self>, now: Instant) {
        let since = locked(&self.coordinator.since).clone();
        if since.is_empty() {
            return;
        }
        let overdue = self.journal.read(|ledger| {
            let timeout =
                |id: &str| ledger.transactions.get(id).map_or(0, |known| known.producer.timeout_ms);
            let limit = |id: &str| Duration::from_millis(u64::try_from(timeout(id)).unwrap_or(0));
            since
                .into_iter()
                .filter(|(id, began)| limit(id) < now - *began)
                .map(|(id, _)| id)
                .collect::<Vec<_>>()
        });
        for id in overdue {
            let Ok(turn) = self.take_turn(&id) else { continue };
            self.tasks.spawn(async move {
                tracing::warn!(transactional_id = turn.transactional_id, "a transaction timed out and is aborted");
                if let Err(error) = turn.end(Ending::Fence).await {
                    tracing::warn!(transactional_id = turn.transactional_id, %error, "it could not be aborted");
                }
            });
        }
    }

    /// Writes the markers that a crash cut off, and takes up what was open.
    pub(crate) fn recover_transactions(&self) -> io::Result<()> {
        let (known, next_id) =
            self.journal.read(|ledger| (ledger.transactions.clone(), ledger.next_producer_id));
        *locked(&self.coordinator.producer_ids) = next_id..next_id;
        for (transactional_id, transactions) in &known {
            if let Some(decision) = &transactions.decision {
                let count = self.write_markers(decision, |open, end| {
                    open.is_some_and(|open| open.first_offset < end)
                })?;
                if 0 < count {
                    tracing::warn!(
                        transactional_id,
                        count,
                        commit = decision.commit,
                        "missing markers written"
                    );
                }
            }
            if let Some(ongoing) = &transactions.ongoing {
                self.begin_clock(transactional_id, Instant::now());
                for partition in ongoing.places.iter().filter_map(|place| self.partition(place)) {
                    partition
                        .log()
                        .contents_mut()
                        .enlist(transactions.producer.id, transactions.producer.epoch);
                }
            }
        }
        for (name, topic) in self.topics.all() {
            for (number, partition) in (0..).zip(&topic.partitions) {
                let open: Vec<Open> = partition.log().contents().open_transactions().collect();
                for open in open {
                    self.adopt(Place { topic: name.clone(), partition: number }, partition, open)?;
                }
            }
        }
        Ok(())
    }

    /// Finds the owner of a transaction that is open in a log. The journal may lack the line, since enlisting is not synced.
    fn adopt(&self, place: Place, partition: &Partition, open: Open) -> io::Result<()> {
        let owner = self.journal.read(|ledger| {
            let mut all = ledger.transactions.iter();
            let found = all.find(|(_, known)| {
                known.producer.id == open.producer_id && known.producer.epoch == open.epoch
            });
            found.map(|(id, known)| {
                let is_listed =
                    known.ongoing.as_ref().is_some_and(|ongoing| ongoing.places.contains(&place));
                (id.clone(), is_listed)
            })
        });
        match owner {
            Some((_, true)) => {}
            Some((transactional_id, false)) => {
                self.begin_clock(&transactional_id, Instant::now());
                partition.log().contents_mut().enlist(open.producer_id, open.epoch);
                self.journal.record(Entry::Enlisted { transactional_id, places: vec![place] })?;
            }
            None => {
                tracing::warn!(
                    ?place,
                    producer_id = open.producer_id,
                    "a transaction that nobody owns is aborted"
                );
                append_marker(partition, open.producer_id, open.epoch, false)?;
            }
        }
        Ok(())
    }

    fn partition(&self, place: &Place) -> Option<Arc<Partition>> {
        self.topics.partition(&place.topic, place.partition)
    }

    /// Writes markers where they are missing; `is_missing` is asked with what is open there and the decision's end.
    fn write_markers(
        &self,
        decision: &Decision,
        is_missing: impl Fn(Option<Open>, i64) -> bool,
    ) -> io::Result<usize> {
        let mut count = 0;
        for (place, end) in &decision.places {
            let Some(partition) = self.partition(place) else { continue };
            let open = partition.log().contents().open_of(decision.producer_id);
            if is_missing(open, *end) {
                append_marker(&partition, decision.producer_id, decision.epoch, decision.commit)?;
                partition.ring();
                count += 1;
            }
        }
        Ok(count)
    }
}

impl Turn {
    /// Ends the open transaction. When it is answered, readers see the outcome.
    pub(crate) async fn end(&self, ending: Ending) -> Result<(), ResponseError> {
        let broker = &self.broker;
        let places = broker
            .journal
            .read(|ledger| ledger.transactions.get(&self.transactional_id).map(all_places));
        for partition in
            places.unwrap_or_default().iter().filter_map(|place| broker.partition(place))
        {
            // Its records must not be less durable than the decision on them; and the markers of the decision before must
            // be on disk when this one takes its place.
            partition.settle().await.map_err(|error| append_error(&error))?;
        }
        let (position, decision) = broker.journal.decide(|ledger| {
            let decision = self.decision(ledger, ending)?;
            let transactional_id = self.transactional_id.clone();
            Ok::<_, Refusal>((
                vec![Entry::Decided { transactional_id, decision: decision.clone() }],
                decision,
            ))
        })?;
        broker.journal.settle(position).await.map_err(|error| storage_error(&error))?;
        locked(&broker.coordinator.since).remove(&self.transactional_id);
        self.finish(decision).await;
        Ok(())
    }

    fn decision(&self, ledger: &Ledger, ending: Ending) -> Result<Decision, Refusal> {
        let known = ledger.transactions.get(&self.transactional_id);
        let known = known.ok_or(Refusal(ResponseError::InvalidProducerIdMapping))?;
        let ongoing = known.ongoing.as_ref().ok_or(Refusal(ResponseError::InvalidTxnState))?;
        let end_of =
            |place: &Place| self.broker.partition(place).map(|partition| partition.log().next());
        let places = ongoing
            .places
            .iter()
            .filter_map(|place| Some((place.clone(), end_of(place)?)))
            .collect();
        let epoch = match ending {
            Ending::Commit | Ending::Abort => known.producer.epoch,
            Ending::Fence => known.producer.epoch.saturating_add(1),
        };
        let (producer_id, commit, at_ms) =
            (known.producer.id, ending == Ending::Commit, clock::now_ms());
        Ok(Decision { producer_id, epoch, commit, places, at_ms })
    }

    /// What was decided must be done, however long the disk refuses.
    async fn finish(&self, decision: Decision) {
        let broker = &self.broker;
        let mut remaining = decision;
        loop {
            let done: Vec<Place> =
                remaining.places.iter().map(|(place, _)| place.clone()).collect();
            match mark_each(broker, &mut remaining) {
                Ok(()) => {
                    for partition in done.iter().filter_map(|place| broker.partition(place)) {
                        broker.tasks.spawn(async move { log_failure(partition.settle().await) });
                    }
                    return;
                }
                Err(error) => tracing::error!(%error, "markers are tried again"),
            }
            tokio::select! {
                () = sleep(RETRY_EVERY) => {}
                () = broker.stopping.cancelled() => return,
            }
        }
    }
}

/// Writes the markers one by one, so that a retry goes on where this stopped.
fn mark_each(broker: &Broker, decision: &mut Decision) -> io::Result<()> {
    while let Some(last) = decision.places.pop() {
        let one = Decision { places: vec![last.clone()], ..decision.clone() };
        if let Err(error) = broker.write_markers(&one, |_, _| true) {
            decision.places.push(last);
            return Err(error);
        }
    }
    Ok(())
}

fn log_failure(settled: Result<(), AppendError>) {
    if let Err(error) = settled {
        tracing::error!(?error, "markers could not be synced");
    }
}

fn all_places(known: &Transactions) -> Vec<Place> {
    let decided =
        known.decision.iter().flat_map(|decision| decision.places.iter().map(|(place, _)| place));
    let ongoing = known.ongoing.iter().flat_map(|ongoing| ongoing.places.iter());
    decided.chain(ongoing).cloned().collect()
}

fn append_marker(
    partition: &Partition,
    producer_id: i64,
    epoch: i16,
    commit: bool,
) -> io::Result<()> {
    let bytes = batch::marker(producer_id, epoch, commit);
    let Ok(header) = Header::parse(&bytes) else {
        return Err(io::Error::other("a marker is malformed"));
    };
    match partition.append(bytes, header, NO_ROLLING) {
        // Nobody reads a deleted topic.
        Ok(_) | Err(AppendError::Deleted) => Ok(()),
        Err(AppendError::Io(error)) => Err(error),
        Err(error) => Err(io::Error::other(format!("{error:?}"))),
    }
}

/// What a client is told when its batch was not written.
pub(crate) fn append_error(error: &AppendError) -> ResponseError {
    use crate::producers::SequenceError;
    match error {
        AppendError::Sequence(SequenceError::StaleEpoch) => ResponseError::InvalidProducerEpoch,
        AppendError::Sequence(SequenceError::Gap) => ResponseError::OutOfOrderSequenceNumber,
        AppendError::NotEnlisted => ResponseError::InvalidTxnState,
        AppendError::Deleted => ResponseError::UnknownTopicOrPartition,
        AppendError::Broken => ResponseError::KafkaStorageError,
        AppendError::Io(error) => storage_error(error),
    }
}
