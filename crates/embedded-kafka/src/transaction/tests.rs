//! Transactions that a crash cuts in two: the broker is dropped between the decision and its markers, and opened again.

use super::*;
use crate::batch::tests::batch_of;
use crate::settings::{Fsync, Settings};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, GroupId,
    InitProducerIdRequest, InitProducerIdResponse, ProducerId, TopicName, TransactionalId,
    TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::path::Path;

const ROLLING: Rolling = Rolling { segment_bytes: 1 << 20, segment_ms: i64::MAX };

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn id() -> TransactionalId {
    TransactionalId(text("worker"))
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

fn open(directory: &Path) -> Arc<Broker> {
    let settings =
        Settings { fsync: Fsync::Always, ..Settings::new(directory, ([127, 0, 0, 1], 1).into()) };
    let broker = Broker::open(Arc::new(settings), ([127, 0, 0, 1], 1).into()).unwrap();
    for name in ["in", "out"] {
        if broker.topics.get(name).is_none() {
            broker.topics.create(&broker.journal, name, 2, BTreeMap::new()).unwrap();
        }
    }
    Arc::new(broker)
}

async fn init(broker: &Arc<Broker>) -> InitProducerIdResponse {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(id()))
        .with_transaction_timeout_ms(60_000);
    broker
        .init_producer_id(request.with_producer_id(ProducerId(-1)).with_producer_epoch(-1), 4)
        .await
}

/// One row in each partition of `out`, and an offset of the group `g`: all of it in an open transaction.
async fn begin(broker: &Arc<Broker>, sequence: i32) -> InitProducerIdResponse {
    let producer = init(broker).await;
    assert_eq!(producer.error_code, 0);
    let (id_, epoch) = (producer.producer_id, producer.producer_epoch);
    let places =
        AddPartitionsToTxnTopic::default().with_name(topic("out")).with_partitions(vec![0, 1]);
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id())
        .with_v3_and_below_producer_id(id_)
        .with_v3_and_below_producer_epoch(epoch)
        .with_v3_and_below_topics(vec![places]);
    let added = broker.add_partitions_to_txn(&request, 3);
    assert!(
        added.results_by_topic_v3_and_below[0]
            .results_by_partition
            .iter()
            .all(|x| x.partition_error_code == 0)
    );
    for number in 0..2 {
        let bytes = batch_of(&[(1, "row")], Some((id_.0, epoch, sequence)), true);
        let header = Header::parse(&bytes).unwrap();
        let partition = broker.topics.partition("out", number).unwrap();
        partition.append(bytes, header, ROLLING).unwrap();
        partition.settle().await.unwrap();
    }
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(id())
        .with_group_id(GroupId(text("g")));
    let added =
        broker.add_offsets_to_txn(&request.with_producer_id(id_).with_producer_epoch(epoch), 3);
    assert_eq!(added.error_code, 0);
    let offset = TxnOffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(41);
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(id())
        .with_group_id(GroupId(text("g")))
        .with_producer_id(id_)
        .with_producer_epoch(epoch)
        .with_generation_id(-1)
        .with_topics(vec![
            TxnOffsetCommitRequestTopic::default()
                .with_name(topic("in"))
                .with_partitions(vec![offset]),
        ]);
    assert_eq!(broker.txn_offset_commit(&request).await.topics[0].partitions[0].error_code, 0);
    producer
}

/// Writes the decision and nothing else, which is where the crash comes.
fn decide_only(broker: &Arc<Broker>, ending: Ending) -> Decision {
    let turn = broker.take_turn("worker").unwrap();
    let decided = broker.journal.decide(|ledger| {
        let decision = turn.decision(ledger, ending)?;
        let transactional_id = turn.transactional_id.clone();
        Ok::<_, Refusal>((
            vec![Entry::Decided { transactional_id, decision: decision.clone() }],
            decision,
        ))
    });
    decided.unwrap().1
}

fn stable(broker: &Broker, number: i32) -> (i64, i64) {
    let bounds = broker.topics.partition("out", number).unwrap().bounds();
    (bounds.stable, bounds.written)
}

fn aborted(broker: &Broker, number: i32) -> usize {
    let partition = broker.topics.partition("out", number).unwrap();
    let log = partition.log();
    log.contents().aborted_between(0, i64::MAX).len()
}

fn offset(broker: &Broker) -> Option<i64> {
    let place = Place { topic: "in".to_owned(), partition: 0 };
    broker.journal.read(|ledger| Some(ledger.offsets.get("g")?.get(&place)?.offset))
}

#[tokio::test]
async fn a_decision_without_markers_is_finished_at_start() {
    for (ending, rows_aborted, committed) in
        [(Ending::Commit, 0, Some(41)), (Ending::Fence, 1, None)]
    {
        let directory = tempfile::tempdir().unwrap();
        let broker = open(directory.path());
        begin(&broker, 0).await;
        assert_eq!(stable(&broker, 0), (0, 1), "an open transaction is not stable");
        let decision = decide_only(&broker, ending);
        // One marker was written before the crash, the other was not.
        let partition = broker.topics.partition("out", 1).unwrap();
        append_marker(&partition, decision.producer_id, decision.epoch, decision.commit).unwrap();
        assert_eq!(stable(&broker, 0), (0, 1), "no marker, so still not stable");
        drop((broker, partition));

        let broker = open(directory.path());
        for number in 0..2 {
            broker.topics.partition("out", number).unwrap().settle().await.unwrap();
            assert_eq!(
                stable(&broker, number),
                (2, 2),
                "the row and one marker, {ending:?} {number}"
            );
            assert_eq!(aborted(&broker, number), rows_aborted);
        }
        assert_eq!(offset(&broker), committed);
        drop(broker);
        assert_eq!(stable(&open(directory.path()), 0), (2, 2), "markers are written once");
    }
}

#[tokio::test]
async fn an_open_transaction_outlives_a_crash_and_can_be_committed() {
    let directory = tempfile::tempdir().unwrap();
    let broker = open(directory.path());
    let producer = begin(&broker, 0).await;
    drop(broker);
    let broker = open(directory.path());
    assert_eq!((stable(&broker, 0), offset(&broker)), ((0, 1), None));
    let request = EndTxnRequest::default().with_transactional_id(id()).with_committed(true);
    let request =
        request.with_producer_id(producer.producer_id).with_producer_epoch(producer.producer_epoch);
    assert_eq!(broker.end_txn(&request, 3).await.error_code, 0);
    assert_eq!((stable(&broker, 0).0, offset(&broker)), (1, Some(41)));
    assert_eq!(
        broker.end_txn(&request, 3).await.error_code,
        0,
        "the same request again is answered the same"
    );
    let abort = request.with_committed(false);
    assert_eq!(broker.end_txn(&abort, 3).await.error_code, ResponseError::InvalidTxnState.code());
}

#[tokio::test]
async fn the_next_holder_aborts_what_a_crash_left_open_and_fences_the_former() {
    let directory = tempfile::tempdir().unwrap();
    let broker = open(directory.path());
    let former = begin(&broker, 0).await;
    drop(broker);
    let broker = open(directory.path());
    let next = init(&broker).await;
    assert_eq!(
        (next.producer_id, next.producer_epoch),
        (former.producer_id, former.producer_epoch + 1)
    );
    assert_eq!((aborted(&broker, 0), aborted(&broker, 1), offset(&broker)), (1, 1, None));
    let request = EndTxnRequest::default().with_transactional_id(id()).with_committed(true);
    let request =
        request.with_producer_id(former.producer_id).with_producer_epoch(former.producer_epoch);
    assert_eq!(broker.end_txn(&request, 3).await.error_code, ResponseError::ProducerFenced.code());
    assert_eq!(
        broker.end_txn(&request, 1).await.error_code,
        ResponseError::InvalidProducerEpoch.code()
    );
    let late =
        batch_of(&[(1, "late")], Some((former.producer_id.0, former.producer_epoch, 1)), true);
    let header = Header::parse(&late).unwrap();
    let refused =
        broker.topics.partition("out", 0).unwrap().append(late, header, ROLLING).unwrap_err();
    assert_eq!(append_error(&refused), ResponseError::InvalidProducerEpoch);
}

#[tokio::test]
async fn a_transaction_over_time_is_aborted_and_its_producer_fenced() {
    let directory = tempfile::tempdir().unwrap();
    let broker = open(directory.path());
    let producer = begin(&broker, 0).await;
    broker.end_overdue_transactions(Instant::now() + Duration::from_secs(59));
    broker.tasks.close();
    broker.tasks.wait().await;
    assert_eq!(aborted(&broker, 0), 0);
    broker.end_overdue_transactions(Instant::now() + Duration::from_secs(61));
    broker.tasks.wait().await;
    assert_eq!((aborted(&broker, 0), aborted(&broker, 1), offset(&broker)), (1, 1, None));
    let request = EndTxnRequest::default().with_transactional_id(id()).with_committed(true);
    let request =
        request.with_producer_id(producer.producer_id).with_producer_epoch(producer.producer_epoch);
    assert_eq!(broker.end_txn(&request, 3).await.error_code, ResponseError::ProducerFenced.code());
}

#[tokio::test]
async fn a_lost_answer_does_not_cost_an_epoch() {
    let directory = tempfile::tempdir().unwrap();
    let broker = open(directory.path());
    let first = init(&broker).await;
    let bump = || {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(id()))
            .with_transaction_timeout_ms(1_000);
        broker.init_producer_id(
            request.with_producer_id(first.producer_id).with_producer_epoch(first.producer_epoch),
            4,
        )
    };
    assert_eq!(bump().await.producer_epoch, first.producer_epoch + 1);
    assert_eq!(
        bump().await.producer_epoch,
        first.producer_epoch + 1,
        "the same question gets the same answer"
    );
    init(&broker).await;
    assert_eq!(bump().await.error_code, ResponseError::ProducerFenced.code());
}

#[tokio::test]
async fn offsets_wait_for_a_request_of_the_same_id_and_are_not_put_off() {
    let directory = tempfile::tempdir().unwrap();
    let broker = open(directory.path());
    let turn = broker.take_turn("worker").unwrap();
    let concurrent = Some(ResponseError::ConcurrentTransactions);
    assert_eq!(broker.take_turn("worker").err(), concurrent);
    let (waited, ()) = tokio::join!(broker.await_turn("worker"), async {
        tokio::task::yield_now().await;
        drop(turn);
    });
    let waited = waited.unwrap();
    assert_eq!(waited.transactional_id, "worker");
    // Not for ever: the other may be stuck.
    assert_eq!(broker.await_turn("worker").await.err(), concurrent);
}
