//! `verdict topics`: the topics that the line needs, made where Kafka lacks them; `verdict up` does it by itself.

use std::{io::Write as _, time::Duration};

use broker::kafka::{TopicSpec, ensure_topics};
use clap::Args;
use schemas::topics;

use crate::{cli::SettingsArgs, settings::Settings};

/// Longest wait for the broker to answer and to make the topics.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
pub(crate) struct TopicsArgs {
    /// Kafka to make them on [default: `kafka.bootstrap_servers` of the settings]
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,

    /// Partitions of each topic that is made, but for those of the drift line, which have one [default: `up.partitions` of
    /// the settings]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    partitions: Option<u16>,

    /// Print the topics with what is set of each, and make none
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs the subcommand.
pub(crate) async fn run(args: &TopicsArgs) -> anyhow::Result<()> {
    let kafka = args.kafka.clone().map(|servers| ("kafka.bootstrap_servers".to_owned(), servers));
    let settings = Settings::load(&args.settings, kafka.into_iter().collect())?;
    let specs = specs(args.partitions.unwrap_or(settings.up.partitions));
    if !args.dry_run {
        ensure_topics(&settings.kafka, &specs, WAIT_MAX).await?;
    }
    let mut out = std::io::stdout().lock();
    for spec in specs {
        write!(out, "{}", spec.name)?;
        if args.dry_run {
            write!(out, " partitions={}", spec.partitions)?;
            for (key, value) in &spec.config {
                write!(out, " {key}={value}")?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The line's topics, kept by size and not by age: a record's time is that of its review, which may be years old, and Kafka's
/// default of seven days would delete such a review before it is scored.
pub(crate) fn specs(partitions: u16) -> Vec<TopicSpec> {
    let kept = [("retention.ms", "-1"), ("retention.bytes", "1073741824")];
    let spec = |name, partitions, config: &[(&str, &str)]| {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let config = config.iter().map(owned).collect();
        TopicSpec { config, ..TopicSpec::new(name, partitions) }
    };
    let line = topics::ALL.into_iter().map(|name| spec(name, partitions, &kept));
    let drift = topics::DRIFT.into_iter().map(|name| {
        let is_compacted = name == topics::DRIFT_STATES;
        // One partition, so that one aggregator sees all windows.
        spec(name, 1, if is_compacted { &COMPACTED } else { &kept })
    });
    line.chain(drift).collect()
}

/// The states' topic: the last record of each key counts. Short segments, since only closed ones are compacted and all is read at
/// a start; and a size, since the embedded broker does not compact.
const COMPACTED: [(&str, &str); 4] = [
    ("cleanup.policy", "compact,delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "67108864"),
    ("segment.bytes", "16777216"),
];
