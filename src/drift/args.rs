//! Flags of `verdict drift`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::cli::{SettingsArgs, duration};

#[derive(Args, Debug)]
pub(crate) struct DriftArgs {
    #[command(subcommand)]
    pub(crate) command: DriftCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DriftCommand {
    /// Compare a period with the held-out data of its models, from the rows of the store
    Report(ReportArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ReportArgs {
    /// Reviews written, and labels given, at this time or later: 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Timestamp,

    /// And before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Timestamp,

    /// Only verdicts of this model [default: all, each on its own]
    #[arg(long, value_name = "NAME@VERSION")]
    pub(crate) model: Option<String>,

    /// Length of a window of event time: 10m, 1h, 1d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub(crate) window: Duration,

    /// The store to read, as in `store.url` [default: that of the settings]
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,

    /// Folder with the model bundles [default: the models folder here or beside the program]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) models: Option<PathBuf>,

    /// Write one HTML file that draws it all and needs nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}
