//! What is known of the reviews of one round, from the first look at them to the last answer.

use std::{collections::HashMap, time::Duration};

use drift::Projected;
use jiff::Timestamp;
use schemas::{Refusal, Review, ReviewText};
use sha2::{Digest as _, Sha256};

use crate::{
    features::TextFeatures,
    pipeline::{Inferred, Timing, unanswered},
    response_cache::{Known, ResponseCache},
};

/// The reviews of one round in their order, and the distinct texts among them.
#[derive(Debug, Default)]
pub struct Round {
    entries: Vec<Entry>,
    judgements: Vec<Judgement>,
    runs: Vec<Run>,
    /// What became of each text, by its hash. A repeated text is common: retries, templates, "Great!".
    seen: HashMap<TextHash, Seen>,
    batches_open: usize,
    tokens: usize,
}

/// SHA-256 of a normalised text. The verdict needs it in any case, and it spares a copy of the text.
pub(crate) type TextHash = [u8; 32];

/// What became of a text when it was first seen.
#[derive(Debug)]
enum Seen {
    At(usize),
    Refused(Refusal),
}

/// One call of the model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) timing: Timing,
    /// Texts.
    pub(crate) rows: usize,
    /// Ids that were not padding.
    pub(crate) tokens: usize,
}

/// One review, or why there is none.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Will get a verdict: the one of the text at this position.
    Review(Review, usize),
    /// Will get none.
    Refused(Refusal),
}

/// What is known of a text once it is tokenised.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    /// Ids that the model reads.
    pub(crate) tokens: usize,
    /// Whether the text had more.
    pub(crate) truncated: bool,
    /// What else drift needs to know of it.
    pub(crate) features: TextFeatures,
}

/// What the model said of one text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// Calibrated, in the order of the labels.
    pub(crate) probabilities: Vec<f32>,
    /// The embedding, if drift needs it.
    pub(crate) projection: Option<Projected>,
}

/// What is known of one text.
#[derive(Debug)]
pub(crate) struct Judgement {
    /// Of the text.
    pub(crate) sha256: TextHash,
    pub(crate) facts: Facts,
    /// What the model said of it or a refusal, when, and with how many texts: 0 where it was remembered.
    pub(crate) outcome: Option<(Result<Answer, Refusal>, Timing, usize)>,
    /// The call that answered for it, by its position among the round's.
    run: Option<usize>,
}

impl Round {
    /// Adds a review at `now`. A text that was not there yet is looked up in `cache`; where that does not know it, `encode` is asked
    /// for it, with its position.
    pub(crate) fn push(
        &mut self,
        review: Result<Review, Refusal>,
        cache: &mut ResponseCache,
        now: Timestamp,
        encode: impl FnOnce(&ReviewText, usize) -> Result<Facts, Refusal>,
    ) {
        let entry = match review {
            Err(refusal) => Entry::Refused(refusal),
            Ok(review) => match self.position(&review.text, cache, now, encode) {
                Ok(position) => Entry::Review(review, position),
                Err(refusal) => Entry::Refused(refusal),
            },
        };
        self.entries.push(entry);
    }

    fn position(
        &mut self,
        text: &ReviewText,
        cache: &mut ResponseCache,
        now: Timestamp,
        encode: impl FnOnce(&ReviewText, usize) -> Result<Facts, Refusal>,
    ) -> Result<usize, Refusal> {
        let sha256 = TextHash::from(Sha256::digest(text.as_str().as_bytes()));
        match self.seen.get(&sha256) {
            Some(Seen::At(position)) => return Ok(*position),
            Some(Seen::Refused(refusal)) => return Err(refusal.clone()),
            None => {}
        }
        let position = self.judgements.len();
        let (facts, outcome) = match cache.recall(&sha256) {
            Some(Known { facts, answer }) => {
                let timing = Timing { started_at: now, took: Duration::ZERO };
                (Ok(facts), Some((Ok(answer), timing, 0)))
            }
            None => (encode(text, position), None),
        };
        let (seen, outcome) = match facts {
            Ok(facts) => {
                self.tokens += if outcome.is_none() { facts.tokens } else { 0 };
                self.judgements.push(Judgement { sha256, facts, outcome, run: None });
                (Seen::At(position), Ok(position))
            }
            Err(refusal) => (Seen::Refused(refusal.clone()), Err(refusal)),
        };
        self.seen.insert(sha256, seen);
        outcome
    }

    /// Says how many batches will be accepted, and that no review will be added.
    pub(crate) fn expect(&mut self, batches: usize) {
        self.batches_open = batches;
        self.seen = HashMap::new();
    }

    /// Takes the answers of one batch.
    pub fn accept(&mut self, inferred: Inferred, timing: Timing) {
        let rows = inferred.judged.len();
        let run = self.runs.len();
        for (position, answer) in inferred.judged {
            if let Some(judgement) = self.judgements.get_mut(position) {
                judgement.outcome = Some((answer, timing, rows));
                judgement.run = Some(run);
            }
        }
        self.runs.push(Run { timing, rows, tokens: inferred.tokens });
        self.batches_open = self.batches_open.saturating_sub(1);
    }

    /// Whether every batch was accepted.
    pub fn is_complete(&self) -> bool {
        self.batches_open == 0
    }

    /// Reviews and refusals in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Ids that the model reads, of all distinct texts that it is asked for, padding not counted.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Every call of the model that was accepted, in the order of the answers.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The call that judged the review at `index`, by its position among [`runs`](Self::runs).
    pub(crate) fn run_of(&self, index: usize) -> Option<usize> {
        match self.entries.get(index)? {
            Entry::Review(_, position) => self.judgements.get(*position)?.run,
            Entry::Refused(_) => None,
        }
    }

    /// Lets `cache` have what the model said. A text that it knew has no call.
    pub(crate) fn teach(&self, cache: &mut ResponseCache) {
        if !cache.is_on() {
            return;
        }
        for judgement in self.judgements.iter().filter(|judgement| judgement.run.is_some()) {
            if let Some((Ok(answer), ..)) = &judgement.outcome {
                let known = Known { facts: judgement.facts.clone(), answer: answer.clone() };
                cache.keep(judgement.sha256, known);
            }
        }
    }

    pub(crate) fn into_parts(self) -> (Vec<Entry>, Vec<Judgement>) {
        (self.entries, self.judgements)
    }

    /// What the model made of each review, in order.
    pub(crate) fn observed(
        &self,
    ) -> impl Iterator<Item = Result<(&Judgement, &[f32]), Refusal>> + '_ {
        self.entries.iter().map(|entry| {
            let position = match entry {
                Entry::Review(_, position) => *position,
                Entry::Refused(refusal) => return Err(refusal.clone()),
            };
            let judgement = self.judgements.get(position).ok_or_else(unanswered)?;
            match &judgement.outcome {
                Some((Ok(answer), ..)) => Ok((judgement, answer.probabilities.as_slice())),
                Some((Err(refusal), ..)) => Err(refusal.clone()),
                None => Err(unanswered()),
            }
        })
    }
}
