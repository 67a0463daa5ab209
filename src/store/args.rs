//! The flags of `verdict store`.

use clap::{Args, Subcommand};
use store::Replication;

use crate::cli::SettingsArgs;

#[derive(Args, Debug)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    pub(crate) command: StoreCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Make or upgrade the tables on a CQL server; may be repeated, and run before the services are upgraded
    Migrate(MigrateArgs),
    /// Print how many rows there are, and one number for all of them: equal for equal tables
    Digest(ReadArgs),
    /// Say whether the store is ready, and which records it was not given as rows
    Status(ReadArgs),
}

#[derive(Args, Debug)]
pub(crate) struct MigrateArgs {
    /// Copies of each row, for a keyspace that is not there yet: 3, or DATACENTER:COPIES[,...]
    /// [default: 3, or as many as there are nodes]
    #[arg(long, value_name = "COPIES")]
    pub(crate) replication: Option<Replication>,

    /// Print the statements and run none
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ReadArgs {
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}
