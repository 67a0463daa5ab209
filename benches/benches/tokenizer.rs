//! From text to token ids: plain texts by their own way, others by the library. And which language a text is in: English by its small
//! words, others by the library.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use models::Repository;
use processor::{features::language, tokenizer::Tokenizer};
use schemas::ReviewText;

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");
/// The same sentence, once in ASCII alone and once with marks that are not, and a page of the plain one.
const PLAIN: &str = "The cafe was charming in an old-fashioned way, and the price was fair; I would come back tomorrow.";
const OTHER: &str = "The café was charming in an old‑fashioned way, and the price was fair; I would come back tomorrow.";
const PAGE: usize = 20;
const GERMAN: &str = "Das Zimmer war sauber und der Preis in Ordnung, aber das Personal hatte es eilig und war wenig freundlich.";

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let bundle = Repository::directory(MODELS).open(&"sentiment@1".parse()?)?;
    let tokenizer = Tokenizer::try_from(&bundle)?;
    let mut group = criterion.benchmark_group("tokenizer");
    for (name, text) in [
        ("plain sentence", PLAIN.to_owned()),
        ("sentence with accents", OTHER.to_owned()),
        ("plain page", [PLAIN; PAGE].join(" ")),
        ("page with accents", [OTHER; PAGE].join(" ")),
    ] {
        let text = ReviewText::new(&text)?;
        group.throughput(Throughput::Bytes(u64::try_from(text.as_str().len())?));
        group.bench_function(name, |bencher| bencher.iter(|| tokenizer.encode(black_box(&text))));
    }
    group.finish();
    let mut group = criterion.benchmark_group("language");
    for (name, text) in [("english sentence", PLAIN), ("german sentence", GERMAN)] {
        group.throughput(Throughput::Bytes(u64::try_from(text.len())?));
        group.bench_function(name, |bencher| bencher.iter(|| language(black_box(text))));
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
