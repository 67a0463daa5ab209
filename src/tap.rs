//! `verdict tap`: verdicts as they come, decoded.

use std::{io::Write as _, time::Duration};

use anyhow::Context as _;
use broker::{Subscribe as _, SubscribeError, TailFrom, kafka::KafkaSubscribe};
use schemas::{Verdict, topics};

use crate::{cli::TapArgs, settings::Settings};

/// Most records taken at once, and the longest wait for the first of them.
const RECORDS_MAX: usize = 1_000;
const WAIT_MAX: Duration = Duration::from_millis(200);

/// Characters of the review's text that a line shows.
const TEXT_CHARACTERS_MAX: usize = 80;

/// Prints until it is interrupted, or until `--count` verdicts.
pub(crate) fn run(args: &TapArgs) -> anyhow::Result<()> {
    let flags =
        args.kafka.iter().map(|kafka| ("kafka.bootstrap_servers".to_owned(), kafka.clone()));
    let settings = Settings::load(&args.settings, flags.collect())?;
    let mut verdicts =
        KafkaSubscribe::tail(&settings.kafka, &[topics::VERDICTS], from(&args.from)?)
            .with_context(|| {
                format!("reading {} at {}", topics::VERDICTS, settings.kafka.bootstrap_servers)
            })?;
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut out = std::io::stdout().lock();
    while 0 < left {
        let deliveries = match verdicts.poll(RECORDS_MAX, WAIT_MAX) {
            Ok(deliveries) => deliveries,
            Err(SubscribeError::Unavailable(reason) | SubscribeError::Lost(reason)) => {
                tracing::warn!(reason, "waiting for the broker");
                continue;
            }
            Err(error @ SubscribeError::Fatal(_)) => return Err(error.into()),
        };
        for delivery in deliveries.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            left -= 1;
            match Verdict::from_record(&delivery.record) {
                Ok(verdict) if args.json => writeln!(out, "{}", serde_json::to_string(&verdict)?)?,
                Ok(verdict) => writeln!(out, "{}", line(&verdict))?,
                Err(error) => {
                    tracing::warn!(delivery.partition, delivery.offset, %error, "not a verdict");
                }
            }
        }
        out.flush()?;
    }
    Ok(())
}

fn from(text: &str) -> anyhow::Result<TailFrom> {
    match text {
        "end" => Ok(TailFrom::End),
        "beginning" => Ok(TailFrom::Beginning),
        time => {
            let time: jiff::Timestamp = time.parse().with_context(|| {
                format!("--from {time} is neither `end` nor `beginning` nor a time such as 2026-01-31T12:00:00Z")
            })?;
            Ok(TailFrom::TimestampMs(time.as_millisecond()))
        }
    }
}

fn line(verdict: &Verdict) -> String {
    let text = verdict.review.as_deref().unwrap_or("(text not kept)");
    let mut shown: String = text.chars().take(TEXT_CHARACTERS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!(
        "{}  {:<8} {:.3}  {}@{}  {}  {shown}",
        verdict.scored_at,
        verdict.label,
        verdict.confidence,
        verdict.model.name,
        verdict.model.version,
        verdict.id
    )
}
