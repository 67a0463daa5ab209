//! The sink on its own: verdicts and feedback of a Kafka in, rows of a store and windows of labels out.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use axum::Router;
use broker::kafka::{self, ExchangeOptions, KafkaSettings, KafkaSubscribe};
use chassis::{
    Health,
    exit::Ending,
    settings::SettingsArgs,
    telemetry::{self, TelemetrySettings},
};
use clap::Parser;
use schemas::topics;
use serde::{Deserialize, Serialize};
use sink::{DriftParts, DriftSettings, Parts, References, drift_line, feedback};
use store::{StoreSettings, VerdictStore};
use tokio::{net::TcpListener, runtime::Handle, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::info;

const SETTINGS: &str = "\
Settings come from a file (TOML, sections [kafka], [store], [sink], [feedback], [drift] and [telemetry]), then the environment
(VERDICT_SINK__ROWS_MAX for rows_max in [sink]), then --set; the later wins.";

/// Environment variables that begin like settings and are none of the sink's.
const ENVIRONMENT_IGNORED: &[&str] = &[
    "VERDICT_CONFIG",
    "VERDICT_INGEST__*",
    "VERDICT_MODEL__*",
    "VERDICT_PROCESSOR__*",
    "VERDICT_REPLICA__*",
    "VERDICT_TEST_*",
    "VERDICT_UP__*",
];

/// Writes verdicts as rows
#[derive(Debug, Parser)]
#[command(version, after_help = SETTINGS)]
struct Arguments {
    /// Start nothing: ask the process that runs with these settings whether it is ready, exit status 1 where it is not
    #[arg(long)]
    ready: bool,

    #[command(flatten)]
    settings: SettingsArgs,
}

/// Every setting of the program.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    kafka: KafkaSettings,
    store: StoreSettings,
    sink: sink::Settings,
    feedback: feedback::Settings,
    drift: DriftSettings,
    telemetry: TelemetrySettings,
}

fn main() -> ExitCode {
    chassis::exit::end(run(), ending)
}

#[tokio::main]
async fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let asks = arguments.ready;
    let settings = settings(arguments)?;
    if asks {
        return Ok(chassis::readiness::ask(settings.sink.listen)?);
    }

    let telemetry = telemetry::start("sink", &settings.telemetry)?;
    let certificates = settings.kafka.certificates().chain(settings.store.certificates());
    telemetry::certificates::watch(certificates);
    let health = Health::new();

    let listen = settings.sink.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("binding {listen}"))?;
    let store = store::connect(&settings.store).await?;
    let sink::Settings { group, session_timeout, .. } = &settings.sink;
    let kafka = settings.kafka.named("sink");
    let subscription = KafkaSubscribe::group(&kafka, group, &[topics::VERDICTS], *session_timeout)?;

    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(join(&settings, &store, &health, &stop)?);
    let parts = Parts {
        subscription: Box::new(subscription),
        store: Arc::clone(&store),
        check: health.register("sink"),
        stop: stop.clone(),
    };
    let (routes, grace) = (health.router().merge(telemetry.router()), settings.sink.grace);
    if settings.drift.enabled {
        let drift = DriftParts {
            kafka: settings.kafka.clone(),
            store,
            health: health.clone(),
            replica: settings.drift.replica(chassis::hostname)?,
            settings: settings.drift.clone(),
            stop: stop.clone(),
        };
        if settings.drift.watch {
            tasks.spawn(drift_line::watch(drift.clone()));
        }
        if settings.drift.aggregate {
            tasks.spawn(drift_line::aggregate(drift));
        }
    }
    tasks.spawn(async move { sink::run(parts, &settings.sink).await });
    tasks.spawn(serve(listener, routes, stop.clone()));

    info!(%listen, "started");
    let until = async {
        let signalled = chassis::stop::signalled().await;
        health.drain();
        signalled
    };
    let outcome = chassis::stop::supervise(tasks, stop, until, grace).await;
    telemetry.finish();
    outcome
}

/// What the error asks for, where it is one of the broker's or of the store.
fn ending(error: &anyhow::Error) -> Option<Ending> {
    if let Some(error) = error.downcast_ref::<kafka::ConnectError>() {
        return Some(error.ending());
    }
    if let Some(error) = error.downcast_ref::<store::ConnectError>() {
        return Some(error.ending());
    }
    let is_unnamed =
        error.is::<feedback::settings::Unnamed>() || error.is::<sink::settings::Unnamed>();
    let is_refused = error.is::<kafka::PropertyRefused>() || is_unnamed;
    is_refused.then_some(Ending::Misconfigured)
}

fn settings(arguments: Arguments) -> anyhow::Result<Settings> {
    let sources = arguments.settings.sources(ENVIRONMENT_IGNORED);
    let settings: Settings = chassis::settings::load(&sources)?;
    settings.kafka.check()?;
    // A replica without a name is refused before it reads a verdict.
    settings.feedback.transactional_id(chassis::hostname)?;
    Ok(settings)
}

/// The feedback loop, on a thread of its own.
fn join(
    settings: &Settings,
    store: &Arc<dyn VerdictStore>,
    health: &Health,
    stop: &CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + 'static> {
    let feedback = settings.feedback.clone();
    let transactional_id = feedback.transactional_id(chassis::hostname)?;
    let kafka = settings.kafka.named(&transactional_id);
    let options = ExchangeOptions {
        session_timeout: feedback.session_timeout,
        ..ExchangeOptions::new(&feedback.group, [topics::FEEDBACK], transactional_id)
    };
    let drift = &settings.drift;
    let references = References::directory(&drift.repository(), &drift.profile);
    let (store, check, stop) = (Arc::clone(store), health.register("feedback"), stop.clone());
    let runtime = Handle::current();
    Ok(chassis::stop::thread("feedback", move || {
        let exchange = feedback::connect(&kafka, &options, &check, &stop)?;
        let Some(exchange) = exchange.map(Box::new) else { return Ok(()) };
        let parts = feedback::Parts { exchange, store, references, check, stop };
        Ok(feedback::Joiner::new(parts, &feedback, runtime).run()?)
    }))
}

/// Health and metrics, until asked to stop.
async fn serve(
    listener: TcpListener,
    routes: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let stopped = stop.cancelled_owned();
    axum::serve(listener, routes).with_graceful_shutdown(stopped).await.context("serving health")
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
        let arguments = ["sink", "--set", "sink.rows_max=7", "--set", "sink.wait_max=1s"];
        let settings = settings(Arguments::parse_from(arguments)).unwrap();
        assert_eq!(settings.sink.rows_max, 7);
        assert_eq!(settings.sink.wait_max.as_secs(), 1);
        let mistaken = Arguments::parse_from(["sink", "--set", "sink.rows=7"]);
        assert!(super::settings(mistaken).unwrap_err().to_string().contains("sink.rows"));
    }
}
