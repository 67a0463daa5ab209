//! What telemetry costs: the line with a collector against the line without one, in turns.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use axum::{Router, body::Bytes, routing::post};
use chassis::telemetry::{LogOutput, TelemetrySettings};

use crate::services::cpu_seconds;

/// What is compared: no collector, one that gets this share of the traces, and those that are no good, which are sent every trace.
const WAYS: [Way; 6] = [
    Way { name: "no collector", collector: Collector::None, share: None },
    Way { name: "one in a hundred", collector: Collector::Quick, share: Some(0.01) },
    Way { name: "every trace", collector: Collector::Quick, share: Some(1.0) },
    Way { name: "slow collector", collector: Collector::Slow, share: Some(1.0) },
    Way { name: "silent collector", collector: Collector::Silent, share: Some(1.0) },
    Way { name: "collector gone", collector: Collector::Gone, share: Some(1.0) },
];

/// How long the slow collector takes for every answer.
const SLOW: Duration = Duration::from_secs(5);

/// One way to tell.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    collector: Collector,
    share: Option<f64>,
}

/// Whom it is told.
#[derive(Clone, Copy)]
enum Collector {
    None,
    Quick,
    /// Answers after [`SLOW`].
    Slow,
    /// Takes connections and requests, and never answers, as one that was stopped.
    Silent,
    /// Refuses connections, as one that was killed.
    Gone,
}

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
    let mut runs_of = WAYS.map(|_| Vec::new());
    for run in 1..=runs {
        // Whoever comes first finds another machine than whoever comes last, so that turns change.
        for turn in 0..WAYS.len() {
            let index = (run + turn) % WAYS.len();
            let way = WAYS[index];
            let cost = cost_with(&rate, way, &address, reviews)?;
            println!(
                "run {run}: {:>16} {:8.1} reviews/s {:8.1} us of processor time a review",
                way.name, cost.rate, cost.cpu_us
            );
            runs_of[index].push(cost);
        }
    }
    let medians = |by: fn(&Cost) -> f64| {
        runs_of.each_ref().map(|costs| crate::median(&mut costs.iter().map(by).collect::<Vec<_>>()))
    };
    let (rates, times) = (medians(|cost| cost.rate), medians(|cost| cost.cpu_us));
    for (index, way) in WAYS.into_iter().enumerate() {
        println!(
            "median: {:>16} {:8.1} reviews/s ({:+5.2} %) {:8.1} us ({:+5.2} %)",
            way.name,
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
    way: Way,
    address: &str,
    reviews: usize,
) -> anyhow::Result<Cost> {
    let endpoint = match way.collector {
        Collector::None => String::new(),
        Collector::Quick => format!("http://{address}"),
        Collector::Slow => format!("http://{address}/slow"),
        Collector::Silent => format!("http://{address}/silent"),
        // Nobody listens where nobody listens any more.
        Collector::Gone => format!("http://{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?),
    };
    let settings = TelemetrySettings {
        filter: "warn".to_owned(),
        output: LogOutput::Stderr,
        otlp_endpoint: endpoint,
        sample_ratio: way.share,
        ..TelemetrySettings::default()
    };
    let telemetry = chassis::telemetry::start("bench", &settings)?;
    let before = cpu_seconds("self")?;
    let rate = rate();
    // What is still queued belongs to the run.
    telemetry.finish();
    let spent = cpu_seconds("self")? - before;
    let reviews = f64::from(u32::try_from(reviews).context("counting reviews")?);
    Ok(Cost { rate: rate?, cpu_us: 1e6 * spent / reviews })
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

/// Takes everything, as a collector that is up to its work does; and is two others, that are not, at paths of their own.
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
        let routes = Router::new()
            .route("/v1/{signal}", post(async |_: Bytes| ()))
            .route("/slow/v1/{signal}", post(async |_: Bytes| tokio::time::sleep(SLOW).await))
            .route(
                "/silent/v1/{signal}",
                post(async |_: Bytes| std::future::pending::<()>().await),
            );
        let served = axum::serve(listener, routes).with_graceful_shutdown(async {
            drop(orphaned.await);
        });
        served.await.context("serving")
    })
}
