//! Topics: made when missing, left alone when there; and emptied from the front, when an operator says so.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    config::FromClientConfigAndContext as _,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    metadata::{MetadataPartition, MetadataTopic},
    topic_partition_list::TopicPartitionListElem,
};

use super::{
    client::{ConnectError, Logged, creation_error, is_transient},
    consumer::offsets,
    diagnosis::diagnosed,
    settings::KafkaSettings,
};
use crate::delivery::Progress;

/// How long one question to the cluster may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the leaders may take to delete records.
const DELETE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// A topic that a service needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions it is made with.
    pub partitions: u16,
    /// Its settings, for instance `cleanup.policy`, as Kafka names them. The replication factor is the broker's default.
    pub config: BTreeMap<String, String>,
}

impl TopicSpec {
    /// With the broker's default settings.
    pub fn new(name: impl Into<String>, partitions: u16) -> Self {
        Self { name: name.into(), partitions, config: BTreeMap::new() }
    }
}

/// Makes the topics that are missing, leaves the others as they are, and returns once all have leaders.
///
/// It waits for a broker at most `timeout`, and says which address did not answer, and why. One that does not let us in is not
/// waited for.
pub async fn ensure_topics(
    settings: &KafkaSettings,
    topics: &[TopicSpec],
    timeout: Duration,
) -> Result<(), ConnectError> {
    let config = settings.client_config(&[])?;
    let client = AdminClient::from_config_and_context(&config, Logged).map_err(creation_error)?;
    let client = Arc::new(client);
    let mut last = None;
    let ready = async {
        loop {
            let error = match step(&client, topics).await {
                Ok(true) => return Ok(()),
                Ok(false) => None,
                Err(error) if is_transient(&error) => Some(error),
                Err(error) => return Err(diagnosed_apart(settings, error).await),
            };
            if let Some(error) = error {
                let cause = diagnosed_apart(settings, error).await;
                if matches!(cause, ConnectError::ShutOut { .. }) {
                    return Err(cause);
                }
                last = Some(cause);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    };
    let outcome = tokio::time::timeout(timeout, ready).await;
    outcome.unwrap_or_else(|_elapsed| {
        Err(last.unwrap_or_else(|| ConnectError::Unreachable {
            servers: settings.bootstrap_servers.clone(),
            reason: format!("no answer within {timeout:?}"),
        }))
    })
}

/// Deletes the records of each partition before the offset that `progress` names for it; those after keep their offsets.
pub async fn delete_records(
    settings: &KafkaSettings,
    progress: &Progress,
) -> Result<(), ConnectError> {
    let config = settings.client_config(&[])?;
    let client = AdminClient::from_config_and_context(&config, Logged).map_err(creation_error)?;
    let options = AdminOptions::new()
        .request_timeout(Some(DELETE_TIMEOUT))
        .operation_timeout(Some(DELETE_TIMEOUT));
    let delete = async {
        let deleted = client.delete_records(&offsets(progress)?, &options).await?;
        deleted.elements().iter().try_for_each(TopicPartitionListElem::error)
    };
    match delete.await {
        Ok(()) => Ok(()),
        Err(error) => Err(diagnosed_apart(settings, error).await),
    }
}

/// As [`diagnosed`], on a thread that may block.
async fn diagnosed_apart(settings: &KafkaSettings, error: KafkaError) -> ConnectError {
    let settings = settings.clone();
    let asked = tokio::task::spawn_blocking(move || diagnosed(&settings, &error)).await;
    asked.unwrap_or_else(|panic| ConnectError::Refused(panic.to_string()))
}

/// Looks once, and makes what is missing. Whether all topics were there, with leaders.
async fn step(client: &Arc<AdminClient<Logged>>, topics: &[TopicSpec]) -> KafkaResult<bool> {
    let shared = Arc::clone(client);
    let asked =
        tokio::task::spawn_blocking(move || shared.inner().fetch_metadata(None, ASK_TIMEOUT)).await;
    let metadata = asked.map_err(|_panic| KafkaError::Canceled)??;
    let partitions_of = |spec: &TopicSpec| {
        metadata
            .topics()
            .iter()
            .find(|found| found.name() == spec.name)
            .map(MetadataTopic::partitions)
    };
    let missing: Vec<&TopicSpec> =
        topics.iter().filter(|spec| partitions_of(spec).is_none()).collect();
    if missing.is_empty() {
        let has_leaders = |found: &[MetadataPartition]| {
            !found.is_empty() && found.iter().all(|it| 0 <= it.leader())
        };
        return Ok(topics.iter().all(|spec| partitions_of(spec).is_some_and(has_leaders)));
    }
    let new: Vec<NewTopic<'_>> = missing.iter().map(|spec| new_topic(spec)).collect();
    let options =
        AdminOptions::new().request_timeout(Some(ASK_TIMEOUT)).operation_timeout(Some(ASK_TIMEOUT));
    for outcome in client.create_topics(&new, &options).await? {
        match outcome {
            // Another process may start at the same moment.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(KafkaError::AdminOp(code)),
        }
    }
    Ok(false)
}

fn new_topic(spec: &TopicSpec) -> NewTopic<'_> {
    // KIP-464: -1 leaves the number of replicas to the broker.
    let new = NewTopic::new(&spec.name, i32::from(spec.partitions), TopicReplication::Fixed(-1));
    spec.config.iter().fold(new, |new, (name, value)| new.set(name, value))
}
