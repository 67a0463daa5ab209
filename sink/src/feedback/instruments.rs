//! What the feedback loop measures. Recorded once a round that is committed, never a reason to fail.

use jiff::SignedDuration;
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram},
};

use super::join::Outcome;

/// Bounds of the delay's histogram, in seconds: a minute, an hour, a day, a month and what is between.
const DELAYS_S: [f64; 12] = [
    1.0,
    10.0,
    60.0,
    600.0,
    3_600.0,
    21_600.0,
    86_400.0,
    259_200.0,
    604_800.0,
    1_209_600.0,
    2_592_000.0,
    7_776_000.0,
];

/// The loop's instruments.
pub(super) struct Instruments {
    labels: Counter<u64>,
    delay: Histogram<f64>,
}

impl Instruments {
    /// From the process's meters.
    pub(super) fn new() -> Self {
        let meter = global::meter("sink");
        let instruments = Self {
            labels: meter
                .u64_counter("feedback.labels")
                .with_description("labels that were read, by what became of them")
                .build(),
            delay: meter
                .f64_histogram("feedback.delay")
                .with_unit("s")
                .with_description("from a verdict until a first label for it was given")
                .with_boundaries(DELAYS_S.to_vec())
                .build(),
        };
        // A counter that appears with its first event has no rate at that event.
        for outcome in Outcome::ALL {
            instruments.count(outcome, 0);
        }
        instruments
    }

    /// `labels` labels ended so.
    pub(super) fn count(&self, outcome: Outcome, labels: u64) {
        self.labels.add(labels, &[KeyValue::new("outcome", outcome.name())]);
    }

    /// A first label was given so long after its verdict. Clocks of two machines may disagree.
    pub(super) fn delayed(&self, delay: SignedDuration) {
        self.delay.record(delay.as_secs_f64().max(0.0), &[]);
    }
}
