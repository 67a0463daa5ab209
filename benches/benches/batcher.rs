//! Forming batches of a round of reviews as long as real ones.

use std::hint::black_box;

use anyhow::Context as _;
use criterion::{Criterion, Throughput};
use processor::{
    Settings,
    batcher::plan,
    classifier::{Shapes, engine::offered_int8},
};

/// Held-out reviews as the model sees them, of which the fourth column is their tokens: one file of sentences, one of whole reviews.
const HELD_OUT: [(&str, &str); 2] = [
    ("sentences", include_str!("../../crates/drift/tests/held_out/sst2.csv")),
    ("whole reviews", include_str!("../../crates/drift/tests/held_out/imdb.csv")),
];
/// Reviews of one round.
const ROUND: usize = 1_024;
/// Most tokens that the model reads.
const TOKENS_MAX: usize = 256;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("batcher");
    group.throughput(Throughput::Elements(u64::try_from(ROUND)?));
    let shapes = Shapes::new(offered_int8(), TOKENS_MAX);
    let limits = Settings::default().batch_limits();
    for (name, table) in HELD_OUT {
        let counts = table.lines().skip(1).map(tokens).collect::<anyhow::Result<Vec<_>>>()?;
        let counts: Vec<usize> = counts.iter().copied().cycle().take(ROUND).collect();
        group.bench_function(name, |bencher| {
            bencher.iter(|| plan(black_box(&counts), &shapes, limits));
        });
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

fn tokens(line: &str) -> anyhow::Result<usize> {
    let column = line.split(',').nth(3).with_context(|| format!("{line}: no fourth column"))?;
    column.parse().with_context(|| format!("{line}: the fourth column is no number"))
}
