//! The processor as a process of its own, on a broker of yours.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use broker::kafka::{ExchangeOptions, KafkaExchange};
use chassis::{
    Health,
    settings::{self, Sources},
    stop::{self, signalled, supervise},
    telemetry,
};
use clap::Parser;
use models::Repository;
use processor::settings::ProcessSettings;
use schemas::topics;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Judges reviews from Kafka and writes the verdicts back.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Settings, a TOML file. Environment variables `PROCESSOR_...` go over it, such as `PROCESSOR_KAFKA__BOOTSTRAP_SERVERS`.
    #[arg(long)]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Know what is asked.
    let Arguments { config } = Arguments::parse();
    let sources = Sources { file: config, environment_prefix: "PROCESSOR_", ..Sources::default() };
    let settings: ProcessSettings = settings::load(&sources)?;

    // Be seen.
    let telemetry = telemetry::start("processor", &settings.telemetry)?;
    let health = Health::new();
    let listen = settings.replica.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("binding {listen}"))?;
    info!(listen = %listener.local_addr()?, "serving health and metrics");

    // Start.
    let mut tasks = JoinSet::new();
    let stop = CancellationToken::new();
    let router = health.router().merge(telemetry.router());
    let stopped = stop.clone().cancelled_owned();
    tasks.spawn(async move {
        axum::serve(listener, router).with_graceful_shutdown(stopped).await.context("serving")
    });
    let grace = settings.replica.grace;
    let (line_health, line_stop) = (health.clone(), stop.clone());
    tasks.spawn(stop::thread("line", move || line(&settings, &line_health, &line_stop)));

    // Run until told otherwise, and stop in order.
    let until = async {
        let signalled = signalled().await;
        health.drain();
        signalled
    };
    supervise(tasks, stop, until, grace).await
}

/// Loads the model, connects, runs. Blocks.
fn line(
    settings: &ProcessSettings,
    health: &Health,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let bundle =
        Repository::directory(&settings.model.repository).open(&settings.model.name.parse()?)?;
    let pipeline = processor::load(&bundle, &settings.processor)?;
    drop(bundle);
    let options = ExchangeOptions::new(
        &settings.replica.group,
        [topics::REVIEWS],
        &settings.replica.transactional_id,
    );
    let exchange = KafkaExchange::connect(&settings.kafka, options)?;
    processor::run(Box::new(exchange), Arc::clone(&pipeline), &settings.processor, health, stop)?;
    Ok(())
}
