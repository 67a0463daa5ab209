//! The processor as a process of its own, on a broker of yours.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use broker::kafka::{self, ExchangeOptions, KafkaExchange};
use chassis::{
    Health,
    exit::Ending,
    health::Check,
    settings::SettingsArgs,
    stop::{self, signalled, supervise},
    telemetry,
};
use clap::Parser;
use models::{InvalidModelName, ModelName, Repository};
use processor::{
    classifier::KernelMissing,
    settings::{ProcessSettings, ReplicaSettings, Unnamed},
    standby,
};
use schemas::topics;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::info;

const SETTINGS: &str = "\
Settings come from a file (TOML, sections [kafka], [model], [processor], [replica] and [telemetry]), then the
environment (VERDICT_PROCESSOR__MAX_BATCH_SIZE for max_batch_size in [processor]), then --set; the later wins.";

/// Environment variables that begin like settings and are none of the processor's.
const ENVIRONMENT_IGNORED: &[&str] = &[
    "VERDICT_CONFIG",
    "VERDICT_DRIFT__*",
    "VERDICT_FEEDBACK__*",
    "VERDICT_INGEST__*",
    "VERDICT_SINK__*",
    "VERDICT_STORE__*",
    "VERDICT_TEST_*",
    "VERDICT_UP__*",
];

/// Judges reviews from Kafka and writes the verdicts back
#[derive(Debug, Parser)]
#[command(version, after_help = SETTINGS)]
struct Arguments {
    /// Start nothing: ask the process that runs with these settings whether it is ready, exit status 1 where it is not
    #[arg(long)]
    ready: bool,

    #[command(flatten)]
    settings: SettingsArgs,
}

fn main() -> ExitCode {
    chassis::exit::end(run(), ending)
}

#[tokio::main]
async fn run() -> anyhow::Result<()> {
    // Know what is asked.
    let arguments = Arguments::parse();
    let asks = arguments.ready;
    let settings = settings(arguments)?;
    if asks {
        return Ok(chassis::readiness::ask(settings.replica.listen)?);
    }

    // Be seen.
    let telemetry = telemetry::start("processor", &settings.telemetry)?;
    telemetry::certificates::watch(settings.kafka.certificates());
    let health = Health::new();
    // Before anybody can ask: nobody may take a process that still loads its model for ready.
    let check = processor::register(&health);
    check.not_ready("the model is being loaded");
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
    let line_stop = stop.clone();
    tasks.spawn(stop::thread("line", move || line(&settings, &check, &line_stop)));

    // Run until told otherwise, and stop in order.
    let until = async {
        let signalled = signalled().await;
        health.drain();
        signalled
    };
    let outcome = supervise(tasks, stop, until, grace).await;
    telemetry.finish();
    outcome
}

/// What the error asks for, where it is one of the broker's or of the settings.
fn ending(error: &anyhow::Error) -> Option<Ending> {
    if let Some(error) = error.downcast_ref::<kafka::ConnectError>() {
        return Some(error.ending());
    }
    let is_misnamed = error.is::<InvalidModelName>() || error.is::<Unnamed>();
    let is_refused = error.is::<kafka::PropertyRefused>() || error.is::<KernelMissing>();
    (is_refused || is_misnamed).then_some(Ending::Misconfigured)
}

fn settings(arguments: Arguments) -> anyhow::Result<ProcessSettings> {
    let sources = arguments.settings.sources(ENVIRONMENT_IGNORED);
    let settings: ProcessSettings = chassis::settings::load(&sources)?;
    settings.kafka.check()?;
    settings.processor.kernel.check()?;
    // A replica without a name is refused before it loads a model.
    settings.replica.transactional_id(chassis::hostname)?;
    Ok(settings)
}

/// Loads the model, connects, runs. Blocks.
fn line(settings: &ProcessSettings, check: &Check, stop: &CancellationToken) -> anyhow::Result<()> {
    let repository = Repository::directory(&settings.model.repository);
    let model: ModelName = settings.model.name.parse().context("[model] name")?;
    let pipeline = standby::load(&model, check, stop, standby::PAUSE, || {
        Ok(processor::load(&repository.open(&model)?, &settings.processor)?)
    });
    let Some(pipeline) = pipeline else { return Ok(()) };
    let ReplicaSettings { group, session_timeout, .. } = &settings.replica;
    let transactional_id = settings.replica.transactional_id(chassis::hostname)?;
    info!(group, transactional_id, "joining");
    // Brokers log and limit by it: as long as nobody says otherwise, it is the replica's name.
    let kafka = settings.kafka.named(&transactional_id);
    let options = ExchangeOptions {
        session_timeout: *session_timeout,
        ..ExchangeOptions::new(group, [topics::REVIEWS], &transactional_id)
    };
    check.not_ready("connecting to the broker");
    let exchange = KafkaExchange::connect(&kafka, options)?;
    processor::run(Box::new(exchange), Arc::clone(&pipeline), &settings.processor, check, stop)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_setting_is_overridden_by_its_key() {
        let arguments = ["processor", "--set", "processor.inference_threads=2"];
        let settings = settings(Arguments::parse_from(arguments)).unwrap();
        assert_eq!(settings.processor.inference_threads, 2);
        let mistaken = Arguments::parse_from(["processor", "--set", "processor.threads=2"]);
        assert!(super::settings(mistaken).unwrap_err().to_string().contains("processor.threads"));
    }
}
