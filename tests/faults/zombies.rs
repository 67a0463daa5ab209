//! P2: processors that stand still for longer than their session, with a round in hand, and then go on as if nothing had been.

use std::time::Duration;

use crate::{
    checker,
    feed::{Feed, Plan},
    form::{LOOK_EVERY, now, until},
    proof::{Proof, caught_up, terminate},
    replica::Replica,
    report::Report,
    servers::Cluster,
    stream::Stream,
};

/// Points at which a round is in hand whose outcome is still to be decided.
const POINTS: [&str; 5] =
    ["after_poll", "after_infer", "mid_produce", "before_send_offsets", "after_send_offsets"];

/// What a processor logs when its rounds were refused.
const DROPPED: &str = "rounds in hand dropped";

/// Longest wait for that. It comes at once or never.
const REFUSAL_WAIT_MAX: Duration = Duration::from_secs(20);

/// Replicas, and how many of them stand still at a time.
const REPLICAS: usize = 3;
const FROZEN: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_the_round_of_a_zombie_is_refused() {
    let proof = Proof::begin("P2").await;
    let kafka = Cluster::kafka(proof.folder(), 1).await;
    let settings = kafka.settings();
    let stream = Stream::open(&settings).await;
    let mut processors = proof.processors(&kafka, REPLICAS).await;
    let feed = Feed::start(&settings, Plan::good(0, 500));

    let zombies_min = proof.form.pick(2, 50);
    let frozen_for = Duration::from_secs(proof.form.pick(9, 20));
    let (mut zombies, mut refused) = (0, 0);
    while zombies < zombies_min {
        let (one, two) = (zombies % REPLICAS, (zombies + 1) % REPLICAS);
        let faults = [zombies, zombies + 1].map(|number| POINTS[number % POINTS.len()]);
        for (number, point) in [one, two].into_iter().zip(faults) {
            freeze_at(&mut processors[number], point, 3 + zombies % 5).await;
        }
        tokio::time::sleep(frozen_for).await;
        for number in [one, two] {
            let mark = processors[number].logged().len();
            processors[number].thaw();
            refused += usize::from(is_refused(&mut processors[number], mark).await);
        }
        zombies += FROZEN;
        let goal = stream.records() + 500;
        until("verdicts after the zombies", async || {
            processors.iter_mut().for_each(Replica::tend);
            (goal <= stream.records()).then_some(())
        })
        .await;
    }
    let fed = feed.enough().await;
    caught_up(&settings, &stream, &mut processors).await;
    terminate(&mut processors).await;

    let counts = checker::check(&proof, &kafka).await;
    Report::of(&proof)
        .with("records", fed.records)
        .faults("zombies", zombies)
        .with("refused", refused)
        .seconds("frozen_s", frozen_for)
        .counts(&counts)
        .stall(stream.stall())
        .memory(&mut processors)
        .exits(&processors)
        .print();
    counts.assert_exact();
    assert_eq!(refused, zombies, "a zombie's round was taken, though it did no harm");
    assert_eq!(counts.of("reviews"), fed.records + fed.retries);
}

/// Starts a replica again so that it stops itself at the `passage`-th time that it comes to `point`, and waits until it has.
pub(crate) async fn freeze_at(replica: &mut Replica, point: &str, passage: usize) {
    replica.terminate().await;
    replica.start_with_fault(Some(&format!("{point}:{passage}:stop")));
    until(&format!("a replica that stands still at {point}"), async || {
        assert!(replica.exited().is_none(), "a replica exited before it came to {point}");
        replica.is_frozen().then_some(())
    })
    .await;
}

/// Whether the replica notices that its round is void: it drops it, or, told that it may not write any more, exits. `mark` is how
/// long its log was while it stood still. One that does not is for the checker to judge.
async fn is_refused(replica: &mut Replica, mark: usize) -> bool {
    let (exits, deadline) = (replica.exits, now() + REFUSAL_WAIT_MAX);
    while now() < deadline {
        replica.tend();
        let logged = replica.logged();
        if exits < replica.exits || logged.get(mark..).unwrap_or_default().contains(DROPPED) {
            return true;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    false
}
