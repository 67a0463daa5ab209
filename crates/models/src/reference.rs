//! `reference.json`: how held-out data looks to one exact version, as counts that add up. Drift compares live windows with
//! it; it is never the training set and never learned silently.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Manifest;

/// The name of the profile over all data sets together.
pub const WHOLE: &str = "all";

/// The reference profiles of one version. Keys that it does not know are ignored, so that later bundles can say more.
#[derive(Clone, Debug, Deserialize)]
pub struct Reference {
    /// The version that scored the data.
    pub model: ScoredBy,
    /// The temperature that confidence was computed with.
    pub temperature: f32,
    /// A profile a data set, and [`WHOLE`].
    pub profiles: Vec<Profile>,
}

/// The version that scored the reference data.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ScoredBy {
    /// Name.
    pub name: String,
    /// Version.
    pub version: u32,
}

/// How one held-out data set looks to the model. Counts and sums only, so that profiles merge by addition.
#[derive(Clone, Debug, Deserialize)]
pub struct Profile {
    /// The data set's name.
    pub name: String,
    /// What it is and where it is from.
    pub source: String,
    /// Its reviews.
    pub n: u64,
    /// Reviews by the label that the model gave.
    pub labels: BTreeMap<String, u64>,
    /// Reviews by the label that people gave.
    pub true_labels: BTreeMap<String, u64>,
    /// Reviews on which both agree.
    pub correct: u64,
    /// Sum of the confidences: over `n`, the accuracy that the model expects of itself.
    pub confidence_sum: f64,
    /// Reviews with more tokens than the model reads.
    pub truncated: u64,
    /// Tokens that the model read, special ones not counted.
    pub text_tokens: u64,
    /// Of these, tokens that are not in the vocabulary.
    pub unknown_tokens: u64,
    /// Distributions.
    pub histograms: Histograms,
}

/// Distributions of one data set.
#[derive(Clone, Debug, Deserialize)]
pub struct Histograms {
    /// Of the most probable label's calibrated probability; edges are deciles of all data together.
    pub confidence: Histogram,
    /// Of tokens a review after truncation, special ones included.
    pub tokens: Histogram,
}

/// Counts between edges: bin i holds `edges[i] <= x < edges[i + 1]`, the last one its right edge too.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Histogram {
    /// Ascending; one more than bins.
    pub edges: Vec<f64>,
    /// Reviews in each bin.
    pub counts: Vec<u64>,
    /// Of these, judged right; absent where the bundle does not say.
    pub correct: Option<Vec<u64>>,
}

impl Reference {
    /// Reads a reference profile of this manifest's version. The error says what is wrong and where.
    pub fn parse(bytes: &[u8], manifest: &Manifest) -> Result<Self, String> {
        let reference = serde_json::from_slice::<Self>(bytes)
            .map_err(|error| format!("not a reference profile: {error}; pack the bundle again"))?;
        let scored_by = ScoredBy { name: manifest.name.clone(), version: manifest.version };
        if reference.model != scored_by {
            return Err(format!(
                "scored by {}@{}, but the manifest is of {}@{}; pack the bundle again",
                reference.model.name, reference.model.version, scored_by.name, scored_by.version
            ));
        }
        if reference.temperature.to_bits() != manifest.calibration.temperature.to_bits() {
            return Err(format!(
                "scored at temperature {}, but the manifest says {}; pack the bundle again",
                reference.temperature, manifest.calibration.temperature
            ));
        }
        for profile in &reference.profiles {
            profile.check(&manifest.labels).map_err(|reason| {
                format!("profile `{}`: {reason}; pack the bundle again", profile.name)
            })?;
        }
        if reference.profile(WHOLE).is_none() {
            return Err(format!("has no profile `{WHOLE}`; pack the bundle again"));
        }
        Ok(reference)
    }

    /// The profile of one data set, or of [`WHOLE`].
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.iter().find(|profile| profile.name == name)
    }
}

impl Profile {
    fn check(&self, labels: &[String]) -> Result<(), String> {
        if !(self.labels.len() == labels.len()
            && labels.iter().all(|label| self.labels.contains_key(label)))
        {
            return Err(format!("labels are {:?}, the manifest's {labels:?}", self.labels.keys()));
        }
        if sum(self.labels.values()) != Some(self.n) {
            return Err(format!("labels do not add up to n = {}", self.n));
        }
        for (name, histogram) in
            [("confidence", &self.histograms.confidence), ("tokens", &self.histograms.tokens)]
        {
            histogram.check(self.n).map_err(|reason| format!("histogram `{name}` {reason}"))?;
        }
        Ok(())
    }
}

impl Histogram {
    fn check(&self, n: u64) -> Result<(), String> {
        let bins = self.counts.len();
        let same_length = self.correct.as_ref().is_none_or(|correct| correct.len() == bins);
        if bins == 0 || self.edges.len() != bins + 1 || !same_length {
            return Err(format!("has {} edges for {bins} bins", self.edges.len()));
        }
        if !self.edges.is_sorted_by(|left, right| left < right) {
            return Err("has edges that do not ascend".to_owned());
        }
        if sum(self.counts.iter()) != Some(n) {
            return Err(format!("does not add up to n = {n}"));
        }
        Ok(())
    }
}

/// The sum, or nothing if it overflows: a count from a file may be any number.
fn sum<'a>(counts: impl Iterator<Item = &'a u64>) -> Option<u64> {
    counts.copied().try_fold(0_u64, u64::checked_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_refused_unless_it_adds_up_over_ascending_edges() {
        let check = |edges: &[f64], counts: &[u64], expected: bool| {
            let histogram =
                Histogram { edges: edges.to_vec(), counts: counts.to_vec(), correct: None };
            assert_eq!(histogram.check(5).is_ok(), expected, "{histogram:?}");
        };
        check(&[0.0, 1.0, 2.0], &[2, 3], true);
        check(&[0.0, 1.0, 2.0], &[2, 2], false);
        check(&[0.0, 1.0], &[2, 3], false);
        check(&[0.0, 1.0, 1.0], &[2, 3], false);
        check(&[0.0, f64::NAN, 1.0], &[2, 3], false);
        check(&[0.0, 1.0, 2.0], &[u64::MAX, 6], false);
        check(&[0.0], &[], false);
    }
}
