//! Flags of `verdict replay`.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use schemas::topics;

use crate::cli::SettingsArgs;

#[derive(Args, Clone, Debug)]
pub(crate) struct ReplayArgs {
    /// Reviews written at this time or later: 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Timestamp,

    /// Reviews written before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Timestamp,

    /// The model to score with
    #[arg(long, value_name = "NAME@VERSION")]
    pub(crate) model: String,

    /// The topic for the verdicts; made where absent, and kept for ever
    #[arg(long, value_name = "TOPIC", default_value = topics::REPLAY_VERDICTS)]
    pub(crate) to_topic: String,

    /// Write rows in place of records: for reviews that have none, or one of an earlier replay
    #[arg(long, conflicts_with = "to_topic")]
    pub(crate) to_store: bool,

    /// Also take the place of rows that the line wrote: of two rows the one scored later stays
    #[arg(long, requires = "to_store")]
    pub(crate) overwrite: bool,

    /// Names the replay: one of the same name goes on where that stopped [default: of model, times and destination]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Kafka to read from and write to [default: `kafka.bootstrap_servers` of the settings]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) kafka: Option<String>,

    /// Folder with the model bundles [default: the models folder here or beside the program]
    #[arg(long, value_name = "DIR")]
    pub(crate) models: Option<PathBuf>,

    /// Print the summary as one JSON object
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}
