//! Inference threads: one a core, pinned, fed from one queue.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use chassis::clock;
use tracing::{info, warn};

use crate::pipeline::{Batch, Inferred, Pipeline, Timing};

/// One batch of one round, with the model that is to judge it.
#[derive(Clone, Debug)]
pub struct Task {
    /// Number of the round, counted up.
    pub round: u64,
    /// Which model: a task keeps the one that it was tokenised for, whatever is swapped in meanwhile.
    pub pipeline: Arc<Pipeline>,
    /// The batch.
    pub batch: Batch,
}

/// What became of a [`Task`].
#[derive(Clone, Debug)]
pub struct Finished {
    /// Number of the round.
    pub round: u64,
    /// The answers.
    pub inferred: Inferred,
    /// When, and how long it took.
    pub timing: Timing,
}

/// Where batches go to be inferred: threads, or in a simulation whatever the seed says.
pub trait Inference: Send {
    /// Queues one batch. Does not block; whoever submits bounds how much is under way.
    fn submit(&mut self, task: Task);

    /// One answer, in whatever order they come; `None` where there is none within `wait`.
    fn collect(&mut self, wait: Duration) -> Option<Finished>;

    /// Forgets what is queued for rounds before `round`. Answers that are already under way may still come.
    fn forget_before(&mut self, round: u64);
}

/// How many threads, and whether each stays on a core of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneSettings {
    /// Threads.
    pub threads: NonZeroUsize,
    /// Whether to pin them.
    pub pin: bool,
}

/// Inference threads. Ends them when dropped, after the batches that they are in.
#[derive(Debug)]
pub struct Lanes {
    queue: Arc<Queue>,
    finished: Receiver<Finished>,
    threads: Vec<JoinHandle<()>>,
}

/// Tasks that no thread has taken yet. Holds at most the batches of the rounds in hand: [`Inference::submit`]'s caller bounds
/// these, so the queue has no second bound that could block the loop.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    tasks: VecDeque<Task>,
    closed: bool,
}

impl Lanes {
    /// Starts the threads.
    pub fn start(settings: LaneSettings) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let (report, finished) = mpsc::channel();
        let mut lanes = Self { queue, finished, threads: Vec::new() };
        let cores = cores_to_pin(settings);
        for number in 0..settings.threads.get() {
            let queue = Arc::clone(&lanes.queue);
            let report = report.clone();
            let core = cores.get(number).copied();
            let work = move || run(&queue, &report, core);
            let thread = thread::Builder::new().name(format!("infer-{number}")).spawn(work)?;
            lanes.threads.push(thread);
        }
        info!(threads = settings.threads, pinned = cores.len(), "inference threads started");
        Ok(lanes)
    }
}

impl Inference for Lanes {
    fn submit(&mut self, task: Task) {
        self.queue.lock().tasks.push_back(task);
        self.queue.changed.notify_one();
    }

    fn collect(&mut self, wait: Duration) -> Option<Finished> {
        if wait.is_zero() {
            return self.finished.try_recv().ok();
        }
        self.finished.recv_timeout(wait).ok()
    }

    fn forget_before(&mut self, round: u64) {
        self.queue.lock().tasks.retain(|task| round <= task.round);
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.closed = true;
        state.tasks.clear();
        drop(state);
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                warn!("an inference thread panicked");
            }
        }
    }
}

impl Queue {
    /// No thread panics while it holds the lock: what it guards is whole.
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next task; waits for one. `None` once closed.
    fn take(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(task) = state.tasks.pop_front() {
                return Some(task);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// One thread. Lives until the queue is closed: `Pipeline::infer` makes a refusal of a panic.
fn run(queue: &Queue, report: &Sender<Finished>, core: Option<core_affinity::CoreId>) {
    if let Some(core) = core
        && !core_affinity::set_for_current(core)
    {
        warn!(core = core.id, "could not pin an inference thread, it may move");
    }
    while let Some(task) = queue.take() {
        let started_at = clock::now();
        let began = clock::monotonic();
        let inferred = task.pipeline.infer(&task.batch);
        let took = clock::monotonic().saturating_duration_since(began);
        let timing = Timing { started_at, took };
        if report.send(Finished { round: task.round, inferred, timing }).is_err() {
            return;
        }
    }
}

/// A core for each thread, or none at all. Where a quota gives the process fewer cores than it sees (a container without
/// cores of its own), others share them: all would pin to the first ones.
fn cores_to_pin(settings: LaneSettings) -> Vec<core_affinity::CoreId> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let granted = thread::available_parallelism().map_or(0, NonZeroUsize::get);
    let owned = cores.len() == granted && settings.threads.get() <= cores.len();
    if settings.pin && owned { cores } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::{pipeline, review};

    fn lanes(threads: usize) -> Lanes {
        let threads = NonZeroUsize::new(threads).unwrap();
        Lanes::start(LaneSettings { threads, pin: false }).unwrap()
    }

    #[test]
    fn every_batch_comes_back_once() {
        let pipeline = Arc::new(pipeline());
        let reviews: Vec<_> = (1..20).map(|words| review(&"good ".repeat(words))).collect();
        let (mut round, batches) = pipeline.prepare(reviews.into_iter().map(Ok));
        let mut lanes = lanes(3);
        for batch in batches {
            lanes.submit(Task { round: 7, pipeline: Arc::clone(&pipeline), batch });
        }
        while !round.is_complete() {
            let finished = lanes.collect(Duration::from_secs(10)).unwrap();
            assert_eq!(finished.round, 7);
            round.accept(finished.inferred, finished.timing);
        }
        assert!(pipeline.conclude(round).iter().all(Result::is_ok));
        assert!(lanes.collect(Duration::ZERO).is_none());
    }

    #[test]
    fn a_text_that_makes_the_model_panic_ends_no_thread() {
        let pipeline = Arc::new(pipeline());
        let mut lanes = lanes(1);
        for text in ["panic", "good"] {
            let (mut round, batches) = pipeline.prepare([Ok(review(text))]);
            for batch in batches {
                lanes.submit(Task { round: 0, pipeline: Arc::clone(&pipeline), batch });
            }
            let finished = lanes.collect(Duration::from_secs(10)).unwrap();
            round.accept(finished.inferred, finished.timing);
            let outcomes = pipeline.conclude(round);
            assert_eq!(
                outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
                usize::from(text == "good")
            );
        }
    }

    #[test]
    fn threads_end_although_tasks_are_queued() {
        let pipeline = Arc::new(pipeline());
        let (_, batches) = pipeline.prepare((1..50).map(|words| Ok(review(&"bad ".repeat(words)))));
        let mut lanes = lanes(2);
        for batch in batches {
            lanes.submit(Task { round: 0, pipeline: Arc::clone(&pipeline), batch });
        }
        lanes.forget_before(1);
        drop(lanes);
    }
}
