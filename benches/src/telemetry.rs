//! What telemetry costs: the line with a collector against the line without one, in turns.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use axum::{Router, body::Bytes, routing::post};
use chassis::telemetry::{LogOutput, TelemetrySettings};

/// What is compared: no collector, or one that gets this share of the traces.
const SHARES: [(&str, Option<f64>); 3] =
    [("off", None), ("one in a hundred", Some(0.01)), ("every trace", Some(1.0))];

/// How often Linux counts in a second, on every machine that we build for.
const TICKS: f64 = 100.0;

/// What a run took.
#[derive(Clone, Copy)]
struct Cost {
    /// Reviews a second.
    rate: f64,
    /// Processor time of a review, in microseconds.
    cpu_us: f64,
}

/// Prints the rate of each way, `runs` times in turns, and what each costs against none.
pub(crate) fn compare(
    rate: impl Fn() -> anyhow::Result<f64>,
    runs: usize,
    reviews: usize,
) -> anyhow::Result<()> {
    let (mut collector, address) = start_collector()?;
    let mut runs_of = SHARES.map(|_| Vec::new());
    for run in 1..=runs {
        // Whoever comes first finds another machine than whoever comes last, so that turns change.
        for turn in 0..SHARES.len() {
            let index = (run + turn) % SHARES.len();
            let (name, share) = SHARES[index];
            let cost = cost_with(&rate, share, &address, reviews)?;
            println!(
                "run {run}: {name:>16} {:8.1} reviews/s {:8.1} us of processor time a review",
                cost.rate, cost.cpu_us
            );
            runs_of[index].push(cost);
        }
    }
    let medians = |by: fn(&Cost) -> f64| {
        runs_of.each_ref().map(|costs| crate::median(&mut costs.iter().map(by).collect::<Vec<_>>()))
    };
    let (rates, times) = (medians(|cost| cost.rate), medians(|cost| cost.cpu_us));
    for (index, (name, _)) in SHARES.into_iter().enumerate() {
        println!(
            "median: {name:>16} {:8.1} reviews/s ({:+5.2} %) {:8.1} us ({:+5.2} %)",
            rates[index],
            100.0 * (rates[index] / rates[0] - 1.0),
            times[index],
            100.0 * (times[index] / times[0] - 1.0),
        );
    }
    collector.kill().context("ending the collector")?;
    collector.wait().map(drop).context("ending the collector")
}

fn cost_with(
    rate: &impl Fn() -> anyhow::Result<f64>,
    share: Option<f64>,
    collector: &str,
    reviews: usize,
) -> anyhow::Result<Cost> {
    let settings = TelemetrySettings {
        filter: "warn".to_owned(),
        output: LogOutput::Stderr,
        otlp_endpoint: share.map(|_| format!("http://{collector}")).unwrap_or_default(),
        sample_ratio: share,
        ..TelemetrySettings::default()
    };
    let telemetry = chassis::telemetry::start("bench", &settings)?;
    let before = cpu_seconds()?;
    let rate = rate();
    // What is still queued belongs to the run.
    telemetry.finish();
    let spent = cpu_seconds()? - before;
    let reviews = f64::from(u32::try_from(reviews).context("counting reviews")?);
    Ok(Cost { rate: rate?, cpu_us: 1e6 * spent / reviews })
}

/// Processor time of this process so far.
fn cpu_seconds() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/self/stat").context("reading the processor time")?;
    // The name of the process may hold anything, and ends at the last bracket.
    let (_, fields) = text.rsplit_once(')').context("reading the processor time")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS)
}

fn start_collector() -> anyhow::Result<(Child, String)> {
    let mut command = Command::new(std::env::current_exe()?);
    let piped = command.arg("--collector").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.spawn().context("starting the collector")?;
    let output = child.stdout.take().context("hearing the collector")?;
    let mut address = String::new();
    BufReader::new(output).read_line(&mut address)?;
    Ok((child, address.trim().to_owned()))
}

/// Takes everything, as a collector that is up to its work does.
pub(crate) fn collect() -> anyhow::Result<()> {
    // The line has the last core.
    if let Some(core) = core_affinity::get_core_ids().and_then(|cores| cores.first().copied()) {
        core_affinity::set_for_current(core);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let mut out = std::io::stdout();
        writeln!(out, "{}", listener.local_addr()?)?;
        out.flush()?;
        let orphaned = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
        let routes = Router::new().route("/v1/{signal}", post(async |_: Bytes| ()));
        let served = axum::serve(listener, routes).with_graceful_shutdown(async {
            drop(orphaned.await);
        });
        served.await.context("serving")
    })
}
