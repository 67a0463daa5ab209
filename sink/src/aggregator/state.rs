//! What the aggregator knows, and what one more partial window makes of it. Pure: the same windows in the same order give the same
//! judgements, wherever it was stopped and read back in between.

use std::collections::{BTreeMap, BTreeSet};

use drift::{
    Assembly, Judgement, Model, Monitor, Reference, Window,
    assembly::{AssemblySettings, Closed, Taken},
    error::Unmergeable,
    statistics::{
        adwin::{Adwin, AdwinSettings},
        ddm::{Ddm, DdmSettings, ErrorRate},
    },
};
use serde::{Deserialize, Serialize};

/// How windows are closed and judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// When windows are closed.
    pub assembly: AssemblySettings,
    /// How they are judged.
    pub decisions: drift::Settings,
    /// Most model versions that are kept in mind.
    pub versions_max: usize,
}

/// What is known of all model versions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The offset of the first partial window that is not in it.
    pub next: i64,
    /// Partial windows so far.
    pub(super) turn: u64,
    pub(super) versions: BTreeMap<Model, Version>,
    /// Whose records differ from those that were written last.
    pub(super) changed: BTreeSet<Model>,
    pub(super) forgotten: BTreeSet<Model>,
}

/// What is known of one model version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Which one.
    pub model: Model,
    /// How its windows are closed. Others begin with nothing.
    settings: AssemblySettings,
    /// The turn of its last partial window.
    touched: u64,
    assembly: Assembly,
    monitor: Monitor,
    confidence: Adwin,
    labels: Vec<Adwin>,
    errors: Ddm,
    /// The last window that was large enough to be judged.
    pub last: Option<Judged>,
}

/// A window and what was made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Whose verdicts.
    pub model: Model,
    /// Event time of its first review, milliseconds since 1970.
    pub first_ms: i64,
    /// Of its last.
    pub last_ms: i64,
    /// What was made of it.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// Share of held-out verdicts that were right, if the bundle says so: what accuracies are compared with.
    pub reference_accuracy: Option<f64>,
    /// Series that changed with it, by the detectors that keep their own state: `confidence`, `label NAME` (ADWIN).
    pub shifts: Vec<String>,
}

/// What one partial window led to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Windows that it closed.
    pub judged: Vec<Judged>,
    /// Verdicts that came after their window was closed.
    pub late: u64,
    /// Whether the labels that people gave say that the error rate has risen (DDM).
    pub errors_rose: bool,
}

impl State {
    /// Takes a partial window of the model that `reference` is of.
    pub fn take(
        &mut self,
        partial: &Window,
        reference: &Reference,
        rules: &Rules,
    ) -> Result<Outcome, Unmergeable> {
        let model = &partial.sums().model;
        let fresh = || Version::new(model.clone(), reference, rules.assembly);
        let version = self.versions.entry(model.clone()).or_insert_with(fresh);
        if version.settings != rules.assembly {
            *version = fresh();
        }
        let outcome = version.take(partial, reference, rules)?;
        self.turn += 1;
        version.touched = self.turn;
        self.changed.insert(model.clone());
        self.forget_the_oldest(rules.versions_max);
        Ok(outcome)
    }

    /// What is known of each model version.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        self.versions.values()
    }

    fn forget_the_oldest(&mut self, versions_max: usize) {
        while versions_max.max(1) < self.versions.len() {
            let oldest = self.versions.values().min_by_key(|version| version.touched);
            let Some(model) = oldest.map(|version| version.model.clone()) else { return };
            self.versions.remove(&model);
            self.changed.remove(&model);
            self.forgotten.insert(model);
        }
    }
}

impl Version {
    fn new(model: Model, reference: &Reference, settings: AssemblySettings) -> Self {
        // A value a window and not a verdict, so that each is looked at.
        let adwin = Adwin::new(AdwinSettings { clock: 1, ..AdwinSettings::default() });
        Self {
            settings,
            touched: 0,
            assembly: Assembly::new(settings, model.clone()),
            model,
            monitor: Monitor::default(),
            labels: vec![adwin.clone(); reference.labels().count()],
            confidence: adwin,
            errors: Ddm::new(DdmSettings::default()),
            last: None,
        }
    }

    fn take(
        &mut self,
        partial: &Window,
        reference: &Reference,
        rules: &Rules,
    ) -> Result<Outcome, Unmergeable> {
        let mut outcome = Outcome::default();
        if self.assembly.add(partial)? == Taken::Late {
            outcome.late = partial.n();
        }
        let (labels, correct) = (partial.sums().labelled.n(), partial.sums().labelled.correct);
        if 0 < labels {
            let rate = self.errors.observe(labels, labels.saturating_sub(correct));
            outcome.errors_rose = rate == ErrorRate::Drifted;
        }
        while let Some(closed) = self.assembly.close() {
            outcome.judged.push(self.judge(&closed, reference, rules));
        }
        Ok(outcome)
    }

    fn judge(&mut self, closed: &Closed, reference: &Reference, rules: &Rules) -> Judged {
        let judgement = self.monitor.judge(closed, reference, &rules.decisions);
        let window = &closed.window;
        let mut shifts = Vec::new();
        let is_large = rules.decisions.reviews_min <= window.n();
        if is_large && let Some(mean) = window.mean_confidence() {
            if self.confidence.update(mean) {
                shifts.push("confidence".to_owned());
            }
            let counts = window.sums().labels.iter().zip(reference.labels());
            for ((count, label), series) in counts.zip(&mut self.labels) {
                if series.update(share(*count, window.n())) {
                    shifts.push(format!("label {label}"));
                }
            }
        }
        let span = window.sums().span;
        let judged = Judged {
            model: self.model.clone(),
            first_ms: span.map_or(0, |span| span.first_ms),
            last_ms: span.map_or(0, |span| span.last_ms),
            judgement,
            reference_accuracy: reference.calibration().map(|calibration| {
                share(calibration.correct.iter().sum(), calibration.counts.iter().sum())
            }),
            shifts,
        };
        if judged.is_large() {
            self.last = Some(judged.clone());
        }
        judged
    }
}

impl Judged {
    /// Whether it held enough for any signal to be measured.
    pub fn is_large(&self) -> bool {
        !self.judgement.decisions.is_empty()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of windows and references are far below 2^53"
)]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
