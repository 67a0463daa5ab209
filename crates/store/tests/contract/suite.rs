//! The contract: one test a promise, each on an empty store.

use std::sync::Arc;

use schemas::{DriftFeatures, Record, Verdict};
use store::{RefusedRecord, Row, StoreError};
use tokio::task::JoinSet;

use crate::{
    Fresh,
    verdicts::{id, refused, row, time, verdict},
};
pub(crate) use crate::{judged::*, opinions::*, pages::*};

/// Holds the store that `$fresh` makes to every promise.
macro_rules! contract {
    ($name:ident, $fresh:path) => {
        contract!($name, $fresh:
            writing_a_row_twice_keeps_one,
            the_later_row_wins_in_either_order,
            a_tie_ends_the_same_in_every_order,
            an_unknown_review_has_no_verdict,
            what_is_read_equals_what_was_written,
            absent_values_stay_absent,
            unusual_text_comes_back,
            times_keep_their_nanoseconds,
            a_batch_of_a_thousand_is_written,
            one_batch_may_hold_a_review_twice,
            writers_at_the_same_time_agree,
            a_number_that_is_not_finite_is_refused,
            a_refused_record_is_kept_once_byte_for_byte,
            the_latest_refused_come_first,
            all_refused_are_scanned_once,
            a_backfill_never_takes_the_place_of_a_row_of_the_line,
            a_day_is_listed_in_pages_by_time,
            a_listed_verdict_equals_the_one_that_was_written,
            reviews_without_a_source_are_listed_together,
            a_review_scored_anew_is_listed_once,
            all_rows_are_scanned_once,
            the_digest_is_that_of_the_rows_in_any_order,
            a_token_that_was_not_given_out_is_refused,
            feedback_is_kept_once_the_earliest_first,
            feedback_that_cannot_be_is_refused,
            of_two_records_that_say_the_same_the_lower_offset_stays,
            all_feedback_is_scanned_once,
            a_window_is_kept_once_the_later_judgement_stays,
            windows_of_a_period_come_the_newest_first,
            nothing_is_written_by_an_empty_batch,
        );
    };
    ($name:ident, $fresh:path: $($promise:ident,)+) => {
        mod $name {
            $(
                #[tokio::test]
                async fn $promise() {
                    // `None` where the store's server is not there.
                    if let Some(fresh) = $fresh().await {
                        crate::suite::$promise(fresh).await;
                    }
                }
            )+
        }
    };
}

async fn label(fresh: &Fresh, name: &str) -> Option<String> {
    fresh.store.get(&id(name)).await.unwrap().map(|verdict| verdict.label)
}

pub(crate) async fn writing_a_row_twice_keeps_one(fresh: Fresh) {
    let row = Row::new(verdict("a"));
    for _ in 0..3 {
        fresh.store.upsert(std::slice::from_ref(&row)).await.unwrap();
    }
    assert_eq!(fresh.store.get(&id("a")).await.unwrap(), Some(row.verdict));
}

pub(crate) async fn the_later_row_wins_in_either_order(fresh: Fresh) {
    let (early, late) = (|name| row(name, 1_000, "early"), |name| row(name, 1_001, "late"));
    for (name, first, second) in
        [("up", early("up"), late("up")), ("down", late("down"), early("down"))]
    {
        fresh.store.upsert(&[first]).await.unwrap();
        fresh.store.upsert(&[second]).await.unwrap();
        assert_eq!(label(&fresh, name).await.as_deref(), Some("late"), "{name}");
    }
}

pub(crate) async fn a_tie_ends_the_same_in_every_order(fresh: Fresh) {
    let labels = ["positive", "negative", "neutral"];
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let mut winners = Vec::new();
    for order in orders {
        // The id is part of what breaks the tie, so that each order needs a store's row of its own: times differ instead.
        let winner = tie(&fresh, &labels, order, winners.len()).await;
        winners.push(winner);
    }
    winners.dedup();
    assert_eq!(winners.len(), 1, "{winners:?}");
}

/// The label that stays of three written at one time in `order`. A later round is written at a later time.
async fn tie(fresh: &Fresh, labels: &[&str; 3], order: [usize; 3], round: usize) -> String {
    let written_at_us = i64::try_from(round).unwrap() + 1;
    for index in order {
        let row = row("tie", written_at_us, labels[index]);
        fresh.store.upsert(&[row]).await.unwrap();
    }
    label(fresh, "tie").await.unwrap()
}

pub(crate) async fn a_backfill_never_takes_the_place_of_a_row_of_the_line(fresh: Fresh) {
    let scored = |label: &str, scored_at| Verdict {
        label: label.to_owned(),
        scored_at: time(scored_at),
        ..verdict("a")
    };
    let older = Row::backfill(scored("older backfill", "2026-01-01T00:00:00Z"));
    let newer = Row::backfill(scored("newer backfill", "2026-01-02T00:00:00Z"));
    let line = Row::new(scored("line", "2025-03-02T00:00:00Z"));
    let steps = [
        (&newer, "newer backfill"),
        (&older, "newer backfill"),
        (&line, "line"),
        (&newer, "line"),
        (&older, "line"),
    ];
    for (row, expected) in steps {
        fresh.store.upsert(std::slice::from_ref(row)).await.unwrap();
        assert_eq!(label(&fresh, "a").await.as_deref(), Some(expected));
    }
}

pub(crate) async fn an_unknown_review_has_no_verdict(fresh: Fresh) {
    fresh.store.upsert(&[Row::new(verdict("a"))]).await.unwrap();
    for unknown in ["b", "A", "a'", "a%", "aa"] {
        assert_eq!(fresh.store.get(&id(unknown)).await.unwrap(), None, "{unknown}");
    }
}

pub(crate) async fn what_is_read_equals_what_was_written(fresh: Fresh) {
    let mut written = verdict("exact");
    fresh.store.upsert(&[Row::new(written.clone())]).await.unwrap();
    assert_eq!(fresh.store.get(&written.id).await.unwrap().as_ref(), Some(&written));

    // Numbers at the edges of their types, and such as decimal text is bad at.
    let doubles =
        [0.0, f64::MIN_POSITIVE, 5e-324, f64::MAX, 0.1, 1.0 / 3.0, 123_456_789.123_456_78];
    let singles = [0.0, f32::MIN_POSITIVE, 1e-45, f32::MAX, 0.1, 1.0 / 3.0, 0.999_999_94];
    for (round, (double, single)) in doubles.into_iter().zip(singles).enumerate() {
        written.queue_ms = double;
        written.inference_ms = double;
        written.confidence = single;
        written.probabilities.insert("positive".to_owned(), single);
        written.metadata = serde_json::json!({ "number": double }).as_object().cloned();
        written.drift = Some(DriftFeatures { cross_entropy: Some(single), ..Default::default() });
        (written.tokens, written.batch_size) = (u32::MAX, 0);
        let written_at_us = i64::MAX - 10 + i64::try_from(round).unwrap();
        fresh.store.upsert(&[Row { verdict: written.clone(), written_at_us }]).await.unwrap();
        let read = fresh.store.get(&written.id).await.unwrap().unwrap();
        assert_eq!(read, written);
        assert_eq!(read.queue_ms.to_bits(), double.to_bits());
        assert_eq!(read.confidence.to_bits(), single.to_bits());
        let bits = read.drift.and_then(|features| features.cross_entropy).map(f32::to_bits);
        assert_eq!(bits, Some(single.to_bits()));
    }
}

pub(crate) async fn absent_values_stay_absent(fresh: Fresh) {
    let bare = Verdict {
        review: None,
        source: None,
        language: None,
        metadata: None,
        origin: None,
        trace_id: None,
        drift: None,
        ..verdict("bare")
    };
    let empty = Verdict {
        review: Some(String::new()),
        source: Some(String::new()),
        language: Some(String::new()),
        metadata: Some(serde_json::Map::new()),
        trace_id: Some(String::new()),
        probabilities: [].into(),
        drift: Some(DriftFeatures::default()),
        ..verdict("empty")
    };
    for verdict in [bare, empty] {
        fresh.store.upsert(&[Row::new(verdict.clone())]).await.unwrap();
        assert_eq!(fresh.store.get(&verdict.id).await.unwrap(), Some(verdict));
    }
}

pub(crate) async fn unusual_text_comes_back(fresh: Fresh) {
    let texts = [
        "👩‍👩‍👧‍👦 loved it 😀",
        "'; DROP TABLE verdicts_by_id; --",
        "\"double\" 'single' `back` \\ %s ?1 :a",
        "before\u{0}after",
        "اَلْعَرَبِيَّةُ 中文 e\u{301} \u{feff}\u{200d}",
        "line\nbreak\ttab\u{1f}",
        &"long ".repeat(10_000),
    ];
    for (index, text) in texts.into_iter().enumerate() {
        let name = format!("{index}-👍'\"%_");
        let mut verdict = verdict(&name);
        verdict.review = Some(text.to_owned());
        verdict.source = Some(text.to_owned());
        verdict.label = text.to_owned();
        verdict.probabilities.insert(text.to_owned(), 0.5);
        verdict.metadata = serde_json::json!({ text: text }).as_object().cloned();
        fresh.store.upsert(&[Row::new(verdict.clone())]).await.unwrap();
        assert_eq!(fresh.store.get(&verdict.id).await.unwrap(), Some(verdict), "{index}");
    }
}

pub(crate) async fn times_keep_their_nanoseconds(fresh: Fresh) {
    let times = [
        "1970-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999999999Z",
        "2025-06-30T12:00:00.1Z",
        "-000044-03-15T12:00:00.000000001Z",
        "9999-12-30T22:00:00.999999999Z",
    ];
    for (index, text) in times.into_iter().enumerate() {
        let mut verdict = verdict(&format!("at-{index}"));
        (verdict.occurred_at, verdict.received_at, verdict.scored_at) =
            (time(text), time(text), time(text));
        fresh.store.upsert(&[Row::new(verdict.clone())]).await.unwrap();
        assert_eq!(fresh.store.get(&verdict.id).await.unwrap(), Some(verdict), "{text}");
    }
}

pub(crate) async fn a_batch_of_a_thousand_is_written(fresh: Fresh) {
    let rows: Vec<_> =
        (0..1_000).map(|index| row(&format!("review-{index}"), index, "batch")).collect();
    fresh.store.upsert(&rows).await.unwrap();
    for row in rows {
        assert_eq!(fresh.store.get(&row.verdict.id).await.unwrap(), Some(row.verdict));
    }
}

pub(crate) async fn one_batch_may_hold_a_review_twice(fresh: Fresh) {
    let rows =
        [row("a", 2, "middle"), row("b", 1, "only"), row("a", 3, "last"), row("a", 1, "first")];
    fresh.store.upsert(&rows).await.unwrap();
    assert_eq!(label(&fresh, "a").await.as_deref(), Some("last"));
    assert_eq!(label(&fresh, "b").await.as_deref(), Some("only"));
}

pub(crate) async fn writers_at_the_same_time_agree(fresh: Fresh) {
    let mut writers = JoinSet::new();
    for writer in 0..8_i64 {
        let store = Arc::clone(&fresh.store);
        writers.spawn(async move {
            for round in 0..5_i64 {
                let rows: Vec<_> = (0..50)
                    .map(|index| {
                        row(
                            &format!("shared-{index}"),
                            round * 8 + writer,
                            &format!("{writer}-{round}"),
                        )
                    })
                    .collect();
                store.upsert(&rows).await.unwrap();
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    for index in 0..50 {
        assert_eq!(label(&fresh, &format!("shared-{index}")).await.as_deref(), Some("7-4"));
    }
}

pub(crate) async fn a_number_that_is_not_finite_is_refused(fresh: Fresh) {
    let infinite = Verdict { queue_ms: f64::INFINITY, ..verdict("infinite") };
    let mut uncertain = verdict("uncertain");
    uncertain.probabilities.insert("positive".to_owned(), f32::NAN);
    let features = DriftFeatures { cross_entropy: Some(f32::NAN), ..Default::default() };
    let surprised = Verdict { drift: Some(features), ..verdict("surprised") };
    for faulty in [infinite, uncertain, surprised] {
        let rows = [Row::new(verdict("neighbour")), Row::new(faulty)];
        let error = fresh.store.upsert(&rows).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
    }
}

pub(crate) async fn a_refused_record_is_kept_once_byte_for_byte(fresh: Fresh) {
    let null = RefusedRecord { record: Record::default(), ..refused(8) };
    let again = RefusedRecord {
        message: "another reason".to_owned(),
        refused_at: time("2025-03-03T00:00:00Z"),
        ..refused(7)
    };
    // The topic was deleted and made anew: the same place holds another record.
    let mut anew = RefusedRecord { refused_at: time("2025-03-04T00:00:00Z"), ..refused(7) };
    anew.record.value = Some(Vec::new());
    fresh.store.keep_refused(&[refused(7), null.clone()]).await.unwrap();
    fresh.store.keep_refused(&[again, anew.clone()]).await.unwrap();
    assert_eq!(fresh.store.refused(10).await.unwrap(), [anew, null, refused(7)]);
}

pub(crate) async fn the_latest_refused_come_first(fresh: Fresh) {
    let records: Vec<_> = (0..20).map(refused).collect();
    fresh.store.keep_refused(&records).await.unwrap();
    assert_eq!(fresh.store.refused(3).await.unwrap(), [refused(19), refused(18), refused(17)]);
    assert_eq!(fresh.store.refused(0).await.unwrap(), []);
    assert_eq!(fresh.store.refused(usize::MAX).await.unwrap().len(), 20);
}

pub(crate) async fn all_refused_are_scanned_once(fresh: Fresh) {
    let records: Vec<_> = (0..20).map(refused).collect();
    fresh.store.keep_refused(&records).await.unwrap();
    for limit in [1, 3, 20, usize::MAX] {
        let (mut scanned, mut from) = (Vec::new(), None);
        loop {
            let page = fresh.store.scan_refused(from.as_ref(), limit).await.unwrap();
            assert!(page.items.len() <= limit, "{limit}");
            scanned.extend(page.items);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        scanned.sort_by_key(|record| record.offset);
        assert_eq!(scanned, records, "{limit}");
    }
    let rows = ["a", "b"].map(|name| Row::new(verdict(name)));
    fresh.store.upsert(&rows).await.unwrap();
    let foreign = fresh.store.scan(None, 1).await.unwrap().next;
    let error = fresh.store.scan_refused(foreign.as_ref(), 1).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
}

pub(crate) async fn nothing_is_written_by_an_empty_batch(fresh: Fresh) {
    fresh.store.upsert(&[]).await.unwrap();
    fresh.store.keep_refused(&[]).await.unwrap();
    fresh.store.keep_judgements(&[]).await.unwrap();
    assert_eq!(fresh.store.refused(10).await.unwrap(), []);
}
