//! What the line measures, and the only place that names OpenTelemetry. One call a batch or a round.

use std::{collections::HashMap, fmt, time::Duration};

use broker::{ExchangeError, PartitionStanding, Standing};
use jiff::Timestamp;
use models::{ModelName, manifest::Precision};
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Gauge, Histogram},
};
use schemas::{ModelRef, Refusal, Verdict};

use crate::{
    pipeline::{Inferred, Timing},
    response_cache::Lookups,
};

/// Name of the meter.
const METER: &str = "processor";
/// Bounds of `inference.batch.size`.
const ROWS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
/// Bounds of shares and probabilities.
const SHARES: [f64; 11] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95];
/// Why a round may be aborted.
const REASONS: [&str; 4] = ["aborted", "unavailable", "refused", "fenced"];

/// This replica is to score with `model`, and cannot.
pub fn model_missing(model: &ModelName) {
    missing().record(1, &named(model.name(), &model.version().to_string()));
}

fn missing() -> Gauge<u64> {
    global::meter(METER)
        .u64_gauge("processor.model.missing")
        .with_description("1 while the model that this replica is to score with cannot be loaded.")
        .build()
}

fn named(name: &str, version: &str) -> [KeyValue; 2] {
    [
        KeyValue::new("model.name", name.to_owned()),
        KeyValue::new("model.version", version.to_owned()),
    ]
}

/// The line's instruments.
#[derive(Clone)]
pub struct Instruments {
    inference_duration: Histogram<f64>,
    batch_size: Histogram<u64>,
    padding_ratio: Histogram<f64>,
    cache_lookups: Counter<u64>,
    predictions: Counter<u64>,
    confidence: Histogram<f64>,
    dead_letters: Counter<u64>,
    latency: Histogram<f64>,
    rounds: Counter<u64>,
    commit_duration: Histogram<f64>,
    breaker_open: Gauge<u64>,
    model_loaded: Gauge<u64>,
    lag: Gauge<u64>,
    stalled: Gauge<f64>,
    /// What was told last.
    standing: Standing,
}

impl Instruments {
    /// Made from the global meter provider; without one they cost next to nothing and tell nobody.
    pub fn new() -> Self {
        let meter = global::meter(METER);
        let instruments = Self {
            inference_duration: meter
                .f64_histogram("inference.duration")
                .with_unit("s")
                .with_description("How long the model took for one batch.")
                .build(),
            batch_size: meter
                .u64_histogram("inference.batch.size")
                .with_unit("{review}")
                .with_description("Rows in one batch.")
                .with_boundaries(ROWS.to_vec())
                .build(),
            padding_ratio: meter
                .f64_histogram("inference.padding.ratio")
                .with_unit("1")
                .with_description("Share of a batch that was padding.")
                .with_boundaries(SHARES.to_vec())
                .build(),
            cache_lookups: meter
                .u64_counter("inference.cache.lookups")
                .with_unit("{text}")
                .with_description("Distinct texts of a round that were looked for in the response cache, by result.")
                .build(),
            predictions: meter
                .u64_counter("inference.predictions")
                .with_unit("{verdict}")
                .with_description("Verdicts committed, by label and model version.")
                .build(),
            confidence: meter
                .f64_histogram("inference.confidence")
                .with_unit("1")
                .with_description("Probability of the label of a committed verdict.")
                .with_boundaries(SHARES.to_vec())
                .build(),
            dead_letters: meter
                .u64_counter("dlq.messages")
                .with_unit("{record}")
                .with_description("Dead letters committed, by stage and class.")
                .build(),
            latency: meter
                .f64_histogram("e2e.latency")
                .with_unit("s")
                .with_description("From a review's receipt until its verdict is committed, or its row durable.")
                .build(),
            rounds: meter
                .u64_counter("processor.rounds")
                .with_unit("{round}")
                .with_description("Rounds by outcome: committed, or aborted and read again; the aborted ones by reason.")
                .build(),
            commit_duration: meter
                .f64_histogram("processor.commit.duration")
                .with_unit("s")
                .with_description("One transaction, from its first record to its end, whatever its end.")
                .build(),
            breaker_open: meter
                .u64_gauge("processor.breaker.open")
                .with_description("1 while the line stands still for too many dead letters.")
                .build(),
            model_loaded: meter
                .u64_gauge("processor.model.loaded")
                .with_description("1 for the model that this replica scores with.")
                .build(),
            lag: meter
                .u64_gauge("messaging.kafka.consumer.lag")
                .with_unit("{record}")
                .with_description("Offsets that may be read and were not, by partition.")
                .build(),
            stalled: meter
                .f64_gauge("messaging.kafka.transaction.stalled.duration")
                .with_unit("s")
                .with_description("How long one open transaction has held up the readers of a partition.")
                .build(),
            standing: Standing::default(),
        };
        instruments.breaker_open.record(0, &[]);
        // A counter that appears with its first event has no rate at that event: it would be seen only at the second.
        for reason in REASONS {
            instruments.rounds.add(0, &aborted_for(reason));
        }
        instruments
    }

    /// This replica scores with `model` from now on. Replicas that differ are seen only so: a verdict has no replica.
    pub fn model_loaded(&self, model: &ModelRef, precision: Precision) {
        let [name, version] = named(&model.name, &model.version);
        missing().record(0, &[name.clone(), version.clone()]);
        let precision = KeyValue::new("model.precision", precision.to_string());
        self.model_loaded.record(1, &[name, version, precision]);
    }

    /// So often the response cache was asked since the last time. One that is off is never asked, and nothing appears.
    pub(crate) fn looked_up(&self, lookups: Lookups) {
        for (result, count) in [("hit", lookups.hits), ("miss", lookups.misses)] {
            if 0 < count {
                self.cache_lookups.add(count, &[KeyValue::new("result", result)]);
            }
        }
    }

    /// A batch was inferred, whatever becomes of its round.
    pub fn inferred(&self, inferred: &Inferred, timing: Timing) {
        self.inference_duration.record(timing.took.as_secs_f64(), &[]);
        self.batch_size.record(u64::try_from(inferred.shape.rows).unwrap_or(u64::MAX), &[]);
        self.padding_ratio.record(inferred.padding_ratio(), &[]);
    }

    /// A round was committed at `now`: only now its verdicts and dead letters count, so that none counts twice.
    pub fn committed(
        &self,
        outcomes: &[Result<Verdict, Refusal>],
        model: &ModelRef,
        now: Timestamp,
    ) {
        self.rounds.add(1, &[KeyValue::new("outcome", "committed")]);
        let version = KeyValue::new("model.version", model.version.clone());
        let name = KeyValue::new("model.name", model.name.clone());
        let attributes = [name, version];
        let mut labels: HashMap<&str, u64> = HashMap::new();
        let mut refusals: HashMap<(&'static str, &'static str), u64> = HashMap::new();
        for outcome in outcomes {
            match outcome {
                Ok(verdict) => {
                    *labels.entry(verdict.label.as_str()).or_default() += 1;
                    self.confidence.record(f64::from(verdict.confidence), &attributes);
                    let latency = now.duration_since(verdict.received_at).as_secs_f64();
                    // The sink measures until the row, by the same name: in one process both are one metric.
                    self.latency.record(latency.max(0.0), &[KeyValue::new("until", "verdict")]);
                }
                Err(refusal) => {
                    *refusals.entry((refusal.stage.as_str(), refusal.class)).or_default() += 1;
                }
            }
        }
        for (label, count) in labels {
            let [name, version] = attributes.clone();
            self.predictions.add(count, &[KeyValue::new("label", label.to_owned()), name, version]);
        }
        for ((stage, class), count) in refusals {
            self.dead_letters
                .add(count, &[KeyValue::new("stage", stage), KeyValue::new("class", class)]);
        }
    }

    /// Rounds in hand were dropped.
    pub fn aborted(&self, error: &ExchangeError) {
        let reason = match error {
            ExchangeError::Aborted(_) => "aborted",
            ExchangeError::Unavailable(_) => "unavailable",
            ExchangeError::Refused(_) => "refused",
            ExchangeError::Fatal(_) => "fenced",
        };
        self.rounds.add(1, &aborted_for(reason));
    }

    /// A transaction ended, one way or the other.
    pub fn commit_took(&self, took: Duration) {
        self.commit_duration.record(took.as_secs_f64(), &[]);
    }

    /// The line stands still.
    pub fn breaker_opened(&self) {
        self.breaker_open.record(1, &[]);
    }

    /// How far the line is behind. Partitions that another replica has now are told to be level: what is not said of them any more
    /// would stand as it was for ever.
    pub fn standing(&mut self, standing: Standing) {
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

fn aborted_for(reason: &'static str) -> [KeyValue; 2] {
    [KeyValue::new("outcome", "aborted"), KeyValue::new("reason", reason)]
}

impl Default for Instruments {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Instruments {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Instruments").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use chassis::telemetry::{self, TelemetrySettings};

    use super::*;

    #[test]
    fn the_model_is_told_and_what_has_not_happened_yet_counts_zero() {
        let telemetry = telemetry::start("test", &TelemetrySettings::default()).unwrap();
        let instruments = Instruments::new();
        let [name, version, digest] = ["told", "7", "sha256:0"].map(str::to_owned);
        instruments.model_loaded(&ModelRef { name, version, digest }, Precision::Int8);
        let text = telemetry.text().unwrap();
        let loaded = "processor_model_loaded{model_name=\"told\",model_precision=\"int8\",model_version=\"7\"} 1";
        assert!(text.contains(loaded), "{text}");
        for reason in REASONS {
            let counted =
                format!("processor_rounds_total{{outcome=\"aborted\",reason=\"{reason}\"}} ");
            assert!(text.contains(&counted), "{reason}: {text}");
        }
    }
}
