//! What a check may find, how often it did, and the first examples of each.

use std::collections::BTreeMap;

/// Examples that are kept of each fault.
const EXAMPLES_MAX: usize = 5;

/// A way in which the promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Lost,
    Duplicated,
    Torn,
    OutOfOrder,
    Swapped,
    WrongVersion,
    Unexplained,
    RowsMissing,
    RowsStale,
    RowsUnexplained,
    Unacknowledged,
}

/// Faults by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    counts: BTreeMap<Fault, u64>,
    examples: BTreeMap<Fault, Vec<String>>,
}

impl Fault {
    pub(crate) const ALL: [Self; 11] = [
        Self::Lost,
        Self::Duplicated,
        Self::Torn,
        Self::OutOfOrder,
        Self::Swapped,
        Self::WrongVersion,
        Self::Unexplained,
        Self::RowsMissing,
        Self::RowsStale,
        Self::RowsUnexplained,
        Self::Unacknowledged,
    ];

    /// Its name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Torn => "torn",
            Self::OutOfOrder => "out_of_order",
            Self::Swapped => "swapped",
            Self::WrongVersion => "wrong_version",
            Self::Unexplained => "unexplained",
            Self::RowsMissing => "rows_missing",
            Self::RowsStale => "rows_stale",
            Self::RowsUnexplained => "rows_unexplained",
            Self::Unacknowledged => "unacknowledged",
        }
    }

    /// What it means, for people.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Lost => "reviews below the group's offset with neither verdict nor dead letter",
            Self::Duplicated => "verdicts and dead letters beyond the first of their review",
            Self::Torn => "outcomes at or above the group's offset: written without their offsets",
            Self::OutOfOrder => "verdicts before an earlier review's of the same key",
            Self::Swapped => "verdicts of another id or text than the review that they name",
            Self::WrongVersion => {
                "verdicts and rows of a model that was not named, or of one name with two digests"
            }
            Self::Unexplained => "outcomes that name no review of the topic, or are none",
            Self::RowsMissing => "verdicts that the sink has committed and that have no row",
            Self::RowsStale => "rows older than the latest verdict of their review",
            Self::RowsUnexplained => "rows whose verdict is not in the topic",
            Self::Unacknowledged => "ids that were acknowledged and are not in the topic",
        }
    }

    /// Whether only the store can tell.
    pub(crate) fn is_of_rows(self) -> bool {
        matches!(self, Self::RowsMissing | Self::RowsStale | Self::RowsUnexplained)
    }

    /// What to do about it.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Lost => {
                "publish them once more, or `verdict replay --to-store` over their time for their rows"
            }
            Self::Duplicated | Self::Torn => {
                "look for a producer other than the processors, or two replicas with one transactional id; the store keeps one row a review"
            }
            Self::OutOfOrder => {
                "look for a second producer of verdicts.v1, or one that changed the partitioner"
            }
            Self::Swapped => {
                "look for a producer other than the processors, or a topic that was made anew; if there is none, it is a bug: please report it"
            }
            Self::WrongVersion => {
                "compare the model settings of all replicas, and the digests of their bundles"
            }
            Self::Unexplained => {
                "look for a producer other than the processors, or a topic that was made anew"
            }
            Self::RowsMissing | Self::RowsStale => {
                "stop the sinks, set their group back to the beginning of verdicts.v1 and start them: writing a row twice is harmless"
            }
            Self::RowsUnexplained => {
                "expected after `verdict replay --to-store --overwrite`; else look for a writer other than the sinks"
            }
            Self::Unacknowledged => {
                "look at acks and min.insync.replicas of reviews.v1, and whether its retention took them"
            }
        }
    }
}

impl Findings {
    /// Counts a fault; `example` says where.
    pub(crate) fn note(&mut self, fault: Fault, example: impl FnOnce() -> String) {
        *self.counts.entry(fault).or_default() += 1;
        let examples = self.examples.entry(fault).or_default();
        if examples.len() < EXAMPLES_MAX {
            examples.push(format!("{}: {}", fault.name(), example()));
        }
    }

    /// How often `fault` was noted.
    pub(crate) fn count(&self, fault: Fault) -> u64 {
        self.counts.get(&fault).copied().unwrap_or(0)
    }

    /// Takes back at most `most` of what was noted as `fault`; how many it took back.
    pub(crate) fn excuse(&mut self, fault: Fault, most: u64) -> u64 {
        let count = self.count(fault);
        let excused = count.min(most);
        self.counts.insert(fault, count - excused);
        if excused == count {
            self.examples.remove(&fault);
        }
        excused
    }

    /// How many faults there are, of all kinds.
    pub(crate) fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The examples that were kept, by kind.
    pub(crate) fn examples(&self) -> impl Iterator<Item = &str> {
        self.examples.values().flatten().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_counted_and_some_of_it_shown() {
        let mut findings = Findings::default();
        for number in 0..20 {
            findings.note(Fault::Lost, || number.to_string());
        }
        findings.note(Fault::Torn, || "here".to_owned());
        assert_eq!((findings.count(Fault::Lost), findings.total()), (20, 21));
        assert_eq!(findings.examples().count(), EXAMPLES_MAX + 1);
        assert_eq!(findings.examples().last(), Some("torn: here"));
    }

    #[test]
    fn what_is_excused_counts_no_more() {
        let mut findings = Findings::default();
        for _ in 0..3 {
            findings.note(Fault::Lost, String::new);
        }
        assert_eq!(findings.excuse(Fault::Lost, 2), 2);
        assert_eq!((findings.total(), findings.examples().count()), (1, 3));
        assert_eq!(findings.excuse(Fault::Lost, 2), 1);
        assert_eq!((findings.total(), findings.examples().count()), (0, 0));
        assert_eq!(findings.excuse(Fault::Torn, 9), 0);
    }
}
