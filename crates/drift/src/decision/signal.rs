//! What may drift, and when each of it counts as drifted.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// One aspect of verdicts that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Shares of the labels.
    Labels,
    /// Confidence, on the reference's deciles.
    Confidence,
    /// Share of verdicts whose two most probable labels are close.
    Uncertainty,
    /// Tokens of a review.
    Tokens,
    /// Share of reviews that are longer than the model reads.
    Truncation,
    /// Share of tokens that are not in the vocabulary.
    UnknownTokens,
    /// Shares of the languages.
    Languages,
    /// Vocabulary cross-entropy.
    CrossEntropy,
    /// Share of reviews that have a word, of that whose share rose most surprisingly.
    Words,
    /// The crowd of embeddings.
    Embedding,
    /// Estimated less realised accuracy of the labelled verdicts.
    AccuracyGap,
}

/// What it takes to call a window drifted: an effect large enough to matter, and significance enough to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalSettings {
    /// Whether it is watched.
    pub enabled: bool,
    /// Probability with which a clean window may be significant.
    pub alpha: f64,
    /// The smallest effect that counts, on the signal's own scale.
    pub effect_min: f64,
    /// What makes an alert of a drifted window.
    pub confirmation: Confirmation,
}

/// Many windows are tested for many signals, so one significant window is no alert yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmation {
    /// So many drifted windows in a row. Two clean ones in a row are both significant with probability `alpha^2`.
    InARow(u32),
    /// One window, if significant even at `alpha` over the number of signals tested in it (Bonferroni 1936; Dunn 1961,
    /// Multiple Comparisons among Means). Then `alpha` is the share of clean windows that alert: the default one, which two
    /// windows in a row make a hundredth of, is too much.
    Bonferroni,
}

/// How windows are judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// A smaller window is not judged. 500 give ten bins fifty each.
    pub reviews_min: u64,
    /// A gap in accuracy is not judged on fewer labels.
    pub labels_min: u64,
    /// An alert ends after so many windows in a row without drift.
    pub clear_windows: u32,
    /// By signal; what is not named has its defaults.
    pub signals: BTreeMap<Signal, SignalSettings>,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Labels,
        Self::Confidence,
        Self::Uncertainty,
        Self::Tokens,
        Self::Truncation,
        Self::UnknownTokens,
        Self::Languages,
        Self::CrossEntropy,
        Self::Words,
        Self::Embedding,
        Self::AccuracyGap,
    ];

    /// Whether it looks at what comes in or comes out, rather than at whether it is right.
    pub fn needs_no_labels(self) -> bool {
        self != Self::AccuracyGap
    }

    /// Its name where people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Labels => "label shares",
            Self::Confidence => "confidence",
            Self::Uncertainty => "uncertain verdicts",
            Self::Tokens => "review length",
            Self::Truncation => "truncated reviews",
            Self::UnknownTokens => "unknown tokens",
            Self::Languages => "languages",
            Self::CrossEntropy => "vocabulary",
            Self::Words => "new words",
            Self::Embedding => "embeddings",
            Self::AccuracyGap => "accuracy gap",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl SignalSettings {
    /// Two windows in a row, each of a kind that one clean window in a hundred is, with an effect of
    /// - labels, languages: L-infinity 0.05;
    /// - confidence, tokens: a stability index of 0.1, below which the industry calls a population stable;
    /// - uncertainty, truncation: five percentage points;
    /// - unknown tokens: half a percentage point;
    /// - cross-entropy: a fifth of the reference's standard deviation, Cohen's smallest named effect (1988);
    /// - words: a share of reviews that rose by two and a half percentage points;
    /// - embeddings: a discrepancy of 0.1;
    /// - accuracy gap: two percentage points, and three standard errors for significance.
    pub fn default_of(signal: Signal) -> Self {
        let effect_min = match signal {
            Signal::Labels | Signal::Languages | Signal::Uncertainty | Signal::Truncation => 0.05,
            Signal::Confidence | Signal::Tokens | Signal::Embedding => 0.1,
            Signal::UnknownTokens => 0.005,
            Signal::CrossEntropy => 0.2,
            Signal::Words => 0.025,
            Signal::AccuracyGap => 0.02,
        };
        let alpha = if signal == Signal::AccuracyGap { THREE_STANDARD_ERRORS } else { 0.01 };
        Self { enabled: true, alpha, effect_min, confirmation: Confirmation::InARow(2) }
    }
}

/// Probability that a normal variable is beyond three standard errors on either side.
const THREE_STANDARD_ERRORS: f64 = 0.002_699_796_063_260_2;

impl Settings {
    /// What holds for a signal.
    pub fn of(&self, signal: Signal) -> SignalSettings {
        let named = self.signals.get(&signal).copied();
        named.unwrap_or_else(|| SignalSettings::default_of(signal))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { reviews_min: 500, labels_min: 200, clear_windows: 2, signals: BTreeMap::new() }
    }
}
