//! A broker, a store with verdicts, and the loop.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use broker::{
    Delivery, Exchange, ExchangeError, Outgoing, Progress, Publish as _,
    memory::{Fault, MemoryBroker},
};
use chassis::{Backoff, Health};
use drift::Window;
use jiff::Timestamp;
use schemas::{
    Feedback, ModelRef, Record, ReviewId, Verdict,
    topics::{DRIFT_WINDOWS, FEEDBACK},
};
use sink::{
    References,
    feedback::{Joiner, JoinerError, Parts, Settings},
};
use store::{Row, VerdictStore};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

pub(crate) const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/models");
pub(crate) const GROUP: &str = "feedback";

/// When all verdicts of the tests were given.
pub(crate) const SCORED_AT: &str = "2025-03-01T12:00:00Z";

pub(crate) struct World {
    pub(crate) broker: MemoryBroker,
    pub(crate) store: Arc<dyn VerdictStore>,
    pub(crate) health: Health,
    pub(crate) runtime: Runtime,
    pub(crate) settings: Settings,
}

/// What all windows add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) labelled: u64,
    pub(crate) correct: u64,
}

impl World {
    pub(crate) fn new(store: Arc<dyn VerdictStore>) -> Self {
        let at_once = Backoff { min: Duration::ZERO, max: Duration::ZERO, ..Backoff::default() };
        let broker = MemoryBroker::new(3);
        broker.topic(DRIFT_WINDOWS, 1);
        Self {
            broker,
            store,
            health: Health::new(),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_time()
                .build()
                .unwrap(),
            settings: Settings {
                backoff: at_once,
                unknown_wait: Duration::ZERO,
                wait_max: Duration::from_millis(5),
                ..Settings::default()
            },
        }
    }

    pub(crate) fn judge(&self, verdicts: &[Verdict]) {
        let rows: Vec<_> = verdicts.iter().cloned().map(Row::new).collect();
        self.runtime.block_on(self.store.upsert(&rows)).unwrap();
    }

    pub(crate) fn publish(&self, record: Record) {
        let outgoing = Outgoing { topic: Arc::from(FEEDBACK), record };
        self.runtime.block_on(self.broker.publish(outgoing)).unwrap();
    }

    pub(crate) fn say(&self, feedback: &Feedback) {
        let given_at = feedback.given_at.unwrap();
        self.publish(feedback.to_record(Vec::new(), given_at).unwrap());
    }

    /// Runs the loop, once, until all is committed or something ends it.
    pub(crate) fn live(
        &self,
        faults: impl Iterator<Item = Option<Fault>> + Send + 'static,
    ) -> Result<(), JoinerError> {
        let stop = CancellationToken::new();
        let inner = self.broker.exchange(GROUP, &[FEEDBACK], "feedback-0").with_faults(faults);
        let exchange =
            Box::new(UntilLevel { inner, broker: self.broker.clone(), stop: stop.clone() });
        let parts = Parts {
            exchange,
            store: Arc::clone(&self.store),
            references: References::directory(Path::new(MODELS), drift::reference::WHOLE),
            check: self.health.register("feedback"),
            stop,
        };
        Joiner::new(parts, &self.settings, self.runtime.handle().clone()).run()
    }

    pub(crate) fn windows(&self) -> Vec<Window> {
        let records = self.broker.records(DRIFT_WINDOWS);
        let read = |delivery: &Delivery| {
            assert_eq!(delivery.record.key.as_deref(), Some(b"tiny".as_slice()));
            serde_json::from_slice(delivery.record.value.as_deref().unwrap()).unwrap()
        };
        records.iter().map(read).collect()
    }

    pub(crate) fn counted(&self) -> Sum {
        self.windows().iter().fold(Sum::default(), |sum, window| {
            let labelled = &window.sums().labelled;
            assert_eq!(window.n(), 0, "labels alone");
            Sum { labelled: sum.labelled + labelled.n(), correct: sum.correct + labelled.correct }
        })
    }

    /// What is kept of a review: label, person, offset.
    pub(crate) fn kept(&self, id: &str) -> Vec<(String, Option<String>, i64)> {
        let id = ReviewId::new(id).unwrap();
        let rows = self.runtime.block_on(self.store.feedback(&id)).unwrap();
        let told =
            |row: store::FeedbackRow| (row.feedback.label, row.feedback.by, row.origin.offset);
        rows.into_iter().map(told).collect()
    }
}

/// Asks the loop to stop once its group has committed all.
struct UntilLevel<E> {
    inner: E,
    broker: MemoryBroker,
    stop: CancellationToken,
}

impl<E: Exchange> Exchange for UntilLevel<E> {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, ExchangeError> {
        if self.broker.lag(GROUP, FEEDBACK) == 0 {
            self.stop.cancel();
        }
        self.inner.poll(max, wait)
    }

    fn commit(&mut self, outbox: Vec<Outgoing>, progress: &Progress) -> Result<(), ExchangeError> {
        self.inner.commit(outbox, progress)
    }

    fn is_assigned(&self) -> bool {
        self.inner.is_assigned()
    }
}

pub(crate) fn feedback(id: &str, label: &str, by: Option<&str>, hours: i64) -> Feedback {
    let scored_at: Timestamp = SCORED_AT.parse().unwrap();
    Feedback {
        id: id.to_owned(),
        label: label.to_owned(),
        by: by.map(str::to_owned),
        given_at: Some(scored_at + jiff::SignedDuration::from_hours(hours)),
    }
}

pub(crate) fn verdict(id: &str, label: &str) -> Verdict {
    let manifest = fs::read(Path::new(MODELS).join("tiny/1/model.toml")).unwrap();
    let digest = models::Digest::of(&manifest).to_string();
    let scored_at: Timestamp = SCORED_AT.parse().unwrap();
    Verdict {
        schema_version: schemas::verdict::SCHEMA_VERSION,
        id: ReviewId::new(id).unwrap(),
        review: None,
        review_sha256: String::new(),
        label: label.to_owned(),
        confidence: 0.75,
        probabilities: BTreeMap::from([
            ("positive".to_owned(), 0.75),
            ("negative".to_owned(), 0.25),
        ]),
        model: ModelRef { name: "tiny".to_owned(), version: "1".to_owned(), digest },
        tokens: 7,
        precision: None,
        truncated: false,
        drift: None,
        source: None,
        language: None,
        metadata: None,
        origin: None,
        occurred_at: scored_at,
        received_at: scored_at,
        scored_at,
        queue_ms: 0.1,
        inference_ms: 0.2,
        batch_size: 1,
        trace_id: None,
    }
}
