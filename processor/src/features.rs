//! What drift needs to know of a review beyond the verdict itself, as [`schemas::DriftFeatures`].
//!
//! Computed here and not by whoever watches for drift: only here are the token ids and the embedding, which are not kept.
//! What the bundle's reference has nothing to compare with is not computed, so a bundle without it costs nothing.

mod english;
mod languages;

use std::sync::LazyLock;

use drift::{Projected, Projection, Reference, Vocabulary, WordPieces};
use schemas::{DriftFeatures, ReviewText};

use crate::tokenizer::{Encoding, Tokenizer};

/// Most characters of a text that its language is told by. More make the answer no surer, and cost their time.
const LANGUAGE_CHARACTERS_MAX: usize = 500;

/// Built once: it owns its list.
static DETECTOR: LazyLock<whatlang::Detector> =
    LazyLock::new(|| whatlang::Detector::with_allowlist(languages::TOLD.to_vec()));

/// Computes features as one bundle's reference asks for them.
#[derive(Clone, Debug, Default)]
pub struct Extractor {
    /// How many special tokens each text has.
    pub special_tokens: u32,
    /// What cross-entropies are computed with, if any are.
    pub vocabulary: Option<Vocabulary>,
    /// What embeddings are projected by, if any are.
    pub projection: Option<Projection>,
    /// Whether languages are told.
    pub tells_languages: bool,
    /// How token ids make words, if words are told.
    pub words: Option<WordPieces>,
}

/// What is known of a text before the model has seen it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextFeatures {
    /// Tokens that stand for what is not in the vocabulary.
    pub unknown_tokens: usize,
    /// Bits a token under the reference's vocabulary.
    pub cross_entropy: Option<f32>,
    /// ISO 639-1 code of what it looks like.
    pub language: Option<&'static str>,
    /// Buckets of its most surprising words.
    pub words: Option<Vec<u16>>,
}

impl Extractor {
    /// What `reference` asks for of texts as `tokenizer` reads them and of embeddings with `width` coordinates.
    pub fn of(reference: &Reference, tokenizer: &Tokenizer, width: usize) -> Self {
        let seed = reference.embedding().map(|(_, moments)| moments.projection_seed);
        Self {
            special_tokens: u32::try_from(tokenizer.special().count()).unwrap_or(u32::MAX),
            vocabulary: reference.vocabulary().cloned(),
            projection: seed.map(|seed| Projection::seeded(seed, width)),
            tells_languages: reference.counts_languages(),
            words: reference.counts_words().then(|| tokenizer.word_pieces().clone()),
        }
    }

    /// The features of a text. The language is told from its first [`LANGUAGE_CHARACTERS_MAX`] characters.
    pub(crate) fn of_text(&self, text: &ReviewText, encoding: &Encoding) -> TextFeatures {
        let vocabulary = self.vocabulary.as_ref();
        let ids = encoding.text_ids();
        let bits = vocabulary.and_then(|vocabulary| vocabulary.cross_entropy(ids));
        let words = vocabulary.zip(self.words.as_ref());
        TextFeatures {
            unknown_tokens: encoding.unknown,
            cross_entropy: bits.map(single),
            language: self.tells_languages.then(|| language(text.as_str())).flatten(),
            words: words.map(|(vocabulary, pieces)| pieces.buckets(vocabulary, ids)),
        }
    }

    /// The embedding in sixteen bytes, if the reference has any to compare with.
    pub(crate) fn project(&self, embedding: &[f32]) -> Option<Projected> {
        self.projection.as_ref()?.project(embedding)
    }

    /// All of it, as the verdict carries it.
    pub(crate) fn features(
        &self,
        text: TextFeatures,
        projection: Option<Projected>,
    ) -> DriftFeatures {
        DriftFeatures {
            special_tokens: self.special_tokens,
            unknown_tokens: u32::try_from(text.unknown_tokens).unwrap_or(u32::MAX),
            cross_entropy: text.cross_entropy,
            projection,
            language: text.language.map(str::to_owned),
            words: text.words,
        }
    }
}

/// The language that `text` looks like: English where its small words say so, else what whatlang finds, if it calls its own answer
/// reliable.
pub fn language(text: &str) -> Option<&'static str> {
    let end = text.char_indices().nth(LANGUAGE_CHARACTERS_MAX).map_or(text.len(), |(end, _)| end);
    let beginning = text.get(..end)?;
    if english::is_plain(beginning) {
        return Some(languages::code(whatlang::Lang::Eng));
    }
    let info = DETECTOR.detect(beginning).filter(whatlang::Info::is_reliable)?;
    Some(languages::code(info.lang()))
}

#[expect(clippy::cast_possible_truncation, reason = "seven digits of at most 32 bits are plenty")]
fn single(bits: f64) -> f32 {
    bits as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::tests::small;

    fn text(text: &str) -> ReviewText {
        ReviewText::new(text).unwrap()
    }

    /// A reference over `labels`, with `more` keys in its profile and `vocabulary`.
    fn reference(more: &serde_json::Value, vocabulary: Option<Vec<u64>>) -> Reference {
        let mut profile = serde_json::json!({
            "name": "all", "n": 2, "labels": {"negative": 1, "positive": 1}, "correct": 2,
            "confidence_sum": 1.8, "truncated": 0, "text_tokens": 10, "unknown_tokens": 0,
            "histograms": {
                "confidence": {"edges": [0.5, 0.9, 1.0], "counts": [1, 1], "correct": [1, 1]},
                "tokens": {"edges": [0.0, 8.0, 64.0], "counts": [1, 1]},
            },
        });
        profile.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut document = serde_json::json!({ "profiles": [profile] });
        if let Some(counts) = vocabulary {
            document["vocabulary"] = serde_json::json!(counts);
        }
        Reference::from_json(document.to_string().as_bytes(), drift::reference::WHOLE).unwrap()
    }

    #[test]
    fn what_the_reference_does_not_ask_for_is_not_computed() {
        let bare = Extractor::of(&reference(&serde_json::json!({}), None), &small(64), 4);
        let good = text("a film that everybody in the whole country should go and see at once");
        let encoding = small(64).encode(&good).unwrap();
        let features = bare.of_text(&good, &encoding);
        assert_eq!(features.words, None);
        assert_eq!(features.unknown_tokens, encoding.unknown);
        assert_eq!((features.cross_entropy, features.language), (None, None));
        assert_eq!(bare.project(&[1.0; 4]), None);
        assert_eq!(bare.features(features, None).special_tokens, 2);
    }

    #[test]
    fn the_cross_entropy_is_that_of_the_text_without_special_tokens() {
        // Nine ids, so nine by smoothing: 56 of 64 for `good` (4), one of 64 for each of the rest.
        let mut counts = vec![0; 9];
        counts[4] = 55;
        let extractor =
            Extractor::of(&reference(&serde_json::json!({}), Some(counts)), &small(64), 4);
        let bits = |words: &str| {
            let words = text(words);
            let encoding = small(64).encode(&words).unwrap();
            extractor.of_text(&words, &encoding).cross_entropy.unwrap()
        };
        let rare = 6.0;
        let usual = (64.0_f32 / 56.0).log2();
        assert!((bits("good good") - usual).abs() < 1e-6);
        assert!((bits("good bad") - f32::midpoint(usual, rare)).abs() < 1e-6);
        // A special token that somebody wrote is part of the text.
        assert!((bits("good [SEP]") - f32::midpoint(usual, rare)).abs() < 1e-6);
    }

    #[test]
    fn words_are_told_where_the_reference_counts_them() {
        let more = serde_json::json!({"words": {"n": 2, "counts": "2 -2047"}});
        let extractor = Extractor::of(&reference(&more, Some(vec![9; 9])), &small(64), 4);
        let of = |words: &str| {
            let words = text(words);
            extractor.of_text(&words, &small(64).encode(&words).unwrap()).words.unwrap()
        };
        assert_eq!((of("good"), of("good bad").len()), (of("good good"), 2));
        assert_eq!(of("good bad"), of("bad good"));
        // Without a vocabulary nobody knows which words are surprising.
        let dumb = Extractor::of(&reference(&more, None), &small(64), 4);
        let good = text("good");
        assert_eq!(dumb.of_text(&good, &small(64).encode(&good).unwrap()).words, None);
    }

    #[test]
    fn a_reference_with_languages_and_embeddings_asks_for_them() {
        let moments = serde_json::json!({
            "projection_seed": 7, "fourier": {"seed": 2, "features": 1, "bandwidth": 90.0}, "n": 2, "mean": [0.1],
            "covariance_traces": [1.0, 1.0, 1.0],
        });
        let more = serde_json::json!({"languages": {"en": 2}, "embedding": moments});
        let extractor = Extractor::of(&reference(&more, None), &small(64), 4);
        let words = text("This film was a waste of a perfectly good evening and of my money.");
        let features = extractor.of_text(&words, &small(64).encode(&words).unwrap());
        let projection = extractor.project(&[1.0, -2.0, 3.0, -4.0]);
        assert_eq!(projection, Projection::seeded(7, 4).project(&[1.0, -2.0, 3.0, -4.0]));
        let features = extractor.features(features, projection);
        assert_eq!(features.language.as_deref(), Some("en"));
        assert!(features.projection.is_some());
    }

    #[test]
    fn a_language_is_told_or_left_open() {
        for (words, expected) in [
            ("This film was a waste of a perfectly good evening and of my money.", Some("en")),
            ("Dieser Film hat mir und meiner ganzen Familie sehr gut gefallen.", Some("de")),
            ("Ce film est une merveille, je le recommande à toute la famille.", Some("fr")),
            ("Эту картину стоит посмотреть всей семьёй, очень хороший фильм.", Some("ru")),
            (
                "Questo film mi è piaciuto moltissimo, gli attori sono bravissimi e la storia è davvero commovente.",
                Some("it"),
            ),
            ("この映画はとても面白かったです。", Some("ja")),
            ("8/10", None),
            ("ok", None),
        ] {
            assert_eq!(language(words), expected, "{words}");
        }
        // Only the beginning decides: a long text costs no more than a page.
        let long = "Dieser Film hat mir sehr gut gefallen und war wirklich lustig. ".repeat(1_000);
        assert_eq!(language(&long), Some("de"));
    }
}
