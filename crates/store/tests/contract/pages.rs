//! The contract of what is read a page at a time.

use std::collections::BTreeMap;

use schemas::{Verdict, review::ReviewId};
use store::{Digest, Page, PageToken, Row, SourceDay, StoreError, digest};

use crate::{
    Fresh,
    verdicts::{time, verdict},
};

fn day(source: &str, day: &str) -> SourceDay {
    SourceDay { source: source.to_owned(), day: day.parse().unwrap() }
}

/// A verdict of a review that was written at `occurred_at`, at `source` if anywhere.
fn of(name: &str, source: Option<&str>, occurred_at: &str) -> Verdict {
    Verdict { source: source.map(str::to_owned), occurred_at: time(occurred_at), ..verdict(name) }
}

/// Ids of all pages of a list, each of `limit` at most.
async fn listed(fresh: &Fresh, day: &SourceDay, limit: usize) -> Vec<String> {
    let mut ids = Vec::new();
    let mut from = None;
    loop {
        let page = fresh.store.list(day, from.as_ref(), limit).await.unwrap();
        assert!(page.items.len() <= limit, "{} of {limit}", page.items.len());
        ids.extend(page.items.iter().map(|verdict| verdict.id.to_string()));
        from = match page.next {
            // As it comes back from a client.
            Some(next) => Some(PageToken::new(next.as_str())),
            None => return ids,
        };
    }
}

pub(crate) async fn a_day_is_listed_in_pages_by_time(fresh: Fresh) {
    let at = |index: usize| format!("2025-03-01T12:00:{:02}.{:03}Z", index / 4, index % 4);
    let mut rows: Vec<_> = (0..40)
        .map(|index| Row::new(of(&format!("{}", 99 - index), Some("web"), &at(index))))
        .collect();
    let expected: Vec<_> = (0..40).map(|index| format!("{}", 99 - index)).collect();
    rows.rotate_left(17);
    rows.extend([
        Row::new(of("other-source", Some("app"), &at(1))),
        Row::new(of("no-source", None, &at(1))),
        Row::new(of("day-before", Some("web"), "2025-02-28T23:59:59.999999999Z")),
        Row::new(of("day-after", Some("web"), "2025-03-02T00:00:00Z")),
    ]);
    fresh.store.upsert(&rows).await.unwrap();
    for limit in [1, 7, 40, 1_000] {
        assert_eq!(listed(&fresh, &day("web", "2025-03-01"), limit).await, expected, "{limit}");
    }
    assert_eq!(listed(&fresh, &day("app", "2025-03-01"), 5).await, ["other-source"]);
    assert_eq!(listed(&fresh, &day("web", "2025-03-02"), 5).await, ["day-after"]);
    assert_eq!(listed(&fresh, &day("web", "2025-02-28"), 5).await, ["day-before"]);
    assert_eq!(listed(&fresh, &day("web", "2024-03-01"), 5).await, [""; 0]);
    assert_eq!(listed(&fresh, &day("we", "2025-03-01"), 5).await, [""; 0]);
}

pub(crate) async fn a_listed_verdict_equals_the_one_that_was_written(fresh: Fresh) {
    let written = verdict("exact");
    fresh.store.upsert(&[Row::new(written.clone())]).await.unwrap();
    let page = fresh.store.list(&SourceDay::of(&written), None, 10).await.unwrap();
    assert_eq!(page, Page { items: vec![written], next: None });
}

pub(crate) async fn reviews_without_a_source_are_listed_together(fresh: Fresh) {
    let none = of("none", None, "2025-03-01T10:00:00Z");
    let empty = of("empty", Some(""), "2025-03-01T11:00:00Z");
    fresh.store.upsert(&[Row::new(empty), Row::new(none)]).await.unwrap();
    assert_eq!(listed(&fresh, &day("", "2025-03-01"), 1).await, ["none", "empty"]);
}

/// The same id may come with another source and time: the later scoring says where it is listed.
pub(crate) async fn a_review_scored_anew_is_listed_once(fresh: Fresh) {
    let row = |name: &str, written_at_us, source, occurred_at| Row {
        verdict: of(name, Some(source), occurred_at),
        written_at_us,
    };
    let early = |name| row(name, 1_000, "web", "2025-03-01T10:00:00Z");
    let moved = |name| row(name, 2_000, "app", "2025-03-02T10:00:00Z");
    let delayed = |name| row(name, 3_000, "app", "2025-03-02T11:00:00Z");
    for row in [early("up"), moved("up"), delayed("up")] {
        fresh.store.upsert(&[row]).await.unwrap();
    }
    for row in [delayed("down"), moved("down"), early("down")] {
        fresh.store.upsert(&[row]).await.unwrap();
    }
    fresh.store.upsert(&[delayed("up"), early("again"), early("again")]).await.unwrap();
    for limit in [1, 10] {
        assert_eq!(listed(&fresh, &day("web", "2025-03-01"), limit).await, ["again"]);
        assert_eq!(listed(&fresh, &day("app", "2025-03-02"), limit).await, ["down", "up"]);
    }
}

pub(crate) async fn all_rows_are_scanned_once(fresh: Fresh) {
    let rows: BTreeMap<ReviewId, Row> = (0..100)
        .map(|index| of(&format!("review-{index}"), None, "2025-03-01T10:00:00Z"))
        .zip(0..)
        .map(|(verdict, time)| (verdict.id.clone(), Row { verdict, written_at_us: 5_000 + time }))
        .collect();
    fresh.store.upsert(&rows.values().cloned().collect::<Vec<_>>()).await.unwrap();
    for limit in [1, 33, 100, 1_000] {
        let mut scanned = BTreeMap::new();
        let mut from = None;
        loop {
            let page = fresh.store.scan(from.as_ref(), limit).await.unwrap();
            assert!(page.items.len() <= limit, "{} of {limit}", page.items.len());
            for row in page.items {
                let twice = scanned.insert(row.verdict.id.clone(), row);
                assert_eq!(twice, None);
            }
            from = match page.next {
                Some(next) => Some(PageToken::new(next.as_str())),
                None => break,
            };
        }
        assert_eq!(scanned, rows, "{limit}");
    }
}

pub(crate) async fn the_digest_is_that_of_the_rows_in_any_order(fresh: Fresh) {
    assert_eq!(digest(&*fresh.store).await.unwrap(), Digest::default());
    let rows = ["a", "b", "c"].map(|name| Row::new(verdict(name)));
    let mut expected = Digest::default();
    for row in rows.iter().rev() {
        expected.add(row).unwrap();
    }
    fresh.store.upsert(&rows).await.unwrap();
    assert_eq!(digest(&*fresh.store).await.unwrap(), expected);
    fresh.store.upsert(&rows[1..]).await.unwrap();
    assert_eq!(digest(&*fresh.store).await.unwrap(), expected, "a replay changes nothing");
    let other = Verdict { tokens: 10, ..verdict("b") };
    fresh.store.upsert(&[Row { written_at_us: i64::MAX / 4, ..Row::new(other) }]).await.unwrap();
    let changed = digest(&*fresh.store).await.unwrap();
    assert_eq!(changed.rows, 3);
    assert_ne!(changed, expected);
}

pub(crate) async fn a_token_that_was_not_given_out_is_refused(fresh: Fresh) {
    let rows = ["a", "b", "c"].map(|name| Row::new(verdict(name)));
    fresh.store.upsert(&rows).await.unwrap();
    let day = SourceDay::of(&verdict("a"));
    let listed = fresh.store.list(&day, None, 1).await.unwrap().next.unwrap();
    let scanned = fresh.store.scan(None, 1).await.unwrap().next.unwrap();
    for token in [PageToken::new(""), PageToken::new("nonsense"), scanned] {
        let error = fresh.store.list(&day, Some(&token), 1).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
    }
    for token in [PageToken::new(""), PageToken::new("nonsense"), listed] {
        let error = fresh.store.scan(Some(&token), 1).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
    }
}
