//! What members of consumer groups ask for: to join, to sync, to stay, to leave.

use crate::broker::Broker;
use crate::group::{Claim, Group, Join, Joined, NotJoined};
use crate::sync::locked;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

const SESSION_TIMEOUT_MAX_MS: i32 = 30 * 60 * 1_000;

/// A copy that does not keep the whole request in memory for as long as the member lives.
fn own(text: &StrBytes) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

fn milliseconds(count: i32) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(0))
}

impl Broker {
    pub(crate) async fn join_group(
        &self,
        request: JoinGroupRequest,
        client: StrBytes,
        version: i16,
    ) -> JoinGroupResponse {
        let joined = match self.begin_join(&request, &client, version) {
            Ok(answer) => self.wait(answer).await.unwrap_or_else(|| {
                Err(NotJoined {
                    error: ResponseError::UnknownMemberId,
                    member_id: request.member_id.clone(),
                })
            }),
            Err(refused) => Err(refused),
        };
        match joined {
            Ok(joined) => join_response(joined, version),
            // Since version 7 the name may be missing; before, only be empty.
            Err(NotJoined { error, member_id }) => JoinGroupResponse::default()
                .with_error_code(error.code())
                .with_generation_id(-1)
                .with_protocol_name(Some(StrBytes::default()))
                .with_member_id(member_id),
        }
    }

    fn begin_join(
        &self,
        request: &JoinGroupRequest,
        client: &StrBytes,
        version: i16,
    ) -> Result<oneshot::Receiver<Result<Joined, NotJoined>>, NotJoined> {
        let refuse = |error| NotJoined { error, member_id: request.member_id.clone() };
        if request.group_id.is_empty() {
            return Err(refuse(ResponseError::InvalidGroupId));
        }
        if !(1..=SESSION_TIMEOUT_MAX_MS).contains(&request.session_timeout_ms) {
            return Err(refuse(ResponseError::InvalidSessionTimeout));
        }
        let rebalance_timeout_ms = match version {
            0 => request.session_timeout_ms,
            _ => request.rebalance_timeout_ms,
        };
        let protocols = request.protocols.iter();
        let join = Join {
            member_id: own(&request.member_id),
            client: own(client),
            instance: request.group_instance_id.as_ref().map(own),
            protocol_type: own(&request.protocol_type),
            protocols: protocols
                .map(|known| (own(&known.name), Bytes::copy_from_slice(&known.metadata)))
                .collect(),
            session_timeout: milliseconds(request.session_timeout_ms),
            rebalance_timeout: milliseconds(rebalance_timeout_ms),
            takes_promises: 4 <= version,
        };
        let mut groups = locked(&self.groups);
        let delay = self.settings.initial_rebalance_delay;
        let group = groups.entry(request.group_id.to_string()).or_insert_with(|| Group::new(delay));
        group.join(join, Instant::now())
    }

    /// Waits for a group; nothing when the group no longer means to answer.
    async fn wait<T>(&self, answer: oneshot::Receiver<T>) -> Option<T> {
        tokio::select! {
            answer = answer => answer.ok(),
            () = self.stopping.cancelled() => None,
        }
    }

    pub(crate) async fn sync_group(&self, request: SyncGroupRequest) -> SyncGroupResponse {
        let begun = self.with_group(&request.group_id, |group| {
            let (member_id, generation) = (&request.member_id, request.generation_id);
            let claim =
                Claim { member_id, instance: request.group_instance_id.as_ref(), generation };
            let assignments = request.assignments.iter();
            let assignments = assignments
                .map(|given| (own(&given.member_id), Bytes::copy_from_slice(&given.assignment)));
            group.sync(claim, assignments.collect(), Instant::now())
        });
        let synced = match begun {
            Ok(answer) => self.wait(answer).await.unwrap_or(Err(ResponseError::UnknownMemberId)),
            Err(error) => Err(error),
        };
        match synced {
            Ok(assignment) => SyncGroupResponse::default().with_assignment(assignment),
            Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
        }
    }

    pub(crate) fn heartbeat(&self, request: &HeartbeatRequest) -> HeartbeatResponse {
        let alive = self.with_group(&request.group_id, |group| {
            let (member_id, generation) = (&request.member_id, request.generation_id);
            let claim =
                Claim { member_id, instance: request.group_instance_id.as_ref(), generation };
            group.heartbeat(claim, Instant::now())
        });
        HeartbeatResponse::default().with_error_code(alive.err().map_or(0, |error| error.code()))
    }

    pub(crate) fn leave_group(
        &self,
        request: &LeaveGroupRequest,
        version: i16,
    ) -> LeaveGroupResponse {
        let leave = |member_id: &StrBytes, instance: Option<&StrBytes>| {
            self.with_group(&request.group_id, |group| {
                group.leave(member_id, instance, Instant::now())
            })
        };
        if version < 3 {
            let left = leave(&request.member_id, None);
            return LeaveGroupResponse::default()
                .with_error_code(left.err().map_or(0, |error| error.code()));
        }
        let members = request.members.iter().map(|member| {
            let left = leave(&member.member_id, member.group_instance_id.as_ref());
            MemberResponse::default()
                .with_member_id(member.member_id.clone())
                .with_group_instance_id(member.group_instance_id.clone())
                .with_error_code(left.err().map_or(0, |error| error.code()))
        });
        LeaveGroupResponse::default().with_members(members.collect())
    }

    /// Lets a group act. Nobody is a member of a group that is not there: after a restart all join again.
    fn with_group<T>(
        &self,
        group_id: &str,
        act: impl FnOnce(&mut Group) -> Result<T, ResponseError>,
    ) -> Result<T, ResponseError> {
        act(locked(&self.groups).get_mut(group_id).ok_or(ResponseError::UnknownMemberId)?)
    }
}

fn join_response(joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(id, instance, metadata)| {
        let member = JoinGroupResponseMember::default().with_member_id(id).with_metadata(metadata);
        if 5 <= version { member.with_group_instance_id(instance) } else { member }
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(joined.protocol_type))
        .with_protocol_name(Some(joined.protocol))
        .with_leader(joined.leader)
        .with_member_id(joined.member_id)
        .with_members(members.collect())
}
