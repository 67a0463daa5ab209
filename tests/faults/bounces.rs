//! P3: brokers killed hard and started again, of three nodes of which two must have a record.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    checker,
    feed::{self, Feed, Plan},
    form::until,
    proof::{Proof, caught_up, terminate},
    replica::Replica,
    report::Report,
    servers::Cluster,
    stream::Stream,
};

const NODES: u16 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_brokers_killed_hard_lose_and_double_nothing() {
    let proof = Proof::begin("P3").await;
    let kafka = Cluster::kafka(proof.folder(), NODES).await;
    let settings = kafka.settings();
    let stream = Stream::open(&settings).await;
    let mut processors = proof.processors(&kafka, 2).await;
    let rate = 300;
    let feed = Feed::start(&settings, Plan::good(0, rate));
    until("the first verdict", async || (0 < stream.records()).then_some(())).await;

    let bounces = proof.form.pick(2, 20);
    let mut random = StdRng::seed_from_u64(20_261_122);
    let mut recoveries = Vec::new();
    for bounce in 0..bounces {
        let node = bounce % NODES + 1;
        stream.mark();
        kafka.kill(node);
        tokio::time::sleep(Duration::from_millis(random.random_range(200..4_000))).await;
        kafka.restart(node).await;
        // Two seconds of reviews more than were there: verdicts flow again.
        let goal = feed.acknowledged() + 2 * rate;
        until("verdicts after a bounce", async || {
            processors.iter_mut().for_each(Replica::tend);
            (goal <= stream.records()).then_some(())
        })
        .await;
        recoveries.push(stream.stall());
    }
    let fed = feed.enough().await;
    caught_up(&settings, &stream, &mut processors).await;
    terminate(&mut processors).await;

    let missing = feed::missing(&settings, fed.records).await;
    let counts = checker::check(&proof, &kafka).await;
    recoveries.sort();
    Report::of(&proof)
        .with("records", fed.records)
        .with("sent_again", fed.retries)
        .with("acknowledged_missing", missing)
        .faults("bounces", bounces.into())
        .counts(&counts)
        .seconds("recovery_median_s", recoveries[recoveries.len() / 2])
        .seconds("recovery_max_s", recoveries[recoveries.len() - 1])
        .memory(&mut processors)
        .exits(&processors)
        .print();
    assert_eq!(missing, 0, "acknowledged reviews that are not in the topic");
    counts.assert_exact();
}
