//! P4: the request that ends a transaction comes late, after its client has given up on it or has asked again elsewhere.
//!
//! Without a new epoch for each transaction (KIP-890, which librdkafka lacks) a late end may hit the transaction after its own.

use std::{fs, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    checker,
    feed::{Feed, Plan},
    form::until,
    proof::{Proof, caught_up, terminate},
    proxy::{Hold, Proxy},
    replica::Replica,
    report::Report,
    servers::{Cluster, free_ports},
    stream::Stream,
};

/// Longer than a processor waits for a commit: three calls of three seconds.
const PATIENCE_EXCEEDED: Duration = Duration::from_secs(11);

/// Of so many requests one is delayed beyond patience; the others are cut off.
const DELAY_EVERY: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_a_late_end_of_a_transaction_tears_no_other() {
    let proof = Proof::begin("P4").await;
    let port = free_ports(1);
    let kafka = Cluster::kafka_with(proof.folder(), 1, &["--advertise", &port.to_string()]).await;
    let proxied = fs::read_to_string(kafka.folder().join("proxied")).unwrap();
    let proxy = Proxy::start(port, proxied.trim().to_owned()).await;
    let settings = kafka.settings();
    let stream = Stream::open(&settings).await;
    let mut processors: Vec<_> = (0..2).map(|number| proof.processor(&kafka, number)).collect();
    for replica in &mut processors {
        replica.set("kafka.bootstrap_servers", format!("127.0.0.1:{port}"));
        replica.start();
        replica.ready().await;
    }
    let feed = Feed::start(&settings, Plan::good(0, 1_000));
    until("the first verdict", async || (0 < stream.records()).then_some(())).await;

    let holds = proof.form.pick(10, 50);
    let mut random = StdRng::seed_from_u64(20_261_122);
    for number in 0..holds {
        proxy.hold(if number % DELAY_EVERY == DELAY_EVERY - 1 {
            Hold::Delay(PATIENCE_EXCEEDED)
        } else {
            Hold::Cut(Duration::from_millis(random.random_range(20..1_000)))
        });
        until("a late end that has reached the broker", async || {
            processors.iter_mut().for_each(Replica::tend);
            (number < proxy.held().forwarded).then_some(())
        })
        .await;
    }
    let fed = feed.enough().await;
    caught_up(&settings, &stream, &mut processors).await;
    terminate(&mut processors).await;

    let held = proxy.held();
    let counts = checker::check(&proof, &kafka).await;
    Report::of(&proof)
        .with("records", fed.records)
        .faults("late_ends", holds)
        .with("late_accepted", held.accepted)
        .with("late_refused", held.refused)
        .counts(&counts)
        .stall(stream.stall())
        .memory(&mut processors)
        .exits(&processors)
        .print();
    counts.assert_exact();
    assert_eq!(counts.of("reviews"), fed.records + fed.retries);
}
