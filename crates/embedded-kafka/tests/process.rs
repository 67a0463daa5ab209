//! The broker as its users meet it: over sockets, with its directory, killed and started again.
#![expect(clippy::unwrap_used, reason = "a test")]

use bytes::{Buf, Bytes, BytesMut};
use embedded_kafka::{EmbeddedKafka, Fsync, Settings, StartError};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, FetchRequest, MetadataRequest, ProduceRequest, RequestHeader,
    ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

fn settings(directory: &Path) -> Settings {
    Settings::new(directory, ANY_PORT.into())
}

/// A client that knows nothing but frames.
struct Client(TcpStream);

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Client(stream)
    }

    fn send<R: Request>(&mut self, request: &R, version: i16) {
        let key = ApiKey::try_from(R::KEY).unwrap();
        let mut frame = BytesMut::from([0; 4].as_slice());
        let header =
            RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
        header.encode(&mut frame, key.request_header_version(version)).unwrap();
        request.encode(&mut frame, version).unwrap();
        let length = i32::try_from(frame.len() - 4).unwrap();
        *frame.first_chunk_mut().unwrap() = length.to_be_bytes();
        self.0.write_all(&frame).unwrap();
    }

    fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let key = ApiKey::try_from(R::KEY).unwrap();
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut frame).unwrap();
        let mut frame = Bytes::from(frame);
        ResponseHeader::decode(&mut frame, key.response_header_version(version)).unwrap();
        R::Response::decode(&mut frame, version).unwrap()
    }

    fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version);
        self.receive::<R>(version)
    }

    /// Whether the broker has closed the connection.
    fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }

    /// Makes a topic that keeps its records, though they say that they are of 1970.
    fn create_topic(&mut self) {
        let keep = CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str("retention.ms"))
            .with_value(Some(StrBytes::from_static_str("-1")));
        let topic = CreatableTopic::default()
            .with_name(name())
            .with_num_partitions(1)
            .with_replication_factor(1)
            .with_configs(vec![keep]);
        let created = self.ask(&CreateTopicsRequest::default().with_topics(vec![topic]), 5);
        assert_eq!(created.topics.first().unwrap().error_code, 0);
    }

    fn high_watermark(&mut self) -> i64 {
        let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default().with_topic(name()).with_partitions(vec![partition]);
        let fetched =
            self.ask(&FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![topic]), 11);
        let partition = fetched.responses.first().unwrap().partitions.first().unwrap().clone();
        assert_eq!(partition.error_code, 0);
        assert!(partition.records.unwrap().has_remaining());
        partition.high_watermark
    }
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("reviews.v1"))
}

fn produce(value: &str, magic: u8) -> ProduceRequest {
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: -1,
        timestamp: 1,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: kafka_protocol::indexmap::IndexMap::default(),
    };
    let mut records = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut records, [&record], &options).unwrap();
    *records.get_mut(16).unwrap() = magic;
    let partition = PartitionProduceData::default().with_records(Some(records.freeze()));
    let topic = TopicProduceData::default().with_name(name()).with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(1_000).with_topic_data(vec![topic])
}

/// A broker in a process of its own, which dies with the test.
struct Process(Child);

impl Process {
    fn start(directory: &Path) -> (Process, SocketAddr) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_embedded-kafka"))
            .args(["--listen", "127.0.0.1:0", "--fsync", "never", "--data"])
            .arg(directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        (Process(child), address)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // On Unix this is SIGKILL.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_killed_broker_loses_nothing_that_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, address) = Process::start(directory.path());
    let mut client = Client::connect(address);
    client.create_topic();
    for number in 0..100 {
        let answer = client.ask(&produce("a review", 2), 7);
        let partition = answer.responses.first().unwrap().partition_responses.first().unwrap();
        assert_eq!((partition.error_code, partition.base_offset), (0, number));
    }
    drop(broker);
    let (_broker, address) = Process::start(directory.path());
    assert_eq!(Client::connect(address).high_watermark(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_sent_ahead_are_answered_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let broker = EmbeddedKafka::start(settings(directory.path())).await.unwrap();
    let address = broker.local_addr();
    let asked = tokio::task::spawn_blocking(move || {
        let mut client = Client::connect(address);
        client.create_topic();
        for _ in 0..50 {
            client.send(&produce("a review", 2), 7);
        }
        for number in 0..50 {
            let answer = client.receive::<ProduceRequest>(7);
            let partition = answer.responses.first().unwrap().partition_responses.first().unwrap();
            assert_eq!((partition.error_code, partition.base_offset), (0, number));
        }
        // What is acknowledged is visible.
        assert_eq!(client.high_watermark(), 50);
    });
    asked.await.unwrap();
    broker.stop().await;
    let again = EmbeddedKafka::start(settings(directory.path())).await.unwrap();
    let address = again.local_addr();
    let high_watermark =
        tokio::task::spawn_blocking(move || Client::connect(address).high_watermark());
    assert_eq!(high_watermark.await.unwrap(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_formats_and_large_batches_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let broker = EmbeddedKafka::start(settings(directory.path())).await.unwrap();
    let address = broker.local_addr();
    let asked = tokio::task::spawn_blocking(move || {
        let mut client = Client::connect(address);
        client.create_topic();
        let code = |client: &mut Client, request: &ProduceRequest| {
            let answer = client.ask(request, 7);
            answer.responses.first().unwrap().partition_responses.first().unwrap().error_code
        };
        assert_eq!(
            code(&mut client, &produce("a review", 1)),
            43,
            "UNSUPPORTED_FOR_MESSAGE_FORMAT"
        );
        assert_eq!(code(&mut client, &produce(&"x".repeat(2 << 20), 2)), 10, "MESSAGE_TOO_LARGE");
        assert_eq!(
            code(&mut client, &produce("a review", 2).with_acks(7)),
            21,
            "INVALID_REQUIRED_ACKS"
        );
        assert_eq!(code(&mut client, &produce("a review", 2)), 0);
    });
    asked.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_nonsense_loses_only_its_own_connection() {
    let directory = tempfile::tempdir().unwrap();
    let broker = EmbeddedKafka::start(settings(directory.path())).await.unwrap();
    let address = broker.local_addr();
    let asked = tokio::task::spawn_blocking(move || {
        let mut good = Client::connect(address);
        let nonsense: [&[u8]; 4] = [
            b"GET / HTTP/1.1\r\n\r\n",
            &[255, 255, 255, 255],
            &[0, 0, 0, 8, 0, 77, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 12, 0, 3, 0, 1, 0, 0, 0, 1, 0, 0, 127, 255],
        ];
        for bytes in nonsense {
            let mut bad = Client::connect(address);
            bad.0.write_all(bytes).unwrap();
            assert!(bad.is_closed(), "{bytes:?}");
        }
        assert_eq!(good.ask(&MetadataRequest::default(), 9).brokers.len(), 1);
    });
    asked.await.unwrap();
}

#[tokio::test]
async fn a_broker_that_cannot_start_says_why() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = Settings::new(one.path(), ([0, 0, 0, 0], 0).into());
    assert!(matches!(EmbeddedKafka::start(open).await, Err(StartError::NotLoopback(_))));

    let broker = EmbeddedKafka::start(settings(one.path())).await.unwrap();
    let same_directory = EmbeddedKafka::start(settings(one.path())).await.unwrap_err();
    assert!(matches!(same_directory, StartError::DirectoryInUse(_)), "{same_directory}");

    let same_port =
        Settings { fsync: Fsync::Never, ..Settings::new(two.path(), broker.local_addr()) };
    let same_port = EmbeddedKafka::start(same_port).await.unwrap_err();
    assert_eq!(
        same_port.to_string(),
        format!(
            "{} is taken by another process: stop it, or choose another port (0 lets the system choose)",
            broker.local_addr()
        )
    );
}
