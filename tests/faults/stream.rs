//! The stream of verdicts as a consumer downstream sees it: how many came, when, and for how long none did.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use broker::{
    Delivery, Subscribe as _, TailFrom,
    kafka::{KafkaScan, KafkaSettings, KafkaSubscribe},
};
use hdrhistogram::Histogram;
use schemas::topics;

use crate::form::{now, until};

/// Most records taken at once, and the longest wait for a first one.
const RECORDS_MAX: usize = 1_000;
const WAIT: Duration = Duration::from_millis(20);

/// A reader of verdicts and dead letters at `read_committed`, on a thread of its own.
pub(crate) struct Stream {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Seen {
    records: u64,
    /// When the last one came.
    last: Option<Instant>,
    /// Longest time between two that came one after the other, since the last mark.
    stall: Duration,
    /// From a review's own time until its verdict came, in microseconds, since the last mark.
    latency: Histogram<u64>,
    failed: Option<String>,
}

impl Stream {
    /// Begins to read at the beginning.
    pub(crate) async fn open(kafka: &KafkaSettings) -> Self {
        let seen = Arc::new(Mutex::new(Seen {
            records: 0,
            last: None,
            stall: Duration::ZERO,
            latency: Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap(),
            failed: None,
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let topics = [topics::VERDICTS, topics::DEAD_LETTERS];
        let tail = until("a tail of the verdicts", async || {
            let kafka = kafka.clone();
            let opening = move || KafkaSubscribe::tail(&kafka, &topics, TailFrom::Beginning).ok();
            tokio::task::spawn_blocking(opening).await.unwrap()
        })
        .await;
        let (shared, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::spawn(move || read(tail, &shared, &stopped));
        Self { seen, stop, thread: Some(thread) }
    }

    /// Verdicts and dead letters that came so far.
    pub(crate) fn records(&self) -> u64 {
        self.seen().records
    }

    /// Begins to measure stalls and latencies anew.
    pub(crate) fn mark(&self) {
        let mut seen = self.seen();
        seen.stall = Duration::ZERO;
        seen.latency.reset();
    }

    /// Longest time without a record between two records, since the last mark.
    pub(crate) fn stall(&self) -> Duration {
        self.seen().stall
    }

    /// How long nothing has come.
    pub(crate) fn quiet(&self) -> Duration {
        self.seen().last.map_or(Duration::ZERO, |last| last.elapsed())
    }

    /// Latency below which this share of the reviews stayed, since the last mark.
    pub(crate) fn latency(&self, share: f64) -> Duration {
        Duration::from_micros(self.seen().latency.value_at_quantile(share))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(seen.failed.is_none(), "reading verdicts: {:?}", seen.failed);
        seen
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn read(mut tail: KafkaSubscribe, seen: &Mutex<Seen>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let polled = tail.poll(RECORDS_MAX, WAIT);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match polled {
            Ok(records) if records.is_empty() => {}
            Ok(records) => {
                let (came, came_ms) = (now(), chassis::clock::now().as_millisecond());
                seen.stall = seen.stall.max(seen.last.map_or(Duration::ZERO, |last| came - last));
                seen.last = Some(came);
                seen.records += records.len() as u64;
                for written_ms in records.iter().filter_map(|it| it.record.timestamp_ms) {
                    let latency_us = u64::try_from(came_ms - written_ms).unwrap_or(0) * 1_000;
                    seen.latency.saturating_record(latency_us.max(1));
                }
            }
            Err(error) => {
                seen.failed = Some(error.to_string());
                return;
            }
        }
    }
}

/// All of a topic at `read_committed`.
pub(crate) async fn read_all(kafka: &KafkaSettings, topic: &'static str) -> Vec<Delivery> {
    let (sender, receiver) = std::sync::mpsc::channel();
    scan(kafka, topic, move |delivery| sender.send(delivery).unwrap()).await;
    receiver.into_iter().collect()
}

/// Hands on each record that a topic holds now, at `read_committed`.
pub(crate) async fn scan(
    kafka: &KafkaSettings,
    topic: &'static str,
    mut note: impl FnMut(Delivery) + Send + 'static,
) {
    // After a fault a partition may be without a leader for a moment.
    let mut scan = until(&format!("the ends of {topic}"), async || {
        let kafka = kafka.clone();
        let opening = move || KafkaScan::open(&kafka, topic, TailFrom::Beginning).ok();
        tokio::task::spawn_blocking(opening).await.unwrap()
    })
    .await
    .unwrap();
    let reading = move || {
        loop {
            let records = scan.read(RECORDS_MAX).unwrap();
            if records.is_empty() {
                return;
            }
            records.into_iter().for_each(&mut note);
        }
    };
    tokio::task::spawn_blocking(reading).await.unwrap();
}
