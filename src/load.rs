//! `verdict load`: an open-loop load on a running line.
//!
//! Requests leave on a fixed schedule, whether or not answers come, and a latency runs from the moment at which the request was
//! meant to leave. A closed loop would slow down with the service and hide its worst moments (coordinated omission; Tene,
//! "How NOT to Measure Latency", 2013).

use std::{
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{sleep_until, timeout},
};

use crate::{
    cli::{InputFormat, LoadArgs},
    score::input::{self, Fields},
};

/// Longest wait for one answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_mins(1);

/// Most reviews of a file that are kept; the load goes round them.
const REVIEWS_MAX: usize = 100_000;

/// What is sent where no file is given.
const REVIEWS: [&str; 12] = [
    "The room was clean and affordable.",
    "Cold coffee, a rude waiter and a bill for things we never ordered.",
    "A quiet place near the station; we would come back.",
    "The film drags on for two hours and says nothing.",
    "Great sound, light enough to carry all day, and the battery lasts.",
    "It broke after a week and nobody answers the phone.",
    "Not the cheapest, but every bit of it is well made.",
    "We waited an hour for a table that we had booked.",
    "Funny, warm and a little sad: the best thing I saw this year.",
    "The instructions are useless and one screw was missing.",
    "Breakfast was fine, the view was wonderful, the bed was too soft.",
    "I expected more for the price.",
];

/// What came of one request.
struct Answer {
    latency: Duration,
    outcome: Outcome,
    /// Why it failed, if it did.
    failure: Option<String>,
    /// How long the model took for it, by its verdict.
    inference: Option<Duration>,
}

/// What is read of a verdict.
#[derive(Deserialize)]
struct Judged {
    inference_ms: f64,
}

/// Microseconds of all answers from their intended sends.
struct Latencies {
    whole: Histogram<u64>,
    /// Less the model's own time, of those with a verdict.
    beside_model: Histogram<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// 200: with its verdict.
    Verdict,
    /// 202: taken, verdict to come.
    Accepted,
    /// 429 or 503: told to come back later.
    Refused,
    /// Any other status, or no answer at all.
    Failed,
}

/// What came of all requests.
#[derive(Default)]
struct Tally {
    verdicts: u64,
    accepted: u64,
    refused: u64,
    failed: u64,
    missed: u64,
    failure: Option<String>,
}

/// Sends for `args.duration`, then prints what came back.
pub(crate) async fn run(args: LoadArgs) -> anyhow::Result<()> {
    if !args.rate.is_finite() || args.rate <= 0.0 {
        bail!("--rate {} is not a rate: state requests a second, larger than 0", args.rate);
    }
    let bodies = bodies(&args)?;
    let client =
        Client::builder().timeout(ANSWER_WAIT_MAX).build().context("building the HTTP client")?;
    let target = format!("{}/analyze", args.url.trim_end_matches('/'));
    reach(&client, &args.url).await?;

    let begun = chassis::clock::monotonic();
    let histogram = || Histogram::new_with_bounds(1, 120_000_000, 3).context("histogram");
    let mut latencies = Latencies { whole: histogram()?, beside_model: histogram()? };
    let tally = send_all(&args, &client, &target, &bodies, begun, &mut latencies).await?;
    report(&args, &tally, &latencies, begun.elapsed())
}

/// One request before the load, so that a wrong address is one clear message and not ten thousand failures.
async fn reach(client: &Client, url: &str) -> anyhow::Result<()> {
    let probe = format!("{}/readyz", url.trim_end_matches('/'));
    let answer = client.get(&probe).send().await.with_context(|| {
        format!("nothing answers at {url}: start `verdict` first, or state --url")
    })?;
    if !answer.status().is_success() {
        bail!(
            "{url} is not ready ({}): {}",
            answer.status(),
            answer.text().await.unwrap_or_default()
        );
    }
    Ok(())
}

/// The requests' bodies, made before the clock starts.
fn bodies(args: &LoadArgs) -> anyhow::Result<Vec<Arc<str>>> {
    let texts: Vec<String> = match &args.file {
        None => REVIEWS.iter().map(|&text| text.to_owned()).collect(),
        Some(path) => {
            let fields = Fields { text: args.text_field.clone(), label: None };
            let rows = input::open(Some(path), InputFormat::Auto, fields, &ProgressBar::hidden())?;
            let rows = rows.take(REVIEWS_MAX).collect::<anyhow::Result<Vec<_>>>()?;
            rows.into_iter().filter_map(|row| row.text.ok()).collect()
        }
    };
    if texts.is_empty() {
        bail!("the file has no reviews");
    }
    Ok(texts.into_iter().map(|text| Arc::from(json!({ "review": text }).to_string())).collect())
}

async fn send_all(
    args: &LoadArgs,
    client: &Client,
    target: &str,
    bodies: &[Arc<str>],
    begun: Instant,
    latencies: &mut Latencies,
) -> anyhow::Result<Tally> {
    let in_flight = Arc::new(Semaphore::new(args.in_flight_max));
    let gap = Duration::from_secs_f64(1.0 / args.rate);
    let bar = bar(args);
    let mut tally = Tally::default();
    let mut requests: JoinSet<Answer> = JoinSet::new();
    let mut intended = begun;
    for body in bodies.iter().cycle() {
        if args.duration <= intended.duration_since(begun) {
            break;
        }
        sleep_until(intended.into()).await;
        while let Some(done) = requests.try_join_next() {
            tally.note(done.context("a request panicked")?, latencies);
        }
        match Arc::clone(&in_flight).try_acquire_owned() {
            Err(_full) => tally.missed += 1,
            Ok(permit) => {
                let request = client
                    .post(target)
                    .header("content-type", "application/json")
                    .header("prefer", if args.respond_async { "respond-async" } else { "wait=30" })
                    .body(body.to_string());
                requests.spawn(async move {
                    let answer = send(request, intended).await;
                    drop(permit);
                    answer
                });
            }
        }
        bar.set_position(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        bar.set_message(format!("{} in flight", requests.len()));
        intended += gap;
    }
    bar.set_message("waiting for the last answers");
    let last = async {
        while let Some(done) = requests.join_next().await {
            tally.note(done.context("a request panicked")?, latencies);
        }
        anyhow::Ok(())
    };
    timeout(ANSWER_WAIT_MAX * 2, last).await.context("answers outstanding after the wait")??;
    bar.finish_and_clear();
    Ok(tally)
}

async fn send(request: reqwest::RequestBuilder, intended: Instant) -> Answer {
    let (outcome, failure, verdict) = match request.send().await {
        Err(error) => (Outcome::Failed, Some(error.to_string()), None),
        // The body is read to its end, so that the latency is that of the whole answer and the connection can be used again.
        Ok(response) => match (response.status(), response.bytes().await) {
            (_, Err(error)) => (Outcome::Failed, Some(error.to_string()), None),
            (StatusCode::OK, Ok(body)) => (Outcome::Verdict, None, Some(body)),
            (StatusCode::ACCEPTED, Ok(_)) => (Outcome::Accepted, None, None),
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Ok(_)) => {
                (Outcome::Refused, None, None)
            }
            (status, Ok(body)) => {
                let failure = format!("{status}: {}", String::from_utf8_lossy(&body));
                (Outcome::Failed, Some(failure), None)
            }
        },
    };
    let latency = chassis::clock::monotonic().duration_since(intended);
    let judged = verdict.and_then(|body| serde_json::from_slice::<Judged>(&body).ok());
    let inference =
        judged.and_then(|it| Duration::try_from_secs_f64(it.inference_ms / 1_000.0).ok());
    Answer { latency, outcome, failure, inference }
}

impl Tally {
    fn note(&mut self, answer: Answer, latencies: &mut Latencies) {
        match answer.outcome {
            Outcome::Verdict => self.verdicts += 1,
            Outcome::Accepted => self.accepted += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Failed => {
                self.failed += 1;
                self.failure = self.failure.take().or(answer.failure);
            }
        }
        if matches!(answer.outcome, Outcome::Verdict | Outcome::Accepted) {
            latencies.whole.saturating_record(microseconds(answer.latency));
            if let Some(inference) = answer.inference {
                let beside = answer.latency.saturating_sub(inference);
                latencies.beside_model.saturating_record(microseconds(beside));
            }
        }
    }

    fn sent(&self) -> u64 {
        self.verdicts + self.accepted + self.refused + self.failed
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn bar(args: &LoadArgs) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(args.duration.as_millis()).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{elapsed:>4} {wide_bar} {percent:>3} %  {msg}");
    bar.set_style(style.unwrap_or_else(|_error| ProgressStyle::default_bar()));
    bar
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and microseconds of a load test are far below 2^52"
)]
fn report(
    args: &LoadArgs,
    tally: &Tally,
    latencies: &Latencies,
    elapsed: Duration,
) -> anyhow::Result<()> {
    let answered = tally.verdicts + tally.accepted;
    let rate = answered as f64 / elapsed.as_secs_f64();
    let at = |of: &Histogram<u64>, quantile: f64| of.value_at_quantile(quantile) as f64 / 1_000.0;
    let quantiles = |of: &Histogram<u64>| {
        json!({
            "p50": at(of, 0.5), "p90": at(of, 0.9), "p99": at(of, 0.99), "p99.9": at(of, 0.999),
            "max": of.max() as f64 / 1_000.0,
        })
    };
    let Latencies { whole, beside_model } = latencies;
    let mut out = std::io::stdout().lock();
    if args.json {
        let summary = json!({
            "rate_asked": args.rate, "rate_answered": rate, "sent": tally.sent(), "verdicts": tally.verdicts,
            "accepted": tally.accepted, "refused": tally.refused, "failed": tally.failed, "missed": tally.missed,
            "latency_ms": quantiles(whole), "latency_beside_model_ms": quantiles(beside_model),
        });
        writeln!(out, "{summary}")?;
    } else {
        writeln!(out, "asked     {:.1} requests/s for {:?}", args.rate, args.duration)?;
        writeln!(
            out,
            "answered  {rate:.1} requests/s until the last answer, after {:.1} s",
            elapsed.as_secs_f64()
        )?;
        writeln!(
            out,
            "requests  {} sent: {} with a verdict (200), {} taken (202), {} refused (429, 503), {} failed; {} missed",
            tally.sent(),
            tally.verdicts,
            tally.accepted,
            tally.refused,
            tally.failed,
            tally.missed
        )?;
        for (name, of, note) in [
            ("latency", whole, "from the intended send"),
            ("beside", beside_model, "less what the model took, as each verdict says"),
        ] {
            if of.is_empty() {
                continue;
            }
            writeln!(
                out,
                "{name:<10}p50 {:.1} ms  p90 {:.1} ms  p99 {:.1} ms  p99.9 {:.1} ms  max {:.1} ms  ({note})",
                at(of, 0.5),
                at(of, 0.9),
                at(of, 0.99),
                at(of, 0.999),
                of.max() as f64 / 1_000.0
            )?;
        }
    }
    if let Some(failure) = &tally.failure {
        bail!("{} requests failed; the first: {failure}", tally.failed);
    }
    Ok(())
}
