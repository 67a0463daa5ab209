//! P1: SIGKILL of processors, at any moment and at the seven points where it would hurt most.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    checker,
    feed::{Feed, Plan},
    proof::{Proof, caught_up, terminate},
    replica::Replica,
    report::Report,
    servers::Cluster,
    stream::Stream,
};

/// Points in the line at which a process can be told to kill itself; each is passed once a round.
const POINTS: [&str; 7] = [
    "after_poll",
    "after_infer",
    "mid_produce",
    "before_send_offsets",
    "after_send_offsets",
    "mid_commit",
    "after_commit",
];

/// Replicas: one is always dying.
const REPLICAS: usize = 3;

/// How a replica's life ends.
#[derive(Clone, Debug)]
pub(crate) enum Death {
    /// So long after it was ready.
    After(Duration),
    /// At a point in the line, the n-th time.
    At(String),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_no_review_is_lost_or_doubled_when_processors_are_killed() {
    let proof = Proof::begin("P1").await;
    let kafka = Cluster::kafka(proof.folder(), 1).await;
    let settings = kafka.settings();
    let stream = Stream::open(&settings).await;
    let deaths = deaths(proof.form.pick(10, 100), proof.form.pick(3, 20));
    let (kills, at_points) = (deaths.len(), deaths.iter().filter(|it| it.is_at_point()).count());

    let feed = Feed::start(&settings, Plan::good(proof.form.pick(10_000, 1_000_000), 1_000));
    let deaths = Mutex::new(deaths);
    let mut processors: Vec<_> =
        (0..REPLICAS).map(|number| proof.processor(&kafka, number)).collect();
    let lives = processors.iter_mut().map(|replica| live(replica, &deaths));
    futures::future::join_all(lives).await;
    let fed = feed.enough().await;
    caught_up(&settings, &stream, &mut processors).await;
    terminate(&mut processors).await;

    let counts = checker::check(&proof, &kafka).await;
    Report::of(&proof)
        .with("records", fed.records)
        .faults("kills", kills)
        .with("at_points", at_points)
        .counts(&counts)
        .stall(stream.stall())
        .memory(&mut processors)
        .exits(&processors)
        .print();
    counts.assert_exact();
    assert_eq!(counts.of("reviews"), fed.records + fed.retries);
}

/// Half of them at the points in turn, the other half at any moment; every point at least once.
fn deaths(count: usize, passages_max: usize) -> VecDeque<Death> {
    let mut random = StdRng::seed_from_u64(20_261_122);
    let at_points = (count / 2).max(POINTS.len());
    let mut deaths: Vec<_> = (0..at_points)
        .map(|number| {
            let passage = random.random_range(1..=passages_max);
            Death::At(format!("{}:{passage}", POINTS[number % POINTS.len()]))
        })
        .collect();
    for _death in at_points..count {
        let after = Duration::from_millis(random.random_range(100..3_000));
        deaths.insert(random.random_range(0..=deaths.len()), Death::After(after));
    }
    deaths.into()
}

/// Dies one death after the other, each time started again at once with the same transactional id, and then lives on.
pub(crate) async fn live(replica: &mut Replica, deaths: &Mutex<VecDeque<Death>>) {
    loop {
        let death = deaths.lock().unwrap().pop_front();
        match death {
            None => {
                replica.start();
                return replica.ready().await;
            }
            Some(Death::At(fault)) => {
                replica.start_with_fault(Some(&fault));
                replica.dies(&fault).await;
            }
            Some(Death::After(wait)) => {
                replica.start();
                replica.ready().await;
                tokio::time::sleep(wait).await;
                replica.kill();
            }
        }
    }
}

impl Death {
    fn is_at_point(&self) -> bool {
        matches!(self, Self::At(_))
    }
}
