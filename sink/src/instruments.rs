//! What the sink measures. Recorded once a round, never a reason to fail.

use std::time::Duration;

use broker::{PartitionStanding, Standing};
use jiff::Timestamp;
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Gauge, Histogram},
};
use store::{RefusedRecord, Row};

/// Who may be away.
const PEERS: [&str; 2] = ["broker", "store"];
/// Why a record may be refused.
const CLASSES: [&str; 3] = ["NullValue", "InvalidVerdict", "StoreRefused"];

/// The sink's instruments.
pub(crate) struct Instruments {
    rows: Counter<u64>,
    refused: Counter<u64>,
    upsert: Histogram<f64>,
    latency: Histogram<f64>,
}

/// How often a loop was held up.
pub(crate) struct Pauses(Counter<u64>);

/// How far a loop is behind.
pub(crate) struct Lags {
    lag: Gauge<u64>,
    stalled: Gauge<f64>,
    /// What was told last.
    standing: Standing,
}

impl Instruments {
    /// From the process's meters.
    pub(crate) fn new() -> Self {
        let meter = global::meter("sink");
        let instruments = Self {
            rows: meter
                .u64_counter("sink.rows")
                .with_description("verdicts that were made durable, replays included")
                .build(),
            refused: meter
                .u64_counter("sink.refused")
                .with_description("records kept as refused, by class of error")
                .build(),
            upsert: meter
                .f64_histogram("sink.upsert.duration")
                .with_unit("s")
                .with_description("one batch until it is durable, or an error")
                .build(),
            latency: meter
                .f64_histogram("e2e.latency")
                .with_unit("s")
                .with_description(
                    "From a review's receipt until its verdict is committed, or its row durable.",
                )
                .build(),
        };
        // A counter that appears with its first event has no rate at that event: it would be seen only at the second.
        for class in CLASSES {
            instruments.refused.add(0, &[KeyValue::new("error.type", class)]);
        }
        instruments
    }

    /// `rows` became durable at `now`. The latency is each row's own: a mean over the round would hide the tail.
    pub(crate) fn wrote(&self, rows: &[Row], now: Timestamp) {
        self.rows.add(rows.len() as u64, &[]);
        for row in rows {
            let latency = now.duration_since(row.verdict.received_at).as_secs_f64();
            // Clocks of two machines may disagree.
            // The processor measures until the verdict, by the same name: in one process both are one metric.
            self.latency.record(latency.max(0.0), &[KeyValue::new("until", "row")]);
        }
    }

    /// `records` were kept as refused.
    pub(crate) fn refused(&self, records: &[RefusedRecord]) {
        for record in records {
            self.refused.add(1, &[KeyValue::new("error.type", record.class.clone())]);
        }
    }

    /// One call of the store took `elapsed`.
    pub(crate) fn upserted(&self, elapsed: Duration) {
        self.upsert.record(elapsed.as_secs_f64(), &[]);
    }
}

impl Pauses {
    /// From the process's meters. All loops of the sink share one counter.
    pub(crate) fn new() -> Self {
        let pauses = global::meter("sink")
            .u64_counter("sink.pauses")
            .with_description("attempts that were put off because the store or the broker was away")
            .build();
        for peer in PEERS {
            pauses.add(0, &[KeyValue::new("peer", peer)]);
        }
        Self(pauses)
    }

    /// An attempt was put off.
    pub(crate) fn paused(&self, on: &'static str) {
        self.0.add(1, &[KeyValue::new("peer", on)]);
    }
}

impl Lags {
    /// From the process's meters.
    pub(crate) fn new() -> Self {
        let meter = global::meter("sink");
        Self {
            lag: meter
                .u64_gauge("messaging.kafka.consumer.lag")
                .with_unit("{record}")
                .with_description("offsets that may be read and were not, by partition")
                .build(),
            stalled: meter
                .f64_gauge("messaging.kafka.transaction.stalled.duration")
                .with_unit("s")
                .with_description(
                    "how long one open transaction has held up the readers of a partition",
                )
                .build(),
            standing: Standing::default(),
        }
    }

    /// How far the loop is behind. Partitions that another replica has now are told to be level: what is not said of them any more
    /// would stand as it was for ever.
    pub(crate) fn standing(&mut self, standing: Standing) {
        let before = std::mem::replace(&mut self.standing, standing);
        let gone = before.0.into_keys().filter(|it| !self.standing.0.contains_key(it));
        let gone = gone.map(|partition| (partition, PartitionStanding::default()));
        let here = self.standing.0.iter().map(|(partition, it)| (partition.clone(), *it));
        for ((topic, number), PartitionStanding { lag, stalled }) in here.chain(gone) {
            let attributes = [
                KeyValue::new("messaging.destination.name", topic.to_string()),
                KeyValue::new("messaging.destination.partition.id", number.to_string()),
            ];
            self.lag.record(lag, &attributes);
            self.stalled.record(stalled.as_secs_f64(), &attributes);
        }
    }
}

#[cfg(test)]
mod tests {
    use chassis::telemetry::{self, TelemetrySettings};

    use super::*;

    #[test]
    fn what_has_not_happened_yet_counts_zero() {
        let telemetry = telemetry::start("test", &TelemetrySettings::default()).unwrap();
        let (_instruments, _pauses) = (Instruments::new(), Pauses::new());
        let text = telemetry.text().unwrap();
        for counted in [
            "sink_pauses_total{peer=\"broker\"} ",
            "sink_pauses_total{peer=\"store\"} ",
            "sink_refused_total{error_type=\"InvalidVerdict\"} ",
            "sink_refused_total{error_type=\"NullValue\"} ",
            "sink_refused_total{error_type=\"StoreRefused\"} ",
        ] {
            assert!(text.contains(counted), "{counted}: {text}");
        }
    }
}
