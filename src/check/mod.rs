//! `verdict check`: reads the topics and the store, and states what was lost, duplicated, torn, out of order or of a wrong version.
//!
//! It may run while the line does: what it compares is bounded by offsets that it asks for first (`standing`).
//!
//! # Layout
//! - [`standing`]: how far topics and groups have come
//! - [`tally`]: outcomes against reviews, [`rows`]: rows against verdicts; both pure
//! - [`findings`], [`report`]: what was found, and how it is said

mod args;
mod bits;
mod findings;
mod report;
mod rows;
mod standing;
mod tally;

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, ensure};
use broker::{
    Delivery, TailFrom,
    kafka::{KafkaScan, KafkaSettings},
};
use indicatif::{ProgressBar, ProgressStyle};
use schemas::topics;
use store::StoreSettings;
use tokio::runtime::Runtime;

pub(crate) use args::CheckArgs;

use crate::settings::Settings;
use report::Report;
use rows::Rows;
use standing::Standing;
use tally::Tally;

/// Records, and rows, that are taken at a time.
const RECORDS_MAX: usize = 1_000;
const ROWS_MAX: usize = 1_000;

/// Checks, and prints what it found. The exit status is 1 where there is a fault.
pub(crate) fn run(args: CheckArgs, runtime: &Runtime) -> anyhow::Result<ExitCode> {
    let begun = chassis::clock::monotonic();
    let flags =
        args.kafka.iter().map(|kafka| ("kafka.bootstrap_servers".to_owned(), kafka.clone()));
    let settings = Settings::load(&args.settings, flags.collect())?;
    let _telemetry = chassis::telemetry::start("verdict", &settings.telemetry)?;
    let acknowledged = match &args.acknowledged {
        Some(file) => ids(file).with_context(|| format!("reading {}", file.display()))?,
        None => HashSet::new(),
    };
    let sink_group = args.sink_group.as_ref().unwrap_or(&settings.sink.group);
    let standing = Standing::ask(&settings.kafka, &args.group, sink_group)?;
    let bar = bar(standing.offsets());
    let mut tally =
        Tally::new(topics::REVIEWS, standing.reviews.clone(), args.models, acknowledged);
    let mut rows = (!args.no_store).then(Rows::default);
    read(&settings.kafka, &standing, &bar, &mut tally, rows.as_mut())?;
    tally.finish(standing.deleted());
    if let Some(rows) = &mut rows {
        let store = settings.store();
        bar.set_message("the store");
        let comparing = compare(&store, standing.verdicts_are_whole(), rows, &mut tally);
        runtime
            .block_on(comparing)
            .with_context(|| format!("reading {} (--no-store leaves it alone)", store.url()))?;
    }
    bar.finish_and_clear();

    let report = Report {
        counts: tally.counts,
        rows: rows.map(|rows| rows.count),
        open: standing.open(),
        findings: tally.findings,
        took: begun.elapsed(),
    };
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", report.json())?;
    } else {
        report.write(&mut out)?;
    }
    let is_clean = report.findings.total() == 0;
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads outcomes, then reviews, up to the ends that the standing found.
fn read(
    kafka: &KafkaSettings,
    standing: &Standing,
    bar: &ProgressBar,
    tally: &mut Tally,
    mut rows: Option<&mut Rows>,
) -> anyhow::Result<()> {
    each(kafka, topics::VERDICTS, bar, |delivery| {
        if !standing.verdicts.holds(delivery.partition, delivery.offset) {
            return;
        }
        let verdict = tally.verdict(delivery);
        if let (Some(rows), Some(verdict)) = (rows.as_deref_mut(), verdict) {
            let is_sunk = standing.is_sunk(delivery.partition, delivery.offset);
            rows.verdict(delivery, verdict, is_sunk);
        }
    })?;
    each(kafka, topics::DEAD_LETTERS, bar, |delivery| {
        if standing.dead_letters.holds(delivery.partition, delivery.offset) {
            tally.dead_letter(delivery);
        }
    })?;
    each(kafka, topics::REVIEWS, bar, |delivery| {
        let bounds = standing.reviews.get(&delivery.partition);
        if bounds.is_some_and(|bounds| delivery.offset < bounds.kept.end) {
            tally.review(delivery);
        }
    })
}

/// Reads all rows.
async fn compare(
    settings: &StoreSettings,
    topic_is_whole: bool,
    rows: &mut Rows,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    if let Some(path) = settings.url().strip_prefix("sqlite:") {
        // It would be made, and found to be empty.
        ensure!(
            Path::new(path).exists(),
            "there is no such file: name the store with --set store.url="
        );
    }
    let store = store::connect(settings).await?;
    let mut from = None;
    loop {
        let page = store.scan(from.as_ref(), ROWS_MAX).await?;
        for row in &page.items {
            rows.row(row, tally, topic_is_whole);
        }
        from = page.next;
        if from.is_none() {
            rows.finish(topics::VERDICTS, tally);
            return Ok(());
        }
    }
}

/// Calls `note` with each record of `topic`.
fn each(
    kafka: &KafkaSettings,
    topic: &str,
    bar: &ProgressBar,
    mut note: impl FnMut(&Delivery),
) -> anyhow::Result<()> {
    bar.set_message(topic.to_owned());
    let reading = || format!("reading {topic} at {}", kafka.bootstrap_servers);
    let Some(mut scan) =
        KafkaScan::open(kafka, topic, TailFrom::Beginning).with_context(reading)?
    else {
        return Ok(());
    };
    loop {
        let deliveries = scan.read(RECORDS_MAX).with_context(reading)?;
        if deliveries.is_empty() {
            return Ok(());
        }
        deliveries.iter().for_each(&mut note);
        bar.inc(u64::try_from(deliveries.len()).unwrap_or(u64::MAX));
    }
}

/// The ids in `file`, one a line.
fn ids(file: &Path) -> anyhow::Result<HashSet<String>> {
    let lines = BufReader::new(File::open(file)?).lines();
    let mut ids = HashSet::new();
    for line in lines {
        let line = line?;
        let id = line.trim();
        if !id.is_empty() {
            ids.insert(id.to_owned());
        }
    }
    Ok(ids)
}

fn bar(offsets: u64) -> ProgressBar {
    let template = "{wide_bar} {percent:>3} %  {msg}  {per_sec}  {eta} left";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(offsets)
        .with_style(style.unwrap_or_else(|_error| ProgressStyle::default_bar()))
}
