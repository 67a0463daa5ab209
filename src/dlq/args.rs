//! Flags of `verdict dlq`.

use std::{num::NonZeroU32, str::FromStr, time::Duration};

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use schemas::{Stage, redrive::LetterPlace};

use crate::cli::{SettingsArgs, duration};

#[derive(Args, Debug)]
pub(crate) struct DlqArgs {
    #[command(subcommand)]
    pub(crate) command: DlqCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// Count the dead letters by reason, and print the latest
    List(ListArgs),
    /// Print dead letters whole: reason, headers, value
    Show(ShowArgs),
    /// Send the records of dead letters to be scored again; without --execute it only says which
    Redrive(RedriveArgs),
    /// Delete old dead letters for good; without --execute it only says how many
    Purge(PurgeArgs),
}

/// Which dead letters are meant; a letter has to meet every kind of condition that is given.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct FilterArgs {
    /// Kind of error, such as `InvalidText`; one of several where repeated
    #[arg(long, value_name = "CLASS", help_heading = "Filters")]
    pub(crate) class: Vec<String>,

    /// Where it was refused: decode, validate, tokenize or infer; one of several where repeated
    #[arg(long, value_name = "STAGE", help_heading = "Filters", value_parser = stage)]
    pub(crate) stage: Vec<Stage>,

    /// Refused at this time or later: 2026-01-31T12:00:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME", help_heading = "Filters")]
    pub(crate) since: Option<Moment>,

    /// Refused before this time: 2026-01-31T12:00:00Z, or 30d for thirty days ago
    #[arg(long, value_name = "TIME", help_heading = "Filters")]
    pub(crate) until: Option<Moment>,

    /// The review's `source`, where its value can be read; one of several where repeated
    #[arg(long, value_name = "SOURCE", help_heading = "Filters")]
    pub(crate) source: Vec<String>,

    /// Tried at most this often
    #[arg(long, value_name = "N", help_heading = "Filters")]
    pub(crate) attempts_max: Option<u32>,

    /// The review's id; one of several where repeated
    #[arg(long, value_name = "ID", help_heading = "Filters")]
    pub(crate) id: Vec<String>,

    /// Where the letter lies in the dead letters' topic; one of several where repeated
    #[arg(long, value_name = "PARTITION:OFFSET", help_heading = "Filters")]
    pub(crate) at: Vec<LetterPlace>,

    /// Those that were sent again already, too
    #[arg(long, help_heading = "Filters")]
    pub(crate) all: bool,
}

/// Which Kafka holds them.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct KafkaArgs {
    /// Kafka to work on [default: `kafka.bootstrap_servers` of the settings]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) kafka: Option<String>,

    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// Print this many of the latest
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "json")]
    pub(crate) limit: usize,

    /// Print every letter as one line of JSON, and no summary
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// The letters to show, as --at
    #[arg(value_name = "PARTITION:OFFSET")]
    pub(crate) letters: Vec<LetterPlace>,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// Stop after this many
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) limit: usize,

    /// Print values whole, however long
    #[arg(long)]
    pub(crate) full: bool,

    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RedriveArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// Send them; without it nothing is written
    #[arg(long)]
    pub(crate) execute: bool,

    /// Also those that the same line would refuse again (dlq.retryable is false): for after the line was mended
    #[arg(long)]
    pub(crate) force: bool,

    /// Leave those that were tried this often
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) attempts_limit: u32,

    /// Send at most this many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// Send at most this many a second
    #[arg(long, value_name = "PER_SECOND")]
    pub(crate) rate: Option<NonZeroU32>,

    /// Who sends them, for the note that is kept
    #[arg(long, value_name = "NAME", env = "USER")]
    pub(crate) by: Option<String>,

    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
}

#[derive(Args, Debug)]
pub(crate) struct PurgeArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// Delete them; without it nothing is deleted
    #[arg(long)]
    pub(crate) execute: bool,

    /// Delete also the letters that lie among them and were neither selected nor sent again
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
}

/// A point in time as an operator writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Timestamp),
    Ago(Duration),
}

impl Moment {
    /// When that is. What lies before all time is its beginning.
    pub(crate) fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => SignedDuration::try_from(ago)
                .ok()
                .and_then(|ago| now.checked_sub(ago).ok())
                .unwrap_or(Timestamp::MIN),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        duration(text).map(Self::Ago).map_err(|_error| {
            "write a time such as 2026-01-31T12:00:00Z, or how long ago: 90s, 30m, 2h, 7d"
                .to_owned()
        })
    }
}

fn stage(name: &str) -> Result<Stage, &'static str> {
    Stage::parse(&name.to_ascii_uppercase()).ok_or("use decode, validate, tokenize or infer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let check = |text: &str, expected: &str| {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.resolve(now).to_string(), expected, "{text}");
        };
        check("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z");
        check("2026-01-01T00:00:00+01:00", "2025-12-31T23:00:00Z");
        check("2h", "2026-01-31T10:00:00Z");
        check("7d", "2026-01-24T12:00:00Z");
        assert_eq!(Moment::Ago(Duration::MAX).resolve(now), Timestamp::MIN);
        assert!("yesterday".parse::<Moment>().unwrap_err().contains("7d"));
    }

    #[test]
    fn a_stage_is_written_in_either_case() {
        assert_eq!(stage("infer"), Ok(Stage::Infer));
        assert_eq!(stage("VALIDATE"), Ok(Stage::Validate));
        assert!(stage("scoring").is_err());
    }
}
