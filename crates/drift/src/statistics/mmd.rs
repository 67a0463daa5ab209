//! Maximum mean discrepancy: whether two crowds of embeddings are one crowd.
//!
//! By random Fourier features the mean embedding of a crowd is a short vector, so windows add up, and the discrepancy of
//! two crowds is the distance of two vectors.

use serde::{Deserialize, Serialize};

use super::scatter;
use crate::{
    fourier::{FourierMap, FourierSettings},
    number::{count, real},
    projection::Projected,
    tail,
};

/// How held-out embeddings look through a map of Fourier features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingMoments {
    /// Seed of the projection from the pooled embedding.
    pub projection_seed: u64,
    /// The map.
    pub fourier: FourierSettings,
    /// Embeddings.
    pub n: u64,
    /// Mean of each feature.
    pub mean: Vec<f64>,
    /// Traces of the features' covariance matrix and of its second and third power: all that the null distribution needs.
    pub covariance_traces: [f64; 3],
}

/// A squared discrepancy, and what is needed to judge it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Discrepancy {
    /// `MMD^2 = |mean z(X) - mean z(Y)|^2`, the biased estimate (Gretton et al. 2012, A Kernel Two-Sample Test, eq. 5) with
    /// the kernel of Rahimi & Recht (2007).
    pub squared: f64,
    /// Its distribution where both crowds are one.
    null: Null,
}

/// Sums of the first three powers of the weights `l_i` in `sum_i l_i chi2(1)`: eigenvalues of the covariance times
/// `1/n + 1/N`, whose sums are traces, so that nobody computes eigenvalues.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Null {
    sums: [f64; 3],
}

impl EmbeddingMoments {
    /// The moments of held-out embeddings. None of fewer than two.
    pub fn of_sample(map: &FourierMap, projection_seed: u64, sample: &[Projected]) -> Option<Self> {
        let size = real(count(sample.len()));
        if sample.len() < 2 {
            return None;
        }
        let rows: Vec<Vec<f64>> = sample.iter().map(|one| map.features(one)).collect();
        let features = map.settings().features;
        let mut mean = vec![0.0; features];
        for row in &rows {
            for (sum, feature) in mean.iter_mut().zip(row) {
                *sum += feature / size;
            }
        }
        let mut covariance = Matrix::zero(features);
        for row in &rows {
            let centred: Vec<f64> = row.iter().zip(&mean).map(|(x, mean)| x - mean).collect();
            covariance.add_square(&centred, 1.0 / (size - 1.0));
        }
        let covariance_traces = covariance.power_traces();
        let (fourier, n) = (map.settings(), count(sample.len()));
        Some(Self { projection_seed, fourier, n, mean, covariance_traces })
    }

    /// The discrepancy of a window's mean features, over `n` of its embeddings.
    pub fn discrepancy(&self, mean: &[f64], n: u64) -> Option<Discrepancy> {
        let differences = mean.iter().zip(&self.mean).map(|(here, there)| (here - there).powi(2));
        (mean.len() == self.mean.len()).then(|| self.judged(differences.sum(), n)).flatten()
    }

    /// A squared discrepancy of a window with `n` embeddings beside its null distribution. None of no embeddings.
    pub fn judged(&self, squared: f64, n: u64) -> Option<Discrepancy> {
        if n == 0 || self.n == 0 {
            return None;
        }
        let scale = scatter(n, self.n);
        let [first, second, third] = self.covariance_traces;
        let sums = [first * scale, second * scale.powi(2), third * scale.powi(3)];
        Some(Discrepancy { squared, null: Null { sums } })
    }
}

impl Discrepancy {
    /// Probability that two samples of one distribution have at least this discrepancy. The null distribution is
    /// `sum_i l_i chi2(1)` (Gretton et al. 2012, theorem 12), here by the chi-square with the same mean, variance and
    /// skewness (Pearson's three-moment approximation; Imhof 1961, Computing the Distribution of Quadratic Forms in Normal
    /// Variables, section 4). Against the exact distribution its threshold is some percent low in the far tail.
    pub fn p(&self) -> f64 {
        let statistic = self.null.freedom() + (self.squared - self.null.mean()) * self.null.slope();
        tail::chi_square(statistic, self.null.freedom())
    }

    /// The squared discrepancy that two samples of one distribution exceed with probability `alpha`.
    pub fn threshold(&self, alpha: f64) -> f64 {
        let critical = tail::chi_square_critical(alpha, self.null.freedom());
        self.null.mean() + (critical - self.null.freedom()) / self.null.slope()
    }

    /// The discrepancy less what chance alone is expected to add, on the kernel's scale of 0 to the square root of 2.
    pub fn effect(&self) -> f64 {
        (self.squared - self.null.mean()).max(0.0).sqrt()
    }
}

impl Null {
    fn mean(self) -> f64 {
        let [first, _, _] = self.sums;
        first
    }

    /// Degrees of freedom `h = c2^3 / c3^2`.
    fn freedom(self) -> f64 {
        let [_, second, third] = self.sums;
        second.powi(3) / third.powi(2)
    }

    /// `sqrt(h / c2)`: from deviations of the discrepancy to those of the chi-square.
    fn slope(self) -> f64 {
        let [_, second, third] = self.sums;
        second / third
    }
}

/// A symmetric matrix, row after row.
struct Matrix {
    rows: Vec<Vec<f64>>,
}

impl Matrix {
    fn zero(size: usize) -> Self {
        Self { rows: vec![vec![0.0; size]; size] }
    }

    /// Adds `weight * x x^T`.
    fn add_square(&mut self, x: &[f64], weight: f64) {
        for (row, left) in self.rows.iter_mut().zip(x) {
            for (sum, right) in row.iter_mut().zip(x) {
                *sum += weight * left * right;
            }
        }
    }

    /// `tr(S)`, `tr(S^2)` and `tr(S^3)`. Of symmetric matrices `tr(AB)` is the sum of products of their elements.
    fn power_traces(&self) -> [f64; 3] {
        let dot = |left: &[f64], right: &[f64]| -> f64 {
            left.iter().zip(right).map(|(x, y)| x * y).sum()
        };
        let trace = self.rows.iter().enumerate().filter_map(|(index, row)| row.get(index)).sum();
        let square: f64 = self.rows.iter().map(|row| dot(row, row)).sum();
        let cube = self.rows.iter().flat_map(|left| {
            self.rows.iter().zip(left).map(move |(right, element)| element * dot(left, right))
        });
        [trace, square, cube.sum()]
    }
}
