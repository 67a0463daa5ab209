//! Who waits for which verdict. Bounded by [`Admission`](crate::admission::Admission): each waiter belongs to a review in
//! flight.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use schemas::{ReviewId, Verdict};
use tokio::{sync::oneshot, time::timeout};

use crate::{instruments::Instruments, ledger::Refused};

/// What became of a review.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It has a verdict.
    Judged(Arc<Verdict>),
    /// It has a dead letter.
    Refused(Arc<Refused>),
}

/// All who wait, by review.
#[derive(Debug)]
pub(crate) struct Waiting {
    waiters: Mutex<HashMap<ReviewId, Vec<oneshot::Sender<Outcome>>>>,
    instruments: Arc<Instruments>,
}

/// One who waits; leaves when dropped.
#[derive(Debug)]
pub(crate) struct Waiter {
    id: ReviewId,
    waiting: Arc<Waiting>,
    outcome: oneshot::Receiver<Outcome>,
}

impl Waiting {
    pub(crate) fn new(instruments: Arc<Instruments>) -> Self {
        Self { waiters: Mutex::default(), instruments }
    }

    /// Starts to wait. To miss nothing, do so before the review is published.
    pub(crate) fn join(self: &Arc<Self>, id: &ReviewId) -> Waiter {
        let (sender, outcome) = oneshot::channel();
        self.waiters().entry(id.clone()).or_default().push(sender);
        self.instruments.waiters(1);
        Waiter { id: id.clone(), waiting: Arc::clone(self), outcome }
    }

    /// Wakes all who wait for `id`.
    pub(crate) fn wake(&self, id: &ReviewId, outcome: &Outcome) {
        let Some(waiters) = self.waiters().remove(id) else { return };
        for waiter in waiters {
            // Its client may have gone away in this moment.
            drop(waiter.send(outcome.clone()));
        }
    }

    fn waiters(&self) -> MutexGuard<'_, HashMap<ReviewId, Vec<oneshot::Sender<Outcome>>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// The outcome, if it comes within `wait`.
    pub(crate) async fn outcome(&mut self, wait: Duration) -> Option<Outcome> {
        timeout(wait, &mut self.outcome).await.ok()?.ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiting.instruments.waiters(-1);
        self.outcome.close();
        let mut waiters = self.waiting.waiters();
        if let Some(of_review) = waiters.get_mut(&self.id) {
            of_review.retain(|waiter| !waiter.is_closed());
            if of_review.is_empty() {
                waiters.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Outcome {
        Outcome::Refused(Arc::new(Refused {
            stage: "INFER".to_owned(),
            message: "no".to_owned(),
            is_retryable: true,
        }))
    }

    #[tokio::test]
    async fn all_who_wait_for_a_review_are_woken_and_nobody_else() {
        let waiting = Arc::new(Waiting::new(Arc::new(Instruments::new())));
        let (id, other) = (ReviewId::new("1").unwrap(), ReviewId::new("2").unwrap());
        let mut waiters = [waiting.join(&id), waiting.join(&id), waiting.join(&other)];
        waiting.wake(&id, &refused());
        let mut woken = Vec::new();
        for waiter in &mut waiters {
            woken.push(waiter.outcome(Duration::ZERO).await.is_some());
        }
        assert_eq!(woken, [true, true, false]);
    }

    #[test]
    fn who_leaves_leaves_nothing_behind() {
        let waiting = Arc::new(Waiting::new(Arc::new(Instruments::new())));
        let id = ReviewId::new("1").unwrap();
        let (first, second) = (waiting.join(&id), waiting.join(&id));
        drop(first);
        assert_eq!(waiting.waiters().get(&id).map(Vec::len), Some(1));
        drop(second);
        assert!(waiting.waiters().is_empty());
    }
}
