//! A window: what some verdicts of one model version add up to.
//!
//! Whoever reads verdicts sums a few seconds of them and hands the sums on; whoever decides merges these partial windows,
//! which are windows like others. Everything in one is an integer, a fixed-point one where the values are not, so merging
//! is exactly associative and commutative: any number of readers, in whatever order their sums arrive, and after whatever
//! crash they are sent anew, give the same window bit for bit. A window without verdicts and labels changes nothing.
//!
//! Its size depends on the reference's bins and never on the number of verdicts: some 2 KiB of JSON, and up to
//! 5 KiB more where the words of many reviews are counted.

mod check;
mod record;
mod sums;

use serde::{Deserialize, Serialize};

use crate::{
    error::{InvalidWindow, Uncounted, Unmergeable},
    features::Features,
    number::real,
    reference::Reference,
    statistics::mean::{RatioSums, Sample},
};

pub use sums::{
    CrossEntropySums, EmbeddingSums, LabelledSums, Model, Span, Sums, TokenSums, WordSums,
};

/// Most reviews of one window; with the bounds on features no sum of so many can overflow.
pub const REVIEWS_MAX: u64 = 1 << 31;

/// Checked [`Sums`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Sums", into = "Sums")]
pub struct Window(Sums);

impl Window {
    /// The window without verdicts, made for the bins of `reference`.
    pub fn empty(model: Model, reference: &Reference) -> Result<Self, InvalidWindow> {
        let languages = reference.languages.as_ref().map_or(0, |all| all.counts.len());
        let features = reference.embedding().map_or(0, |(map, _)| map.settings().features);
        let bins = reference.confidence.edges.bins();
        let sums = Sums {
            model,
            span: None,
            n: 0,
            labels: vec![0; reference.labels.len()],
            confidence: vec![0; bins],
            confidence_sum: 0,
            uncertain: 0,
            tokens: vec![0; reference.tokens.edges.bins()],
            truncated: 0,
            token_sums: TokenSums::default(),
            languages: vec![0; languages],
            cross_entropy: CrossEntropySums::default(),
            words: WordSums::default(),
            embedding: EmbeddingSums { n: 0, cosines: vec![0; features] },
            labelled: LabelledSums { confidence: vec![0; bins], correct: 0 },
        };
        Self::try_from(sums)
    }

    /// What it adds up to.
    pub fn sums(&self) -> &Sums {
        &self.0
    }

    /// Verdicts.
    pub fn n(&self) -> u64 {
        self.0.n
    }

    /// Adds one verdict. A verdict that is refused leaves the window as it was.
    pub fn record(
        &mut self,
        reference: &Reference,
        occurred_ms: i64,
        features: &Features,
    ) -> Result<(), Uncounted> {
        self.0.record(reference, occurred_ms, features)
    }

    /// Adds what people said of one verdict: its confidence, and whether its label is the one that they gave at `given_ms`
    /// (milliseconds since 1970). A label counts in the window of the time at which it is given and not in its verdict's,
    /// which was closed and judged long before people could say anything. So a window may have labels and no verdicts.
    pub fn record_label(
        &mut self,
        reference: &Reference,
        given_ms: i64,
        confidence: f32,
        is_correct: bool,
    ) -> Result<(), Uncounted> {
        self.0.record_label(reference, given_ms, confidence, is_correct)
    }

    /// Both windows together. The order does not matter, nor does what is merged first.
    pub fn merge(&self, other: &Self) -> Result<Self, Unmergeable> {
        let (left, right) = (&self.0, &other.0);
        if left.model != right.model {
            let models = (left.model.clone(), right.model.clone());
            return Err(Unmergeable::Models(Box::new(models)));
        }
        if left.lengths() != right.lengths() {
            return Err(Unmergeable::Bins(left.model.to_string()));
        }
        if REVIEWS_MAX < left.n + right.n || REVIEWS_MAX < left.labelled.n() + right.labelled.n() {
            return Err(Unmergeable::TooMany(left.model.to_string()));
        }
        Ok(Self(left.plus(right)))
    }

    /// Mean confidence; none without verdicts.
    pub fn mean_confidence(&self) -> Option<f64> {
        (self.0.n != 0).then(|| crate::number::value(self.0.confidence_sum) / real(self.0.n))
    }

    /// Cross-entropies of the reviews that have one.
    pub fn cross_entropy(&self) -> Option<Sample> {
        let CrossEntropySums { n, sum, squares } = self.0.cross_entropy;
        Sample::from_sums(real(n), crate::number::value(sum), crate::number::value(squares))
    }

    /// Mean Fourier features of the reviews that have an embedding; none without any.
    pub fn mean_embedding(&self, reference: &Reference) -> Option<Vec<f64>> {
        let EmbeddingSums { n, cosines } = &self.0.embedding;
        let (map, _) = reference.embedding().filter(|_| *n != 0)?;
        let mean = |&sum: &i64| map.factor() * crate::number::value(sum) / real(*n);
        Some(cosines.iter().map(mean).collect())
    }

    /// Unknown tokens over tokens, review by review.
    pub fn unknown_tokens(&self) -> RatioSums {
        let sums = self.0.token_sums;
        RatioSums {
            size: real(self.0.n),
            numerator: real(sums.unknown),
            denominator: real(sums.text),
            numerator_squares: real(sums.unknown_squares),
            denominator_squares: real(sums.text_squares),
            products: real(sums.products),
        }
    }
}

impl From<Window> for Sums {
    fn from(window: Window) -> Self {
        window.0
    }
}

impl TryFrom<Sums> for Window {
    type Error = InvalidWindow;

    fn try_from(sums: Sums) -> Result<Self, Self::Error> {
        sums.check()?;
        Ok(Self(sums))
    }
}
