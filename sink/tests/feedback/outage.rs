//! A store that is away, or that does not take a row: labels wait, and none is lost.

use std::{
    iter,
    ops::Range,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use jiff::Timestamp;
use schemas::{ReviewId, Verdict, topics::FEEDBACK};
use sink::feedback::JoinerError;
use store::{
    FeedbackRow, JudgedWindow, MemoryStore, Page, PageToken, RefusedRecord, Row, SourceDay,
    StoreError, VerdictStore,
};

use crate::world::{GROUP, Sum, World, feedback, verdict};

/// A store whose next calls fail, the first error on top; and that refuses rows of one label.
#[derive(Debug, Default)]
struct Troubled {
    inner: MemoryStore,
    errors: Mutex<Vec<StoreError>>,
    poison: Option<&'static str>,
}

impl Troubled {
    fn meet(&self) -> Result<(), StoreError> {
        self.errors.lock().unwrap().pop().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl VerdictStore for Troubled {
    async fn upsert(&self, rows: &[Row]) -> Result<(), StoreError> {
        self.inner.upsert(rows).await
    }

    async fn get(&self, id: &ReviewId) -> Result<Option<Verdict>, StoreError> {
        self.meet()?;
        self.inner.get(id).await
    }

    async fn list(
        &self,
        day: &SourceDay,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<Verdict>, StoreError> {
        self.inner.list(day, from, limit).await
    }

    async fn scan(&self, from: Option<&PageToken>, limit: usize) -> Result<Page<Row>, StoreError> {
        self.inner.scan(from, limit).await
    }

    async fn keep_feedback(&self, rows: &[FeedbackRow]) -> Result<(), StoreError> {
        self.meet()?;
        if rows.iter().any(|row| Some(row.feedback.label.as_str()) == self.poison) {
            return Err(StoreError::Refused("poison".to_owned()));
        }
        self.inner.keep_feedback(rows).await
    }

    async fn feedback(&self, id: &ReviewId) -> Result<Vec<FeedbackRow>, StoreError> {
        self.meet()?;
        self.inner.feedback(id).await
    }

    async fn scan_feedback(
        &self,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<FeedbackRow>, StoreError> {
        self.inner.scan_feedback(from, limit).await
    }

    async fn keep_judgements(&self, judged: &[JudgedWindow]) -> Result<(), StoreError> {
        self.inner.keep_judgements(judged).await
    }

    async fn judgements(
        &self,
        period: &Range<Timestamp>,
        count_max: usize,
    ) -> Result<Vec<JudgedWindow>, StoreError> {
        self.inner.judgements(period, count_max).await
    }

    async fn keep_refused(&self, records: &[RefusedRecord]) -> Result<(), StoreError> {
        self.meet()?;
        self.inner.keep_refused(records).await
    }

    async fn refused(&self, count_max: usize) -> Result<Vec<RefusedRecord>, StoreError> {
        self.inner.refused(count_max).await
    }

    async fn scan_refused(
        &self,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<RefusedRecord>, StoreError> {
        self.inner.scan_refused(from, limit).await
    }
}

#[test]
fn a_store_that_is_away_is_waited_for_at_each_call() {
    let away = StoreError::Unavailable("connection refused".to_owned());
    for errors in [1, 2, 3, 10] {
        let errors = Mutex::new(vec![away.clone(); errors]);
        let world = World::new(Arc::new(Troubled { errors, ..Troubled::default() }));
        world.judge(&[verdict("a", "positive")]);
        world.say(&feedback("a", "positive", None, 1));
        world.live(iter::empty()).unwrap();
        assert_eq!(world.counted(), Sum { labelled: 1, correct: 1 });
        assert!(world.health.readiness().ok, "ready again");
    }
}

#[test]
fn a_damaged_store_ends_the_loop_and_nothing_is_remembered() {
    let damaged = StoreError::Unusable("damaged".to_owned());
    let errors = Mutex::new(vec![damaged.clone()]);
    let world = World::new(Arc::new(Troubled { errors, ..Troubled::default() }));
    world.say(&feedback("a", "positive", None, 1));
    assert_eq!(world.live(iter::empty()), Err(JoinerError::Store(damaged)));
    assert_eq!(world.broker.lag(GROUP, FEEDBACK), 1);
}

#[test]
fn a_row_that_the_store_does_not_take_is_kept_as_refused_and_its_neighbours_count() {
    let store = Troubled { poison: Some("negative"), ..Troubled::default() };
    let world = World::new(Arc::new(store));
    world.judge(&["a", "b", "c"].map(|id| verdict(id, "positive")));
    for (id, label) in [("a", "positive"), ("b", "negative"), ("c", "positive")] {
        world.say(&feedback(id, label, None, 1));
    }
    world.live(iter::empty()).unwrap();
    assert_eq!(world.counted(), Sum { labelled: 2, correct: 2 });
    let refused = world.runtime.block_on(world.store.refused(10)).unwrap();
    let [record] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!((record.class.as_str(), record.topic.as_str()), ("StoreRefused", FEEDBACK));
    assert_eq!(record.record.key.as_deref(), Some(b"b".as_slice()));
}
