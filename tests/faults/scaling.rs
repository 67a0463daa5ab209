//! P5: from one replica to four and back, under load.
//!
//! On the slower of the shipped models in float32, which takes about a second for a round: so a partition always goes while records
//! of it are in hand, and a slip that committed them would come too late not to be seen.

use crate::{
    checker::{self, Check},
    feed::{Feed, Plan},
    form::until,
    proof::{Proof, caught_up, terminate},
    replica::Replica,
    report::Report,
    servers::Cluster,
    stream::Stream,
};

/// Replicas at the most.
const REPLICAS_MAX: usize = 4;

/// Reviews a second: more than the replicas manage while they come and go, so that there is always a backlog.
const RATE: u64 = 600;

/// Most records of a round: so many that it takes longer than the group takes to give a partition to another.
const ROUND_RECORDS: &str = "500";

/// Records that must come between two changes, so that each happens under load.
const RECORDS_BETWEEN: u64 = 200;

/// The slower of the models that are shipped.
const MODEL: &str = "sentiment@2";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_replicas_come_and_go_under_load() {
    let proof = Proof::begin("P5").await;
    let kafka = Cluster::kafka(proof.folder(), 1).await;
    let settings = kafka.settings();
    let stream = Stream::open(&settings).await;
    let mut processors: Vec<_> =
        (0..REPLICAS_MAX).map(|number| proof.processor(&kafka, number)).collect();
    for replica in &mut processors {
        replica.set("model.repository", "models");
        replica.set("model.name", MODEL);
        replica.set("processor.kernel", "f32");
        replica.set("processor.max_round_records", ROUND_RECORDS);
    }
    processors[0].start();
    processors[0].ready().await;
    let feed = Feed::start(&settings, Plan::good(0, RATE));

    let changes_min = proof.form.pick(6, 50);
    let (mut changes, mut running, mut is_growing) = (0, 1, true);
    until("the first verdict", async || (0 < stream.records()).then_some(())).await;
    stream.mark();
    while changes < changes_min {
        let goal = stream.records() + RECORDS_BETWEEN;
        until("verdicts between two changes", async || {
            processors[..running].iter_mut().for_each(Replica::tend);
            (goal <= stream.records()).then_some(())
        })
        .await;
        if is_growing {
            processors[running].start();
            processors[running].ready().await;
            running += 1;
        } else {
            running -= 1;
            processors[running].terminate().await;
        }
        changes += 1;
        is_growing = if running == REPLICAS_MAX { false } else { running == 1 || is_growing };
    }
    let fed = feed.enough().await;
    caught_up(&settings, &stream, &mut processors[..running]).await;
    terminate(&mut processors[..running]).await;

    let check = Check { model: Some(MODEL), ..Check::default() };
    let counts = checker::run(&proof, &kafka, check).await;
    Report::of(&proof)
        .with("records", fed.records)
        .faults("changes", changes)
        .counts(&counts)
        .stall(stream.stall())
        .memory(&mut processors)
        .exits(&processors)
        .print();
    counts.assert_exact();
    assert_eq!(counts.of("reviews"), fed.records + fed.retries);
}
