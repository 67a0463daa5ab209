//! An aggregator from outside: what it does while its store is away, and what its gauges tell.
//!
//! # Layout
//! - here: what is seen; `away`: a store that is away for a while

#![expect(clippy::unwrap_used, reason = "a test")]

mod away;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use away::AwayForAWhile;
use broker::{
    Outgoing, Publish as _,
    memory::{MemoryBroker, MemoryExchange},
};
use chassis::{
    clock,
    telemetry::{self, TelemetrySettings},
};
use drift::{Features, Model, Reference, Window};
use jiff::Timestamp;
use schemas::{Record, topics};
use sink::{
    DriftSettings, References,
    aggregator::{Aggregator, AggregatorParts, Instruments, Snapshots},
    drift_line::Turn,
    watcher,
};
use store::VerdictStore as _;
use tokio::runtime::Runtime;

const REFERENCE: &[u8] = include_bytes!("../../../tests/fixtures/models/tiny/1/reference.json");
const WINDOW: u32 = 60;

struct States(MemoryBroker);

impl Snapshots for States {
    fn read(&mut self, each: &mut dyn FnMut(Record)) -> Result<(), String> {
        let records = self.0.records(topics::DRIFT_STATES).into_iter();
        records.for_each(|delivery| each(delivery.record));
        Ok(())
    }

    fn committed(&mut self) -> Result<Option<i64>, String> {
        Ok(self.0.committed(&settings().aggregator_group, topics::DRIFT_WINDOWS, 0))
    }
}

fn settings() -> DriftSettings {
    DriftSettings {
        window_reviews: NonZeroU32::new(WINDOW).unwrap(),
        decisions: drift::Settings {
            reviews_min: u64::from(WINDOW),
            labels_min: 10,
            ..drift::Settings::default()
        },
        ..DriftSettings::default()
    }
}

fn reference() -> Reference {
    Reference::from_json(REFERENCE, drift::reference::WHOLE).unwrap()
}

/// Sums of as many verdicts as make a window, all positive; people agree with three of four.
fn window() -> Window {
    let [name, version, digest] = ["tiny", "1", "sha256:00"].map(str::to_owned);
    let reference = reference();
    let mut window = Window::empty(Model { name, version, digest }, &reference).unwrap();
    let (positive, negative) = (("positive".to_owned(), 0.9), ("negative".to_owned(), 0.1));
    let features = Features {
        label: "positive".to_owned(),
        confidence: 0.9,
        probabilities: [positive, negative].into(),
        tokens: 8,
        special_tokens: 0,
        unknown_tokens: 0,
        truncated: false,
        cross_entropy: None,
        projection: None,
        language: None,
        words: None,
    };
    for number in 0..WINDOW {
        let now_ms = i64::from(number);
        window.record(&reference, now_ms, &features).unwrap();
        window.record_label(&reference, now_ms, 0.9, number % 4 != 0).unwrap();
    }
    window
}

fn publish(runtime: &Runtime, broker: &MemoryBroker, record: Record) {
    let outgoing = Outgoing { topic: Arc::from(topics::DRIFT_WINDOWS), record };
    runtime.block_on(broker.publish(outgoing)).unwrap();
}

fn exchange(broker: &MemoryBroker, id: &str) -> MemoryExchange {
    broker.exchange(&settings().aggregator_group, &[topics::DRIFT_WINDOWS], id)
}

fn aggregator(
    runtime: &Runtime,
    broker: &MemoryBroker,
    store: &Arc<AwayForAWhile>,
    id: &str,
) -> Aggregator {
    let parts = AggregatorParts {
        exchange: Box::new(exchange(broker, id)),
        snapshots: Box::new(States(broker.clone())),
        store: Arc::clone(store) as Arc<dyn store::VerdictStore>,
        references: References::new(Box::new(|_model| Ok(reference()))),
        runtime: runtime.handle().clone(),
        instruments: Instruments::new(),
    };
    Aggregator::new(parts, &settings())
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap()
}

#[test]
fn while_the_store_is_away_nothing_is_told_and_then_all_is() {
    let (runtime, broker) = (runtime(), MemoryBroker::new(1));
    let store = Arc::new(AwayForAWhile::new(3));
    let mut aggregator = aggregator(&runtime, &broker, &store, "one");
    for _ in 0..2 {
        publish(&runtime, &broker, watcher::record(&window()).unwrap());
    }
    // No window, and nothing that anything else depends on.
    publish(&runtime, &broker, Record { value: Some(b"{}".to_vec()), ..Record::default() });
    let mut turn = || aggregator.turn(clock::monotonic(), Duration::ZERO).unwrap();
    for _away in 0..3 {
        assert!(matches!(turn(), Turn::Paused(reason) if reason.contains("away")));
        assert_eq!(broker.lag(&settings().aggregator_group, topics::DRIFT_WINDOWS), 3);
        assert!(broker.records(topics::DRIFT_ALERTS).is_empty());
    }
    publish(&runtime, &broker, watcher::record(&window()).unwrap());
    assert_eq!(turn(), Turn::Ready);
    assert_eq!(broker.lag(&settings().aggregator_group, topics::DRIFT_WINDOWS), 0);
    let days = Timestamp::UNIX_EPOCH..Timestamp::from_second(86_400).unwrap();
    let rows = runtime.block_on(store.judgements(&days, 10)).unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows[0].alerting.contains(&"labels".to_owned()), "{rows:?}");
    assert!(!broker.records(topics::DRIFT_ALERTS).is_empty());
}

#[test]
fn gauges_tell_of_the_last_window_until_another_judges() {
    let telemetry = telemetry::start("test", &TelemetrySettings::default()).unwrap();
    let (runtime, broker) = (runtime(), MemoryBroker::new(1));
    let store = Arc::new(AwayForAWhile::new(0));
    let mut first = aggregator(&runtime, &broker, &store, "one");
    for _ in 0..2 {
        publish(&runtime, &broker, watcher::record(&window()).unwrap());
    }
    let told = |metric: &str| {
        let text = telemetry.text().unwrap();
        let of_metric = |line: &&str| line.starts_with(metric) && line.contains("model_name=");
        let line = text.lines().find(of_metric)?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    assert_eq!(told("drift_state"), None);
    assert_eq!(first.turn(clock::monotonic(), Duration::ZERO), Ok(Turn::Ready));
    assert_eq!(told("drift_window_reviews"), Some(f64::from(WINDOW)));
    assert_eq!(told("drift_coverage"), Some(1.0));
    assert_eq!(told("drift_realised_accuracy{"), Some(0.75));
    let text = telemetry.text().unwrap();
    let labels =
        text.lines().find(|line| line.starts_with("drift_state{") && line.contains("\"labels\""));
    assert!(labels.unwrap().ends_with(" 2"), "{labels:?}");
    drop(first);
    // The process is another's now: what was true here is told no more, and its successor tells it, though no window comes.
    assert_eq!(told("drift_window_reviews"), None);
    let mut second = aggregator(&runtime, &broker, &store, "two");
    assert_eq!(second.turn(clock::monotonic(), Duration::ZERO), Ok(Turn::Ready));
    assert_eq!(told("drift_window_reviews"), Some(f64::from(WINDOW)));
}

#[test]
fn a_topic_with_more_than_one_partition_is_refused_by_name() {
    let (runtime, broker) = (runtime(), MemoryBroker::new(1));
    broker.topic(topics::DRIFT_WINDOWS, 3);
    let store = Arc::new(AwayForAWhile::new(0));
    let mut aggregator = aggregator(&runtime, &broker, &store, "one");
    let turn = aggregator.turn(clock::monotonic(), Duration::ZERO).unwrap();
    assert!(
        matches!(&turn, Turn::Paused(reason) if reason.contains("more than one partition")),
        "{turn:?}"
    );
}
