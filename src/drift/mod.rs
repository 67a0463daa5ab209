//! `verdict drift report`: whether a period looked like held-out data, computed anew from the rows of the store.
//!
//! With the code that decides while the line runs, so that both say the same of the same verdicts. Memory is bounded: windows, and
//! the few texts that moved each signal most; rows are read twice, page by page.
//!
//! # Layout
//! - [`args`]: the flags; [`gather`]: rows into windows; [`movers`]: the texts; [`judged`]: what is made of the windows
//! - [`table`]: for the terminal; [`page`], [`draw`]: one HTML file

mod args;
mod draw;
mod gather;
mod judged;
mod movers;
mod page;
mod table;
#[cfg(test)]
mod tests;

use std::{fs, io::Write as _, num::NonZeroU32};

use anyhow::{Context as _, bail};
use models::{ModelName, Repository};

use self::{
    args::{DriftCommand, ReportArgs},
    gather::{Gathered, Period},
    judged::Report,
};
use crate::settings::Settings;

pub(crate) use self::args::DriftArgs;

/// Most windows of one period.
const WINDOWS_MAX: i64 = 5_000;

/// Runs the subcommand.
pub(crate) async fn run(args: DriftArgs) -> anyhow::Result<()> {
    match args.command {
        DriftCommand::Report(args) => report(&args).await,
    }
}

async fn report(args: &ReportArgs) -> anyhow::Result<()> {
    let mut flags = Vec::new();
    flags.extend(args.store.clone().map(|url| ("store.url".to_owned(), url)));
    let models = args.models.as_ref().map(|path| path.display().to_string());
    flags.extend(models.map(|models| ("drift.models".to_owned(), models)));
    let settings = Settings::load(&args.settings, flags)?;
    let period = period(args)?;
    let model: Option<ModelName> =
        args.model.as_deref().map(str::parse).transpose().context("in --model")?;
    let drift = settings.drift()?;
    let store = store::connect(&settings.store()).await?;
    let question = gather::Question {
        period,
        model,
        late_after: settings.feedback.late_after,
        store: &*store,
        repository: Repository::directory(drift.repository()),
        profile: &drift.profile,
    };
    let gathered: Vec<Gathered> = gather::windows(&question).await?;
    let mut reports: Vec<Report> = gathered.into_iter().filter_map(Report::of).collect();
    gather::movers(&question, &mut reports).await?;

    let mut out = std::io::stdout().lock();
    for report in &reports {
        table::write(&mut out, &period, report)?;
    }
    if let Some(path) = &args.html {
        fs::write(path, page::render(&period, &reports))
            .with_context(|| format!("writing {}", path.display()))?;
        writeln!(out, "\nThe same drawn: {}", path.display())?;
    }
    Ok(())
}

fn period(args: &ReportArgs) -> anyhow::Result<Period> {
    let (from_ms, to_ms) = (args.from.as_millisecond(), args.to.as_millisecond());
    if to_ms <= from_ms {
        bail!("--from {} is not before --to {}", args.from, args.to);
    }
    let seconds = u32::try_from(args.window.as_secs()).ok().and_then(NonZeroU32::new);
    let Some(window_s) = seconds else {
        bail!("--window is a second at least, and 136 years at most");
    };
    let windows = (to_ms - from_ms) / (1_000 * i64::from(window_s.get()));
    if WINDOWS_MAX < windows {
        bail!("{windows} windows are more than {WINDOWS_MAX}: choose a longer --window");
    }
    Ok(Period { from: args.from, to: args.to, window_s })
}
