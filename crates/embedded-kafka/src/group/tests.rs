//! The group at work, with time as an argument.

use super::*;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(30);

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn join(member_id: &StrBytes, protocols: &[&str]) -> Join {
    Join {
        member_id: member_id.clone(),
        client: text("client"),
        instance: None,
        protocol_type: text("consumer"),
        protocols: protocols
            .iter()
            .map(|name| (text(name), Bytes::from((*name).to_owned())))
            .collect(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        takes_promises: false,
    }
}

fn enter(group: &mut Group, protocols: &[&str], now: Instant) -> oneshot::Receiver<JoinAnswer> {
    group.join(join(&StrBytes::default(), protocols), now).unwrap()
}

fn again(group: &mut Group, id: &StrBytes, now: Instant) -> oneshot::Receiver<JoinAnswer> {
    group.join(join(id, &["range"]), now).unwrap()
}

fn sync(
    group: &mut Group,
    joined: &Joined,
    now: Instant,
) -> Result<oneshot::Receiver<SyncAnswer>, ResponseError> {
    let given = joined.members.iter().map(|(id, _, _)| (id.clone(), Bytes::from(id.to_string())));
    let claim =
        Claim { member_id: &joined.member_id, instance: None, generation: joined.generation };
    group.sync(claim, given.collect(), now)
}

fn heartbeat(group: &mut Group, joined: &Joined, now: Instant) -> Result<(), ResponseError> {
    group.heartbeat(
        Claim { member_id: &joined.member_id, instance: None, generation: joined.generation },
        now,
    )
}

/// Two members in a stable group.
fn pair(now: Instant) -> (Group, Joined, Joined) {
    let mut group = Group::new(Duration::from_secs(1));
    let (mut a, mut b) = (enter(&mut group, &["range"], now), enter(&mut group, &["range"], now));
    assert!(a.try_recv().is_err(), "nobody is answered before the initial delay is over");
    group.tick(now + Duration::from_secs(1));
    let (a, b) = (a.try_recv().unwrap().unwrap(), b.try_recv().unwrap().unwrap());
    let (leader, follower) = if a.members.is_empty() { (b, a) } else { (a, b) };
    let mut waiting = sync(&mut group, &follower, now).unwrap();
    let mut led = sync(&mut group, &leader, now).unwrap();
    assert_eq!(waiting.try_recv().unwrap(), Ok(Bytes::from(follower.member_id.to_string())));
    assert_eq!(led.try_recv().unwrap(), Ok(Bytes::from(leader.member_id.to_string())));
    (group, leader, follower)
}

#[test]
fn members_that_come_together_share_one_rebalance() {
    let (group, leader, follower) = pair(Instant::now());
    assert_eq!((leader.generation, follower.generation, leader.members.len()), (1, 1, 2));
    assert_eq!((&leader.leader, &follower.leader), (&leader.member_id, &leader.member_id));
    assert_eq!(group.phase, Phase::Stable);
}

#[test]
fn a_newcomer_makes_the_others_join_again() {
    let now = Instant::now();
    let (mut group, leader, follower) = pair(now);
    let mut newcomer = enter(&mut group, &["range"], now);
    assert_eq!(heartbeat(&mut group, &follower, now), Err(ResponseError::RebalanceInProgress));
    assert_eq!(sync(&mut group, &follower, now).err(), Some(ResponseError::RebalanceInProgress));
    let mut back = again(&mut group, &follower.member_id, now);
    assert!(newcomer.try_recv().is_err() && back.try_recv().is_err());
    let mut led = again(&mut group, &leader.member_id, now);
    assert_eq!(led.try_recv().unwrap().unwrap().members.len(), 3);
    assert_eq!(newcomer.try_recv().unwrap().unwrap().generation, 2);
    assert_eq!(heartbeat(&mut group, &leader, now), Err(ResponseError::IllegalGeneration));
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let now = Instant::now();
    let (mut group, leader, follower) = pair(now);
    let mut back = again(&mut group, &leader.member_id, now);
    // It lives, but does not join.
    for second in 1..30 {
        assert!(heartbeat(&mut group, &follower, now + Duration::from_secs(second)).is_err());
        group.tick(now + Duration::from_secs(second));
    }
    assert!(back.try_recv().is_err());
    group.tick(now + REBALANCE);
    assert_eq!(back.try_recv().unwrap().unwrap().members.len(), 1);
    assert_eq!(heartbeat(&mut group, &follower, now), Err(ResponseError::UnknownMemberId));
}

#[test]
fn the_silent_are_removed_and_the_rest_rebalance() {
    let now = Instant::now();
    let (mut group, leader, follower) = pair(now);
    assert_eq!(heartbeat(&mut group, &leader, now + Duration::from_secs(5)), Ok(()));
    group.tick(now + SESSION);
    assert_eq!(
        heartbeat(&mut group, &follower, now + SESSION),
        Err(ResponseError::UnknownMemberId)
    );
    assert_eq!(
        heartbeat(&mut group, &leader, now + SESSION),
        Err(ResponseError::RebalanceInProgress)
    );
}

#[test]
fn a_leader_that_never_syncs_does_not_hold_the_group_up() {
    let now = Instant::now();
    let mut group = Group::new(Duration::ZERO);
    let mut alone = enter(&mut group, &["range"], now);
    let alone = alone.try_recv().unwrap().unwrap();
    let mut other = enter(&mut group, &["range"], now);
    let mut led = again(&mut group, &alone.member_id, now);
    let (led, other) = (led.try_recv().unwrap().unwrap(), other.try_recv().unwrap().unwrap());
    let mut waiting = sync(&mut group, &other, now).unwrap();
    group.tick(now + SESSION);
    assert_eq!(waiting.try_recv().unwrap(), Err(ResponseError::RebalanceInProgress));
    assert!(!group.members.contains_key(&led.member_id));
}

#[test]
fn the_last_to_leave_empties_the_group() {
    let now = Instant::now();
    let (mut group, leader, follower) = pair(now);
    assert_eq!(group.leave(&follower.member_id, None, now), Ok(()));
    assert_eq!(group.leave(&follower.member_id, None, now), Err(ResponseError::UnknownMemberId));
    assert_eq!(group.leave(&leader.member_id, None, now), Ok(()));
    assert!(group.phase == Phase::Empty && group.is_unused());
}

#[test]
fn a_protocol_that_all_know_is_chosen_and_others_are_refused() {
    let now = Instant::now();
    let mut group = Group::new(Duration::from_secs(1));
    let mut a = enter(&mut group, &["cooperative-sticky", "range"], now);
    let mut b = enter(&mut group, &["range", "roundrobin"], now);
    let refused = group.join(join(&StrBytes::default(), &["roundrobin"]), now);
    assert_eq!(refused.unwrap_err().error, ResponseError::InconsistentGroupProtocol);
    group.tick(now + Duration::from_secs(1));
    assert_eq!(a.try_recv().unwrap().unwrap().protocol, text("range"));
    assert_eq!(b.try_recv().unwrap().unwrap().protocol, text("range"));
}

#[test]
fn a_member_must_come_back_with_the_id_it_was_promised() {
    let now = Instant::now();
    let mut group = Group::new(Duration::ZERO);
    let first =
        group.join(Join { takes_promises: true, ..join(&StrBytes::default(), &["range"]) }, now);
    let promised = first.unwrap_err();
    assert_eq!(promised.error, ResponseError::MemberIdRequired);
    assert!(!group.is_unused());
    assert_eq!(
        again(&mut group, &promised.member_id, now).try_recv().unwrap().unwrap().generation,
        1
    );
    let stranger = group.join(join(&text("stranger"), &["range"]), now);
    assert_eq!(stranger.unwrap_err().error, ResponseError::UnknownMemberId);
}

#[test]
fn a_restarted_static_member_fences_its_former_self() {
    let now = Instant::now();
    let mut group = Group::new(Duration::ZERO);
    let named =
        |member_id: &StrBytes| Join { instance: Some(text("one")), ..join(member_id, &["range"]) };
    let old = group.join(named(&StrBytes::default()), now).unwrap().try_recv().unwrap().unwrap();
    let new = group.join(named(&StrBytes::default()), now).unwrap().try_recv().unwrap().unwrap();
    assert_ne!(old.member_id, new.member_id);
    let instance = text("one");
    let claim =
        Claim { member_id: &old.member_id, instance: Some(&instance), generation: new.generation };
    assert_eq!(group.check(claim, now), Err(ResponseError::FencedInstanceId));
}
