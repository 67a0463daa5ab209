//! A window of verdicts that was judged for drift, as a row. What is in the judgement is for those who made it to know.

use std::ops::Range;

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::Offset};
use schemas::ModelRef;

use crate::StoreError;

/// Longest period that is read at once, in days: a partition of a cluster is a day.
pub const PERIOD_DAYS_MAX: i64 = 366;

/// A judged window.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedWindow {
    /// Whose verdicts.
    pub model: ModelRef,
    /// Which window of this version.
    pub window: i64,
    /// When its first review was written, to the millisecond.
    pub first_at: Timestamp,
    /// When its last one was, to the millisecond.
    pub last_at: Timestamp,
    /// Its verdicts.
    pub n: u64,
    /// The signals that alert after it.
    pub alerting: Vec<String>,
    /// Accuracy without labels, an estimate.
    pub estimated_accuracy: Option<f64>,
    /// Accuracy of the verdicts that have a label.
    pub realised_accuracy: Option<f64>,
    /// When it was judged. Of two judgements of one window the later stays.
    pub judged_at: Timestamp,
    /// All of the judgement, in JSON.
    pub judgement: String,
}

impl JudgedWindow {
    /// What makes two of them the same: digest, window and the time of its last review, which tells windows apart that were
    /// counted anew.
    pub(crate) fn key(&self) -> (String, i64, i64) {
        (self.model.digest.clone(), self.window, self.last_at.as_millisecond())
    }

    /// The number of verdicts as stores have numbers.
    pub(crate) fn n_signed(&self) -> i64 {
        i64::try_from(self.n).unwrap_or(i64::MAX)
    }

    /// The newest first.
    pub(crate) fn order(one: &Self, other: &Self) -> std::cmp::Ordering {
        let place = |it: &Self| (it.last_at, it.model.digest.clone(), it.window);
        place(other).cmp(&place(one))
    }
}

/// The days of a period, the latest first; `Refused` where they are too many.
pub(crate) fn days(period: &Range<Timestamp>) -> Result<Vec<Date>, StoreError> {
    let day = |time: Timestamp| Offset::UTC.to_datetime(time).date();
    if period.end <= period.start {
        return Ok(Vec::new());
    }
    let (first, mut next) = (day(period.start), day(period.end));
    let mut days = Vec::new();
    while first <= next {
        days.push(next);
        if PERIOD_DAYS_MAX < i64::try_from(days.len()).unwrap_or(i64::MAX) {
            return Err(StoreError::Refused(format!(
                "a period of more than {PERIOD_DAYS_MAX} days"
            )));
        }
        let Ok(before) = next.checked_sub(1.day()) else { break };
        next = before;
    }
    Ok(days)
}

/// Milliseconds since 1970, rounded up.
pub(crate) fn ceiling_ms(at: Timestamp) -> i64 {
    let ms = at.as_millisecond();
    let whole = Timestamp::from_millisecond(ms).unwrap_or(at);
    if whole < at { ms.saturating_add(1) } else { ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_period_has_its_days_the_latest_first() {
        let shown = |first: &str, last: &str| {
            let days = days(&(time(first)..time(last)))?;
            Ok::<_, StoreError>(days.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let [evening, morning] = ["2026-02-28T23:59:59Z", "2026-03-01T00:00:01Z"];
        assert_eq!(shown(evening, morning).unwrap(), ["2026-03-01", "2026-02-28"]);
        assert_eq!(shown(morning, evening).unwrap(), [""; 0]);
        assert_eq!(shown("2025-03-01T00:00:01Z", morning).unwrap().len(), 366);
        assert!(shown("2024-03-01T00:00:01Z", morning).is_err());
    }
}
