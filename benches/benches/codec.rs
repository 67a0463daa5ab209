//! Reviews and verdicts to the bytes of a record and back.

use std::hint::black_box;

use anyhow::Context as _;
use criterion::{Criterion, Throughput};
use jiff::Timestamp;
use models::Repository;
use processor::{Scorer, Settings};
use schemas::{Record, Review, ReviewId, ReviewText, Verdict, review::Place, topics};

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");
const TEXT: &str = "The room was clean and affordable, the view from the balcony was better than anything we had hoped for, \
     and breakfast was rather ordinary, though never bad.";

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let now = Timestamp::UNIX_EPOCH;
    let place = Place { topic: topics::REVIEWS, partition: 0, offset: 0 };
    let review = Review {
        id: ReviewId::of_place(place),
        text: ReviewText::new(TEXT)?,
        source: Some("hotel-app".to_owned()),
        language: Some("en".to_owned()),
        occurred_at: now,
        received_at: now,
        metadata: None,
    };
    // A verdict of the model that is shipped, with everything that it has to say.
    let bundle = Repository::directory(MODELS).open(&"sentiment@1".parse()?)?;
    let settings = Settings { inference_threads: 1, pin_threads: false, ..Settings::default() };
    let mut scorer = Scorer::start(processor::load(&bundle, &settings)?, &settings)?;
    let judged = scorer.judge([Ok(review.clone())]).pop().context("no verdict")?;
    let verdict = judged.map_err(|refusal| anyhow::anyhow!("refused: {refusal:?}"))?;
    let (review_record, verdict_record) =
        (review.to_record(Vec::new())?, verdict.to_record(Vec::new())?);

    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Bytes(size(&review_record)?));
    group.bench_function("review to bytes", |bencher| {
        bencher.iter(|| black_box(&review).to_record(Vec::new()));
    });
    group.bench_function("review from bytes", |bencher| {
        bencher.iter(|| Review::from_record(black_box(&review_record), place, now));
    });
    group.throughput(Throughput::Bytes(size(&verdict_record)?));
    group.bench_function("verdict to bytes", |bencher| {
        bencher.iter(|| black_box(&verdict).to_record(Vec::new()));
    });
    group.bench_function("verdict from bytes", |bencher| {
        bencher.iter(|| Verdict::from_record(black_box(&verdict_record)));
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// Bytes of the record's value.
fn size(record: &Record) -> anyhow::Result<u64> {
    let value = record.value.as_ref().context("a record without a value")?;
    Ok(u64::try_from(value.len())?)
}
