//! The loop's side towards the store. Whatever answers `None` was asked to stop while it waited: the round is read again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use broker::Delivery;
use chassis::clock;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use schemas::{ReviewId, Verdict};
use store::{FeedbackRow, RefusedRecord, StoreError, VerdictStore};
use tracing::warn;

use super::{
    JoinerError,
    join::{Label, Outcome, Settled},
};
use crate::{
    patience::{Ending, Patience},
    round::refuse,
};

/// Look-ups under way at once: below what a store in a file lets wait.
const LOOKUPS_MAX: usize = 16;

/// Between two looks for a verdict that has not come yet.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) struct Desk {
    pub(super) store: Arc<dyn VerdictStore>,
    pub(super) patience: Patience,
    pub(super) unknown_wait: Duration,
}

impl Desk {
    /// The verdicts of `labels`. Waits for those that are not there yet until the last label that needs one is old enough.
    pub(super) fn verdicts(
        &self,
        labels: &[Label],
        now: Timestamp,
    ) -> Result<Option<BTreeMap<ReviewId, Verdict>>, JoinerError> {
        let mut found = BTreeMap::new();
        loop {
            let missing: BTreeSet<_> = labels
                .iter()
                .map(|label| &label.id)
                .filter(|id| !found.contains_key(*id))
                .collect();
            let get = async |id: ReviewId| Ok((id.clone(), self.store.get(&id).await?));
            let Some(looked_up) = self.look_up(&missing, get)? else { return Ok(None) };
            let come = looked_up.into_iter().filter_map(|(id, verdict)| Some((id, verdict?)));
            found.extend(come);
            // A label from the future waits as if it were of now.
            let until = labels.iter().filter(|label| !found.contains_key(&label.id));
            let until = until.map(|label| label.came_at.min(now)).max();
            let until = until.and_then(|came_at| came_at.checked_add(self.unknown_wait).ok());
            if until.is_none_or(|until| until <= clock::now()) {
                return Ok(Some(found));
            }
            if self.patience.stop.is_cancelled() {
                return Ok(None);
            }
            self.patience.sleep(LOOK_EVERY);
        }
    }

    /// What the store has been told of the reviews of `labels`.
    pub(super) fn said(
        &self,
        labels: &[Label],
    ) -> Result<Option<BTreeMap<ReviewId, Vec<FeedbackRow>>>, JoinerError> {
        let ids = labels.iter().map(|label| &label.id).collect();
        let said = async |id: ReviewId| Ok((id.clone(), self.store.feedback(&id).await?));
        Ok(self.look_up(&ids, said)?.map(|said| said.into_iter().collect()))
    }

    /// Keeps the rows of `settled`. What the store does not take is kept as refused, and settled so; answers how many those are.
    pub(super) fn keep(
        &self,
        settled: &mut [Settled<'_>],
        deliveries: &[Delivery],
    ) -> Result<Option<usize>, JoinerError> {
        let rows: Vec<_> = settled.iter().filter(|one| one.outcome.is_kept()).collect();
        let rows: Vec<FeedbackRow> = rows.iter().map(|one| one.label.row.clone()).collect();
        if rows.is_empty() {
            return Ok(Some(0));
        }
        match self.insist(|| self.block_on(self.store.keep_feedback(&rows)))? {
            Ending::Done(()) => return Ok(Some(0)),
            Ending::Stopped => return Ok(None),
            // One row at fault refuses its whole batch: the good ones go alone.
            Ending::Refused(_) => {}
        }
        let mut untaken = 0;
        for one in settled.iter_mut().filter(|one| one.outcome.is_kept()) {
            let row = std::slice::from_ref(&one.label.row);
            let reason = match self.insist(|| self.block_on(self.store.keep_feedback(row)))? {
                Ending::Done(()) => continue,
                Ending::Stopped => return Ok(None),
                Ending::Refused(reason) => reason,
            };
            let origin = &one.label.row.origin;
            let is_same = |delivery: &&Delivery| {
                (delivery.partition, delivery.offset) == (origin.partition, origin.offset)
            };
            if let Some(delivery) = deliveries.iter().find(is_same) {
                let record = refuse(delivery, "StoreRefused", reason, clock::now());
                let Some(()) = self.keep_refused(&[record])? else { return Ok(None) };
            }
            one.outcome = Outcome::Refused;
            untaken += 1;
        }
        Ok(Some(untaken))
    }

    /// Keeps records that are no feedback. A store that does not even take those is beyond what can be done here.
    pub(super) fn keep_refused(
        &self,
        records: &[RefusedRecord],
    ) -> Result<Option<()>, JoinerError> {
        let Some(first) = records.first() else { return Ok(Some(())) };
        match self.insist(|| self.block_on(self.store.keep_refused(records)))? {
            Ending::Done(()) => {}
            Ending::Refused(reason) => return Err(StoreError::Refused(reason).into()),
            Ending::Stopped => return Ok(None),
        }
        // One line a round: the table has them all.
        warn!(
            count = records.len(),
            topic = first.topic,
            partition = first.partition,
            offset = first.offset,
            class = first.class,
            reason = first.message,
            "kept records that are no feedback; the first is"
        );
        Ok(Some(()))
    }

    /// Asks the store for each of `ids`, some at once. `Refused` answers of look-ups are the store's end: there is nothing to
    /// leave out.
    fn look_up<T>(
        &self,
        ids: &BTreeSet<&ReviewId>,
        ask: impl AsyncFn(ReviewId) -> Result<T, StoreError>,
    ) -> Result<Option<Vec<T>>, JoinerError> {
        let ask_all = || {
            let asked = ids.iter().map(|id| ask((*id).clone()));
            let answers = stream::iter(asked).buffered(LOOKUPS_MAX).try_collect();
            self.block_on(answers)
        };
        match self.insist(ask_all)? {
            Ending::Done(found) => Ok(Some(found)),
            Ending::Refused(reason) => Err(StoreError::Refused(reason).into()),
            Ending::Stopped => Ok(None),
        }
    }

    fn insist<T>(
        &self,
        call: impl FnMut() -> Result<T, StoreError>,
    ) -> Result<Ending<T>, JoinerError> {
        // The group hears of this replica from librdkafka's own thread, for the five minutes of `max.poll.interval.ms`; a round
        // that waits longer is aborted, and read again, perhaps elsewhere.
        self.patience.insist(call, || Ok(()))
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.patience.runtime.block_on(work)
    }
}
