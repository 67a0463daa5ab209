//! What watching drift costs: a verdict added to a window, two windows merged, and a window judged.

use std::hint::black_box;

use anyhow::Context as _;
use criterion::{BatchSize, Criterion, Throughput};
use drift::{Features, Monitor, Reference, Window, assembly::Closed, reference::WHOLE};
use models::Repository;
use processor::{Scorer, Settings};

#[path = "../src/texts.rs"]
mod texts;

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");
/// Reviews of one window.
const REVIEWS: usize = 1_000;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let bundle = Repository::directory(MODELS).open(&"sentiment@1".parse()?)?;
    let settings = Settings { pin_threads: false, ..Settings::default() };
    let mut scorer = Scorer::start(processor::load(&bundle, &settings)?, &settings)?;
    let texts = texts::read(None, REVIEWS)?;
    let verdicts = scorer.score_texts(texts.iter().map(String::as_str));
    let features: Vec<Features> = verdicts.iter().flatten().map(sink::features::features).collect();
    let first = features.first().context("no review was judged")?;
    let reference = Reference::from_json(bundle.reference_json(), WHOLE)?;
    let empty = Window::empty(sink::features::model(&bundle.model_ref()), &reference)?;
    let mut full = empty.clone();
    features.iter().try_for_each(|features| full.record(&reference, 0, features))?;

    let mut group = criterion.benchmark_group("drift");
    group.throughput(Throughput::Elements(1));
    group.bench_function("a verdict added", |bencher| {
        let mut window = empty.clone();
        bencher.iter(|| window.record(&reference, 0, black_box(first)));
    });
    group.bench_function("two windows merged", |bencher| {
        bencher.iter(|| full.merge(black_box(&full)));
    });
    let (closed, settings) = (Closed { index: 0, window: full }, drift::Settings::default());
    group.bench_function("a window judged", |bencher| {
        let judge = |mut monitor: Monitor| monitor.judge(black_box(&closed), &reference, &settings);
        bencher.iter_batched(Monitor::default, judge, BatchSize::SmallInput);
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}
