//! DDM: an error rate that has risen above the best it ever was.

use serde::{Deserialize, Serialize};

use crate::number::{real, share};

/// How many standard deviations count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DdmSettings {
    /// Nothing is said before more than so many labels.
    pub labels_min: u64,
    /// Deviations to a warning.
    pub warning: f64,
    /// Deviations to drift.
    pub drift: f64,
}

impl Default for DdmSettings {
    /// Those of the paper.
    fn default() -> Self {
        Self { labels_min: 30, warning: 2.0, drift: 3.0 }
    }
}

/// What an error rate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorRate {
    /// As it was at its best, or too few labels.
    Stable,
    /// Beyond the warning.
    Warning,
    /// Beyond the bound of drift. The next label begins anew.
    Drifted,
}

/// The drift detection method (Gama, Medas, Castillo & Rodrigues 2004, Learning with Drift Detection, section 3): with the
/// error rate `p` of `n` labels and `s = sqrt(p (1 - p) / n)`, warns at `p + s > p_min + 2 s_min` and finds drift at
/// `p + s > p_min + 3 s_min`, where the minima are those of the smallest `p + s` so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ddm {
    settings: DdmSettings,
    labels: u64,
    errors: u64,
    best: Option<Level>,
    state: ErrorRate,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Level {
    rate: f64,
    deviation: f64,
}

impl Ddm {
    /// Without a label so far.
    pub fn new(settings: DdmSettings) -> Self {
        Self { settings, labels: 0, errors: 0, best: None, state: ErrorRate::Stable }
    }

    /// Adds one label.
    pub fn update(&mut self, is_error: bool) -> ErrorRate {
        self.observe(1, u64::from(is_error))
    }

    /// Adds labels whose order is not known, as those of a window: looked at once, after the last of them.
    pub fn observe(&mut self, labels: u64, errors: u64) -> ErrorRate {
        if self.state == ErrorRate::Drifted {
            *self = Self::new(self.settings);
        }
        self.labels = self.labels.saturating_add(labels);
        self.errors = self.errors.saturating_add(errors.min(labels));
        self.state = self.judge();
        self.state
    }

    /// The error rate since drift was last found; 0 without labels.
    pub fn rate(&self) -> f64 {
        share(self.errors, self.labels)
    }

    fn judge(&mut self) -> ErrorRate {
        if self.labels <= self.settings.labels_min {
            return ErrorRate::Stable;
        }
        let rate = self.rate();
        let deviation = (rate * (1.0 - rate) / real(self.labels)).sqrt();
        let level = Level { rate, deviation };
        let best = self.best.filter(|best| best.bound(1.0) < level.bound(1.0)).unwrap_or(level);
        self.best = Some(best);
        if best.bound(self.settings.drift) < level.bound(1.0) {
            ErrorRate::Drifted
        } else if best.bound(self.settings.warning) < level.bound(1.0) {
            ErrorRate::Warning
        } else {
            ErrorRate::Stable
        }
    }
}

impl Level {
    fn bound(&self, deviations: f64) -> f64 {
        self.rate + deviations * self.deviation
    }
}
