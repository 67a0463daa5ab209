//! `verdict check`: reads the topics, and states what was lost, duplicated, torn, out of order or of a wrong version.
//!
//! It may run while the line does: what it compares is bounded by offsets that it asks for first (`standing`).
//!
//! # Layout
//! - [`standing`]: how far topics and groups have come
//! - [`tally`]: outcomes against reviews: pure
//! - [`findings`], [`report`]: what was found, and how it is said

mod args;
mod bits;
mod findings;
mod report;
mod standing;
mod tally;

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;
use broker::{
    Delivery, TailFrom,
    kafka::{KafkaScan, KafkaSettings},
};
use indicatif::{ProgressBar, ProgressStyle};
use schemas::topics;

pub(crate) use args::CheckArgs;

use crate::settings::Settings;
use report::Report;
use standing::Standing;
use tally::Tally;

/// Records that are taken at a time.
const RECORDS_MAX: usize = 1_000;

/// Checks, and prints what it found. The exit status is 1 where there is a fault.
pub(crate) fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let begun = chassis::clock::monotonic();
    let flags =
        args.kafka.iter().map(|kafka| ("kafka.bootstrap_servers".to_owned(), kafka.clone()));
    let settings = Settings::load(&args.settings, flags.collect())?;
    let _telemetry = chassis::telemetry::start("verdict", &settings.telemetry)?;
    let acknowledged = match &args.acknowledged {
        Some(file) => ids(file).with_context(|| format!("reading {}", file.display()))?,
        None => HashSet::new(),
    };
    let standing = Standing::ask(&settings.kafka, &args.group)?;
    let bar = bar(standing.offsets());
    let mut tally =
        Tally::new(topics::REVIEWS, standing.reviews.clone(), args.models, acknowledged);
    read(&settings.kafka, &standing, &bar, &mut tally)?;
    tally.finish(standing.deleted());
    bar.finish_and_clear();

    let report = Report {
        counts: tally.counts,
        rows: None,
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
) -> anyhow::Result<()> {
    each(kafka, topics::VERDICTS, bar, |delivery| {
        if standing.verdicts.holds(delivery.partition, delivery.offset) {
            tally.verdict(delivery);
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
