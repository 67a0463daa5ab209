//! Members come and go, and every record is exchanged once.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use broker::{Exchange, ExchangeError, Progress, TailFrom};

use super::cluster::{Cluster, commit, numbers, read, take};
use crate::brokers::unused;

const RECORDS: usize = 4_000;
/// With [`WAIT`], a minute.
const ROUNDS_MAX: usize = 600;
const WAIT: Duration = Duration::from_millis(50);

/// One member, then two, then one again, each with two rounds in hand, while records keep coming.
pub(super) fn every_record_is_exchanged_once_while_members_come_and_go(cluster: &Cluster) {
    let (input, output, group) = (cluster.topic("in", 6), cluster.topic("out", 3), unused("group"));
    let (total, second_total) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (stop, stop_second) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for start in (0..RECORDS).step_by(20) {
                cluster.fill(&input, start..start + 20);
                thread::sleep(Duration::from_millis(15));
            }
        });
        scope.spawn(|| {
            let mut first = cluster.exchange(&group, &input, &unused("first"));
            work(first.as_mut(), &output, &stop, &[&total]);
        });
        wait_until(|| RECORDS / 8 < total.load(Ordering::SeqCst));
        let second = scope.spawn(|| {
            let mut second = cluster.exchange(&group, &input, &unused("second"));
            work(second.as_mut(), &output, &stop_second, &[&total, &second_total]);
        });
        wait_until(|| RECORDS / 8 < second_total.load(Ordering::SeqCst));
        stop_second.store(true, Ordering::SeqCst);
        second.join().unwrap();
        wait_until(|| RECORDS <= total.load(Ordering::SeqCst));
        stop.store(true, Ordering::SeqCst);
    });

    let mut tail = cluster.tail(&output, TailFrom::Beginning);
    let mut written = numbers(&read(tail.as_mut(), RECORDS));
    written.sort_unstable();
    assert_eq!(written, (0..RECORDS).collect::<Vec<_>>());
    assert_eq!(tail.poll(10, Duration::from_millis(500)), Ok(Vec::new()), "none twice");
    assert_eq!(cluster.lag(&group, &input), 0);
}

/// With three partitions, the second member has one, and keeps it when a third comes: that one's is taken from the first.
pub(super) fn a_round_of_partitions_that_stay_survives_a_newcomer(cluster: &Cluster) {
    let (input, output, group) = (cluster.topic("in", 3), cluster.topic("out", 1), unused("group"));
    let member = || cluster.exchange(&group, &input, &unused("member"));
    let mut first = member();
    cluster.fill(&input, 0..30);
    let round = take(first.as_mut(), 30);
    commit(first.as_mut(), &round, &output).unwrap();

    let mut second = member();
    let mut next = 30;
    let mut go_on = |first: &mut dyn Exchange| {
        cluster.fill(&input, next..next + 10);
        next += 10;
        match first.poll(100, WAIT).and_then(|round| commit(first, &round, &output)) {
            Ok(()) | Err(ExchangeError::Aborted(_)) => {}
            Err(error) => panic!("{error}"),
        }
    };
    let mut in_hand = Vec::new();
    for _ in 0..ROUNDS_MAX {
        go_on(first.as_mut());
        in_hand.extend(second.poll(5, WAIT).unwrap());
        if !in_hand.is_empty() {
            break;
        }
    }
    let mut third = member();
    for _ in 0..ROUNDS_MAX {
        go_on(first.as_mut());
        // To be polled is to let the rebalance happen; it must not take away what is in hand.
        in_hand.extend(second.poll(1, WAIT).unwrap());
        if !third.poll(5, WAIT).unwrap().is_empty() {
            // The second has to have seen the new generation, which comes after what was fetched before.
            in_hand.extend(second.poll(1_000, WAIT).unwrap());
            in_hand.extend(second.poll(1_000, WAIT).unwrap());
            commit(second.as_mut(), &in_hand, &output).unwrap();
            return;
        }
    }
    panic!("the third member never got a partition");
}

/// Those that are left do not wait for the session of one that says that it goes: it would last longer than this check.
pub(super) fn a_member_that_ends_leaves_its_partitions_at_once(cluster: &Cluster) {
    let (input, output, group) = (cluster.topic("in", 2), cluster.topic("out", 1), unused("group"));
    let member = || {
        let session_timeout = Duration::from_mins(5);
        cluster.exchange_given_up_after(session_timeout, &group, &input, &unused("member"))
    };
    let (mut first, mut second) = (member(), member());
    let mut counts = [0; 2];
    for round in 0..ROUNDS_MAX {
        cluster.fill(&input, round * 20..(round + 1) * 20);
        for (exchange, count) in [&mut first, &mut second].into_iter().zip(&mut counts) {
            match exchange.poll(100, WAIT) {
                Ok(round) if commit(exchange.as_mut(), &round, &output).is_ok() => {
                    *count += round.len();
                }
                Ok(_) | Err(ExchangeError::Aborted(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        if counts.iter().all(|count| 0 < *count) {
            break;
        }
    }
    assert!(counts.iter().all(|count| 0 < *count), "{counts:?}");
    drop(second);
    for _ in 0..ROUNDS_MAX {
        let polled = first.poll(100, WAIT);
        match polled.and_then(|round| commit(first.as_mut(), &round, &output)) {
            Ok(()) | Err(ExchangeError::Aborted(_)) => {}
            Err(error) => panic!("{error}"),
        }
        if cluster.lag(&group, &input) == 0 {
            return;
        }
    }
    panic!("its partitions are nobody's; {} records wait", cluster.lag(&group, &input));
}

/// Exchanges until told to stop, which finds a round or two in hand; they are left to the others.
fn work(exchange: &mut dyn Exchange, output: &str, stop: &AtomicBool, counts: &[&AtomicUsize]) {
    let mut in_hand = VecDeque::new();
    while !stop.load(Ordering::SeqCst) {
        let polled = exchange.poll(40, WAIT).map(|round| {
            let is_idle = round.is_empty();
            if !is_idle {
                in_hand.push_back(round);
            }
            is_idle
        });
        let outcome = polled.and_then(|is_idle| {
            if in_hand.len() < 2 && !is_idle {
                return Ok(());
            }
            let Some(round) = in_hand.pop_front() else { return Ok(()) };
            commit(exchange, &round, output)?;
            for count in counts {
                count.fetch_add(round.len(), Ordering::SeqCst);
            }
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(ExchangeError::Aborted(_) | ExchangeError::Unavailable(_)) => in_hand.clear(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A round polled before going back is not committed, even when its partition is still ours.
pub(super) fn a_void_round_is_refused(cluster: &Cluster) {
    let (input, output, group) = (cluster.topic("in", 2), cluster.topic("out", 1), unused("group"));
    cluster.fill(&input, 0..40);
    let mut first = cluster.exchange(&group, &input, &unused("first"));
    let round = take(first.as_mut(), 40);
    let mut second = cluster.exchange(&group, &input, &unused("second"));
    let mut void = None;
    wait_until(|| {
        // The second must poll too, or the rebalance has no end.
        drop(second.poll(1, WAIT));
        void = first.poll(1, WAIT).err();
        void.is_some()
    });
    assert!(matches!(void, Some(ExchangeError::Aborted(_))), "{void:?}");
    let refused = first.commit(Vec::new(), &Progress::of(&round)).unwrap_err();
    assert!(matches!(refused, ExchangeError::Aborted(_)), "{refused}");
    assert!(cluster.contents(&output).is_empty());
    assert_eq!(cluster.lag(&group, &input), 40);
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not come to pass within a minute");
}
