//! The requests that are answered: in which versions, and what form they have.
//!
//! The forms are those of the message definitions in Apache Kafka (`clients/src/main/resources/common/message`). Versions end
//! where Kafka replaced topic names by ids (KIP-516) or put other features in; every client settles on the highest common one.

use crate::shape::Field::{self, Blob, Each, Fixed, From, Numbers, Text, Texts, Until};
use kafka_protocol::messages::ApiKey;

/// One kind of request.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) min: i16,
    pub(crate) max: i16,
    /// The first version with compact lengths and tagged fields.
    pub(crate) flexible_from: i16,
    pub(crate) form: &'static [Field],
}

const fn api(key: ApiKey, min: i16, max: i16, flexible_from: i16, form: &'static [Field]) -> Api {
    Api { key, min, max, flexible_from, form }
}

/// Names and the numbers of partitions.
const PARTITIONS: Field = Each(&[Text, Numbers(4)]);
/// The id and epoch of a producer.
const PRODUCER: Field = Fixed(10);
const FETCHED: Field =
    Each(&[Fixed(4), From(9, &Fixed(4)), Fixed(8), From(5, &Fixed(8)), Fixed(4)]);
const COMMITTED: Field = Each(&[Fixed(12), From(6, &Fixed(4)), Text]);
const COMMITTED_IN_TXN: Field = Each(&[Fixed(12), From(2, &Fixed(4)), Text]);

/// All of them.
pub(crate) const APIS: &[Api] = &[
    api(ApiKey::Produce, 3, 8, 9, &[Text, Fixed(6), Each(&[Text, Each(&[Fixed(4), Blob])])]),
    api(
        ApiKey::Fetch,
        4,
        11,
        12,
        &[
            Fixed(17),
            From(7, &Fixed(8)),
            Each(&[Text, FETCHED]),
            From(7, &PARTITIONS),
            From(11, &Text),
        ],
    ),
    api(
        ApiKey::ListOffsets,
        1,
        5,
        6,
        &[
            Fixed(4),
            From(2, &Fixed(1)),
            Each(&[Text, Each(&[Fixed(4), From(4, &Fixed(4)), Fixed(8)])]),
        ],
    ),
    api(ApiKey::Metadata, 0, 9, 9, &[Each(&[Text]), From(4, &Fixed(1)), From(8, &Fixed(2))]),
    api(
        ApiKey::OffsetCommit,
        2,
        7,
        8,
        &[Text, Fixed(4), Text, From(7, &Text), Until(4, &Fixed(8)), Each(&[Text, COMMITTED])],
    ),
    api(ApiKey::OffsetFetch, 1, 7, 6, &[Text, PARTITIONS, From(7, &Fixed(1))]),
    api(ApiKey::FindCoordinator, 0, 3, 3, &[Text, From(1, &Fixed(1))]),
    api(
        ApiKey::JoinGroup,
        0,
        6,
        6,
        &[Text, Fixed(4), From(1, &Fixed(4)), Text, From(5, &Text), Text, Each(&[Text, Blob])],
    ),
    api(ApiKey::Heartbeat, 0, 4, 4, &[Text, Fixed(4), Text, From(3, &Text)]),
    api(ApiKey::LeaveGroup, 0, 4, 4, &[Text, Until(2, &Text), From(3, &Each(&[Text, Text]))]),
    api(ApiKey::SyncGroup, 0, 4, 4, &[Text, Fixed(4), Text, From(3, &Text), Each(&[Text, Blob])]),
    api(ApiKey::DescribeGroups, 0, 4, 5, &[Texts, From(3, &Fixed(1))]),
    api(ApiKey::ListGroups, 0, 4, 3, &[From(4, &Texts)]),
    api(ApiKey::ApiVersions, 0, 3, 3, &[From(3, &Text), From(3, &Text)]),
    api(
        ApiKey::CreateTopics,
        2,
        5,
        5,
        &[Each(&[Text, Fixed(6), Each(&[Fixed(4), Numbers(4)]), Each(&[Text, Text])]), Fixed(5)],
    ),
    api(ApiKey::DeleteTopics, 1, 5, 4, &[Texts, Fixed(4)]),
    api(ApiKey::DeleteRecords, 0, 2, 2, &[Each(&[Text, Each(&[Fixed(12)])]), Fixed(4)]),
    api(ApiKey::InitProducerId, 0, 4, 2, &[Text, Fixed(4), From(3, &PRODUCER)]),
    api(ApiKey::AddPartitionsToTxn, 0, 3, 3, &[Text, PRODUCER, PARTITIONS]),
    api(ApiKey::AddOffsetsToTxn, 0, 3, 3, &[Text, PRODUCER, Text]),
    api(ApiKey::EndTxn, 0, 3, 3, &[Text, PRODUCER, Fixed(1)]),
    api(
        ApiKey::TxnOffsetCommit,
        0,
        3,
        3,
        &[
            Text,
            Text,
            PRODUCER,
            From(3, &Fixed(4)),
            From(3, &Text),
            From(3, &Text),
            Each(&[Text, COMMITTED_IN_TXN]),
        ],
    ),
    api(
        ApiKey::DescribeConfigs,
        1,
        4,
        4,
        &[Each(&[Fixed(1), Text, Texts]), Fixed(1), From(3, &Fixed(1))],
    ),
    api(ApiKey::AlterConfigs, 0, 2, 2, &[Each(&[Fixed(1), Text, Each(&[Text, Text])]), Fixed(1)]),
    api(
        ApiKey::IncrementalAlterConfigs,
        0,
        1,
        1,
        &[Each(&[Fixed(1), Text, Each(&[Text, Fixed(1), Text])]), Fixed(1)],
    ),
    api(
        ApiKey::CreatePartitions,
        0,
        3,
        2,
        &[Each(&[Text, Fixed(4), Each(&[Numbers(4)])]), Fixed(5)],
    ),
    api(ApiKey::DeleteGroups, 0, 2, 2, &[Texts]),
    api(ApiKey::DescribeCluster, 0, 1, 0, &[Fixed(1), From(1, &Fixed(1))]),
    api(ApiKey::DescribeTransactions, 0, 0, 0, &[Texts]),
    api(ApiKey::ListTransactions, 0, 1, 0, &[Texts, Numbers(8), From(1, &Fixed(8))]),
    // Offered to be refused: librdkafka that is asked for KIP-848 waits for ever for a broker to offer this, but gives up
    // at once when it is refused.
    api(
        ApiKey::ConsumerGroupHeartbeat,
        0,
        1,
        0,
        &[
            Text,
            Text,
            Fixed(4),
            Text,
            Text,
            Fixed(4),
            Texts,
            From(1, &Text),
            Text,
            Each(&[Fixed(16), Numbers(4)]),
        ],
    ),
];

/// The entry of a kind of request, if this version of it is answered.
pub(crate) fn find(key: i16, version: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key as i16 == key && (api.min..=api.max).contains(&version))
}
