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
/// space folded into one space, none at either end. Line breaks and tabs are white space, so words stay apart. Invisible
/// characters that are no controls stay, because emoji and several scripts are spelt with them; a text of nothing else is
/// blank.
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
        if text.chars().all(|character| character == ' ' || is_invisible(character)) {
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
    if raw.is_ascii() {
        // Composed already, and most reviews are.
        return folded(kept(raw), raw.len());
    }
    // Controls go before NFC: one that stood between a letter and its accent would keep them apart, and a second pass
    // would then join them.
    folded(kept(raw).nfc(), raw.len())
}

fn kept(raw: &str) -> impl Iterator<Item = char> {
    raw.chars().filter(|character| character.is_whitespace() || !character.is_control())
}

/// Runs of white space as one space, none at either end.
fn folded(characters: impl Iterator<Item = char>, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes);
    let mut space_pending = false;
    for character in characters {
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

/// Unicode's property `Default_Ignorable_Code_Point` (`DerivedCoreProperties.txt`, Unicode 16), such as zero-width spaces and
/// joiners, direction marks, variation selectors and the byte order mark.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_normalization::is_nfc;

    use super::*;

    fn check(raw: &str, expected: &str) {
        assert_eq!(ReviewText::new(raw).unwrap().as_str(), expected, "{raw:?}");
    }

    #[test]
    fn white_space_is_folded() {
        check("  The room\t\n\r\n was   clean. ", "The room was clean.");
        check("a\u{a0}b\u{3000}c\u{2028}d\u{85}e", "a b c d e");
    }

    #[test]
    fn control_characters_are_removed() {
        check("a\u{0}b\u{7}c\u{1b}[0md\u{7f}e\u{9f}f", "abc[0mdef");
    }

    #[test]
    fn letters_and_their_accents_are_composed() {
        check("cafe\u{301}", "caf\u{e9}");
        check("e\u{0}\u{301}", "\u{e9}");
        check("\u{212b}", "\u{c5}");
        check("\u{1112}\u{1161}\u{11ab}", "\u{d55c}");
        check("q\u{307}\u{323}", "q\u{323}\u{307}");
        check(" \u{301}", "\u{301}");
    }

    #[test]
    fn what_scripts_and_emoji_are_spelt_with_stays() {
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{2764}\u{fe0f}";
        check(family, family);
        let persian = "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}";
        check(persian, persian);
    }

    #[test]
    fn a_text_without_a_visible_character_is_empty() {
        for blank in
            ["", " ", "\n\t", "\u{0}\u{1b}", "\u{200b}", "\u{feff} \u{200d}", "\u{3164}\u{ad}"]
        {
            assert_eq!(ReviewText::new(blank), Err(InvalidText::Empty), "{blank:?}");
        }
    }

    #[test]
    fn characters_are_counted_after_normalisation() {
        let most = "\u{e9}".repeat(REVIEW_CHARACTERS_MAX);
        check(&most, &most);
        check(&format!("  {}\u{0}", "e\u{301}".repeat(REVIEW_CHARACTERS_MAX)), &most);
        let characters = REVIEW_CHARACTERS_MAX + 1;
        let refused = Err(InvalidText::TooLong { characters });
        assert_eq!(ReviewText::new(&"a".repeat(characters)), refused);
        assert_eq!(ReviewText::new(&"e\u{301}".repeat(characters)), refused);
    }

    #[test]
    fn the_longest_characters_fit_and_more_bytes_are_not_looked_at() {
        let widest = "\u{1f468}".repeat(REVIEW_CHARACTERS_MAX);
        check(&widest, &widest);
        check(&" ".repeat(REVIEW_BYTES_MAX - 1).replacen(' ', "a ", 1), "a");
        let bytes = REVIEW_BYTES_MAX + 1;
        assert_eq!(ReviewText::new(&" ".repeat(bytes)), Err(InvalidText::TooManyBytes { bytes }));
    }

    #[test]
    fn json_is_held_to_the_same_rule() {
        let text: ReviewText = serde_json::from_str(r#""  a  b ""#).unwrap();
        assert_eq!(serde_json::to_string(&text).unwrap(), r#""a b""#);
        assert!(serde_json::from_str::<ReviewText>(r#"" ""#).is_err());
    }

    /// Text that is rich in what normalisation cares about.
    fn raw() -> impl Strategy<Value = String> {
        let delicate = prop::sample::select(vec![
            ' ',
            '\t',
            '\n',
            '\u{0}',
            '\u{85}',
            '\u{a0}',
            '\u{301}',
            '\u{323}',
            '\u{307}',
            '\u{345}',
            'e',
            '\u{1100}',
            '\u{1161}',
            '\u{11a8}',
            '\u{ac00}',
            '\u{200b}',
            '\u{200d}',
            '\u{feff}',
            '\u{958}',
            '\u{fb2c}',
            '\u{1d160}',
            '\u{2126}',
            '\u{2000}',
        ]);
        prop::collection::vec(prop_oneof![3 => delicate, 1 => any::<char>()], 0..60)
            .prop_map(|characters| characters.into_iter().collect())
    }

    proptest! {
        #[test]
        fn ascii_needs_no_composition(raw in "[\\x00-\\x7f]{0,40}") {
            prop_assert_eq!(normalise(&raw), folded(kept(&raw).nfc(), raw.len()));
        }

        #[test]
        fn normalisation_is_idempotent_and_keeps_its_promises(raw in raw()) {
            let once = normalise(&raw);
            prop_assert_eq!(&normalise(&once), &once);
            prop_assert!(is_nfc(&once), "{:?}", once);
            prop_assert!(!once.chars().any(char::is_control));
            prop_assert!(!once.contains("  ") && once.trim() == once);
            prop_assert!(once.chars().all(|it| it == ' ' || !it.is_whitespace()));
        }
    }
}
