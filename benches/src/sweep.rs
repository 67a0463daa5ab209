//! What settings do to the latency of `POST /analyze`: one after the other is varied, the others stay as they are.
//!
//! Each point is `verdict up` as a process of its own with a new data folder, and `verdict load` on it: an open loop, each request
//! asks for its verdict, latency from the intended send. Those that did not get it are counted.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{
    growth::Shared,
    measured::{Figures, Journal},
    services::{Service, free_address, program},
};

/// What is varied and to what; the first value is what it is while something else is varied. Those without a section are
/// librdkafka's and hold for all clients of the process.
const KNOBS: [(&str, &[&str]); 11] = [
    ("linger.ms", &["0", "1", "5", "20"]),
    ("retry.backoff.ms", &["100", "10", "500"]),
    ("fetch.wait.max.ms", &["500", "10", "100"]),
    ("up.fsync", &["never", "200ms", "always"]),
    ("up.partitions", &["4", "1", "16"]),
    ("processor.round_gather_max", &["25ms", "1ms", "5ms", "100ms"]),
    ("processor.max_queue_delay_microseconds", &["0", "2000", "10000", "50000"]),
    ("processor.max_round_records", &["1024", "16", "128"]),
    ("processor.max_batch_size", &["32", "1", "4"]),
    ("processor.rounds_in_hand_max", &["3", "1", "2", "5"]),
    ("processor.inference_threads", &["0", "1", "2"]),
];
/// A load before the one that counts: connections are made, memory is touched.
const WARMING: Duration = Duration::from_secs(2);

/// The load of every point.
pub(crate) struct Load<'a> {
    /// Reviews, no two alike.
    pub(crate) file: &'a Path,
    /// Requests a second.
    pub(crate) rate: u32,
    /// How long.
    pub(crate) duration: Duration,
}

/// Measures all points `turns` times, each turn in the other order.
pub(crate) async fn measure(
    shared: &Shared<'_>,
    load: &Load<'_>,
    turns: usize,
    journal: &mut Journal,
) -> anyhow::Result<()> {
    for turn in 1..=turns {
        // With everything as it is all knobs stand at their first value: that is measured once.
        let usual = one_run(shared, load, None).await?;
        let mut points: Vec<(&str, usize, &str)> = KNOBS
            .iter()
            .flat_map(|(name, values)| values.iter().enumerate().map(|(at, &it)| (*name, at, it)))
            .collect();
        if turn % 2 == 0 {
            points.reverse();
        }
        for (name, place, value) in points {
            let figures = if place == 0 {
                Ok(usual.clone())
            } else {
                one_run(shared, load, Some((name, value))).await
            };
            journal.note_or_tell("sweep", (name, value), turn, figures)?;
        }
    }
    Ok(())
}

/// Latencies with this one knob turned, in milliseconds, and how many requests were not answered with their verdict.
async fn one_run(
    shared: &Shared<'_>,
    load: &Load<'_>,
    knob: Option<(&str, &str)>,
) -> anyhow::Result<Figures> {
    let folder = tempfile::tempdir().context("making a folder for the run")?;
    let address = free_address()?;
    let mut settings = vec![
        format!("up.data={}", folder.path().display()),
        format!("up.kafka_listen={}", free_address()?),
        format!("ingest.listen={address}"),
        format!("model.repository={}", shared.models.display()),
        format!("model.name={}", shared.bundle.name()),
        "up.fsync=never".to_owned(),
    ];
    settings.extend(knob.map(|(name, value)| {
        let is_ours = ["processor.", "up."].iter().any(|section| name.starts_with(section));
        if is_ours {
            format!("{name}={value}")
        } else {
            format!("kafka.properties={{\"{name}\" = \"{value}\"}}")
        }
    }));
    let mut service = Service::start(folder.path(), "verdict", address, &[], &settings)?;
    service.ready().await?;
    let url = format!("http://{address}");
    send(load, WARMING, &url)?;
    let summary = send(load, load.duration, &url)?;
    service.check_runs()?;

    let number = |pointer: &str| {
        let number = summary.pointer(pointer).and_then(Value::as_f64);
        number.with_context(|| format!("the load does not tell {pointer}: {summary}"))
    };
    let without_verdict = ["/accepted", "/refused", "/failed", "/missed"].map(number);
    let unanswered: f64 = without_verdict.into_iter().sum::<anyhow::Result<f64>>()?;
    Ok(vec![
        ("p50_ms", number("/latency_ms/p50")?),
        ("p99_ms", number("/latency_ms/p99")?),
        ("max_ms", number("/latency_ms/max")?),
        ("unanswered", unanswered),
    ])
}

/// Sends the load for as long as `duration` and gives back what `verdict load` says of it.
fn send(load: &Load<'_>, duration: Duration, url: &str) -> anyhow::Result<Value> {
    let mut command: Command = program("verdict", &[])?;
    command.args(["load", "--json", "--url", url, "--rate", &load.rate.to_string()]);
    command.args(["--duration", &format!("{}ms", duration.as_millis())]);
    command.arg("--file").arg(load.file).stdin(Stdio::null()).stderr(Stdio::piped());
    let output = command.output().context("starting the load")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the load failed ({}): {said}", output.status);
    serde_json::from_slice(&output.stdout).context("reading what the load says")
}
