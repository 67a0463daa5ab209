//! `Produce`: checks a batch, writes it as it was sent, and answers when it is as durable as the settings promise.

use crate::batch::{self, Header, Malformed};
use crate::broker::Broker;
use crate::clock;
use crate::partition::{Partition, settle_all};
use crate::topics::Topic;
use crate::transaction::append_error;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};
use std::sync::Arc;

/// What was written for one request, before it is acknowledged.
#[derive(Debug)]
pub(crate) struct Produced {
    topics: Vec<(TopicName, Vec<Attempt>)>,
}

/// A partition by number, and what became of its batch.
type Attempt = (i32, Result<Written, ResponseError>);

/// One batch in its log.
#[derive(Debug)]
struct Written {
    partition: Arc<Partition>,
    base_offset: i64,
    append_time_ms: i64,
}

impl Broker {
    /// Writes the batches of a request. Nothing waits here, so that a connection can have several requests under way.
    pub(crate) fn produce(&self, request: ProduceRequest) -> Produced {
        let acks_are_good = matches!(request.acks, -1..=1);
        let topics = request.topic_data.into_iter().map(|data| {
            let topic = self.topics.get(&data.name);
            let partitions = data.partition_data.into_iter().map(|data| {
                let written = match &topic {
                    _ if !acks_are_good => Err(ResponseError::InvalidRequiredAcks),
                    None => Err(ResponseError::UnknownTopicOrPartition),
                    Some(topic) => write(topic, data.index, data.records.unwrap_or_default()),
                };
                (data.index, written)
            });
            (data.name, partitions.collect())
        });
        Produced { topics: topics.collect() }
    }
}

fn write(topic: &Topic, number: i32, records: Bytes) -> Result<Written, ResponseError> {
    let partition = topic.partition(number).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let mut header = check(&records, topic.config.message_bytes_max)?;
    let mut bytes = Vec::from(records);
    let mut append_time_ms = -1;
    if topic.config.stamps_append_time {
        append_time_ms = clock::now_ms();
        batch::stamp(&mut bytes, &mut header, append_time_ms);
    }
    let appended = partition.append(bytes, header, topic.config.rolling());
    let base_offset = appended.map_err(|error| append_error(&error))?;
    Ok(Written { partition: Arc::clone(partition), base_offset, append_time_ms })
}

/// Checks what can be checked without decompressing. What is inside is between producer and consumer.
fn check(records: &[u8], bytes_max: usize) -> Result<Header, ResponseError> {
    let header = match Header::parse(records) {
        Ok(header) => header,
        Err(Malformed::Legacy) => return Err(ResponseError::UnsupportedForMessageFormat),
        Err(Malformed::Torn | Malformed::Corrupt) => return Err(ResponseError::CorruptMessage),
    };
    if bytes_max < header.bytes {
        return Err(ResponseError::MessageTooLarge);
    }
    if !batch::is_sound(records, &header) {
        return Err(ResponseError::CorruptMessage);
    }
    // Since version 3 of the request a partition gets exactly one batch, whose offsets are dense; markers are the broker's.
    let is_dense = header.records.checked_sub(1) == Some(header.last_offset_delta);
    let names_producer = 0 <= header.producer_id;
    let is_numbered = !names_producer || (0 <= header.producer_epoch && 0 <= header.first_sequence);
    let is_owned = names_producer || !header.is_transactional();
    if header.bytes == records.len() && is_dense && is_numbered && is_owned && !header.is_control()
    {
        Ok(header)
    } else {
        Err(ResponseError::InvalidRecord)
    }
}

impl Produced {
    /// Waits for the disk as the settings promise, and says where the batches are.
    pub(crate) async fn acknowledge(self) -> ProduceResponse {
        let written = self.topics.iter().flat_map(|(_, partitions)| partitions);
        let partitions =
            written.filter_map(|(_, written)| Some(Arc::clone(&written.as_ref().ok()?.partition)));
        let mut settled = settle_all(partitions.collect()).await.into_iter();
        let topics = self.topics.into_iter().map(|(name, partitions)| {
            let responses = partitions.into_iter().map(|(number, written)| {
                let settled = written.and_then(|written| match settled.next() {
                    Some(Err(error)) => Err(append_error(&error)),
                    Some(Ok(())) | None => Ok(written),
                });
                response(number, settled)
            });
            TopicProduceResponse::default()
                .with_name(name)
                .with_partition_responses(responses.collect())
        });
        ProduceResponse::default().with_responses(topics.collect())
    }
}

fn response(number: i32, written: Result<Written, ResponseError>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(number);
    match written {
        Ok(written) => response
            .with_base_offset(written.base_offset)
            .with_log_append_time_ms(written.append_time_ms)
            .with_log_start_offset(written.partition.bounds().start),
        Err(error) => response
            .with_error_code(error.code())
            .with_base_offset(-1)
            .with_log_append_time_ms(-1)
            .with_log_start_offset(-1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::batch_of;

    #[test]
    fn only_one_sound_batch_of_format_two_is_taken() {
        let expect = |bytes: &[u8], expected| assert_eq!(check(bytes, 1_000).err(), expected);
        let good = batch_of(&[(1, "a"), (2, "b")], None, false);
        expect(&good, None);
        expect(&[], Some(ResponseError::CorruptMessage));
        expect(&[good.clone(), good.clone()].concat(), Some(ResponseError::InvalidRecord));
        expect(&batch::marker(1, 0, true), Some(ResponseError::InvalidRecord));
        expect(&batch_of(&[(1, "a")], None, true), Some(ResponseError::InvalidRecord));
        expect(
            &batch_of(&[(1, &"long".repeat(300))], None, false),
            Some(ResponseError::MessageTooLarge),
        );
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            *bytes.get_mut(at).unwrap() = byte;
            bytes
        };
        expect(&with(16, 1), Some(ResponseError::UnsupportedForMessageFormat));
        expect(&with(70, 0xff), Some(ResponseError::CorruptMessage));
    }
}
