//! From the bytes of one request to the bytes of its answer.

#[cfg(test)]
mod tests;

use crate::apis::{self, APIS};
use crate::broker::Broker;
use crate::shape::{self, Style};
use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, ConsumerGroupHeartbeatResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use std::pin::Pin;
use std::sync::Arc;

/// Key, version, correlation id.
const PRELUDE_BYTES: usize = 8;

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a request is shorter than its header")]
    Short,
    #[error("request {key} version {version} is not offered")]
    NotOffered { key: i16, version: i16 },
    #[error("a {key:?} request of version {version} does not have the form of one")]
    Form { key: ApiKey, version: i16 },
    #[error("a {key:?} request of version {version} cannot be read: {reason}")]
    Unreadable { key: ApiKey, version: i16, reason: String },
    #[error("the answer to a {key:?} request of version {version} cannot be written: {reason}")]
    Unwritable { key: ApiKey, version: i16, reason: String },
}

/// What goes back to the client, in the order of the requests.
pub(crate) enum Reply {
    Now(BytesMut),
    /// It waits for the disk; requests behind it need not.
    Later(Pin<Box<dyn Future<Output = Result<BytesMut, Malformed>> + Send>>),
    /// The client asked for none.
    None,
}

/// One request on its way.
#[derive(Debug, Clone)]
struct Call {
    key: ApiKey,
    version: i16,
    correlation: i32,
    client: StrBytes,
    body: Bytes,
}

/// Answers one request.
pub(crate) async fn answer(broker: &Arc<Broker>, frame: Bytes) -> Result<Reply, Malformed> {
    let (key, version, correlation) = prelude(&frame)?;
    if apis::find(key, version).is_none() && key == ApiKey::ApiVersions as i16 {
        return unsupported_api_versions(correlation);
    }
    let call = Call::read(frame, key, version, correlation)?;
    match call.key {
        ApiKey::Produce => produce(broker, &call),
        ApiKey::Fetch => call.reply(&broker.fetch(&call.request()?).await),
        ApiKey::ListOffsets => call.reply(&broker.list_offsets(&call.request()?)),
        ApiKey::Metadata => call.reply(&broker.metadata(&call.request()?, call.version).await),
        ApiKey::OffsetCommit => call.reply(&broker.offset_commit(&call.request()?).await),
        ApiKey::OffsetFetch => call.reply(&broker.offset_fetch(&call.request()?)),
        ApiKey::FindCoordinator => call.reply(&broker.find_coordinator(&call.request()?)),
        ApiKey::JoinGroup => {
            let client = call.client.clone();
            call.reply(&broker.join_group(call.request()?, client, call.version).await)
        }
        ApiKey::SyncGroup => call.reply(&broker.sync_group(call.request()?).await),
        ApiKey::Heartbeat => call.reply(&broker.heartbeat(&call.request()?)),
        ApiKey::LeaveGroup => call.reply(&broker.leave_group(&call.request()?, call.version)),
        ApiKey::InitProducerId => {
            call.reply(&broker.init_producer_id(call.request()?, call.version).await)
        }
        ApiKey::AddPartitionsToTxn => {
            call.reply(&broker.add_partitions_to_txn(&call.request()?, call.version))
        }
        ApiKey::AddOffsetsToTxn => {
            call.reply(&broker.add_offsets_to_txn(&call.request()?, call.version))
        }
        ApiKey::TxnOffsetCommit => call.reply(&broker.txn_offset_commit(&call.request()?).await),
        ApiKey::EndTxn => call.reply(&broker.end_txn(&call.request()?, call.version).await),
        _ => answer_admin(broker, &call).await,
    }
}

async fn answer_admin(broker: &Arc<Broker>, call: &Call) -> Result<Reply, Malformed> {
    match call.key {
        ApiKey::ApiVersions => call.reply(&api_versions()),
        ApiKey::CreateTopics => call.reply(&broker.create_topics(&call.request()?).await),
        ApiKey::DeleteTopics => call.reply(&broker.delete_topics(&call.request()?).await),
        ApiKey::CreatePartitions => call.reply(&broker.create_partitions(&call.request()?).await),
        ApiKey::DeleteRecords => call.reply(&broker.delete_records(&call.request()?).await),
        ApiKey::DescribeConfigs => call.reply(&broker.describe_configs(&call.request()?)),
        ApiKey::AlterConfigs => call.reply(&broker.alter_configs(&call.request()?).await),
        ApiKey::IncrementalAlterConfigs => {
            call.reply(&broker.incremental_alter_configs(&call.request()?).await)
        }
        ApiKey::ListGroups => call.reply(&broker.list_groups(&call.request()?)),
        ApiKey::DescribeGroups => call.reply(&broker.describe_groups(&call.request()?)),
        ApiKey::DeleteGroups => call.reply(&broker.delete_groups(&call.request()?).await),
        ApiKey::DescribeCluster => call.reply(&broker.describe_cluster()),
        ApiKey::ListTransactions => call.reply(&broker.list_transactions(&call.request()?)),
        ApiKey::DescribeTransactions => call.reply(&broker.describe_transactions(&call.request()?)),
        ApiKey::ConsumerGroupHeartbeat => call.reply(&no_consumer_protocol()),
        key => Err(Malformed::NotOffered { key: key as i16, version: call.version }),
    }
}

fn prelude(frame: &[u8]) -> Result<(i16, i16, i32), Malformed> {
    let [k0, k1, v0, v1, c0, c1, c2, c3] =
        *frame.first_chunk::<PRELUDE_BYTES>().ok_or(Malformed::Short)?;
    Ok((
        i16::from_be_bytes([k0, k1]),
        i16::from_be_bytes([v0, v1]),
        i32::from_be_bytes([c0, c1, c2, c3]),
    ))
}

fn produce(broker: &Arc<Broker>, call: &Call) -> Result<Reply, Malformed> {
    let request: kafka_protocol::messages::ProduceRequest = call.request()?;
    let wants_answer = request.acks != 0;
    let produced = broker.produce(request);
    let call = Call { body: Bytes::new(), ..call.clone() };
    let acknowledged = async move { call.encode(&produced.acknowledge().await) };
    if wants_answer {
        Ok(Reply::Later(Box::pin(acknowledged)))
    } else {
        broker.tasks.spawn(acknowledged);
        Ok(Reply::None)
    }
}

fn api_versions() -> ApiVersionsResponse {
    let version = |api: &apis::Api| {
        ApiVersion::default()
            .with_api_key(api.key as i16)
            .with_min_version(api.min)
            .with_max_version(api.max)
    };
    ApiVersionsResponse::default().with_api_keys(APIS.iter().map(version).collect())
}

/// Groups of the consumer protocol (KIP-848) are refused as by a Kafka that has only classic ones.
fn no_consumer_protocol() -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
}

/// A client that speaks a newer version is told in the oldest one what there is (KIP-511).
fn unsupported_api_versions(correlation: i32) -> Result<Reply, Malformed> {
    let (client, body) = (StrBytes::default(), Bytes::new());
    let call = Call { key: ApiKey::ApiVersions, version: 0, correlation, client, body };
    call.reply(&api_versions().with_error_code(ResponseError::UnsupportedVersion.code()))
}

impl Call {
    fn read(mut frame: Bytes, key: i16, version: i16, correlation: i32) -> Result<Call, Malformed> {
        let api = apis::find(key, version).ok_or(Malformed::NotOffered { key, version })?;
        let key = api.key;
        let header = RequestHeader::decode(&mut frame, key.request_header_version(version))
            .map_err(|error| Malformed::Unreadable { key, version, reason: error.to_string() })?;
        let style = Style { version, flexible: api.flexible_from <= version };
        // Bytes too many are let be, as Kafka does: librdkafka asks for all topics with three of them (Metadata version 9).
        if shape::skip(api.form, &frame, style).is_none() {
            return Err(Malformed::Form { key, version });
        }
        Ok(Call {
            key,
            version,
            correlation,
            client: header.client_id.unwrap_or_default(),
            body: frame,
        })
    }

    fn request<R: Decodable>(&self) -> Result<R, Malformed> {
        let (key, version) = (self.key, self.version);
        R::decode(&mut self.body.clone(), version).map_err(|error| Malformed::Unreadable {
            key,
            version,
            reason: error.to_string(),
        })
    }

    fn reply<R: Encodable>(&self, response: &R) -> Result<Reply, Malformed> {
        Ok(Reply::Now(self.encode(response)?))
    }

    fn encode<R: Encodable>(&self, response: &R) -> Result<BytesMut, Malformed> {
        let (key, version) = (self.key, self.version);
        let unwritable = |reason: String| Malformed::Unwritable { key, version, reason };
        let mut frame = BytesMut::from([0; 4].as_slice());
        let header = ResponseHeader::default().with_correlation_id(self.correlation);
        header
            .encode(&mut frame, key.response_header_version(version))
            .and_then(|()| response.encode(&mut frame, version))
            .map_err(|error| unwritable(error.to_string()))?;
        let length =
            i32::try_from(frame.len() - 4).map_err(|error| unwritable(error.to_string()))?;
        if let Some(place) = frame.first_chunk_mut() {
            *place = length.to_be_bytes();
        }
        Ok(frame)
    }
}
