//! The contract of feedback.

use schemas::Feedback;
use store::StoreError;

use crate::{
    Fresh,
    verdicts::{id, time},
};

fn feedback(label: &str, by: Option<&str>, given_at: &str) -> Feedback {
    Feedback {
        id: "a".to_owned(),
        label: label.to_owned(),
        by: by.map(str::to_owned),
        given_at: Some(time(given_at)),
    }
}

pub(crate) async fn feedback_is_kept_once_the_earliest_first(fresh: Fresh) {
    let late = feedback("negative", Some("support"), "2025-03-02T00:00:00.000000002Z");
    let early = feedback("positive", None, "2025-03-01T00:00:00.123456789Z");
    let other_label = Feedback { label: "positive".to_owned(), ..late.clone() };
    let other_review = Feedback { id: "b".to_owned(), ..late.clone() };
    let unusual = feedback("'; -- 👍", Some("anna \"a\" o'neil"), "2025-03-03T00:00:00Z");
    let all = [late.clone(), early.clone(), other_review.clone(), unusual.clone()];
    fresh.store.keep_feedback(&all).await.unwrap();
    fresh.store.keep_feedback(&[other_label.clone(), late.clone(), early.clone()]).await.unwrap();
    // There is no verdict of these reviews: feedback may come before the row.
    assert_eq!(fresh.store.feedback(&id("a")).await.unwrap(), [early, late, other_label, unusual]);
    assert_eq!(fresh.store.feedback(&id("b")).await.unwrap(), [other_review]);
    assert_eq!(fresh.store.feedback(&id("c")).await.unwrap(), []);
}

pub(crate) async fn feedback_that_cannot_be_is_refused(fresh: Fresh) {
    let right = feedback("positive", None, "2025-03-01T00:00:00Z");
    let untimed = Feedback { given_at: None, ..right.clone() };
    let unlabelled = Feedback { label: String::new(), ..right.clone() };
    let nameless = Feedback { id: "a b".to_owned(), ..right.clone() };
    for faulty in [untimed, unlabelled, nameless] {
        let error = fresh.store.keep_feedback(&[faulty]).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
    }
    assert_eq!(fresh.store.feedback(&id("a")).await.unwrap(), []);
}
