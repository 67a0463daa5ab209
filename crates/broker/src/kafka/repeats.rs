//! How often the same complaint of librdkafka is told.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Between two of the same.
const PAUSE: Duration = Duration::from_secs(30);
/// Complaints that are kept in mind. Past it all are forgotten, and may be told again.
const KEPT_MAX: usize = 64;

static REPEATS: Mutex<Repeats> = Mutex::new(Repeats::new());

/// Whether `text` is to be told at `now`, and how many like it were left out since it was told last.
pub(super) fn admit(text: &str, now: Instant) -> Option<u64> {
    REPEATS.lock().unwrap_or_else(PoisonError::into_inner).admit(text, now)
}

/// What was told, when, and how often it was not told since.
#[derive(Debug)]
struct Repeats {
    told: BTreeMap<String, (Instant, u64)>,
}

impl Repeats {
    const fn new() -> Self {
        Self { told: BTreeMap::new() }
    }

    fn admit(&mut self, text: &str, now: Instant) -> Option<u64> {
        let gist = gist(text);
        if let Some((at, left_out)) = self.told.get_mut(gist) {
            if now.saturating_duration_since(*at) < PAUSE {
                *left_out = left_out.saturating_add(1);
                return None;
            }
            *at = now;
            return Some(std::mem::take(left_out));
        }
        if KEPT_MAX <= self.told.len() {
            self.told.clear();
        }
        self.told.insert(gist.to_owned(), (now, 0));
        Some(0)
    }
}

/// The text without what librdkafka counts in it: `(after 3ms in state CONNECT, 2 identical error(s) suppressed)`.
fn gist(text: &str) -> &str {
    text.split_once(" (after ").map_or(text, |(gist, _)| gist)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_again_after_a_while_with_how_often_it_was_not() {
        let mut repeats = Repeats::new();
        let start = chassis::clock::monotonic();
        assert_eq!(repeats.admit("refused (after 0ms in state CONNECT)", start), Some(0));
        assert_eq!(repeats.admit("refused (after 7ms in state CONNECT)", start), None);
        assert_eq!(repeats.admit("another", start), Some(0), "another one is news");
        assert_eq!(repeats.admit("refused", start + PAUSE / 2), None);
        assert_eq!(repeats.admit("refused", start + PAUSE), Some(2));
        assert_eq!(repeats.admit("refused", start + PAUSE), None);
    }

    #[test]
    fn no_more_are_kept_than_the_limit() {
        let mut repeats = Repeats::new();
        let start = chassis::clock::monotonic();
        for number in 0..1_000 {
            assert_eq!(repeats.admit(&number.to_string(), start), Some(0));
            assert!(repeats.told.len() <= KEPT_MAX);
        }
    }
}
