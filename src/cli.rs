//! The command line as a person reads it: every flag's help is its manual.

use std::{net::SocketAddr, path::PathBuf};

pub(crate) use chassis::settings::SettingsArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    check::CheckArgs, dlq::DlqArgs, drift::DriftArgs, model::ModelArgs, replay::ReplayArgs,
    store::StoreArgs, topics::TopicsArgs,
};

const EXAMPLES: &str = "\
Examples:
  verdict                                  the whole line in this process, with a page
  verdict score reviews.csv > out.ndjson   a file, without a broker
  echo 'Lovely.' | verdict score --model sentiment@2
  verdict load --rate 50 --duration 30s    load on a running line, latencies at the end
  verdict tap --from beginning             verdicts as they come
  verdict check                            that every review has one verdict
  verdict dlq list --since 1d              what was refused, and why
  verdict drift report --from 2026-01-01T00:00:00Z --to 2026-01-08T00:00:00Z --html drift.html
  verdict config print > verdict.toml      every setting with its value

Settings come from a file (--config, else verdict.toml in this folder), then the environment (VERDICT_SINK__ROWS_MAX
is rows_max in [sink]), then flags; the later wins. `verdict config check` says what is
wrong with them, and where.";

/// Turns reviews into verdicts: an AI system around a model.
///
/// Without a subcommand it runs the whole line in one process: HTTP in, Kafka between, the model, a store.
#[derive(Debug, Parser)]
#[command(name = "verdict", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// `up` is what runs when no subcommand is given.
    #[command(flatten)]
    pub(crate) up: UpArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole line in this process (the default)
    Up(UpArgs),
    /// Score a file or standard input, without a broker; one NDJSON verdict a line, in input order
    Score(ScoreArgs),
    /// Put an open-loop load on a running line and print its latencies
    Load(LoadArgs),
    /// Print verdicts as they come
    Tap(TapArgs),
    /// Check that every review has one outcome: lost, duplicated, torn, out of order, wrong version
    Check(CheckArgs),
    /// Score history again, into a topic of its own or into the store
    Replay(ReplayArgs),
    /// Make the topics of the line on a Kafka that lacks them; may be repeated
    Topics(TopicsArgs),
    /// Ask a line that runs whether it is ready; exit status 1 where it is not
    Ready(ReadyArgs),
    /// Make the tables of the store, count its rows
    Store(StoreArgs),
    /// Make the reference of a bundle: what drift is measured against
    Model(ModelArgs),
    /// Work with dead letters: the records that the line refused
    Dlq(DlqArgs),
    /// Compare what came in with the held-out data of the model
    Drift(DriftArgs),
    /// Show or check the settings
    Config(ConfigArgs),
    /// Print a completion script for a shell: source <(verdict completions bash)
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder
    Man {
        /// The folder; made where absent
        #[arg(value_name = "DIR")]
        into: PathBuf,
    },
}

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct UpArgs {
    /// Folder for the log and the store; found again at the next start [default: verdict-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Where HTTP listens [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,

    /// Where the embedded broker listens, loopback only [default: 127.0.0.1:9092]
    #[arg(long, value_name = "ADDR", conflicts_with = "kafka")]
    pub(crate) kafka_listen: Option<SocketAddr>,

    /// Use this Kafka in place of the embedded broker
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) kafka: Option<String>,

    /// The model to score with; sentiment@1 unless the settings name another
    #[arg(long, value_name = "NAME@VERSION")]
    pub(crate) model: Option<String>,

    /// Folder with the model bundles [default: the models folder here or beside the program]
    #[arg(long, value_name = "DIR")]
    pub(crate) models: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ReadyArgs {
    /// Where it listens [default: `ingest.listen` of the settings]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,

    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ScoreArgs {
    /// Text lines, NDJSON, CSV or TSV, also gzipped; standard input where absent or `-`
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// The model to score with; sentiment@1 unless the settings name another
    #[arg(long, value_name = "NAME@VERSION")]
    pub(crate) model: Option<String>,

    /// Field or column with the text [default: `review`, else `text`]
    #[arg(long, value_name = "FIELD")]
    pub(crate) text_field: Option<String>,

    /// Field or column with the true label (its name or its index): prints the accuracy at the end
    #[arg(long, value_name = "FIELD")]
    pub(crate) label_field: Option<String>,

    /// What the input is; `auto` goes by the file's name, else by its first line
    #[arg(long, value_enum, default_value_t = InputFormat::Auto)]
    pub(crate) format: InputFormat,

    /// Folder with the model bundles [default: the models folder here or beside the program]
    #[arg(long, value_name = "DIR")]
    pub(crate) models: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

/// How the input of `score` and `load` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// By the file's name, else by its first line
    Auto,
    /// One review a line
    Text,
    /// One JSON object a line
    Ndjson,
    /// Comma-separated with a header line
    Csv,
    /// Tab-separated with a header line
    Tsv,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArgs {
    /// The line under load
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,

    /// Requests a second, sent on schedule whether or not answers come (open loop)
    #[arg(long, value_name = "PER_SECOND", default_value_t = 50.0)]
    pub(crate) rate: f64,

    /// How long to send: 30s, 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) duration: std::time::Duration,

    /// Reviews to send, over and over [default: a dozen of our own]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Field or column of the file with the text [default: `review`, else `text`]
    #[arg(long, value_name = "FIELD")]
    pub(crate) text_field: Option<String>,

    /// Do not wait for verdicts: ask for 202 at once
    #[arg(long)]
    pub(crate) respond_async: bool,

    /// Most requests awaiting an answer; past it a request is counted as missed, not sent late
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) in_flight_max: usize,

    /// Print the summary as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct TapArgs {
    /// Kafka to read from [default: `kafka.bootstrap_servers` of the settings]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) kafka: Option<String>,

    /// Where to begin: `end`, `beginning` or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "WHERE", default_value = "end")]
    pub(crate) from: String,

    /// Stop after this many verdicts
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,

    /// Print whole verdicts, one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every setting with the value it has, secrets masked
    Print(SettingsArgs),
    /// Say whether the settings are right, and if not, which and where
    Check(SettingsArgs),
}

/// `30s`, `2m`, `1h`, `7d`, `250ms`.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let split = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_error| format!("`{number}` is not a number"))?;
    let seconds = match unit {
        "ms" => number / 1_000.0,
        "s" | "" => number,
        "m" => number * 60.0,
        "h" => number * 3_600.0,
        "d" => number * 86_400.0,
        _ => return Err(format!("unknown unit `{unit}`: use ms, s, m, h or d")),
    };
    std::time::Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_without_a_subcommand_belong_to_up() {
        let cli = Cli::try_parse_from(["verdict", "--data", "d", "--http", "127.0.0.1:1"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.up.data, Some(PathBuf::from("d")));
    }

    #[test]
    fn an_outside_kafka_excludes_the_embedded_one() {
        let both = ["verdict", "up", "--kafka", "k:9092", "--kafka-listen", "127.0.0.1:1"];
        assert!(Cli::try_parse_from(both).is_err());
    }

    #[test]
    fn durations_have_units() {
        use std::time::Duration;
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert!(duration("2 weeks").is_err());
        assert!(duration("-1s").is_err());
    }
}
