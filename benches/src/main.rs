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
//! `--kafka HOST:PORT` leaves broker, sink and store out: the processor alone, from topic to topic, on a Kafka of yours that should have
//! other cores.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

mod line;
mod telemetry;
mod texts;
mod topics;

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, ensure};
use clap::Parser;
use jiff::Timestamp;
use models::{ModelName, Repository};
use processor::Pipeline;
use schemas::{Review, ReviewId, ReviewText};

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
    /// When the broker syncs: `always`, an interval, or `never`.
    #[arg(long, default_value = "always")]
    fsync: String,
    /// Compares the line with and without a collector, and not with the model.
    #[arg(long)]
    telemetry: bool,
    /// Measures the processor alone, from topic to topic, on this Kafka, which must be new: HOST:PORT.
    #[arg(long, conflicts_with = "telemetry")]
    kafka: Option<String>,
    /// Is the collector of such a comparison; it tells its address and ends with its input.
    #[arg(long, hide = true)]
    collector: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if args.collector {
        return telemetry::collect();
    }
    let core = core_affinity::get_core_ids().and_then(|cores| cores.last().copied());
    // Threads inherit it, those of librdkafka and tokio too, so it comes before all of them.
    let pinned = core.is_some_and(core_affinity::set_for_current);
    ensure!(pinned, "this process cannot keep to one core here, so the figures would say nothing");

    let name: ModelName = args.model.parse().context("--model")?;
    let bundle = Repository::directory(&args.models).open(&name)?;
    let settings = processor::Settings {
        inference_threads: 1,
        pin_threads: false,
        ..processor::Settings::default()
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
        return topics::measure(address, &pipeline, &settings, &texts, args.runs);
    }
    against_the_model(&args, &pipeline, &settings, &texts)
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
    per_second(counts.sum(), std::time::Duration::from_secs(texts.len().try_into().unwrap_or(1)))
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
pub(crate) fn per_second(count: usize, time: std::time::Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// The middle value; the upper one of an even number.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
