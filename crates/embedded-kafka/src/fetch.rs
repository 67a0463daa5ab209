//! `Fetch`: reads batches as stored, and waits for more when there is nothing (KIP-227 sessions are not offered: every
//! request names all of its partitions).

use crate::broker::Broker;
use crate::partition::{Partition, Watch};
use crate::segment::Wanted;
use crate::topics::storage_error;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Kafka's `fetch.max.bytes` of the broker.
const BYTES_MAX: usize = 55 << 20;
const WAIT_MAX: Duration = Duration::from_mins(5);
/// The `isolation_level` of the protocol.
pub(crate) const READ_COMMITTED: i8 = 1;

/// What one pass over the partitions found.
struct Pass {
    response: FetchResponse,
    bytes: usize,
    has_error: bool,
}

impl Broker {
    /// Answers when there are `min_bytes`, when something is wrong, or when the client does not want to wait longer.
    pub(crate) async fn fetch(&self, request: &FetchRequest) -> FetchResponse {
        let wait =
            Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
        let deadline = Instant::now() + wait;
        let enough = usize::try_from(request.min_bytes).unwrap_or(0);
        let bell = Arc::new(Notify::new());
        // Hung up before the first look, so that nothing that comes in between is missed.
        let _watches = self.watch_all(request, &bell);
        loop {
            let pass = self.pass(request);
            if enough <= pass.bytes || pass.has_error || deadline <= Instant::now() {
                return pass.response;
            }
            tokio::select! {
                // Over time: one more pass answers with what there is.
                _ = timeout_at(deadline, bell.notified()) => {}
                () = self.stopping.cancelled() => return pass.response,
            }
        }
    }

    fn watch_all(&self, request: &FetchRequest, bell: &Arc<Notify>) -> Vec<Watch> {
        let topics =
            request.topics.iter().filter_map(|asked| Some((asked, self.topics.get(&asked.topic)?)));
        let partitions = topics.flat_map(|(asked, topic)| {
            asked
                .partitions
                .iter()
                .filter_map(move |asked| topic.partition(asked.partition).cloned())
        });
        partitions.map(|partition| partition.watch(bell)).collect()
    }

    fn pass(&self, request: &FetchRequest) -> Pass {
        let mut left = usize::try_from(request.max_bytes).unwrap_or(0).min(BYTES_MAX);
        let mut pass = Pass { response: FetchResponse::default(), bytes: 0, has_error: false };
        for asked in &request.topics {
            let topic = self.topics.get(&asked.topic);
            let mut found = FetchableTopicResponse::default().with_topic(asked.topic.clone());
            for asked in &asked.partitions {
                let partition = topic.as_ref().and_then(|topic| topic.partition(asked.partition));
                let data = match partition {
                    None => Err(ResponseError::UnknownTopicOrPartition),
                    Some(partition) => {
                        read(partition, asked, request.isolation_level, left, pass.bytes == 0)
                    }
                };
                let data = data.unwrap_or_else(|error| {
                    pass.has_error = true;
                    failed(error)
                });
                let bytes = data.records.as_ref().map_or(0, Bytes::len);
                (pass.bytes, left) = (pass.bytes + bytes, left.saturating_sub(bytes));
                found.partitions.push(data.with_partition_index(asked.partition));
            }
            pass.response.responses.push(found);
        }
        pass
    }
}

fn read(
    partition: &Partition,
    asked: &FetchPartition,
    isolation: i8,
    left: usize,
    at_least_one: bool,
) -> Result<PartitionData, ResponseError> {
    let bounds = partition.bounds();
    let from = asked.fetch_offset;
    if !(bounds.start..=bounds.written).contains(&from) {
        return Err(ResponseError::OffsetOutOfRange);
    }
    let until = if isolation == READ_COMMITTED { bounds.stable } else { bounds.end };
    let bytes_max = usize::try_from(asked.partition_max_bytes).unwrap_or(0).min(left);
    let records = if from < until && (at_least_one || 0 < bytes_max) {
        let span = partition.log().span_from(from);
        span.read(Wanted { from, until, bytes_max, at_least_one })
            .map_err(|error| storage_error(&error))?
    } else {
        Vec::new()
    };
    let aborted = (isolation == READ_COMMITTED).then(|| {
        // More than was read does no harm: a client skips by producer and offset, until the marker.
        let aborted = partition.log().contents().aborted_between(from, until);
        let aborted = aborted.into_iter().map(|aborted| {
            AbortedTransaction::default()
                .with_producer_id(ProducerId(aborted.producer_id))
                .with_first_offset(aborted.first_offset)
        });
        aborted.collect()
    });
    Ok(PartitionData::default()
        .with_high_watermark(bounds.end)
        .with_last_stable_offset(bounds.stable)
        .with_log_start_offset(bounds.start)
        .with_aborted_transactions(aborted)
        .with_preferred_read_replica(BrokerId(-1))
        .with_records(Some(records.into())))
}

fn failed(error: ResponseError) -> PartitionData {
    PartitionData::default()
        .with_error_code(error.code())
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_aborted_transactions(None)
        .with_preferred_read_replica(BrokerId(-1))
        .with_records(Some(Bytes::new()))
}
