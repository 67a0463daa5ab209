//! What waits to be sent to the collector: bounded, so that a collector that is slow or gone costs memory once and time never.
//!
//! Whoever has something to tell takes a lock for as long as it takes to append, and wakes nobody: a wake for each span would cost
//! more than the span. The other side looks by itself, or is woken when much has gathered.

use std::{
    fmt, mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Most items of one request.
const REQUEST_ITEMS_MAX: usize = 2_048;

/// Items on their way to the collector.
pub struct Outbox<T> {
    queue: Mutex<Queue<T>>,
    items_max: usize,
    /// Much has gathered.
    filled: Notify,
    /// What became of those that are gone.
    pub(crate) counts: Counts,
}

struct Queue<T> {
    items: Vec<T>,
    closed: bool,
}

/// What became of the items of one signal.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: AtomicU64,
    /// Dropped, since there was no room for them.
    pub(crate) no_room: AtomicU64,
    /// Dropped, since the collector did not take them.
    pub(crate) not_taken: AtomicU64,
}

impl<T> Outbox<T> {
    /// Holds `items_max` at most.
    pub fn new(items_max: usize) -> Self {
        Self {
            queue: Mutex::new(Queue { items: Vec::new(), closed: false }),
            items_max,
            filled: Notify::new(),
            counts: Counts::default(),
        }
    }

    /// Appends `items`; what there is no room for is dropped and counted.
    pub fn push(&self, items: impl IntoIterator<Item = T>) {
        // Made before the lock is taken: it may take a while.
        let mut items: Vec<T> = items.into_iter().collect();
        let mut queue = self.queue();
        if queue.closed {
            return;
        }
        let room = self.items_max.saturating_sub(queue.items.len());
        let dropped = items.len().saturating_sub(room);
        items.truncate(room);
        let before = queue.items.len();
        queue.items.append(&mut items);
        let is_much = before < REQUEST_ITEMS_MAX && REQUEST_ITEMS_MAX <= queue.items.len();
        drop(queue);
        if 0 < dropped {
            let dropped = u64::try_from(dropped).unwrap_or(u64::MAX);
            self.counts.no_room.fetch_add(dropped, Ordering::Relaxed);
        }
        if is_much {
            self.filled.notify_one();
        }
    }

    /// All that waits.
    pub fn take(&self) -> Vec<T> {
        mem::take(&mut self.queue().items)
    }

    /// Takes nothing any more.
    pub(crate) fn close(&self) {
        self.queue().closed = true;
    }

    /// Sends what comes by `send`, at least every `interval`, until `stop`; then what is left. Whoever cannot wait for that drops
    /// the future.
    pub(crate) async fn deliver(
        &self,
        signal: &'static str,
        interval: Duration,
        stop: &CancellationToken,
        send: impl AsyncFn(Vec<T>) -> Result<(), String>,
    ) {
        let mut is_taken = true;
        let mut stopping = false;
        while !stopping {
            tokio::select! {
                () = sleep(interval) => {}
                () = self.filled.notified() => {}
                () = stop.cancelled() => stopping = true,
            }
            let mut waiting = self.take();
            while !waiting.is_empty() {
                let rest = waiting.split_off(waiting.len().min(REQUEST_ITEMS_MAX));
                let count = u64::try_from(waiting.len()).unwrap_or(u64::MAX);
                let outcome = send(mem::replace(&mut waiting, rest)).await;
                let counter =
                    if outcome.is_ok() { &self.counts.sent } else { &self.counts.not_taken };
                counter.fetch_add(count, Ordering::Relaxed);
                note_change(signal, &mut is_taken, outcome);
            }
        }
    }

    /// Nobody panics while he holds the lock.
    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line when it begins to fail, and one when it is over.
pub(crate) fn note_change(signal: &'static str, is_taken: &mut bool, sent: Result<(), String>) {
    let was_taken = mem::replace(is_taken, sent.is_ok());
    match sent {
        Err(reason) if was_taken => {
            warn!(signal, reason, "the collector takes no telemetry, dropping it");
        }
        Ok(()) if !was_taken => info!(signal, "the collector takes telemetry again"),
        _ => {}
    }
}

impl<T> fmt::Debug for Outbox<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Outbox")
            .field("items_max", &self.items_max)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::timeout;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    fn counts<T>(outbox: &Outbox<T>) -> [u64; 3] {
        let Counts { sent, no_room, not_taken } = &outbox.counts;
        [sent, no_room, not_taken].map(|count| count.load(Ordering::Relaxed))
    }

    #[test]
    fn what_there_is_no_room_for_is_dropped_and_counted() {
        let outbox = Outbox::new(3);
        outbox.push([1, 2]);
        outbox.push([3, 4, 5]);
        assert_eq!(counts(&outbox), [0, 2, 0]);
        assert_eq!(outbox.take(), [1, 2, 3]);
        outbox.push([6]);
        outbox.close();
        outbox.push([7]);
        assert_eq!(outbox.take(), [6]);
        assert_eq!(counts(&outbox), [0, 2, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn all_is_sent_in_order_and_in_requests_of_a_limited_size() {
        let (outbox, stop) = (Outbox::new(10_000), CancellationToken::new());
        outbox.push(0..5_000);
        stop.cancel();
        let requests = Mutex::new(Vec::new());
        let send = async |items: Vec<i32>| {
            requests.lock().unwrap().push(items);
            Ok(())
        };
        outbox.deliver("traces", INTERVAL, &stop, send).await;
        let requests = requests.into_inner().unwrap();
        let lengths: Vec<_> = requests.iter().map(Vec::len).collect();
        assert_eq!(lengths, [2_048, 2_048, 904]);
        assert!(requests.into_iter().flatten().eq(0..5_000));
        assert_eq!(counts(&outbox), [5_000, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_never_answers_costs_what_there_is_no_room_for() {
        let (outbox, stop) = (Arc::new(Outbox::new(100)), CancellationToken::new());
        let delivered = Arc::clone(&outbox);
        let send = async |_: Vec<i32>| std::future::pending().await;
        let delivery = async { delivered.deliver("traces", INTERVAL, &stop, send).await };
        let telling = async {
            for round in 0..50 {
                outbox.push(0..10);
                assert!(outbox.queue().items.len() <= 100, "round {round}");
                sleep(INTERVAL).await;
            }
        };
        tokio::select! { () = delivery => panic!("it answered"), () = telling => {} }
        let [taken, no_room, _] = counts(&outbox);
        // Of fifty rounds ten wait, and one is on its way, or two where the sender woke after the second: both wake at once.
        assert!(taken == 0 && [380, 390].contains(&no_room), "{taken} {no_room}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_refuses_costs_what_it_refused_and_is_tried_again() {
        let (outbox, stop) = (Outbox::new(100), CancellationToken::new());
        let tries = AtomicU64::new(0);
        let send = async |_: Vec<i32>| match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Err("connection refused".to_owned()),
            _ => Ok(()),
        };
        let telling = async {
            for _ in 0..3 {
                outbox.push(0..10);
                sleep(INTERVAL * 2).await;
            }
            stop.cancel();
        };
        tokio::join!(outbox.deliver("logs", INTERVAL, &stop, send), telling);
        assert_eq!(counts(&outbox), [20, 0, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn much_is_sent_before_its_time() {
        let (outbox, stop) = (Outbox::new(10_000), CancellationToken::new());
        let (told, hear) = tokio::sync::oneshot::channel();
        let told = Mutex::new(Some(told));
        let send = async |items: Vec<i32>| {
            let told = told.lock().unwrap().take();
            told.map_or(Ok(()), |told| told.send(items.len()).map_err(|_| "deaf".to_owned()))
        };
        outbox.push(0..2_047);
        let delivery = outbox.deliver("traces", INTERVAL * 3_600, &stop, send);
        let heard = async {
            outbox.push([2_047]);
            timeout(INTERVAL, hear).await.unwrap().unwrap()
        };
        let count = tokio::select! { () = delivery => panic!("it ended"), count = heard => count };
        assert_eq!(count, 2_048);
    }
}
