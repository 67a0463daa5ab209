//! The broker as a process of its own: `embedded-kafka --data DIR --listen ADDR`.

use embedded_kafka::{EmbeddedKafka, Settings};
use std::error::Error;
use std::fmt::Debug;
use std::io::Write;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, span};

const USAGE: &str = "usage: embedded-kafka --data DIR [--listen 127.0.0.1:9092] [--fsync always|200ms|never] [--partitions 4]";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut chain = format!("embedded-kafka: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                chain = format!("{chain}: {cause}");
                source = cause.source();
            }
            drop(writeln!(std::io::stderr(), "{chain}"));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = read_flags(std::env::args().skip(1))?;
    tracing::subscriber::set_global_default(Warnings)?;
    let mut terminated = signal(SignalKind::terminate())?;
    let broker = EmbeddedKafka::start(settings).await?;
    writeln!(std::io::stdout(), "listening on {}", broker.local_addr())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
    }
    broker.stop().await;
    Ok(())
}

fn read_flags(mut flags: impl Iterator<Item = String>) -> Result<Settings, Box<dyn Error>> {
    let mut settings = Settings::new("", ([127, 0, 0, 1], 9092).into());
    while let Some(flag) = flags.next() {
        let value = flags.next().ok_or(USAGE)?;
        match flag.as_str() {
            "--data" => settings.data_dir = value.into(),
            "--listen" => settings.listen = value.parse()?,
            "--fsync" => settings.fsync = value.parse()?,
            "--partitions" => settings.default_partitions = value.parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    if settings.data_dir.as_os_str().is_empty() { Err(USAGE.into()) } else { Ok(settings) }
}

/// Writes warnings and errors to stderr, one a line. It has no filters, colours or times, which a service that uses the
/// library brings along, and so it needs no dependency.
struct Warnings;

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("embedded-kafka: {}:", event.metadata().level()));
        event.record(&mut line);
        drop(writeln!(std::io::stderr(), "{}", line.0));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A warning as text: the message, then its fields.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = match field.name() {
            "message" => format!(" {value:?}"),
            name => format!(" {name}={value:?}"),
        };
        self.0.push_str(&text);
    }
}
