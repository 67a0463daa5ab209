//! What librdkafka does not say when all is well: a batch sent again, out of order, by an old epoch, or damaged.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsResponse, InitProducerIdRequest, ProduceRequest, RequestHeader, ResponseHeader,
    TopicName,
};
use kafka_protocol::protocol::{
    Decodable as _, HeaderVersion as _, Request, StrBytes, encode_request_header_into_buffer,
};
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use super::clients::{KEEP, PATIENCE, UNCOMMITTED, keys, read_to_end, topic_with};

const CORRUPT_MESSAGE: i16 = 2;
const UNSUPPORTED_VERSION: i16 = 35;
const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
const INVALID_PRODUCER_EPOCH: i16 = 47;

on_kafka!(String::from:
    a_batch_sent_again_is_acknowledged_again_and_kept_once,
    a_batch_out_of_sequence_is_refused,
    a_new_epoch_starts_its_own_sequence_and_shuts_out_the_old_one,
    a_damaged_batch_is_refused,
    a_request_from_the_future_is_told_what_is_understood,
    a_request_of_absurd_size_costs_its_sender_the_connection_and_nobody_else,
);

fn a_batch_sent_again_is_acknowledged_again_and_kept_once(broker: &str) {
    let mut writer = RawWriter::new(broker);
    assert_eq!(writer.send(0, 0, &["a", "b", "c"]), Ok(0));
    assert_eq!(writer.send(0, 0, &["a", "b", "c"]), Ok(0));
    assert_eq!(writer.send(0, 3, &["d"]), Ok(3));
    assert_eq!(writer.send(0, 0, &["a", "b", "c"]), Ok(0), "not only the last one is remembered");
    assert_eq!(writer.send(0, 3, &["d"]), Ok(3));
    assert_eq!(writer.stored(), ["a", "b", "c", "d"]);
}

fn a_batch_out_of_sequence_is_refused(broker: &str) {
    let mut writer = RawWriter::new(broker);
    assert_eq!(writer.send(0, 0, &["a", "b"]), Ok(0));
    assert_eq!(writer.send(0, 3, &["after a gap"]), Err(OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(writer.send(0, 1, &["overlapping"]), Err(OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(writer.send(0, 2, &["c"]), Ok(2));
    // Five batches are remembered. One that came before them is not known again, nor is it taken for new.
    for sequence in 3..9 {
        assert_eq!(writer.send(0, sequence, &["later"]), Ok(i64::from(sequence)));
    }
    assert_eq!(writer.send(0, 0, &["a", "b"]), Err(OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(writer.stored().len(), 9);
}

fn a_new_epoch_starts_its_own_sequence_and_shuts_out_the_old_one(broker: &str) {
    let mut writer = RawWriter::new(broker);
    assert_eq!(writer.send(0, 0, &["old"]), Ok(0));
    assert_eq!(writer.send(1, 1, &["new, not from its start"]), Err(OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(writer.send(1, 0, &["new"]), Ok(1));
    assert_eq!(writer.send(0, 1, &["old again"]), Err(INVALID_PRODUCER_EPOCH));
    assert_eq!(writer.stored(), ["old", "new"]);
}

fn a_damaged_batch_is_refused(broker: &str) {
    let mut writer = RawWriter::new(broker);
    let mut damaged = writer.batch(0, 0, &["a"]).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(writer.send_batch(damaged.into()), Err(CORRUPT_MESSAGE));
    assert_eq!(writer.send(0, 0, &["a"]), Ok(0));
}

fn a_request_from_the_future_is_told_what_is_understood(broker: &str) {
    let mut wire = Wire::new(broker);
    // The answer has version 0, which every client can read (KIP-511).
    // api key 18, version 99, correlation 7, no client id, no tagged fields.
    let mut body = wire.exchange(&[0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0]);
    let header = ResponseHeader::decode(&mut body, 0).unwrap();
    let answer = ApiVersionsResponse::decode(&mut body, 0).unwrap();
    assert_eq!((header.correlation_id, answer.error_code), (7, UNSUPPORTED_VERSION));
    let understood = answer.api_keys.iter().find(|api| api.api_key == 18).unwrap();
    println!(
        "ApiVersions {}..={} of {}",
        understood.min_version,
        understood.max_version,
        answer.api_keys.len()
    );
}

fn a_request_of_absurd_size_costs_its_sender_the_connection_and_nobody_else(broker: &str) {
    let mut absurd = Wire::new(broker);
    absurd.0.write_all(&i32::MAX.to_be_bytes()).unwrap();
    let mut rest = Vec::new();
    match absurd.0.read_to_end(&mut rest) {
        Ok(0) => {}
        Ok(_) => panic!("answered {rest:?}"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    assert_eq!(RawWriter::new(broker).send(0, 0, &["unharmed"]), Ok(0));
}

/// An idempotent producer that lets us choose sequence and epoch.
struct RawWriter {
    broker: String,
    wire: Wire,
    topic: String,
    producer_id: i64,
}

impl RawWriter {
    fn new(broker: &str) -> RawWriter {
        let topic = topic_with(broker, 1, KEEP);
        let mut wire = Wire::new(broker);
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let answer = wire.call(4, &request);
        assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
        RawWriter { broker: broker.to_owned(), wire, topic, producer_id: answer.producer_id.0 }
    }

    /// The offset of the batch, or the code of the refusal.
    fn send(&mut self, epoch: i16, sequence: i32, keys: &[&'static str]) -> Result<i64, i16> {
        let batch = self.batch(epoch, sequence, keys);
        self.send_batch(batch)
    }

    fn send_batch(&mut self, batch: Bytes) -> Result<i64, i16> {
        let partition = PartitionProduceData::default().with_index(0).with_records(Some(batch));
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_string(self.topic.clone())))
            .with_partition_data(vec![partition]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![topic]);
        let answer = self.wire.call(8, &request);
        let partition = &answer.responses[0].partition_responses[0];
        if partition.error_code == 0 {
            Ok(partition.base_offset)
        } else {
            Err(partition.error_code)
        }
    }

    fn batch(&self, epoch: i16, sequence: i32, keys: &[&'static str]) -> Bytes {
        let records = keys.iter().zip(0..).map(|(key, nth)| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: self.producer_id,
            producer_epoch: epoch,
            timestamp_type: TimestampType::Creation,
            offset: i64::from(nth),
            sequence: sequence + nth,
            timestamp: 1_700_000_000_000,
            key: Some(Bytes::from_static(key.as_bytes())),
            value: None,
            headers: std::iter::empty().collect(),
        });
        let records: Vec<_> = records.collect();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        let mut batch = BytesMut::new();
        RecordBatchEncoder::encode(&mut batch, &records, &options).unwrap();
        batch.freeze()
    }

    fn stored(&self) -> Vec<String> {
        let reads = read_to_end(&self.broker, &self.topic, UNCOMMITTED);
        keys(&reads).into_iter().map(str::to_owned).collect()
    }
}

/// A connection.
struct Wire(TcpStream);

impl Wire {
    fn new(broker: &str) -> Wire {
        let stream = TcpStream::connect(broker).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Wire(stream)
    }

    fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let header =
            RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
        let mut frame = BytesMut::new();
        encode_request_header_into_buffer(&mut frame, &header).unwrap();
        request.encode(&mut frame, version).unwrap();
        let mut answer = self.exchange(&frame);
        ResponseHeader::decode(&mut answer, R::Response::header_version(version)).unwrap();
        R::Response::decode(&mut answer, version).unwrap()
    }

    fn exchange(&mut self, request: &[u8]) -> Bytes {
        let mut frame = BytesMut::new();
        frame.put_u32(u32::try_from(request.len()).unwrap());
        frame.put_slice(request);
        self.0.write_all(&frame).unwrap();
        let mut size = [0; 4];
        self.0.read_exact(&mut size).unwrap();
        let mut answer = vec![0; usize::try_from(u32::from_be_bytes(size)).unwrap()];
        self.0.read_exact(&mut answer).unwrap();
        answer.into()
    }
}
