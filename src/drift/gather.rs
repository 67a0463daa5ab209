//! Rows of the store into windows, and then into texts, a page at a time.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use drift::{Model, Reference, Window};
use jiff::{SignedDuration, Timestamp};
use models::{ModelName, Repository};
use schemas::{ReviewId, Verdict};
use sink::{
    features::{event_ms, features, model},
    feedback::{
        Outcome,
        join::{self, Label},
    },
    references,
};
use store::{FeedbackRow, Row, VerdictStore};

use super::judged::Report;

/// Rows of a page.
const PAGE_ROWS: usize = 1_000;

/// Most models of one report.
const MODELS_MAX: usize = 16;

/// From when to when, in windows of which length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) window_s: NonZeroU32,
}

/// What is asked, and of whom.
pub(super) struct Question<'a> {
    pub(super) period: Period,
    /// One model; all where absent.
    pub(super) model: Option<ModelName>,
    /// As for the loop that counts labels while the line runs.
    pub(super) late_after: Duration,
    pub(super) store: &'a dyn VerdictStore,
    /// The bundles, with what verdicts are compared with.
    pub(super) repository: Repository,
    pub(super) profile: &'a str,
}

/// The windows of one model.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) model: Model,
    pub(super) reference: Arc<Reference>,
    /// By number since 1970.
    pub(super) windows: BTreeMap<i64, Window>,
    /// Verdicts of the period that could not be counted.
    pub(super) uncounted: u64,
}

impl Period {
    fn holds(&self, ms: i64) -> bool {
        (self.from.as_millisecond()..self.to.as_millisecond()).contains(&ms)
    }

    fn slot(&self, ms: i64) -> i64 {
        ms.div_euclid(1_000 * i64::from(self.window_s.get()))
    }

    /// When a window begins.
    pub(super) fn start(&self, slot: i64) -> Timestamp {
        let seconds = slot.saturating_mul(i64::from(self.window_s.get()));
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MIN)
    }
}

impl Question<'_> {
    /// Whether a verdict of `model` is asked for.
    fn is_asked(&self, verdict: &Verdict) -> bool {
        self.model.as_ref().is_none_or(|asked| {
            asked.name() == verdict.model.name
                && asked.version().to_string() == verdict.model.version
        })
    }

    /// Hands each verdict of the period to `take`.
    async fn verdicts(
        &self,
        mut take: impl FnMut(&Verdict) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut from = None;
        loop {
            let page = self.store.scan(from.as_ref(), PAGE_ROWS).await.context("reading rows")?;
            for Row { verdict, .. } in &page.items {
                if self.period.holds(event_ms(verdict)) && self.is_asked(verdict) {
                    take(verdict)?;
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    /// The labels of the period that count, each with its verdict: by the rule of the loop that counts them while the line runs.
    async fn labels(
        &self,
        mut take: impl FnMut(&Label, &Verdict) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let late_after = SignedDuration::try_from(self.late_after).unwrap_or(SignedDuration::MAX);
        let mut from = None;
        loop {
            let page = self.store.scan_feedback(from.as_ref(), PAGE_ROWS).await;
            let page = page.context("reading feedback")?;
            for row in page.items {
                let Some(label) = label(row) else { continue };
                if !self.period.holds(label.came_at.as_millisecond()) {
                    continue;
                }
                let verdict = self.store.get(&label.id).await.context("reading a verdict")?;
                let Some(verdict) = verdict.filter(|verdict| self.is_asked(verdict)) else {
                    continue;
                };
                let said = self.store.feedback(&label.id).await.context("reading feedback")?;
                let mut said = BTreeMap::from([(label.id.clone(), said)]);
                let verdicts = BTreeMap::from([(label.id.clone(), verdict)]);
                let labels = [label];
                for settled in join::settle(&labels, &verdicts, &mut said, late_after) {
                    if let (Outcome::Joined, Some(verdict)) = (settled.outcome, settled.verdict) {
                        take(settled.label, verdict)?;
                    }
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }
}

/// All windows of the period, model by model.
pub(super) async fn windows(question: &Question<'_>) -> anyhow::Result<Vec<Gathered>> {
    let mut found: BTreeMap<Model, Gathered> = BTreeMap::new();
    let period = question.period;
    question
        .verdicts(|verdict| {
            let gathered = gathered(&mut found, question, verdict)?;
            let ms = event_ms(verdict);
            let counted = gathered.count(period.slot(ms), |window, reference| {
                window.record(reference, ms, &features(verdict)).is_ok()
            })?;
            gathered.uncounted += u64::from(!counted);
            Ok(())
        })
        .await?;
    if found.is_empty() {
        let of = question.model.as_ref().map_or_else(String::new, |model| format!(" of {model}"));
        bail!("no verdict{of} from {} to {} in the store", period.from, period.to);
    }
    question
        .labels(|label, verdict| {
            // Labels of a model without verdicts in the period have nothing to be shown beside.
            let Some(gathered) = found.get_mut(&model(&verdict.model)) else { return Ok(()) };
            let ms = label.came_at.as_millisecond();
            let is_correct = label.row.feedback.label == verdict.label;
            gathered.count(period.slot(ms), |window, reference| {
                window.record_label(reference, ms, verdict.confidence, is_correct).is_ok()
            })?;
            Ok(())
        })
        .await?;
    Ok(found.into_values().collect())
}

/// The texts that moved each signal most: a second reading, for only now is it known whither it moved.
pub(super) async fn movers(question: &Question<'_>, reports: &mut [Report]) -> anyhow::Result<()> {
    question
        .verdicts(|verdict| {
            let model = model(&verdict.model);
            if let Some(report) = reports.iter_mut().find(|report| report.model == model) {
                let slot = question.period.slot(event_ms(verdict));
                report.movers.consider(&report.reference, (slot, verdict), &features(verdict));
            }
            Ok(())
        })
        .await?;
    question
        .labels(|label, verdict| {
            let model = model(&verdict.model);
            if let Some(report) = reports.iter_mut().find(|report| report.model == model) {
                report.movers.consider_label(verdict, &label.row.feedback.label);
            }
            Ok(())
        })
        .await
}

fn gathered<'a>(
    found: &'a mut BTreeMap<Model, Gathered>,
    question: &Question<'_>,
    verdict: &Verdict,
) -> anyhow::Result<&'a mut Gathered> {
    let is_full = MODELS_MAX <= found.len();
    match found.entry(model(&verdict.model)) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(_) if is_full => {
            bail!("verdicts of more than {MODELS_MAX} models: choose one with --model")
        }
        Entry::Vacant(entry) => {
            let model = entry.key().clone();
            let reference = references::load(&question.repository, question.profile, &model);
            let reference = reference.map_err(|reason| {
                anyhow!("no reference for {model}: {reason} (another folder: --models)")
            })?;
            let (reference, windows) = (Arc::new(reference), BTreeMap::new());
            Ok(entry.insert(Gathered { model, reference, windows, uncounted: 0 }))
        }
    }
}

impl Gathered {
    /// Counts in the window of `slot`; whether that could be.
    fn count(
        &mut self,
        slot: i64,
        count: impl FnOnce(&mut Window, &Reference) -> bool,
    ) -> anyhow::Result<bool> {
        let window = match self.windows.entry(slot) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                entry.insert(Window::empty(self.model.clone(), &self.reference)?)
            }
        };
        Ok(count(window, &self.reference))
    }
}

/// A row of feedback as the label that it was.
fn label(row: FeedbackRow) -> Option<Label> {
    let id = ReviewId::new(row.feedback.id.as_str()).ok()?;
    let given_at = row.feedback.given_at?;
    Some(Label { id, row, came_at: given_at, given_at })
}
