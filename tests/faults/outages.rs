//! P9: Kafka away, the store away, both away, with the whole line at work. It costs time and nothing else.

use std::time::Duration;

use broker::kafka::KafkaSettings;
use futures::future::join_all;
use schemas::topics;

use crate::{
    checker::{self, Check},
    clients::Clients,
    feed::{self, Feed, Plan},
    form::{LOOK_EVERY, now, until, until_none_is_left},
    proof::{GROUP, Proof, SINK_GROUP, caught_up, lag, settled, terminate},
    replica::{Replica, Service},
    report::Report,
    rows,
    servers::Cluster,
    stream::Stream,
};

/// Reviews a second over Kafka.
const RATE: u64 = 150;

/// Clients over HTTP, and how often each posts at most.
const CLIENTS: usize = 8;
const EVERY: Duration = Duration::from_millis(100);

/// The line is level when no more waits anywhere than this: what comes in some two seconds, markers included.
const WAITING_MAX: u64 = 500;

/// More memory than this on top of what it had before the first outage, and a process keeps what it should drop.
const GROWTH_MAX: u64 = 200 * MIB;
const MIB: u64 = 1024 * 1024;

/// By how much a pause ends before the broker's session does, and by how much that ends before a killed broker is started again.
///
/// A broker of Kafka 4.4 that coordinates transactions while its partitions have no leader takes them for deleted, and completes
/// transactions without the markers that are due there (`TransactionMarkerChannelManager`): such a transaction is torn, whatever
/// its client does. So the broker must not be given up while it is up: it never is if it was only paused, and it is long before
/// it comes back if it was killed.
const MARGIN: Duration = Duration::from_secs(2);

/// How servers go away, and come back.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// SIGKILL, then a start on the data that are there: connections break at once.
    Killed,
    /// SIGSTOP, then SIGCONT: connections stay, and nothing answers.
    Paused,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_an_outage_of_kafka_or_of_the_store_costs_nothing_but_time() {
    let proof = Proof::begin("P9").await;
    let (times, long) = proof.form.pick((1, Duration::from_secs(7)), (5, Duration::from_mins(1)));
    let kafka = Cluster::broker(proof.folder(), long + MARGIN).await;
    let cassandra = Cluster::cassandra(proof.folder());
    let url = rows::migrated(&cassandra, "verdict").await;
    let settings = kafka.settings();
    let stream = Stream::open(&settings).await;
    let mut line = started(&proof, &kafka, &url).await;
    let clients = Clients::start(&line[0].url("/analyze"), CLIENTS, EVERY);
    let feed = Feed::start(&settings, Plan::good(0, RATE));
    until("promises over HTTP", async || (CLIENTS < clients.promises()).then_some(())).await;
    level(&settings, &feed, &mut line).await;
    let before: Vec<_> = line.iter_mut().map(Replica::peak_rss).collect();

    let away: [&[&Cluster]; 3] = [&[&kafka], &[&cassandra], &[&kafka, &cassandra]];
    let mut catch_ups = Vec::new();
    for number in 0..times * away.len() {
        let manner = if number % 2 == 0 { Manner::Killed } else { Manner::Paused };
        outage(away[number % away.len()], manner, long, &mut line).await;
        let back = now();
        level(&settings, &feed, &mut line).await;
        catch_ups.push(back.elapsed());
    }
    let promised = clients.stop().await;
    let fed = feed.enough().await;
    caught_up(&settings, &stream, &mut line).await;
    let sink = line.last_mut().unwrap();
    settled(&settings, SINK_GROUP, topics::VERDICTS, sink).await;
    let peaks: Vec<_> = line.iter_mut().map(Replica::peak_rss).collect();
    terminate(&mut line).await;

    let missing = feed::missing(&settings, fed.records).await;
    let aborted = promised.not_in_topic(&settings).await;
    let check = Check { store: Some(&url), acknowledged: &promised.ids, ..Check::default() };
    let counts = checker::run(&proof, &kafka, check).await;
    let growth = peaks.iter().zip(&before).map(|(peak, before)| peak - before).max();
    let outages = catch_ups.len();
    catch_ups.sort();
    let mut report = Report::of(&proof)
        .with("records", fed.records)
        .with("sent_again", fed.retries)
        .faults("outages", outages)
        .seconds("away_s", long)
        .with("promised", promised.ids.len())
        .with("judged", promised.verdicts.len())
        .with("judged_by_nothing", aborted)
        .with("put_off", promised.refused)
        .with("broken", promised.broken)
        .with("acknowledged_missing", missing)
        .counts(&counts)
        .seconds("catch_up_median_s", catch_ups[outages / 2])
        .seconds("catch_up_max_s", catch_ups[outages - 1]);
    for (replica, peak) in line.iter().zip(&peaks) {
        report = report
            .with(&format!("peak_rss_mib_{}", replica.name()), peak / MIB)
            .with(&format!("own_exits_{}", replica.name()), replica.exits);
    }
    report.with("growth_mib", growth.unwrap_or_default() / MIB).print();
    assert_eq!(missing, 0, "acknowledged reviews that are not in the topic");
    assert_eq!(counts.of("unacknowledged"), 0, "promised and not in the topic: {counts:?}");
    assert_eq!(aborted, 0, "answered with verdicts that are not in the topic");
    counts.assert_exact();
    counts.assert_stored();
    assert!(growth < Some(GROWTH_MAX), "a process grew by {growth:?} bytes");
}

/// Ingest, two processors and, as the last one, the sink.
async fn started(proof: &Proof, kafka: &Cluster, url: &str) -> Vec<Replica> {
    let mut line = vec![
        proof.replica(Service::Ingest, kafka, 0, &[("store.url", url)]),
        proof.processor(kafka, 0),
        proof.processor(kafka, 1),
        proof.sink(kafka, url),
    ];
    line.iter_mut().for_each(Replica::start);
    for replica in &mut line {
        replica.ready().await;
    }
    line
}

/// Servers that are away for so `long`; returns when they answer again.
async fn outage(away: &[&Cluster], manner: Manner, long: Duration, line: &mut [Replica]) {
    for cluster in away {
        match manner {
            Manner::Killed => cluster.kill(1),
            Manner::Paused => cluster.pause(1),
        }
    }
    let end = now()
        + match manner {
            Manner::Killed => long + 2 * MARGIN,
            Manner::Paused => long,
        };
    while now() < end {
        line.iter_mut().for_each(Replica::tend);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let back = away.iter().map(async |cluster| match manner {
        Manner::Killed => cluster.restart(1).await,
        Manner::Paused => cluster.resume(1),
    });
    join_all(back).await;
}

/// Waits until nothing waits any more but what has just come: with the feed, for the processors, for the sink.
async fn level(kafka: &KafkaSettings, feed: &Feed, line: &mut [Replica]) {
    until_none_is_left("a line that is level again", async || {
        line.iter_mut().for_each(Replica::tend);
        let unscored = lag(kafka, GROUP, topics::REVIEWS).await.ok_or(None)?;
        let unstored = lag(kafka, SINK_GROUP, topics::VERDICTS).await.ok_or(None)?;
        let waiting = feed.behind().max(unscored).max(unstored);
        if waiting <= WAITING_MAX { Ok(()) } else { Err(Some(waiting)) }
    })
    .await;
}
