//! How many rows a second a store makes durable: `cargo run --release -p store --example upsert_rate -- [batches] [rows] [URL]`.
//! Without a URL it is a file in the working directory.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    time::Instant,
};

use schemas::{ModelRef, ReviewId, Verdict};
use store::{Row, StoreSettings};

const REVIEW: &str = "The room was clean and affordable, and the staff went out of their way to help us with our bags.";

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "it measures time")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |index: usize, default: u32| {
        arguments.get(index).map_or(Ok(default), |argument| argument.parse::<u32>())
    };
    let (batches, rows_per_batch) = (number(0, 200)?, number(1, 1_000)?);
    // In the working directory: a temporary folder may be in memory, where a sync costs nothing.
    let folder = tempfile::tempdir_in(".")?;
    let file = format!("sqlite:{}", folder.path().join("verdicts.db").display());
    let settings = StoreSettings::at(arguments.get(2).unwrap_or(&file));
    store::migrate(&settings, None, false).await?;
    let store = store::connect(&settings).await?;

    let mut waits = Vec::new();
    let begun = Instant::now();
    for batch in 0..batches {
        let rows = (0..rows_per_batch).map(|index| row(&format!("{batch:08}-{index:08}")));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let called = Instant::now();
        store.upsert(&rows).await?;
        waits.push(called.elapsed());
    }
    let elapsed = begun.elapsed().as_secs_f64();
    waits.sort_unstable();
    let rows = f64::from(batches) * f64::from(rows_per_batch);
    let median = waits.get(waits.len() / 2).copied().unwrap_or_default();
    let longest = waits.last().copied().unwrap_or_default();
    writeln!(
        io::stdout(),
        "{rows} rows in batches of {rows_per_batch}: {:.0} rows/s; a batch: median {median:.1?}, longest {longest:.1?}",
        rows / elapsed
    )?;
    Ok(())
}

fn row(id: &str) -> Result<Row, schemas::review::InvalidId> {
    let now = jiff::Timestamp::UNIX_EPOCH;
    let probabilities =
        BTreeMap::from([("negative".to_owned(), 0.1), ("positive".to_owned(), 0.9)]);
    Ok(Row::new(Verdict {
        schema_version: schemas::verdict::SCHEMA_VERSION,
        id: ReviewId::new(id)?,
        review: Some(REVIEW.to_owned()),
        review_sha256: "0f".repeat(32),
        label: "positive".to_owned(),
        confidence: 0.9,
        probabilities,
        model: ModelRef {
            name: "sentiment".to_owned(),
            version: "1".to_owned(),
            digest: format!("sha256:{}", "0f".repeat(32)),
        },
        tokens: 23,
        precision: None,
        truncated: false,
        drift: None,
        source: Some("web".to_owned()),
        language: Some("en".to_owned()),
        metadata: None,
        origin: None,
        occurred_at: now,
        received_at: now,
        scored_at: now,
        queue_ms: 1.0,
        inference_ms: 10.0,
        batch_size: 16,
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
    }))
}
