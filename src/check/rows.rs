//! Which row each review must have: pure, some fifty bytes for each.

use std::collections::{HashMap, HashSet};

use broker::Delivery;
use schemas::Verdict;
use store::Row;

use super::{
    findings::Fault,
    tally::{Tally, hash},
};

/// What decides between two rows of one review: the larger is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Rank {
    written_at_us: i64,
    digest: u128,
}

/// The row that a review must have.
#[derive(Clone, Copy, Debug)]
struct Best {
    rank: Rank,
    /// Where its verdict is.
    partition: i32,
    offset: i64,
    has_row: bool,
}

/// Rows against verdicts.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// By id, the best of the verdicts that the sink has committed.
    sunk: HashMap<u128, Best>,
    /// By id, the best of the others: it may have a row already.
    unsunk: HashMap<u128, Rank>,
    /// Ids and ranks of verdicts that were scored in the same microsecond as another of their review. SQLite keeps the larger
    /// digest of such two, a CQL server the larger JSON, so that either is the latest.
    ties: HashSet<(u128, Rank)>,
    pub(crate) count: u64,
}

impl Rows {
    /// Notes a verdict of the topic; `is_sunk` if the sink has committed it.
    pub(crate) fn verdict(&mut self, delivery: &Delivery, verdict: Verdict, is_sunk: bool) {
        let id = id(&verdict);
        let Some(rank) = Rank::of(&Row::new(verdict)) else { return };
        if !is_sunk {
            self.unsunk.entry(id).and_modify(|best| *best = rank.max(*best)).or_insert(rank);
            return;
        }
        let (partition, offset) = (delivery.partition, delivery.offset);
        let new = Best { rank, partition, offset, has_row: false };
        let ties = &mut self.ties;
        let better = |best: &mut Best| {
            if best.rank.written_at_us == rank.written_at_us {
                ties.extend([(id, best.rank), (id, rank)]);
            }
            if best.rank < rank {
                *best = new;
            }
        };
        self.sunk.entry(id).and_modify(better).or_insert(new);
    }

    /// Notes a row of the store. All verdicts must have been noted; `topic_is_whole` if none was deleted.
    pub(crate) fn row(&mut self, row: &Row, tally: &mut Tally, topic_is_whole: bool) {
        self.count += 1;
        let Some(rank) = Rank::of(row) else { return };
        let id = id(&row.verdict);
        let example = |what: &str| {
            let Verdict { id, model, scored_at, .. } = &row.verdict;
            format!("row of {id}, scored {scored_at} by {}@{}, {what}", model.name, model.version)
        };
        let sunk = self.sunk.get_mut(&id).map(|best| {
            best.has_row = true;
            best.rank
        });
        if sunk == Some(rank) || self.unsunk.get(&id) == Some(&rank) {
            return;
        }
        let is_as_late = sunk.is_some_and(|best| best.written_at_us == rank.written_at_us);
        if is_as_late && self.ties.contains(&(id, rank)) {
            return;
        }
        tally.model(&row.verdict.model, || example("as the store has it"));
        if sunk.is_some_and(|best| rank < best) {
            tally.findings.note(Fault::RowsStale, || example("is older than its latest verdict"));
            return;
        }
        // A verdict that came while the topics were read is in none of what was read; and a backfill comes from no topic.
        let is_later =
            |origin: &schemas::Origin| !tally.is_settled(origin.partition, origin.offset);
        let is_backfill = row.written_at_us != row.verdict.scored_at.as_microsecond();
        let came_later = row.verdict.origin.as_ref().is_some_and(is_later);
        if topic_is_whole && !is_backfill && !came_later {
            tally.findings.note(Fault::RowsUnexplained, || example("has no such verdict"));
        }
    }

    /// The end: what has no row by now has none.
    pub(crate) fn finish(&self, topic: &str, tally: &mut Tally) {
        for best in self.sunk.values().filter(|best| !best.has_row) {
            let Best { partition, offset, .. } = best;
            let example = || format!("{topic}-{partition}@{offset} has no row");
            tally.findings.note(Fault::RowsMissing, example);
        }
    }
}

impl Rank {
    /// `None` for a row that no store takes.
    fn of(row: &Row) -> Option<Self> {
        let digest = row.digest().ok()?;
        let digest = u128::from_str_radix(digest.get(..32)?, 16).ok()?;
        Some(Self { written_at_us: row.written_at_us, digest })
    }
}

fn id(verdict: &Verdict) -> u128 {
    hash(&[verdict.id.as_str().as_bytes()])
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use schemas::ReviewId;

    use super::*;
    use crate::check::tally::tests::{check, origin, tally, verdict};

    /// A verdict at offset `at`, of the review of that number at offset 10 + `at`, scored `second` seconds late.
    fn scored(at: i64, id: &str, second: i64) -> Delivery {
        verdict(at, id, |verdict| {
            verdict.id = ReviewId::new(id).unwrap();
            verdict.scored_at += second.seconds();
            origin(verdict).offset = 10 + at;
        })
    }

    fn row(delivery: &Delivery) -> Row {
        Row::new(Verdict::from_record(&delivery.record).unwrap())
    }

    /// What is found where the topic holds `verdicts`, of which the sink has committed those before offset 3, and the store
    /// holds `rows`.
    #[track_caller]
    fn found(verdicts: &[Delivery], rows: &[Row], expected: &[(Fault, u64)]) {
        let mut tally = tally();
        let mut compared = Rows::default();
        for delivery in verdicts {
            let verdict = tally.verdict(delivery).unwrap();
            compared.verdict(delivery, verdict, delivery.offset < 3);
        }
        for row in rows {
            compared.row(row, &mut tally, true);
        }
        compared.finish("verdicts.v1", &mut tally);
        check(&tally, expected);
        assert_eq!(compared.count, u64::try_from(rows.len()).unwrap());
    }

    #[test]
    fn the_row_of_the_latest_verdict_is_no_fault() {
        let verdicts = [scored(0, "a", 0), scored(1, "b", 0), scored(2, "a", 5)];
        found(&verdicts, &[row(&verdicts[2]), row(&verdicts[1])], &[]);
    }

    #[test]
    fn a_verdict_that_was_committed_and_has_no_row_is_missed() {
        let verdicts = [scored(0, "a", 0), scored(1, "b", 0), scored(4, "c", 0)];
        // That of `c` is still to be written.
        found(&verdicts, &[row(&verdicts[0])], &[(Fault::RowsMissing, 1)]);
    }

    #[test]
    fn a_row_of_an_earlier_verdict_is_stale() {
        let verdicts = [scored(0, "a", 0), scored(1, "a", 5), scored(2, "b", 0)];
        let rows = [row(&verdicts[0]), Row::backfill(row(&verdicts[2]).verdict)];
        found(&verdicts, &rows, &[(Fault::RowsStale, 2)]);
    }

    /// Reviews of one batch are scored at once.
    #[test]
    fn either_of_two_verdicts_of_one_microsecond_is_the_latest() {
        let tie = || [scored(0, "a", 5), scored(1, "a", 5)];
        for kept in &tie() {
            found(&tie(), &[row(kept)], &[]);
        }
        let [one, other] = tie();
        let later = scored(2, "a", 9);
        found(&[one, other, later], &[row(&tie()[0])], &[(Fault::RowsStale, 1)]);
    }

    #[test]
    fn a_row_of_a_verdict_that_the_sink_is_writing_is_no_fault() {
        let verdicts = [scored(0, "a", 0), scored(4, "a", 5), scored(3, "b", 0)];
        found(&verdicts, &[row(&verdicts[0])], &[]);
        found(&verdicts, &[row(&verdicts[1]), row(&verdicts[2])], &[]);
    }

    #[test]
    fn a_row_that_no_verdict_explains_is_one_unless_it_may_be_of_elsewhere() {
        let verdicts = [scored(0, "a", 0)];
        let (same, foreign) = (row(&verdicts[0]), row(&scored(1, "z", 0)));
        let later = row(&scored(0, "a", 9));
        let both = [later, foreign.clone()];
        found(&verdicts, &both, &[(Fault::RowsUnexplained, 2)]);
        // Of a review at or above the group's offset, so that its verdict came after the topic was read.
        let just_now = row(&scored(90, "z", 0));
        let backfill = Row::backfill(foreign.verdict);
        found(&verdicts, &[same, just_now, backfill], &[]);
    }

    #[test]
    fn rows_are_of_models_too() {
        let verdicts = [scored(0, "a", 0)];
        let mut foreign = row(&scored(90, "z", 0));
        foreign.verdict.model.digest = "sha256:bb".to_owned();
        found(&verdicts, &[row(&verdicts[0]), foreign], &[(Fault::WrongVersion, 1)]);
    }
}
