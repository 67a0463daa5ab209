//! Which row each review must have: pure, some fifty bytes for each.

use std::collections::{HashMap, HashSet};

use broker::Delivery;
use schemas::{Verdict, topics};
use store::{RefusedRecord, Row};

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
    /// Records that the store keeps as refused, by place and digest.
    refused: HashSet<u128>,
    /// By id, the best of the verdicts that must have a row: those that the sink has committed and the store has not refused.
    due: HashMap<u128, Best>,
    /// Ids and ranks of the others, which may have a row.
    possible: HashSet<(u128, Rank)>,
    /// Ids and ranks of verdicts that were scored in the same microsecond as another of their review. `SQLite` keeps the larger
    /// digest of such two, a CQL server the larger JSON, so that either is the latest.
    ties: HashSet<(u128, Rank)>,
    pub(crate) counts: Counts,
}

/// What was counted, besides faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) rows: u64,
    /// Verdicts that are no rows because the store does not take them.
    pub(crate) refused: u64,
}

impl Rows {
    /// Notes a record that the store keeps as refused. All of them are noted before the first verdict.
    pub(crate) fn refused(&mut self, record: &RefusedRecord) {
        if record.topic == topics::VERDICTS {
            let RefusedRecord { partition, offset, .. } = record;
            self.refused.insert(place(*partition, *offset, &record.record_digest()));
        }
    }

    /// Notes a verdict of the topic; `is_sunk` if the sink has committed it.
    pub(crate) fn verdict(&mut self, delivery: &Delivery, verdict: Verdict, is_sunk: bool) {
        let is_refused = self.is_refused(delivery);
        self.counts.refused += u64::from(is_refused);
        let id = id(&verdict);
        let Some(rank) = Rank::of(&Row::new(verdict)) else { return };
        if is_refused || !is_sunk {
            self.possible.insert((id, rank));
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
        self.due.entry(id).and_modify(better).or_insert(new);
    }

    /// The digest is that of the record, since a topic that was made anew has the same places.
    fn is_refused(&self, delivery: &Delivery) -> bool {
        !self.refused.is_empty() && {
            let Delivery { partition, offset, record, .. } = delivery;
            self.refused.contains(&place(*partition, *offset, &store::record_digest(record)))
        }
    }

    /// Notes a row of the store. All verdicts must have been noted; `topic_is_whole` if none was deleted.
    pub(crate) fn row(&mut self, row: &Row, tally: &mut Tally, topic_is_whole: bool) {
        self.counts.rows += 1;
        let Some(rank) = Rank::of(row) else { return };
        let id = id(&row.verdict);
        let example = |what: &str| {
            let Verdict { id, model, scored_at, .. } = &row.verdict;
            format!("row of {id}, scored {scored_at} by {}@{}, {what}", model.name, model.version)
        };
        let due = self.due.get_mut(&id).map(|best| {
            best.has_row = true;
            best.rank
        });
        if due == Some(rank) || self.possible.contains(&(id, rank)) {
            return;
        }
        let is_as_late = due.is_some_and(|best| best.written_at_us == rank.written_at_us);
        if is_as_late && self.ties.contains(&(id, rank)) {
            return;
        }
        tally.model(&row.verdict.model, || example("as the store has it"));
        if due.is_some_and(|best| rank < best) {
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
        for best in self.due.values().filter(|best| !best.has_row) {
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

fn place(partition: i32, offset: i64, record_digest: &str) -> u128 {
    hash(&[&partition.to_be_bytes(), &offset.to_be_bytes(), record_digest.as_bytes()])
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

    fn refused(delivery: &Delivery) -> RefusedRecord {
        RefusedRecord {
            topic: topics::VERDICTS.to_owned(),
            partition: delivery.partition,
            offset: delivery.offset,
            record: delivery.record.clone(),
            class: "StoreRefused".to_owned(),
            message: "too large".to_owned(),
            refused_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    /// What is found where the topic holds `verdicts`, of which the sink has committed those before offset 3, and the store
    /// holds `rows`.
    #[track_caller]
    fn found(verdicts: &[Delivery], rows: &[Row], expected: &[(Fault, u64)]) {
        found_beside(&[], verdicts, rows, expected);
    }

    /// As [`found`], where the store has kept `refused`; how many of the verdicts count as refused.
    #[track_caller]
    fn found_beside(
        refused: &[RefusedRecord],
        verdicts: &[Delivery],
        rows: &[Row],
        expected: &[(Fault, u64)],
    ) -> u64 {
        let mut tally = tally();
        let mut compared = Rows::default();
        for record in refused {
            compared.refused(record);
        }
        for delivery in verdicts {
            let verdict = tally.verdict(delivery).unwrap();
            compared.verdict(delivery, verdict, delivery.offset < 3);
        }
        for row in rows {
            compared.row(row, &mut tally, true);
        }
        compared.finish("verdicts.v1", &mut tally);
        check(&tally, expected);
        assert_eq!(compared.counts.rows, u64::try_from(rows.len()).unwrap());
        compared.counts.refused
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
        // Of two that the sink is writing the first is there already.
        let verdicts = [scored(0, "a", 0), scored(3, "a", 5), scored(4, "a", 9)];
        found(&verdicts, &[row(&verdicts[1])], &[]);
    }

    #[test]
    fn a_verdict_that_the_store_refused_asks_for_no_row() {
        let verdicts = [scored(0, "a", 0), scored(1, "b", 0), scored(2, "a", 5)];
        let both = [refused(&verdicts[1]), refused(&verdicts[2])];
        let former = [row(&verdicts[0])];
        assert_eq!(found_beside(&both, &verdicts, &former, &[]), 2);
        // The former verdict still has to be there.
        assert_eq!(found_beside(&both, &verdicts, &[], &[(Fault::RowsMissing, 1)]), 2);
        // What was refused once may be taken later.
        let all = [row(&verdicts[2]), row(&verdicts[1])];
        assert_eq!(found_beside(&both, &verdicts, &all, &[]), 2);
    }

    #[test]
    fn what_was_refused_elsewhere_excuses_no_row_that_is_missing() {
        let verdicts = [scored(0, "a", 0)];
        let missing = [(Fault::RowsMissing, 1)];
        let it = || refused(&verdicts[0]);
        let others = [
            RefusedRecord { topic: topics::REVIEWS.to_owned(), ..it() },
            RefusedRecord { partition: 1, ..it() },
            RefusedRecord { offset: 1, ..it() },
            // The topic was deleted and made anew: the place is the same.
            RefusedRecord { record: scored(0, "b", 0).record, ..it() },
        ];
        for other in others {
            assert_eq!(found_beside(&[other], &verdicts, &[], &missing), 0);
        }
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
