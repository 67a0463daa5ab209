//! One seed's topic, faults and expectations.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use broker::{
    Delivery, Outgoing, Publish as _,
    memory::{MemoryBroker, MemorySubscribe},
};
use chassis::{Backoff, Health};
use jiff::Timestamp;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use schemas::{ModelRef, Record, ReviewId, Verdict, topics::VERDICTS};
use sink::{Parts, Settings, Writer};
use store::{Row, VerdictStore};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::faults::{Chance, FaultyStore, FaultySubscription};

/// The label of verdicts that the store refuses.
pub(crate) const POISON: &str = "poison";
const GROUP: &str = "sink";
const PARTITIONS: u16 = 3;
/// More starts than any seed needs.
const LIVES_MAX: usize = 2_000;

pub(crate) struct World {
    seed: u64,
    pub(crate) chance: Chance,
    pub(crate) fault_rate: f64,
    rows_max: usize,
    broker: MemoryBroker,
    /// What is still to be published, the next one last.
    waiting: Mutex<Vec<Record>>,
    runtime: Runtime,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let count = random.random_range(1..80);
        let waiting = (0..count).map(|_| record(&mut random)).collect();
        Self {
            seed,
            fault_rate: random.random_range(0.0..0.5),
            rows_max: random.random_range(1..30),
            chance: Chance(Arc::new(Mutex::new(random))),
            broker: MemoryBroker::new(PARTITIONS),
            waiting: Mutex::new(waiting),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_time()
                .build()
                .unwrap(),
        }
    }

    /// Starts the sink again and again, each time on a store that is opened anew, until all is published and remembered.
    pub(crate) fn live_until_all_is_written(
        self: &Arc<Self>,
        open: impl Fn() -> Arc<dyn VerdictStore>,
    ) {
        for _life in 0..LIVES_MAX {
            if self.is_done() {
                return;
            }
            let stop = CancellationToken::new();
            let store = open();
            let subscription = FaultySubscription {
                world: Arc::clone(self),
                inner: self.subscribe(),
                rival: None,
                store: Arc::clone(&store),
                stop: stop.clone(),
            };
            let store = Arc::new(FaultyStore {
                inner: store,
                chance: self.chance.clone(),
                fault_rate: self.fault_rate,
                stop: stop.clone(),
            });
            let check = Health::new().register("sink");
            let parts = Parts { subscription: Box::new(subscription), store, check, stop };
            // An error is a crash or a stop: either way the next life begins with what was remembered.
            drop(Writer::new(parts, &self.settings(), self.runtime.handle().clone()).run());
        }
        panic!("seed {}: not done after {LIVES_MAX} starts", self.seed);
    }

    fn settings(&self) -> Settings {
        let at_once = Backoff { min: Duration::ZERO, max: Duration::ZERO, ..Backoff::default() };
        Settings { rows_max: self.rows_max, backoff: at_once, ..Settings::default() }
    }

    pub(crate) fn subscribe(&self) -> MemorySubscribe {
        self.broker.subscribe(GROUP, &[VERDICTS])
    }

    /// A few more records arrive.
    pub(crate) fn grow(&self) {
        let mut waiting = self.waiting.lock().unwrap();
        for _ in 0..self.chance.below(20) {
            let Some(record) = waiting.pop() else { return };
            let outgoing = Outgoing { topic: Arc::from(VERDICTS), record };
            self.runtime.block_on(self.broker.publish(outgoing)).unwrap();
        }
    }

    /// Whether all is published and remembered.
    pub(crate) fn is_done(&self) -> bool {
        self.waiting.lock().unwrap().is_empty() && self.broker.lag(GROUP, VERDICTS) == 0
    }

    /// Every record below a remembered offset is a row, or a later one of its review is, or it is kept as refused.
    pub(crate) fn check_offsets(&self, store: &dyn VerdictStore) {
        let refused = self.refused(store);
        for delivery in self.broker.records(VERDICTS) {
            let committed = self.broker.committed(GROUP, VERDICTS, delivery.partition).unwrap_or(0);
            if committed <= delivery.offset {
                continue;
            }
            let durable = match row(&delivery) {
                None => refused.contains(&(delivery.partition, delivery.offset)),
                Some(row) => {
                    let found = self.runtime.block_on(store.get(&row.verdict.id)).unwrap();
                    found.is_some_and(|found| !row.outranks(&Row::new(found)).unwrap())
                }
            };
            let (partition, offset) = (delivery.partition, delivery.offset);
            assert!(
                durable,
                "seed {}: {partition}/{offset} is remembered and not durable",
                self.seed
            );
        }
    }

    /// At the end there is one row for each review, the one that outranks all others, and each bad record is kept once.
    pub(crate) fn check_outcome(&self, store: &dyn VerdictStore) {
        for (id, row) in self.expected_rows() {
            let found = self.runtime.block_on(store.get(&id)).unwrap();
            assert_eq!(found, Some(row.verdict), "seed {}", self.seed);
        }
        let bad: BTreeSet<_> = self
            .broker
            .records(VERDICTS)
            .iter()
            .filter(|delivery| row(delivery).is_none())
            .map(|delivery| (delivery.partition, delivery.offset))
            .collect();
        assert_eq!(self.refused(store), bad, "seed {}", self.seed);
        for kept in self.runtime.block_on(store.refused(usize::MAX)).unwrap() {
            let original = self.broker.records(VERDICTS).into_iter().find(|delivery| {
                (delivery.partition, delivery.offset) == (kept.partition, kept.offset)
            });
            assert_eq!(original.unwrap().record, kept.record, "seed {}", self.seed);
        }
    }

    pub(crate) fn expected_rows(&self) -> BTreeMap<ReviewId, Row> {
        let mut rows: BTreeMap<ReviewId, Row> = BTreeMap::new();
        for row in self.broker.records(VERDICTS).iter().filter_map(row) {
            let id = row.verdict.id.clone();
            match rows.get(&id) {
                Some(present) if !row.outranks(present).unwrap() => {}
                _ => drop(rows.insert(id, row)),
            }
        }
        rows
    }

    /// Partition and offset of each record that is kept as refused; none may be there twice.
    fn refused(&self, store: &dyn VerdictStore) -> BTreeSet<(i32, i64)> {
        let kept = self.runtime.block_on(store.refused(usize::MAX)).unwrap();
        let places: BTreeSet<_> = kept.iter().map(|kept| (kept.partition, kept.offset)).collect();
        assert_eq!(places.len(), kept.len(), "seed {}: kept twice", self.seed);
        places
    }
}

/// The row that a record is to become; `None` for a bad one.
fn row(delivery: &Delivery) -> Option<Row> {
    let verdict = Verdict::from_record(&delivery.record).ok()?;
    (verdict.label != POISON).then(|| Row::new(verdict))
}

/// A record of one of few reviews, so that reviews are scored anew and ties occur; one in ten is bad.
fn record(random: &mut StdRng) -> Record {
    let id = format!("review-{}", random.random_range(0..25));
    let key = Some(id.clone().into_bytes());
    let value = match random.random_range(0..20) {
        0 => None,
        1 => Some(b"{\"id\": \"\xff".to_vec()),
        bad_or_not => {
            let label = if bad_or_not == 2 { POISON } else { "positive" };
            let scored_at = Timestamp::from_microsecond(random.random_range(0..10)).unwrap();
            let verdict = verdict(&id, label, scored_at, random.random_range(0..3));
            return verdict.to_record(Vec::new()).unwrap();
        }
    };
    Record { key, value, headers: Vec::new(), timestamp_ms: Some(random.random_range(0..1_000)) }
}

/// A verdict of review `id`; `tokens` tells verdicts of one time apart.
pub(crate) fn verdict(id: &str, label: &str, scored_at: Timestamp, tokens: u32) -> Verdict {
    Verdict {
        schema_version: schemas::verdict::SCHEMA_VERSION,
        id: ReviewId::new(id).unwrap(),
        review: None,
        review_sha256: String::new(),
        label: label.to_owned(),
        confidence: 0.5,
        probabilities: BTreeMap::new(),
        model: ModelRef { name: "m".to_owned(), version: "1".to_owned(), digest: String::new() },
        tokens,
        precision: None,
        truncated: false,
        drift: None,
        source: None,
        language: None,
        metadata: None,
        origin: None,
        occurred_at: scored_at,
        received_at: scored_at,
        scored_at,
        queue_ms: 0.1,
        inference_ms: 0.2,
        batch_size: 1,
        trace_id: None,
    }
}
