//! The ids of plain texts, by a shorter way than the general one.
//!
//! Most reviews are ASCII and most bundles tokenise as BERT does: clean, lowercase, split at spaces and punctuation, then the longest
//! pieces of the vocabulary, from the left (Devlin et al. 2018; `tokenization.py` of BERT's authors). For these alone the ids are found
//! here, in one pass and without the alignments that the library keeps for callers who want to know where each token came from. Any
//! other text, and any other kind of tokenizer, goes to the library; both must agree in every bit, which tests see to.

use std::collections::HashMap;

use serde::Deserialize;

/// Looks up the ids of ASCII texts.
pub(super) struct Plain {
    /// Pieces that begin a word.
    first: HashMap<Box<[u8]>, u32>,
    /// Pieces that go on with one, without the prefix that says so.
    further: HashMap<Box<[u8]>, u32>,
    /// Bytes of the longest piece.
    piece_bytes_max: usize,
    /// Words with more characters are unknown.
    word_characters_max: usize,
    unknown: u32,
    lowercase: bool,
    /// Tokens that are found in a text before it is split.
    added: Vec<String>,
}

/// What of `tokenizer.json` has to be known. Whatever is missing or of another kind leaves the work to the library.
#[derive(Deserialize)]
struct Definition {
    normalizer: Normalizer,
    pre_tokenizer: PreTokenizer,
    model: Model,
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Normalizer {
    BertNormalizer { clean_text: bool, lowercase: bool },
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum PreTokenizer {
    BertPreTokenizer,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Model {
    WordPiece {
        unk_token: String,
        continuing_subword_prefix: String,
        max_input_chars_per_word: usize,
        vocab: HashMap<String, u32>,
    },
}

#[derive(Deserialize)]
struct AddedToken {
    content: String,
    normalized: bool,
}

impl Plain {
    /// `None` where `json` defines a tokenizer of another kind.
    pub(super) fn of(json: &[u8]) -> Option<Self> {
        let definition: Definition = serde_json::from_slice(json).ok()?;
        let Normalizer::BertNormalizer { clean_text, lowercase } = definition.normalizer;
        let PreTokenizer::BertPreTokenizer = definition.pre_tokenizer;
        let Model::WordPiece {
            unk_token,
            continuing_subword_prefix,
            max_input_chars_per_word,
            vocab,
        } = definition.model;
        let is_plain = clean_text
            && !continuing_subword_prefix.is_empty()
            && definition.added_tokens.iter().all(|token| !token.normalized);
        if !is_plain {
            return None;
        }
        let unknown = *vocab.get(&unk_token)?;
        let bytes = |piece: &str| Box::<[u8]>::from(piece.as_bytes());
        let further = vocab.iter().filter_map(|(piece, id)| {
            Some((bytes(piece.strip_prefix(&continuing_subword_prefix)?), *id))
        });
        Some(Self {
            further: further.collect(),
            first: vocab.iter().map(|(piece, id)| (bytes(piece), *id)).collect(),
            piece_bytes_max: vocab.keys().map(String::len).max()?,
            word_characters_max: max_input_chars_per_word,
            unknown,
            lowercase,
            added: definition.added_tokens.into_iter().map(|token| token.content).collect(),
        })
    }

    /// Appends the ids of `text`, without those that are put around it. `false`, and nothing is appended, where the text is not
    /// plain.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> bool {
        if !text.is_ascii() || self.added.iter().any(|token| text.contains(token.as_str())) {
            return false;
        }
        let mut word = Vec::with_capacity(32);
        for &byte in text.as_bytes() {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.close(&mut word, ids),
                // Dropped by BERT's cleaning, so that what stands around it is one word.
                _ if byte.is_ascii_control() => {}
                _ if byte.is_ascii_punctuation() => {
                    self.close(&mut word, ids);
                    word.push(byte);
                    self.close(&mut word, ids);
                }
                _ if self.lowercase => word.push(byte.to_ascii_lowercase()),
                _ => word.push(byte),
            }
        }
        self.close(&mut word, ids);
        true
    }

    /// Appends the ids of `word`, and empties it.
    fn close(&self, word: &mut Vec<u8>, ids: &mut Vec<u32>) {
        let begin = ids.len();
        if !word.is_empty() && !self.pieces(word, ids) {
            ids.truncate(begin);
            ids.push(self.unknown);
        }
        word.clear();
    }

    /// Appends the longest pieces that `word` begins with, one after the other; `false` if some of it is no piece.
    fn pieces(&self, word: &[u8], ids: &mut Vec<u32>) -> bool {
        if self.word_characters_max < word.len() {
            return false;
        }
        let mut rest = word;
        while !rest.is_empty() {
            let pieces = if rest.len() == word.len() { &self.first } else { &self.further };
            let longest = (1..=rest.len().min(self.piece_bytes_max)).rev().find_map(|length| {
                let (piece, after) = rest.split_at_checked(length)?;
                Some((*pieces.get(piece)?, after))
            });
            let Some((id, after)) = longest else { return false };
            ids.push(id);
            rest = after;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use schemas::ReviewText;
    use serde_json::json;

    use super::{super::Tokenizer, *};

    /// Pieces that overlap, so that the longest is not always the right one to begin with.
    const PIECES: [&str; 20] = [
        "[UNK]", "[CLS]", "[SEP]", "a", "b", "ab", "abc", "##a", "##b", "##c", "##bc", "##abc",
        "!", "'", "the", "room", "##s", "A", "1", "[",
    ];

    fn definition(lowercase: bool) -> serde_json::Value {
        let vocabulary: HashMap<&str, usize> =
            PIECES.iter().enumerate().map(|(id, piece)| (*piece, id)).collect();
        let added: Vec<_> = (0..3)
            .map(|id| {
                json!({"id": id, "special": true, "content": PIECES[id], "single_word": false,
                    "lstrip": false, "rstrip": false, "normalized": false})
            })
            .collect();
        json!({
            "version": "1.0", "truncation": null, "padding": null, "decoder": null,
            "added_tokens": added,
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                "strip_accents": null, "lowercase": lowercase},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 12, "vocab": vocabulary},
        })
    }

    /// The ids by the library, without those around the text.
    fn by_library(definition: &serde_json::Value, text: &str) -> Vec<u32> {
        let library = tokenizers::Tokenizer::from_bytes(definition.to_string()).unwrap();
        library.encode_fast(text, false).unwrap().get_ids().to_vec()
    }

    proptest! {
        #[test]
        fn plain_texts_get_the_ids_that_the_library_gives(
            parts in vec(prop_oneof![
                proptest::sample::select(PIECES.to_vec()).prop_map(str::to_owned),
                "[ -~]{0,6}",
                "[a-cA-C]{1,16}",
                "[\u{0}-\u{7f}]{0,3}",
                Just(" ".to_owned()),
            ], 0..12),
            lowercase: bool,
        ) {
            let (definition, text) = (definition(lowercase), parts.concat());
            let plain = Plain::of(definition.to_string().as_bytes()).unwrap();
            let mut ids = vec![77];
            if plain.encode(&text, &mut ids) {
                let expected = [vec![77], by_library(&definition, &text)].concat();
                prop_assert_eq!(ids, expected, "{:?}", text);
            } else {
                prop_assert!(PIECES[..3].iter().any(|token| text.contains(token)), "{:?}", text);
                prop_assert_eq!(ids, [77]);
            }
        }
    }

    #[test]
    fn shipped_bundles_have_the_faster_way_and_lose_nothing_by_it() {
        let bundle = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/sentiment/1");
        let json = std::fs::read(bundle.join("tokenizer.json")).unwrap();
        let plain = Plain::of(&json).unwrap();
        let library = tokenizers::Tokenizer::from_bytes(&json).unwrap();
        let golden = std::fs::read_to_string(bundle.join("golden.jsonl")).unwrap();
        let mut count = 0;
        for text in golden.lines().flat_map(|line| line.split('"')) {
            let mut ids = Vec::new();
            if plain.encode(text, &mut ids) {
                assert_eq!(ids, library.encode_fast(text, false).unwrap().get_ids(), "{text}");
                count += ids.len();
            }
        }
        assert!(1_000 < count, "{count} tokens say little");
    }

    #[test]
    fn other_texts_are_left_to_the_library() {
        let json = definition(true).to_string();
        let plain = Plain::of(json.as_bytes()).unwrap();
        for text in ["caf\u{e9}", "a [SEP] b", "\u{201c}ab\u{201d}"] {
            assert!(!plain.encode(text, &mut Vec::new()), "{text}");
        }
        // Either way ends in the same ids, those around the text included.
        let tokenizer = Tokenizer::from_bytes(json.as_bytes(), "[UNK]", 16).unwrap();
        let ids = |text| tokenizer.encode(&ReviewText::new(text).unwrap()).unwrap().ids;
        assert_eq!(ids("ab abc"), [1, 5, 6, 2]);
        assert_eq!(ids("ab \u{e9} abc"), [1, 5, 0, 6, 2]);
        assert_eq!(ids("ab [SEP]"), [1, 5, 2, 2]);
    }

    #[test]
    fn other_kinds_of_tokenizers_are_left_to_the_library() {
        let changes = [
            ("/normalizer", json!(null)),
            ("/normalizer/type", json!("Lowercase")),
            ("/normalizer/clean_text", json!(false)),
            ("/pre_tokenizer/type", json!("Whitespace")),
            ("/model/type", json!("BPE")),
            ("/model/unk_token", json!("[unk]")),
            ("/model/continuing_subword_prefix", json!("")),
            ("/added_tokens/0/normalized", json!(true)),
        ];
        for (place, value) in changes {
            let mut definition = definition(true);
            *definition.pointer_mut(place).unwrap() = value;
            assert!(Plain::of(definition.to_string().as_bytes()).is_none(), "{place}");
        }
    }
}
