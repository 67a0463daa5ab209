//! What the first labels of a round add up to: windows of one model and one second each, with labels and no verdicts.
//!
//! Of one second, since windows of drift are of whole seconds, however long they are: so none of these reaches into two.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use broker::Outgoing;
use drift::{Model, Window};
use schemas::{Record, headers, record::Header, topics};

use super::join::{Outcome, Settled};
use crate::{features, references::References};

/// By model and second since 1970.
#[derive(Debug, Default)]
pub(super) struct Counted(BTreeMap<(Model, i64), Window>);

impl Counted {
    /// Counts all that is joined; what cannot be counted is noted as such.
    pub(super) fn of(
        settled: &mut [Settled<'_>],
        references: &mut References,
        now: Instant,
    ) -> Self {
        let mut counted = Self::default();
        for one in settled.iter_mut().filter(|one| one.outcome == Outcome::Joined) {
            if counted.count(one, references, now).is_none() {
                one.outcome = Outcome::Uncounted;
            }
        }
        counted
    }

    fn count(
        &mut self,
        settled: &Settled<'_>,
        references: &mut References,
        now: Instant,
    ) -> Option<()> {
        let (label, verdict) = (settled.label, settled.verdict?);
        let model = features::model(&verdict.model);
        let reference = references.of(&model, now)?;
        let (ms, is_correct) =
            (label.came_at.as_millisecond(), verdict.label == label.row.feedback.label);
        let key = (model.clone(), label.came_at.as_second());
        let mut window = match self.0.get(&key) {
            Some(window) => window.clone(),
            None => Window::empty(model, &reference).ok()?,
        };
        window.record_label(&reference, ms, verdict.confidence, is_correct).ok()?;
        self.0.insert(key, window);
        Some(())
    }

    /// The windows as records of [`topics::DRIFT_WINDOWS`].
    pub(super) fn outbox(&self) -> Result<Vec<Outgoing>, String> {
        let topic: Arc<str> = Arc::from(topics::DRIFT_WINDOWS);
        let outgoing = |((model, _), window): (&(Model, i64), &Window)| {
            let value = serde_json::to_vec(window).map_err(|error| error.to_string())?;
            let record = Record {
                key: Some(model.name.as_bytes().to_vec()),
                value: Some(value),
                headers: vec![Header::text(headers::CONTENT_TYPE, headers::JSON)],
                timestamp_ms: None,
            };
            Ok(Outgoing { topic: Arc::clone(&topic), record })
        };
        self.0.iter().map(outgoing).collect()
    }
}
