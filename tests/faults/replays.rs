//! P6: the sink killed under load, then all verdicts read again, once more, and into an empty store: the same rows, every time.

use std::{collections::VecDeque, slice, sync::Mutex, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use schemas::topics;
use serde_json::Value;

use crate::{
    checker::{self, Check},
    feed::{Feed, Plan},
    form::now,
    kills::{Death, live},
    proof::{Proof, SINK_GROUP, caught_up, settled, terminate},
    replica::Replica,
    report::Report,
    rows::{self, Digest},
    servers::Cluster,
    stream::Stream,
};

/// Points in the sink at which it can be told to kill itself: in the midst of an upsert, with rows that are durable and not
/// remembered, and with nothing in hand.
const POINTS: [&str; 3] = ["sink_mid_upsert", "sink_after_upsert", "sink_after_commit"];

/// Reviews a second: between a death and the next life some thousand verdicts gather.
const RATE: u64 = 300;

/// Full replays over the rows that are there.
const REPLAYS: usize = 2;

/// Rounds of a replay before a death; there are more than that in all.
const PASSAGES_MAX: usize = 15;

/// A time before and one after all reviews.
const ALL_TIMES: [&str; 4] = ["--from", "2000-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z"];

/// The model of the backfill, which is not that of the line.
const OTHER_MODEL: &str = "tiny@2";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_the_rows_are_the_same_however_often_the_sink_dies_and_reads_again() {
    let proof = Proof::begin("P6").await;
    let kafka = Cluster::kafka(proof.folder(), 1).await;
    let cassandra = Cluster::cassandra(proof.folder());
    let url = rows::migrated(&cassandra, "verdict").await;
    let settings = kafka.settings();
    let stream = Stream::open(&settings).await;
    let mut processors = proof.processors(&kafka, 2).await;
    let mut sink = proof.sink(&kafka, &url);
    let feed = Feed::start(&settings, Plan::good(0, RATE));

    let mut random = StdRng::seed_from_u64(20_261_122);
    let deaths = deaths(&mut random, proof.form.pick(6, 50));
    let kills = deaths.len();
    live(&mut sink, &Mutex::new(deaths)).await;
    let fed = feed.enough().await;
    caught_up(&settings, &stream, &mut processors).await;
    terminate(&mut processors).await;
    settled(&settings, SINK_GROUP, topics::VERDICTS, &mut sink).await;
    terminate(slice::from_mut(&mut sink)).await;
    let first = rows::digest(&url).await;

    let kills_in_each = proof.form.pick(1, 2);
    let mut deaths_on_the_way = || on_the_way(&mut random, kills_in_each);
    let (mut digests, mut replays) = (Vec::new(), Vec::new());
    for replay in 0..REPLAYS {
        let begun = now();
        read_again(&kafka, &mut sink, &format!("again-{replay}"), deaths_on_the_way()).await;
        replays.push(begun.elapsed());
        digests.push(rows::digest(&url).await);
    }
    let empty = rows::migrated(&cassandra, "rebuilt").await;
    sink.set("store.url", &empty);
    read_again(&kafka, &mut sink, "rebuilding", deaths_on_the_way()).await;
    digests.push(rows::digest(&empty).await);
    let backfilled = backfill(&kafka, &url).await;
    digests.push(rows::digest(&url).await);

    let check = Check { store: Some(&url), ..Check::default() };
    let counts = checker::run(&proof, &kafka, check).await;
    Report::of(&proof)
        .with("records", fed.records)
        .faults("kills", kills)
        .with("kills_in_replays", (REPLAYS + 1) * kills_in_each)
        .with("replays", REPLAYS + 1)
        .with("backfilled", backfilled)
        .with("digests_that_differ", differing(&first, &digests))
        .seconds("longest_replay_s", replays.into_iter().max().unwrap_or_default())
        .counts(&counts)
        .memory(slice::from_mut(&mut sink))
        .exits(slice::from_ref(&sink))
        .print();
    assert_eq!(differing(&first, &digests), 0, "{first:?} became {digests:?}");
    assert_eq!(backfilled, counts.of("verdicts"), "a backfill scores every review");
    assert_eq!(first.rows, counts.of("rows"));
    counts.assert_exact();
    counts.assert_stored();
    assert_eq!(counts.of("reviews"), fed.records + fed.retries);
}

/// At the points in turn, and every fourth at any moment of its first second, in which it writes what has gathered.
fn deaths(random: &mut StdRng, count: usize) -> VecDeque<Death> {
    let death = |number: usize| match POINTS.get(number % (POINTS.len() + 1)) {
        Some(point) => Death::At(format!("{point}:{}", random.random_range(1..=8))),
        None => Death::After(Duration::from_millis(random.random_range(0..1_000))),
    };
    (0..count).map(death).collect()
}

/// At points of a replay.
fn on_the_way(random: &mut StdRng, count: usize) -> VecDeque<Death> {
    let death = |_number| {
        let point = POINTS[random.random_range(0..POINTS.len())];
        Death::At(format!("{point}:{}", random.random_range(1..=PASSAGES_MAX)))
    };
    (0..count).map(death).collect()
}

/// Has a sink of a new `group`, which begins at offset 0, read all verdicts, and die on the way.
async fn read_again(kafka: &Cluster, sink: &mut Replica, group: &str, deaths: VecDeque<Death>) {
    sink.set("sink.group", group);
    live(sink, &Mutex::new(deaths)).await;
    settled(&kafka.settings(), group, topics::VERDICTS, sink).await;
    terminate(slice::from_mut(sink)).await;
}

/// Scores all of history with another model, into the rows of the line; how many reviews it scored.
async fn backfill(kafka: &Cluster, url: &str) -> u64 {
    let flags = ["replay", "--json", "--to-store", "--kafka", kafka.address()];
    let model = ["--models", "tests/fixtures/models", "--model", OTHER_MODEL];
    let arguments = [&flags[..], &model, &ALL_TIMES].concat();
    let printed = rows::verdict(&arguments, &[("store.url", url)]).await;
    let summary: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(summary["done"], true, "{summary}");
    summary["scored"].as_u64().unwrap()
}

fn differing(first: &Digest, digests: &[Digest]) -> usize {
    digests.iter().filter(|digest| *digest != first).count()
}
