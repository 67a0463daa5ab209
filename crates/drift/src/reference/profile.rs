//! Making a profile: held-out reviews as the counts and sums that [`Reference`](super::Reference) reads.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    features::Features,
    fourier::{FourierMap, FourierSettings, InvalidFourier},
    histogram::{Edges, InvalidEdges},
    number::{count, real},
    projection::Projected,
    statistics::mmd::EmbeddingMoments,
    window::WordSums,
};

/// Edges of review lengths, in tokens; those from the model's limit on give way to it.
const TOKEN_EDGES: [u32; 12] = [0, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224];

/// Bins of confidence.
const CONFIDENCE_BINS: u8 = 10;

/// Seed of the projection from embeddings to sixteen bytes. Any does; another one is another reference.
pub const PROJECTION_SEED: u64 = 1;

/// Seed of the Fourier features.
const FOURIER_SEED: u64 = 2;

/// A held-out review: what the model made of it, and what people say.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    /// What the model made of it.
    pub features: Features,
    /// The label that people gave.
    pub truth: String,
}

/// What all profiles of one reference have in common.
#[derive(Clone, Debug)]
pub struct Form {
    /// The model's labels, in the order of its logits.
    pub labels: Vec<String>,
    /// Of confidence.
    pub confidence_edges: Vec<f64>,
    /// Of review lengths.
    pub token_edges: Vec<u32>,
    /// Whether languages are counted.
    pub counts_languages: bool,
    /// What embeddings are seen through, if they are described.
    pub fourier: Option<FourierMap>,
}

/// One profile, in the order in which it is written; [`Reference`](super::Reference) says what its parts are.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    name: String,
    source: String,
    n: usize,
    labels: BTreeMap<String, usize>,
    true_labels: BTreeMap<String, usize>,
    /// Reviews of which model and people say the same.
    pub correct: usize,
    confidence_sum: f64,
    truncated: usize,
    text_tokens: u64,
    unknown_tokens: u64,
    uncertain: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    languages: Option<BTreeMap<String, usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cross_entropy: Option<CrossEntropy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<WordSums>,
    histograms: Histograms,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<EmbeddingMoments>,
}

#[derive(Clone, Debug, Serialize)]
struct Histograms {
    confidence: Histogram<f64>,
    tokens: Histogram<u32>,
}

#[derive(Clone, Debug, Serialize)]
struct Histogram<T> {
    edges: Vec<T>,
    counts: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correct: Option<Vec<u64>>,
}

#[derive(Clone, Debug, Serialize)]
struct CrossEntropy {
    n: usize,
    sum: f64,
    squares: f64,
}

/// Deciles of the confidence of all held-out reviews together, so that every bin of a clean window expects a tenth. Between
/// two reviews a decile lies in proportion, as numpy's `quantile` has it (Hyndman & Fan 1996, Sample Quantiles in Statistical
/// Packages, definition 7); deciles that are one are one edge.
pub fn confidence_edges(held_out: &[&HeldOut], labels: usize) -> Vec<f64> {
    let mut confidences: Vec<f64> =
        held_out.iter().map(|one| f64::from(one.features.confidence)).collect();
    confidences.sort_by(f64::total_cmp);
    let lowest = rounded(1.0 / real(count(labels.max(1))), 6);
    let mut edges = vec![lowest];
    for tenth in 1..CONFIDENCE_BINS {
        let decile = quantile(&confidences, f64::from(tenth) / f64::from(CONFIDENCE_BINS));
        let decile = rounded(decile, 6);
        if edges.last().is_some_and(|&last| last < decile) && decile < 1.0 {
            edges.push(decile);
        }
    }
    edges.push(1.0);
    edges
}

/// Edges of review lengths for a model that reads so many tokens.
pub fn token_edges(tokens_max: usize) -> Vec<u32> {
    let tokens_max = u32::try_from(tokens_max).unwrap_or(u32::MAX);
    TOKEN_EDGES.into_iter().filter(|&edge| edge < tokens_max).chain([tokens_max]).collect()
}

/// The map of so many features whose kernel is as wide as the median distance of two held-out reviews: the usual choice where
/// nothing is known of the alternative (Gretton et al. 2012, A Kernel Two-Sample Test, section 8; Garreau, Jitkrittum &
/// Kanagawa 2018, Large Sample Analysis of the Median Heuristic). None without two reviews that differ.
pub fn fourier(
    held_out: &[&HeldOut],
    features: usize,
) -> Result<Option<FourierMap>, InvalidFourier> {
    let projections = projections(held_out);
    let Some(bandwidth) = median_distance(&projections) else { return Ok(None) };
    let bandwidth = rounded(bandwidth, 6);
    FourierMap::new(FourierSettings { seed: FOURIER_SEED, features, bandwidth }).map(Some)
}

impl Form {
    /// The profile of `held_out`, whose features have everything that the form asks for.
    pub fn profile(
        &self,
        name: &str,
        source: &str,
        held_out: &[&HeldOut],
    ) -> Result<Profile, InvalidEdges> {
        let number =
            |wanted: &dyn Fn(&HeldOut) -> bool| held_out.iter().filter(|one| wanted(one)).count();
        let by_label = |of: &dyn Fn(&HeldOut) -> &str| {
            let each = self.labels.iter();
            each.map(|label| (label.clone(), number(&|one| of(one) == label)))
                .collect::<BTreeMap<_, _>>()
        };
        let tokens = |one: &HeldOut| f64::from(one.features.tokens);
        let confidence = |one: &HeldOut| f64::from(one.features.confidence);
        let right: Vec<&HeldOut> =
            held_out.iter().copied().filter(|one| one.truth == one.features.label).collect();
        let each = || held_out.iter().map(|one| &one.features);
        let token_edges: Vec<f64> = self.token_edges.iter().copied().map(f64::from).collect();
        Ok(Profile {
            name: name.to_owned(),
            source: source.to_owned(),
            n: held_out.len(),
            labels: by_label(&|one| &one.features.label),
            true_labels: by_label(&|one| &one.truth),
            correct: right.len(),
            confidence_sum: rounded(held_out.iter().map(|one| confidence(one)).sum(), 4),
            truncated: number(&|one| one.features.truncated),
            text_tokens: each().map(|features| u64::from(features.text_tokens())).sum(),
            unknown_tokens: each().map(|features| u64::from(features.unknown_tokens)).sum(),
            uncertain: number(&|one| one.features.is_uncertain()),
            languages: self.counts_languages.then(|| languages(each())),
            cross_entropy: CrossEntropy::of(each()),
            words: words(each()),
            histograms: Histograms {
                confidence: Histogram {
                    counts: histogram(&self.confidence_edges, held_out, confidence)?,
                    correct: Some(histogram(&self.confidence_edges, &right, confidence)?),
                    edges: self.confidence_edges.clone(),
                },
                tokens: Histogram {
                    counts: histogram(&token_edges, held_out, tokens)?,
                    correct: None,
                    edges: self.token_edges.clone(),
                },
            },
            embedding: self.fourier.as_ref().and_then(|map| {
                EmbeddingMoments::of_sample(map, PROJECTION_SEED, &projections(held_out))
            }),
        })
    }
}

impl CrossEntropy {
    /// None where no review has one.
    fn of<'a>(features: impl Iterator<Item = &'a Features>) -> Option<Self> {
        let bits: Vec<f64> = features.filter_map(|one| one.cross_entropy).map(f64::from).collect();
        (!bits.is_empty()).then(|| Self {
            n: bits.len(),
            sum: rounded(bits.iter().sum(), 4),
            squares: rounded(bits.iter().map(|bits| bits.powi(2)).sum(), 4),
        })
    }
}

fn languages<'a>(features: impl Iterator<Item = &'a Features>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for language in features.filter_map(|one| one.language.clone()) {
        *counts.entry(language).or_default() += 1;
    }
    counts
}

/// None where no review says which words it has.
fn words<'a>(features: impl Iterator<Item = &'a Features>) -> Option<WordSums> {
    let mut sums = WordSums::default();
    for buckets in features.filter_map(|one| one.words.as_ref()) {
        sums.n += 1;
        sums.counts.add(buckets);
    }
    (!sums.is_empty()).then_some(sums)
}

fn projections(held_out: &[&HeldOut]) -> Vec<Projected> {
    held_out.iter().filter_map(|one| one.features.projection).collect()
}

/// Counted as windows count.
fn histogram(
    edges: &[f64],
    held_out: &[&HeldOut],
    value: impl Fn(&HeldOut) -> f64,
) -> Result<Vec<u64>, InvalidEdges> {
    let edges = Edges::new(edges.to_vec())?;
    let mut counts = vec![0; edges.bins()];
    for one in held_out {
        if let Some(count) = counts.get_mut(edges.bin(value(one))) {
            *count += 1;
        }
    }
    Ok(counts)
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * real(count(sorted.len().saturating_sub(1)));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let below = place.floor() as usize;
    let low = sorted.get(below).copied().unwrap_or_default();
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    low + (high - low) * place.fract()
}

/// The median over all pairs: squared distances are small integers, so they are counted and not sorted.
fn median_distance(projections: &[Projected]) -> Option<f64> {
    let mut counts = vec![0_u64; SQUARED_DISTANCE_MAX + 1];
    for (index, here) in projections.iter().enumerate() {
        for there in projections.iter().skip(index + 1) {
            let squared = usize::try_from(squared_distance(here, there));
            if let Some(count) = squared.ok().and_then(|squared| counts.get_mut(squared)) {
                *count += 1;
            }
        }
    }
    let pairs: u64 = counts.iter().sum();
    let mut below = 0;
    let median = counts.into_iter().position(|count| {
        below += count;
        pairs <= 2 * below
    });
    median.map(|squared| real(count(squared)).sqrt()).filter(|median| 0.0 < *median)
}

/// Of sixteen coordinates that differ by 255.
const SQUARED_DISTANCE_MAX: usize = 16 * 255 * 255;

fn squared_distance(here: &Projected, there: &Projected) -> u32 {
    here.iter().zip(there).map(|(&x, &y)| u32::from(x.abs_diff(y)).pow(2)).sum()
}

fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests;
