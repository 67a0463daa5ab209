//! Every request in every version is answered, and nothing that comes over a socket ends the broker.

use super::*;
use crate::settings::{Fsync, Settings};
use bytes::BufMut;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Request;
use proptest::prelude::*;
use std::time::Duration;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn open() -> (tempfile::TempDir, Arc<Broker>) {
    let directory = tempfile::tempdir().unwrap();
    let address = ([127, 0, 0, 1], 1).into();
    let settings = Settings { fsync: Fsync::Never, ..Settings::new(directory.path(), address) };
    let broker = Broker::open(Arc::new(settings), address).unwrap();
    (directory, Arc::new(broker))
}

fn frame<R: Request>(request: &R, version: i16) -> Option<Bytes> {
    let key = ApiKey::try_from(R::KEY).ok()?;
    let mut bytes = BytesMut::new();
    let header =
        RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
    let header = header.with_correlation_id(7).with_client_id(Some(text("test")));
    header.encode(&mut bytes, key.request_header_version(version)).unwrap();
    request.encode(&mut bytes, version).ok()?;
    Some(bytes.freeze())
}

/// Sends a request in every version that is offered and can hold it. Answers with how many.
async fn check<R: Request>(broker: &Arc<Broker>, request: R) -> i16 {
    let api = APIS.iter().find(|api| api.key as i16 == R::KEY).unwrap();
    let mut count = 0;
    for version in api.min..=api.max {
        let Some(frame) = frame(&request, version) else { continue };
        let reply = match answer(broker, frame).await.unwrap_or_else(|error| panic!("{error}")) {
            Reply::Now(bytes) => bytes,
            Reply::Later(waiting) => waiting.await.unwrap(),
            Reply::None => continue,
        };
        let mut bytes = reply.freeze().split_off(4);
        ResponseHeader::decode(&mut bytes, api.key.response_header_version(version)).unwrap();
        R::Response::decode(&mut bytes, version).unwrap();
        assert!(bytes.is_empty(), "{:?} {version} has bytes too many", api.key);
        count += 1;
    }
    count
}

macro_rules! check_all {
    ($broker:expr, $($request:ty),*) => {
        $({
            let request = <$request>::default();
            let api = APIS.iter().find(|api| api.key as i16 == <$request as Request>::KEY).unwrap();
            assert_eq!(check($broker, request).await, api.max - api.min + 1, "{:?}", api.key);
        })*
    };
}

#[tokio::test]
async fn every_request_is_answered_in_every_version() {
    let (_directory, broker) = open();
    check_all!(
        &broker,
        FetchRequest,
        ListOffsetsRequest,
        MetadataRequest,
        OffsetCommitRequest,
        OffsetFetchRequest,
        FindCoordinatorRequest,
        JoinGroupRequest,
        HeartbeatRequest,
        LeaveGroupRequest,
        SyncGroupRequest,
        DescribeGroupsRequest,
        ListGroupsRequest,
        ApiVersionsRequest,
        CreateTopicsRequest,
        DeleteTopicsRequest,
        DeleteRecordsRequest,
        InitProducerIdRequest,
        AddPartitionsToTxnRequest,
        AddOffsetsToTxnRequest,
        EndTxnRequest,
        TxnOffsetCommitRequest,
        DescribeConfigsRequest,
        AlterConfigsRequest,
        IncrementalAlterConfigsRequest,
        CreatePartitionsRequest,
        DeleteGroupsRequest,
        DescribeClusterRequest,
        DescribeTransactionsRequest,
        ListTransactionsRequest,
        ConsumerGroupHeartbeatRequest
    );
    assert_eq!(check(&broker, ProduceRequest::default().with_acks(-1)).await, 6);
}

/// Requests with something in every array, so that every form is walked to its leaves.
async fn send_administration(broker: &Arc<Broker>) -> Vec<i16> {
    let topic = || TopicName(text("t"));
    let configs = vec![
        CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("5"))),
    ];
    let assigned = vec![CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1)])];
    let new = CreatableTopic::default()
        .with_name(topic())
        .with_assignments(assigned)
        .with_configs(configs);
    let deleted = delete_records_request::DeleteRecordsTopic::default()
        .with_name(topic())
        .with_partitions(vec![delete_records_request::DeleteRecordsPartition::default()]);
    let described = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_configuration_keys(Some(vec![text("retention.ms")]));
    let change = incremental_alter_configs_request::AlterableConfig::default()
        .with_name(text("cleanup.policy"))
        .with_config_operation(2)
        .with_value(Some(text("compact")));
    let changed = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_configs(vec![change]);
    let asked = metadata_request::MetadataRequestTopic::default().with_name(Some(topic()));
    vec![
        check(broker, CreateTopicsRequest::default().with_topics(vec![new])).await,
        check(broker, DeleteRecordsRequest::default().with_topics(vec![deleted])).await,
        check(broker, DescribeConfigsRequest::default().with_resources(vec![described])).await,
        check(broker, IncrementalAlterConfigsRequest::default().with_resources(vec![changed]))
            .await,
        check(broker, MetadataRequest::default().with_topics(Some(vec![asked]))).await,
        check(broker, DescribeGroupsRequest::default().with_groups(vec![GroupId(text("g"))])).await,
        check(broker, DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("g"))]))
            .await,
        check(broker, DeleteTopicsRequest::default().with_topic_names(vec![topic()])).await,
    ]
}

async fn send_data(broker: &Arc<Broker>) -> Vec<i16> {
    let topic = || TopicName(text("t"));
    let produced =
        produce_request::TopicProduceData::default().with_name(topic()).with_partition_data(vec![
            produce_request::PartitionProduceData::default()
                .with_records(Some(Bytes::from_static(&[1; 70]))),
        ]);
    let fetched = fetch_request::FetchTopic::default()
        .with_topic(topic())
        .with_partitions(vec![fetch_request::FetchPartition::default()]);
    let listed = list_offsets_request::ListOffsetsTopic::default()
        .with_name(topic())
        .with_partitions(vec![list_offsets_request::ListOffsetsPartition::default()]);
    let committed = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(topic())
        .with_partitions(vec![offset_commit_request::OffsetCommitRequestPartition::default()]);
    let enlisted = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
        .with_name(topic())
        .with_partitions(vec![0, 1]);
    let pending = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
        .with_name(topic())
        .with_partitions(vec![
            txn_offset_commit_request::TxnOffsetCommitRequestPartition::default(),
        ]);
    let fetched_offsets = offset_fetch_request::OffsetFetchRequestTopic::default()
        .with_name(topic())
        .with_partition_indexes(vec![0, 9]);
    let owned =
        consumer_group_heartbeat_request::TopicPartitions::default().with_partitions(vec![0, 1]);
    let given = sync_group_request::SyncGroupRequestAssignment::default().with_member_id(text("m"));
    vec![
        check(broker, ProduceRequest::default().with_acks(-1).with_topic_data(vec![produced]))
            .await,
        check(broker, FetchRequest::default().with_max_bytes(9).with_topics(vec![fetched])).await,
        check(broker, ListOffsetsRequest::default().with_topics(vec![listed])).await,
        check(
            broker,
            OffsetCommitRequest::default()
                .with_generation_id_or_member_epoch(-1)
                .with_topics(vec![committed]),
        )
        .await,
        check(broker, OffsetFetchRequest::default().with_topics(Some(vec![fetched_offsets]))).await,
        check(
            broker,
            AddPartitionsToTxnRequest::default().with_v3_and_below_topics(vec![enlisted]),
        )
        .await,
        check(broker, TxnOffsetCommitRequest::default().with_topics(vec![pending])).await,
        check(broker, SyncGroupRequest::default().with_assignments(vec![given])).await,
        check(
            broker,
            ConsumerGroupHeartbeatRequest::default()
                .with_subscribed_topic_names(Some(vec![topic()]))
                .with_topic_partitions(Some(vec![owned])),
        )
        .await,
    ]
}

#[tokio::test]
async fn requests_with_content_are_answered_too() {
    let (_directory, broker) = open();
    let mut counts = send_administration(&broker).await;
    counts.extend(send_data(&broker).await);
    assert!(counts.iter().all(|count| 0 < *count), "{counts:?}");
}

#[tokio::test]
async fn a_group_of_the_consumer_protocol_is_refused() {
    let (_directory, broker) = open();
    let request = ConsumerGroupHeartbeatRequest::default();
    let Reply::Now(bytes) = answer(&broker, frame(&request, 1).unwrap()).await.unwrap() else {
        panic!("the refusal is late")
    };
    let mut bytes = bytes.freeze().split_off(4);
    ResponseHeader::decode(&mut bytes, 1).unwrap();
    let refused = ConsumerGroupHeartbeatResponse::decode(&mut bytes, 1).unwrap();
    assert_eq!(refused.error_code, ResponseError::UnsupportedVersion.code());
}

#[tokio::test]
async fn a_claim_of_two_billion_elements_is_refused_and_not_believed() {
    let (_directory, broker) = open();
    let mut bytes = BytesMut::new();
    bytes.put_slice(&[0, 1, 0, 11, 0, 0, 0, 1, 255, 255]);
    bytes.put_slice(&[0; 25]);
    bytes.put_i32(i32::MAX);
    assert!(matches!(
        answer(&broker, bytes.freeze()).await,
        Err(Malformed::Form { key: ApiKey::Fetch, .. })
    ));
}

/// Real frames to mangle.
fn samples() -> Vec<Bytes> {
    let topic = || TopicName(text("t"));
    let fetched = fetch_request::FetchTopic::default().with_topic(topic()).with_partitions(vec![
        fetch_request::FetchPartition::default().with_partition_max_bytes(99),
    ]);
    let records =
        Bytes::from(crate::batch::tests::batch_of(&[(1, "a"), (2, "b")], Some((1, 0, 0)), false));
    let produced =
        produce_request::TopicProduceData::default().with_name(topic()).with_partition_data(vec![
            produce_request::PartitionProduceData::default().with_records(Some(records)),
        ]);
    let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
    let join = JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_session_timeout_ms(1_000);
    let pending = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
        .with_name(topic())
        .with_partitions(vec![
            txn_offset_commit_request::TxnOffsetCommitRequestPartition::default(),
        ]);
    let new = CreatableTopic::default()
        .with_name(topic())
        .with_num_partitions(2)
        .with_replication_factor(1);
    let frames = [
        frame(&ProduceRequest::default().with_acks(-1).with_topic_data(vec![produced]), 7),
        frame(&FetchRequest::default().with_max_bytes(99).with_topics(vec![fetched]), 11),
        frame(&join.with_protocol_type(text("consumer")).with_protocols(vec![protocol]), 6),
        frame(&TxnOffsetCommitRequest::default().with_topics(vec![pending]), 3),
        frame(&CreateTopicsRequest::default().with_topics(vec![new]), 5),
        frame(&ApiVersionsRequest::default().with_client_software_name(text("x")), 3),
        frame(&InitProducerIdRequest::default().with_transaction_timeout_ms(1), 4),
    ];
    frames.into_iter().flatten().collect()
}

/// An answer or a refusal, but no panic; some requests rightly wait.
fn survives(broker: &Arc<Broker>, runtime: &tokio::runtime::Runtime, bytes: Vec<u8>) {
    runtime.block_on(async {
        let patience = Duration::from_millis(5);
        if let Ok(Ok(Reply::Later(waiting))) =
            tokio::time::timeout(patience, answer(broker, bytes.into())).await
        {
            drop(tokio::time::timeout(patience, waiting).await);
        }
    });
}

#[test]
fn no_bytes_end_the_broker() {
    let (_directory, broker) = open();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let samples = samples();
    assert_eq!(samples.len(), 7);
    let mangled = (
        0..samples.len(),
        any::<prop::sample::Index>(),
        prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..4),
    );
    let random = prop::collection::vec(any::<u8>(), 0..200);
    let config =
        ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = proptest::test_runner::TestRunner::new(config).run(
        &(mangled, random),
        |((at, cut, flips), random)| {
            let mut bytes = samples[at].to_vec();
            if cut.index(3) == 0 {
                bytes.truncate(cut.index(bytes.len()));
            }
            for (place, byte) in flips {
                if let Some(flipped) = bytes.get_mut(place.index(1_000)) {
                    *flipped = byte;
                }
            }
            survives(&broker, &runtime, bytes);
            survives(&broker, &runtime, random);
            Ok(())
        },
    );
    outcome.unwrap();
    runtime.block_on(async { assert!(check(&broker, MetadataRequest::default()).await == 10) });
}
