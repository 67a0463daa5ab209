//! The loop with real threads, and what it does when the broker says no.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicBool, Ordering},
};

use broker::{
    Outgoing, Publish as _,
    memory::{Fault, MemoryBroker, MemoryExchange},
};
use schemas::{dead_letter, headers, topics};

use super::*;
use crate::pipeline::tests::pipeline;

const GROUP: &str = "processor";
const PATIENCE: Duration = Duration::from_secs(20);

fn publish(broker: &MemoryBroker, texts: impl IntoIterator<Item = String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for text in texts {
        let value = serde_json::json!({ "review": text }).to_string().into_bytes();
        let record = Record { value: Some(value), ..Record::default() };
        let outgoing = Outgoing { topic: topics::REVIEWS.into(), record };
        runtime.block_on(broker.publish(outgoing)).unwrap();
    }
}

fn settings() -> Settings {
    Settings { inference_threads: 2, pin_threads: false, ..Settings::default() }
}

/// Runs the line on `exchange` until `broker` has nothing left to read, and returns what it ended with.
fn run_dry(
    broker: &MemoryBroker,
    exchange: Box<dyn Exchange>,
    settings: Settings,
) -> Result<(), LineError> {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let line = thread::spawn(move || {
        run(exchange, Arc::new(pipeline()), &settings, &Health::new(), &stopped)
    });
    let began = clock::monotonic();
    while 0 < broker.lag(GROUP, topics::REVIEWS) && !line.is_finished() {
        assert!(clock::monotonic() - began < PATIENCE, "the line stands still");
        thread::yield_now();
    }
    stop.cancel();
    line.join().unwrap()
}

#[test]
fn a_backlog_is_judged_on_threads_and_a_stop_leaves_nothing_open() {
    let broker = MemoryBroker::new(3);
    publish(&broker, (0..500).map(|n| "good ".repeat(n % 40 + 1)));
    let exchange = broker.exchange(GROUP, &[topics::REVIEWS], "one");
    run_dry(&broker, Box::new(exchange), settings()).unwrap();
    assert_eq!(broker.records(topics::VERDICTS).len(), 500);
}

#[test]
fn a_fenced_replica_ends_with_the_reason() {
    let broker = MemoryBroker::new(1);
    publish(&broker, ["good".to_owned()]);
    let fenced = broker.exchange(GROUP, &[topics::REVIEWS], "one");
    // Of another group, so that the first one keeps its partition.
    let _successor = broker.exchange("other", &[topics::REVIEWS], "one");
    let error = run_dry(&broker, Box::new(fenced), settings()).unwrap_err();
    assert!(matches!(error, LineError::Exchange(ExchangeError::Fatal(_))), "{error}");
}

/// Takes no record that is larger than its limit, as a topic with a small `max.message.bytes`.
struct Picky {
    inner: MemoryExchange,
    bytes_max: usize,
    must_abort: Arc<AtomicBool>,
}

impl Picky {
    fn new(inner: MemoryExchange, bytes_max: usize) -> Self {
        let must_abort = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&must_abort);
        let faults = std::iter::repeat_with(move || {
            asked.swap(false, Ordering::Relaxed).then_some(Fault::Abort)
        });
        Self { inner: inner.with_faults(faults), bytes_max, must_abort }
    }
}

impl Exchange for Picky {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, ExchangeError> {
        self.inner.poll(max, wait)
    }

    fn commit(&mut self, outbox: Vec<Outgoing>, progress: &Progress) -> Result<(), ExchangeError> {
        let value_bytes = |outgoing: &Outgoing| outgoing.record.value.as_ref().map_or(0, Vec::len);
        let is_too_large = outbox.iter().any(|outgoing| self.bytes_max < value_bytes(outgoing));
        self.must_abort.store(is_too_large, Ordering::Relaxed);
        let committed = self.inner.commit(outbox, progress);
        if is_too_large {
            return Err(ExchangeError::Refused("too large".to_owned()));
        }
        committed
    }

    fn is_assigned(&self) -> bool {
        self.inner.is_assigned()
    }
}

#[test]
fn a_record_that_the_broker_refuses_is_found_and_its_neighbours_get_through() {
    let broker = MemoryBroker::new(2);
    let text = |n: usize| if n % 25 == 7 { "bad ".repeat(1_000) } else { "good".to_owned() };
    publish(&broker, (0..100).map(text));
    let inner = broker.exchange(GROUP, &[topics::REVIEWS], "one");
    let settings = Settings { max_round_records: NonZeroUsize::new(16).unwrap(), ..settings() };
    run_dry(&broker, Box::new(Picky::new(inner, 2_000)), settings).unwrap();
    assert_eq!(broker.records(topics::VERDICTS).len(), 96);
    let letters = broker.records(topics::DEAD_LETTERS);
    assert_eq!(letters.len(), 4);
    for letter in letters {
        assert_eq!(
            headers::text(&letter.record.headers, dead_letter::CLASS),
            Some("RefusedByBroker")
        );
    }
}

#[test]
fn much_is_cut_into_rounds_in_order() {
    let deliveries = |sizes: &[usize]| -> Vec<Delivery> {
        (0..)
            .zip(sizes)
            .map(|(offset, &bytes)| crate::pipeline::tests::delivery(offset, vec![0; bytes]))
            .collect()
    };
    let check = |sizes: &[usize], expected: &[&[i64]]| {
        let rounds = split(deliveries(sizes), 100, 50);
        let offsets: Vec<Vec<i64>> = rounds
            .iter()
            .map(|round| round.iter().map(|delivery| delivery.offset).collect())
            .collect();
        assert_eq!(offsets, expected);
    };
    check(&[], &[]);
    check(&[40, 40], &[&[0, 1]]);
    check(&[160, 160, 160, 160], &[&[0, 1], &[2, 3]]);
    check(&[1_000_000, 1_000_000, 4], &[&[0, 1], &[2]]);
    check(&[0; 5], &[&[0, 1, 2, 3, 4]]);
}
