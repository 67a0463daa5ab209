//! What drift needs to know of one verdict: a handful of numbers, from which neither text nor author can be told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    projection::Projected,
    words::{BUCKETS, WORDS_MAX},
};

/// Most tokens that a verdict may claim; squares of it still add up in 64 bits.
pub const TOKENS_MAX: u32 = 65_535;

/// Most bits a token that a cross-entropy may claim: that of a token seen once among 2^32.
pub const CROSS_ENTROPY_MAX: f32 = 32.0;

/// Below this difference between the two most probable labels a verdict is called uncertain.
pub const MARGIN_MIN: f32 = 0.2;

/// The features of one verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Features {
    /// The most probable label.
    pub label: String,
    /// Its probability, 0 to 1, calibrated.
    pub confidence: f32,
    /// Probability of each label.
    pub probabilities: BTreeMap<String, f32>,
    /// Tokens that the model read, special ones included.
    pub tokens: u32,
    /// Of these, special ones, which say nothing of the text.
    pub special_tokens: u32,
    /// Tokens that are not in the vocabulary. A count and not a share, so that sums of it are exact.
    pub unknown_tokens: u32,
    /// Whether the text had more tokens than the model reads.
    pub truncated: bool,
    /// Bits a token under the reference vocabulary, see [`crate::Vocabulary::cross_entropy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_entropy: Option<f32>,
    /// The pooled embedding, projected, see [`crate::Projection`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<Projected>,
    /// BCP 47 tag of the review's language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Buckets of its most surprising words, see [`crate::words`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<Vec<u16>>,
}

/// Why features are not counted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidFeatures {
    /// The label is not one of the model's.
    #[error("label `{0}` is not one of the reference's")]
    Label(String),
    /// A probability is none.
    #[error("a probability is {0}, not between 0 and 1")]
    Probability(f32),
    /// The numbers of tokens contradict each other or are beyond [`TOKENS_MAX`].
    #[error("{tokens} tokens, of which {special} special and {unknown} unknown")]
    Tokens {
        /// All of them.
        tokens: u32,
        /// Special ones.
        special: u32,
        /// Those that are not in the vocabulary.
        unknown: u32,
    },
    /// The cross-entropy is none.
    #[error("the cross-entropy is {0} bits a token, not between 0 and 32")]
    CrossEntropy(f32),
    /// The buckets of words are not as [`crate::WordPieces::buckets`] gives them.
    #[error("words in buckets {0:?}, not at most 16 below 2048 that rise")]
    Words(Vec<u16>),
}

impl Features {
    /// Tokens of the text itself.
    pub fn text_tokens(&self) -> u32 {
        self.tokens.saturating_sub(self.special_tokens)
    }

    /// Share of the text's tokens that are not in the vocabulary; 0 for a text without tokens.
    pub fn unknown_share(&self) -> f64 {
        let text = self.text_tokens();
        if text == 0 { 0.0 } else { f64::from(self.unknown_tokens) / f64::from(text) }
    }

    /// Difference between the probabilities of the two most probable labels: 0 is a draw, 1 is certain (margin sampling;
    /// Settles 2009, Active Learning Literature Survey, section 3.1).
    pub fn margin(&self) -> f32 {
        let mut first = 0.0_f32;
        let mut second = 0.0_f32;
        for &probability in self.probabilities.values() {
            if first < probability {
                (first, second) = (probability, first);
            } else {
                second = second.max(probability);
            }
        }
        first - second
    }

    /// Whether the two most probable labels are closer than [`MARGIN_MIN`].
    pub fn is_uncertain(&self) -> bool {
        self.margin() < MARGIN_MIN
    }

    /// Refuses what cannot be true, so that whoever counts need not think of it.
    pub(crate) fn check(&self) -> Result<(), InvalidFeatures> {
        let mut probabilities = self.probabilities.values().chain([&self.confidence]);
        if let Some(&wrong) = probabilities.find(|value| !(0.0..=1.0).contains(*value)) {
            return Err(InvalidFeatures::Probability(wrong));
        }
        let (tokens, special, unknown) = (self.tokens, self.special_tokens, self.unknown_tokens);
        if TOKENS_MAX < tokens || tokens < special || self.text_tokens() < unknown {
            return Err(InvalidFeatures::Tokens { tokens, special, unknown });
        }
        if let Some(words) = self.words.as_ref().filter(|words| !are_buckets(words)) {
            return Err(InvalidFeatures::Words(words.clone()));
        }
        match self.cross_entropy {
            Some(bits) if !(0.0..=CROSS_ENTROPY_MAX).contains(&bits) => {
                Err(InvalidFeatures::CrossEntropy(bits))
            }
            _valid => Ok(()),
        }
    }
}

/// Whether these are buckets of the words of one review: each once, in order, and not too many.
fn are_buckets(words: &[u16]) -> bool {
    let rise = words.windows(2).all(|pair| pair.first() < pair.last());
    let last = words.last().is_none_or(|&last| usize::from(last) < BUCKETS);
    words.len() <= WORDS_MAX && rise && last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features() -> Features {
        Features {
            label: "a".to_owned(),
            confidence: 0.5,
            probabilities: [("a", 0.5), ("b", 0.375), ("c", 0.125)]
                .map(|(label, probability)| (label.to_owned(), probability))
                .into(),
            tokens: 10,
            special_tokens: 2,
            unknown_tokens: 2,
            truncated: false,
            cross_entropy: None,
            projection: None,
            language: None,
            words: None,
        }
    }

    #[test]
    fn shares_and_margins_are_those_of_the_text() {
        let features = features();
        assert!((features.unknown_share() - 0.25).abs() < 1e-12);
        assert!((features.margin() - 0.125).abs() < 1e-6);
        assert!(features.is_uncertain());
        let silent = Features { tokens: 2, unknown_tokens: 0, ..features };
        assert!(silent.unknown_share() < 1e-12);
    }

    #[test]
    fn what_cannot_be_true_is_refused() {
        let valid = features();
        assert_eq!(valid.check(), Ok(()));
        for words in [vec![], vec![0, 5, 2_047], (0..16).collect()] {
            assert_eq!(Features { words: Some(words), ..valid.clone() }.check(), Ok(()));
        }
        for wrong in [
            Features { confidence: 1.5, ..valid.clone() },
            Features { confidence: f32::NAN, ..valid.clone() },
            Features { tokens: 1, ..valid.clone() },
            Features { unknown_tokens: 9, ..valid.clone() },
            Features { tokens: TOKENS_MAX + 1, ..valid.clone() },
            Features { cross_entropy: Some(33.0), ..valid.clone() },
            Features { cross_entropy: Some(f32::NAN), ..valid.clone() },
            Features { words: Some(vec![2, 1]), ..valid.clone() },
            Features { words: Some(vec![1, 1]), ..valid.clone() },
            Features { words: Some(vec![1, 2_048]), ..valid.clone() },
            Features { words: Some((0..17).collect()), ..valid.clone() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
