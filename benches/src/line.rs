//! One run of the whole line: a backlog in `reviews.v1`, then processor and sink until every verdict is a row.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use broker::{
    Outgoing, Publish as _,
    kafka::{
        ExchangeOptions, KafkaExchange, KafkaPublish, KafkaSettings, KafkaSubscribe, TopicSpec,
        ensure_topics,
    },
};
use chassis::{Health, clock};
use embedded_kafka::{EmbeddedKafka, Fsync};
use processor::Pipeline;
use schemas::{Record, ReviewId, topics};
use serde_json::json;
use store::{StoreSettings, VerdictStore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Partitions of the topics, as `verdict up` makes them.
const PARTITIONS: u16 = 4;
/// Group of the processor.
pub(crate) const GROUP: &str = "bench-processor";
/// Reviews in flight to the broker while the backlog is laid down.
const IN_FLIGHT_MAX: usize = 1_000;
/// Longest wait for anything here.
const WAIT_MAX: Duration = Duration::from_mins(10);
/// Between two looks at the store.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Reviews a second of the line, on a broker and a store of its own.
pub(crate) fn rate(
    pipeline: &Arc<Pipeline>,
    settings: &processor::Settings,
    texts: &[String],
    fsync: &str,
) -> anyhow::Result<f64> {
    let fsync: Fsync = fsync.parse()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let folder = tempfile::tempdir().context("making a folder for the run")?;
    runtime.block_on(run(pipeline, settings, texts, fsync, folder.path()))
}

async fn run(
    pipeline: &Arc<Pipeline>,
    settings: &processor::Settings,
    texts: &[String],
    fsync: Fsync,
    folder: &Path,
) -> anyhow::Result<f64> {
    let mut broker =
        embedded_kafka::Settings::new(folder.join("kafka"), ([127, 0, 0, 1], 0).into());
    broker.fsync = fsync;
    broker.initial_rebalance_delay = Duration::ZERO;
    let broker = EmbeddedKafka::start(broker).await?;
    let kafka = KafkaSettings::at(broker.local_addr().to_string());
    let specs = topics::ALL.map(|name| TopicSpec::new(name, PARTITIONS));
    ensure_topics(&kafka, &specs, WAIT_MAX).await?;
    let last = lay_down(&kafka, texts).await?;
    let url = format!("sqlite:{}", folder.join("verdicts.db").display());
    let store = store::connect(&StoreSettings::at(url)).await?;

    let health = Health::new();
    let stop = CancellationToken::new();
    let begun = clock::monotonic();
    let processor = start_processor(&kafka, pipeline, settings, &health, &stop)?;
    let sink = start_sink(&kafka, &store, &health, &stop)?;
    let mut parts = JoinSet::new();
    parts.spawn(processor);
    parts.spawn(sink);
    tokio::select! {
        stored = all_stored(&store, last) => stored?,
        Some(ended) = parts.join_next() => {
            ended.context("a part panicked")??;
            anyhow::bail!("a part ended before the last row was stored");
        }
    }
    let took = begun.elapsed();

    stop.cancel();
    while let Some(ended) = parts.join_next().await {
        ended.context("a part panicked")??;
    }
    broker.stop().await;
    Ok(crate::per_second(texts.len(), took))
}

pub(crate) fn start_processor(
    kafka: &KafkaSettings,
    pipeline: &Arc<Pipeline>,
    settings: &processor::Settings,
    health: &Health,
    stop: &CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + 'static> {
    let options = ExchangeOptions::new(GROUP, [topics::REVIEWS], "bench-processor-0");
    let exchange = Box::new(KafkaExchange::connect(kafka, options)?);
    let (pipeline, settings) = (Arc::clone(pipeline), settings.clone());
    let (check, stop) = (processor::register(health), stop.clone());
    Ok(chassis::stop::thread("processor", move || {
        Ok(processor::run(exchange, pipeline, &settings, &check, &stop)?)
    }))
}

fn start_sink(
    kafka: &KafkaSettings,
    store: &Arc<dyn VerdictStore>,
    health: &Health,
    stop: &CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + 'static> {
    let parts = sink::Parts {
        subscription: Box::new(KafkaSubscribe::group(
            kafka,
            "bench-sink",
            &[topics::VERDICTS],
            Duration::from_secs(15),
        )?),
        store: Arc::clone(store),
        check: health.register("sink"),
        stop: stop.clone(),
    };
    Ok(async move { sink::run(parts, &sink::Settings::default()).await })
}

/// Writes the backlog and returns the ids of all reviews.
pub(crate) async fn lay_down(
    kafka: &KafkaSettings,
    texts: &[String],
) -> anyhow::Result<Vec<ReviewId>> {
    let publisher = Arc::new(KafkaPublish::connect(kafka, 2 * IN_FLIGHT_MAX)?);
    let mut ids = Vec::new();
    for (chunk_number, chunk) in texts.chunks(IN_FLIGHT_MAX).enumerate() {
        let mut sends = JoinSet::new();
        for (number, text) in chunk.iter().enumerate() {
            let id = ReviewId::new(format!("{chunk_number}-{number}"))?;
            let record = Record {
                key: Some(id.as_str().as_bytes().to_vec()),
                value: Some(json!({ "review": text }).to_string().into_bytes()),
                ..Record::default()
            };
            ids.push(id);
            let publisher = Arc::clone(&publisher);
            let outgoing = Outgoing { topic: Arc::from(topics::REVIEWS), record };
            sends.spawn(async move { publisher.publish(outgoing).await });
        }
        while let Some(sent) = sends.join_next().await {
            sent.context("a send panicked")??;
        }
    }
    Ok(ids)
}

/// Waits until each of `ids` has a row. It looks for one at a time, so that looking costs little.
async fn all_stored(store: &Arc<dyn VerdictStore>, ids: Vec<ReviewId>) -> anyhow::Result<()> {
    let begun = clock::monotonic();
    for id in ids {
        while store.get(&id).await?.is_none() {
            ensure!(begun.elapsed() < WAIT_MAX, "no row of review {id} within {WAIT_MAX:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(())
}
