//! What the aggregator measures. Gauges tell of the last judged window of each model version, and only where it is judged: a replica
//! that loses the windows tells nothing of them any more, so that nothing stands as it was for ever.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drift::{Decision, Model, State as Stand};
use opentelemetry::{
    KeyValue, global,
    metrics::{AsyncInstrument, Counter},
};

use super::{
    state::{Judged, State, Version},
    telling::signal,
};

/// What may become of a window.
const WINDOWS: [&str; 3] = ["judged", "too_small", "refused"];

/// What a round led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Windows that were large enough to be judged.
    pub(crate) judged: u64,
    /// Windows that were not.
    pub(crate) too_small: u64,
    /// Partial windows that are none, or fit none.
    pub(crate) refused: u64,
    /// Verdicts that came after their window was closed.
    pub(crate) late: u64,
    /// Changes that ADWIN and DDM saw, by series.
    pub(crate) shifts: Vec<(&'static str, String)>,
    /// Alerts that began and that ceased, by signal.
    pub(crate) alerts: Vec<(&'static str, String)>,
}

/// The aggregator's instruments. Clones are the same.
#[derive(Clone, Debug)]
pub struct Instruments {
    windows: Counter<u64>,
    late: Counter<u64>,
    shifts: Counter<u64>,
    alerts: Counter<u64>,
    shown: Shown,
}

/// What gauges tell.
type Shown = Arc<Mutex<Vec<Version>>>;

impl Instruments {
    /// From the process's meters, of which they become a part: once for each process.
    #[expect(clippy::new_without_default, reason = "it registers something")]
    pub fn new() -> Self {
        let shown = Shown::default();
        register(&shown);
        let meter = global::meter("drift");
        let instruments = Self {
            windows: meter
                .u64_counter("drift.windows")
                .with_unit("{window}")
                .with_description(
                    "Windows that were closed: judged, or too small; and sums that were refused.",
                )
                .build(),
            late: meter
                .u64_counter("drift.late")
                .with_unit("{verdict}")
                .with_description("Verdicts that came after their window was closed.")
                .build(),
            shifts: meter
                .u64_counter("drift.shifts")
                .with_description("Changes of a series over windows that ADWIN or DDM saw.")
                .build(),
            alerts: meter
                .u64_counter("drift.alerts")
                .with_description("Alerts that began and that ceased, by signal.")
                .build(),
            shown,
        };
        instruments.late.add(0, &[]);
        for outcome in WINDOWS {
            instruments.windows.add(0, &[KeyValue::new("outcome", outcome)]);
        }
        instruments
    }

    /// A round was committed.
    pub(super) fn committed(&self, counts: &Counts) {
        let windows = [counts.judged, counts.too_small, counts.refused];
        for (outcome, count) in WINDOWS.into_iter().zip(windows) {
            self.windows.add(count, &[KeyValue::new("outcome", outcome)]);
        }
        self.late.add(counts.late, &[]);
        for (detector, series) in &counts.shifts {
            let attributes =
                [KeyValue::new("detector", *detector), KeyValue::new("series", series.clone())];
            self.shifts.add(1, &attributes);
        }
        for (change, signal) in &counts.alerts {
            let attributes =
                [KeyValue::new("change", *change), KeyValue::new("signal", signal.clone())];
            self.alerts.add(1, &attributes);
        }
    }

    /// Gauges tell of `state` from now on.
    pub(super) fn show(&self, state: &State) {
        *lock(&self.shown) = state.versions().cloned().collect();
    }

    /// Gauges tell nothing any more.
    pub(super) fn hide(&self) {
        lock(&self.shown).clear();
    }
}

/// Makes the gauges. What is not observed is not told: the series ends.
fn register(shown: &Shown) {
    let meter = global::meter("drift");
    meter
        .f64_observable_gauge("drift.score")
        .with_description("Test statistic of a signal in the last judged window.")
        .with_callback(by_signal(shown, |decision| decision.measurement.score))
        .build();
    meter
        .f64_observable_gauge("drift.threshold")
        .with_description("The score that a clean window exceeds as rarely as the settings say.")
        .with_callback(by_signal(shown, |decision| decision.measurement.threshold))
        .build();
    meter
        .f64_observable_gauge("drift.effect")
        .with_description("Size of the difference, on the signal's own scale.")
        .with_callback(by_signal(shown, |decision| decision.measurement.effect))
        .build();
    meter
        .f64_observable_gauge("drift.state")
        .with_description("0 normal, 1 suspected, 2 alerting.")
        .with_callback(by_signal(shown, stand))
        .build();
    meter
        .f64_observable_gauge("drift.window.reviews")
        .with_description("Reviews of the last judged window.")
        .with_callback(by_version(shown, |it| Some(count(it.judgement.n))))
        .build();
    meter
        .f64_observable_gauge("drift.coverage")
        .with_description("Share of verdicts that have a label.")
        .with_callback(by_version(shown, |it| Some(it.judgement.coverage)))
        .build();
    meter
        .f64_observable_gauge("drift.concept")
        .with_description("1 while people judge otherwise than they did, and nothing else moves.")
        .with_callback(by_version(shown, |it| {
            Some(f64::from(u8::from(it.judgement.is_concept_drift)))
        }))
        .build();
    register_accuracy(shown);
}

fn register_accuracy(shown: &Shown) {
    let meter = global::meter("drift");
    meter
        .f64_observable_gauge("drift.reference_accuracy")
        .with_description("Accuracy of held-out verdicts, with which the others are compared.")
        .with_callback(by_version(shown, |it| it.reference_accuracy))
        .build();
    meter
        .f64_observable_gauge("drift.estimated_accuracy")
        .with_description("Accuracy without labels: an estimate, blind to concept drift.")
        .with_callback(by_version(shown, |it| it.judgement.estimated_accuracy.map(|one| one.value)))
        .build();
    meter
        .f64_observable_gauge("drift.estimated_accuracy.standard_error")
        .with_description("Its standard error.")
        .with_callback(by_version(shown, |it| {
            it.judgement.estimated_accuracy.map(|one| one.standard_error)
        }))
        .build();
    meter
        .f64_observable_gauge("drift.realised_accuracy")
        .with_description("Accuracy of the verdicts that have a label.")
        .with_callback(by_version(shown, |it| it.judgement.realised_accuracy.map(|one| one.value)))
        .build();
    meter
        .f64_observable_gauge("drift.realised_accuracy.standard_error")
        .with_description("Its standard error.")
        .with_callback(by_version(shown, |it| {
            it.judgement.realised_accuracy.map(|one| one.standard_error)
        }))
        .build();
}

/// Observes `value` of each signal of each version.
fn by_signal(
    shown: &Shown,
    value: fn(&Decision) -> f64,
) -> impl Fn(&dyn AsyncInstrument<f64>) + Send + Sync + 'static {
    let shown = Arc::clone(shown);
    move |gauge| {
        for (version, last) in lock(&shown).iter().filter_map(judged) {
            for decision in &last.judgement.decisions {
                let [name, number] = labels(version);
                let attributes = [KeyValue::new("signal", signal(decision)), name, number];
                gauge.observe(value(decision), &attributes);
            }
        }
    }
}

/// Observes `value` of each version, where there is one.
fn by_version(
    shown: &Shown,
    value: fn(&Judged) -> Option<f64>,
) -> impl Fn(&dyn AsyncInstrument<f64>) + Send + Sync + 'static {
    let shown = Arc::clone(shown);
    move |gauge| {
        for (version, last) in lock(&shown).iter().filter_map(judged) {
            if let Some(value) = value(last) {
                gauge.observe(value, &labels(version));
            }
        }
    }
}

fn judged(version: &Version) -> Option<(&Version, &Judged)> {
    Some((version, version.last.as_ref()?))
}

fn labels(version: &Version) -> [KeyValue; 2] {
    let Model { name, version, .. } = &version.model;
    [KeyValue::new("model.name", name.clone()), KeyValue::new("model.version", version.clone())]
}

fn stand(decision: &Decision) -> f64 {
    match decision.state {
        Stand::Quiet | Stand::Resolved { .. } => 0.0,
        Stand::Suspected { .. } => 1.0,
        Stand::Alerting { .. } => 2.0,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a window holds 2^31 reviews at most")]
fn count(reviews: u64) -> f64 {
    reviews as f64
}

fn lock(shown: &Shown) -> MutexGuard<'_, Vec<Version>> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}
