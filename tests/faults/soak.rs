//! P10: the shipped model under a steady load for an hour. Memory and latency stay flat.

use std::time::{Duration, Instant};

use broker::kafka::KafkaSettings;
use schemas::topics;

use crate::{
    checker::{self, Check},
    feed::{Feed, Plan},
    form::{Form, now, until, variable},
    proof::{Proof, SINK_GROUP, caught_up, settled, terminate},
    replica::{Replica, Service},
    report::{Report, rounded},
    servers::{Cluster, text},
    stream::Stream,
};

/// The model as it is shipped.
const MODEL: &str = "sentiment@1";

/// Reviews by which the capacity is measured, and those before them that only warm up.
const REVIEWS_MEASURED: u64 = 3_000;
const REVIEWS_WARMING: u64 = 500;

/// Share of its capacity at which the line runs.
const LOAD: f64 = 0.7;

/// Reviews a second of the short form, which measures no capacity.
const RATE_SHORT: u64 = 40;

/// How much more memory the last third may have than the middle one: one that leaks has more with every hour.
const GROWTH_MAX: f64 = 0.2;

/// Memory of one process at a time.
struct Sample {
    at: Duration,
    bytes: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_memory_and_latency_stay_flat_under_a_steady_load() {
    let proof = Proof::begin("P10").await;
    let kafka = Cluster::kafka(proof.folder(), 1).await;
    let settings = kafka.settings();
    let stream = Stream::open(&settings).await;
    let url = format!("sqlite:{}", text(&proof.folder().join("verdicts.db")));
    let mut replicas = vec![
        proof.replica(
            Service::Processor,
            &kafka,
            0,
            &[("model.repository", "models"), ("model.name", MODEL)],
        ),
        proof.replica(Service::Sink, &kafka, 0, &[("store.url", &url)]),
    ];
    for replica in &mut replicas {
        replica.start();
        replica.ready().await;
    }

    let rate = match proof.form {
        Form::Short => RATE_SHORT,
        Form::Long => capacity_share(&settings, &stream).await,
    };
    let seconds = variable("VERDICT_PROVE_SECONDS").and_then(|it| it.parse().ok());
    let third = Duration::from_secs(seconds.unwrap_or(proof.form.pick(20, 3_600)) / 3);
    let feed = Feed::start(&settings, Plan::good(0, rate));
    let (begun, mut samples, mut latencies) = (now(), vec![Vec::new(), Vec::new()], Vec::new());
    for _third in 0..3 {
        stream.mark();
        sample(&mut replicas, &mut samples, begun, third).await;
        latencies.push((stream.latency(0.5), stream.latency(0.99)));
    }
    let fed = feed.enough().await;
    caught_up(&settings, &stream, &mut replicas).await;
    settled(&settings, SINK_GROUP, topics::VERDICTS, &mut replicas[1]).await;
    terminate(&mut replicas).await;

    let check = Check { store: Some(&url), model: Some(MODEL), ..Check::default() };
    let counts = checker::run(&proof, &kafka, check).await;
    let mut report = Report::of(&proof)
        .with("records", fed.records)
        .with("rate", rate)
        .counts(&counts)
        .seconds("first_third_p50_s", latencies[0].0)
        .seconds("first_third_p99_s", latencies[0].1)
        .seconds("last_third_p50_s", latencies[2].0)
        .seconds("last_third_p99_s", latencies[2].1)
        .memory(&mut replicas)
        .exits(&replicas);
    for (replica, samples) in replicas.iter().zip(&samples) {
        let slope = slope_mib_per_hour(&samples[samples.len() / 3..]);
        report = report.with(&format!("rss_slope_mib_per_h_{}", replica.name()), rounded(slope, 1));
    }
    report.print();
    counts.assert_exact();
    counts.assert_stored();
    if proof.form == Form::Short {
        // Too short to tell growth from warming up.
        return;
    }
    for (replica, samples) in replicas.iter().zip(&samples) {
        let (middle, last) = (mean(samples, 1), mean(samples, 2));
        let growth = last / middle - 1.0;
        assert!(growth < GROWTH_MAX, "{} grew by {growth:.2} in a third", replica.name());
    }
}

/// Reviews a second that are [`LOAD`] of what the line manages when it has as many as it can take.
async fn capacity_share(kafka: &KafkaSettings, stream: &Stream) -> u64 {
    let feed = Feed::start(kafka, Plan::good(REVIEWS_MEASURED, u64::MAX / 1_000_000));
    let fed = feed.enough().await;
    let reached = async |goal: u64| {
        until("verdicts of the measure", async || (goal <= stream.records()).then(now)).await
    };
    let begun = reached(REVIEWS_WARMING).await;
    let ended = reached(fed.records).await;
    #[expect(clippy::cast_precision_loss, reason = "a count of some thousands")]
    let reviews = (fed.records - REVIEWS_WARMING) as f64;
    let rate = LOAD * reviews / (ended - begun).as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small rate")]
    let rate = rate as u64;
    rate.max(1)
}

/// Looks at the memory of each replica every second, for `long`.
async fn sample(
    replicas: &mut [Replica],
    samples: &mut [Vec<Sample>],
    begun: Instant,
    long: Duration,
) {
    let end = now() + long;
    while now() < end {
        for (replica, samples) in replicas.iter_mut().zip(&mut *samples) {
            replica.tend();
            samples.extend(replica.rss().map(|bytes| Sample { at: begun.elapsed(), bytes }));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Mean of one third of the samples, counted from 0.
#[expect(clippy::cast_precision_loss, reason = "bytes of one process, and seconds")]
fn mean(samples: &[Sample], third: usize) -> f64 {
    let length = samples.len() / 3;
    let part = &samples[third * length..(third + 1) * length];
    part.iter().map(|sample| sample.bytes as f64).sum::<f64>() / length.max(1) as f64
}

/// Slope of the line that fits best (least squares).
#[expect(clippy::cast_precision_loss, reason = "bytes of one process, and seconds")]
fn slope_mib_per_hour(samples: &[Sample]) -> f64 {
    let count = samples.len().max(1) as f64;
    let points = || {
        let mib = |sample: &Sample| sample.bytes as f64 / (1024.0 * 1024.0);
        samples.iter().map(move |sample| (sample.at.as_secs_f64() / 3_600.0, mib(sample)))
    };
    let (sum_x, sum_y) = points().fold((0.0, 0.0), |(sx, sy), (x, y)| (sx + x, sy + y));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let covariance: f64 = points().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = points().map(|(x, _y)| (x - mean_x).powi(2)).sum();
    if variance == 0.0 { 0.0 } else { covariance / variance }
}
