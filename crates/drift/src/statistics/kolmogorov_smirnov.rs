//! The test of Kolmogorov and Smirnov for two samples, raw or as histograms.

use serde::{Deserialize, Serialize};

use super::{Comparable, Incomparable};
use crate::{
    number::{count, share},
    tail,
};

/// A distance with its asymptotic probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KolmogorovSmirnov {
    /// `D = sup_x |F(x) - G(x)|` of the empirical distribution functions (Smirnov 1939).
    pub distance: f64,
    /// Probability that two samples of one continuous distribution are at least that far apart, in the limit of large ones:
    /// `Q(D sqrt(nN / (n + N)))` with Kolmogorov's `Q`, see [`tail::kolmogorov`].
    pub p: f64,
}

impl KolmogorovSmirnov {
    /// The test of two raw samples, in any order. Ties are stepped over together.
    pub fn of_samples(reference: &[f64], observed: &[f64]) -> Result<Self, Incomparable> {
        if reference.iter().chain(observed).any(|value| value.is_nan()) {
            return Err(Incomparable::NotANumber);
        }
        let (references, observations) = (count(reference.len()), count(observed.len()));
        if references == 0 || observations == 0 {
            return Err(Incomparable::Uncountable);
        }
        let reference = reference.iter().map(|&value| (value, 1, 0));
        let observed = observed.iter().map(|&value| (value, 0, 1));
        let mut values: Vec<(f64, u64, u64)> = reference.chain(observed).collect();
        values.sort_unstable_by(|left, right| left.0.total_cmp(&right.0));
        #[expect(clippy::float_cmp, reason = "ties are equal, not near")]
        let ties = values.chunk_by(|left, right| left.0 == right.0);
        let steps = ties.map(|tie| {
            tie.iter().fold((0, 0), |sum, &(_, left, right)| (sum.0 + left, sum.1 + right))
        });
        Ok(Self::new(steps, references, observations))
    }

    /// The test of two histograms on the same ascending bins. The distance is looked at between bins only, so it is at most
    /// the one of the raw samples, and the probability at least theirs: it errs towards silence.
    pub fn of_histograms(reference: &[u64], observed: &[u64]) -> Result<Self, Incomparable> {
        let pair = Comparable::new(reference, observed)?;
        Ok(Self::new(pair.counts(), pair.reference_total, pair.observed_total))
    }

    /// From the counts of both at ascending values.
    fn new(steps: impl Iterator<Item = (u64, u64)>, references: u64, observations: u64) -> Self {
        let (mut below, mut seen_below, mut distance) = (0, 0, 0.0_f64);
        for (reference, observed) in steps {
            below += reference;
            seen_below += observed;
            let step = share(below, references) - share(seen_below, observations);
            distance = distance.max(step.abs());
        }
        let size = 1.0 / super::scatter(observations, references);
        Self { distance, p: tail::kolmogorov(distance * size.sqrt()) }
    }
}
