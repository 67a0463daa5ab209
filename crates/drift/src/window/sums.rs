//! The sums of a window, and how two of them add up.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::words::BucketCounts;

/// One version of one model, down to its bytes. The digest names that of the reference too, and with it all bins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Model {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Digest of the bundle's manifest.
    pub digest: String,
}

/// Times of the first and the last review or label, milliseconds since 1970: a review's event time, and the time at which a label
/// was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Of the first.
    pub first_ms: i64,
    /// Of the last.
    pub last_ms: i64,
}

/// Integers that add up. Where they stand for real numbers they are in units of 2^-20, see [`crate::number::UNIT`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Whose verdicts.
    pub model: Model,
    /// When their reviews were written and their labels given; none without verdicts and labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// Verdicts.
    pub n: u64,
    /// By label, in the reference's order.
    pub labels: Vec<u64>,
    /// By confidence, on the reference's bins.
    pub confidence: Vec<u64>,
    /// Sum of confidences, fixed-point.
    pub confidence_sum: i64,
    /// Verdicts with a margin below [`crate::features::MARGIN_MIN`].
    pub uncertain: u64,
    /// By tokens, on the reference's bins.
    pub tokens: Vec<u64>,
    /// Reviews with more tokens than the model reads.
    pub truncated: u64,
    /// Sums over tokens.
    pub token_sums: TokenSums,
    /// By language, in the reference's order, then others, then none; empty where the reference counts no languages.
    #[serde(default)]
    pub languages: Vec<u64>,
    /// Sums over vocabulary cross-entropies.
    #[serde(default)]
    pub cross_entropy: CrossEntropySums,
    /// Reviews by the buckets of their words; nothing where none said which words it has.
    #[serde(default, skip_serializing_if = "WordSums::is_empty")]
    pub words: WordSums,
    /// Sums over embeddings.
    #[serde(default)]
    pub embedding: EmbeddingSums,
    /// Verdicts of which people said whether they are right, of this window or of earlier ones.
    pub labelled: LabelledSums,
}

/// Sums over reviews of `t` tokens of text, `u` of them unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSums {
    /// Sum of `t`.
    pub text: u64,
    /// Sum of `u`.
    pub unknown: u64,
    /// Sum of `t^2`.
    pub text_squares: u64,
    /// Sum of `u^2`.
    pub unknown_squares: u64,
    /// Sum of `t u`.
    pub products: u64,
}

/// Sums over the reviews that have a cross-entropy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrossEntropySums {
    /// Reviews.
    pub n: u64,
    /// Sum of bits a token, fixed-point.
    pub sum: i64,
    /// Sum of their squares, fixed-point.
    pub squares: i64,
}

/// Counts over the reviews that say which words they have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordSums {
    /// Reviews.
    pub n: u64,
    /// Of these, by bucket.
    pub counts: BucketCounts,
}

/// Sums over the reviews that have an embedding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingSums {
    /// Reviews.
    pub n: u64,
    /// Sum of `cos(w . x + b)` of each Fourier feature, fixed-point; empty where the reference has none.
    pub cosines: Vec<i64>,
}

/// Sums over labelled verdicts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelledSums {
    /// By confidence, on the reference's bins.
    pub confidence: Vec<u64>,
    /// Of all of these, right ones.
    pub correct: u64,
}

impl fmt::Display for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.name, self.version)
    }
}

impl Span {
    /// The span of both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            first_ms: self.first_ms.min(other.first_ms),
            last_ms: self.last_ms.max(other.last_ms),
        }
    }
}

impl LabelledSums {
    /// Labelled verdicts.
    pub fn n(&self) -> u64 {
        self.confidence.iter().sum()
    }
}

impl Sums {
    /// Lengths of all lists: two windows merge only if these agree. Words are not among them: a part of a program that does not
    /// count them has none and counts all the same.
    pub(super) fn lengths(&self) -> [usize; 6] {
        [
            self.labels.len(),
            self.confidence.len(),
            self.tokens.len(),
            self.languages.len(),
            self.embedding.cosines.len(),
            self.labelled.confidence.len(),
        ]
    }

    /// Both together; the caller has checked that they are of one model, one shape and few enough.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let spans = [self.span, other.span].into_iter().flatten();
        Self {
            model: self.model.clone(),
            span: spans.reduce(Span::join),
            n: self.n + other.n,
            labels: each(&self.labels, &other.labels),
            confidence: each(&self.confidence, &other.confidence),
            confidence_sum: self.confidence_sum + other.confidence_sum,
            uncertain: self.uncertain + other.uncertain,
            tokens: each(&self.tokens, &other.tokens),
            truncated: self.truncated + other.truncated,
            token_sums: self.token_sums.plus(other.token_sums),
            languages: each(&self.languages, &other.languages),
            cross_entropy: self.cross_entropy.plus(other.cross_entropy),
            words: self.words.plus(&other.words),
            embedding: EmbeddingSums {
                n: self.embedding.n + other.embedding.n,
                cosines: each(&self.embedding.cosines, &other.embedding.cosines),
            },
            labelled: LabelledSums {
                confidence: each(&self.labelled.confidence, &other.labelled.confidence),
                correct: self.labelled.correct + other.labelled.correct,
            },
        }
    }
}

impl TokenSums {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            text: self.text + other.text,
            unknown: self.unknown + other.unknown,
            text_squares: self.text_squares + other.text_squares,
            unknown_squares: self.unknown_squares + other.unknown_squares,
            products: self.products + other.products,
        }
    }
}

impl WordSums {
    /// Whether no review is counted.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        Self { n: self.n + other.n, counts: self.counts.plus(&other.counts) }
    }
}

impl CrossEntropySums {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            n: self.n + other.n,
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
        }
    }
}

fn each<T: Copy + std::ops::Add<Output = T>>(left: &[T], right: &[T]) -> Vec<T> {
    left.iter().zip(right).map(|(&left, &right)| left + right).collect()
}
