//! The state as records of the states' topic, and back.
//!
//! One record says how far the state goes and which model versions it has, and each version has one of its own, written only when it
//! changed: a record has a largest size, and one version with all its open windows is well below it. All of a round are written in its
//! transaction, so that whoever reads the last of each reads one state.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use broker::{
    TailFrom,
    kafka::{KafkaScan, KafkaSettings, committed},
};
use drift::Model;
use schemas::{Record, headers, record::Header, topics};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::state::{State, Version};

/// Most records that are looked at together.
const READ_MAX: usize = 1_000;

/// Where states are kept: a topic, of which the last record of each key counts.
pub trait Snapshots: Send {
    /// Gives each record that is kept to `each`, in their order.
    fn read(&mut self, each: &mut dyn FnMut(Record)) -> Result<(), String>;

    /// The offset up to which the aggregators have committed partial windows, and so the one that the newest state has; `None`
    /// where they have committed none, or that was forgotten.
    fn committed(&mut self) -> Result<Option<i64>, String>;
}

/// The states' topic of a Kafka.
#[derive(Debug)]
pub struct KafkaSnapshots {
    kafka: KafkaSettings,
    group: String,
}

/// How far a state goes, and of what it is made.
#[derive(Debug, Deserialize, Serialize)]
struct Head {
    next: i64,
    turn: u64,
    models: Vec<Model>,
}

impl KafkaSnapshots {
    /// Those of the aggregators of `group`.
    pub fn new(kafka: &KafkaSettings, group: &str) -> Self {
        Self { kafka: kafka.clone(), group: group.to_owned() }
    }
}

impl Snapshots for KafkaSnapshots {
    fn read(&mut self, each: &mut dyn FnMut(Record)) -> Result<(), String> {
        let scan = KafkaScan::open(&self.kafka, topics::DRIFT_STATES, TailFrom::Beginning);
        let Some(mut scan) = scan.map_err(|error| error.to_string())? else {
            return Err(format!("there is no topic {}: make it, compacted", topics::DRIFT_STATES));
        };
        loop {
            let deliveries = scan.read(READ_MAX).map_err(|error| error.to_string())?;
            if deliveries.is_empty() {
                return Ok(());
            }
            for delivery in deliveries {
                each(delivery.record);
            }
        }
    }

    fn committed(&mut self) -> Result<Option<i64>, String> {
        let committed = committed(&self.kafka, &self.group, &[topics::DRIFT_WINDOWS]);
        let progress = committed.map_err(|error| error.to_string())?;
        let first = progress.0.into_iter().find(|((_topic, number), _next)| *number == 0);
        Ok(first.map(|(_partition, next)| next))
    }
}

/// The records of what changed in `state` since the last time; afterwards nothing has.
pub(super) fn write(state: &mut State, group: &str) -> Result<Vec<Record>, serde_json::Error> {
    let State { next, turn, versions, changed, forgotten } = state;
    let head = Head { next: *next, turn: *turn, models: versions.keys().cloned().collect() };
    let mut records = vec![record(group.to_owned(), Some(serde_json::to_vec(&head)?))];
    for model in std::mem::take(changed) {
        if let Some(version) = versions.get(&model) {
            records.push(record(key(group, &model), Some(serde_json::to_vec(version)?)));
        }
    }
    for model in std::mem::take(forgotten) {
        if !versions.contains_key(&model) {
            records.push(record(key(group, &model), None));
        }
    }
    Ok(records)
}

/// The newest state; one that knows nothing where none is kept.
pub(super) fn read(snapshots: &mut dyn Snapshots, group: &str) -> Result<State, String> {
    let mut newest: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    snapshots.read(&mut |record| {
        let Record { key: Some(key), value, .. } = record else { return };
        // Other groups may keep theirs in the same topic.
        if !is_of(group, &key) {
            return;
        }
        match value {
            Some(value) => drop(newest.insert(key, value)),
            None => drop(newest.remove(&key)),
        }
    })?;
    let Some(head) = newest.get(group.as_bytes()) else { return Ok(State::default()) };
    let head: Head = serde_json::from_slice(head)
        .map_err(|error| format!("the state of {group} cannot be read: {error}"))?;
    let mut state = State { next: head.next, turn: head.turn, ..State::default() };
    for model in head.models {
        let record = newest.get(key(group, &model).as_bytes());
        let version = record.map(|value| serde_json::from_slice::<Version>(value));
        match version {
            Some(Ok(version)) if version.model == model => {
                state.versions.insert(model, version);
            }
            Some(Ok(_)) | None => warn!(%model, "no state is kept of it any more, beginning anew"),
            Some(Err(error)) => warn!(%model, %error, "its state cannot be read, beginning anew"),
        }
    }
    Ok(state)
}

/// Tries of one load, and how long it may take until a state is taken that is older than what was committed.
#[derive(Debug, Default)]
pub(super) struct Patience {
    since: Option<Instant>,
}

impl Patience {
    /// Whether to look once more at `now`. The marks that end a transaction reach each partition on their own, so that the state of a
    /// predecessor may be seen later than its offsets.
    pub(super) fn is_left(&mut self, now: Instant, max: Duration) -> bool {
        let since = *self.since.get_or_insert(now);
        now.saturating_duration_since(since) < max
    }

    pub(super) fn reset(&mut self) {
        self.since = None;
    }
}

fn key(group: &str, model: &Model) -> String {
    format!("{group}/{model}/{}", model.digest)
}

fn is_of(group: &str, key: &[u8]) -> bool {
    key.strip_prefix(group.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn record(key: String, value: Option<Vec<u8>>) -> Record {
    Record {
        key: Some(key.into_bytes()),
        value,
        headers: vec![Header::text(headers::CONTENT_TYPE, headers::JSON)],
        timestamp_ms: None,
    }
}
