//! Random Fourier features: a Gaussian kernel becomes a sum of cosines, and a crowd's mean becomes something to add up.

use serde::{Deserialize, Serialize};

use crate::{
    number::{count, real},
    projection::{DIMENSIONS, Projected},
    random::SplitMix64,
};

/// Most features of one map.
pub const FEATURES_MAX: usize = 512;

/// What determines a map of random Fourier features.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FourierSettings {
    /// Seed of frequencies and phases.
    pub seed: u64,
    /// Number of features, 1 to [`FEATURES_MAX`]. The kernel's error falls with its square root.
    pub features: usize,
    /// Width of the Gaussian kernel in steps of the projection; the median distance of held-out data serves well
    /// (Gretton et al. 2012, A Kernel Two-Sample Test, section 8).
    pub bandwidth: f64,
}

/// Why settings give no map.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{} Fourier features of bandwidth {}", .0.features, .0.bandwidth)]
pub struct InvalidFourier(FourierSettings);

/// The map `z_k(x) = sqrt(2 / D) cos(w_k . x + b_k)` with `w_k` normal of deviation `1 / bandwidth` and `b_k` uniform on a
/// full turn, for which `z(x) . z(y)` approaches `exp(-|x - y|^2 / (2 bandwidth^2))` (Rahimi & Recht 2007, Random Features
/// for Large-Scale Kernel Machines, algorithm 1 and claim 1).
#[derive(Clone, Debug, PartialEq)]
pub struct FourierMap {
    settings: FourierSettings,
    waves: Vec<Wave>,
}

#[derive(Clone, Debug, PartialEq)]
struct Wave {
    frequency: [f64; DIMENSIONS],
    phase: f64,
}

impl FourierMap {
    /// The map of these settings: wave after wave sixteen frequencies, then the phase, from one seeded sequence.
    pub fn new(settings: FourierSettings) -> Result<Self, InvalidFourier> {
        let is_valid = (1..=FEATURES_MAX).contains(&settings.features)
            && settings.bandwidth.is_normal()
            && 0.0 < settings.bandwidth;
        if !is_valid {
            return Err(InvalidFourier(settings));
        }
        let mut generator = SplitMix64::new(settings.seed);
        let mut wave = || Wave {
            frequency: std::array::from_fn(|_| generator.normal() / settings.bandwidth),
            phase: std::f64::consts::TAU * generator.uniform(),
        };
        let waves = (0..settings.features).map(|_| wave()).collect();
        Ok(Self { settings, waves })
    }

    /// What determines it.
    pub fn settings(&self) -> FourierSettings {
        self.settings
    }

    /// `cos(w_k . x + b_k)` of each feature: within -1 and 1, hence fit for a fixed-point sum, and without the factor.
    pub(crate) fn cosines<'a>(
        &'a self,
        projected: &'a Projected,
    ) -> impl Iterator<Item = f64> + 'a {
        self.waves.iter().map(move |wave| {
            let pairs = wave.frequency.iter().zip(projected);
            let angle: f64 = pairs.map(|(w, &x)| w * f64::from(x)).sum();
            (angle + wave.phase).cos()
        })
    }

    /// The factor `sqrt(2 / D)` from a cosine to a feature.
    pub(crate) fn factor(&self) -> f64 {
        (2.0 / real(count(self.waves.len()))).sqrt()
    }

    /// The features of one projected embedding.
    pub fn features(&self, projected: &Projected) -> Vec<f64> {
        self.cosines(projected).map(|cosine| self.factor() * cosine).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_features_approach_the_gaussian_kernel() {
        let settings = FourierSettings { seed: 3, features: FEATURES_MAX, bandwidth: 60.0 };
        let map = FourierMap::new(settings).unwrap();
        let here: Projected = std::array::from_fn(|_| 10);
        for step in [0_i8, 5, 15, 30] {
            let there = here.map(|x| x + step);
            let product: f64 =
                map.features(&here).iter().zip(map.features(&there)).map(|(x, y)| x * y).sum();
            let kernel = (-16.0 * f64::from(step).powi(2) / (2.0 * 60.0 * 60.0)).exp();
            // Three deviations of a mean of 512 products, each within -2 and 2.
            assert!((product - kernel).abs() < 0.13, "step {step}: {product} for {kernel}");
        }
    }

    #[test]
    fn settings_out_of_range_give_no_map() {
        let valid = FourierSettings { seed: 0, features: 1, bandwidth: 1.0 };
        assert!(FourierMap::new(valid).is_ok());
        for wrong in [
            FourierSettings { features: 0, ..valid },
            FourierSettings { features: FEATURES_MAX + 1, ..valid },
            FourierSettings { bandwidth: 0.0, ..valid },
            FourierSettings { bandwidth: -1.0, ..valid },
            FourierSettings { bandwidth: f64::NAN, ..valid },
        ] {
            assert!(FourierMap::new(wrong).is_err(), "{wrong:?}");
        }
    }
}
