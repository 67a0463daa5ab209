//! What drift knows of a verdict that is read back, from a topic or from a row.

use drift::{Features, Model};
use schemas::{DriftFeatures, ModelRef, Verdict};

/// The features of `verdict`. One of a program that did not say more has no special tokens, none unknown and no embedding.
pub fn features(verdict: &Verdict) -> Features {
    let DriftFeatures {
        special_tokens,
        unknown_tokens,
        cross_entropy,
        projection,
        language,
        words,
    } = verdict.drift.clone().unwrap_or_default();
    Features {
        label: verdict.label.clone(),
        confidence: verdict.confidence,
        probabilities: verdict.probabilities.clone(),
        tokens: verdict.tokens,
        special_tokens,
        unknown_tokens,
        truncated: verdict.truncated,
        cross_entropy,
        projection,
        language,
        words,
    }
}

/// The model of a verdict, as windows name it.
pub fn model(model: &ModelRef) -> Model {
    let ModelRef { name, version, digest } = model.clone();
    Model { name, version, digest }
}

/// When the review of a verdict counts, in milliseconds since 1970: when it was written, and not later than it was scored, whatever
/// its client says, for one review from the year 2100 would close every window before it.
pub fn event_ms(verdict: &Verdict) -> i64 {
    verdict.occurred_at.min(verdict.scored_at).as_millisecond()
}
