//! The contract of feedback.

use schemas::{Feedback, Origin};
use store::{FeedbackRow, StoreError};

use crate::{
    Fresh,
    verdicts::{id, time},
};

fn feedback(label: &str, by: Option<&str>, given_at: &str, offset: i64) -> FeedbackRow {
    FeedbackRow {
        feedback: Feedback {
            id: "a".to_owned(),
            label: label.to_owned(),
            by: by.map(str::to_owned),
            given_at: Some(time(given_at)),
        },
        origin: origin(3, offset),
    }
}

fn origin(partition: i32, offset: i64) -> Origin {
    Origin { topic: "feedback.v1".to_owned(), partition, offset }
}

fn with(row: &FeedbackRow, change: impl Fn(&mut Feedback)) -> FeedbackRow {
    let mut changed = row.clone();
    change(&mut changed.feedback);
    changed
}

pub(crate) async fn feedback_is_kept_once_the_earliest_first(fresh: Fresh) {
    let late = feedback("negative", Some("support"), "2025-03-02T00:00:00.000000002Z", 7);
    let early = feedback("positive", None, "2025-03-01T00:00:00.123456789Z", 8);
    let other_label = with(&late, |feedback| "positive".clone_into(&mut feedback.label));
    let other_review = with(&late, |feedback| "b".clone_into(&mut feedback.id));
    let unusual = feedback("'; -- 👍", Some("anna \"a\" o'neil"), "2025-03-03T00:00:00Z", 0);
    let all = [late.clone(), early.clone(), other_review.clone(), unusual.clone()];
    fresh.store.keep_feedback(&all).await.unwrap();
    fresh.store.keep_feedback(&[other_label.clone(), late.clone(), early.clone()]).await.unwrap();
    // There is no verdict of these reviews: feedback may come before the row.
    assert_eq!(fresh.store.feedback(&id("a")).await.unwrap(), [early, late, other_label, unusual]);
    assert_eq!(fresh.store.feedback(&id("b")).await.unwrap(), [other_review]);
    assert_eq!(fresh.store.feedback(&id("c")).await.unwrap(), []);
}

pub(crate) async fn of_two_records_that_say_the_same_the_lower_offset_stays(fresh: Fresh) {
    let at = |offset| feedback("positive", Some("anna"), "2025-03-01T00:00:00Z", offset);
    for (first, second) in [(4, 9), (9, 2), (2, 2)] {
        fresh.store.keep_feedback(&[at(first), at(second)]).await.unwrap();
    }
    assert_eq!(fresh.store.feedback(&id("a")).await.unwrap(), [at(2)]);
    fresh.store.keep_feedback(&[at(0), at(1)]).await.unwrap();
    assert_eq!(fresh.store.feedback(&id("a")).await.unwrap(), [at(0)]);
}

pub(crate) async fn all_feedback_is_scanned_once(fresh: Fresh) {
    let row = |number: i64| {
        let row = feedback("positive", None, "2025-03-01T00:00:00Z", number);
        with(&row, |feedback| feedback.id = format!("review-{number:02}"))
    };
    let rows: Vec<_> = (0..25).map(row).collect();
    fresh.store.keep_feedback(&rows).await.unwrap();
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let page = fresh.store.scan_feedback(from.as_ref(), 10).await.unwrap();
        assert!(page.items.len() <= 10);
        found.extend(page.items);
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    found.sort_by_key(|row| row.origin.offset);
    assert_eq!(found, rows);
    let foreign = fresh.store.scan(None, 1).await.unwrap().next;
    assert_eq!(foreign, None, "feedback makes no verdicts");
    let error = fresh.store.scan_feedback(Some(&store::PageToken::new("s61")), 1).await;
    assert!(matches!(error, Err(StoreError::Refused(_))), "{error:?}");
}

pub(crate) async fn feedback_that_cannot_be_is_refused(fresh: Fresh) {
    let right = feedback("positive", None, "2025-03-01T00:00:00Z", 1);
    let untimed = with(&right, |feedback| feedback.given_at = None);
    let unlabelled = with(&right, |feedback| feedback.label.clear());
    let nameless = with(&right, |feedback| "a b".clone_into(&mut feedback.id));
    for faulty in [untimed, unlabelled, nameless] {
        let error = fresh.store.keep_feedback(&[faulty]).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
    }
    assert_eq!(fresh.store.feedback(&id("a")).await.unwrap(), []);
}
