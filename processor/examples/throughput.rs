//! Compares the whole line with the model alone: `throughput MODEL TEXTS.jsonl[.gz] [COUNT]`.
//!
//! The line is the worker with one inference thread over a broker in memory: decode, tokenise, infer, write, commit. The model alone
//! is the same batches through the engine and nothing else. Run it on one core (`taskset -c 0`) to see what the line costs.

#![expect(clippy::print_stdout, reason = "a program whose result is a table")]

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::Context as _;
use broker::{Outgoing, Publish as _, memory::MemoryBroker};
use chassis::{Health, clock::monotonic};
use flate2::read::MultiGzDecoder;
use models::Repository;
use processor::{Pipeline, Settings};
use schemas::{Record, Review, ReviewId, ReviewText, topics};
use tokio_util::sync::CancellationToken;

const GROUP: &str = "throughput";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: throughput MODEL TEXTS.jsonl[.gz] [COUNT]";
    let model = arguments.next().context(usage)?;
    let path = arguments.next().context(usage)?;
    let count = arguments.next().map_or(Ok(usize::MAX), |count| count.parse())?;
    let texts: Vec<String> = texts(&path)?.into_iter().take(count).collect();
    let bundle = Repository::directory("models").open(&model.parse()?)?;
    let settings = Settings { inference_threads: 1, pin_threads: false, ..Settings::default() };
    let pipeline = processor::load(&bundle, &settings)?;
    pipeline.classifier.warm()?;
    let reviews = f64::from(u32::try_from(texts.len())?);

    let (alone, tokens, padding) = alone(&pipeline, &texts)?;
    let tokens = f64::from(u32::try_from(tokens)?);
    println!(
        "model alone  {:8.1} reviews/s {:8.0} tokens/s, padding {:.1} %",
        reviews / alone,
        tokens / alone,
        padding * 100.0
    );
    let line = line(pipeline, settings, &texts)?;
    println!(
        "whole line   {:8.1} reviews/s {:8.0} tokens/s, {:.3} of the model alone",
        reviews / line,
        tokens / line,
        alone / line
    );
    Ok(())
}

fn texts(path: &str) -> anyhow::Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Line {
        text: String,
    }
    let file = File::open(path).with_context(|| format!("reading {path}"))?;
    let is_zipped = Path::new(path).extension().is_some_and(|extension| extension == "gz");
    let lines: Box<dyn Read> =
        if is_zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let lines = BufReader::new(lines).lines();
    lines.map(|line| Ok(serde_json::from_str::<Line>(&line?)?.text)).collect()
}

/// Seconds in the model, tokens, and the share of padding, for rounds of the size of the line's.
fn alone(pipeline: &Pipeline, texts: &[String]) -> anyhow::Result<(f64, usize, f64)> {
    let (mut seconds, mut tokens, mut computed) = (0.0, 0, 0);
    for texts in texts.chunks(Settings::default().max_round_records.get()) {
        let reviews = texts.iter().map(|text| {
            Ok(Review {
                id: ReviewId::new("id")?,
                text: ReviewText::new(text)?,
                source: None,
                language: None,
                occurred_at: chassis::clock::now(),
                received_at: chassis::clock::now(),
                metadata: None,
            })
        });
        let reviews = reviews.collect::<anyhow::Result<Vec<Review>>>()?;
        let (_, batches) = pipeline.prepare(reviews.into_iter().map(Ok));
        for batch in batches {
            let rows = batch.rows();
            let began = monotonic();
            pipeline.classifier.classify(batch.shape(), &rows)?;
            seconds += (monotonic() - began).as_secs_f64();
            tokens += rows.iter().map(|row| row.len()).sum::<usize>();
            computed += batch.shape().tokens_total();
        }
    }
    let padding = 1.0 - f64::from(u32::try_from(tokens)?) / f64::from(u32::try_from(computed)?);
    Ok((seconds, tokens, padding))
}

/// Seconds from the first record to the last commit.
fn line(pipeline: Arc<Pipeline>, settings: Settings, texts: &[String]) -> anyhow::Result<f64> {
    let broker = MemoryBroker::new(4);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for (number, text) in texts.iter().enumerate() {
        let value =
            serde_json::to_vec(&serde_json::json!({"id": number.to_string(), "review": text}))?;
        let record = Record {
            key: Some(number.to_string().into()),
            value: Some(value),
            ..Record::default()
        };
        runtime.block_on(broker.publish(Outgoing { topic: topics::REVIEWS.into(), record }))?;
    }
    let stop = CancellationToken::new();
    let exchange = Box::new(broker.exchange(GROUP, &[topics::REVIEWS], "one"));
    let (health, stop_line) = (Health::new(), stop.clone());
    let began = monotonic();
    let running =
        thread::spawn(move || processor::run(exchange, pipeline, &settings, &health, &stop_line));
    while 0 < broker.lag(GROUP, topics::REVIEWS) {
        thread::sleep(Duration::from_millis(2));
    }
    let seconds = (monotonic() - began).as_secs_f64();
    stop.cancel();
    running.join().map_err(|_panic| anyhow::anyhow!("the line panicked"))??;
    Ok(seconds)
}
