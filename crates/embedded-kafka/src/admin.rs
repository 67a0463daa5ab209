//! Changes to topics: made, removed, grown, configured.

use crate::broker::Broker;
use crate::config;
use crate::metadata::text;
use crate::topics::storage_error;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, CreatePartitionsRequest, CreatePartitionsResponse,
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, alter_configs_response,
    create_partitions_response, incremental_alter_configs_response,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

/// The resource type of topics.
pub(crate) const TOPIC: i8 = 2;

/// Why a change was refused, in a code and in words.
#[derive(Debug)]
struct Refused {
    error: ResponseError,
    message: Option<String>,
}

impl From<ResponseError> for Refused {
    fn from(error: ResponseError) -> Refused {
        Refused { error, message: None }
    }
}

impl Refused {
    fn new(error: ResponseError, message: impl Into<String>) -> Refused {
        Refused { error, message: Some(message.into()) }
    }

    fn message(&self) -> StrBytes {
        text(self.message.clone().unwrap_or_else(|| self.error.to_string()))
    }
}

/// Operations of `IncrementalAlterConfigs` (KIP-339).
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

impl Broker {
    pub(crate) async fn create_topics(
        &self,
        request: &CreateTopicsRequest,
    ) -> CreateTopicsResponse {
        let mut results = Vec::new();
        for asked in &request.topics {
            let result = CreatableTopicResult::default()
                .with_name(asked.name.clone())
                .with_configs(Some(vec![]));
            results.push(match self.create_topic(asked, request.validate_only) {
                Ok(partitions) => result.with_num_partitions(partitions).with_replication_factor(1),
                Err(refused) => result
                    .with_error_code(refused.error.code())
                    .with_error_message(Some(refused.message()))
                    .with_num_partitions(-1)
                    .with_replication_factor(-1),
            });
        }
        self.settle_changes().await;
        CreateTopicsResponse::default().with_topics(results)
    }

    fn create_topic(&self, asked: &CreatableTopic, validate_only: bool) -> Result<i32, Refused> {
        let partitions = match (asked.assignments.is_empty(), asked.num_partitions) {
            (false, _) => i32::try_from(asked.assignments.len()).unwrap_or(i32::MAX),
            (true, -1) => i32::from(self.settings.default_partitions),
            (true, count) => count,
        };
        if asked.assignments.is_empty() && !matches!(asked.replication_factor, -1 | 1) {
            let message = "this broker is alone: the replication factor is 1";
            return Err(Refused::new(ResponseError::InvalidReplicationFactor, message));
        }
        let mut configs = BTreeMap::new();
        for asked in &asked.configs {
            let Some(value) = &asked.value else { continue };
            check_config(&asked.name, value)?;
            configs.insert(asked.name.to_string(), value.to_string());
        }
        if validate_only {
            self.topics.check_new(&asked.name, partitions)?;
        } else {
            self.topics.create(&self.journal, &asked.name, partitions, configs).map(|_| ())?;
        }
        Ok(partitions)
    }

    pub(crate) async fn delete_topics(
        &self,
        request: &DeleteTopicsRequest,
    ) -> DeleteTopicsResponse {
        let results = request.topic_names.iter().map(|name| {
            let deleted = match self.topics.get(name) {
                None => Err(ResponseError::UnknownTopicOrPartition),
                Some(_) => self.topics.delete(&self.journal, name),
            };
            let code = deleted.err().map_or(0, |error| error.code());
            DeletableTopicResult::default().with_name(Some(name.clone())).with_error_code(code)
        });
        let response = DeleteTopicsResponse::default().with_responses(results.collect());
        self.settle_changes().await;
        response
    }

    pub(crate) async fn create_partitions(
        &self,
        request: &CreatePartitionsRequest,
    ) -> CreatePartitionsResponse {
        let results = request.topics.iter().map(|asked| {
            let grown = if request.validate_only {
                self.topics
                    .get(&asked.name)
                    .map(|_| ())
                    .ok_or(ResponseError::UnknownTopicOrPartition)
            } else {
                self.topics.grow(&self.journal, &asked.name, asked.count).map(|_| ())
            };
            create_partitions_response::CreatePartitionsTopicResult::default()
                .with_name(asked.name.clone())
                .with_error_code(grown.err().map_or(0, |error| error.code()))
                .with_error_message(grown.err().map(|error| text(error.to_string())))
        });
        let response = CreatePartitionsResponse::default().with_results(results.collect());
        self.settle_changes().await;
        response
    }

    /// Replaces all settings of a topic.
    pub(crate) async fn alter_configs(
        &self,
        request: &AlterConfigsRequest,
    ) -> AlterConfigsResponse {
        let responses = request.resources.iter().map(|asked| {
            let changes = asked
                .configs
                .iter()
                .filter_map(|change| Some((&change.name, SET, change.value.as_ref()?)));
            let changes = changes.map(|(name, operation, value)| (name, operation, Some(value)));
            let topic = (asked.resource_type, asked.resource_name.as_str());
            let refused =
                self.configure(topic, BTreeMap::new(), changes, request.validate_only).err();
            alter_configs_response::AlterConfigsResourceResponse::default()
                .with_resource_type(asked.resource_type)
                .with_resource_name(asked.resource_name.clone())
                .with_error_code(refused.as_ref().map_or(0, |refused| refused.error.code()))
                .with_error_message(refused.map(|refused| refused.message()))
        });
        let response = AlterConfigsResponse::default().with_responses(responses.collect());
        self.settle_changes().await;
        response
    }

    /// Changes some settings of a topic (KIP-339).
    pub(crate) async fn incremental_alter_configs(
        &self,
        request: &IncrementalAlterConfigsRequest,
    ) -> IncrementalAlterConfigsResponse {
        let responses = request.resources.iter().map(|asked| {
            let changes = asked
                .configs
                .iter()
                .map(|change| (&change.name, change.config_operation, change.value.as_ref()));
            let before = self
                .topics
                .get(&asked.resource_name)
                .map(|topic| topic.configs.clone())
                .unwrap_or_default();
            let topic = (asked.resource_type, asked.resource_name.as_str());
            let refused = self.configure(topic, before, changes, request.validate_only).err();
            incremental_alter_configs_response::AlterConfigsResourceResponse::default()
                .with_resource_type(asked.resource_type)
                .with_resource_name(asked.resource_name.clone())
                .with_error_code(refused.as_ref().map_or(0, |refused| refused.error.code()))
                .with_error_message(refused.map(|refused| refused.message()))
        });
        let response =
            IncrementalAlterConfigsResponse::default().with_responses(responses.collect());
        self.settle_changes().await;
        response
    }

    fn configure<'a>(
        &self,
        (resource_type, name): (i8, &str),
        mut configs: BTreeMap<String, String>,
        changes: impl Iterator<Item = (&'a StrBytes, i8, Option<&'a StrBytes>)>,
        validate_only: bool,
    ) -> Result<(), Refused> {
        if resource_type != TOPIC {
            return Err(Refused::new(
                ResponseError::InvalidRequest,
                "only settings of topics can be changed",
            ));
        }
        for (name, operation, value) in changes {
            let before = config::value(name, &configs, &self.settings);
            let words = before.split(',').filter(|word| !word.is_empty());
            let value = value.map(StrBytes::as_str).unwrap_or_default();
            let after = match operation {
                SET => value.to_owned(),
                APPEND => {
                    words.filter(|word| *word != value).chain([value]).collect::<Vec<_>>().join(",")
                }
                SUBTRACT => words.filter(|word| *word != value).collect::<Vec<_>>().join(","),
                DELETE => {
                    configs.remove(name.as_str());
                    continue;
                }
                _ => return Err(ResponseError::InvalidRequest.into()),
            };
            check_config(name, &after)?;
            configs.insert(name.to_string(), after);
        }
        if validate_only {
            Ok(())
        } else {
            self.topics.configure(&self.journal, name, configs).map(|_| ()).map_err(Refused::from)
        }
    }

    async fn settle_changes(&self) {
        if let Err(error) = self.journal.settle_all().await {
            storage_error(&error);
        }
    }
}

fn check_config(name: &str, value: &str) -> Result<(), Refused> {
    match config::refusal(name, value) {
        None => Ok(()),
        Some(message) => Err(Refused::new(ResponseError::InvalidConfig, message)),
    }
}
