//! How much is taken at once, and when a refused client may come again.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chassis::clock;
use tokio::sync::Notify;

use crate::{
    instruments::Instruments,
    problem::{Kind, Problem},
};

/// Seconds over which the drain rate is measured.
const WINDOW_SECONDS: usize = 10;

/// Longest wait that a refused client is told, in seconds.
const RETRY_AFTER_S_MAX: u64 = 60;

/// Counts the reviews in flight and refuses what is too much. A review is in flight from the reading of its body until its
/// answer, so bodies, publishes and waiting clients are all bounded by it.
#[derive(Debug)]
pub(crate) struct Admission {
    in_flight_max: usize,
    in_flight: AtomicUsize,
    closed: AtomicBool,
    idle: Notify,
    drained: Mutex<DrainRate>,
    instruments: Arc<Instruments>,
}

/// Room for some reviews, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    reviews: usize,
}

impl Admission {
    pub(crate) fn new(in_flight_max: usize, instruments: Arc<Instruments>, now: Instant) -> Self {
        Self {
            in_flight_max,
            in_flight: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            idle: Notify::new(),
            drained: Mutex::new(DrainRate::new(now)),
            instruments,
        }
    }

    /// Takes room for `reviews`, all or none.
    pub(crate) fn admit(self: &Arc<Self>, reviews: usize) -> Result<Permit, Problem> {
        if self.closed.load(Ordering::Acquire) {
            let problem =
                Problem::new(Kind::Draining, "this replica takes no new work: it is stopping");
            return Err(problem.retry_after(1));
        }
        let taken = self.in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, |in_flight| {
            in_flight.checked_add(reviews).filter(|sum| *sum <= self.in_flight_max)
        });
        match taken {
            Ok(_) => {
                self.instruments.in_flight(reviews, 0);
                Ok(Permit { admission: Arc::clone(self), reviews })
            }
            Err(in_flight) => {
                let max = self.in_flight_max;
                let detail = format!("{in_flight} of {max} reviews are in flight");
                let seconds = self.retry_after_s(clock::monotonic());
                Err(Problem::new(Kind::Overloaded, detail).retry_after(seconds))
            }
        }
    }

    /// Seconds until what is in flight has drained, at the rate of the last seconds.
    pub(crate) fn retry_after_s(&self, now: Instant) -> u64 {
        let rate = self.drained.lock().unwrap_or_else(PoisonError::into_inner).per_window(now);
        retry_after_s(self.in_flight(), rate)
    }

    /// Reviews in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Refuses everything from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Completes when nothing is in flight.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }
}

impl Permit {
    /// Takes room for `reviews` more: a batch is counted only once it is parsed.
    pub(crate) fn grow(&mut self, reviews: usize) -> Result<(), Problem> {
        let mut more = self.admission.admit(reviews)?;
        self.reviews = self.reviews.saturating_add(more.reviews);
        more.reviews = 0;
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.reviews == 0 {
            return;
        }
        let before = self.admission.in_flight.fetch_sub(self.reviews, Ordering::AcqRel);
        self.admission.instruments.in_flight(0, self.reviews);
        let mut drained = self.admission.drained.lock().unwrap_or_else(PoisonError::into_inner);
        drained.add(clock::monotonic(), self.reviews);
        if before == self.reviews {
            self.admission.idle.notify_waiters();
        }
    }
}

/// How many reviews left in the last [`WINDOW_SECONDS`], by second.
#[derive(Debug)]
struct DrainRate {
    start: Instant,
    seconds: [(u64, usize); WINDOW_SECONDS],
}

impl DrainRate {
    fn new(start: Instant) -> Self {
        Self { start, seconds: [(0, 0); WINDOW_SECONDS] }
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs()
    }

    fn add(&mut self, now: Instant, reviews: usize) {
        let second = self.second(now);
        let slot = usize::try_from(second).unwrap_or(0) % WINDOW_SECONDS;
        if let Some((of, count)) = self.seconds.get_mut(slot) {
            if *of != second {
                (*of, *count) = (second, 0);
            }
            *count = count.saturating_add(reviews);
        }
    }

    fn per_window(&self, now: Instant) -> usize {
        let second = self.second(now);
        let oldest = second.saturating_sub(WINDOW_SECONDS as u64 - 1);
        let recent = self.seconds.iter().filter(|(of, _)| (oldest..=second).contains(of));
        recent.map(|(_, count)| count).sum()
    }
}

/// In flight over drain rate, rounded up, within bounds. Where nothing drains, the longest wait.
fn retry_after_s(in_flight: usize, drained_per_window: usize) -> u64 {
    let window = Duration::from_secs(WINDOW_SECONDS as u64).as_secs();
    let in_flight = u64::try_from(in_flight).unwrap_or(u64::MAX).saturating_mul(window);
    match u64::try_from(drained_per_window) {
        Ok(0) | Err(_) => RETRY_AFTER_S_MAX,
        Ok(drained) => in_flight.div_ceil(drained).clamp(1, RETRY_AFTER_S_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(in_flight_max: usize) -> Arc<Admission> {
        let instruments = Arc::new(Instruments::new());
        Arc::new(Admission::new(in_flight_max, instruments, clock::monotonic()))
    }

    #[test]
    fn past_the_bound_nothing_is_taken_and_room_comes_back() {
        let admission = admission(3);
        let mut first = admission.admit(1).unwrap();
        first.grow(2).unwrap();
        assert_eq!(first.grow(1).unwrap_err().kind, Kind::Overloaded);
        assert_eq!(admission.in_flight(), 3);
        drop(first);
        assert_eq!(admission.in_flight(), 0);
        drop(admission.admit(3).unwrap());
    }

    #[test]
    fn once_closed_nothing_is_taken() {
        let admission = admission(3);
        admission.close();
        let refused = admission.admit(1).unwrap_err();
        assert_eq!((refused.kind, refused.retry_after_s), (Kind::Draining, Some(1)));
    }

    #[tokio::test]
    async fn it_is_idle_when_the_last_permit_is_back() {
        let admission = admission(3);
        let permit = admission.admit(2).unwrap();
        let idle = admission.idle();
        tokio::pin!(idle);
        assert!(futures::poll!(&mut idle).is_pending());
        drop(permit);
        idle.await;
    }

    #[test]
    fn a_refused_client_is_told_how_long_draining_takes() {
        assert_eq!(retry_after_s(100, 1_000), 1);
        assert_eq!(retry_after_s(4_096, 2_000), 21);
        assert_eq!(retry_after_s(4_096, 10), 60);
        assert_eq!(retry_after_s(1, 0), 60);
    }

    #[test]
    fn only_the_last_seconds_count() {
        let start = clock::monotonic();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut rate = DrainRate::new(start);
        rate.add(at(0), 5);
        rate.add(at(9), 7);
        assert_eq!(rate.per_window(at(9)), 12);
        assert_eq!(rate.per_window(at(10)), 7);
        rate.add(at(10), 1);
        assert_eq!(rate.per_window(at(18)), 8);
        assert_eq!(rate.per_window(at(30)), 0);
    }
}
