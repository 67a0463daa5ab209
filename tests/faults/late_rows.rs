//! P11: sinks that stand still for longer than their session, with a round in hand, and then write it as if nothing had been.
//!
//! Nobody fences a sink. What it writes late must lose against what others have written meanwhile, on every store.

use std::time::Duration;

use schemas::topics;
use store::StoreSettings;

use crate::{
    checker::{self, Check},
    feed::{Feed, Plan},
    form::until,
    proof::{Proof, SESSION_TIMEOUT, caught_up, settled, terminate},
    replica::{Replica, Service},
    report::Report,
    servers::{Cluster, text},
    stream::Stream,
    zombies::freeze_at,
};

/// Where a sink has a round in hand of which nothing is written.
const POINT: &str = "sink_before_upsert";

/// Sinks on each store: one stands still and the other takes its partitions.
const SINKS: usize = 2;

/// Most verdicts of a round: few, so that a key's verdicts are spread over many.
const ROWS_MAX: &str = "100";

/// How long a sink stands still: longer than its session, and than the other one takes to go on with its partitions.
const FROZEN_FOR: Duration = Duration::from_secs(9);

/// A store and the sinks that write there.
struct Place {
    name: &'static str,
    url: String,
    sinks: Vec<Replica>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_what_a_sink_writes_late_takes_no_row_s_place() {
    let proof = Proof::begin("P11").await;
    let kafka = Cluster::kafka(proof.folder(), 1).await;
    let cassandra = Cluster::cassandra(proof.folder());
    let settings = kafka.settings();
    let stream = Stream::open(&settings).await;
    let mut processors = proof.processors(&kafka, 1).await;
    let file = format!("sqlite:{}", text(&proof.folder().join("verdicts.db")));
    let keyspace = format!("cql://{}/verdict", cassandra.address());
    store::migrate(&StoreSettings::at(keyspace.clone()), None, false).await.unwrap();
    let mut places = [("sqlite", file), ("cql", keyspace)]
        .map(|(name, url)| Place::new(&proof, &kafka, name, url));
    for sink in places.iter_mut().flat_map(|place| &mut place.sinks) {
        sink.start();
        sink.ready().await;
    }

    let feed = Feed::start(&settings, Plan::good(0, 500));
    let zombies = proof.form.pick(2, 50);
    for zombie in 0..zombies {
        for place in &mut places {
            freeze_at(&mut place.sinks[zombie % SINKS], POINT, 3 + zombie % 5).await;
        }
        tokio::time::sleep(FROZEN_FOR).await;
        let goal = stream.records() + 500;
        for place in &places {
            place.sinks[zombie % SINKS].thaw();
        }
        until("verdicts after the zombies", async || {
            let sinks = places.iter_mut().flat_map(|place| &mut place.sinks);
            sinks.chain(&mut processors).for_each(Replica::tend);
            (goal <= stream.records()).then_some(())
        })
        .await;
    }
    let fed = feed.enough().await;
    caught_up(&settings, &stream, &mut processors).await;
    terminate(&mut processors).await;

    let mut all = Vec::new();
    for place in &mut places {
        settled(&settings, place.name, topics::VERDICTS, &mut place.sinks[0]).await;
        terminate(&mut place.sinks).await;
        let check =
            Check { store: Some(&place.url), sink_group: Some(place.name), ..Check::default() };
        let counts = checker::run(&proof, &kafka, check).await;
        Report::of(&proof)
            .with("store", place.name)
            .with("records", fed.records)
            .faults("zombies", zombies)
            .seconds("frozen_s", FROZEN_FOR)
            .counts(&counts)
            .memory(&mut place.sinks)
            .exits(&place.sinks)
            .print();
        all.push(counts);
    }
    for counts in all {
        counts.assert_exact();
        counts.assert_stored();
        assert_eq!(counts.of("reviews"), fed.records + fed.retries);
    }
}

impl Place {
    /// The group of the sinks has the name of the place.
    fn new(proof: &Proof, kafka: &Cluster, name: &'static str, url: String) -> Self {
        let session_timeout = format!("{}s", SESSION_TIMEOUT.as_secs());
        let settings = [
            ("store.url", url.as_str()),
            ("sink.group", name),
            ("sink.session_timeout", &session_timeout),
            ("sink.rows_max", ROWS_MAX),
        ];
        // No two replicas of a proof share a log.
        let first = if name == "sqlite" { 0 } else { SINKS };
        let sink = |number| proof.replica(Service::Sink, kafka, first + number, &settings);
        let sinks = (0..SINKS).map(sink).collect();
        Self { name, url, sinks }
    }
}
