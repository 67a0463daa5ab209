//! Stops the line when the model refuses nearly everything: then the model is at fault and not the reviews, and a topic full
//! of dead letters would only hide it.
//!
//! Records that are no reviews do not count: one producer of rubbish must not stop the line for the others.

use schemas::{Refusal, Stage, Verdict};

/// Reviews that are looked at together.
const WINDOW: usize = 1_000;
/// Fewest reviews to judge by.
const REVIEWS_MIN: usize = 200;

/// Counts what the model refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Breaker {
    judged: usize,
    refused: usize,
}

/// The model refused more than half of the last reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model refused {refused} of the last {judged} reviews: line stopped before they are all dead letters; check the model, then restart"
)]
pub struct Tripped {
    /// Reviews that reached the model or its tokenizer.
    pub judged: usize,
    /// Of these, refused there.
    pub refused: usize,
}

impl Breaker {
    /// Counts one round, before it is committed.
    pub fn note(&mut self, outcomes: &[Result<Verdict, Refusal>]) -> Result<(), Tripped> {
        for outcome in outcomes {
            match outcome {
                Ok(_) => self.judged += 1,
                Err(refusal) if matches!(refusal.stage, Stage::Tokenize | Stage::Infer) => {
                    self.judged += 1;
                    self.refused += 1;
                }
                Err(_) => {}
            }
        }
        let Self { judged, refused } = *self;
        if REVIEWS_MIN <= judged && judged < refused.saturating_mul(2) {
            return Err(Tripped { judged, refused });
        }
        if WINDOW <= judged {
            // Halved rather than forgotten, so that a window has no blind beginning.
            *self = Self { judged: judged / 2, refused: refused / 2 };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::{pipeline, review};

    #[track_caller]
    fn check(rounds: &[(&str, Stage, usize)], expected: bool) {
        let good = || pipeline().judge([Ok(review("good"))], jiff::Timestamp::UNIX_EPOCH).remove(0);
        let mut breaker = Breaker::default();
        let tripped = rounds.iter().any(|&(what, stage, count)| {
            let refused = || Err(Refusal::new(stage, "Test", "told to"));
            let outcome = if what == "good" { good() } else { refused() };
            breaker.note(&vec![outcome; count]).is_err()
        });
        assert_eq!(tripped, expected);
    }

    #[test]
    fn only_a_model_at_fault_trips() {
        check(&[("good", Stage::Infer, 5_000)], false);
        check(&[("bad", Stage::Infer, REVIEWS_MIN)], true);
        check(&[("bad", Stage::Tokenize, REVIEWS_MIN)], true);
        check(&[("bad", Stage::Infer, REVIEWS_MIN - 1)], false);
        check(&[("bad", Stage::Decode, 5_000), ("bad", Stage::Validate, 5_000)], false);
        check(&[("good", Stage::Infer, 500), ("bad", Stage::Infer, 500)], false);
        check(&[("good", Stage::Infer, 1_000_000), ("bad", Stage::Infer, 1_000_000)], true);
    }
}
