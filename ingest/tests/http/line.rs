//! A whole line in this process, for the tests and the example: a broker in memory, and a stub in the place of the model.

#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(dead_code, reason = "each includer uses its part")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use axum::Router;
use broker::{Exchange as _, Outgoing, Progress, memory::MemoryBroker, subscribe::TailFrom};
use chassis::{Health, clock};
use ingest::{Parts, Service, Settings};
use schemas::{ModelRef, Origin, Refusal, Review, Stage, Verdict, headers, review::Place, topics};
use sha2::{Digest as _, Sha256};
use store::{MemoryStore, VerdictStore};
use tokio_util::sync::CancellationToken;

/// A line. Dropping it ends its threads.
pub(crate) struct Line {
    pub(crate) broker: MemoryBroker,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) health: Health,
    /// While it holds, reviews are taken and not judged.
    pub(crate) is_held: Arc<AtomicBool>,
    stop: CancellationToken,
}

impl Line {
    pub(crate) fn new() -> Self {
        let broker = MemoryBroker::new(3);
        for topic in topics::ALL {
            broker.topic(topic, 3);
        }
        let (is_held, stop) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let mut exchange = broker.exchange("stub", &[topics::REVIEWS], "stub-0");
        let (held, stopped) = (Arc::clone(&is_held), stop.clone());
        thread::spawn(move || {
            while !stopped.is_cancelled() {
                if held.load(Ordering::Acquire) {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                }
                let Ok(reviews) = exchange.poll(64, Duration::from_millis(20)) else { continue };
                if reviews.is_empty() {
                    continue;
                }
                let progress = Progress::of(&reviews);
                let outbox = reviews.iter().map(|delivery| {
                    let place = Place {
                        topic: &delivery.topic,
                        partition: delivery.partition,
                        offset: delivery.offset,
                    };
                    outcome(&delivery.record, place)
                });
                drop(exchange.commit(outbox.collect(), &progress));
            }
        });
        Self {
            broker,
            store: Arc::new(MemoryStore::default()),
            health: Health::new(),
            is_held,
            stop,
        }
    }

    /// Holds the stub: reviews stay without a verdict.
    pub(crate) fn hold(&self) {
        self.is_held.store(true, Ordering::Release);
        // A poll that is under way ends, with nothing in it.
        thread::sleep(Duration::from_millis(50));
    }

    pub(crate) fn release(&self) {
        self.is_held.store(false, Ordering::Release);
    }

    pub(crate) fn parts(&self) -> Parts {
        Parts {
            publisher: Arc::new(self.broker.clone()),
            tail: Box::new(
                self.broker.tail(&[topics::VERDICTS, topics::DEAD_LETTERS], TailFrom::End),
            ),
            store: Arc::clone(&self.store) as Arc<dyn VerdictStore>,
            health: self.health.clone(),
            metrics: Router::new(),
        }
    }

    /// A replica of ingest that is ready.
    pub(crate) fn ingest(&self, settings: Settings) -> Router {
        let (service, _listening) = Service::start(self.parts(), settings, self.stop.clone());
        while !self.health.readiness().ok {
            thread::sleep(Duration::from_millis(1));
        }
        ingest::router(&service)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What the stub makes of a review: a dead letter where it says "poison", else a verdict.
fn outcome(record: &schemas::Record, place: Place<'_>) -> Outgoing {
    let now = clock::now();
    let judged = Review::from_record(record, place, now).and_then(|review| {
        if review.text.as_str().contains("poison") {
            return Err(Refusal::new(Stage::Infer, "StubFailed", "the stub does not like it"));
        }
        Ok(verdict(&review, record, place))
    });
    match judged {
        Ok(verdict) => Outgoing {
            topic: Arc::from(topics::VERDICTS),
            record: verdict.to_record(record.headers.clone()).unwrap(),
        },
        Err(refusal) => Outgoing {
            topic: Arc::from(topics::DEAD_LETTERS),
            record: refusal.to_dead_letter(record, place, now),
        },
    }
}

/// Positive, unless it says "dirty".
fn verdict(review: &Review, record: &schemas::Record, place: Place<'_>) -> Verdict {
    let text = review.text.as_str();
    let positive = if text.contains("dirty") { 0.031_f32 } else { 0.982 };
    let label = if positive < 0.5 { "negative" } else { "positive" };
    let sha256 = Sha256::digest(text.as_bytes());
    let trace = headers::text(&record.headers, headers::TRACEPARENT)
        .and_then(chassis::TraceContext::parse)
        .map(|trace| trace.trace_id());
    let tokens = u32::try_from(text.split(' ').count()).unwrap_or(u32::MAX);
    let verdict = serde_json::json!({
        "schema_version": 1,
        "id": review.id,
        "review": text,
        "review_sha256": sha256.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")),
        "label": label,
        "confidence": positive.max(1.0 - positive),
        "probabilities": BTreeMap::from([("positive", positive), ("negative", 1.0 - positive)]),
        "model": ModelRef {
            name: "stub".to_owned(),
            version: "1".to_owned(),
            digest: "sha256:0".to_owned(),
        },
        "tokens": tokens + 2,
        "truncated": false,
        "source": review.source,
        "language": review.language,
        "metadata": review.metadata,
        "origin": Origin {
            topic: place.topic.to_owned(),
            partition: place.partition,
            offset: place.offset,
        },
        "occurred_at": review.occurred_at,
        "received_at": review.received_at,
        "scored_at": clock::now(),
        "queue_ms": 1.25,
        "inference_ms": 2.5,
        "batch_size": 1,
        "trace_id": trace,
    });
    serde_json::from_value(verdict).unwrap()
}
