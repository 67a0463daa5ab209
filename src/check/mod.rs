//! `verdict check`: reads the topics and the store, and states what was lost, duplicated, torn, out of order or of a wrong version.
//!
//! It may run while the line does: what it compares is bounded by offsets that it asks for first (`standing`).
//!
//! # Layout
//! - [`standing`]: how far topics and groups have come
//! - [`tally`]: outcomes against reviews, [`rows`]: rows against verdicts, but for those that the store refused; both pure
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
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use broker::{
    Delivery, TailFrom,
    kafka::{KafkaScan, KafkaSettings},
};
use indicatif::{ProgressBar, ProgressStyle};
use schemas::topics;
use store::{StoreSettings, VerdictStore};
use tokio::runtime::Runtime;

pub(crate) use args::CheckArgs;

use crate::settings::Settings;
use report::Report;
use rows::Rows;
use standing::Standing;
use tally::Tally;

/// Records, rows, and refused records, that are taken at a time. A refused one is likely to be large.
const RECORDS_MAX: usize = 1_000;
const ROWS_MAX: usize = 1_000;
const REFUSED_MAX: usize = 100;

/// The store, and what is compared with it.
struct Stored {
    store: Arc<dyn VerdictStore>,
    rows: Rows,
    /// For messages.
    reading: String,
}

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
    // Asked after the sinks' offsets, so that whatever was refused below these is there.
    let open = || Stored::open(&settings.store(), runtime);
    let mut stored = (!args.no_store).then(open).transpose()?;
    let bar = bar(standing.offsets());
    let mut tally =
        Tally::new(topics::REVIEWS, standing.reviews.clone(), args.models, acknowledged);
    let rows = stored.as_mut().map(|stored| &mut stored.rows);
    read(&settings.kafka, &standing, &bar, &mut tally, rows)?;
    tally.finish(standing.deleted());
    if let Some(stored) = &mut stored {
        bar.set_message("the store");
        stored.compare(standing.verdicts_are_whole(), &mut tally, runtime)?;
    }
    bar.finish_and_clear();

    let report = Report {
        counts: tally.counts,
        rows: stored.map(|stored| stored.rows.counts),
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

impl Stored {
    /// Connects, and notes what the store has refused.
    fn open(settings: &StoreSettings, runtime: &Runtime) -> anyhow::Result<Self> {
        let reading = format!("reading {} (--no-store leaves it alone)", settings.url());
        let opening = async {
            let store = connect(settings).await?;
            let mut rows = Rows::default();
            let mut from = None;
            loop {
                let page = store.scan_refused(from.as_ref(), REFUSED_MAX).await?;
                page.items.iter().for_each(|record| rows.refused(record));
                from = page.next;
                if from.is_none() {
                    return anyhow::Ok((store, rows));
                }
            }
        };
        let (store, rows) = runtime.block_on(opening).with_context(|| reading.clone())?;
        Ok(Self { store, rows, reading })
    }

    /// Reads all rows.
    fn compare(
        &mut self,
        topic_is_whole: bool,
        tally: &mut Tally,
        runtime: &Runtime,
    ) -> anyhow::Result<()> {
        let Self { store, rows, reading } = self;
        let mut from = None;
        loop {
            let page = runtime.block_on(store.scan(from.as_ref(), ROWS_MAX));
            let page = page.with_context(|| reading.clone())?;
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
}

async fn connect(settings: &StoreSettings) -> anyhow::Result<Arc<dyn VerdictStore>> {
    if let Some(path) = settings.url().strip_prefix("sqlite:") {
        // It would be made, and found to be empty.
        ensure!(
            Path::new(path).exists(),
            "there is no such file: name the store with --set store.url="
        );
    }
    Ok(store::connect(settings).await?)
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
