//! From topic to topic: the processor alone on one core, exactly once, on a Kafka that is somewhere else.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use broker::kafka::{KafkaSettings, Lag, TopicSpec, ensure_topics};
use chassis::{Health, clock};
use processor::Pipeline;
use schemas::topics;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    line::{GROUP, lay_down, start_processor},
    services::cpu_seconds,
};

/// Partitions of the topics.
const PARTITIONS: u16 = 4;
/// Longest wait for the topics.
const TOPICS_WAIT_MAX: Duration = Duration::from_mins(1);
/// How long one question for the lag may take.
const LAG_WAIT: Duration = Duration::from_secs(10);
/// Between two looks at the lag: rarely, since a look is paid by the core that is measured.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Longest time without progress.
const STUCK_AFTER: Duration = Duration::from_mins(2);

/// Lays down `texts` so often and lets the processor work them off. The rate is taken between its first commit and its last, so
/// that joining the group is not part of it; the processor time is all of this process from start to end. `model` is the rate of the bare
/// model, measured beside each run.
pub(crate) fn measure(
    address: &str,
    pipeline: &Arc<Pipeline>,
    settings: &processor::Settings,
    texts: &[String],
    runs: usize,
    model: impl Fn() -> f64,
) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let kafka = KafkaSettings::at(address);
    runtime.block_on(async {
        let specs = topics::ALL.map(|name| TopicSpec::new(name, PARTITIONS));
        ensure_topics(&kafka, &specs, TOPICS_WAIT_MAX).await?;
        let lag = Lag::connect(&kafka, GROUP, topics::REVIEWS)?;
        ensure!(lag.read(LAG_WAIT)? == 0, "{address} has reviews already: start a new Kafka");
        let (mut rates, mut times, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for run in 1..=runs {
            lay_down(&kafka, texts).await?;
            let (rate, cpu_us) = one_run(&kafka, &lag, pipeline, settings, texts.len()).await?;
            let ratio = rate / model();
            println!(
                "run {run}: {rate:9.1} reviews/s {cpu_us:8.1} us of processor time a review   {ratio:.3} of the model"
            );
            ratios.push(ratio);
            rates.push(rate);
            times.push(cpu_us);
        }
        println!(
            "median: {:9.1} reviews/s {:8.1} us of processor time a review   {:.3} of the model",
            crate::median(&mut rates),
            crate::median(&mut times),
            crate::median(&mut ratios)
        );
        Ok(())
    })
}

async fn one_run(
    kafka: &KafkaSettings,
    lag: &Lag,
    pipeline: &Arc<Pipeline>,
    settings: &processor::Settings,
    reviews: usize,
) -> anyhow::Result<(f64, f64)> {
    let (health, stop) = (Health::new(), CancellationToken::new());
    let cpu_before = cpu_seconds("self")?;
    let mut processor = JoinSet::new();
    processor.spawn(start_processor(kafka, pipeline, settings, &health, &stop)?);
    let all = u64::try_from(reviews).context("counting reviews")?;
    let mut first = None;
    let (mut least, mut progressed) = (all, clock::monotonic());
    let (done, took) = loop {
        let (left, now) = (lag.read(LAG_WAIT)?, clock::monotonic());
        if left < least {
            (least, progressed) = (left, now);
            let (left_first, since) = *first.get_or_insert((left, now));
            if left == 0 {
                break (left_first, now - since);
            }
        }
        ensure!(progressed.elapsed() < STUCK_AFTER, "{left} reviews are left, and no fewer");
        ensure!(processor.try_join_next().is_none(), "the processor ended before its work did");
        tokio::time::sleep(LOOK_EVERY).await;
    };
    stop.cancel();
    while let Some(ended) = processor.join_next().await {
        ended.context("the processor panicked")??;
    }
    let spent = cpu_seconds("self")? - cpu_before;
    let count = |number: u64| u32::try_from(number).map(f64::from).context("counting reviews");
    Ok((count(done)? / took.as_secs_f64(), 1e6 * spent / count(all)?))
}
