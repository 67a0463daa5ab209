//! From text to token ids, cut to what the model reads exactly as in training.

mod plain;

use std::fmt;

use drift::WordPieces;
use schemas::{Refusal, ReviewText, Stage};

use self::plain::Plain;
use crate::classifier::catch;

/// The bundle's tokenizer.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// A faster way for plain texts, where the bundle's tokenizer has one.
    plain: Option<Around>,
    /// Most ids that the model reads, special ones included.
    tokens_max: usize,
    /// Stands for what is not in the vocabulary; `None` where the vocabulary has no such token.
    unknown: Option<u32>,
    special: SpecialTokens,
    word_pieces: WordPieces,
}

/// The faster way, and the ids that the bundle puts around every text.
struct Around {
    plain: Plain,
    before: Vec<u32>,
    after: Vec<u32>,
}

/// How many special tokens are put around every text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Before it.
    pub before: usize,
    /// Behind it.
    pub after: usize,
}

/// What the model reads of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids after truncation, special ones included, without padding.
    pub ids: Vec<u32>,
    /// Whether the text had more.
    pub truncated: bool,
    /// How many of `ids` stand for what is not in the vocabulary.
    pub unknown: usize,
    /// How many of `ids` were put around the text.
    pub special: SpecialTokens,
}

/// Why a tokenizer cannot be used: the bundle is broken.
#[derive(Debug, thiserror::Error)]
#[error("the tokenizer cannot be used: {0}")]
pub struct UnusableTokenizer(String);

impl Tokenizer {
    /// Reads `tokenizer.json`. `unknown` is the token for what is not in the vocabulary.
    pub fn from_bytes(
        json: &[u8],
        unknown: &str,
        tokens_max: usize,
    ) -> Result<Self, UnusableTokenizer> {
        let read = || tokenizers::Tokenizer::from_bytes(json).map_err(|error| error.to_string());
        let mut inner = catch(read).map_err(UnusableTokenizer)?;
        // The file may ask for padding and for truncation of its own kind; the batcher pads, and `cut` truncates.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| UnusableTokenizer(error.to_string()))?;
        let unknown = inner.token_to_id(unknown);
        let probe = || inner.encode_fast("a", true).map_err(|error| error.to_string());
        let probed = catch(probe).map_err(UnusableTokenizer)?;
        let special = SpecialTokens::of(probed.get_special_tokens_mask());
        let ids = probed.get_ids();
        let after = ids.len().saturating_sub(special.after);
        let around = |plain| {
            let (before, after) = (ids.get(..special.before)?.to_vec(), ids.get(after..)?.to_vec());
            Some(Around { plain, before, after })
        };
        let plain = Plain::of(json).and_then(around);
        let word_pieces = word_pieces(json, &inner);
        Ok(Self { inner, plain, tokens_max, unknown, special, word_pieces })
    }

    /// How many tokens it knows, special ones included.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// How many special tokens it puts around a text.
    pub fn special(&self) -> SpecialTokens {
        self.special
    }

    /// Which of its ids go on with a word. Where the kind of tokenizer does not say so in its pieces, each is a word.
    pub fn word_pieces(&self) -> &WordPieces {
        &self.word_pieces
    }

    /// Most ids that it gives, special ones included.
    pub fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// The ids of `text`, whose size is bounded by its type.
    pub fn encode(&self, text: &ReviewText) -> Result<Encoding, Refusal> {
        let ids = match self.plain.as_ref().and_then(|around| around.ids(text)) {
            Some(ids) => ids,
            None => self.any_ids(text)?,
        };
        let truncated = self.tokens_max < ids.len();
        let ids = cut(ids, self.tokens_max);
        let unknown = ids.iter().filter(|&&id| Some(id) == self.unknown).count();
        Ok(Encoding { ids, truncated, unknown, special: self.special })
    }

    /// By the library, which knows every kind of tokenizer and of text.
    fn any_ids(&self, text: &ReviewText) -> Result<Vec<u32>, Refusal> {
        let encode =
            || self.inner.encode_fast(text.as_str(), true).map_err(|error| error.to_string());
        let encoded = catch(encode)
            .map_err(|message| Refusal::new(Stage::Tokenize, "TokenizerFailed", message))?;
        Ok(encoded.get_ids().to_vec())
    }
}

/// By the prefix that `tokenizer.json` says a piece has if it goes on with a word, `##` for BERT's.
fn word_pieces(json: &[u8], tokenizer: &tokenizers::Tokenizer) -> WordPieces {
    #[derive(serde::Deserialize)]
    struct Definition {
        model: Model,
    }
    #[derive(serde::Deserialize)]
    struct Model {
        #[serde(default)]
        continuing_subword_prefix: Option<String>,
    }
    let prefix = serde_json::from_slice(json).ok();
    let prefix = prefix.and_then(|Definition { model }| model.continuing_subword_prefix);
    let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) else {
        return WordPieces::default();
    };
    let mut continues = vec![false; tokenizer.get_vocab_size(true)];
    for (piece, id) in tokenizer.get_vocab(false) {
        let place = usize::try_from(id).ok().and_then(|id| continues.get_mut(id));
        if let Some(place) = place {
            *place = piece.starts_with(&prefix);
        }
    }
    WordPieces::new(continues)
}

impl Around {
    fn ids(&self, text: &ReviewText) -> Option<Vec<u32>> {
        // English takes some four bytes a token.
        let mut ids = Vec::with_capacity(text.as_str().len() / 4 + 8);
        ids.extend_from_slice(&self.before);
        if !self.plain.encode(text.as_str(), &mut ids) {
            return None;
        }
        ids.extend_from_slice(&self.after);
        Some(ids)
    }
}

impl SpecialTokens {
    /// Of the mask of a text that is not empty: 1 for a token that was put around it. A special token that stands in the text
    /// itself is 0 there.
    fn of(mask: &[u32]) -> Self {
        let special = |mask: &&u32| **mask == 1;
        let before = mask.iter().take_while(special).count();
        let after = mask.iter().skip(before).rev().take_while(special).count();
        Self { before, after }
    }

    /// Both together.
    pub fn count(self) -> usize {
        self.before + self.after
    }
}

impl Encoding {
    /// The ids of the text itself, without those that were put around it.
    pub fn text_ids(&self) -> &[u32] {
        let end = self.ids.len().saturating_sub(self.special.after);
        self.ids.get(self.special.before..end).unwrap_or_default()
    }
}

/// The first half and the last half of the limit, since a review's judgement tends to stand at its beginning or its end.
/// Special tokens are ids like others: the first one opens the first half, the last one closes the last.
fn cut(mut ids: Vec<u32>, tokens_max: usize) -> Vec<u32> {
    let head = tokens_max / 2;
    let tail = tokens_max - head;
    if tokens_max < ids.len() {
        ids.drain(head..ids.len() - tail);
    }
    ids
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("tokens_max", &self.tokens_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A tokenizer of a few words, for tests without a bundle.
    pub(crate) fn small(tokens_max: usize) -> Tokenizer {
        let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "fail", "panic", "nan"];
        let vocabulary: std::collections::BTreeMap<&str, usize> =
            words.iter().enumerate().map(|(id, word)| (*word, id)).collect();
        let special = |id: usize| {
            serde_json::json!({"id": id, "special": true, "content": words[id], "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false})
        };
        let json = serde_json::json!({
            "version": "1.0",
            "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0},
            "padding": {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
            "added_tokens": (0..4).map(special).collect::<Vec<_>>(),
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                "strip_accents": null, "lowercase": true},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
            "decoder": null,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocabulary},
        });
        Tokenizer::from_bytes(json.to_string().as_bytes(), "[UNK]", tokens_max).unwrap()
    }

    #[track_caller]
    fn check(text: &str, tokens_max: usize, ids: &[u32], truncated: bool, unknown: usize) {
        let encoding = small(tokens_max).encode(&ReviewText::new(text).unwrap()).unwrap();
        let special = SpecialTokens { before: 1, after: 1 };
        assert_eq!(encoding, Encoding { ids: ids.to_vec(), truncated, unknown, special });
        assert_eq!(encoding.text_ids(), &ids[1..ids.len() - 1]);
    }

    #[test]
    fn the_first_and_the_last_half_are_kept() {
        check("good bad", 8, &[2, 4, 5, 3], false, 0);
        check("good bad", 4, &[2, 4, 5, 3], false, 0);
        check("good bad bad good", 4, &[2, 4, 4, 3], true, 0);
        check("good bad bad good", 5, &[2, 4, 5, 4, 3], true, 0);
    }

    #[test]
    fn unknown_tokens_are_counted_after_the_cut() {
        check("good what", 8, &[2, 4, 1, 3], false, 1);
        check("good what what bad", 4, &[2, 4, 5, 3], true, 0);
    }

    #[test]
    fn special_tokens_are_those_around_the_text_and_not_those_in_it() {
        check("[CLS] good", 8, &[2, 2, 4, 3], false, 0);
        assert_eq!(small(8).special().count(), 2);
        assert_eq!(SpecialTokens::of(&[0, 0]), SpecialTokens::default());
        assert_eq!(SpecialTokens::of(&[1, 1]), SpecialTokens { before: 2, after: 0 });
    }

    #[test]
    fn the_file_s_own_padding_and_truncation_are_off() {
        check("good good good good good", 16, &[2, 4, 4, 4, 4, 4, 3], false, 0);
    }

    #[test]
    fn bytes_that_are_no_tokenizer_are_refused() {
        for bytes in [b"".as_slice(), b"{}", b"\xff\xff"] {
            assert!(Tokenizer::from_bytes(bytes, "[UNK]", 8).is_err());
        }
    }
}
