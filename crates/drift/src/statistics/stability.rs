//! Population stability index: the industry's measure of a shifted histogram, with the threshold that it usually lacks.

use serde::{Deserialize, Serialize};

use super::{Comparable, Incomparable};
use crate::{number::real, tail};

/// Stands in for the share of an empty bin, whose logarithm would be infinite.
pub const SHARE_OF_NOTHING: f64 = 1e-4;

/// A population stability index, and what is needed to judge it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StabilityIndex {
    /// `PSI = sum_i (a_i - e_i) ln(a_i / e_i)` of the window's shares `a` and the reference's `e`: the symmetric divergence
    /// of Kullback and Leibler (1951, On Information and Sufficiency, section 2). Empty bins count as
    /// [`SHARE_OF_NOTHING`]; bins that are empty in both count as nothing.
    pub index: f64,
    /// Bins that are not empty in both.
    pub bins: u64,
    /// `1/n + 1/N` of the window's and the reference's counts.
    pub scatter: f64,
}

impl StabilityIndex {
    /// The index of `observed` against `reference`.
    pub fn of(reference: &[u64], observed: &[u64]) -> Result<Self, Incomparable> {
        let pair = Comparable::new(reference, observed)?;
        let full = |share: f64| if 0.0 < share { share } else { SHARE_OF_NOTHING };
        let both = pair.shares().map(|(expected, actual)| (full(expected), full(actual)));
        let index = both.map(|(expected, actual)| (actual - expected) * (actual / expected).ln());
        Ok(Self { index: index.sum(), bins: pair.bins(), scatter: pair.scatter() })
    }

    /// The index that two samples of one distribution exceed with probability `alpha`:
    /// `chi2(B - 1, 1 - alpha) (1/n + 1/N)` (Yurdakul 2018, Statistical Properties of Population Stability Index, the
    /// asymptotic distribution with both samples finite).
    pub fn threshold(&self, alpha: f64) -> f64 {
        tail::chi_square_critical(alpha, self.freedom()) * self.scatter
    }

    /// Probability that two samples of one distribution have at least this index, by the same asymptotics.
    pub fn p(&self) -> f64 {
        tail::chi_square(self.index / self.scatter, self.freedom())
    }

    fn freedom(&self) -> f64 {
        real(self.bins.saturating_sub(1))
    }
}
