//! Positions: those of logs (`ListOffsets`, `DeleteRecords`) and those that groups commit (`OffsetCommit`, `OffsetFetch`).

use crate::batch;
use crate::broker::Broker;
use crate::clock;
use crate::fetch::READ_COMMITTED;
use crate::group::{Claim, Group, Phase};
use crate::ledger::{Committed, Entry, Place};
use crate::partition::Partition;
use crate::sync::locked;
use crate::topics::storage_error;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, ListOffsetsRequest, ListOffsetsResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// The `timestamp` that asks for the end.
const LATEST: i64 = -1;
/// The `timestamp` that asks for the beginning.
const EARLIEST: i64 = -2;
/// Kafka's `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4_096;

/// A position to commit now.
pub(crate) fn committed(offset: i64, metadata: Option<&str>) -> Committed {
    Committed { offset, metadata: metadata.unwrap_or_default().to_owned(), at_ms: clock::now_ms() }
}

impl Broker {
    pub(crate) fn list_offsets(&self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|asked| {
            let topic = self.topics.get(&asked.name);
            let partitions = asked.partitions.iter().map(|asked| {
                let partition =
                    topic.as_ref().and_then(|topic| topic.partition(asked.partition_index));
                let found = match partition {
                    None => Err(ResponseError::UnknownTopicOrPartition),
                    Some(partition) => {
                        find_offset(partition, asked.timestamp, request.isolation_level)
                    }
                };
                let response = ListOffsetsPartitionResponse::default()
                    .with_partition_index(asked.partition_index);
                match found {
                    Ok((offset, timestamp)) => {
                        response.with_offset(offset).with_timestamp(timestamp)
                    }
                    Err(error) => {
                        response.with_error_code(error.code()).with_offset(-1).with_timestamp(-1)
                    }
                }
            });
            ListOffsetsTopicResponse::default()
                .with_name(asked.name.clone())
                .with_partitions(partitions.collect())
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    pub(crate) async fn delete_records(
        &self,
        request: &DeleteRecordsRequest,
    ) -> DeleteRecordsResponse {
        let topics = request.topics.iter().map(|asked| {
            let partitions = asked.partitions.iter().map(|asked_partition| {
                let number = asked_partition.partition_index;
                let place = Place { topic: asked.name.to_string(), partition: number };
                let result = DeleteRecordsPartitionResult::default().with_partition_index(number);
                match self.delete_before(place, asked_partition.offset) {
                    Ok(start) => result.with_low_watermark(start),
                    Err(error) => result.with_error_code(error.code()).with_low_watermark(-1),
                }
            });
            DeleteRecordsTopicResult::default()
                .with_name(asked.name.clone())
                .with_partitions(partitions.collect())
        });
        let response = DeleteRecordsResponse::default().with_topics(topics.collect());
        if let Err(error) = self.journal.settle_all().await {
            storage_error(&error);
        }
        response
    }

    fn delete_before(&self, place: Place, offset: i64) -> Result<i64, ResponseError> {
        let partition = self.topics.partition(&place.topic, place.partition);
        let partition = partition.ok_or(ResponseError::UnknownTopicOrPartition)?;
        let bounds = partition.bounds();
        let offset = if offset == LATEST { bounds.end } else { offset };
        if !(0..=bounds.end).contains(&offset) {
            return Err(ResponseError::OffsetOutOfRange);
        }
        if bounds.start < offset {
            self.journal
                .record(Entry::LogStart { place, offset })
                .map_err(|error| storage_error(&error))?;
            partition.log().advance_start(offset);
        }
        Ok(partition.bounds().start)
    }

    pub(crate) async fn offset_commit(
        &self,
        request: &OffsetCommitRequest,
    ) -> OffsetCommitResponse {
        let refusal = |topic: &str, partition, metadata: Option<&str>| match self
            .topics
            .partition(topic, partition)
        {
            None => Some(ResponseError::UnknownTopicOrPartition),
            Some(_) if METADATA_BYTES_MAX < metadata.map_or(0, str::len) => {
                Some(ResponseError::OffsetMetadataTooLarge)
            }
            Some(_) => None,
        };
        let mut offsets = Vec::new();
        for topic in &request.topics {
            for asked in &topic.partitions {
                let metadata = asked.committed_metadata.as_deref();
                if refusal(&topic.name, asked.partition_index, metadata).is_none() {
                    let place =
                        Place { topic: topic.name.to_string(), partition: asked.partition_index };
                    offsets.push((place, committed(asked.committed_offset, metadata)));
                }
            }
        }
        let outcome = match self.commit(request, offsets) {
            Ok(position) => {
                self.journal.settle(position).await.map_err(|error| storage_error(&error))
            }
            Err(error) => Err(error),
        };
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let refused = refusal(
                    &topic.name,
                    asked.partition_index,
                    asked.committed_metadata.as_deref(),
                );
                let error = outcome.err().or(refused);
                OffsetCommitResponsePartition::default()
                    .with_partition_index(asked.partition_index)
                    .with_error_code(error.map_or(0, |error| error.code()))
            });
            OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        OffsetCommitResponse::default().with_topics(topics.collect())
    }

    fn commit(
        &self,
        request: &OffsetCommitRequest,
        offsets: Vec<(Place, Committed)>,
    ) -> Result<i64, ResponseError> {
        let mut groups = locked(&self.groups);
        let (member_id, generation) = (&request.member_id, request.generation_id_or_member_epoch);
        let instance = request.group_instance_id.as_ref();
        let group = groups.get_mut(request.group_id.as_str());
        check_committer(group, Claim { member_id, instance, generation })?;
        let entry = Entry::Offsets { group: request.group_id.to_string(), offsets };
        self.journal.record(entry).map_err(|error| storage_error(&error))
    }

    pub(crate) fn offset_fetch(&self, request: &OffsetFetchRequest) -> OffsetFetchResponse {
        let group = request.group_id.as_str();
        self.journal.read(|ledger| {
            let known = ledger.offsets.get(group);
            let asked: Vec<(TopicName, Vec<i32>)> = if let Some(topics) = &request.topics {
                topics
                    .iter()
                    .map(|asked| (asked.name.clone(), asked.partition_indexes.clone()))
                    .collect()
            } else {
                let mut all: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
                for place in known.iter().flat_map(|offsets| offsets.keys()) {
                    all.entry(&place.topic).or_default().push(place.partition);
                }
                let name = |topic: &str| TopicName(StrBytes::from_string(topic.to_owned()));
                all.into_iter().map(|(topic, partitions)| (name(topic), partitions)).collect()
            };
            let topics = asked.into_iter().map(|(name, numbers)| {
                let partitions = numbers.into_iter().map(|number| {
                    let place = Place { topic: name.to_string(), partition: number };
                    // A position that an open transaction is about to move is not for the next owner yet (KIP-447).
                    if request.require_stable && ledger.is_unstable(group, &place) {
                        position(number, None)
                            .with_error_code(ResponseError::UnstableOffsetCommit.code())
                    } else {
                        position(number, known.and_then(|offsets| offsets.get(&place)))
                    }
                });
                let partitions = partitions.collect();
                OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions)
            });
            OffsetFetchResponse::default().with_topics(topics.collect())
        })
    }
}

/// Whether a commit comes from a member of the present generation, or from outside of a group without members.
fn check_committer(group: Option<&mut Group>, claim: Claim<'_>) -> Result<(), ResponseError> {
    let is_anonymous = claim.generation < 0 && claim.member_id.is_empty();
    match group {
        None if claim.generation < 0 => Ok(()),
        None => Err(ResponseError::IllegalGeneration),
        Some(group) if is_anonymous && group.members.is_empty() => Ok(()),
        Some(group) => {
            group.check(claim, Instant::now())?;
            match group.phase {
                Phase::Syncing => Err(ResponseError::RebalanceInProgress),
                Phase::Empty | Phase::Joining { .. } | Phase::Stable => Ok(()),
            }
        }
    }
}

fn position(number: i32, committed: Option<&Committed>) -> OffsetFetchResponsePartition {
    let metadata = committed.map(|committed| committed.metadata.clone()).unwrap_or_default();
    OffsetFetchResponsePartition::default()
        .with_partition_index(number)
        .with_committed_offset(committed.map_or(-1, |committed| committed.offset))
        .with_committed_leader_epoch(-1)
        .with_metadata(Some(StrBytes::from_string(metadata)))
}

fn find_offset(
    partition: &Partition,
    timestamp: i64,
    isolation: i8,
) -> Result<(i64, i64), ResponseError> {
    let bounds = partition.bounds();
    let end = if isolation == READ_COMMITTED { bounds.stable } else { bounds.end };
    match timestamp {
        LATEST => return Ok((end, -1)),
        EARLIEST => return Ok((bounds.start, -1)),
        _ => {}
    }
    let spans = partition.log().spans_from_time(timestamp);
    for span in spans {
        let found = span.find(|header, bytes| {
            let is_candidate =
                timestamp <= header.max_timestamp && bounds.start <= header.last_offset();
            is_candidate.then(|| batch::first_at_or_after(bytes, header, timestamp))
        });
        if let Some((offset, time)) = found.map_err(|error| storage_error(&error))? {
            return Ok(if offset < end { (offset.max(bounds.start), time) } else { (-1, -1) });
        }
    }
    Ok((-1, -1))
}
