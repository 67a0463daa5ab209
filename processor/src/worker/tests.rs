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
        run(exchange, Arc::new(pipeline()), &settings, &register(&Health::new()), &stopped)
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

/// Of two verdicts of one id the store keeps the one that was scored later.
#[test]
fn what_was_read_later_is_scored_later_whatever_batch_it_was_in() {
    let broker = MemoryBroker::new(1);
    // In one round the short ones are scored together, and so are the long ones.
    publish(&broker, (0..500).map(|n| "good ".repeat(n * 7 % 40 + 1)));
    let exchange = broker.exchange(GROUP, &[topics::REVIEWS], "one");
    run_dry(&broker, Box::new(exchange), settings()).unwrap();
    let verdicts = broker.records(topics::VERDICTS);
    let scored = verdicts.iter().map(|delivery| {
        let verdict = schemas::Verdict::from_record(&delivery.record).unwrap();
        verdict.scored_at.as_microsecond()
    });
    let scored: Vec<_> = scored.collect();
    assert_eq!(scored.len(), 500);
    assert!(scored.is_sorted_by(|former, later| former < later), "{scored:?}");
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

/// A line that runs beside the test.
struct Line {
    health: Health,
    stop: CancellationToken,
    thread: thread::JoinHandle<Result<(), LineError>>,
}

impl Line {
    fn start(broker: &MemoryBroker, settings: Settings) -> Self {
        let exchange = Box::new(broker.exchange(GROUP, &[topics::REVIEWS], "one"));
        let (health, stop) = (Health::new(), CancellationToken::new());
        let (check, its_stop) = (register(&health), stop.clone());
        let thread = thread::spawn(move || {
            run(exchange, Arc::new(pipeline()), &settings, &check, &its_stop)
        });
        Self { health, stop, thread }
    }

    /// What the loop says against readiness, once `is_it` holds of it; empty when it is ready.
    fn wait_for(&self, is_it: impl Fn(&str) -> bool) -> String {
        let began = clock::monotonic();
        loop {
            let report = self.health.readiness();
            let check = report.checks.into_iter().find(|check| check.name == HEALTH_NAME);
            let said = check.and_then(|check| check.reason).unwrap_or_default();
            if is_it(&said) {
                return said;
            }
            assert!(clock::monotonic() - began < PATIENCE, "it still says {said:?}");
            thread::yield_now();
        }
    }
}

#[test]
fn a_line_that_would_write_dead_letters_only_stands_still_and_ends_when_told() {
    let broker = MemoryBroker::new(1);
    publish(&broker, (0..50).map(|_| "good".to_owned()));
    publish(&broker, (0..1_000).map(|_| String::new()));
    let settings = Settings { max_round_records: NonZeroUsize::new(100).unwrap(), ..settings() };
    let line = Line::start(&broker, settings);
    let said = line.wait_for(|said| said.contains("would be dead letters"));
    assert!(said.contains("processor.breaker_share_max"), "{said}");

    let letters = broker.records(topics::DEAD_LETTERS).len();
    assert!(letters < 200, "{letters} dead letters");
    let done = broker.committed(GROUP, topics::REVIEWS, 0).unwrap_or(0);
    assert_eq!(usize::try_from(done).unwrap(), letters + broker.records(topics::VERDICTS).len());
    // More of the same changes nothing.
    publish(&broker, (0..100).map(|_| String::new()));
    assert!(!line.thread.is_finished(), "it stands still and does not end");
    assert_eq!(broker.records(topics::DEAD_LETTERS).len(), letters);
    line.stop.cancel();
    line.thread.join().unwrap().unwrap();

    // Started anew and told to let them through, it does.
    let told = Settings { breaker_share_max: 1.0, ..self::settings() };
    let exchange = broker.exchange(GROUP, &[topics::REVIEWS], "one");
    run_dry(&broker, Box::new(exchange), told).unwrap();
    assert_eq!(broker.records(topics::VERDICTS).len(), 50);
    assert_eq!(broker.records(topics::DEAD_LETTERS).len(), 1_100);
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
