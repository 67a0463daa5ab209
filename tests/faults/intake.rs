//! P7: ingest killed under load. Whatever it answered 200 or 202 is in the topic.

use std::{sync::Mutex, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    checker::{self, Check},
    clients::Clients,
    form::until,
    kills::{Death, live},
    proof::{Proof, caught_up, terminate},
    replica::{Replica, Service},
    report::Report,
    servers::{Cluster, text},
    stream::Stream,
};

/// Points in ingest at which it can be told to kill itself.
const POINTS: [&str; 2] = ["ingest_before_publish", "ingest_after_publish"];

/// Where the processor dies: its verdicts are written by then, and its transaction is open.
const DEATH_POINT: &str = "after_send_offsets";

/// Clients, each with one request at a time.
const CLIENTS: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_what_ingest_has_promised_is_in_the_topic_though_it_is_killed() {
    let proof = Proof::begin("P7").await;
    let kafka = Cluster::kafka(proof.folder(), 1).await;
    let settings = kafka.settings();
    let stream = Stream::open(&settings).await;
    let mut processor = proof.processor(&kafka, 0);
    let store = format!("sqlite:{}", text(&proof.folder().join("verdicts.db")));
    let mut ingest = proof.replica(Service::Ingest, &kafka, 0, &[("store.url", &store)]);
    let clients = Clients::start(&ingest.url("/analyze"), CLIENTS, Duration::ZERO);

    // Processors that die with verdicts in the topic that will be aborted: no client may be answered with one of these.
    let deaths = (0..proof.form.pick(2, 20)).map(|n| Death::At(format!("{DEATH_POINT}:{}", 5 + n)));
    let deaths = Mutex::new(deaths.collect());
    let kills = proof.form.pick(10, 100);
    tokio::join!(live(&mut processor, &deaths), die(&mut ingest, kills));
    let goals = (clients.promises() + CLIENTS, clients.verdicts() + CLIENTS);
    until("promises and verdicts after the last kill", async || {
        (goals.0 <= clients.promises() && goals.1 <= clients.verdicts()).then_some(())
    })
    .await;
    let promised = clients.stop().await;
    let processors = std::slice::from_mut(&mut processor);
    caught_up(&settings, &stream, processors).await;
    terminate(std::slice::from_mut(&mut ingest)).await;
    terminate(processors).await;

    let aborted = promised.not_in_topic(&settings).await;
    let counts = checker::run(&proof, &kafka, Check::acknowledged(&promised.ids)).await;
    Report::of(&proof)
        .faults("kills", kills)
        .with("promised", promised.ids.len())
        .with("judged", promised.verdicts.len())
        .with("judged_by_nothing", aborted)
        .with("put_off", promised.refused)
        .with("broken", promised.broken)
        .counts(&counts)
        .memory(std::slice::from_mut(&mut ingest))
        .print();
    assert_eq!(counts.of("unacknowledged"), 0, "promised and not in the topic: {counts:?}");
    assert_eq!(aborted, 0, "answered with verdicts that are not in the topic");
    counts.assert_exact();
}

/// Kills ingest so often, at its points and at any moment, and starts it a last time.
async fn die(ingest: &mut Replica, kills: usize) {
    let mut random = StdRng::seed_from_u64(20_261_122);
    for kill in 0..kills {
        if kill % 2 == 0 {
            let passage = random.random_range(1..=60);
            let fault = format!("{}:{passage}", POINTS[kill / 2 % POINTS.len()]);
            ingest.start_with_fault(Some(&fault));
            ingest.dies(&fault).await;
        } else {
            ingest.start();
            ingest.ready().await;
            tokio::time::sleep(Duration::from_millis(random.random_range(50..1_500))).await;
            ingest.kill();
        }
    }
    ingest.start();
    ingest.ready().await;
}
