//! What windows are compared with: how held-out data looks to one exact version of a model, as its bundle says.
//!
//! It is never the training set, to which every model is too well fitted, and never learned from what comes in, for then
//! a slow drift would become the reference. What today's bundles do not say is optional here, and its signal is silent.

pub mod profile;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    error::InvalidReference,
    fourier::FourierMap,
    histogram::Edges,
    statistics::{accuracy::Calibration, mmd::EmbeddingMoments},
    vocabulary::Vocabulary,
    window::WordSums,
    words::BUCKETS,
};

/// The name of the profile over all data sets together.
pub const WHOLE: &str = "all";

/// Most labels of one model.
pub const LABELS_MAX: usize = 64;

/// Most languages that are counted by name.
pub const LANGUAGES_MAX: usize = 64;

/// One profile of a bundle's `reference.json`, checked.
#[derive(Clone, Debug)]
pub struct Reference {
    pub(crate) profile: Profile,
    pub(crate) labels: Vec<(String, u64)>,
    pub(crate) confidence: Histogram,
    pub(crate) tokens: Histogram,
    /// Languages by name, then all others, then reviews without a language.
    pub(crate) languages: Option<Languages>,
    pub(crate) embedding: Option<(FourierMap, EmbeddingMoments)>,
    vocabulary: Option<Vocabulary>,
}

/// Edges with the counts of held-out data.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    pub(crate) edges: Edges,
    pub(crate) counts: Vec<u64>,
    pub(crate) correct: Option<Vec<u64>>,
}

/// Counts by language.
#[derive(Clone, Debug)]
pub(crate) struct Languages {
    pub(crate) names: Vec<String>,
    /// Two more than names: others, and none.
    pub(crate) counts: Vec<u64>,
}

/// `reference.json`, as far as drift reads it.
#[derive(Deserialize)]
struct Document {
    profiles: Vec<Profile>,
    /// How often each token id occurs in the text that the model was made with, in order of ids.
    #[serde(default)]
    vocabulary: Option<Vec<u64>>,
}

/// One data set.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Profile {
    name: String,
    pub(crate) n: u64,
    labels: BTreeMap<String, u64>,
    pub(crate) correct: u64,
    pub(crate) confidence_sum: f64,
    pub(crate) truncated: u64,
    pub(crate) text_tokens: u64,
    pub(crate) unknown_tokens: u64,
    histograms: Histograms,
    /// Verdicts with a margin below [`crate::features::MARGIN_MIN`].
    #[serde(default)]
    pub(crate) uncertain: Option<u64>,
    /// Reviews by primary language subtag; those without a language are not among them.
    #[serde(default)]
    languages: Option<BTreeMap<String, u64>>,
    #[serde(default)]
    pub(crate) cross_entropy: Option<CrossEntropy>,
    /// Reviews by the buckets of their words.
    #[serde(default)]
    pub(crate) words: Option<WordSums>,
    #[serde(default)]
    embedding: Option<EmbeddingMoments>,
}

#[derive(Clone, Debug, Deserialize)]
struct Histograms {
    confidence: RawHistogram,
    tokens: RawHistogram,
}

#[derive(Clone, Debug, Deserialize)]
struct RawHistogram {
    edges: Vec<f64>,
    counts: Vec<u64>,
    #[serde(default)]
    correct: Option<Vec<u64>>,
}

/// Sums of the vocabulary cross-entropies of single reviews, in bits a token.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct CrossEntropy {
    pub(crate) n: u64,
    pub(crate) sum: f64,
    pub(crate) squares: f64,
}

impl Reference {
    /// Reads a bundle's `reference.json` and takes the profile called `name` from it, [`WHOLE`] for all data together.
    pub fn from_json(bytes: &[u8], name: &str) -> Result<Self, InvalidReference> {
        let document: Document = serde_json::from_slice(bytes)?;
        let profile = document.profiles.into_iter().find(|profile| profile.name == name);
        let profile = profile.ok_or_else(|| InvalidReference::Profile(name.to_owned()))?;
        let vocabulary = document.vocabulary.map(Vocabulary::from_counts).transpose()?;
        Self::new(profile, vocabulary)
    }

    fn new(profile: Profile, vocabulary: Option<Vocabulary>) -> Result<Self, InvalidReference> {
        let n = profile.n;
        let labels: Vec<(String, u64)> = profile.labels.clone().into_iter().collect();
        check_length("labels", labels.len(), labels.len().clamp(1, LABELS_MAX))?;
        check_sum("labels", labels.iter().map(|(_, count)| count), n)?;
        let confidence = Histogram::new("confidence", &profile.histograms.confidence, n)?;
        let tokens = Histogram::new("tokens", &profile.histograms.tokens, n)?;
        let words = profile.words.as_ref();
        if let Some(words) = words {
            check_length("words", words.counts.counts().len(), BUCKETS)?;
        }
        for (name, part, whole) in [
            ("correct", profile.correct, n),
            ("truncated", profile.truncated, n),
            ("unknown_tokens", profile.unknown_tokens, profile.text_tokens),
            ("uncertain", profile.uncertain.unwrap_or_default(), n),
            ("words", words.map_or(0, |words| words.n), n),
            ("words", words.map_or(0, most), words.map_or(0, |words| words.n)),
        ] {
            if whole < part {
                return Err(InvalidReference::Sum { name, sum: part, n: whole });
            }
        }
        let languages = profile.languages.as_ref().map(|names| Languages::new(names, n));
        let languages = languages.transpose()?;
        let embedding = profile.embedding.clone().map(check_embedding).transpose()?;
        Ok(Self { profile, labels, confidence, tokens, languages, embedding, vocabulary })
    }

    /// Reviews of the held-out data.
    pub fn n(&self) -> u64 {
        self.profile.n
    }

    /// The model's labels in the order in which windows count them.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(|(label, _)| label.as_str())
    }

    /// How right held-out verdicts were at each confidence, if the bundle says so.
    pub fn calibration(&self) -> Option<Calibration<'_>> {
        let correct = self.confidence.correct.as_deref()?;
        Some(Calibration { counts: &self.confidence.counts, correct })
    }

    /// The unigram model that the cross-entropy of reviews is computed with, if the bundle has one.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        self.vocabulary.as_ref()
    }

    /// The map and the moments that projected embeddings are compared with, if the bundle has them.
    pub fn embedding(&self) -> Option<(&FourierMap, &EmbeddingMoments)> {
        self.embedding.as_ref().map(|(map, moments)| (map, moments))
    }

    /// Whether the bundle says which languages the model was tried on, so that it is of use to tell a review's.
    pub fn counts_languages(&self) -> bool {
        self.languages.is_some()
    }

    /// Whether the bundle says which words the held-out data has, so that it is of use to tell a review's.
    pub fn counts_words(&self) -> bool {
        self.profile.words.is_some()
    }

    /// Counts of the reference by label.
    pub(crate) fn label_counts(&self) -> Vec<u64> {
        self.labels.iter().map(|&(_, count)| count).collect()
    }

    pub(crate) fn label_index(&self, label: &str) -> Option<usize> {
        self.labels.iter().position(|(name, _)| name == label)
    }
}

impl Histogram {
    fn new(name: &'static str, raw: &RawHistogram, n: u64) -> Result<Self, InvalidReference> {
        let edges = Edges::new(raw.edges.clone())
            .map_err(|reason| InvalidReference::Edges { name, reason })?;
        check_length(name, raw.counts.len(), edges.bins())?;
        check_sum(name, raw.counts.iter(), n)?;
        if let Some(correct) = &raw.correct {
            check_length(name, correct.len(), edges.bins())?;
            for (&correct, &count) in correct.iter().zip(&raw.counts) {
                if count < correct {
                    return Err(InvalidReference::Sum { name, sum: correct, n: count });
                }
            }
        }
        Ok(Self { edges, counts: raw.counts.clone(), correct: raw.correct.clone() })
    }
}

impl Languages {
    fn new(counts: &BTreeMap<String, u64>, n: u64) -> Result<Self, InvalidReference> {
        check_length("languages", counts.len(), counts.len().min(LANGUAGES_MAX))?;
        let spoken = sum(counts.values());
        let without = n.checked_sub(spoken);
        let without = without.ok_or(InvalidReference::Sum { name: "languages", sum: spoken, n })?;
        let names = counts.keys().map(|name| name.to_ascii_lowercase()).collect();
        Ok(Self { names, counts: counts.values().copied().chain([0, without]).collect() })
    }

    /// What counts there.
    pub(crate) fn name(&self, index: usize) -> &str {
        let rest = if index == self.names.len() { "other languages" } else { "no language" };
        self.names.get(index).map_or(rest, String::as_str)
    }

    /// Where a review of this language counts: `en-GB` as `en`.
    pub(crate) fn index(&self, language: Option<&str>) -> usize {
        let Some(tag) = language else { return self.names.len() + 1 };
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        let found = self.names.iter().position(|name| name.eq_ignore_ascii_case(primary));
        found.unwrap_or(self.names.len())
    }
}

/// The count of the bucket that most reviews have a word in.
fn most(words: &WordSums) -> u64 {
    words.counts.counts().iter().max().copied().unwrap_or_default()
}

fn check_embedding(
    moments: EmbeddingMoments,
) -> Result<(FourierMap, EmbeddingMoments), InvalidReference> {
    let map = FourierMap::new(moments.fourier)?;
    check_length("embedding", moments.mean.len(), moments.fourier.features)?;
    Ok((map, moments))
}

fn check_length(
    name: &'static str,
    length: usize,
    expected: usize,
) -> Result<(), InvalidReference> {
    if length == expected {
        return Ok(());
    }
    Err(InvalidReference::Length { name, length, expected })
}

fn check_sum<'a>(
    name: &'static str,
    counts: impl Iterator<Item = &'a u64>,
    n: u64,
) -> Result<(), InvalidReference> {
    let sum = sum(counts);
    if sum == n && 0 < n { Ok(()) } else { Err(InvalidReference::Sum { name, sum, n }) }
}

/// The sum, at most the largest number: a count from a file may be any number.
fn sum<'a>(counts: impl Iterator<Item = &'a u64>) -> u64 {
    counts.fold(0, |sum, &count| sum.saturating_add(count))
}

#[cfg(test)]
mod tests;
