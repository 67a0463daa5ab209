//! One batch through the network: the fixture's, which is next to nothing, and that of the model that is shipped.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use models::Repository;
use processor::{Settings, classifier::Shape};

/// Folders of bundles, and the bundle.
const MODELS: [(&str, &str); 2] = [
    (concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/models"), "tiny@1"),
    (concat!(env!("CARGO_MANIFEST_DIR"), "/../models"), "sentiment@1"),
];
/// The batch, or what of it the network has a plan for.
const WANTED: Shape = Shape { tokens: 32, rows: 8 };

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("classifier");
    for (folder, name) in MODELS {
        let bundle = Repository::directory(folder).open(&name.parse()?)?;
        let pipeline = processor::load(&bundle, &Settings::default())?;
        let shape = pipeline.classifier.shapes().shape_for(WANTED.tokens, WANTED.rows);
        // Ordinary words of either vocabulary; which ones makes no difference to a product.
        let known = u32::try_from(pipeline.tokenizer.vocabulary_size())?;
        let ids: Vec<u32> = (0..).map(|id| id * 7_919 % known).take(shape.tokens).collect();
        let rows = vec![ids.as_slice(); shape.rows];
        pipeline.classifier.classify(shape, &rows)?;
        group.throughput(Throughput::Elements(u64::try_from(shape.tokens_total())?));
        group.bench_function(format!("{name} {shape} {}", pipeline.precision), |bencher| {
            bencher.iter(|| pipeline.classifier.classify(shape, black_box(&rows)));
        });
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
