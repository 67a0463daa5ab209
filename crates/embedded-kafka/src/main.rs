//! The broker as a process of its own: `embedded-kafka --data DIR --listen ADDR`.

use embedded_kafka::{EmbeddedKafka, Settings};
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

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
