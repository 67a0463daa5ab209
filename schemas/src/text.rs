//! The one rule for what the text of a review may be, the same at the HTTP door and on the topic.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

/// Most characters (Unicode scalar values) in a review after normalisation.
pub const REVIEW_CHARACTERS_MAX: usize = 10_000;

/// Most bytes of raw text that are looked at. A longer text is refused before it is normalised, so that a hostile one costs
/// nothing: no text within [`REVIEW_CHARACTERS_MAX`] needs more, unless it is mostly control characters or white space.
pub const REVIEW_BYTES_MAX: usize = 16 * REVIEW_CHARACTERS_MAX;

/// Text of a review: normalised, not blank, at most [`REVIEW_CHARACTERS_MAX`] characters.
///
/// Normalised means NFC (Unicode Standard Annex 15), control characters (general category Cc) removed, each run of white
/// space folded into one space, none at either end. Line breaks and tabs are white space, so words stay apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReviewText(String);

/// Why a text is not a [`ReviewText`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// Nothing is left after normalisation.
    #[error("the review is empty: send at least one visible character")]
    Empty,
    /// More characters than [`REVIEW_CHARACTERS_MAX`].
    #[error("the review has {characters} characters, at most {REVIEW_CHARACTERS_MAX} are accepted")]
    TooLong {
        /// How many there are after normalisation.
        characters: usize,
    },
    /// More bytes than [`REVIEW_BYTES_MAX`] before normalisation.
    #[error("the review has {bytes} bytes, at most {REVIEW_BYTES_MAX} are accepted")]
    TooManyBytes {
        /// How many there are.
        bytes: usize,
    },
}

impl ReviewText {
    /// Normalises `raw` and checks it.
    pub fn new(raw: &str) -> Result<Self, InvalidText> {
        if REVIEW_BYTES_MAX < raw.len() {
            return Err(InvalidText::TooManyBytes { bytes: raw.len() });
        }
        let text = normalise(raw);
        if text.is_empty() {
            return Err(InvalidText::Empty);
        }
        let characters = text.chars().count();
        if REVIEW_CHARACTERS_MAX < characters {
            return Err(InvalidText::TooLong { characters });
        }
        Ok(Self(text))
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// NFC, control characters removed, white space folded; see [`ReviewText`]. Idempotent.
fn normalise(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut space_pending = false;
    // Controls go before NFC: one that stood between a letter and its accent would keep them apart, and a second pass
    // would then join them.
    let kept = raw.chars().filter(|character| character.is_whitespace() || !character.is_control());
    for character in kept.nfc() {
        if character.is_whitespace() {
            space_pending = !text.is_empty();
            continue;
        }
        if space_pending {
            text.push(' ');
            space_pending = false;
        }
        text.push(character);
    }
    text
}

impl TryFrom<String> for ReviewText {
    type Error = InvalidText;

    fn try_from(raw: String) -> Result<Self, InvalidText> {
        Self::new(&raw)
    }
}

impl From<ReviewText> for String {
    fn from(text: ReviewText) -> Self {
        text.0
    }
}

impl fmt::Display for ReviewText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
