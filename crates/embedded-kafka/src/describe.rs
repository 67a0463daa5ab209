//! What there is: settings, groups, transactions.

use crate::admin::TOPIC;
use crate::broker::Broker;
use crate::config;
use crate::group::{Group, Phase};
use crate::ledger::{Entry, Place, Transactions};
use crate::metadata::text;
use crate::sync::locked;
use crate::topics::{Topic, storage_error};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribeGroupsRequest, DescribeGroupsResponse, DescribeTransactionsRequest,
    DescribeTransactionsResponse, GroupId, ListGroupsRequest, ListGroupsResponse,
    ListTransactionsRequest, ListTransactionsResponse, ProducerId, TopicName, TransactionalId,
    describe_transactions_response, list_transactions_response,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};

/// The resource type of brokers.
const BROKER: i8 = 4;
/// Where a setting comes from (KIP-226).
const FROM_TOPIC: i8 = 1;
const FROM_DEFAULT: i8 = 5;
/// Nobody asked which operations are allowed.
const NO_OPERATIONS: i32 = i32::MIN;

impl Broker {
    pub(crate) fn describe_configs(
        &self,
        request: &DescribeConfigsRequest,
    ) -> DescribeConfigsResponse {
        let results = request.resources.iter().map(|asked| {
            let result = DescribeConfigsResult::default()
                .with_resource_type(asked.resource_type)
                .with_resource_name(asked.resource_name.clone());
            let wants = |name: &str| {
                asked
                    .configuration_keys
                    .as_ref()
                    .is_none_or(|keys| keys.iter().any(|key| key.as_str() == name))
            };
            match (asked.resource_type, self.topics.get(&asked.resource_name)) {
                (TOPIC, Some(topic)) => result.with_configs(self.topic_configs(&topic, wants)),
                (TOPIC, None) => {
                    result.with_error_code(ResponseError::UnknownTopicOrPartition.code())
                }
                (BROKER, _) => result,
                _ => result.with_error_code(ResponseError::InvalidRequest.code()),
            }
        });
        DescribeConfigsResponse::default().with_results(results.collect())
    }

    fn topic_configs(
        &self,
        topic: &Topic,
        wants: impl Fn(&str) -> bool,
    ) -> Vec<DescribeConfigsResourceResult> {
        let known = config::KNOWN.iter().filter(|known| wants(known.name));
        let results = known.map(|known| {
            let is_said = topic.configs.contains_key(known.name);
            DescribeConfigsResourceResult::default()
                .with_name(StrBytes::from_static_str(known.name))
                .with_value(Some(text(config::value(known.name, &topic.configs, &self.settings))))
                .with_config_source(if is_said { FROM_TOPIC } else { FROM_DEFAULT })
                .with_config_type(known.kind as i8)
        });
        results.collect()
    }

    pub(crate) fn list_groups(&self, request: &ListGroupsRequest) -> ListGroupsResponse {
        let groups = locked(&self.groups);
        let mut names: BTreeSet<String> = groups.keys().cloned().collect();
        names
            .extend(self.journal.read(|ledger| ledger.offsets.keys().cloned().collect::<Vec<_>>()));
        let listed = names.into_iter().map(|name| {
            let group = groups.get(&name);
            ListedGroup::default()
                .with_group_id(GroupId(text(name)))
                .with_protocol_type(
                    group.map(|group| group.protocol_type.clone()).unwrap_or_default(),
                )
                .with_group_state(StrBytes::from_static_str(group.map_or("Empty", phase)))
        });
        let wanted = |group: &ListedGroup| {
            request.states_filter.is_empty() || request.states_filter.contains(&group.group_state)
        };
        ListGroupsResponse::default().with_groups(listed.filter(wanted).collect())
    }

    pub(crate) fn describe_groups(
        &self,
        request: &DescribeGroupsRequest,
    ) -> DescribeGroupsResponse {
        let groups = locked(&self.groups);
        let described = request.groups.iter().map(|id| {
            let described = DescribedGroup::default()
                .with_group_id(id.clone())
                .with_authorized_operations(NO_OPERATIONS);
            let has_offsets = self.journal.read(|ledger| ledger.offsets.contains_key(id.as_str()));
            match groups.get(id.as_str()) {
                Some(group) => described
                    .with_group_state(StrBytes::from_static_str(phase(group)))
                    .with_protocol_type(group.protocol_type.clone())
                    .with_protocol_data(group.protocol.clone().unwrap_or_default())
                    .with_members(members(group)),
                None if has_offsets => {
                    described.with_group_state(StrBytes::from_static_str("Empty"))
                }
                None => described.with_group_state(StrBytes::from_static_str("Dead")),
            }
        });
        DescribeGroupsResponse::default().with_groups(described.collect())
    }

    pub(crate) async fn delete_groups(
        &self,
        request: &DeleteGroupsRequest,
    ) -> DeleteGroupsResponse {
        let results = request.groups_names.iter().map(|id| {
            let code = self.delete_group(id).err().map_or(0, |error| error.code());
            DeletableGroupResult::default().with_group_id(id.clone()).with_error_code(code)
        });
        let response = DeleteGroupsResponse::default().with_results(results.collect());
        if let Err(error) = self.journal.settle_all().await {
            storage_error(&error);
        }
        response
    }

    fn delete_group(&self, id: &GroupId) -> Result<(), ResponseError> {
        let mut groups = locked(&self.groups);
        if groups.get(id.as_str()).is_some_and(|group| !group.members.is_empty()) {
            return Err(ResponseError::NonEmptyGroup);
        }
        let was_known = groups.remove(id.as_str()).is_some();
        if !self.journal.read(|ledger| ledger.offsets.contains_key(id.as_str())) {
            return if was_known { Ok(()) } else { Err(ResponseError::GroupIdNotFound) };
        }
        let entry = Entry::OffsetsForgotten { group: id.to_string(), places: vec![] };
        self.journal.record(entry).map(|_| ()).map_err(|error| storage_error(&error))
    }

    pub(crate) fn list_transactions(
        &self,
        request: &ListTransactionsRequest,
    ) -> ListTransactionsResponse {
        let states = self.journal.read(|ledger| {
            let all = ledger.transactions.iter().map(|(id, known)| {
                list_transactions_response::TransactionState::default()
                    .with_transactional_id(TransactionalId(text(id)))
                    .with_producer_id(ProducerId(known.producer.id))
                    .with_transaction_state(StrBytes::from_static_str(state(known)))
            });
            let wanted = |listed: &list_transactions_response::TransactionState| {
                let (states, producers) = (&request.state_filters, &request.producer_id_filters);
                (states.is_empty() || states.contains(&listed.transaction_state))
                    && (producers.is_empty() || producers.contains(&listed.producer_id))
            };
            all.filter(wanted).collect()
        });
        ListTransactionsResponse::default().with_transaction_states(states)
    }

    pub(crate) fn describe_transactions(
        &self,
        request: &DescribeTransactionsRequest,
    ) -> DescribeTransactionsResponse {
        let states = request.transactional_ids.iter().map(|id| {
            let described = describe_transactions_response::TransactionState::default()
                .with_transactional_id(id.clone());
            let known = self.journal.read(|ledger| ledger.transactions.get(id.as_str()).cloned());
            let Some(known) = known else {
                return described.with_error_code(ResponseError::TransactionalIdNotFound.code());
            };
            let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
            for Place { topic, partition } in
                known.ongoing.iter().flat_map(|ongoing| ongoing.places.iter())
            {
                topics.entry(topic.clone()).or_default().push(*partition);
            }
            let topics = topics.into_iter().map(|(topic, partitions)| {
                describe_transactions_response::TopicData::default()
                    .with_topic(TopicName(text(topic)))
                    .with_partitions(partitions)
            });
            described
                .with_transaction_state(StrBytes::from_static_str(state(&known)))
                .with_transaction_timeout_ms(known.producer.timeout_ms)
                .with_transaction_start_time_ms(-1)
                .with_producer_id(ProducerId(known.producer.id))
                .with_producer_epoch(known.producer.epoch)
                .with_topics(topics.collect())
        });
        DescribeTransactionsResponse::default().with_transaction_states(states.collect())
    }
}

fn members(group: &Group) -> Vec<DescribedGroupMember> {
    let members = group.members.iter().map(|(id, member)| {
        DescribedGroupMember::default()
            .with_member_id(id.clone())
            .with_group_instance_id(member.instance.clone())
            .with_client_id(member.client.clone())
            .with_client_host(StrBytes::from_static_str("/127.0.0.1"))
            .with_member_metadata(
                group.protocol.as_ref().map(|name| member.metadata(name)).unwrap_or_default(),
            )
            .with_member_assignment(member.assignment.clone())
    });
    members.collect()
}

/// The names that Kafka's tools know.
fn phase(group: &Group) -> &'static str {
    match group.phase {
        Phase::Empty => "Empty",
        Phase::Joining { .. } => "PreparingRebalance",
        Phase::Syncing => "CompletingRebalance",
        Phase::Stable => "Stable",
    }
}

fn state(known: &Transactions) -> &'static str {
    match (&known.ongoing, known.producer.outcome) {
        (Some(_), _) => "Ongoing",
        (None, None) => "Empty",
        (None, Some(true)) => "CompleteCommit",
        (None, Some(false)) => "CompleteAbort",
    }
}
