//! English by its small words: what most reviews of the shipped models are in, told at a twentieth of the cost of comparing a
//! text with every language, and in short sentences more often.

/// Longest word that is looked for, in bytes.
const BYTES_MAX: usize = 7;
/// One of so many words at least has to be one of [`WORDS`]. In English prose every third to fourth is.
const ONE_OF: usize = 8;
/// Different ones of them at least: one alone stands in titles that are quoted in any language.
const DIFFERENT_MIN: u32 = 2;

/// Frequent words of English that are no frequent words of another language in Latin script, also where that is written without
/// its accents: so not `is` and `was` (Dutch), `for` (Danish), `a` (Romance) and the like. Sorted.
const WORDS: [&str; 63] = [
    "about", "after", "and", "any", "are", "because", "been", "but", "by", "could", "does",
    "doesn't", "don't", "every", "from", "has", "have", "her", "his", "how", "i'm", "if", "into",
    "isn't", "it", "it's", "its", "just", "more", "much", "my", "never", "not", "of", "only", "or",
    "our", "she", "should", "than", "that", "the", "their", "them", "there", "these", "they",
    "this", "those", "through", "too", "very", "we", "what", "when", "where", "which", "while",
    "who", "with", "would", "you", "your",
];

/// Whether `text` has so many of the small words of English that it is hardly anything else. A `false` says nothing.
pub(super) fn is_plain(text: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '\'';
    let (mut words, mut small, mut different) = (0_usize, 0_usize, 0_u64);
    for word in text.split(|c| !is_part(c)).filter(|word| !word.is_empty()) {
        words += 1;
        if let Some(position) = position(word) {
            small += 1;
            different |= 1 << position;
        }
    }
    DIFFERENT_MIN <= different.count_ones() && words <= small.saturating_mul(ONE_OF)
}

/// The position of `word` among [`WORDS`], in whatever case it is written.
fn position(word: &str) -> Option<usize> {
    let mut lower = [0; BYTES_MAX];
    let lower = lower.get_mut(..word.len())?;
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    WORDS.binary_search_by(|known| known.as_bytes().cmp(lower)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_list_is_found() {
        assert!(WORDS.is_sorted());
        for (at, word) in WORDS.iter().enumerate() {
            assert_eq!(position(word), Some(at));
            assert_eq!(position(&word.to_uppercase()), Some(at));
        }
        assert_eq!((position(""), position("thesis"), position("therefore")), (None, None, None));
        // A bit each.
        assert!(WORDS.len() <= 64);
    }

    #[test]
    fn two_small_words_among_sixteen_make_english() {
        let with =
            |words: &str, others: usize| is_plain(&format!("{words}{}", " zzz".repeat(others)));
        assert!(with("the of", 14));
        assert!(!with("the of", 15));
        assert!(!with("the the", 2));
        assert!(with("It's (not)", 0));
        assert!(!is_plain(""));
        assert!(!is_plain("8/10"));
    }

    #[test]
    fn a_word_with_an_accent_is_another_word() {
        // Each has the letters of `the` and `not` before or behind its accent.
        assert!(!is_plain("thé nót ñot"));
    }

    #[test]
    fn other_languages_are_not_taken_for_english() {
        for text in [
            "De film was goed, of is het boek beter?",
            "Filmen var meget god, og jeg har det godt for tiden.",
            "Das war nicht so toll, aber man kann den Film in Ruhe sehen.",
            "Il film non era male, ma me lo ricordo a malapena.",
            "Esta pelicula no es mala, has de verla a solas en casa.",
            "Ten film to nie jest nic dla mnie, no i po co mi on.",
        ] {
            assert!(!is_plain(text), "{text}");
        }
    }
}
