//! The contract of judged windows.

use std::ops::Range;

use jiff::{SignedDuration, Timestamp};
use schemas::ModelRef;
use store::{JudgedWindow, StoreError};

use crate::{Fresh, verdicts::time};

/// Window `window`, the last review of which was written so many seconds after the first of all.
fn judged(window: i64, second: i64) -> JudgedWindow {
    let last_at = time("2025-03-01T23:59:58.123Z") + SignedDuration::from_secs(second);
    JudgedWindow {
        model: ModelRef {
            name: "sentiment".to_owned(),
            version: "1".to_owned(),
            digest: "sha256:abc".to_owned(),
        },
        window,
        first_at: last_at - SignedDuration::from_millis(1_500),
        last_at,
        n: 512,
        alerting: vec!["labels".to_owned(), "confidence".to_owned()],
        estimated_accuracy: Some(0.1 + 0.2),
        realised_accuracy: None,
        judged_at: last_at + SignedDuration::from_nanos(7_000_000_001),
        judgement: "{\"window\":1,\"text\":\"'; -- 👍\"}".to_owned(),
    }
}

fn always() -> Range<Timestamp> {
    time("2025-02-01T00:00:00Z")..time("2025-04-01T00:00:00Z")
}

async fn all(fresh: &Fresh) -> Vec<JudgedWindow> {
    fresh.store.judgements(&always(), usize::MAX).await.unwrap()
}

pub(crate) async fn a_window_is_kept_once_the_later_judgement_stays(fresh: Fresh) {
    let early = judged(1, 0);
    let late = JudgedWindow {
        judged_at: early.judged_at + SignedDuration::from_secs(1),
        alerting: Vec::new(),
        estimated_accuracy: Some(0.75),
        realised_accuracy: Some(1.0 / 3.0),
        judgement: "{}".to_owned(),
        ..early.clone()
    };
    fresh.store.keep_judgements(std::slice::from_ref(&early)).await.unwrap();
    assert_eq!(all(&fresh).await, std::slice::from_ref(&early));
    fresh.store.keep_judgements(&[late.clone(), late.clone()]).await.unwrap();
    fresh.store.keep_judgements(&[early]).await.unwrap();
    assert_eq!(all(&fresh).await, [late]);
}

pub(crate) async fn windows_of_a_period_come_the_newest_first(fresh: Fresh) {
    let mut other = judged(9, 1);
    "sha256:abd".clone_into(&mut other.model.digest);
    let windows = [judged(1, 0), judged(2, 1), other.clone(), judged(3, 60), judged(4, 90_000)];
    fresh.store.keep_judgements(&windows).await.unwrap();
    let [first, second, _, third, fourth] = windows;
    let newest = [fourth.clone(), third.clone(), other.clone(), second.clone(), first.clone()];
    assert_eq!(all(&fresh).await, newest);
    for count_max in 0..5 {
        let found = fresh.store.judgements(&always(), count_max).await.unwrap();
        assert_eq!(found, newest[..count_max], "{count_max}");
    }
    let period = second.last_at..third.last_at;
    assert_eq!(fresh.store.judgements(&period, 10).await.unwrap(), [other, second.clone()]);
    let after = second.last_at + SignedDuration::from_nanos(1);
    assert_eq!(fresh.store.judgements(&(after..fourth.last_at), 10).await.unwrap(), [third]);
    assert_eq!(fresh.store.judgements(&(fourth.last_at..first.last_at), 10).await.unwrap(), []);
    let years = time("2020-01-01T00:00:00Z")..time("2025-04-01T00:00:00Z");
    let error = fresh.store.judgements(&years, 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
}
