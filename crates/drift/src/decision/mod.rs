//! Whether a window has drifted: effect and significance, confirmed, as states that change and sentences that say so.
//!
//! Fixed thresholds do neither: an index of 0.1 is exceeded by four clean windows in ten at a hundred reviews and ten bins,
//! and missed by sixty percent that became fifty (0.041). So a window counts as drifted if the difference is large enough
//! to matter *and* would be rare on a clean window, and an alert needs that twice in a row, or once after Bonferroni.

mod measure;
mod sentence;
mod signal;
mod state;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    assembly::Closed,
    number::count,
    reference::Reference,
    statistics::accuracy::{self, Estimate},
    window::Window,
};

pub use measure::{Comparison, Measurement, Values};
pub use signal::{Confirmation, Settings, Signal, SignalSettings};
pub use state::{Rule, State};

/// What is made of one signal of one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Which signal.
    pub signal: Signal,
    /// Which window.
    pub window: i64,
    /// The measurement.
    #[serde(flatten)]
    pub measurement: Measurement,
    /// Whether this window has drifted, confirmed or not.
    pub drifted: bool,
    /// Where the signal stands after this window.
    pub state: State,
    /// Whether it stands elsewhere than before.
    pub changed: bool,
    /// All of it for people.
    pub sentence: String,
}

/// What is made of one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Which window.
    pub window: i64,
    /// Its verdicts.
    pub n: u64,
    /// One a signal that could be measured.
    pub decisions: Vec<Decision>,
    /// Accuracy without labels, always called estimated; none if the bundle does not say how right held-out verdicts were.
    pub estimated_accuracy: Option<Estimate>,
    /// Accuracy of the verdicts whose labels came in this window; none without labels.
    pub realised_accuracy: Option<Estimate>,
    /// Labels that came in this window for each of its verdicts. Labels come later than verdicts, so it may be beyond 1.
    pub coverage: f64,
    /// The accuracy gap alerts while nothing else moves: the same reviews are judged otherwise by people than they were.
    pub is_concept_drift: bool,
}

/// The states of all signals of one model version; it takes windows in order and knows no clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    states: BTreeMap<Signal, State>,
}

impl Monitor {
    /// Judges the next window. A window too small to be judged leaves every state as it was.
    pub fn judge(
        &mut self,
        closed: &Closed,
        reference: &Reference,
        settings: &Settings,
    ) -> Judgement {
        let Closed { index, window } = closed;
        let comparison = Comparison { window, reference, settings };
        let can_be_measured =
            |signal: &Signal| comparison.measure(*signal, settings.of(*signal).alpha).is_some();
        let signals: Vec<Signal> = Signal::ALL.into_iter().filter(can_be_measured).collect();
        let tested = count(signals.len());
        let decide = |signal| {
            let rule = Rule::new(&settings.of(signal), settings.clear_windows, tested);
            let measurement = comparison.measure(signal, rule.alpha)?;
            Some(self.decide(signal, *index, measurement, rule))
        };
        let decisions: Vec<Decision> = signals.into_iter().filter_map(decide).collect();
        let labelled = &window.sums().labelled;
        Judgement {
            window: *index,
            n: window.n(),
            estimated_accuracy: estimated_accuracy(window, reference),
            realised_accuracy: accuracy::realised(labelled.correct, labelled.n()),
            coverage: accuracy::coverage(labelled.n(), window.n()),
            is_concept_drift: is_concept_drift(&decisions),
            decisions,
        }
    }

    /// Where a signal stands.
    pub fn state(&self, signal: Signal) -> State {
        self.states.get(&signal).copied().unwrap_or_default()
    }

    fn decide(
        &mut self,
        signal: Signal,
        window: i64,
        measurement: Measurement,
        rule: Rule,
    ) -> Decision {
        let before = self.state(signal);
        let drifted = measurement.has_drifted();
        let state = before.after(window, drifted, rule);
        self.states.insert(signal, state);
        let sentence = sentence::of(signal, &measurement, state);
        let changed = !state.is_same_kind(before);
        Decision { signal, window, measurement, drifted, state, changed, sentence }
    }
}

/// By the reference's calibration if the bundle has it, else the mean confidence.
fn estimated_accuracy(window: &Window, reference: &Reference) -> Option<Estimate> {
    if let Some(calibration) = reference.calibration() {
        return calibration.estimated(&window.sums().confidence).ok();
    }
    let sum = crate::number::value(window.sums().confidence_sum);
    accuracy::mean_confidence(sum, window.n(), (reference.profile.correct, reference.n()))
}

fn is_concept_drift(decisions: &[Decision]) -> bool {
    let alerts = |decision: &Decision| matches!(decision.state, State::Alerting { .. });
    let (inputs, accuracy): (Vec<&Decision>, Vec<&Decision>) =
        decisions.iter().partition(|decision| decision.signal.needs_no_labels());
    let is_flat = inputs.iter().all(|decision| !decision.drifted && !alerts(decision));
    is_flat && accuracy.into_iter().any(alerts)
}
