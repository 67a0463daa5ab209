//! One consumer group of the classic protocol (KIP-62, static members of KIP-345, member ids of KIP-394).
//!
//! Eager and cooperative assignors look the same from here: what differs (KIP-429) is in the metadata that members send each
//! other. Time is an argument, so that the tests need no sleeps.

mod member;
#[cfg(test)]
mod tests;

pub(crate) use member::{Claim, Join, JoinAnswer, Joined, Member, NotJoined, SyncAnswer};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use member::{answer, new_id, not_joined};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Where a group is in the cycle join, sync, work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Empty,
    /// Members are asked to join (again) until the deadline; nobody is answered before `not_before`.
    Joining {
        not_before: Instant,
        deadline: Instant,
    },
    /// All know the generation, and wait for the leader's assignment.
    Syncing,
    Stable,
}

/// A consumer group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) phase: Phase,
    pub(crate) generation: i32,
    pub(crate) protocol_type: StrBytes,
    pub(crate) protocol: Option<StrBytes>,
    leader: StrBytes,
    pub(crate) members: BTreeMap<StrBytes, Member>,
    /// Ids that were given to clients which have not come back with them yet.
    promised: HashMap<StrBytes, Instant>,
    initial_delay: Duration,
}

impl Group {
    pub(crate) fn new(initial_delay: Duration) -> Group {
        Group {
            phase: Phase::Empty,
            generation: 0,
            protocol_type: StrBytes::default(),
            protocol: None,
            leader: StrBytes::default(),
            members: BTreeMap::new(),
            promised: HashMap::new(),
            initial_delay,
        }
    }

    /// Lets a client in, perhaps after a rebalance. The answer comes through the receiver.
    pub(crate) fn join(
        &mut self,
        join: Join,
        now: Instant,
    ) -> Result<oneshot::Receiver<JoinAnswer>, NotJoined> {
        let member_id = join.member_id.clone();
        let refuse = |error| NotJoined { error, member_id };
        if join.protocols.is_empty() || !self.has_common_protocol(&join) {
            return Err(refuse(ResponseError::InconsistentGroupProtocol));
        }
        let id = self.admit(&join, now)?;
        let (sender, receiver) = oneshot::channel();
        if let Some(known) = self.members.get_mut(&id) {
            known.seen = now;
            let is_same = known.protocols == join.protocols;
            let is_settled = match self.phase {
                Phase::Syncing => true,
                Phase::Stable => self.leader != id,
                Phase::Empty | Phase::Joining { .. } => false,
            };
            if is_same && is_settled {
                answer(
                    sender,
                    self.joined(&id).ok_or_else(|| not_joined(ResponseError::UnknownMemberId, id)),
                );
                return Ok(receiver);
            }
        }
        self.protocol_type = join.protocol_type;
        let member = Member {
            client: join.client,
            instance: join.instance,
            protocols: join.protocols,
            assignment: self.members.remove(&id).map(|known| known.assignment).unwrap_or_default(),
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            seen: now,
            joining: None,
            syncing: None,
        };
        self.members.insert(id.clone(), member);
        self.begin_rebalance(now);
        if let Some(member) = self.members.get_mut(&id) {
            member.joining = Some(sender);
        }
        self.complete_join(now);
        Ok(receiver)
    }

    fn has_common_protocol(&self, join: &Join) -> bool {
        let mut others = self
            .members
            .iter()
            .filter(|(id, _)| **id != join.member_id)
            .map(|(_, member)| member)
            .peekable();
        if others.peek().is_none() {
            return true;
        }
        let others: Vec<&Member> = others.collect();
        join.protocol_type == self.protocol_type
            && join
                .protocols
                .iter()
                .any(|(name, _)| others.iter().all(|member| member.supports(name)))
    }

    /// Decides under which id a client is a member.
    fn admit(&mut self, join: &Join, now: Instant) -> Result<StrBytes, NotJoined> {
        let holder = join.instance.as_ref().and_then(|instance| self.holder_of(instance));
        let is_known = self.members.contains_key(&join.member_id);
        match (join.member_id.is_empty(), holder) {
            (true, Some(old)) => {
                // The same static member after a restart: it takes the place of its former self (KIP-345).
                if let Some(member) = self.members.remove(&old) {
                    member.dismiss(ResponseError::FencedInstanceId, &old);
                }
                Ok(new_id(join))
            }
            (true, None) if join.instance.is_none() && join.takes_promises => {
                let id = new_id(join);
                self.promised.insert(id.clone(), now + join.session_timeout);
                Err(not_joined(ResponseError::MemberIdRequired, id))
            }
            (true, None) => Ok(new_id(join)),
            (false, Some(holder)) if holder != join.member_id => {
                Err(not_joined(ResponseError::FencedInstanceId, join.member_id.clone()))
            }
            (false, _) if is_known || self.promised.remove(&join.member_id).is_some() => {
                Ok(join.member_id.clone())
            }
            (false, _) => Err(not_joined(ResponseError::UnknownMemberId, join.member_id.clone())),
        }
    }

    fn holder_of(&self, instance: &StrBytes) -> Option<StrBytes> {
        self.members
            .iter()
            .find(|(_, member)| member.instance.as_ref() == Some(instance))
            .map(|(id, _)| id.clone())
    }

    fn begin_rebalance(&mut self, now: Instant) {
        let delay = match self.phase {
            Phase::Joining { .. } => return,
            Phase::Empty => self.initial_delay,
            Phase::Syncing | Phase::Stable => Duration::ZERO,
        };
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(sender) = member.syncing.take() {
                answer(sender, Err(ResponseError::RebalanceInProgress));
            }
        }
        let longest =
            self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default();
        self.phase = Phase::Joining { not_before: now + delay, deadline: now + longest.max(delay) };
    }

    /// Begins the next generation if all have joined, or if those who have not are too late.
    fn complete_join(&mut self, now: Instant) {
        let Phase::Joining { not_before, deadline } = self.phase else { return };
        let is_late = deadline <= now;
        if now < not_before || !(is_late || self.members.values().all(Member::is_joining)) {
            return;
        }
        self.members.retain(|_, member| member.is_joining());
        let Some(first) = self.members.keys().next().cloned() else {
            self.become_empty();
            return;
        };
        if !self.members.contains_key(&self.leader) {
            self.leader = first;
        }
        self.generation = self.generation.wrapping_add(1).max(1);
        self.protocol = self.elect_protocol();
        self.phase = Phase::Syncing;
        let ids: Vec<StrBytes> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.seen = now;
            if let (Some(sender), Some(joined)) = (member.joining.take(), joined) {
                answer(sender, Ok(joined));
            }
        }
    }

    /// Every member votes for the first protocol on its list that all support; the most votes win.
    fn elect_protocol(&self) -> Option<StrBytes> {
        let mut votes: Vec<(StrBytes, usize)> = Vec::new();
        for member in self.members.values() {
            let common = |name: &&StrBytes| self.members.values().all(|other| other.supports(name));
            let Some(choice) = member.protocols.iter().map(|(name, _)| name).find(common) else {
                continue;
            };
            match votes.iter_mut().find(|(name, _)| name == choice) {
                Some((_, count)) => *count += 1,
                None => votes.push((choice.clone(), 1)),
            }
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name)
    }

    fn joined(&self, id: &StrBytes) -> Option<Joined> {
        let protocol = self.protocol.clone()?;
        let member_id = self.members.get_key_value(id)?.0.clone();
        let of = |member: &Member| (member.instance.clone(), member.metadata(&protocol));
        let members = if member_id == self.leader {
            self.members
                .iter()
                .map(|(id, member)| (id.clone(), of(member).0, of(member).1))
                .collect()
        } else {
            Vec::new()
        };
        let (generation, leader) = (self.generation, self.leader.clone());
        Some(Joined {
            generation,
            protocol_type: self.protocol_type.clone(),
            protocol,
            leader,
            member_id,
            members,
        })
    }

    /// Takes the leader's assignment, or waits for it.
    pub(crate) fn sync(
        &mut self,
        claim: Claim<'_>,
        assignments: Vec<(StrBytes, Bytes)>,
        now: Instant,
    ) -> Result<oneshot::Receiver<SyncAnswer>, ResponseError> {
        self.check(claim, now)?;
        if matches!(self.phase, Phase::Joining { .. }) {
            return Err(ResponseError::RebalanceInProgress);
        }
        let (sender, receiver) = oneshot::channel();
        if let Some(member) = self.members.get_mut(claim.member_id) {
            member.syncing = Some(sender);
        }
        if self.phase == Phase::Syncing && *claim.member_id == self.leader {
            for (id, assignment) in assignments {
                if let Some(member) = self.members.get_mut(&id) {
                    member.assignment = assignment;
                }
            }
            self.phase = Phase::Stable;
        }
        if self.phase == Phase::Stable {
            for member in self.members.values_mut() {
                if let Some(sender) = member.syncing.take() {
                    member.seen = now;
                    answer(sender, Ok(member.assignment.clone()));
                }
            }
        }
        Ok(receiver)
    }

    /// A sign of life; the answer tells of a rebalance.
    pub(crate) fn heartbeat(
        &mut self,
        claim: Claim<'_>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.check(claim, now)?;
        match self.phase {
            Phase::Joining { .. } => Err(ResponseError::RebalanceInProgress),
            Phase::Empty | Phase::Syncing | Phase::Stable => Ok(()),
        }
    }

    /// Whether a request comes from a member of this generation.
    pub(crate) fn check(&mut self, claim: Claim<'_>, now: Instant) -> Result<(), ResponseError> {
        if let Some(holder) = claim.instance.and_then(|instance| self.holder_of(instance))
            && holder != *claim.member_id
        {
            return Err(ResponseError::FencedInstanceId);
        }
        let Some(member) = self.members.get_mut(claim.member_id) else {
            return Err(ResponseError::UnknownMemberId);
        };
        if claim.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        member.seen = now;
        Ok(())
    }

    /// Takes a member out, named by its id or, when that is empty, by its instance.
    pub(crate) fn leave(
        &mut self,
        member_id: &StrBytes,
        instance: Option<&StrBytes>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let id = match instance.and_then(|instance| self.holder_of(instance)) {
            Some(holder) if !member_id.is_empty() && holder != *member_id => {
                return Err(ResponseError::FencedInstanceId);
            }
            Some(holder) => holder,
            None => member_id.clone(),
        };
        let was_promised = self.promised.remove(&id).is_some();
        match self.members.remove(&id) {
            Some(_) => {
                self.after_loss(now);
                Ok(())
            }
            None if was_promised => Ok(()),
            None => Err(ResponseError::UnknownMemberId),
        }
    }

    /// Removes the silent and ends what has waited long enough.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.promised.retain(|_, until| now < *until);
        let before = self.members.len();
        let is_syncing = self.phase == Phase::Syncing;
        self.members.retain(|id, member| {
            let waits = member.is_joining() || (is_syncing && member.syncing.is_some());
            let stays = waits || now < member.seen + member.session_timeout;
            if !stays {
                tracing::info!(member = id.as_str(), "a silent member is removed");
            }
            stays
        });
        if self.members.len() < before { self.after_loss(now) } else { self.complete_join(now) }
    }

    fn after_loss(&mut self, now: Instant) {
        if self.members.is_empty() {
            self.become_empty();
            return;
        }
        self.begin_rebalance(now);
        self.complete_join(now);
    }

    fn become_empty(&mut self) {
        if self.phase != Phase::Empty {
            self.generation = self.generation.wrapping_add(1).max(1);
        }
        self.phase = Phase::Empty;
        self.protocol = None;
        self.leader = StrBytes::default();
    }

    /// Whether nothing is lost by forgetting it.
    pub(crate) fn is_unused(&self) -> bool {
        self.members.is_empty() && self.promised.is_empty()
    }
}
