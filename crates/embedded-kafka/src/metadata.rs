//! Who and where: the one broker, its topics, the one coordinator.

use crate::broker::Broker;
use crate::topics::{Topic, storage_error};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

/// The id of the only broker.
pub(crate) const NODE: BrokerId = BrokerId(1);
/// Coordinators of groups and of transactions.
const COORDINATOR_KINDS: std::ops::RangeInclusive<i8> = 0..=1;

pub(crate) fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

impl Broker {
    pub(crate) async fn metadata(
        &self,
        request: &MetadataRequest,
        version: i16,
    ) -> MetadataResponse {
        let asked = match &request.topics {
            None => None,
            // In version 0 an empty list asks for all.
            Some(topics) if version == 0 && topics.is_empty() => None,
            Some(topics) => Some(topics.iter().filter_map(|topic| topic.name.as_ref())),
        };
        let may_create =
            self.settings.auto_create_topics && (version < 4 || request.allow_auto_topic_creation);
        let topics = match asked {
            None => {
                self.topics.all().iter().map(|(name, topic)| describe(name, Ok(topic))).collect()
            }
            Some(names) => names.map(|name| self.topic_metadata(name, may_create)).collect(),
        };
        // A client that is told of a topic may count on it.
        if let Err(error) = self.journal.settle_all().await {
            storage_error(&error);
        }
        let broker = MetadataResponseBroker::default()
            .with_node_id(NODE)
            .with_host(self.host())
            .with_port(i32::from(self.address.port()));
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(text(&self.cluster)))
            .with_controller_id(NODE)
            .with_topics(topics)
    }

    fn topic_metadata(&self, name: &TopicName, may_create: bool) -> MetadataResponseTopic {
        let mut topic = self.topics.get(name);
        if topic.is_none() && may_create {
            let partitions = i32::from(self.settings.default_partitions);
            match self.topics.create(&self.journal, name, partitions, BTreeMap::new()) {
                // Another connection may have been faster.
                Ok(_) | Err(ResponseError::TopicAlreadyExists) => topic = self.topics.get(name),
                Err(error) => return describe(name, Err(error)),
            }
        }
        describe(name, topic.as_deref().ok_or(ResponseError::UnknownTopicOrPartition))
    }

    pub(crate) fn find_coordinator(
        &self,
        request: &FindCoordinatorRequest,
    ) -> FindCoordinatorResponse {
        let response = FindCoordinatorResponse::default();
        if COORDINATOR_KINDS.contains(&request.key_type) {
            response
                .with_node_id(NODE)
                .with_host(self.host())
                .with_port(i32::from(self.address.port()))
        } else {
            response
                .with_error_code(ResponseError::InvalidRequest.code())
                .with_node_id(BrokerId(-1))
        }
    }

    pub(crate) fn describe_cluster(&self) -> DescribeClusterResponse {
        let broker = DescribeClusterBroker::default()
            .with_broker_id(NODE)
            .with_host(self.host())
            .with_port(i32::from(self.address.port()));
        DescribeClusterResponse::default()
            .with_cluster_id(text(&self.cluster))
            .with_controller_id(NODE)
            .with_brokers(vec![broker])
    }

    fn host(&self) -> StrBytes {
        text(self.address.ip().to_string())
    }
}

fn describe(name: &str, topic: Result<&Topic, ResponseError>) -> MetadataResponseTopic {
    let described = MetadataResponseTopic::default().with_name(Some(TopicName(text(name))));
    let topic = match topic {
        Ok(topic) => topic,
        Err(error) => return described.with_error_code(error.code()),
    };
    let partitions = (0..topic.partition_count()).map(|number| {
        MetadataResponsePartition::default()
            .with_partition_index(number)
            .with_leader_id(NODE)
            .with_leader_epoch(0)
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    });
    described.with_topic_id(topic.id).with_partitions(partitions.collect())
}
