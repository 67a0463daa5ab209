//! Whatever aborts, crashes, moves or goes away, in whatever order the model answers: one verdict or dead letter for each review,
//! in order.
//!
//! One thread, no clock, no sleep: the seed decides which replica takes the next turn and what goes wrong in it, so a seed that
//! fails fails again.

use std::{collections::BTreeMap, num::NonZeroUsize};

use broker::{
    Outgoing, Publish as _,
    memory::{Fault, MemoryBroker},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use schemas::{Verdict, dead_letter, headers, topics};

use super::*;
use crate::{lanes::Finished, pipeline::Timing, pipeline::tests::pipeline};

const SEEDS: u64 = 400;
const STEPS_MAX: usize = 200_000;
const GROUP: &str = "processor";

/// Answers late and in any order, as threads do.
struct Delayed {
    tasks: Vec<Task>,
    random: StdRng,
    late_rate: f64,
}

impl Inference for Delayed {
    fn submit(&mut self, task: Task) {
        self.tasks.push(task);
    }

    fn collect(&mut self, _wait: Duration) -> Option<Finished> {
        if self.tasks.is_empty() || self.random.random_bool(self.late_rate) {
            return None;
        }
        let task = self.tasks.swap_remove(self.random.random_range(0..self.tasks.len()));
        let inferred = task.pipeline.infer(&task.batch);
        Some(Finished { round: task.round, inferred, timing: Timing::default() })
    }

    fn forget_before(&mut self, round: u64) {
        // Some are under way and cannot be called back.
        let late_rate = self.late_rate;
        self.tasks.retain(|task| round <= task.round || self.random.random_bool(late_rate));
    }
}

struct World {
    seed: u64,
    random: StdRng,
    broker: MemoryBroker,
    pipeline: Arc<Pipeline>,
    settings: Settings,
    fault_rate: f64,
    late_rate: f64,
    check: Check,
    replicas: Vec<(usize, Worker)>,
    reviews: usize,
    published: usize,
}

#[derive(Debug, Default)]
struct Tally {
    aborted: usize,
    unavailable: usize,
    fenced: usize,
    crashed: usize,
    away: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let broker = MemoryBroker::new(1);
        broker.topic(topics::REVIEWS, random.random_range(1..5));
        let nonzero = |n: usize| NonZeroUsize::new(n).unwrap();
        let settings = Settings {
            max_round_records: nonzero(random.random_range(1..12)),
            max_round_tokens: nonzero(random.random_range(8..200)),
            rounds_in_hand_max: nonzero(random.random_range(1..4)),
            inference_threads: 1,
            ..Settings::default()
        };
        Self {
            seed,
            broker,
            pipeline: Arc::new(pipeline()),
            settings,
            fault_rate: random.random_range(0.0..0.4),
            late_rate: random.random_range(0.0..0.9),
            check: Health::new().register("simulated"),
            replicas: Vec::new(),
            reviews: random.random_range(1..80),
            published: 0,
            random,
        }
    }

    /// A replica called `name`. One that is still there under that name is fenced and finds out by itself.
    fn start(&mut self, name: usize) {
        let mut faults = StdRng::seed_from_u64(self.random.random());
        let fault_rate = self.fault_rate;
        let faults = std::iter::repeat_with(move || {
            let kinds = [Fault::Abort, Fault::Unavailable, Fault::LoseOutcome];
            faults.random_bool(fault_rate).then(|| kinds[faults.random_range(0..kinds.len())])
        });
        let exchange = self
            .broker
            .exchange(GROUP, &[topics::REVIEWS], &format!("replica-{name}"))
            .with_faults(faults);
        let random = StdRng::seed_from_u64(self.random.random());
        let delayed = Delayed { tasks: Vec::new(), random, late_rate: self.late_rate };
        let pipeline = Arc::clone(&self.pipeline);
        let mut worker =
            Worker::new(Box::new(exchange), pipeline, Box::new(delayed), self.settings.clone());
        worker.idle_wait = Duration::ZERO;
        self.replicas.push((name, worker));
    }

    fn publish(&mut self) {
        let key = self.published;
        self.published += 1;
        let text = match self.random.random_range(0..10) {
            0 => "fail".to_owned(),
            1 => "panic now".to_owned(),
            2 => " ".to_owned(),
            3 => "good".to_owned(),
            _ => format!("bad {}", "good ".repeat(self.random.random_range(0..30))),
        };
        let value = match self.random.random_range(0..10) {
            0 => b"garbage".to_vec(),
            _ => serde_json::json!({ "review": text, "id": format!("review-{key}") })
                .to_string()
                .into_bytes(),
        };
        let record =
            Record { key: Some(key.to_string().into()), value: Some(value), ..Record::default() };
        let outgoing = Outgoing { topic: topics::REVIEWS.into(), record };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if runtime.block_on(self.broker.publish(outgoing)).is_err() {
            self.published -= 1;
        }
    }

    /// One turn of a replica that the seed picks.
    fn turn(&mut self, tally: &mut Tally) {
        if self.replicas.is_empty() {
            return;
        }
        let picked = self.random.random_range(0..self.replicas.len());
        let (_, worker) = &mut self.replicas[picked];
        let error = match worker.turn(true) {
            Ok(()) => return,
            Err(LineError::Exchange(error)) => error,
            Err(error) => panic!("seed {}: {error}", self.seed),
        };
        match &error {
            ExchangeError::Aborted(_) => tally.aborted += 1,
            ExchangeError::Unavailable(_) => tally.unavailable += 1,
            ExchangeError::Fatal(_) => tally.fenced += 1,
            ExchangeError::Refused(reason) => panic!("seed {}: {reason}", self.seed),
        }
        if worker.recover(error, &self.check).is_err() {
            self.replicas.swap_remove(picked);
        }
    }

    fn run(&mut self) -> Tally {
        let mut tally = Tally::default();
        for step in 0.. {
            assert!(step < STEPS_MAX, "seed {}: no end in sight", self.seed);
            match self.random.random_range(0..100) {
                0..=7 if self.published < self.reviews => self.publish(),
                8 if !self.replicas.is_empty() => {
                    let crashed = self.random.random_range(0..self.replicas.len());
                    self.replicas.swap_remove(crashed);
                    tally.crashed += 1;
                }
                9 | 10 if self.replicas.len() < 4 => {
                    let name = self.random.random_range(0..3);
                    self.start(name);
                }
                11 => {
                    self.broker.set_away(true);
                    tally.away += 1;
                }
                12..=15 => self.broker.set_away(false),
                _ => self.turn(&mut tally),
            }
            let done =
                self.published == self.reviews && self.broker.lag(GROUP, topics::REVIEWS) == 0;
            if done {
                return tally;
            }
        }
        tally
    }

    /// Each record's place, by the topic that answers it; panics where one is missing, doubled, wrong or out of order.
    fn check(&self) {
        let mut answered: BTreeMap<(i32, i64), bool> = BTreeMap::new();
        for topic in [topics::VERDICTS, topics::DEAD_LETTERS] {
            let mut last: BTreeMap<i32, i64> = BTreeMap::new();
            for written in self.broker.records(topic) {
                let (partition, offset) = source(&written.record, topic == topics::VERDICTS);
                let before = last.insert(partition, offset);
                assert!(before < Some(offset), "seed {}: {topic} out of order", self.seed);
                let twice = answered.insert((partition, offset), topic == topics::VERDICTS);
                assert_eq!(twice, None, "seed {}: {partition}/{offset} answered twice", self.seed);
            }
        }
        for review in self.broker.records(topics::REVIEWS) {
            let value = String::from_utf8(review.record.value.unwrap()).unwrap();
            let is_fine =
                ["garbage", "fail", "panic", r#":" ""#].iter().all(|bad| !value.contains(bad));
            let found = answered.remove(&(review.partition, review.offset));
            assert_eq!(found, Some(is_fine), "seed {}: {value}", self.seed);
        }
        assert!(answered.is_empty(), "seed {}: answers to nothing", self.seed);
    }
}

fn source(record: &Record, is_verdict: bool) -> (i32, i64) {
    if is_verdict {
        let origin = Verdict::from_record(record).unwrap().origin.unwrap();
        return (origin.partition, origin.offset);
    }
    let number = |name| headers::text(&record.headers, name).unwrap().parse::<i64>().unwrap();
    (i32::try_from(number(dead_letter::PARTITION)).unwrap(), number(dead_letter::OFFSET))
}

#[test]
fn every_review_gets_exactly_one_verdict_or_dead_letter_in_order() {
    let mut total = Tally::default();
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        let tally = world.run();
        world.check();
        total.aborted += tally.aborted;
        total.unavailable += tally.unavailable;
        total.fenced += tally.fenced;
        total.crashed += tally.crashed;
        total.away += tally.away;
    }
    // A simulation in which nothing goes wrong proves nothing.
    let rarest = [total.aborted, total.unavailable, total.fenced, total.crashed, total.away]
        .into_iter()
        .min();
    assert!(Some(100) <= rarest, "{total:?}");
}
