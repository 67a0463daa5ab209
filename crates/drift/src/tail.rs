//! Tail probabilities and the values that are exceeded with a given one.
//!
//! Chi-square, normal and binomial are those of `statrs`, guarded against what its functions panic on; Kolmogorov's, which it lacks,
//! is summed here.

use statrs::{
    distribution::{ChiSquared, ContinuousCDF},
    function::{beta, erf},
};

use crate::number::real;

/// Probability that a chi-square variable of `freedom` degrees exceeds `statistic`: `Q(freedom / 2, statistic / 2)`
/// (Abramowitz & Stegun 1964, eq. 26.4.19). 1 where either is not positive.
pub fn chi_square(statistic: f64, freedom: f64) -> f64 {
    if !(0.0 < statistic && freedom.is_finite()) {
        return 1.0;
    }
    if statistic == f64::INFINITY {
        return 0.0;
    }
    ChiSquared::new(freedom).map_or(1.0, |distribution| distribution.sf(statistic))
}

/// The value that a chi-square variable of `freedom` degrees exceeds with probability `alpha`. Infinite, so that nothing
/// exceeds it, where there is none.
pub fn chi_square_critical(alpha: f64, freedom: f64) -> f64 {
    if !(0.0 < alpha && alpha < 1.0 && freedom.is_finite()) {
        return f64::INFINITY;
    }
    let quantile = |distribution: ChiSquared| distribution.inverse_cdf(1.0 - alpha);
    ChiSquared::new(freedom).map_or(f64::INFINITY, quantile)
}

/// Probability that a standard normal variable is further from zero than `deviations`: `erfc(z / sqrt 2)` (Abramowitz &
/// Stegun 1964, eq. 26.2.29). 1 where it is not a number.
pub fn normal_both_sides(deviations: f64) -> f64 {
    if deviations.is_nan() { 1.0 } else { erf::erfc(deviations.abs() / std::f64::consts::SQRT_2) }
}

/// The distance from zero that a standard normal variable exceeds with probability `alpha`. Infinite where there is none.
pub fn normal_both_sides_critical(alpha: f64) -> f64 {
    if 0.0 < alpha && alpha < 1.0 {
        erf::erfc_inv(alpha) * std::f64::consts::SQRT_2
    } else {
        f64::INFINITY
    }
}

/// Probability that of `n` trials that succeed with probability `chance` at least `successes` do: `I_chance(s, n - s + 1)`
/// (Abramowitz & Stegun 1964, eq. 26.5.24). 1 where that is no question.
pub fn binomial(successes: u64, n: u64, chance: f64) -> f64 {
    let Some(failures) = n.checked_sub(successes).filter(|_| 0 < successes) else { return 1.0 };
    let tail = beta::checked_beta_reg(real(successes), real(failures) + 1.0, chance);
    tail.map_or(1.0, |tail| tail.clamp(0.0, 1.0))
}

/// Probability that Kolmogorov's limit exceeds `x`: `2 sum_k (-1)^(k-1) exp(-2 k^2 x^2)` (Kolmogorov 1933; Smirnov 1948,
/// Table for Estimating the Goodness of Fit of Empirical Distributions). Below 1, where that series converges slowly, by its theta-function
/// twin `1 - sqrt(2 pi) / x sum_k exp(-(2k-1)^2 pi^2 / (8 x^2))` (Marsaglia, Tsang & Wang 2003, section 1).
pub fn kolmogorov(x: f64) -> f64 {
    /// Terms beyond these are below the precision of a double on either side of 1.
    const TERMS: i32 = 8;
    if x.is_nan() || x <= 0.0 {
        return 1.0;
    }
    if x < 1.0 {
        let exponent = std::f64::consts::PI.powi(2) / (8.0 * x * x);
        let term = |k: i32| (-f64::from(2 * k - 1).powi(2) * exponent).exp();
        let sum: f64 = (1..=TERMS).map(term).sum();
        return (1.0 - std::f64::consts::TAU.sqrt() / x * sum).clamp(0.0, 1.0);
    }
    let term = |k: i32| {
        let magnitude = (-2.0 * f64::from(k).powi(2) * x * x).exp();
        if k % 2 == 0 { -magnitude } else { magnitude }
    };
    (2.0 * (1..=TERMS).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_tail_is_never_significant() {
        for statistic in [f64::NAN, -1.0, 0.0] {
            assert!(0.999 < chi_square(statistic, 9.0), "{statistic}");
            assert!(0.999 < kolmogorov(statistic), "{statistic}");
        }
        for freedom in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            assert!(0.999 < chi_square(5.0, freedom), "{freedom}");
            assert!(chi_square_critical(0.001, freedom).is_infinite(), "{freedom}");
        }
        for alpha in [f64::NAN, -0.1, 0.0, 1.0, 2.0] {
            assert!(chi_square_critical(alpha, 9.0).is_infinite(), "{alpha}");
            assert!(normal_both_sides_critical(alpha).is_infinite(), "{alpha}");
        }
        for (successes, n, chance) in [(0, 5, 0.5), (6, 5, 0.5), (1, 5, f64::NAN), (1, 5, 1.5)] {
            assert!(0.999 < binomial(successes, n, chance), "{successes} of {n}, {chance}");
        }
        assert!(chi_square(f64::INFINITY, 9.0) < 1e-300);
        assert!(kolmogorov(f64::INFINITY) < 1e-300);
        assert!(0.999 < normal_both_sides(f64::NAN));
    }

    #[test]
    fn both_series_of_kolmogorov_meet() {
        assert!((kolmogorov(1.0 - 1e-12) - kolmogorov(1.0)).abs() < 1e-11);
    }
}
