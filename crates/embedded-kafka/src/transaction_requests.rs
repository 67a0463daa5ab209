//! What transactional producers ask for: to enlist partitions and offsets, and to end (KIP-98, KIP-447).

use crate::broker::Broker;
use crate::group::Claim;
use crate::ledger::{Committed, Entry, Ledger, Place, Transactions};
use crate::offsets::committed;
use crate::sync::locked;
use crate::topics::{Refusal, storage_error};
use crate::transaction::{Ending, Turn};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::Instant;

/// Who a request says it is from.
#[derive(Debug, Clone, Copy)]
struct Holder<'a> {
    transactional_id: &'a str,
    producer_id: i64,
    epoch: i16,
    /// What a former holder is told, which depends on the request's version (KIP-588).
    fenced: ResponseError,
}

impl Holder<'_> {
    fn check<'l>(&self, ledger: &'l Ledger) -> Result<&'l Transactions, Refusal> {
        let known = ledger.transactions.get(self.transactional_id);
        let known = known.ok_or(Refusal(ResponseError::InvalidProducerIdMapping))?;
        match (known.producer.id == self.producer_id, known.producer.epoch == self.epoch) {
            (false, _) => Err(Refusal(ResponseError::InvalidProducerIdMapping)),
            (true, false) => Err(Refusal(self.fenced)),
            (true, true) => Ok(known),
        }
    }
}

fn fenced_since(version: i16, first: i16) -> ResponseError {
    if first <= version {
        ResponseError::ProducerFenced
    } else {
        ResponseError::InvalidProducerEpoch
    }
}

impl Broker {
    pub(crate) fn add_partitions_to_txn(
        self: &Arc<Self>,
        request: &AddPartitionsToTxnRequest,
        version: i16,
    ) -> AddPartitionsToTxnResponse {
        let holder = Holder {
            transactional_id: &request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id.0,
            epoch: request.v3_and_below_producer_epoch,
            fenced: fenced_since(version, 2),
        };
        let places: BTreeSet<Place> = request
            .v3_and_below_topics
            .iter()
            .flat_map(|topic| {
                topic.partitions.iter().map(|number| (topic.name.to_string(), *number))
            })
            .map(|(topic, partition)| Place { topic, partition })
            .collect();
        let is_known =
            |place: &Place| self.topics.partition(&place.topic, place.partition).is_some();
        let all_known = places.iter().all(is_known);
        let enlisted = if all_known { self.enlist(holder, &places) } else { Ok(()) };
        let code = |place: &Place| match &enlisted {
            Err(error) => error.code(),
            Ok(()) if all_known => 0,
            Ok(()) if is_known(place) => ResponseError::OperationNotAttempted.code(),
            Ok(()) => ResponseError::UnknownTopicOrPartition.code(),
        };
        let results = request.v3_and_below_topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|number| {
                let place = Place { topic: topic.name.to_string(), partition: *number };
                AddPartitionsToTxnPartitionResult::default()
                    .with_partition_index(*number)
                    .with_partition_error_code(code(&place))
            });
            AddPartitionsToTxnTopicResult::default()
                .with_name(topic.name.clone())
                .with_results_by_partition(partitions.collect())
        });
        AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
    }

    fn enlist(
        self: &Arc<Self>,
        holder: Holder<'_>,
        places: &BTreeSet<Place>,
    ) -> Result<(), ResponseError> {
        let turn = self.take_turn(holder.transactional_id)?;
        self.journal.decide(|ledger| {
            let ongoing = holder.check(ledger)?.ongoing.as_ref();
            let is_listed =
                |place: &&Place| ongoing.is_some_and(|ongoing| ongoing.places.contains(*place));
            let new: Vec<Place> =
                places.iter().filter(|place| !is_listed(place)).cloned().collect();
            let entry = Entry::Enlisted {
                transactional_id: turn.transactional_id.clone(),
                places: new.clone(),
            };
            if new.is_empty() && ongoing.is_some() {
                Ok((vec![], ()))
            } else {
                Ok::<_, Refusal>((vec![entry], ()))
            }
        })?;
        for partition in
            places.iter().filter_map(|place| self.topics.partition(&place.topic, place.partition))
        {
            partition.log().contents_mut().enlist(holder.producer_id, holder.epoch);
        }
        self.begin_clock(holder.transactional_id, Instant::now());
        Ok(())
    }

    pub(crate) fn add_offsets_to_txn(
        self: &Arc<Self>,
        request: &AddOffsetsToTxnRequest,
        version: i16,
    ) -> AddOffsetsToTxnResponse {
        let holder = Holder {
            transactional_id: &request.transactional_id,
            producer_id: request.producer_id.0,
            epoch: request.producer_epoch,
            fenced: fenced_since(version, 2),
        };
        let code = self.enlist(holder, &BTreeSet::new()).err().map_or(0, |error| error.code());
        AddOffsetsToTxnResponse::default().with_error_code(code)
    }

    pub(crate) async fn txn_offset_commit(
        self: &Arc<Self>,
        request: &TxnOffsetCommitRequest,
    ) -> TxnOffsetCommitResponse {
        let is_known = |topic: &str, partition| self.topics.partition(topic, partition).is_some();
        let offsets = request.topics.iter().flat_map(|topic| {
            topic
                .partitions
                .iter()
                .filter(|partition| is_known(&topic.name, partition.partition_index))
                .map(|partition| {
                    let place = Place {
                        topic: topic.name.to_string(),
                        partition: partition.partition_index,
                    };
                    (
                        place,
                        committed(
                            partition.committed_offset,
                            partition.committed_metadata.as_deref(),
                        ),
                    )
                })
        });
        let pending = self.add_pending(request, offsets.collect()).await;
        let code = |topic: &str, partition| match &pending {
            Err(error) => error.code(),
            Ok(()) if is_known(topic, partition) => 0,
            Ok(()) => ResponseError::UnknownTopicOrPartition.code(),
        };
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code(&topic.name, partition.partition_index))
            });
            TxnOffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        TxnOffsetCommitResponse::default().with_topics(topics.collect())
    }

    async fn add_pending(
        self: &Arc<Self>,
        request: &TxnOffsetCommitRequest,
        offsets: Vec<(Place, Committed)>,
    ) -> Result<(), ResponseError> {
        let holder = Holder {
            transactional_id: &request.transactional_id,
            producer_id: request.producer_id.0,
            epoch: request.producer_epoch,
            fenced: ResponseError::InvalidProducerEpoch,
        };
        let turn = self.await_turn(holder.transactional_id).await?;
        let position = {
            let mut groups = locked(&self.groups);
            let (member_id, generation) = (&request.member_id, request.generation_id);
            let is_anonymous = generation < 0 && member_id.is_empty();
            if !is_anonymous {
                let group = groups
                    .get_mut(request.group_id.as_str())
                    .ok_or(ResponseError::IllegalGeneration)?;
                let instance = request.group_instance_id.as_ref();
                group.check(Claim { member_id, instance, generation }, Instant::now())?;
            }
            let (position, ()) = self.journal.decide(|ledger| {
                let ongoing = holder.check(ledger)?.ongoing.as_ref();
                ongoing.ok_or(Refusal(ResponseError::InvalidTxnState))?;
                let (transactional_id, group) =
                    (turn.transactional_id.clone(), request.group_id.to_string());
                Ok::<_, Refusal>((vec![Entry::Pending { transactional_id, group, offsets }], ()))
            })?;
            position
        };
        // Were it lost while the transaction goes on, its commit would leave the offsets out.
        self.journal.settle(position).await.map_err(|error| storage_error(&error))
    }

    pub(crate) async fn end_txn(
        self: &Arc<Self>,
        request: &EndTxnRequest,
        version: i16,
    ) -> EndTxnResponse {
        let holder = Holder {
            transactional_id: &request.transactional_id,
            producer_id: request.producer_id.0,
            epoch: request.producer_epoch,
            fenced: fenced_since(version, 2),
        };
        let code = self
            .end_transaction(holder, request.committed)
            .await
            .err()
            .map_or(0, |error| error.code());
        EndTxnResponse::default().with_error_code(code)
    }

    async fn end_transaction(
        self: &Arc<Self>,
        holder: Holder<'_>,
        commit: bool,
    ) -> Result<(), ResponseError> {
        let turn: Turn = self.take_turn(holder.transactional_id)?;
        let (is_open, outcome) = self.journal.read(|ledger| {
            let known = holder.check(ledger)?;
            Ok::<_, Refusal>((known.ongoing.is_some(), known.producer.outcome))
        })?;
        match (is_open, outcome) {
            (true, _) => {
                let ending = if commit { Ending::Commit } else { Ending::Abort };
                // It goes on when the client goes away: a decision must get its markers.
                let done = self.tasks.spawn(async move { turn.end(ending).await });
                done.await.unwrap_or(Err(ResponseError::CoordinatorNotAvailable))
            }
            // The answer to the same request was lost.
            (false, Some(outcome)) if outcome == commit => Ok(()),
            (false, _) => Err(ResponseError::InvalidTxnState),
        }
    }
}
