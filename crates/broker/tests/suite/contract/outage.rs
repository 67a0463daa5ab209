//! What happens while the broker is away, and after: on an embedded broker of its own, which each test stops and starts.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use broker::{
    Exchange, ExchangeError, PublishError, TailFrom,
    kafka::{
        ConnectError, ExchangeOptions, KafkaExchange, KafkaSettings, TopicSpec, ensure_topics,
    },
};
use embedded_kafka::{EmbeddedKafka, Settings};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    Cluster,
    cluster::{commit, numbered, numbers, read, take},
};
use crate::brokers::{block_on, unused};

/// A broker that can be stopped, and started again with the same records at the same address.
struct Broker {
    runtime: Runtime,
    data: TempDir,
    address: SocketAddr,
    running: Option<EmbeddedKafka>,
}

impl Broker {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let data = tempfile::tempdir().unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let running =
            runtime.block_on(EmbeddedKafka::start(Settings::new(data.path(), listen))).unwrap();
        Self { runtime, data, address: running.local_addr(), running: Some(running) }
    }

    fn stop(&mut self) {
        self.runtime.block_on(self.running.take().unwrap().stop());
    }

    fn start_again(&mut self) {
        let settings = Settings::new(self.data.path(), self.address);
        for _ in 0..100 {
            // The port may take a moment to be free.
            match self.runtime.block_on(EmbeddedKafka::start(settings.clone())) {
                Ok(running) => {
                    self.running = Some(running);
                    return;
                }
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
        panic!("the broker did not start again");
    }

    fn settings(&self) -> KafkaSettings {
        KafkaSettings::at(self.address.to_string())
    }
}

#[test]
fn what_was_in_hand_is_read_again_when_the_broker_is_back() {
    let mut broker = Broker::start();
    let cluster = Cluster::kafka_at(broker.settings());
    let (input, output, group) = (cluster.topic("in", 1), cluster.topic("out", 1), unused("group"));
    cluster.fill(&input, 0..10);
    let mut exchange = cluster.exchange(&group, &input, &unused("id"));
    let round = take(exchange.as_mut(), 4);
    commit(exchange.as_mut(), &round, &output).unwrap();
    let round = take(exchange.as_mut(), 4);

    broker.stop();
    let away = commit(exchange.as_mut(), &round, &output).unwrap_err();
    assert!(matches!(away, ExchangeError::Unavailable(_)), "{away}");
    assert_eq!(exchange.poll(10, Duration::from_millis(100)), Ok(Vec::new()));
    let unsure = cluster.publish(&input, numbered(99)).unwrap_err();
    assert!(matches!(unsure, PublishError::Unavailable(_)), "{unsure}");

    broker.start_again();
    let again = take(exchange.as_mut(), 6);
    assert_eq!(numbers(&again), (4..10).collect::<Vec<_>>());
    commit(exchange.as_mut(), &again, &output).unwrap();
    assert_eq!(numbers(&cluster.contents(&output)), (0..10).collect::<Vec<_>>());
}

#[test]
fn every_record_is_exchanged_once_while_the_broker_restarts() {
    const RECORDS: usize = 3_000;
    let mut broker = Broker::start();
    let cluster = Cluster::kafka_at(broker.settings());
    let (input, output, group) = (cluster.topic("in", 3), cluster.topic("out", 1), unused("group"));
    cluster.fill(&input, 0..RECORDS);
    let (done, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut exchange = cluster.exchange(&group, &input, &unused("id"));
            work(exchange.as_mut(), &output, &stop, &done);
        });
        for part in 1..4 {
            wait_until(|| RECORDS * part / 5 < done.load(Ordering::SeqCst));
            broker.stop();
            thread::sleep(Duration::from_millis(300));
            broker.start_again();
        }
        // An unknown outcome may have been a commit, which `done` then lacks: the lag is the truth.
        wait_until(|| cluster.lag(&group, &input) == 0);
        stop.store(true, Ordering::SeqCst);
    });
    let mut tail = cluster.tail(&output, TailFrom::Beginning);
    let mut written = numbers(&read(tail.as_mut(), RECORDS));
    written.sort_unstable();
    assert_eq!(written, (0..RECORDS).collect::<Vec<_>>());
    assert_eq!(tail.poll(10, Duration::from_millis(500)), Ok(Vec::new()), "none twice");
}

/// Small rounds, two in hand, so that the broker goes away in the middle of one.
fn work(exchange: &mut dyn Exchange, output: &str, stop: &AtomicBool, done: &AtomicUsize) {
    let mut in_hand = VecDeque::new();
    while !stop.load(Ordering::SeqCst) {
        let outcome = exchange.poll(10, Duration::from_millis(20)).and_then(|round| {
            in_hand.push_back(round);
            let Some(oldest) = in_hand.front().filter(|_| 1 < in_hand.len()) else { return Ok(()) };
            commit(exchange, oldest, output)?;
            done.fetch_add(oldest.len(), Ordering::SeqCst);
            in_hand.pop_front();
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(ExchangeError::Aborted(_) | ExchangeError::Unavailable(_)) => in_hand.clear(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn an_absent_broker_is_named() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let settings = KafkaSettings::at(&address);
    let topics = [TopicSpec::new("any", 1)];
    let error = block_on(ensure_topics(&settings, &topics, Duration::from_secs(1))).unwrap_err();
    assert!(
        matches!(&error, ConnectError::Unreachable { servers, .. } if *servers == address),
        "{error}"
    );
    assert!(error.to_string().contains(&address), "{error}");
}

#[test]
fn a_setting_that_librdkafka_does_not_know_is_named() {
    let mut settings = KafkaSettings::at("127.0.0.1:1");
    settings.properties.insert("no.such.property".to_owned(), chassis::Secret::new("secret value"));
    let error =
        KafkaExchange::connect(&settings, ExchangeOptions::new("group", ["in"], "id")).unwrap_err();
    assert!(matches!(error, ConnectError::Settings(_)), "{error}");
    assert!(error.to_string().contains("no.such.property"), "{error}");
    assert!(!error.to_string().contains("secret value"), "{error}");
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not come to pass within a minute");
}
