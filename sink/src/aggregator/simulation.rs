//! Any number of replicas that are killed, aborted and restarted judge as if one had read all verdicts in one go, bit for bit.
//!
//! Windows are of so many seconds here: what is in a window of so many reviews depends on the order in which sums arrive, which is
//! part of the input and not of the outcome. One thread, no clock, no sleep: a seed that fails fails again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use broker::{
    Outgoing, Publish as _,
    memory::{Fault, MemoryBroker},
};
use drift::Reference;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use schemas::{ModelRef, ReviewId, Verdict};
use store::MemoryStore;
use tokio::runtime::Runtime;

use super::*;
use crate::{features::features, watcher::Watcher};

const REFERENCE: &[u8] = include_bytes!("../../../tests/fixtures/models/tiny/1/reference.json");
const SLOT_SECONDS: u32 = 60;
const SLOTS: i64 = 30;
const VERDICTS_A_SLOT: i64 = 120;
const DRIFTED: std::ops::Range<i64> = 10..18;
/// So many windows may be under way at once.
const SLOTS_AHEAD: i64 = 3;
const STEPS_MAX: usize = 500_000;

fn reference() -> Reference {
    Reference::from_json(REFERENCE, drift::reference::WHOLE).unwrap()
}

fn references() -> References {
    References::new(Box::new(|_model| Ok(reference())))
}

fn settings() -> DriftSettings {
    DriftSettings {
        window_seconds: SLOT_SECONDS,
        lateness_seconds: SLOT_SECONDS * u32::try_from(SLOTS_AHEAD).unwrap(),
        decisions: drift::Settings { reviews_min: 100, ..drift::Settings::default() },
        partial_every: Duration::from_millis(5),
        ..DriftSettings::default()
    }
}

/// The verdicts of one slot, in no order of time; those of some slots are of another kind.
fn verdicts(slot: i64, random: &mut StdRng) -> Vec<Verdict> {
    let one = |number: i64| {
        let is_positive = random.random_bool(if DRIFTED.contains(&slot) { 0.9 } else { 0.53 });
        let label = if is_positive { "positive" } else { "negative" };
        let confidence = 0.5 + f32::from(random.random_range(0..500_u16)) / 1_000.0;
        let other = if is_positive { "negative" } else { "positive" };
        let second =
            slot * i64::from(SLOT_SECONDS) + random.random_range(0..i64::from(SLOT_SECONDS));
        let at = Timestamp::from_millisecond(1_000 * second + number).unwrap();
        Verdict {
            schema_version: 1,
            id: ReviewId::new(format!("{slot}-{number}")).unwrap(),
            review: None,
            review_sha256: String::new(),
            label: label.to_owned(),
            confidence,
            probabilities: BTreeMap::from([
                (label.to_owned(), confidence),
                (other.to_owned(), 1.0 - confidence),
            ]),
            model: ModelRef {
                name: "tiny".to_owned(),
                version: "1".to_owned(),
                digest: "sha256:00".to_owned(),
            },
            tokens: random.random_range(3..60),
            precision: None,
            truncated: false,
            drift: None,
            source: None,
            language: None,
            metadata: None,
            origin: None,
            occurred_at: at,
            received_at: at,
            scored_at: at,
            queue_ms: 0.0,
            inference_ms: 0.0,
            batch_size: 1,
            trace_id: None,
        }
    };
    (0..VERDICTS_A_SLOT).map(one).collect()
}

/// Judgements and alerts of all verdicts, each slot summed in one go.
fn pure(slots: &[Vec<Verdict>]) -> (Vec<String>, Vec<DriftAlert>) {
    let (reference, settings) = (reference(), settings());
    let rules = Rules {
        assembly: settings.assembly(),
        decisions: settings.decisions,
        versions_max: settings.versions_max.get(),
    };
    let mut state = State::default();
    let (mut judged, mut told) = (Vec::new(), Vec::new());
    for slot in slots {
        let ModelRef { name, version, digest } = slot[0].model.clone();
        let mut window = Window::empty(drift::Model { name, version, digest }, &reference).unwrap();
        for verdict in slot {
            let at = verdict.occurred_at.as_millisecond();
            window.record(&reference, at, &features(verdict)).unwrap();
        }
        let outcome = state.take(&window, &reference, &rules).unwrap();
        assert_eq!(outcome.late, 0);
        for one in outcome.judged {
            told.extend(alerts(&one, Timestamp::UNIX_EPOCH));
            judged.push(serde_json::to_string(&one).unwrap());
        }
    }
    (judged, told)
}

struct MemorySnapshots {
    broker: MemoryBroker,
    group: String,
}

impl Snapshots for MemorySnapshots {
    fn read(&mut self, each: &mut dyn FnMut(Record)) -> Result<(), String> {
        let records = self.broker.records(topics::DRIFT_STATES).into_iter();
        records.for_each(|delivery| each(delivery.record));
        Ok(())
    }

    fn committed(&mut self) -> Result<Option<i64>, String> {
        Ok(self.broker.committed(&self.group, topics::DRIFT_WINDOWS, 0))
    }
}

struct World {
    random: StdRng,
    broker: MemoryBroker,
    store: Arc<MemoryStore>,
    runtime: Runtime,
    settings: DriftSettings,
    fault_rate: f64,
    now: Instant,
    watchers: Vec<Watcher>,
    aggregators: Vec<Aggregator>,
    started: usize,
}

impl World {
    fn new(seed: u64, fault_rate: f64) -> Self {
        let broker = MemoryBroker::new(1);
        broker.topic(topics::VERDICTS, 6);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        Self {
            random: StdRng::seed_from_u64(seed),
            broker,
            store: Arc::new(MemoryStore::default()),
            runtime: runtime.unwrap(),
            settings: settings(),
            fault_rate,
            now: clock::monotonic(),
            watchers: Vec::new(),
            aggregators: Vec::new(),
            started: 0,
        }
    }

    fn exchange(&mut self, group: &str, topic: &str) -> Box<dyn Exchange> {
        self.started += 1;
        let (mut fate, rate) = (StdRng::seed_from_u64(self.random.random()), self.fault_rate);
        let faults = std::iter::repeat_with(move || {
            let kinds = [Fault::Abort, Fault::Unavailable, Fault::LoseOutcome];
            fate.random_bool(rate).then(|| kinds[fate.random_range(0..kinds.len())])
        });
        let id = format!("replica-{}", self.started);
        Box::new(self.broker.exchange(group, &[topic], &id).with_faults(faults))
    }

    fn start_watcher(&mut self) {
        let group = self.settings.watcher_group.clone();
        let exchange = self.exchange(&group, topics::VERDICTS);
        self.watchers.push(Watcher::new(exchange, references(), &self.settings));
    }

    fn start_aggregator(&mut self) {
        let group = self.settings.aggregator_group.clone();
        let exchange = self.exchange(&group, topics::DRIFT_WINDOWS);
        let parts = AggregatorParts {
            exchange,
            snapshots: Box::new(MemorySnapshots { broker: self.broker.clone(), group }),
            store: Arc::clone(&self.store) as Arc<dyn VerdictStore>,
            references: references(),
            runtime: self.runtime.handle().clone(),
            instruments: Instruments::new(),
        };
        self.aggregators.push(Aggregator::new(parts, &self.settings));
    }

    fn publish(&self, verdicts: &[Verdict]) {
        for verdict in verdicts {
            let record = verdict.to_record(Vec::new()).unwrap();
            let outgoing = Outgoing { topic: Arc::from(topics::VERDICTS), record };
            self.runtime.block_on(self.broker.publish(outgoing)).unwrap();
        }
    }

    /// One turn of a part that the seed picks.
    fn step(&mut self) {
        self.now += Duration::from_millis(self.random.random_range(0..4));
        let picked = self.random.random_range(0..self.watchers.len() + self.aggregators.len());
        let watchers = self.watchers.len();
        let part: &mut dyn Turning = if let Some(watcher) = self.watchers.get_mut(picked) {
            watcher
        } else {
            &mut self.aggregators[picked - watchers]
        };
        if let Err(error) = part.turn(self.now, Duration::ZERO) {
            assert!(
                !matches!(error, ExchangeError::Fatal(_) | ExchangeError::Refused(_)),
                "{error}"
            );
            part.recover(&error);
        }
    }

    fn until(&mut self, what: &str, is_reached: impl Fn(&Self) -> bool) {
        for _step in 0..STEPS_MAX {
            if is_reached(self) {
                return;
            }
            self.step();
        }
        panic!("never: {what}");
    }

    fn is_summed(&self) -> bool {
        self.broker.lag(&self.settings.watcher_group, topics::VERDICTS) == 0
    }

    fn is_judged(&self) -> bool {
        self.is_summed()
            && self.broker.lag(&self.settings.aggregator_group, topics::DRIFT_WINDOWS) == 0
    }

    /// What was judged, in order of windows, and what was told, in order of telling.
    fn told(&self) -> (Vec<String>, Vec<DriftAlert>) {
        let days = Timestamp::UNIX_EPOCH..Timestamp::from_second(86_400).unwrap();
        let rows = self.runtime.block_on(self.store.judgements(&days, usize::MAX)).unwrap();
        let judged = rows.into_iter().rev().map(|row| row.judgement).collect();
        let alerts = self.broker.records(topics::DRIFT_ALERTS).into_iter().map(|delivery| {
            let alert = DriftAlert::from_record(&delivery.record).unwrap();
            DriftAlert { at: Timestamp::UNIX_EPOCH, ..alert }
        });
        (judged, alerts.collect())
    }
}

/// Lets `replicas` watchers and two aggregators live through all slots; two watchers and an aggregator are killed on the way.
fn live(seed: u64, replicas: usize, fault_rate: f64, slots: &[Vec<Verdict>]) -> World {
    let mut world = World::new(seed, fault_rate);
    (0..replicas).for_each(|_| world.start_watcher());
    (0..2).for_each(|_| world.start_aggregator());
    for (slot, verdicts) in slots.iter().enumerate() {
        // Nothing is late: the next slot comes once all but the last ones are summed.
        if slot % usize::try_from(SLOTS_AHEAD).unwrap() == 0 {
            world.until("summed", World::is_summed);
        }
        world.publish(verdicts);
        for _ in 0..world.random.random_range(0..60) {
            world.step();
        }
        match slot {
            7 | 13 => {
                let killed = world.random.random_range(0..world.watchers.len());
                drop(world.watchers.swap_remove(killed));
                world.start_watcher();
            }
            11 | 19 => {
                let killed = world.random.random_range(0..world.aggregators.len());
                drop(world.aggregators.swap_remove(killed));
                world.start_aggregator();
            }
            _ => {}
        }
    }
    world.until("judged", World::is_judged);
    world
}

#[test]
fn any_number_of_replicas_judges_as_one_computation_does() {
    for seed in 0..4 {
        let mut random = StdRng::seed_from_u64(seed);
        let slots: Vec<_> = (0..SLOTS).map(|slot| verdicts(slot, &mut random)).collect();
        let (judged, told) = pure(&slots);
        let of_labels = |change| {
            told.iter().filter(|alert| alert.signal == "labels" && alert.change == change).count()
        };
        assert_eq!((of_labels(DriftChange::Began), of_labels(DriftChange::Ceased)), (1, 1));
        assert!(20 < judged.len(), "{}", judged.len());
        for replicas in [1, 2, 5] {
            for fault_rate in [0.0, 0.2] {
                let world = live(seed, replicas, fault_rate, &slots);
                let place = format!("seed {seed}, {replicas} replicas, faults {fault_rate}");
                let (judged_there, told_there) = world.told();
                assert_eq!(judged_there, judged, "{place}");
                assert_eq!(told_there, told, "{place}");
            }
        }
    }
}

#[test]
fn a_state_comes_back_as_it_was_written_and_the_oldest_version_is_forgotten() {
    let (reference, settings) = (reference(), settings());
    let rules =
        Rules { assembly: settings.assembly(), decisions: settings.decisions, versions_max: 2 };
    let broker = MemoryBroker::new(1);
    let mut snapshots = MemorySnapshots { broker: broker.clone(), group: "group".to_owned() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let mut state = State::default();
    for slot in 0..20 {
        for verdict in verdicts(slot, &mut random) {
            let version = match slot {
                0..5 => "1",
                5..12 => "2",
                _ => "3",
            };
            let [name, version, digest] = ["tiny", version, "d"].map(str::to_owned);
            let mut window =
                Window::empty(drift::Model { name, version, digest }, &reference).unwrap();
            let at = verdict.occurred_at.as_millisecond();
            window.record(&reference, at, &features(&verdict)).unwrap();
            state.take(&window, &reference, &rules).unwrap();
            state.next += 1;
        }
        for record in snapshot::write(&mut state, "group").unwrap() {
            let outgoing = Outgoing { topic: Arc::from(topics::DRIFT_STATES), record };
            runtime.block_on(broker.publish(outgoing)).unwrap();
        }
        assert_eq!(snapshot::read(&mut snapshots, "group").unwrap(), state, "slot {slot}");
        assert_eq!(snapshot::read(&mut snapshots, "grou").unwrap(), State::default());
    }
    let kept: Vec<_> = state.versions().map(|version| version.model.version.clone()).collect();
    assert_eq!(kept, ["2", "3"]);
}
