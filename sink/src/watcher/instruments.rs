//! What the watcher measures. Counted once a round that is committed, so that nothing counts twice.

use opentelemetry::{KeyValue, global, metrics::Counter};

use super::partials::Tally;

/// Why a verdict may not be watched.
const REASONS: [&str; 3] = ["no_verdict", "no_reference", "invalid"];

/// The watcher's instruments.
#[derive(Debug)]
pub(crate) struct Instruments {
    verdicts: Counter<u64>,
    unwatched: Counter<u64>,
}

impl Instruments {
    /// From the process's meters.
    pub(crate) fn new() -> Self {
        let meter = global::meter("drift");
        let instruments = Self {
            verdicts: meter
                .u64_counter("drift.verdicts")
                .with_unit("{verdict}")
                .with_description("Verdicts that were summed in partial windows.")
                .build(),
            unwatched: meter
                .u64_counter("drift.unwatched")
                .with_unit("{verdict}")
                .with_description("Records that count in no window, by reason.")
                .build(),
        };
        // A counter that appears with its first event has no rate at that event.
        instruments.committed(Tally::default());
        instruments
    }

    /// A round was committed.
    pub(crate) fn committed(&self, tally: Tally) {
        self.verdicts.add(tally.counted, &[]);
        let counts = [tally.no_verdict, tally.no_reference, tally.invalid];
        for (reason, count) in REASONS.into_iter().zip(counts) {
            self.unwatched.add(count, &[KeyValue::new("reason", reason)]);
        }
    }
}
