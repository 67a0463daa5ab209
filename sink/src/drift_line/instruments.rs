//! What both parts of the drift line measure: rounds, and how far they are behind.

use broker::{PartitionStanding, Standing};
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Gauge},
};

/// How a round may end.
const OUTCOMES: [&str; 2] = ["committed", "aborted"];

/// The instruments of one part.
#[derive(Debug)]
pub(crate) struct LineInstruments {
    part: &'static str,
    rounds: Counter<u64>,
    lag: Gauge<u64>,
    standing: Standing,
}

impl LineInstruments {
    /// From the process's meters.
    pub(crate) fn new(part: &'static str) -> Self {
        let meter = global::meter("drift");
        let instruments = Self {
            part,
            rounds: meter
                .u64_counter("drift.rounds")
                .with_unit("{round}")
                .with_description(
                    "Rounds of the drift line by part and outcome: committed, or aborted and read again.",
                )
                .build(),
            lag: meter
                .u64_gauge("drift.consumer.lag")
                .with_unit("{record}")
                .with_description("Offsets that the drift line may read and has not, by partition.")
                .build(),
            standing: Standing::default(),
        };
        // A counter that appears with its first event has no rate at that event.
        for outcome in OUTCOMES {
            instruments.round(outcome, 0);
        }
        instruments
    }

    /// A round was committed.
    pub(crate) fn committed(&self) {
        self.round("committed", 1);
    }

    /// A round was dropped.
    pub(crate) fn aborted(&self) {
        self.round("aborted", 1);
    }

    /// How far this part is behind; what another replica has now is level here.
    pub(crate) fn standing(&mut self, standing: Standing) {
        let before = std::mem::replace(&mut self.standing, standing);
        let gone = before.0.into_keys().filter(|it| !self.standing.0.contains_key(it));
        let gone = gone.map(|partition| (partition, PartitionStanding::default()));
        let here = self.standing.0.iter().map(|(partition, it)| (partition.clone(), *it));
        for ((topic, number), PartitionStanding { lag, .. }) in here.chain(gone) {
            let attributes = [
                KeyValue::new("messaging.destination.name", topic.to_string()),
                KeyValue::new("messaging.destination.partition.id", number.to_string()),
            ];
            self.lag.record(lag, &attributes);
        }
    }

    fn round(&self, outcome: &'static str, count: u64) {
        let part = KeyValue::new("part", self.part);
        self.rounds.add(count, &[part, KeyValue::new("outcome", outcome)]);
    }
}
