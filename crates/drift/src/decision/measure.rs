//! One signal of one window against the reference: how large the difference is, and how surprising.

use serde::{Deserialize, Serialize};

use super::signal::{Settings, Signal};
use crate::{
    histogram::{merge_neighbours, merge_rare},
    number::{real, share},
    reference::Reference,
    statistics::{
        accuracy::Labelled,
        chi_square::ChiSquare,
        mean::{Deviations, Sample},
        rise::{Occurrences, Rise},
        stability::StabilityIndex,
    },
    window::Window,
};

/// Counts that a bin must expect of a window: the stability index takes logarithms, so it needs more than the five that do
/// for Pearson's statistic.
const EXPECTED_MIN_INDEX: u64 = 25;

/// Counts that a category must expect of a window (Cochran 1954, Some Methods for Strengthening the Common Chi-Square
/// Tests).
const EXPECTED_MIN_CATEGORY: u64 = 5;

/// A signal measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The test statistic.
    pub score: f64,
    /// The score that a clean window exceeds with the probability that the settings allow.
    pub threshold: f64,
    /// Probability that a clean window scores at least this.
    pub p: f64,
    /// Size of the difference, on the signal's own scale.
    pub effect: f64,
    /// The smallest effect that counts.
    pub effect_min: f64,
    /// Observations that the score rests on.
    pub n: u64,
    /// The reference's value and the window's, in units that people know.
    pub values: Values,
}

/// What people can picture of a difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Values {
    /// The label, the language or the bucket of words that moved most, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// In the reference.
    pub reference: f64,
    /// In the window.
    pub observed: f64,
}

/// A window, what it is compared with, and how.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The window.
    pub window: &'a Window,
    /// What it is compared with.
    pub reference: &'a Reference,
    /// How.
    pub settings: &'a Settings,
}

/// A score before it is held against a signal's smallest effect.
struct Score {
    statistic: f64,
    threshold: f64,
    p: f64,
    effect: f64,
    n: u64,
    values: Values,
}

/// A window beside its reference.
struct Beside<'a> {
    window: &'a Window,
    reference: &'a Reference,
    alpha: f64,
}

impl Comparison<'_> {
    /// Measures `signal` against what a clean window exceeds with probability `alpha`. None if the signal is switched off,
    /// if the reference says nothing of it, or if the window holds too little of it.
    pub fn measure(&self, signal: Signal, alpha: f64) -> Option<Measurement> {
        let own = self.settings.of(signal);
        let minimum = if signal.needs_no_labels() {
            self.settings.reviews_min
        } else {
            self.settings.labels_min
        };
        let beside = Beside { window: self.window, reference: self.reference, alpha };
        let score = own.enabled.then(|| beside.score(signal)).flatten()?;
        // Without a threshold there is nothing to judge: a single bin, or an alpha of nothing.
        if score.n < minimum.max(1) || !score.threshold.is_finite() {
            return None;
        }
        let Score { statistic, threshold, p, effect, n, values } = score;
        let effect_min = own.effect_min;
        Some(Measurement { score: statistic, threshold, p, effect, effect_min, n, values })
    }
}

impl Measurement {
    /// Whether the difference is significant and large enough to matter.
    pub fn has_drifted(&self) -> bool {
        self.threshold < self.score && self.effect_min <= self.effect
    }
}

impl Beside<'_> {
    fn score(&self, signal: Signal) -> Option<Score> {
        let (sums, profile) = (self.window.sums(), &self.reference.profile);
        match signal {
            Signal::Labels => {
                let name = |index| self.reference.labels().nth(index).unwrap_or_default();
                let counts = self.reference.label_counts();
                self.categories(&counts, &sums.labels, |index| name(index).to_owned())
            }
            Signal::Confidence => {
                let reference = profile.confidence_sum / real(profile.n);
                let observed = self.window.mean_confidence()?;
                let values = Values { subject: None, reference, observed };
                self.histogram(&self.reference.confidence.counts, &sums.confidence, values)
            }
            Signal::Uncertainty => self.proportion(profile.uncertain?, sums.uncertain),
            Signal::Tokens => {
                let reference = share(profile.text_tokens, profile.n);
                let observed = share(sums.token_sums.text, sums.n);
                let values = Values { subject: None, reference, observed };
                self.histogram(&self.reference.tokens.counts, &sums.tokens, values)
            }
            Signal::Truncation => self.proportion(profile.truncated, sums.truncated),
            Signal::UnknownTokens => self.unknown_tokens(),
            Signal::Languages => {
                let languages = self.reference.languages.as_ref()?;
                let name = |index| languages.name(index).to_owned();
                self.categories(&languages.counts, &sums.languages, name)
            }
            Signal::CrossEntropy => self.cross_entropy(),
            Signal::Words => self.words(),
            Signal::Embedding => self.embedding(),
            Signal::AccuracyGap => self.accuracy_gap(),
        }
    }

    /// Stability index of a histogram: score and effect are one.
    fn histogram(&self, reference: &[u64], observed: &[u64], values: Values) -> Option<Score> {
        let pair = merge_neighbours(reference, observed, EXPECTED_MIN_INDEX);
        let stability = StabilityIndex::of(&pair.reference, &pair.observed).ok()?;
        Some(Score {
            statistic: stability.index,
            threshold: stability.threshold(self.alpha),
            p: stability.p(),
            effect: stability.index,
            n: self.window.n(),
            values,
        })
    }

    /// Two-sample chi-square, with the largest difference of one share as effect.
    fn categories(
        &self,
        reference: &[u64],
        observed: &[u64],
        name: impl Fn(usize) -> String,
    ) -> Option<Score> {
        let pair = merge_rare(reference, observed, EXPECTED_MIN_CATEGORY);
        let test = ChiSquare::of(&pair.reference, &pair.observed).ok()?;
        let (references, n) = (self.reference.n(), self.window.n());
        let shares = reference.iter().zip(observed).map(|(&reference, &observed)| Values {
            subject: None,
            reference: share(reference, references),
            observed: share(observed, n),
        });
        let moved =
            shares.enumerate().max_by(|(_, one), (_, other)| one.size().total_cmp(&other.size()));
        let (index, values) = moved?;
        Some(Score {
            statistic: test.statistic,
            threshold: test.threshold(self.alpha),
            p: test.p(),
            effect: values.size(),
            n,
            values: Values { subject: Some(name(index)), ..values },
        })
    }

    /// Two-sample chi-square of a share of reviews, with its difference as effect.
    fn proportion(&self, reference: u64, observed: u64) -> Option<Score> {
        let (references, n) = (self.reference.n(), self.window.n());
        let table = |part: u64, whole: u64| whole.checked_sub(part).map(|rest| [part, rest]);
        let test = ChiSquare::of(&table(reference, references)?, &table(observed, n)?).ok()?;
        let values = Values {
            subject: None,
            reference: share(reference, references),
            observed: share(observed, n),
        };
        Some(Score {
            statistic: test.statistic,
            threshold: test.threshold(self.alpha),
            p: test.p(),
            effect: values.size(),
            n,
            values,
        })
    }

    /// A ratio of tokens with reviews as clusters. The reference has no squares, so its variance a review is taken to be the
    /// window's; and where the window shows less than independent tokens would, theirs is taken.
    fn unknown_tokens(&self) -> Option<Score> {
        let profile = &self.reference.profile;
        let sums = self.window.unknown_tokens();
        let (tokens, references) = (sums.denominator, real(profile.text_tokens));
        let pooled = (sums.numerator + real(profile.unknown_tokens)) / (tokens + references);
        let variance = sums.variance()?.max(pooled * (1.0 - pooled) / tokens);
        let error = (variance * (1.0 + tokens / references)).sqrt();
        let reference = share(profile.unknown_tokens, profile.text_tokens);
        let values = Values { subject: None, reference, observed: sums.ratio() };
        let deviations = if 0.0 < error { values.difference() / error } else { 0.0 };
        Some(self.deviations(Deviations(deviations), values.size(), self.window.n(), values))
    }

    fn cross_entropy(&self) -> Option<Score> {
        let held_out = self.reference.profile.cross_entropy?;
        let reference = Sample::from_sums(real(held_out.n), held_out.sum, held_out.squares)?;
        let observed = self.window.cross_entropy()?;
        let deviations = observed.deviations_from(&reference)?;
        let effect = observed.effect_against(&reference)?.abs();
        let values = Values { subject: None, reference: reference.mean, observed: observed.mean };
        Some(self.deviations(deviations, effect, self.window.sums().cross_entropy.n, values))
    }

    /// The bucket of words that rose most surprisingly, with its rise as effect.
    fn words(&self) -> Option<Score> {
        let held_out = self.reference.profile.words.as_ref()?;
        let sums = &self.window.sums().words;
        let [reference, observed] =
            [held_out, sums].map(|sums| Occurrences { n: sums.n, counts: sums.counts.counts() });
        let rise = Rise::of(reference, observed).ok()?;
        let values = |rise: Rise| Values {
            subject: Some(format!("bucket {}", rise.bucket)),
            reference: rise.reference,
            observed: rise.observed,
        };
        let nothing = Values { subject: None, reference: 0.0, observed: 0.0 };
        let (statistic, p) = rise.map_or((0.0, 1.0), |rise| (rise.score(), rise.p));
        let values = rise.map_or(nothing, values);
        let threshold = Rise::threshold(self.alpha);
        Some(Score { statistic, threshold, p, effect: values.difference(), n: sums.n, values })
    }

    fn embedding(&self) -> Option<Score> {
        let (_, moments) = self.reference.embedding()?;
        let n = self.window.sums().embedding.n;
        let mean = self.window.mean_embedding(self.reference)?;
        let discrepancy = moments.discrepancy(&mean, n)?;
        let effect = discrepancy.effect();
        Some(Score {
            statistic: discrepancy.squared,
            threshold: discrepancy.threshold(self.alpha),
            p: discrepancy.p(),
            effect,
            n,
            values: Values { subject: None, reference: 0.0, observed: effect },
        })
    }

    fn accuracy_gap(&self) -> Option<Score> {
        let labelled = &self.window.sums().labelled;
        let counts = Labelled { counts: &labelled.confidence, correct: labelled.correct };
        let gap = self.reference.calibration()?.gap(counts).ok()?;
        let values = Values { subject: None, reference: gap.estimated, observed: gap.realised };
        let deviations = Deviations(gap.deviations());
        Some(self.deviations(deviations, gap.difference().abs(), labelled.n(), values))
    }

    fn deviations(&self, deviations: Deviations, effect: f64, n: u64, values: Values) -> Score {
        let threshold = Deviations::threshold(self.alpha);
        Score { statistic: deviations.0.abs(), threshold, p: deviations.p(), effect, n, values }
    }
}

impl Values {
    /// How far the window's value lies above the reference's.
    pub fn difference(&self) -> f64 {
        self.observed - self.reference
    }

    fn size(&self) -> f64 {
        self.difference().abs()
    }
}
