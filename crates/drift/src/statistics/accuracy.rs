//! Accuracy without labels, with some labels, and what it means that the two differ.
//!
//! What is computed without labels is always called estimated: it assumes that the model is as right at each confidence as
//! it was on held-out data, and so cannot see that what is right has changed.

use serde::{Deserialize, Serialize};

use super::Incomparable;
use crate::number::{real, share};

/// A number with its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
}

/// How often held-out verdicts were right, by bins of confidence.
#[derive(Clone, Copy, Debug)]
pub struct Calibration<'a> {
    /// Verdicts in each bin.
    pub counts: &'a [u64],
    /// Of these, right ones.
    pub correct: &'a [u64],
}

/// Labelled verdicts of a window.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// Labelled verdicts by the bin of their confidence.
    pub counts: &'a [u64],
    /// Of all of these, right ones.
    pub correct: u64,
}

/// Estimated accuracy less realised accuracy, over the same verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// As [`Calibration::estimated`] has it for the labelled verdicts.
    pub estimated: f64,
    /// Share of them that were right.
    pub realised: f64,
    /// Of the difference, were the calibration still true.
    pub standard_error: f64,
}

/// Accuracy estimated from calibrated confidences alone: their mean (confidence-based performance estimation, CBPE;
/// `NannyML`, Deep Dive: Confidence-based Performance Estimation, accuracy as the expected diagonal of the confusion matrix).
/// Standard error `sqrt(a (1 - a) / n)` with the reference's realised accuracy `a`, as `NannyML`'s sampling error. None
/// without verdicts or reference.
pub fn mean_confidence(sum: f64, n: u64, reference: (u64, u64)) -> Option<Estimate> {
    let (correct, references) = reference;
    if n == 0 || references == 0 || references < correct {
        return None;
    }
    let accuracy = share(correct, references);
    let standard_error = (accuracy * (1.0 - accuracy) / real(n)).sqrt();
    Some(Estimate { value: sum / real(n), standard_error })
}

/// Accuracy of the verdicts that got a label, with the standard error of a share, `sqrt(a (1 - a) / m)`. None without labels.
pub fn realised(correct: u64, labelled: u64) -> Option<Estimate> {
    if labelled == 0 || labelled < correct {
        return None;
    }
    let value = share(correct, labelled);
    let standard_error = (value * (1.0 - value) / real(labelled)).sqrt();
    Some(Estimate { value, standard_error })
}

/// Coverage: the share of verdicts that got a label, `m / n`. What is realised over little coverage says little of the rest.
pub fn coverage(labelled: u64, n: u64) -> f64 {
    share(labelled, n)
}

impl Calibration<'_> {
    /// Estimated accuracy `sum_b w_b a_b` of a window with shares `w_b` in the bins of confidence, where `a_b` is the share
    /// of right ones that held-out data had there: CBPE with the confidences calibrated once more, by histogram binning
    /// (Zadrozny & Elkan 2001, Obtaining Calibrated Probability Estimates from Decision Trees and Naive Bayesian
    /// Classifiers).
    ///
    /// Standard error `sqrt(a (1 - a) / n + sum_b w_b^2 a_b (1 - a_b) / N_b)`: the first term is how far the window's own
    /// accuracy scatters, the second how well held-out data knows `a_b`.
    pub fn estimated(&self, window: &[u64]) -> Result<Estimate, Incomparable> {
        let weighted = self.weighted(window)?;
        let sampling = weighted.mean * (1.0 - weighted.mean) / real(weighted.total);
        let standard_error = (sampling.max(0.0) + weighted.calibration_variance).sqrt();
        Ok(Estimate { value: weighted.mean, standard_error })
    }

    /// The gap between estimated and realised accuracy of labelled verdicts. With `m_b` of `m` labelled verdicts in bin b,
    /// its variance is `sum_b m_b a_b (1 - a_b) / m^2`, that of a sum of independent trials with known odds (Poisson
    /// 1837), plus the second term of [`Self::estimated`].
    pub fn gap(&self, labelled: Labelled<'_>) -> Result<Gap, Incomparable> {
        let weighted = self.weighted(labelled.counts)?;
        if weighted.total < labelled.correct {
            return Err(Incomparable::Uncountable);
        }
        let variance =
            weighted.trial_variance / real(weighted.total) + weighted.calibration_variance;
        Ok(Gap {
            estimated: weighted.mean,
            realised: share(labelled.correct, weighted.total),
            standard_error: variance.sqrt(),
        })
    }

    fn weighted(&self, window: &[u64]) -> Result<Weighted, Incomparable> {
        let (reference, observed) = (self.counts.len(), window.len());
        if reference != observed || self.correct.len() != reference {
            return Err(Incomparable::Bins { reference, observed });
        }
        let total = super::total(window)?;
        let mut weighted =
            Weighted { total, mean: 0.0, trial_variance: 0.0, calibration_variance: 0.0 };
        let bins = self.counts.iter().zip(self.correct).zip(window);
        for ((&count, &correct), &seen) in bins.filter(|&(_, &seen)| 0 < seen) {
            // The rule of succession: a bin with nothing in it says nothing, and one without errors is not infallible.
            let accuracy = (real(correct) + 1.0) / (real(count) + 2.0);
            let variance = accuracy * (1.0 - accuracy);
            let weight = share(seen, total);
            weighted.mean += weight * if count == 0 { accuracy } else { share(correct, count) };
            weighted.trial_variance += weight * variance;
            weighted.calibration_variance += weight * weight * variance / real(count.max(1));
        }
        Ok(weighted)
    }
}

/// Sums over bins, each weighted by the share of verdicts in it.
struct Weighted {
    total: u64,
    mean: f64,
    /// `sum_b w_b a_b (1 - a_b)`.
    trial_variance: f64,
    /// `sum_b w_b^2 a_b (1 - a_b) / N_b`.
    calibration_variance: f64,
}

impl Gap {
    /// Estimated less realised: positive where the model is worse than it believes.
    pub fn difference(&self) -> f64 {
        self.estimated - self.realised
    }

    /// The difference in standard errors; 0 if there is no error to measure with.
    pub fn deviations(&self) -> f64 {
        if 0.0 < self.standard_error { self.difference() / self.standard_error } else { 0.0 }
    }

    /// Whether the difference lies beyond so many standard errors, three by convention.
    pub fn is_beyond(&self, standard_errors: f64) -> bool {
        standard_errors < self.deviations().abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD_OUT: Calibration<'static> = Calibration { counts: &[100, 100], correct: &[60, 90] };

    #[test]
    fn the_estimate_follows_where_confidence_moves() {
        let low = HELD_OUT.estimated(&[50, 0]).unwrap();
        let high = HELD_OUT.estimated(&[0, 50]).unwrap();
        assert!((low.value - 0.6).abs() < 1e-12 && (high.value - 0.9).abs() < 1e-12);
        assert!(high.standard_error < low.standard_error);
    }

    #[test]
    fn a_gap_opens_only_where_labels_disagree_with_the_calibration() {
        let gap = |correct| HELD_OUT.gap(Labelled { counts: &[200, 200], correct }).unwrap();
        assert!(!gap(300).is_beyond(3.0) && gap(300).difference().abs() < 1e-12);
        assert!(gap(240).is_beyond(3.0) && 0.0 < gap(240).difference());
        assert!(gap(360).is_beyond(3.0) && gap(360).difference() < 0.0);
    }

    #[test]
    fn without_verdicts_labels_or_fitting_bins_nothing_is_said() {
        assert_eq!(realised(0, 0), None);
        assert_eq!(realised(2, 1), None);
        assert_eq!(mean_confidence(0.0, 0, (1, 2)), None);
        assert_eq!(mean_confidence(1.0, 1, (0, 0)), None);
        assert!(HELD_OUT.estimated(&[0, 0]).is_err());
        assert!(HELD_OUT.estimated(&[1]).is_err());
        assert!(HELD_OUT.gap(Labelled { counts: &[1, 1], correct: 3 }).is_err());
        assert!(coverage(0, 0) < 1e-12);
    }
}
