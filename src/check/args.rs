//! Flags of `verdict check`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::SettingsArgs;

#[derive(Args, Clone, Debug)]
pub(crate) struct CheckArgs {
    /// Kafka to read from [default: `kafka.bootstrap_servers` of the settings]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) kafka: Option<String>,

    /// Consumer group of the processors
    #[arg(long, value_name = "GROUP", default_value = "processor")]
    pub(crate) group: String,

    /// Consumer group of the sinks [default: `sink.group` of the settings]
    #[arg(long, value_name = "GROUP")]
    pub(crate) sink_group: Option<String>,

    /// A model that may have scored, as often as needed; any other is a fault [default: every model may]
    #[arg(long = "model", value_name = "NAME@VERSION")]
    pub(crate) models: Vec<models::ModelName>,

    /// Ids that HTTP acknowledged, one a line: each must be in the topic
    #[arg(long, value_name = "FILE")]
    pub(crate) acknowledged: Option<PathBuf>,

    /// Leave the store alone: compare the topics only
    #[arg(long)]
    pub(crate) no_store: bool,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}
