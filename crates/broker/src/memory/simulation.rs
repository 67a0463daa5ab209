//! Every record is exchanged once, whatever aborts, crashes, comes and goes: many seeds, one thread, no time.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use schemas::Record;

use super::{Fault, MemoryBroker, MemoryExchange};
use crate::{
    delivery::{Delivery, Outgoing, Progress},
    exchange::{Exchange as _, ExchangeError},
};

const INPUT: &str = "in";
const OUTPUT: &str = "out";

/// A replica, and the rounds it has in hand.
struct Replica {
    exchange: MemoryExchange,
    rounds: VecDeque<Vec<Delivery>>,
}

#[test]
fn every_record_is_exchanged_exactly_once() {
    for seed in 0..500 {
        simulate(seed);
    }
}

fn simulate(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let broker = MemoryBroker::new(random.random_range(1..7));
    let count: usize = random.random_range(1..80);
    let fault_rate = random.random_range(0.0..0.4);
    let (mut published, mut replicas) = (0, Vec::new());
    let mut steps = 0;
    while broker.lag("group", INPUT) > 0 || published < count {
        steps += 1;
        assert!(steps < 20_000, "seed {seed}: no end in sight");
        match random.random_range(0..100) {
            0..10 if published < count => {
                broker.state().topics.append(INPUT, record(published));
                published += 1;
            }
            10..13 if replicas.len() < 4 => {
                replicas.push(replica(&broker, &mut random, fault_rate));
            }
            13..15 if !replicas.is_empty() => {
                drop(replicas.swap_remove(random.random_range(0..replicas.len())));
            }
            15 => broker.set_away(random.random_bool(0.3)),
            16..20 => broker.set_away(false),
            _ if replicas.is_empty() => replicas.push(replica(&broker, &mut random, fault_rate)),
            _ => {
                let at = random.random_range(0..replicas.len());
                if let Some(replica) = replicas.get_mut(at) {
                    act(replica, &mut random, seed);
                }
            }
        }
    }
    let mut written: Vec<Record> =
        broker.records(OUTPUT).into_iter().map(|delivery| delivery.record).collect();
    let mut expected: Vec<Record> = (0..count).map(record).collect();
    written.sort_by(|a, b| a.key.cmp(&b.key));
    expected.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(written, expected, "seed {seed}");
}

/// Polls another round, or commits the oldest in hand.
fn act(replica: &mut Replica, random: &mut StdRng, seed: u64) {
    let outcome = if replica.rounds.len() < 3 && random.random_bool(0.5) {
        let polled = replica.exchange.poll(random.random_range(1..9), Duration::ZERO);
        polled.map(|round| {
            if !round.is_empty() {
                replica.rounds.push_back(round);
            }
        })
    } else {
        let round = replica.rounds.pop_front().unwrap_or_default();
        let outgoing =
            |it: &Delivery| Outgoing { topic: Arc::from(OUTPUT), record: it.record.clone() };
        replica.exchange.commit(round.iter().map(outgoing).collect(), &Progress::of(&round))
    };
    match outcome {
        Ok(()) => {}
        Err(ExchangeError::Aborted(_) | ExchangeError::Unavailable(_)) => replica.rounds.clear(),
        Err(error) => panic!("seed {seed}: {error}"),
    }
}

fn replica(broker: &MemoryBroker, random: &mut StdRng, fault_rate: f64) -> Replica {
    let mut fate = StdRng::seed_from_u64(random.random());
    let faults = std::iter::repeat_with(move || {
        let fault = [Fault::Abort, Fault::Unavailable, Fault::LoseOutcome]
            .get(fate.random_range(0..3))
            .copied();
        fault.filter(|_| fate.random_bool(fault_rate))
    });
    let id = random.random::<u64>().to_string();
    let exchange = broker.exchange("group", &[INPUT], &id).with_faults(faults);
    Replica { exchange, rounds: VecDeque::new() }
}

fn record(number: usize) -> Record {
    Record { key: Some(number.to_string().into_bytes()), ..Record::default() }
}
