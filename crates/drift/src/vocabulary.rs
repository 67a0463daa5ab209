//! How surprising a text's words are to somebody who knows only how often each word is used.

use serde::{Deserialize, Serialize};

use crate::number::{count, real};

/// Most token ids that a vocabulary may have.
pub const VOCABULARY_MAX: usize = 1 << 20;

/// A unigram model of token ids, smoothed by adding one to every count, so that a token never seen costs much, not all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u64>", into = "Vec<u64>")]
pub struct Vocabulary {
    counts: Vec<u64>,
    /// `-log2 q` of each token id.
    bits: Vec<f64>,
    /// Of a token never seen.
    unseen: f64,
}

/// Why counts are not a vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a vocabulary of {tokens} token ids and {occurrences:?} occurrences")]
pub struct InvalidVocabulary {
    tokens: usize,
    /// None if they are beyond counting.
    occurrences: Option<u64>,
}

impl Vocabulary {
    /// From how often each token id occurs, in order of ids.
    pub fn from_counts(counts: Vec<u64>) -> Result<Self, InvalidVocabulary> {
        let tokens = counts.len();
        let occurrences = counts.iter().try_fold(0_u64, |sum, &next| sum.checked_add(next));
        let smoothed = occurrences.and_then(|sum| sum.checked_add(count(tokens)));
        match smoothed.filter(|_| (1..=VOCABULARY_MAX).contains(&tokens)) {
            Some(total) => {
                let bits = |&count: &u64| (real(total) / (real(count) + 1.0)).log2();
                let bits: Vec<f64> = counts.iter().map(bits).collect();
                let unseen = bits.iter().copied().fold(0.0, f64::max);
                Ok(Self { counts, bits, unseen })
            }
            None => Err(InvalidVocabulary { tokens, occurrences }),
        }
    }

    /// Vocabulary cross-entropy of a text in bits a token: `H(p, q) = -sum_w p(w) log2 q(w)`, where `p` are the text's own
    /// token frequencies and `q` the smoothed ones of the reference (Chang et al., ACL 2023, Characterizing and Measuring
    /// Linguistic Dataset Drift, section 3.1, vocabulary drift; they count content words, we count all token ids, since
    /// telling content words needs a tagger for each language). None for a text without tokens. An id beyond the vocabulary
    /// counts as one never seen.
    pub fn cross_entropy(&self, ids: &[u32]) -> Option<f64> {
        let sum: f64 = ids.iter().map(|&id| self.bits(id)).sum();
        (!ids.is_empty()).then(|| sum / real(count(ids.len())))
    }

    /// `-log2 q` of one token.
    pub(crate) fn bits(&self, id: u32) -> f64 {
        let index = usize::try_from(id).ok();
        index.and_then(|index| self.bits.get(index)).copied().unwrap_or(self.unseen)
    }
}

impl TryFrom<Vec<u64>> for Vocabulary {
    type Error = InvalidVocabulary;

    fn try_from(counts: Vec<u64>) -> Result<Self, Self::Error> {
        Self::from_counts(counts)
    }
}

impl From<Vocabulary> for Vec<u64> {
    fn from(vocabulary: Vocabulary) -> Self {
        vocabulary.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_vocabulary_costs_its_logarithm_whatever_the_text() {
        let vocabulary = Vocabulary::from_counts(vec![3; 8]).unwrap();
        for ids in [&[0_u32][..], &[1, 1, 1], &[0, 1, 2, 3, 4, 5, 6, 7]] {
            assert!((vocabulary.cross_entropy(ids).unwrap() - 3.0).abs() < 1e-12, "{ids:?}");
        }
        assert_eq!(vocabulary.cross_entropy(&[]), None);
    }

    #[test]
    fn rare_words_cost_more_and_unknown_ids_most() {
        let vocabulary = Vocabulary::from_counts(vec![1_000, 10, 0]).unwrap();
        let cost = |id: u32| vocabulary.cross_entropy(&[id]).unwrap();
        assert!(cost(0) < cost(1) && cost(1) < cost(2));
        assert!((cost(2) - cost(99)).abs() < 1e-12);
    }

    #[test]
    fn what_is_empty_or_beyond_counting_is_no_vocabulary() {
        assert!(Vocabulary::from_counts(Vec::new()).is_err());
        assert!(Vocabulary::from_counts(vec![u64::MAX, 1]).is_err());
        assert!(Vocabulary::from_counts(vec![u64::MAX]).is_err());
        assert!(Vocabulary::from_counts(vec![0; VOCABULARY_MAX + 1]).is_err());
    }
}
