//! What is told of a judgement: alerts where a signal began to drift or ceased to, and a row. Pure.

use drift::{Decision, State};
use jiff::Timestamp;
use schemas::{DriftAlert, DriftChange, ModelRef, drift_alert};
use store::JudgedWindow;

use super::state::Judged;

/// The alerts of a judgement that is made at `at`.
pub fn alerts(judged: &Judged, at: Timestamp) -> Vec<DriftAlert> {
    let alert = |decision: &Decision| {
        let (change, since) = match decision.state {
            State::Alerting { since, .. } => (DriftChange::Began, since),
            State::Resolved { since, .. } => (DriftChange::Ceased, since),
            State::Quiet | State::Suspected { .. } => return None,
        };
        let measured = &decision.measurement;
        decision.changed.then(|| DriftAlert {
            schema_version: drift_alert::SCHEMA_VERSION,
            model: model(judged),
            signal: signal(decision),
            change,
            score: measured.score,
            threshold: measured.threshold,
            p: measured.p,
            effect: measured.effect,
            effect_min: measured.effect_min,
            n: measured.n,
            window: decision.window,
            since,
            first_at: time(judged.first_ms),
            last_at: time(judged.last_ms),
            sentence: decision.sentence.clone(),
            at,
        })
    };
    judged.judgement.decisions.iter().filter_map(alert).collect()
}

/// The row of a judgement that is made at `at`.
pub fn row(judged: &Judged, at: Timestamp) -> Result<JudgedWindow, serde_json::Error> {
    let judgement = &judged.judgement;
    let alerting = judgement.decisions.iter().filter(|decision| is_alerting(decision));
    Ok(JudgedWindow {
        model: model(judged),
        window: judgement.window,
        first_at: time(judged.first_ms),
        last_at: time(judged.last_ms),
        n: judgement.n,
        alerting: alerting.map(signal).collect(),
        estimated_accuracy: judgement.estimated_accuracy.map(|estimate| estimate.value),
        realised_accuracy: judgement.realised_accuracy.map(|estimate| estimate.value),
        judged_at: at,
        judgement: serde_json::to_string(judged)?,
    })
}

/// A signal as programs name it.
pub(super) fn signal(decision: &Decision) -> String {
    // A unit variant is a string in JSON, so that this cannot fail.
    let name = serde_json::to_value(decision.signal).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

pub(super) fn is_alerting(decision: &Decision) -> bool {
    matches!(decision.state, State::Alerting { .. })
}

fn model(judged: &Judged) -> ModelRef {
    let drift::Model { name, version, digest } = judged.model.clone();
    ModelRef { name, version, digest }
}

/// A time beyond what can be written is that of the epoch: windows take any number.
fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}
