//! What is computed of counts, samples and series; each of them a pure function or a small state that is fed.

pub mod accuracy;
pub mod adwin;
pub mod chi_square;
pub mod ddm;
pub mod divergence;
pub mod kolmogorov_smirnov;
pub mod mean;
pub mod mmd;
pub mod rise;
pub mod stability;

use crate::number::{count, share};

/// Why two histograms or samples cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incomparable {
    /// They do not have the same bins.
    #[error("the reference has {reference} bins, the window {observed}")]
    Bins {
        /// Bins of the reference.
        reference: usize,
        /// Bins of the window.
        observed: usize,
    },
    /// One of them is empty, or its sum is beyond counting.
    #[error("a reference or a window without a countable sum")]
    Uncountable,
    /// A sample has a value that is not a number.
    #[error("a sample with a value that is not a number")]
    NotANumber,
}

/// Two histograms that can be compared: same bins, neither empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparable<'a> {
    reference: &'a [u64],
    observed: &'a [u64],
    reference_total: u64,
    observed_total: u64,
}

impl<'a> Comparable<'a> {
    pub(crate) fn new(reference: &'a [u64], observed: &'a [u64]) -> Result<Self, Incomparable> {
        if reference.len() != observed.len() {
            let bins = Incomparable::Bins { reference: reference.len(), observed: observed.len() };
            return Err(bins);
        }
        let reference_total = total(reference)?;
        let observed_total = total(observed)?;
        // Both together stand in denominators.
        reference_total.checked_add(observed_total).ok_or(Incomparable::Uncountable)?;
        Ok(Self { reference, observed, reference_total, observed_total })
    }

    /// Shares of reference and window, bin by bin.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (f64, f64)> + 'a {
        let (reference_total, observed_total) = (self.reference_total, self.observed_total);
        self.counts().map(move |(reference, observed)| {
            (share(reference, reference_total), share(observed, observed_total))
        })
    }

    /// Counts of reference and window, bin by bin.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        self.reference.iter().copied().zip(self.observed.iter().copied())
    }

    /// Bins that are not empty in both; at least one.
    pub(crate) fn bins(&self) -> u64 {
        count(self.counts().filter(|&(reference, observed)| reference + observed != 0).count())
    }

    /// `1/n + 1/N`: how much two means of samples of these sizes scatter around each other.
    pub(crate) fn scatter(&self) -> f64 {
        scatter(self.observed_total, self.reference_total)
    }
}

/// `1/n + 1/N`.
pub(crate) fn scatter(observations: u64, reference: u64) -> f64 {
    share(1, observations) + share(1, reference)
}

fn total(counts: &[u64]) -> Result<u64, Incomparable> {
    let sum = counts.iter().try_fold(0_u64, |sum, &next| sum.checked_add(next));
    sum.filter(|&sum| 0 < sum).ok_or(Incomparable::Uncountable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let refusal = |reference: &[u64], observed: &[u64]| {
            Comparable::new(reference, observed).map(|_| ()).unwrap_err()
        };
        assert_eq!(refusal(&[1], &[1, 2]), Incomparable::Bins { reference: 1, observed: 2 });
        for (reference, observed) in
            [(&[0, 0][..], &[1, 1][..]), (&[1, 1], &[0, 0]), (&[], &[]), (&[u64::MAX, 1], &[1, 1])]
        {
            assert_eq!(refusal(reference, observed), Incomparable::Uncountable);
        }
        assert_eq!(refusal(&[u64::MAX], &[1]), Incomparable::Uncountable);
    }
}
