//! Held-out texts, scored by the bundle that they are held out from.

use std::path::Path;

use anyhow::{Context as _, bail};
use drift::{Features, reference::profile::HeldOut};
use indicatif::ProgressBar;
use processor::Scorer;
use schemas::{IncomingReview, Verdict};

use crate::{
    cli::InputFormat,
    score::input::{self, Fields, Row},
};

/// The texts of `file` with the labels that people gave, in its order.
pub(super) fn read(file: &Path, labels: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let each = rows(file, true)?.map(|row| {
        let Row { line, text, label, .. } = row?;
        let text = text.map_err(anyhow::Error::msg).with_context(|| format!("line {line}"))?;
        let Some(label) = label else { bail!("line {line} has no `label`") };
        let by_index = label.parse::<usize>().ok().and_then(|index| labels.get(index));
        let truth = by_index.or_else(|| labels.iter().find(|name| **name == label));
        match truth {
            Some(truth) => Ok((text, truth.clone())),
            None => bail!("line {line} has label `{label}`: the model knows {}", labels.join(", ")),
        }
    });
    each.collect::<anyhow::Result<_>>().with_context(|| format!("reading {}", file.display()))
}

/// The texts of `file`, one at a time.
pub(super) fn texts(file: &Path) -> anyhow::Result<impl Iterator<Item = anyhow::Result<String>>> {
    Ok(rows(file, false)?.map(|row| {
        let Row { line, text, .. } = row?;
        text.map_err(anyhow::Error::msg).with_context(|| format!("line {line}"))
    }))
}

fn rows(file: &Path, labelled: bool) -> anyhow::Result<input::Rows> {
    let fields = Fields { text: None, label: labelled.then(|| "label".to_owned()) };
    input::open(Some(file), InputFormat::Auto, fields, &ProgressBar::hidden())
}

/// Scores them. A text that the line refuses never is in a window, so it is left out here, too; their number is the second.
pub(super) fn score(
    scorer: &mut Scorer,
    texts: Vec<(String, String)>,
    bar: &ProgressBar,
) -> (Vec<HeldOut>, usize) {
    let (texts, truths): (Vec<String>, Vec<String>) = texts.into_iter().unzip();
    let all = texts.len();
    let reviews =
        texts.into_iter().map(|review| IncomingReview { review, ..IncomingReview::default() });
    let judged = scorer.score(reviews).zip(truths).filter_map(|(outcome, truth)| {
        bar.inc(1);
        outcome.ok().map(|verdict| HeldOut { features: features(verdict), truth })
    });
    let judged: Vec<HeldOut> = judged.collect();
    let refused = all.saturating_sub(judged.len());
    (judged, refused)
}

/// A verdict as drift counts it.
fn features(verdict: Verdict) -> Features {
    let drift = verdict.drift.unwrap_or_default();
    Features {
        label: verdict.label,
        confidence: verdict.confidence,
        probabilities: verdict.probabilities,
        tokens: verdict.tokens,
        special_tokens: drift.special_tokens,
        unknown_tokens: drift.unknown_tokens,
        truncated: verdict.truncated,
        cross_entropy: drift.cross_entropy,
        projection: drift.projection,
        language: drift.language,
        words: drift.words,
    }
}
