//! How far a reader is behind, and how long open transactions have held it up: pure, time is an argument.
//!
//! At `read_committed` no record is given out that stands after the first open transaction of its partition. A transaction whose
//! writer is gone holds up every reader until its timeout; one that the coordinator has forgotten (a broker's fault) for ever. A
//! reader cannot tell that from silence, so the offsets tell it: the last stable one stands still below the last one.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::ledger::Partition;

/// How a reader's partitions stand, by topic and number. Those that it does not have are not here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing(pub BTreeMap<Partition, PartitionStanding>);

/// How a partition stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionStanding {
    /// Offsets that may be read and have not been given out yet.
    pub lag: u64,
    /// How long the first open transaction has been the same one; nothing where none is open.
    pub stalled: Duration,
}

/// What the broker told of a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    /// Where the first open transaction begins; the same as `end` where none is open.
    pub(crate) stable: i64,
    /// The offset after the last record.
    pub(crate) end: i64,
    /// The next offset to be given out.
    pub(crate) next: i64,
}

/// What was reported so far.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    partitions: BTreeMap<Partition, Watched>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    report: Report,
    /// When `report.stable` was first told, if that lies before the end.
    stalled_since: Option<Instant>,
}

impl Reports {
    /// Takes the reports of all partitions that the reader has at `now`.
    pub(crate) fn take(
        &mut self,
        reports: impl IntoIterator<Item = (Partition, Report)>,
        now: Instant,
    ) {
        let before = std::mem::take(&mut self.partitions);
        let watched = |(partition, report): (Partition, Report)| {
            let stalled_since = (report.stable < report.end).then(|| {
                let same = before.get(&partition).filter(|it| it.report.stable == report.stable);
                same.and_then(|it| it.stalled_since).unwrap_or(now)
            });
            (partition, Watched { report, stalled_since })
        };
        self.partitions = reports.into_iter().map(watched).collect();
    }

    /// How the partitions stand at `now`, as far as was reported.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        let standing = |(partition, watched): (&Partition, &Watched)| {
            let Watched { report, stalled_since } = watched;
            let lag = u64::try_from(report.stable - report.next).unwrap_or(0);
            let stalled =
                stalled_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
            (partition.clone(), PartitionStanding { lag, stalled })
        };
        Standing(self.partitions.iter().map(standing).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Reports of one partition, a second apart, as stable, end and next; and how it stands half a second after the last.
    #[track_caller]
    fn check(reports: &[(i64, i64, i64)], lag: u64, stalled_ms: u64) {
        let partition: Partition = (Arc::from("t"), 0);
        let (mut all, mut now) = (Reports::default(), chassis::clock::monotonic());
        for &(stable, end, next) in reports {
            now += Duration::from_secs(1);
            all.take([(partition.clone(), Report { stable, end, next })], now);
        }
        let standing = all.standing(now + Duration::from_millis(500));
        let expected = PartitionStanding { lag, stalled: Duration::from_millis(stalled_ms) };
        assert_eq!(standing.0.get(&partition), Some(&expected));
    }

    #[test]
    fn what_may_be_read_and_was_not_is_the_lag() {
        check(&[(10, 10, 10)], 0, 0);
        check(&[(10, 10, 4)], 6, 0);
        check(&[(10, 30, 4)], 6, 500);
        check(&[(3, 3, 4)], 0, 0);
    }

    #[test]
    fn a_stall_lasts_from_the_report_that_first_told_it() {
        check(&[(10, 12, 10), (10, 12, 10), (10, 15, 10)], 0, 2_500);
        check(&[(10, 10, 10), (10, 12, 10), (10, 15, 10)], 0, 1_500);
    }

    #[test]
    fn transactions_that_follow_each_other_are_no_stall() {
        check(&[(10, 12, 10), (12, 14, 12), (14, 16, 14)], 0, 500);
        check(&[(10, 12, 10), (12, 12, 12), (12, 14, 12)], 0, 500);
        check(&[(10, 12, 10), (10, 12, 10), (12, 12, 12)], 0, 0);
    }

    #[test]
    fn a_partition_that_went_is_forgotten() {
        let [first, second]: [Partition; 2] = [0, 1].map(|number| (Arc::from("t"), number));
        let report = Report { stable: 1, end: 2, next: 0 };
        let now = chassis::clock::monotonic();
        let mut all = Reports::default();
        all.take([(first.clone(), report), (second.clone(), report)], now);
        all.take([(second.clone(), report)], now);
        assert_eq!(all.standing(now).0.keys().collect::<Vec<_>>(), [&second]);
        all.take([(first.clone(), report)], now + Duration::from_secs(9));
        let standing = all.standing(now + Duration::from_secs(9));
        assert_eq!(standing.0[&first].stalled, Duration::ZERO);
    }
}
