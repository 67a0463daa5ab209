//! Which words a review has, as buckets of a hash: enough to see that a word stands in far more reviews than it did, not
//! enough to read one.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::vocabulary::Vocabulary;

/// Buckets that words fall into.
pub const BUCKETS: usize = 2_048;

/// Words of one review that are kept, the most surprising ones.
pub const WORDS_MAX: usize = 16;

/// FNV-1a of 64 bits (Fowler, Noll & Vo; RFC 9923): where it starts and what it multiplies by.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Which token ids go on with the word of the id before, as `##ing` does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WordPieces {
    continues: Vec<bool>,
}

/// Reviews a bucket: none where nothing was counted, else [`BUCKETS`] counts. Written as a text of numbers, in which `-k` stands
/// for `k` buckets without any, so that a window of a few seconds takes a few hundred bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketCounts(Vec<u64>);

/// A word of a review.
struct Word {
    bits: f64,
    hash: u64,
}

impl WordPieces {
    /// From whether each token id goes on with a word, in order of ids. An id beyond them begins one.
    pub fn new(continues: Vec<bool>) -> Self {
        Self { continues }
    }

    /// The buckets of the [`WORDS_MAX`] words of `ids` that are most surprising under `vocabulary`, each once and in order of
    /// buckets, so that nothing can be told of the order of words.
    ///
    /// A word's surprise is the sum of its pieces' bits; of equal ones the smaller hash comes first. The hash is FNV-1a of 64
    /// bits over the pieces' ids, four bytes each, least significant first; its bucket is the hash modulo [`BUCKETS`] after the
    /// upper half is folded into the lower one by exclusive or.
    pub fn buckets(&self, vocabulary: &Vocabulary, ids: &[u32]) -> Vec<u16> {
        let mut words: Vec<Word> = Vec::with_capacity(ids.len());
        for &id in ids {
            let bits = vocabulary.bits(id);
            match words.last_mut().filter(|_| self.continues(id)) {
                Some(word) => {
                    word.bits += bits;
                    word.hash = fold(word.hash, id);
                }
                None => words.push(Word { bits, hash: fold(FNV_OFFSET, id) }),
            }
        }
        words.sort_unstable_by(|one, other| {
            other.bits.total_cmp(&one.bits).then(one.hash.cmp(&other.hash))
        });
        // The same word has the same bits, so it stands beside itself.
        words.dedup_by_key(|word| word.hash);
        let mut buckets: Vec<u16> =
            words.iter().take(WORDS_MAX).map(|word| bucket(word.hash)).collect();
        buckets.sort_unstable();
        buckets.dedup();
        buckets
    }

    fn continues(&self, id: u32) -> bool {
        let index = usize::try_from(id).ok();
        index.and_then(|index| self.continues.get(index)).copied().unwrap_or_default()
    }
}

impl BucketCounts {
    /// The counts, in order of buckets.
    pub fn counts(&self) -> &[u64] {
        &self.0
    }

    /// Counts a review that has words in these buckets.
    pub(crate) fn add(&mut self, buckets: &[u16]) {
        self.0.resize(BUCKETS, 0);
        for &bucket in buckets {
            if let Some(count) = self.0.get_mut(usize::from(bucket)) {
                *count += 1;
            }
        }
    }

    /// Both together.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        if self.0.is_empty() {
            return other.clone();
        }
        let others = other.0.iter().copied().chain(std::iter::repeat(0));
        Self(self.0.iter().zip(others).map(|(one, other)| one + other).collect())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut counts = Vec::new();
        for word in text.split_ascii_whitespace() {
            if let Some(run) = word.strip_prefix('-') {
                let run: usize = run.parse().map_err(|_| format!("`{word}` is no run"))?;
                if BUCKETS - counts.len() < run {
                    return Err(format!("more than {BUCKETS} buckets"));
                }
                counts.resize(counts.len() + run, 0);
            } else if counts.len() < BUCKETS {
                counts.push(word.parse().map_err(|_| format!("`{word}` is no count"))?);
            } else {
                return Err(format!("more than {BUCKETS} buckets"));
            }
        }
        if counts.is_empty() || counts.len() == BUCKETS {
            return Ok(Self(counts));
        }
        Err(format!("{} buckets, not {BUCKETS}", counts.len()))
    }

    fn told(&self) -> String {
        let (mut text, mut run) = (String::new(), 0_usize);
        let mut tell = |word: std::fmt::Arguments<'_>| {
            let gap = if text.is_empty() { "" } else { " " };
            // A string takes everything.
            let _infallible = write!(text, "{gap}{word}");
        };
        for &count in &self.0 {
            if count == 0 {
                run += 1;
                continue;
            }
            if 0 < run {
                tell(format_args!("-{run}"));
                run = 0;
            }
            tell(format_args!("{count}"));
        }
        if 0 < run {
            tell(format_args!("-{run}"));
        }
        text
    }
}

impl Serialize for BucketCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.told())
    }
}

impl<'de> Deserialize<'de> for BucketCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

fn fold(hash: u64, id: u32) -> u64 {
    id.to_le_bytes()
        .into_iter()
        .fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

fn bucket(hash: u64) -> u16 {
    /// As many as there are buckets, less one: a power of two, so that these bits are the remainder.
    const MASK: u64 = 0x7ff;
    u16::try_from((hash ^ (hash >> 32)) & MASK).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        // Ids from 0 on, each rarer than the one before.
        Vocabulary::from_counts((0..64).rev().map(|count| 10 * count).collect()).unwrap()
    }

    #[test]
    fn pieces_of_a_word_are_one_word_and_words_count_once() {
        let pieces = WordPieces::new((0..64).map(|id| 50 <= id).collect());
        let of = |ids: &[u32]| pieces.buckets(&vocabulary(), ids);
        assert_eq!(of(&[]), Vec::<u16>::new());
        assert_eq!(of(&[1, 50, 51]).len(), 1);
        assert_ne!(of(&[1, 50, 51]), of(&[1, 51, 50]));
        assert_eq!(of(&[1, 50, 1, 50]), of(&[1, 50]));
        assert_eq!(of(&[1, 50, 2, 3]), of(&[3, 2, 1, 50]), "order tells nothing");
        // A review that was cut within a word begins with its rest.
        assert_eq!(of(&[50]).len(), 1);
        assert_eq!(of(&[99]).len(), 1);
    }

    #[test]
    fn the_most_surprising_words_are_kept() {
        let pieces = WordPieces::default();
        let rare: Vec<u32> = (40..56).collect();
        let all: Vec<u32> = (0..56).collect();
        let kept = pieces.buckets(&vocabulary(), &all);
        assert_eq!(kept, pieces.buckets(&vocabulary(), &rare));
        assert!(kept.is_sorted() && kept.len() <= WORDS_MAX);
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // The empty text, and `a` as RFC 9923 has them; an id of one byte has three more that are zero.
        assert_eq!(fold(FNV_OFFSET, 0x61), {
            let a = 0xaf63_dc4c_8601_ec8c_u64;
            (0..3).fold(a, |hash, _| hash.wrapping_mul(FNV_PRIME))
        });
        assert!(usize::from(bucket(u64::MAX)) < BUCKETS && usize::from(bucket(0x7ff)) < BUCKETS);
    }

    #[test]
    fn counts_are_read_as_they_were_written() {
        let mut counts = BucketCounts::default();
        assert_eq!(counts.told(), "");
        counts.add(&[0, 1, 7, 2_047]);
        counts.add(&[7]);
        assert_eq!(counts.told(), "1 1 -5 2 -2039 1");
        assert_eq!(BucketCounts::parse(&counts.told()), Ok(counts.clone()));
        assert_eq!(BucketCounts::parse(""), Ok(BucketCounts::default()));
        assert_eq!(counts.plus(&BucketCounts::default()), counts);
        assert_eq!(BucketCounts::default().plus(&counts), counts);
        assert_eq!(counts.plus(&counts).told(), "2 2 -5 4 -2039 2");
        for wrong in ["1", "-2049", "-2047 1 1", "x", "-x", "-18446744073709551616", "1.5 -2047"] {
            assert!(BucketCounts::parse(wrong).is_err(), "{wrong}");
        }
    }
}
