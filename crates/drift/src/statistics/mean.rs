//! Means and ratios of means, with the deviations that sums and sums of squares give.

use serde::{Deserialize, Serialize};

use crate::tail;

/// A difference in units of its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deviations(pub f64);

impl Deviations {
    /// Probability of being at least that far from zero by chance, in the limit of large samples.
    pub fn p(self) -> f64 {
        tail::normal_both_sides(self.0)
    }

    /// How far from zero chance gets with probability `alpha`.
    pub fn threshold(alpha: f64) -> f64 {
        tail::normal_both_sides_critical(alpha)
    }
}

/// A sample by its size, its mean and its variance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Size.
    pub size: f64,
    /// Mean.
    pub mean: f64,
    /// Variance, over `size` less one.
    pub variance: f64,
}

impl Sample {
    /// From sums of values and of squares. None of fewer than two values.
    pub fn from_sums(size: f64, sum: f64, squares: f64) -> Option<Self> {
        if size.is_nan() || size < 2.0 {
            return None;
        }
        let mean = sum / size;
        // Rounding may leave a hair below zero.
        let variance = ((squares - size * mean * mean) / (size - 1.0)).max(0.0);
        Some(Self { size, mean, variance })
    }

    /// `z = (m - M) / sqrt(s^2 / n + S^2 / N)` (Welch 1938, The Significance of the Difference between Two Means when the
    /// Population Variances are Unequal, his v; by the normal distribution, as windows hold hundreds). None without any
    /// variance.
    pub fn deviations_from(&self, reference: &Self) -> Option<Deviations> {
        let error = (self.variance / self.size + reference.variance / reference.size).sqrt();
        (0.0 < error).then(|| Deviations((self.mean - reference.mean) / error))
    }

    /// Difference of the means in deviations of the reference (Glass 1976, Primary, Secondary, and Meta-Analysis of
    /// Research, the delta with the control group's deviation). None if the reference has none.
    pub fn effect_against(&self, reference: &Self) -> Option<f64> {
        let deviation = reference.variance.sqrt();
        (0.0 < deviation).then(|| (self.mean - reference.mean) / deviation)
    }
}

/// Sums over units of a numerator `u` and a denominator `t`: unknown tokens and tokens of reviews, say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RatioSums {
    /// Units.
    pub size: f64,
    /// Sum of `u`.
    pub numerator: f64,
    /// Sum of `t`.
    pub denominator: f64,
    /// Sum of `u^2`.
    pub numerator_squares: f64,
    /// Sum of `t^2`.
    pub denominator_squares: f64,
    /// Sum of `u t`.
    pub products: f64,
}

impl RatioSums {
    /// `r = sum u / sum t`; 0 of nothing.
    pub fn ratio(&self) -> f64 {
        if 0.0 < self.denominator { self.numerator / self.denominator } else { 0.0 }
    }

    /// Variance of the ratio with the units as clusters: `n / (n - 1) sum (u - r t)^2 / (sum t)^2` (Cochran 1977, Sampling
    /// Techniques, section 6.4, without the finite population correction). Tokens of one review are not independent, so
    /// their plain binomial variance would be too small. None of fewer than two units or without a denominator.
    pub fn variance(&self) -> Option<f64> {
        if !(2.0 <= self.size && 0.0 < self.denominator) {
            return None;
        }
        let ratio = self.ratio();
        let residuals = self.numerator_squares - 2.0 * ratio * self.products
            + ratio * ratio * self.denominator_squares;
        let correction = self.size / (self.size - 1.0);
        Some(correction * residuals.max(0.0) / (self.denominator * self.denominator))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_too_few_values_or_without_variance_say_nothing() {
        assert_eq!(Sample::from_sums(1.0, 3.0, 9.0), None);
        assert_eq!(Sample::from_sums(f64::NAN, 3.0, 9.0), None);
        let constant = Sample::from_sums(2.0, 6.0, 18.0).unwrap();
        assert_eq!(constant.deviations_from(&constant), None);
        assert_eq!(constant.effect_against(&constant), None);
    }

    #[test]
    fn a_ratio_of_equal_units_has_no_variance() {
        let sums = RatioSums {
            size: 2.0,
            numerator: 2.0,
            denominator: 20.0,
            numerator_squares: 2.0,
            denominator_squares: 200.0,
            products: 20.0,
        };
        assert!((sums.ratio() - 0.1).abs() < 1e-12);
        assert!(sums.variance().unwrap() < 1e-12);
        assert_eq!(RatioSums::default().variance(), None);
    }
}
