//! What becomes of each label: a pure function of its verdict and of what was said before it.
//!
//! "Before" is by offset and never by what the store happens to hold: a round that is read again after a crash between its rows
//! and its commit finds rows of its own, and must not take itself for a duplicate.

use std::collections::BTreeMap;

use broker::Delivery;
use jiff::{SignedDuration, Timestamp};
use schemas::{Feedback, Origin, ReviewId, Verdict, feedback::InvalidFeedback, json::InvalidJson};
use store::{FeedbackRow, RefusedRecord};

use crate::round::refuse;

/// What became of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The first label of its verdict: kept, and counted.
    Joined,
    /// Another person says what the first label says: kept. A verdict counts once.
    Agreed,
    /// The same person says the same again: not kept again.
    Duplicate,
    /// It says otherwise than the first label: kept, for people to sort out. The first one counts.
    Contradictory,
    /// The first label, but given too long after the verdict: kept.
    Late,
    /// There is no verdict of that id: kept.
    UnknownId,
    /// It is none of the verdict's labels: kept.
    UnknownLabel,
    /// It would count, but the model's reference profile is not at hand, or is of another model: kept.
    Uncounted,
    /// The record is no feedback, or the store does not take it: kept among the refused records.
    Refused,
}

/// A label that was read, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Whose verdict it is about.
    pub id: ReviewId,
    /// What was said, and where it was read.
    pub row: FeedbackRow,
    /// When it came: the record's time, else when it was given. What is given in the future is given then.
    pub came_at: Timestamp,
    /// When it was given, not later than it came.
    pub given_at: Timestamp,
}

/// A label settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled<'a> {
    /// The label.
    pub label: &'a Label,
    /// Its verdict, if there is one.
    pub verdict: Option<&'a Verdict>,
    /// What became of it.
    pub outcome: Outcome,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Joined,
        Self::Agreed,
        Self::Duplicate,
        Self::Contradictory,
        Self::Late,
        Self::UnknownId,
        Self::UnknownLabel,
        Self::Uncounted,
        Self::Refused,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Agreed => "agreed",
            Self::Duplicate => "duplicate",
            Self::Contradictory => "contradictory",
            Self::Late => "late",
            Self::UnknownId => "unknown_id",
            Self::UnknownLabel => "unknown_label",
            Self::Uncounted => "uncounted",
            Self::Refused => "refused",
        }
    }
}

impl Label {
    /// Reads a record, or says why it is none at `now`.
    pub fn read(delivery: &Delivery, now: Timestamp) -> Result<Self, Box<RefusedRecord>> {
        let refused = |class: &str, reason: String| Box::new(refuse(delivery, class, reason, now));
        let feedback = Feedback::from_record(&delivery.record).map_err(|error| {
            let class = match error {
                InvalidFeedback::Json(InvalidJson::Null) => "NullValue",
                _ => "InvalidFeedback",
            };
            refused(class, error.to_string())
        })?;
        let id = ReviewId::new(feedback.id.as_str())
            .map_err(|error| refused("InvalidFeedback", error.to_string()))?;
        let untimed = || refused("InvalidFeedback", "nobody says when it was given".to_owned());
        let said_at = feedback.given_at.ok_or_else(untimed)?;
        let came_at = delivery.record.written_at().unwrap_or(said_at);
        let origin = Origin {
            topic: delivery.topic.to_string(),
            partition: delivery.partition,
            offset: delivery.offset,
        };
        let row = FeedbackRow { feedback, origin };
        Ok(Self { id, row, came_at, given_at: said_at.min(came_at) })
    }

    /// What becomes of it, after `said`, of which what was read later does not count.
    fn outcome(
        &self,
        verdict: Option<&Verdict>,
        said: &[FeedbackRow],
        late_after: SignedDuration,
    ) -> Outcome {
        let Feedback { label, by, .. } = &self.row.feedback;
        let before: Vec<_> = said.iter().filter(|row| row.is_before(&self.row.origin)).collect();
        if before.iter().any(|row| row.feedback.label == *label && row.feedback.by == *by) {
            return Outcome::Duplicate;
        }
        let Some(verdict) = verdict else { return Outcome::UnknownId };
        let is_known = |label: &String| verdict.probabilities.contains_key(label);
        if !is_known(label) {
            return Outcome::UnknownLabel;
        }
        let first = before.iter().filter(|row| is_known(&row.feedback.label));
        match first.min_by_key(|row| row.origin.offset) {
            Some(first) if first.feedback.label == *label => Outcome::Agreed,
            Some(_) => Outcome::Contradictory,
            None if late_after < self.given_at.duration_since(verdict.scored_at) => Outcome::Late,
            None => Outcome::Joined,
        }
    }
}

impl Settled<'_> {
    /// From the verdict until its first label, where this is one.
    pub fn delay(&self) -> Option<SignedDuration> {
        let is_first = matches!(self.outcome, Outcome::Joined | Outcome::Late | Outcome::Uncounted);
        let verdict = self.verdict.filter(|_| is_first)?;
        Some(self.label.given_at.duration_since(verdict.scored_at))
    }
}

/// Settles `labels`, which are in the order in which they were read, after what was `said` of the same reviews, and adds to it
/// what is to be kept.
pub fn settle<'a>(
    labels: &'a [Label],
    verdicts: &'a BTreeMap<ReviewId, Verdict>,
    said: &mut BTreeMap<ReviewId, Vec<FeedbackRow>>,
    late_after: SignedDuration,
) -> Vec<Settled<'a>> {
    let mut settled = Vec::with_capacity(labels.len());
    for label in labels {
        let verdict = verdicts.get(&label.id);
        let said = said.entry(label.id.clone()).or_default();
        let outcome = label.outcome(verdict, said, late_after);
        if outcome.is_kept() {
            said.push(label.row.clone());
        }
        settled.push(Settled { label, verdict, outcome });
    }
    settled
}

impl Outcome {
    /// Whether the label becomes a row of feedback.
    pub fn is_kept(self) -> bool {
        !matches!(self, Self::Duplicate | Self::Refused)
    }
}
