//! One thing that goes wrong at a time, and what is seen from outside.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use broker::{
    Delivery, Outgoing, Progress, Publish as _, Subscribe, SubscribeError,
    memory::{MemoryBroker, MemorySubscribe},
};
use chassis::{Backoff, Health, clock};
use jiff::Timestamp;
use schemas::{ReviewId, Verdict, topics::VERDICTS};
use sink::{Parts, Settings, WriterError};
use store::{
    FeedbackRow, JudgedWindow, MemoryStore, Page, PageToken, RefusedRecord, Row, SourceDay,
    StoreError, VerdictStore,
};
use tokio_util::sync::CancellationToken;

use crate::world::{POISON, verdict};

const GROUP: &str = "sink";

/// A store that answers the first calls with an error, takes no [`POISON`], and asks the sink to stop after its last call.
#[derive(Debug)]
struct Scripted {
    inner: MemoryStore,
    errors: Mutex<Vec<StoreError>>,
    calls: AtomicUsize,
    /// Stops once this many rows and refused records are kept.
    stop_after: usize,
    kept: AtomicUsize,
    stop: CancellationToken,
    health: Health,
    /// What `/readyz` and `/livez` said while the store was called.
    seen: Mutex<Vec<(bool, bool)>>,
}

impl Scripted {
    fn new(errors: Vec<StoreError>, stop_after: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::default(),
            errors: Mutex::new(errors),
            calls: AtomicUsize::new(0),
            stop_after,
            kept: AtomicUsize::new(0),
            stop: CancellationToken::new(),
            health: Health::new(),
            seen: Mutex::new(Vec::new()),
        })
    }

    fn call(&self) -> Result<(), StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let alive = self.health.liveness(clock::monotonic()).ok;
        self.seen.lock().unwrap().push((self.health.readiness().ok, alive));
        match self.errors.lock().unwrap().pop() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn keep(&self, count: usize) {
        if self.stop_after <= self.kept.fetch_add(count, Ordering::Relaxed) + count {
            self.stop.cancel();
        }
    }
}

#[async_trait]
impl VerdictStore for Scripted {
    async fn upsert(&self, rows: &[Row]) -> Result<(), StoreError> {
        self.call()?;
        if rows.iter().any(|row| row.verdict.label == POISON) {
            return Err(StoreError::Refused("poison".to_owned()));
        }
        self.inner.upsert(rows).await?;
        self.keep(rows.len());
        Ok(())
    }

    async fn get(&self, id: &ReviewId) -> Result<Option<Verdict>, StoreError> {
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
        self.inner.keep_feedback(rows).await
    }

    async fn feedback(&self, id: &ReviewId) -> Result<Vec<FeedbackRow>, StoreError> {
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
        self.inner.keep_refused(records).await?;
        self.keep(records.len());
        Ok(())
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

/// A topic of `count` verdicts; the one at `poison` is refused by the store.
async fn topic(count: usize, poison: Option<usize>) -> MemoryBroker {
    let broker = MemoryBroker::default();
    for index in 0..count {
        let label = if poison == Some(index) { POISON } else { "positive" };
        let verdict = verdict(&format!("review-{index}"), label, Timestamp::UNIX_EPOCH, 1);
        let record = verdict.to_record(Vec::new()).unwrap();
        broker.publish(Outgoing { topic: Arc::from(VERDICTS), record }).await.unwrap();
    }
    broker
}

/// Counts how often its group hears of it beside its polls.
struct Heard {
    inner: MemorySubscribe,
    count: Arc<AtomicUsize>,
}

impl Subscribe for Heard {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, SubscribeError> {
        self.inner.poll(max, wait)
    }

    fn keep_alive(&mut self) -> Result<(), SubscribeError> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.inner.keep_alive()
    }

    fn commit(&mut self, progress: &Progress) -> Result<(), SubscribeError> {
        self.inner.commit(progress)
    }

    fn is_assigned(&self) -> bool {
        self.inner.is_assigned()
    }
}

/// Runs the sink as a service does, until `store` asks it to stop.
async fn run(broker: &MemoryBroker, store: &Arc<Scripted>, wait: Duration) -> anyhow::Result<()> {
    run_on(Box::new(broker.subscribe(GROUP, &[VERDICTS])), store, wait).await
}

async fn run_on(
    subscription: Box<dyn Subscribe>,
    store: &Arc<Scripted>,
    wait: Duration,
) -> anyhow::Result<()> {
    let parts = Parts {
        subscription,
        store: Arc::clone(store) as Arc<dyn VerdictStore>,
        check: store.health.register("sink"),
        stop: store.stop.clone(),
    };
    let backoff = Backoff { min: wait, max: wait, ..Backoff::default() };
    sink::run(parts, &Settings { backoff, ..Settings::default() }).await
}

fn away() -> StoreError {
    StoreError::Unavailable("connection refused".to_owned())
}

#[tokio::test]
async fn a_store_that_is_away_makes_the_sink_wait_not_drop_and_not_die() {
    let broker = topic(10, None).await;
    let store = Scripted::new(vec![away(), away(), away()], 10);
    run(&broker, &store, Duration::from_millis(1)).await.unwrap();
    assert_eq!(store.inner.rows().len(), 10);
    assert_eq!(broker.committed(GROUP, VERDICTS, 0), Some(10));
    let seen = store.seen.lock().unwrap().clone();
    assert_eq!(
        seen,
        [(true, true), (false, true), (false, true), (false, true)],
        "ready and alive"
    );
    assert!(store.health.readiness().ok, "ready again");
}

#[tokio::test]
async fn the_group_hears_of_the_sink_as_long_as_the_store_is_away() {
    let broker = topic(10, None).await;
    let store = Scripted::new(vec![away(); 7], 10);
    let count = Arc::new(AtomicUsize::new(0));
    let inner = broker.subscribe(GROUP, &[VERDICTS]);
    let subscription = Box::new(Heard { inner, count: Arc::clone(&count) });
    run_on(subscription, &store, Duration::from_millis(1)).await.unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 7, "at each pause");
    assert_eq!(broker.committed(GROUP, VERDICTS, 0), Some(10), "and nothing is read past");
}

#[tokio::test]
async fn one_row_at_fault_is_found_in_few_calls_and_its_neighbours_are_written() {
    for poison in [0, 499, 999] {
        let broker = topic(1_000, Some(poison)).await;
        let store = Scripted::new(Vec::new(), 1_000);
        run(&broker, &store, Duration::ZERO).await.unwrap();
        assert_eq!(store.inner.rows().len(), 999);
        let refused = store.refused(10).await.unwrap();
        assert_eq!(refused.len(), 1);
        assert_eq!(
            (refused[0].offset, refused[0].class.as_str()),
            (i64::try_from(poison).unwrap(), "StoreRefused")
        );
        assert_eq!(broker.committed(GROUP, VERDICTS, 0), Some(1_000));
        let calls = store.calls.load(Ordering::Relaxed);
        assert!(calls <= 2 * 10 + 1, "{calls} calls for a batch of 1,000");
    }
}

#[tokio::test]
async fn a_damaged_store_ends_the_sink_and_nothing_is_remembered() {
    let broker = topic(10, None).await;
    let store = Scripted::new(vec![StoreError::Unusable("damaged".to_owned())], 10);
    let error = run(&broker, &store, Duration::ZERO).await.unwrap_err();
    let expected = WriterError::Store(StoreError::Unusable("damaged".to_owned()));
    assert_eq!(error.downcast_ref::<WriterError>(), Some(&expected));
    assert_eq!(broker.committed(GROUP, VERDICTS, 0), None);
}

#[tokio::test]
async fn a_stop_is_obeyed_while_the_store_is_away() {
    let broker = topic(10, None).await;
    let store = Scripted::new(vec![away(); 1_000], 10);
    let stopping = async {
        while store.calls.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        store.stop.cancel();
    };
    // The wait is an hour: only the stop can end it.
    let (outcome, ()) = tokio::join!(run(&broker, &store, Duration::from_hours(1)), stopping);
    outcome.unwrap();
    assert_eq!(store.inner.rows().len(), 0);
    assert_eq!(broker.committed(GROUP, VERDICTS, 0), None, "what is not a row is read again");
}
