//! What each program takes: memory idle and at saturation, and the time from its start until it takes work.

use std::{
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use broker::kafka::{KafkaSettings, TopicSpec, ensure_topics};
use embedded_kafka::EmbeddedKafka;
use schemas::topics;

use crate::{
    growth::Shared,
    measured::Journal,
    services::{Memory, Service, free_address, program},
};

/// Partitions of the topics, as `verdict up` makes them.
const PARTITIONS: u16 = 4;
/// How long a program is left alone before it counts as idle.
const IDLE: Duration = Duration::from_secs(3);
/// Requests a second, more than the processor can do on two cores, and for how long.
const RATE: u32 = 3_000;
const LOADED: Duration = Duration::from_secs(8);
/// Between two looks at the memory.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Longest wait for the broker.
const TOPICS_WAIT_MAX: Duration = Duration::from_mins(1);

/// A running program and what is known of it.
struct Watched {
    name: &'static str,
    service: Service,
    ready: Duration,
    idle: Option<Memory>,
    /// The most that was resident under load.
    saturated: f64,
    /// The most that ever was.
    peak: f64,
}

/// Measures the services apart, then `verdict up`, `turns` times. `file` has reviews for `verdict load`, no two alike.
pub(crate) async fn measure(
    shared: &Shared<'_>,
    file: &Path,
    turns: usize,
    journal: &mut Journal,
) -> anyhow::Result<()> {
    for turn in 1..=turns {
        let apart = apart(shared, file).await?;
        for watched in apart.into_iter().chain([whole(shared, file).await?]) {
            let point = ("program", watched.name);
            let idle = watched.idle.context("never idle")?.resident;
            let memory = vec![
                ("idle_mb", idle),
                ("saturated_mb", watched.saturated),
                ("peak_mb", watched.peak),
            ];
            journal.note("memory", point, turn, &memory)?;
            let start = vec![("ready_s", watched.ready.as_secs_f64())];
            journal.note("start", point, turn, &start)?;
        }
    }
    Ok(())
}

/// Ingest, processor and sink as three processes on an embedded broker in this one and a store in `SQLite`.
async fn apart(shared: &Shared<'_>, file: &Path) -> anyhow::Result<Vec<Watched>> {
    let folder = tempfile::tempdir().context("making a folder for the run")?;
    let mut settings =
        embedded_kafka::Settings::new(folder.path().join("kafka"), ([127, 0, 0, 1], 0).into());
    settings.fsync = shared.fsync;
    settings.initial_rebalance_delay = Duration::ZERO;
    let broker = EmbeddedKafka::start(settings).await?;
    let kafka = KafkaSettings::at(broker.local_addr().to_string());
    let specs = topics::ALL.map(|name| TopicSpec::new(name, PARTITIONS));
    ensure_topics(&kafka, &specs, TOPICS_WAIT_MAX).await?;

    let store = format!("store.url=sqlite:{}", folder.path().join("verdicts.db").display());
    let [sink, processor, ingest] = [free_address()?, free_address()?, free_address()?];
    // The sink first: it makes the tables.
    let programs = [
        (
            "sink",
            sink,
            vec![
                store.clone(),
                format!("sink.listen={sink}"),
                "feedback.transactional_id=bench-feedback".to_owned(),
                "drift.enabled=false".to_owned(),
            ],
        ),
        (
            "processor",
            processor,
            vec![
                format!("replica.listen={processor}"),
                "replica.transactional_id=bench-processor".to_owned(),
                format!("model.repository={}", shared.models.display()),
                format!("model.name={}", shared.bundle.name()),
            ],
        ),
        ("ingest", ingest, vec![store, format!("ingest.listen={ingest}")]),
    ];
    let mut all = Vec::new();
    for (name, address, mut settings) in programs {
        settings.push(format!("kafka.bootstrap_servers={}", kafka.bootstrap_servers));
        settings.push("telemetry.filter=warn".to_owned());
        let service = Service::start(folder.path(), name, address, &[], &settings)?;
        all.push(Watched::ready(name, service).await?);
    }
    look_on(&mut all, &format!("http://{ingest}"), file).await?;
    broker.stop().await;
    Ok(all)
}

/// All of it in one process.
async fn whole(shared: &Shared<'_>, file: &Path) -> anyhow::Result<Watched> {
    let folder = tempfile::tempdir().context("making a folder for the run")?;
    let address = free_address()?;
    let settings = [
        format!("up.data={}", folder.path().display()),
        format!("up.kafka_listen={}", free_address()?),
        format!("up.fsync={}", shared.fsync),
        format!("ingest.listen={address}"),
        format!("model.repository={}", shared.models.display()),
        format!("model.name={}", shared.bundle.name()),
    ];
    let service = Service::start(folder.path(), "verdict", address, &[], &settings)?;
    let mut all = [Watched::ready("verdict", service).await?];
    look_on(&mut all, &format!("http://{address}"), file).await?;
    let [watched] = all;
    Ok(watched)
}

/// Leaves them alone, then sends them more than they can do.
async fn look_on(all: &mut [Watched], url: &str, file: &Path) -> anyhow::Result<()> {
    tokio::time::sleep(IDLE).await;
    for watched in &mut *all {
        watched.idle = Some(watched.service.memory()?);
    }
    let mut load = start_load(url, file)?;
    let ended = loop {
        for watched in &mut *all {
            watched.service.check_runs()?;
            let memory = watched.service.memory()?;
            watched.saturated = watched.saturated.max(memory.resident);
            watched.peak = memory.peak;
        }
        if let Some(ended) = load.try_wait().context("looking at the load")? {
            break ended;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    ensure!(ended.success(), "the load failed: {ended}");
    Ok(())
}

fn start_load(url: &str, file: &Path) -> anyhow::Result<Child> {
    let mut command = program("verdict", &[])?;
    command.args(["load", "--json", "--respond-async", "--url", url]);
    command.args(["--rate", &RATE.to_string(), "--duration", &format!("{}s", LOADED.as_secs())]);
    command.arg("--file").arg(file).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().context("starting the load")
}

impl Watched {
    async fn ready(name: &'static str, mut service: Service) -> anyhow::Result<Self> {
        let ready = service.ready().await?;
        Ok(Self { name, service, ready, idle: None, saturated: 0.0, peak: 0.0 })
    }
}
