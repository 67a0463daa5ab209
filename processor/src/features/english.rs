//! English by its small words: what most reviews of the shipped models are in, told at a small part of the cost of comparing a text
//! with every language, and in short sentences more often.

/// Longest word that is looked for, in bytes.
const BYTES_MAX: usize = 7;

/// A word of up to [`BYTES_MAX`] bytes as a number; numbers are in the order of their words.
type Packed = u64;

/// Frequent words of English that are no frequent words of another language in Latin script, also where that is written without
/// its accents. Sorted.
const OWN: [&str; 50] = [
    "about", "after", "and", "because", "been", "could", "does", "doesn't", "don't", "every",
    "from", "his", "how", "i'm", "if", "into", "isn't", "it", "it's", "its", "much", "never",
    "not", "only", "our", "she", "should", "than", "that", "the", "their", "them", "there",
    "these", "they", "this", "those", "through", "too", "very", "what", "when", "where", "which",
    "while", "who", "with", "would", "you", "your",
];

/// Frequent words of English that other languages have, too: `of` and `we` are Dutch, `for` Danish, `has` Spanish. Sorted.
const SHARED: [&str; 48] = [
    "a", "all", "am", "an", "any", "are", "as", "at", "bad", "be", "but", "by", "can", "do",
    "film", "for", "good", "had", "has", "have", "he", "her", "i", "in", "is", "just", "like",
    "me", "more", "most", "movie", "my", "no", "of", "on", "one", "or", "other", "out", "so",
    "some", "story", "to", "up", "was", "we", "were", "will",
];

const OWN_PACKED: [Packed; OWN.len()] = packed(OWN);
const SHARED_PACKED: [Packed; SHARED.len()] = packed(SHARED);

/// Whether `text` has so many of the small words of English that it is hardly anything else. A `false` says nothing.
///
/// Two different ones that English has for itself, and one of eight of all words a small one; or one that it has for itself, three
/// different ones in all, and one of four.
pub(super) fn is_plain(text: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '\'';
    let (mut words, mut small) = (0_usize, 0_usize);
    let (mut own, mut shared) = (0_u64, 0_u64);
    for word in text.split(|c| !is_part(c)).filter(|word| !word.is_empty()) {
        words += 1;
        let Some(word) = pack(word) else { continue };
        if let Ok(position) = OWN_PACKED.binary_search(&word) {
            own |= 1 << position;
            small += 1;
        } else if let Ok(position) = SHARED_PACKED.binary_search(&word) {
            shared |= 1 << position;
            small += 1;
        }
    }
    let (own, shared) = (own.count_ones(), shared.count_ones());
    let is_one_of = |many: usize| words <= small.saturating_mul(many);
    (2 <= own && is_one_of(8)) || (1 <= own && 3 <= own + shared && is_one_of(4))
}

/// `word` in small letters, in whatever case it is written; none if it is longer than what is looked for.
const fn pack(word: &str) -> Option<Packed> {
    let mut rest = word.as_bytes();
    if BYTES_MAX < rest.len() {
        return None;
    }
    let mut lower = [0; size_of::<Packed>()];
    let mut into = lower.as_mut_slice();
    while let (Some((byte, after)), Some((place, later))) =
        (rest.split_first(), into.split_first_mut())
    {
        *place = byte.to_ascii_lowercase();
        (rest, into) = (after, later);
    }
    Some(Packed::from_be_bytes(lower))
}

const fn packed<const N: usize>(words: [&str; N]) -> [Packed; N] {
    let mut all = [0; N];
    let mut index = 0;
    while index < N {
        match pack(words[index]) {
            Some(packed) => all[index] = packed,
            None => panic!("a word that is longer than what is looked for"),
        }
        index += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_lists_is_found() {
        let position = |packed: &[Packed], word: &str| packed.binary_search(&pack(word)?).ok();
        for (words, packed) in [(&OWN[..], &OWN_PACKED[..]), (&SHARED[..], &SHARED_PACKED[..])] {
            assert!(words.is_sorted());
            for (at, word) in words.iter().enumerate() {
                assert_eq!(position(packed, word), Some(at));
                assert_eq!(position(packed, &word.to_uppercase()), Some(at));
            }
            // A bit each.
            assert!(words.len() <= 64);
        }
        assert!(OWN.iter().all(|word| !SHARED.contains(word)));
        assert_eq!((position(&OWN_PACKED, ""), position(&OWN_PACKED, "thesis")), (None, None));
        assert_eq!(position(&OWN_PACKED, "therefore"), None);
    }

    #[test]
    fn a_few_small_words_make_english() {
        let with =
            |words: &str, others: usize| is_plain(&format!("{words}{}", " zzz".repeat(others)));
        assert!(with("the and", 14));
        assert!(!with("the and", 15));
        assert!(!with("the the", 2));
        assert!(with("It's (not)", 0));
        assert!(with("the film is", 9));
        assert!(!with("the film is", 10));
        assert!(!with("a film is", 0));
        assert!(!with("the film", 0));
        assert!(!is_plain(""));
        assert!(!is_plain("8/10"));
    }

    #[test]
    fn a_word_with_an_accent_is_another_word() {
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
