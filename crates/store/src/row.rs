//! A verdict to be written, and which of two verdicts of one review wins.

use schemas::Verdict;
use sha2::{Digest as _, Sha256};

use crate::{StoreError, hex};

/// How far the write time of a backfill lies before its scoring: 2^51 microseconds, some 71 years. So no backfill of these
/// decades is later than a verdict that the line wrote, and still one backfill is later than another.
const BACKFILL_US: i64 = 1 << 51;

/// A verdict to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The verdict.
    pub verdict: Verdict,
    /// Decides between two verdicts of one review: the larger is kept. Microseconds since the Unix epoch: the time of
    /// scoring, so that a replay is harmless and a later scoring wins.
    pub written_at_us: i64,
}

impl Row {
    /// The row of `verdict`, written at its time of scoring.
    pub fn new(verdict: Verdict) -> Self {
        let written_at_us = verdict.scored_at.as_microsecond();
        Self { verdict, written_at_us }
    }

    /// The row of a `verdict` that was scored afterwards, over history: it never takes the place of a row that was written
    /// [at its time of scoring](Self::new), but that of an older backfill.
    pub fn backfill(verdict: Verdict) -> Self {
        let row = Self::new(verdict);
        Self { written_at_us: row.written_at_us.saturating_sub(BACKFILL_US), ..row }
    }

    /// Whether this row takes the place of `other`, which has the same review: the later one does. Two verdicts of one
    /// microsecond are told apart by [their digest](Self::digest), so that no order of writing leads to another outcome.
    ///
    /// `Refused` if either is not writable at all.
    pub fn outranks(&self, other: &Self) -> Result<bool, StoreError> {
        let rank = (self.written_at_us, self.digest()?);
        Ok((other.written_at_us, other.digest()?) < rank)
    }

    /// SHA-256 of the verdict as JSON, in hex: equal for equal verdicts.
    ///
    /// `Refused` if a number is not finite: JSON has no such number, so the verdict could not be read back.
    pub fn digest(&self) -> Result<String, StoreError> {
        Ok(hex::encode(&Sha256::digest(self.json()?)))
    }

    /// The verdict as JSON, `Refused` as in [`Self::digest`].
    pub(crate) fn json(&self) -> Result<String, StoreError> {
        let verdict = &self.verdict;
        let finite = verdict.confidence.is_finite()
            && verdict.queue_ms.is_finite()
            && verdict.inference_ms.is_finite()
            && verdict.probabilities.values().all(|probability| probability.is_finite())
            && verdict.drift.iter().filter_map(|it| it.cross_entropy).all(f32::is_finite);
        if !finite {
            return Err(self.refused("a number in it is not finite"));
        }
        serde_json::to_string(verdict).map_err(|error| self.refused(error))
    }

    /// `Refused`, naming the review.
    pub(crate) fn refused(&self, reason: impl std::fmt::Display) -> StoreError {
        StoreError::Refused(format!("verdict of review {}: {reason}", self.verdict.id))
    }
}
