//! Ingest on its own: HTTP in, reviews of a Kafka out, answers back.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use broker::{
    kafka::{self, KafkaPublish, KafkaSettings, KafkaSubscribe},
    subscribe::TailFrom,
};
use chassis::{
    Health,
    exit::Ending,
    settings::SettingsArgs,
    telemetry::{self, TelemetrySettings},
};
use clap::Parser;
use ingest::{OpenLater, Parts};
use schemas::topics;
use serde::{Deserialize, Serialize};
use store::StoreSettings;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Environment variables that begin like settings and are none of ingest's.
const ENVIRONMENT_IGNORED: &[&str] = &[
    "VERDICT_CONFIG",
    "VERDICT_DRIFT__*",
    "VERDICT_FEEDBACK__*",
    "VERDICT_MODEL__*",
    "VERDICT_PROCESSOR__*",
    "VERDICT_REGENERATE",
    "VERDICT_REPLICA__*",
    "VERDICT_SINK__*",
    "VERDICT_TEST_*",
    "VERDICT_UP__*",
];

/// Takes reviews over HTTP and answers with their verdicts.
///
/// Settings come from a file (TOML, sections [kafka], [store], [ingest] and [telemetry]), then the environment (`VERDICT_INGEST__LISTEN`
/// for listen in [ingest]), then --set; the later wins.
#[derive(Debug, Parser)]
#[command(version)]
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
    ingest: ingest::Settings,
    telemetry: TelemetrySettings,
}

fn main() -> ExitCode {
    chassis::exit::end(run(), ending)
}

#[tokio::main]
async fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let asks = arguments.ready;
    let Settings { kafka, store, ingest: settings, telemetry } = settings(arguments)?;
    if asks {
        return Ok(chassis::readiness::ask(settings.listen)?);
    }

    let telemetry = telemetry::start("ingest", &telemetry)?;
    telemetry::certificates::watch(kafka.certificates().chain(store.certificates()));

    let listen = settings.listen;
    let listener = ingest::listen(listen).with_context(|| format!("binding {listen}"))?;
    let store = store::connect(&store).await?;
    let publisher = Arc::new(KafkaPublish::connect(&kafka, settings.in_flight_max.get())?);
    let tail = OpenLater::new(move || {
        KafkaSubscribe::tail(&kafka, &[topics::VERDICTS, topics::DEAD_LETTERS], TailFrom::End)
    });

    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let parts = Parts {
        publisher: Arc::<KafkaPublish>::clone(&publisher),
        tail: Box::new(tail),
        store,
        health: Health::new(),
        metrics: telemetry.router(),
    };
    let (grace, flush) = (settings.stopping_max(), settings.publish_wait_max);
    tasks.spawn(ingest::serve(listener, parts, settings, stop.clone()));

    let outcome = chassis::stop::supervise(tasks, stop, chassis::stop::signalled(), grace).await;
    // Nothing was promised of what may still be there, but it is likely to be sent again otherwise.
    let flushed = publisher.close(flush).await.context("flushing reviews");
    telemetry.finish();
    outcome.and(flushed)
}

/// What the error asks for, where it is one of the broker's or of the store.
fn ending(error: &anyhow::Error) -> Option<Ending> {
    if let Some(error) = error.downcast_ref::<kafka::ConnectError>() {
        return Some(error.ending());
    }
    if let Some(error) = error.downcast_ref::<store::ConnectError>() {
        return Some(error.ending());
    }
    error.is::<kafka::PropertyRefused>().then_some(Ending::Misconfigured)
}

fn settings(arguments: Arguments) -> anyhow::Result<Settings> {
    let sources = arguments.settings.sources(ENVIRONMENT_IGNORED);
    let settings: Settings = chassis::settings::load(&sources)?;
    settings.kafka.check()?;
    Ok(settings)
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
        let arguments =
            ["ingest", "--set", "ingest.batch_rows_max=7", "--set", "ingest.wait_max=1m"];
        let settings = settings(Arguments::parse_from(arguments)).unwrap();
        assert_eq!(settings.ingest.batch_rows_max, 7);
        assert_eq!(settings.ingest.wait_max.as_secs(), 60);
        let mistaken = Arguments::parse_from(["ingest", "--set", "ingest.rows=7"]);
        assert!(super::settings(mistaken).unwrap_err().to_string().contains("ingest.rows"));
    }
}
