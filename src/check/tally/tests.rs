//! What the tally says of histories that were made up.

use std::sync::Arc;

use schemas::{Origin, Record, Refusal, Stage, review::Place};

use super::*;

const REVIEWS: &str = "reviews.v1";

/// One partition that keeps the offsets 10 to 20, of which the group has committed those below 15.
pub(crate) fn tally() -> Tally {
    with(BTreeMap::from([(0, Bounds { kept: 10..20, settled: 15, committed: 15 })]))
}

fn with(bounds: BTreeMap<i32, Bounds>) -> Tally {
    Tally::new(REVIEWS, bounds, Vec::new(), HashSet::new())
}

fn delivery(topic: &str, offset: i64, record: Record) -> Delivery {
    Delivery { topic: Arc::from(topic), partition: 0, offset, record }
}

fn review(offset: i64) -> Delivery {
    let key = Some(format!("review-{offset}").into_bytes());
    delivery(REVIEWS, offset, Record { key, ..Record::default() })
}

pub(crate) fn verdict(at: i64, key: &str, change: impl FnOnce(&mut Verdict)) -> Delivery {
    let json = r#"{"schema_version":1,"id":"a","review_sha256":"00","label":"positive","confidence":0.9,
        "probabilities":{"positive":0.9,"negative":0.1},"model":{"name":"tiny","version":"1","digest":"sha256:aa"},
        "tokens":3,"truncated":false,"origin":{"topic":"reviews.v1","partition":0,"offset":0},
        "occurred_at":"2026-01-01T00:00:00Z","received_at":"2026-01-01T00:00:00Z","scored_at":"2026-01-01T00:00:01Z",
        "queue_ms":1.0,"inference_ms":1.0,"batch_size":1}"#;
    let mut verdict: Verdict = serde_json::from_str(json).unwrap();
    change(&mut verdict);
    let mut record = verdict.to_record(Vec::new()).unwrap();
    record.key = Some(key.as_bytes().to_vec());
    delivery("verdicts.v1", at, record)
}

/// The verdict of the review at `offset`, itself at `at`.
fn of(at: i64, offset: i64) -> Delivery {
    verdict(at, &format!("review-{offset}"), |verdict| origin(verdict).offset = offset)
}

pub(crate) fn origin(verdict: &mut Verdict) -> &mut Origin {
    verdict.origin.as_mut().unwrap()
}

fn dead_letter(at: i64, offset: i64) -> Delivery {
    let place = Place { topic: REVIEWS, partition: 0, offset };
    let refusal = Refusal::new(Stage::Decode, "NotJson", "not JSON");
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    delivery("reviews.v1.dlq", at, refusal.to_dead_letter(&review(offset).record, place, now))
}

/// Notes verdicts of the reviews at `verdicts`, then all reviews up to offset 17, and ends.
fn ended(mut tally: Tally, verdicts: impl IntoIterator<Item = i64>) -> Tally {
    for (at, offset) in (0..).zip(verdicts) {
        tally.verdict(&of(at, offset));
    }
    for offset in 10..18 {
        tally.review(&review(offset));
    }
    tally.finish(0);
    tally
}

#[track_caller]
pub(crate) fn check(tally: &Tally, expected: &[(Fault, u64)]) {
    for fault in Fault::ALL {
        let expected = expected.iter().find(|(name, _)| *name == fault).map_or(0, |(_, n)| *n);
        let examples: Vec<_> = tally.findings.examples().collect();
        assert_eq!(tally.findings.count(fault), expected, "{fault:?}: {examples:?}");
    }
}

#[test]
fn one_outcome_for_each_review_below_the_offset_is_no_fault() {
    let mut tally = tally();
    tally.dead_letter(&dead_letter(0, 12));
    let tally = ended(tally, [10, 11, 13, 14]);
    check(&tally, &[]);
    let expected = Counts { reviews: 8, verdicts: 4, dead_letters: 1, pending: 3, forgotten: 0 };
    assert_eq!(tally.counts, expected);
}

#[test]
fn a_review_below_the_offset_without_an_outcome_is_lost() {
    let tally = ended(tally(), [10, 11, 13, 14]);
    check(&tally, &[(Fault::Lost, 1)]);
    let example = tally.findings.examples().next().unwrap();
    assert!(example.contains("reviews.v1-0@12 (review-12)"), "{example}");
}

#[test]
fn an_offset_that_holds_no_record_is_not_missed() {
    let mut tally = tally();
    for (at, offset) in [(0, 10), (1, 11), (2, 14)] {
        tally.verdict(&of(at, offset));
    }
    // 12 and 13 were a transaction that was aborted, and its marker.
    for offset in [10, 11, 14] {
        tally.review(&review(offset));
    }
    tally.finish(0);
    check(&tally, &[]);
}

#[test]
fn a_second_outcome_is_a_duplicate_whatever_the_two_are() {
    let mut tally = tally();
    tally.dead_letter(&dead_letter(0, 12));
    tally.dead_letter(&dead_letter(1, 12));
    check(&ended(tally, [10, 11, 12, 13, 14, 14]), &[(Fault::Duplicated, 3)]);
}

#[test]
fn an_outcome_at_or_above_the_offset_is_torn() {
    check(&ended(tally(), 10..17), &[(Fault::Torn, 2)]);
    let mut tally = tally();
    tally.dead_letter(&dead_letter(0, i64::MAX));
    check(&ended(tally, 10..15), &[(Fault::Torn, 1)]);
}

#[test]
fn what_happens_while_the_line_is_read_is_no_fault() {
    // The group went from 13 to 16 meanwhile; some of its outcomes were within sight.
    let bounds = Bounds { kept: 10..20, settled: 13, committed: 16 };
    let tally = ended(with(BTreeMap::from([(0, bounds)])), [10, 11, 12, 13, 14]);
    check(&tally, &[]);
    assert_eq!(tally.counts.pending, 3);
}

#[test]
fn verdicts_of_one_key_follow_their_reviews() {
    let mut tally = tally();
    for (at, key, offset) in
        [(0, "a", 11), (1, "b", 10), (2, "a", 13), (3, "a", 12), (4, "a", 14), (5, "b", 10)]
    {
        tally.verdict(&verdict(at, key, |verdict| origin(verdict).offset = offset));
    }
    for offset in 10..18 {
        tally.review(&review(offset));
    }
    tally.finish(0);
    // The verdict of 12 came after that of 13; the second of 10 is a duplicate and no more.
    check(&tally, &[(Fault::OutOfOrder, 1), (Fault::Duplicated, 1)]);
}

#[test]
fn order_counts_within_one_partition_of_verdicts_only() {
    let mut tally = tally();
    let same_key = |at, offset| verdict(at, "a", |verdict| origin(verdict).offset = offset);
    tally.verdict(&same_key(0, 14));
    tally.verdict(&Delivery { partition: 1, ..same_key(0, 13) });
    check(&tally, &[]);
}

#[test]
fn models_that_were_not_named_and_digests_that_differ_are_wrong() {
    let named = vec!["tiny@1".parse().unwrap()];
    let mut tally = Tally::new(REVIEWS, tally_bounds(), named, HashSet::new());
    let other = |at, offset, change: fn(&mut ModelRef)| {
        verdict(at, "a", |verdict| {
            origin(verdict).offset = offset;
            change(&mut verdict.model);
        })
    };
    tally.verdict(&of(0, 10));
    tally.verdict(&other(1, 11, |model| model.version = "2".to_owned()));
    tally.verdict(&other(2, 12, |model| model.digest = "sha256:bb".to_owned()));
    tally.verdict(&other(3, 13, |model| model.name = "huge".to_owned()));
    check(&tally, &[(Fault::WrongVersion, 3)]);
}

#[test]
fn a_verdict_of_another_id_or_text_than_its_review_s_is_swapped() {
    // SHA-256 of "Fine.".
    const FINE: &str = "06ddfbea2f6fd7ed52f3abb5bb3ba71486fe2c9504d7bd7ee1a859a5721a7cae";
    let mut tally = tally();
    let judged = |at: i64, id: &str, sha256: &str| {
        verdict(at, id, |verdict| {
            verdict.id = schemas::ReviewId::new(id).unwrap();
            sha256.clone_into(&mut verdict.review_sha256);
            origin(verdict).offset = 10 + at;
        })
    };
    let verdicts =
        [judged(0, "a", FINE), judged(1, "c", FINE), judged(2, "c", "00"), judged(3, "d", FINE)];
    for verdict in &verdicts {
        tally.verdict(verdict);
    }
    // A second verdict is a duplicate, whatever it says.
    tally.verdict(&delivery("verdicts.v1", 4, verdicts[0].record.clone()));
    for (offset, id) in [(10, "a"), (11, "b"), (12, "c"), (13, "d")] {
        let value = format!(r#"{{"id":"{id}","review":"Fine."}}"#).into_bytes();
        tally.review(&delivery(
            REVIEWS,
            offset,
            Record { value: Some(value), ..Record::default() },
        ));
    }
    check(&tally, &[(Fault::Swapped, 2), (Fault::Duplicated, 1)]);
}

fn tally_bounds() -> BTreeMap<i32, Bounds> {
    BTreeMap::from([(0, Bounds { kept: 10..20, settled: 15, committed: 15 })])
}

#[test]
fn what_names_no_review_is_unexplained() {
    let mut tally = tally();
    let wrong: [fn(&mut Verdict); 4] = [
        |verdict| verdict.origin = None,
        |verdict| origin(verdict).topic = "other".to_owned(),
        |verdict| origin(verdict).partition = 7,
        |verdict| origin(verdict).offset = -1,
    ];
    for (at, change) in (0..).zip(wrong) {
        tally.verdict(&verdict(at, "a", change));
    }
    tally.verdict(&delivery("verdicts.v1", 8, Record::default()));
    tally.dead_letter(&delivery("reviews.v1.dlq", 0, Record::default()));
    tally.verdict(&of(9, 12));
    // 12 is a place without a record.
    for offset in [10, 11, 13, 14] {
        tally.verdict(&of(offset, offset));
        tally.review(&review(offset));
    }
    tally.finish(0);
    check(&tally, &[(Fault::Unexplained, 7)]);
}

#[test]
fn outcomes_of_reviews_that_are_no_longer_kept_are_let_be() {
    check(&ended(tally(), [3, 3, 10, 11, 12, 13, 14]), &[]);
}

#[test]
fn where_outcomes_were_deleted_as_many_may_be_missing() {
    let mut tally = tally();
    tally.verdict(&of(0, 12));
    for offset in 10..15 {
        tally.review(&review(offset));
    }
    tally.finish(3);
    check(&tally, &[(Fault::Lost, 1)]);
    assert_eq!(tally.counts.forgotten, 3);
}

#[test]
fn what_was_acknowledged_must_be_in_the_topic() {
    let ids = ["review-10", "review-11", "review-99"].map(str::to_owned);
    let tally = Tally::new(REVIEWS, tally_bounds(), Vec::new(), ids.into());
    check(&ended(tally, 10..15), &[(Fault::Unacknowledged, 1)]);
}
