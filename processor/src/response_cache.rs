//! What a model said of texts that come again and again, kept in bounded memory. Off unless asked for. Pure.
//!
//! A verdict depends on the text and the model alone, bit for bit, never on its neighbours in a batch; so an answer that is kept is the
//! one that the model would give. Keys are the SHA-256 of the normalised text, and a cache belongs to one loaded model, so that
//! its digest is part of every key without being stored. As in Triton, whose response cache this follows, refusals are not kept.
//!
//! Two generations instead of a list by last use: what is asked for moves to the young one; when that has half of the entries, the
//! old one is dropped and the young one takes its place. Both steps are O(1), and an entry that is asked for stays at least until
//! half of all entries have been asked for since (the "two-handed" approximation of LRU by generations).

use std::{collections::HashMap, mem};

use crate::pipeline::round::{Answer, Facts, TextHash};

/// Answers by text.
#[derive(Debug, Default)]
pub(crate) struct ResponseCache {
    /// Most entries in one generation; 0 keeps nothing.
    generation_max: usize,
    young: HashMap<TextHash, Known>,
    old: HashMap<TextHash, Known>,
    lookups: Lookups,
}

/// All that the model is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    pub(crate) facts: Facts,
    pub(crate) answer: Answer,
}

/// How often it was asked, and knew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lookups {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

impl ResponseCache {
    /// Keeps at most `entries` answers; 0 is off.
    pub(crate) fn new(entries: usize) -> Self {
        Self { generation_max: entries.div_ceil(2), ..Self::default() }
    }

    /// Whether anything is ever kept.
    pub(crate) fn is_on(&self) -> bool {
        self.generation_max != 0
    }

    /// The answer for a text, which is the last to be dropped from now on.
    pub(crate) fn recall(&mut self, text: &TextHash) -> Option<Known> {
        if !self.is_on() {
            return None;
        }
        if let Some(known) = self.young.get(text) {
            self.lookups.hits += 1;
            return Some(known.clone());
        }
        let Some(known) = self.old.remove(text) else {
            self.lookups.misses += 1;
            return None;
        };
        self.lookups.hits += 1;
        self.keep(*text, known.clone());
        Some(known)
    }

    /// Keeps an answer.
    pub(crate) fn keep(&mut self, text: TextHash, known: Known) {
        if !self.is_on() {
            return;
        }
        self.young.insert(text, known);
        if self.generation_max <= self.young.len() {
            self.old = mem::take(&mut self.young);
        }
    }

    /// Lookups since this was last asked.
    pub(crate) fn take_lookups(&mut self) -> Lookups {
        mem::take(&mut self.lookups)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::features::TextFeatures;

    fn hash(number: u8) -> TextHash {
        [number; 32]
    }

    fn known(number: u8) -> Known {
        let tokens = usize::from(number);
        let facts = Facts { tokens, truncated: false, features: TextFeatures::default() };
        Known { facts, answer: Answer { probabilities: vec![f32::from(number)], projection: None } }
    }

    #[test]
    fn a_cache_that_is_off_keeps_and_counts_nothing() {
        let mut cache = ResponseCache::new(0);
        cache.keep(hash(1), known(1));
        assert_eq!(cache.recall(&hash(1)), None);
        assert_eq!(cache.take_lookups(), Lookups::default());
    }

    #[test]
    fn what_is_asked_for_outlives_what_is_not() {
        let mut cache = ResponseCache::new(4);
        for number in 1..=2 {
            cache.keep(hash(number), known(number));
        }
        for number in 3..=20 {
            assert_eq!(cache.recall(&hash(1)), Some(known(1)), "before {number}");
            cache.keep(hash(number), known(number));
        }
        assert_eq!(cache.recall(&hash(2)), None);
        assert_eq!(cache.take_lookups(), Lookups { hits: 18, misses: 1 });
        assert_eq!(cache.take_lookups(), Lookups::default());
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_it_may_and_never_lies(
            entries in 0_usize..10,
            steps in prop::collection::vec((any::<bool>(), 0_u8..16), 0..200),
        ) {
            let mut cache = ResponseCache::new(entries);
            for (is_kept, number) in steps {
                if is_kept {
                    cache.keep(hash(number), known(number));
                } else if let Some(found) = cache.recall(&hash(number)) {
                    prop_assert_eq!(found, known(number));
                }
                prop_assert!(cache.young.len() + cache.old.len() <= 2 * entries.div_ceil(2));
            }
        }
    }
}
