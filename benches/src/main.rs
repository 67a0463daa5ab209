//! The whole line against the bare model, on one core.
//!
//! `cargo run --release -p benches` prints both figures of one run, interleaved, and their ratio: what batching, Kafka,
//! transactions and the store cost beside the model.
//!
//! - *model*: token ids are ready, and batches are those that the line forms from a full backlog; only the model is timed.
//! - *line*: the reviews lie in `reviews.v1` of an embedded broker; timed from the start of processor and sink until every
//!   verdict is a durable row. Exactly once, a store in `SQLite` and all. HTTP is not part of it.
//!
//! The process keeps to one core, broker and store included, so the line's figure counts everything that it does.
//!
//! `--telemetry` compares the line with itself instead: without a collector, with one that gets one trace in a hundred or every trace,
//! and with one that is slow, silent or gone. The collector is a process of its own on another core, which takes everything and looks at nothing. On a
//! machine that does other work as well the time is anybody's; the processor time of this process is its own.
//!
//! `--growth`, `--sweep`, `--draw` and `--table` are of the programs as they are built, as processes of their own: how speed, memory and
//! latency change as one thing after the other is varied. `README.md` has all commands.
//!
//! `--kafka HOST:PORT` leaves broker, sink and store out: the processor alone, from topic to topic, on a Kafka of yours that should have
//! other cores.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

mod draw;
mod footprint;
mod growth;
mod line;
mod measured;
mod services;
mod sweep;
mod telemetry;
mod texts;
mod topics;

use std::{
    io::Write as _,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Parser;
use jiff::Timestamp;
use models::{ModelName, Repository};
use processor::Pipeline;
use schemas::{Review, ReviewId, ReviewText};

/// Reviews that are sent over HTTP, no two alike; more than a run sends.
const REVIEWS_SENT: usize = 30_000;

/// The whole line against the bare model, on one core.
#[derive(Debug, Parser)]
struct Args {
    /// Reviews of one run.
    #[arg(long, default_value_t = 2_000)]
    reviews: usize,
    /// Runs of each, interleaved.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// The model.
    #[arg(long, default_value = "sentiment@1")]
    model: String,
    /// Folder with the model bundles.
    #[arg(long, default_value = "models")]
    models: PathBuf,
    /// Reviews to use, one a line or NDJSON with `text` or `review`; without it, sentences of our own.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Most records of one transaction, `processor.max_round_records`.
    #[arg(long)]
    round_records: Option<NonZeroUsize>,
    /// Most tokens of one transaction, `processor.max_round_tokens`.
    #[arg(long)]
    round_tokens: Option<NonZeroUsize>,
    /// When the broker syncs: `always`, an interval, or `never`.
    #[arg(long, default_value = "always")]
    fsync: String,
    /// Compares the line with and without a collector, and not with the model.
    #[arg(long)]
    telemetry: bool,
    /// Measures the processor alone, from topic to topic, on this Kafka, which must be new: HOST:PORT.
    #[arg(long, conflicts_with = "telemetry")]
    kafka: Option<String>,
    /// Measures how cost grows, and writes it to this file: rates against cores, replicas, partitions, tokens and limits; memory and
    /// the time to ready of each program.
    #[arg(long, value_name = "OUT", conflicts_with_all = ["telemetry", "kafka"])]
    growth: Option<PathBuf>,
    /// Measures what settings do to the latency of `verdict up`, and writes it to this file.
    #[arg(long, value_name = "OUT", conflicts_with_all = ["telemetry", "kafka", "growth"])]
    sweep: Option<PathBuf>,
    /// Runs of each point of `--growth` and `--sweep`.
    #[arg(long, default_value_t = 2)]
    turns: usize,
    /// Requests a second of `--sweep`.
    #[arg(long, default_value_t = 400)]
    rate: u32,
    /// How long each point of `--sweep` is under load, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Draws such a file: SVG files into a folder.
    #[arg(long, num_args = 2, value_names = ["DATA", "FOLDER"])]
    draw: Option<Vec<PathBuf>>,
    /// Prints such a file as Markdown.
    #[arg(long, value_name = "DATA")]
    table: Option<PathBuf>,
    /// Is the collector of such a comparison; it tells its address and ends with its input.
    #[arg(long, hide = true)]
    collector: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if args.collector {
        return telemetry::collect();
    }
    if let Some([data, folder]) = args.draw.as_deref() {
        return draw::draw(&measured::read(data)?, folder);
    }
    if let Some(data) = &args.table {
        measured::print(&measured::read(data)?);
        return Ok(());
    }
    let name: ModelName = args.model.parse().context("--model")?;
    if let Some(out) = args.growth.as_ref().or(args.sweep.as_ref()) {
        return of_programs(&args, &name, out);
    }
    let core = core_affinity::get_core_ids().and_then(|cores| cores.last().copied());
    // Threads inherit it, those of librdkafka and tokio too, so it comes before all of them.
    let pinned = core.is_some_and(core_affinity::set_for_current);
    ensure!(pinned, "this process cannot keep to one core here, so the figures would say nothing");

    let bundle = Repository::directory(&args.models).open(&name)?;
    let defaults = processor::Settings::default();
    let settings = processor::Settings {
        inference_threads: 1,
        pin_threads: false,
        max_round_records: args.round_records.unwrap_or(defaults.max_round_records),
        max_round_tokens: args.round_tokens.unwrap_or(defaults.max_round_tokens),
        ..defaults
    };
    let pipeline = processor::load(&bundle, &settings)?;
    pipeline.classifier.warm()?;
    let texts = texts::read(args.file.as_deref(), args.reviews)?;
    let tokens = tokens(&pipeline, &texts);

    println!(
        "{name}, {} reviews of {tokens:.1} tokens on average, one core, {} runs each",
        texts.len(),
        args.runs
    );
    if args.telemetry {
        let rate = || line::rate(&pipeline, &settings, &texts, &args.fsync);
        return telemetry::compare(rate, args.runs, texts.len());
    }
    if let Some(address) = &args.kafka {
        let model = || model_rate(&pipeline, &settings, &texts);
        return topics::measure(address, &pipeline, &settings, &texts, args.runs, model);
    }
    against_the_model(&args, &pipeline, &settings, &texts)
}

/// Measures programs of this build as processes of their own; this one keeps to no core.
fn of_programs(args: &Args, name: &ModelName, out: &Path) -> anyhow::Result<()> {
    let bundle = Repository::directory(&args.models).open(name)?;
    let shared =
        growth::Shared { models: &args.models, bundle: &bundle, fsync: args.fsync.parse()? };
    let mut file = tempfile::NamedTempFile::with_suffix(".jsonl")?;
    for text in texts::read(args.file.as_deref(), REVIEWS_SENT)? {
        writeln!(file, "{}", serde_json::json!({ "review": text }))?;
    }
    file.flush()?;
    let mut journal = measured::Journal::create(out)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        if args.sweep.is_some() {
            let duration = Duration::from_secs(args.seconds);
            let load = sweep::Load { file: file.path(), rate: args.rate, duration };
            return sweep::measure(&shared, &load, args.turns, &mut journal).await;
        }
        growth::measure(&shared, args.turns, &mut journal).await?;
        footprint::measure(&shared, file.path(), args.turns, &mut journal).await
    })
}

/// The line and the bare model, one after the other.
fn against_the_model(
    args: &Args,
    pipeline: &Arc<Pipeline>,
    settings: &processor::Settings,
    texts: &[String],
) -> anyhow::Result<()> {
    let mut model_rates = Vec::new();
    let mut line_rates = Vec::new();
    let mut ratios = Vec::new();
    for run in 1..=args.runs {
        let model = model_rate(pipeline, settings, texts);
        let line = line::rate(pipeline, settings, texts, &args.fsync)?;
        println!(
            "run {run}: model {model:7.1} reviews/s   line {line:7.1} reviews/s   ratio {:.3}",
            line / model
        );
        model_rates.push(model);
        line_rates.push(line);
        ratios.push(line / model);
    }
    // The ratio is of pairs that ran one after the other: a machine that slows down slows both.
    println!(
        "median: model {:7.1} reviews/s   line {:7.1} reviews/s   ratio {:.3}",
        median(&mut model_rates),
        median(&mut line_rates),
        median(&mut ratios)
    );
    Ok(())
}

/// Reviews a second of the bare model.
fn model_rate(pipeline: &Arc<Pipeline>, settings: &processor::Settings, texts: &[String]) -> f64 {
    let rounds: Vec<_> = texts
        .chunks(settings.max_round_records.get())
        .map(|texts| pipeline.prepare(reviews(texts)).1)
        .collect();
    let begun = chassis::clock::monotonic();
    for batch in rounds.iter().flatten() {
        std::hint::black_box(pipeline.infer(batch));
    }
    per_second(texts.len(), begun.elapsed())
}

fn tokens(pipeline: &Pipeline, texts: &[String]) -> f64 {
    let counts = texts.iter().filter_map(|text| {
        let text = ReviewText::new(text).ok()?;
        let encoding = pipeline.tokenizer.encode(&text).ok()?;
        Some(encoding.ids.len())
    });
    per_second(counts.sum(), Duration::from_secs(texts.len().try_into().unwrap_or(1)))
}

fn reviews(texts: &[String]) -> impl Iterator<Item = Result<Review, schemas::Refusal>> + '_ {
    texts.iter().enumerate().filter_map(|(number, text)| {
        let now = Timestamp::UNIX_EPOCH;
        Some(Ok(Review {
            id: ReviewId::new(number.to_string()).ok()?,
            text: ReviewText::new(text).ok()?,
            source: None,
            language: None,
            occurred_at: now,
            received_at: now,
            metadata: None,
        }))
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
pub(crate) fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// The middle value; the upper one of an even number.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
