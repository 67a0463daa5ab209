//! Distances between shares, for people to read: bounded, symmetric, without a test of their own.

use super::{Comparable, Incomparable};

/// Jensen-Shannon divergence in bits, 0 to 1: `JSD = (KL(p|m) + KL(q|m)) / 2` with `m = (p + q) / 2` and logarithms to
/// base 2 (Lin 1991, Divergence Measures Based on the Shannon Entropy, eq. 4.1 with equal weights).
pub fn jensen_shannon_divergence(reference: &[u64], observed: &[u64]) -> Result<f64, Incomparable> {
    let pair = Comparable::new(reference, observed)?;
    let term = |share: f64, middle: f64| {
        if 0.0 < share { share * (share / middle).log2() } else { 0.0 }
    };
    let sum: f64 = pair
        .shares()
        .map(|(expected, actual)| {
            let middle = f64::midpoint(expected, actual);
            term(expected, middle) + term(actual, middle)
        })
        .sum();
    // Rounding may leave it a hair outside.
    Ok((sum / 2.0).clamp(0.0, 1.0))
}

/// Jensen-Shannon distance, 0 to 1: the square root of the divergence to base 2, and a metric (Endres & Schindelin 2003,
/// A New Metric for Probability Distributions).
pub fn jensen_shannon_distance(reference: &[u64], observed: &[u64]) -> Result<f64, Incomparable> {
    jensen_shannon_divergence(reference, observed).map(f64::sqrt)
}

/// Largest difference of one share, 0 to 1: `max_i |a_i - e_i|` (Breck et al. 2019, Data Validation for Machine Learning).
pub fn l_infinity(reference: &[u64], observed: &[u64]) -> Result<f64, Incomparable> {
    let pair = Comparable::new(reference, observed)?;
    let differences = pair.shares().map(|(expected, actual)| (actual - expected).abs());
    Ok(differences.fold(0.0, f64::max))
}
