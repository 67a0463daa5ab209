//! Pearson's chi-square test of two samples of categories.

use serde::{Deserialize, Serialize};

use super::{Comparable, Incomparable};
use crate::{
    number::{real, share},
    tail,
};

/// A statistic with its degrees of freedom.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChiSquare {
    /// `sum (O - E)^2 / E` over both rows of the table, expected counts from its margins and without Yates' correction
    /// (Pearson 1911, On the Probability that Two Independent Distributions of Frequency are really Samples from the Same
    /// Population).
    pub statistic: f64,
    /// Categories that are not empty in both, less one.
    pub freedom: u64,
}

impl ChiSquare {
    /// The test of `observed` against `reference`.
    pub fn of(reference: &[u64], observed: &[u64]) -> Result<Self, Incomparable> {
        let pair = Comparable::new(reference, observed)?;
        let both = pair.reference_total + pair.observed_total;
        let term = |count: u64, margin: u64, total: u64| {
            let expected = real(margin) * share(total, both);
            (real(count) - expected).powi(2) / expected
        };
        let statistic = pair
            .counts()
            .filter(|&(reference, observed)| reference + observed != 0)
            .map(|(reference, observed)| {
                let margin = reference + observed;
                term(reference, margin, pair.reference_total)
                    + term(observed, margin, pair.observed_total)
            })
            .sum();
        Ok(Self { statistic, freedom: pair.bins().saturating_sub(1) })
    }

    /// Probability that two samples of one distribution have at least this statistic.
    pub fn p(&self) -> f64 {
        tail::chi_square(self.statistic, real(self.freedom))
    }

    /// The statistic that two samples of one distribution exceed with probability `alpha`.
    pub fn threshold(&self, alpha: f64) -> f64 {
        tail::chi_square_critical(alpha, real(self.freedom))
    }
}
