//! A member of a group, what it asks with and what it is told.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use std::mem;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

/// One member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) client: StrBytes,
    pub(crate) instance: Option<StrBytes>,
    pub(crate) protocols: Vec<(StrBytes, Bytes)>,
    pub(crate) assignment: Bytes,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) seen: Instant,
    pub(super) joining: Option<oneshot::Sender<JoinAnswer>>,
    pub(super) syncing: Option<oneshot::Sender<SyncAnswer>>,
}

/// What a client asks to join with.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) member_id: StrBytes,
    pub(crate) client: StrBytes,
    pub(crate) instance: Option<StrBytes>,
    pub(crate) protocol_type: StrBytes,
    pub(crate) protocols: Vec<(StrBytes, Bytes)>,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    /// Whether it understands `MEMBER_ID_REQUIRED`.
    pub(crate) takes_promises: bool,
}

/// A member's part in a generation.
#[derive(Debug, PartialEq)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol_type: StrBytes,
    pub(crate) protocol: StrBytes,
    pub(crate) leader: StrBytes,
    pub(crate) member_id: StrBytes,
    /// Id, instance and metadata of all; only the leader is told.
    pub(crate) members: Vec<(StrBytes, Option<StrBytes>, Bytes)>,
}

/// Why a client did not join, and the id to try again with.
#[derive(Debug, PartialEq)]
pub(crate) struct NotJoined {
    pub(crate) error: ResponseError,
    pub(crate) member_id: StrBytes,
}

pub(crate) type JoinAnswer = Result<Joined, NotJoined>;
pub(crate) type SyncAnswer = Result<Bytes, ResponseError>;

/// Who a request says it is from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) member_id: &'a StrBytes,
    pub(crate) instance: Option<&'a StrBytes>,
    pub(crate) generation: i32,
}

impl Member {
    pub(super) fn supports(&self, protocol: &StrBytes) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// What it says about itself under a protocol.
    pub(crate) fn metadata(&self, protocol: &StrBytes) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// Whether somebody waits for its answer. A client that went away meanwhile does not count.
    pub(super) fn is_joining(&self) -> bool {
        self.joining.as_ref().is_some_and(|sender| !sender.is_closed())
    }

    pub(super) fn dismiss(mut self, error: ResponseError, id: &StrBytes) {
        if let Some(sender) = mem::take(&mut self.joining) {
            answer(sender, Err(not_joined(error, id.clone())));
        }
        if let Some(sender) = mem::take(&mut self.syncing) {
            answer(sender, Err(error));
        }
    }
}

pub(super) fn new_id(join: &Join) -> StrBytes {
    let prefix = join.instance.as_ref().unwrap_or(&join.client);
    StrBytes::from_string(format!("{}-{}", prefix.as_str(), Uuid::new_v4()))
}

pub(super) fn not_joined(error: ResponseError, member_id: StrBytes) -> NotJoined {
    NotJoined { error, member_id }
}

/// A client that no longer waits needs no answer.
pub(super) fn answer<T>(sender: oneshot::Sender<T>, value: T) {
    drop(sender.send(value));
}
