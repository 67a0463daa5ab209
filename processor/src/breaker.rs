//! Stops the line before a topic full of dead letters hides what is wrong: a model that refuses nearly everything, a producer that
//! sends rubbish, a broker that takes nothing.
//!
//! Every dead letter counts, whatever stage it comes from: reviews that nobody could judge are reviews that nobody judged.

use std::{collections::HashMap, num::NonZeroUsize};

use schemas::{Refusal, Verdict};

/// Fewest records to judge by, unless the window is smaller.
const RECORDS_MIN: usize = 200;

/// Counts what became of the last records.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    window: NonZeroUsize,
    share_max: f64,
    records: usize,
    refused: usize,
}

/// With one more round, too many of the last records would be dead letters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{refused} of the last {records} records would be dead letters, the last for {reason} above all: the line stands still, and \
     this round is not written. Mend the cause and restart; or set processor.breaker_share_max to 1.0 and restart, and they \
     become dead letters"
)]
pub struct Tripped {
    /// The last records, this round included.
    pub records: usize,
    /// Of these, dead letters.
    pub refused: usize,
    /// Stage and class of most refusals of this round.
    pub reason: String,
}

impl Breaker {
    /// One that looks at `window` records together and lets `share_max` of them be dead letters; 1.0 lets all.
    pub fn new(window: NonZeroUsize, share_max: f64) -> Self {
        Self { window, share_max, records: 0, refused: 0 }
    }

    /// Whether a round may be committed.
    pub fn allows(&self, outcomes: &[Result<Verdict, Refusal>]) -> Result<(), Tripped> {
        let Self { records, refused, .. } = self.with(outcomes);
        let is_enough = RECORDS_MIN.min(self.window.get()) <= records;
        #[expect(clippy::cast_precision_loss, reason = "windows are far smaller than 2^52")]
        let allowed = records as f64 * self.share_max;
        #[expect(clippy::cast_precision_loss, reason = "windows are far smaller than 2^52")]
        let is_too_many = allowed < refused as f64;
        if is_enough && is_too_many {
            return Err(Tripped { records, refused, reason: commonest(outcomes) });
        }
        Ok(())
    }

    /// Counts a round that was committed. One that was aborted is read again, and must not count twice.
    pub fn count(&mut self, outcomes: &[Result<Verdict, Refusal>]) {
        *self = self.with(outcomes);
        if self.window.get() <= self.records {
            // Halved rather than forgotten, so that a window has no blind beginning.
            self.records /= 2;
            self.refused /= 2;
        }
    }

    fn with(&self, outcomes: &[Result<Verdict, Refusal>]) -> Self {
        let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        Self { records: self.records + outcomes.len(), refused: self.refused + refused, ..*self }
    }
}

fn commonest(outcomes: &[Result<Verdict, Refusal>]) -> String {
    let mut counts: HashMap<(&'static str, &'static str), usize> = HashMap::new();
    for refusal in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        *counts.entry((refusal.stage.as_str(), refusal.class)).or_default() += 1;
    }
    // By name where two are as common, so that it is the same in every run.
    let most = counts.into_iter().max_by_key(|&(name, count)| (count, name));
    most.map_or_else(String::new, |((stage, class), _)| format!("{stage}/{class}"))
}

#[cfg(test)]
mod tests {
    use schemas::Stage;

    use super::*;
    use crate::pipeline::tests::{pipeline, review};

    const WINDOW: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

    fn outcomes(good: usize, bad: usize, stage: Stage) -> Vec<Result<Verdict, Refusal>> {
        let verdict = pipeline().judge([Ok(review("good"))], jiff::Timestamp::UNIX_EPOCH).remove(0);
        let refusal = Err(Refusal::new(stage, "Test", "told to"));
        let bad = std::iter::repeat_n(refusal, bad);
        std::iter::repeat_n(verdict, good).chain(bad).collect()
    }

    /// Commits rounds of good and bad records, and asks whether another is allowed.
    #[track_caller]
    fn check(share_max: f64, rounds: &[(usize, usize)], next: (usize, usize), expected: bool) {
        for stage in [Stage::Decode, Stage::Validate, Stage::Tokenize, Stage::Infer] {
            let mut breaker = Breaker::new(WINDOW, share_max);
            for &(good, bad) in rounds {
                let round = outcomes(good, bad, stage);
                breaker.allows(&round).unwrap();
                breaker.count(&round);
            }
            let allowed = breaker.allows(&outcomes(next.0, next.1, stage));
            assert_eq!(allowed.is_ok(), expected, "{stage:?}");
        }
    }

    #[test]
    fn more_than_the_share_trips_whatever_the_stage() {
        check(0.5, &[(100, 100)], (100, 100), true);
        check(0.5, &[(100, 100)], (100, 101), false);
        check(0.5, &[], (0, RECORDS_MIN), false);
        check(0.1, &[(900, 50)], (50, 200), false);
        check(1.0, &[(0, 5_000)], (0, 5_000), true);
        check(0.0, &[(5_000, 0)], (0, 1), false);
    }

    #[test]
    fn a_few_records_are_too_few_to_judge_by() {
        check(0.5, &[], (0, RECORDS_MIN - 1), true);
    }

    #[test]
    fn a_long_good_past_does_not_outweigh_a_bad_present() {
        check(0.5, &[(1_000, 0); 50], (0, 1_000), false);
        check(0.5, &[(1_000, 0); 50], (0, 499), true);
    }

    #[test]
    fn a_round_that_was_not_committed_does_not_count() {
        let breaker = Breaker::new(WINDOW, 0.5);
        let round = outcomes(0, RECORDS_MIN - 1, Stage::Infer);
        for _ in 0..10 {
            breaker.allows(&round).unwrap();
        }
    }

    #[test]
    fn a_small_window_is_judged_when_it_is_full() {
        let breaker = Breaker::new(NonZeroUsize::new(10).unwrap(), 0.5);
        breaker.allows(&outcomes(0, 9, Stage::Infer)).unwrap();
        let tripped = breaker.allows(&outcomes(4, 6, Stage::Infer)).unwrap_err();
        assert_eq!((tripped.records, tripped.refused), (10, 6));
        assert!(tripped.reason.ends_with("/Test"), "{tripped}");
    }
}
