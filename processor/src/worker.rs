//! The processor's only loop: read a round, infer it, swap reviews for verdicts.
//!
//! It runs on a thread of its own, since the exchange blocks. While the inference threads are busy with one round it commits
//! the one before and reads the next; no transaction is open meanwhile. Rounds are committed in the order in which they were
//! read, so each partition's verdicts keep the order of its reviews, and what is in hand at a crash or a rebalance is simply
//! read again by whoever comes next.

mod alone;
mod rounds;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use broker::{Delivery, Exchange, ExchangeError, Progress};
use chassis::{Health, Tracer, clock, fault, health::Check, retry::Attempts};
use schemas::Record;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{
    breaker::{Breaker, Tripped},
    classifier::ClassifyError,
    instruments::Instruments,
    lanes::{Inference, LaneSettings, Lanes, Task},
    pipeline::{
        Pipeline,
        records::{self, ScoringOrder, Topics},
        steps::Steps,
    },
    response_cache::ResponseCache,
    settings::Settings,
    spans::{Polled, Spans, Written},
    worker::{
        alone::Alone,
        rounds::{RoundInHand, split},
    },
};

/// Longest wait for a first record. Bounds how late a stop is noticed.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// Longest wait for an answer while there is room for another round: how late a new record may be noticed by a busy line.
const BUSY_WAIT: Duration = Duration::from_millis(1);
/// Name of the loop in health reports.
pub const HEALTH_NAME: &str = "processor";
/// Between two looks at how far the line is behind.
const STANDING_EVERY: Duration = Duration::from_secs(1);
/// Longest silence of the loop: a commit may wait for its broker for as long as a transaction may take (60 s).
const BEAT_WAIT_MAX: Duration = Duration::from_mins(2);

/// Why the line stands still for good. The process exits, and its successor reads what was not committed.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// This replica may not write any more.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The engine has no plan for a shape that it offers.
    #[error("preparing the model: {0}")]
    Model(#[from] ClassifyError),
    /// The system gives no threads.
    #[error("starting inference threads: {0}")]
    Threads(#[from] std::io::Error),
}

/// Adds the line to `health`, as [`HEALTH_NAME`]: before anybody may ask, so that a replica that still loads is not taken for ready.
pub fn register(health: &Health) -> Check {
    health.register_beating(HEALTH_NAME, BEAT_WAIT_MAX)
}

/// Runs until `stop`, or until the line cannot go on. Blocks: call it on a thread of its own.
///
/// A stop finishes the rounds in hand, at most for `drain_wait_max`. `check` is of [`register`]: ready once the model is warm and
/// partitions are assigned, not ready while the broker is away.
pub fn run(
    exchange: Box<dyn Exchange>,
    pipeline: Arc<Pipeline>,
    settings: &Settings,
    check: &Check,
    stop: &CancellationToken,
) -> Result<(), LineError> {
    pipeline.classifier.warm()?;
    let lanes =
        Lanes::start(LaneSettings { threads: settings.threads(), pin: settings.pin_threads })?;
    let mut worker = Worker::new(exchange, pipeline, Box::new(lanes), settings.clone());
    let mut drain_began = None;
    loop {
        let now = clock::monotonic();
        check.beat(now);
        let stopping = stop.is_cancelled();
        if stopping {
            let began = *drain_began.get_or_insert(now);
            let late = settings.drain_wait_max <= now.saturating_duration_since(began);
            if late || worker.is_idle() {
                info!(rounds_left = worker.rounds.len(), "line stopped");
                return Ok(());
            }
        }
        match worker.turn(!stopping) {
            Ok(()) => worker.report(check, now),
            Err(LineError::Exchange(error)) => {
                if let Some(wait) = worker.recover(error, check)? {
                    pause(wait, check, stop);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits, and says so while it does; a stop ends it.
fn pause(wait: Duration, check: &Check, stop: &CancellationToken) {
    let until = clock::monotonic() + wait;
    loop {
        let now = clock::monotonic();
        check.beat(now);
        let left = until.saturating_duration_since(now);
        if left.is_zero() || stop.is_cancelled() {
            return;
        }
        thread::sleep(left.min(IDLE_WAIT));
    }
}

/// The line's state between two turns.
struct Worker {
    exchange: Box<dyn Exchange>,
    pipeline: Arc<Pipeline>,
    inference: Box<dyn Inference>,
    settings: Settings,
    topics: Topics,
    scoring_order: ScoringOrder,
    /// Oldest first.
    rounds: VecDeque<RoundInHand>,
    round_next: u64,
    /// [`IDLE_WAIT`], but for a simulation, which waits for nothing.
    idle_wait: Duration,
    alone: Alone,
    cache: ResponseCache,
    breaker: Breaker,
    /// Why the line stands still, if it does: until the process is started anew.
    tripped: Option<Tripped>,
    instruments: Instruments,
    spans: Spans,
    attempts: Attempts,
    standing_next: Instant,
    /// Whether the last turn that touched the broker failed.
    broker_away: bool,
}

impl Worker {
    fn new(
        exchange: Box<dyn Exchange>,
        pipeline: Arc<Pipeline>,
        inference: Box<dyn Inference>,
        settings: Settings,
    ) -> Self {
        let instruments = Instruments::new();
        instruments.model_loaded(&pipeline.model, pipeline.precision);
        Self {
            exchange,
            pipeline,
            inference,
            attempts: settings.backoff.attempts(),
            cache: ResponseCache::new(settings.response_cache_entries),
            breaker: Breaker::new(settings.breaker_window, settings.breaker_share_max),
            tripped: None,
            settings,
            topics: Topics::default(),
            scoring_order: ScoringOrder::default(),
            rounds: VecDeque::new(),
            round_next: 0,
            idle_wait: IDLE_WAIT,
            alone: Alone::default(),
            instruments,
            spans: Spans::new(Tracer::current()),
            standing_next: clock::monotonic(),
            broker_away: false,
        }
    }

    fn is_idle(&self) -> bool {
        self.rounds.is_empty()
    }

    /// One turn: take answers, commit what is complete, read on if `may_read` and there is room; wait where there is nothing
    /// else to do.
    fn turn(&mut self, may_read: bool) -> Result<(), LineError> {
        if self.tripped.is_some() {
            // Nothing is polled, so that after `max.poll.interval.ms` the group takes the partitions. Who gets them trips as well.
            thread::sleep(self.idle_wait);
            return Ok(());
        }
        self.accept_answers(Duration::ZERO);
        self.commit_complete()?;
        let has_room = may_read && self.rounds.len() < self.settings.rounds_in_hand_max.get();
        if has_room {
            let wait = if self.is_idle() { self.idle_wait } else { Duration::ZERO };
            if let Some((deliveries, polled)) = self.gather(wait)? {
                fault::point("after_poll");
                self.admit(deliveries, polled);
                return Ok(());
            }
        }
        if !self.is_idle() {
            self.accept_answers(if has_room { BUSY_WAIT } else { self.idle_wait });
        }
        Ok(())
    }

    /// Reads one round, if there is one: until nothing more is there, it is full, or it took too long.
    fn gather(&mut self, wait: Duration) -> Result<Option<(Vec<Delivery>, Polled)>, ExchangeError> {
        let records_max = self.alone.records_max(self.settings.max_round_records.get());
        let delay = Duration::from_micros(self.settings.max_queue_delay_microseconds);
        let gather_max = self.settings.round_gather_max.max(delay);
        let mut deliveries = self.exchange.poll(records_max, wait)?;
        if deliveries.is_empty() {
            return Ok(None);
        }
        let (began, began_at) = (clock::monotonic(), clock::now());
        let polled = || Polled { began_at, ended_at: clock::now() };
        loop {
            let room = records_max.saturating_sub(deliveries.len());
            let elapsed = clock::monotonic().saturating_duration_since(began);
            let company_wait = delay.saturating_sub(elapsed);
            if room == 0 || gather_max <= elapsed {
                return Ok(Some((deliveries, polled())));
            }
            let more = self.exchange.poll(room, company_wait)?;
            if more.is_empty() && company_wait.is_zero() {
                return Ok(Some((deliveries, polled())));
            }
            deliveries.extend(more);
        }
    }

    /// Tokenises what was read and hands it to the inference threads; as several rounds where it is much.
    fn admit(&mut self, deliveries: Vec<Delivery>, polled: Polled) {
        let tokens_max =
            self.settings.max_round_tokens.get().saturating_mul(self.settings.threads().get());
        let text_tokens_max = self.pipeline.tokenizer.tokens_max();
        for deliveries in split(deliveries, tokens_max, text_tokens_max) {
            let number = self.round_next;
            self.round_next += 1;
            let now = clock::now();
            let reviews = records::read(&deliveries, now);
            let (round, batches) = self.pipeline.prepare_with(reviews, &mut self.cache, now);
            for batch in batches {
                let pipeline = Arc::clone(&self.pipeline);
                self.inference.submit(Task { round: number, pipeline, batch });
            }
            let steps = Steps::of_all(&deliveries, &self.spans.tracer);
            let pipeline = Arc::clone(&self.pipeline);
            let in_hand = RoundInHand { number, deliveries, steps, polled, pipeline, round };
            self.rounds.push_back(in_hand);
        }
    }

    /// Takes the answers that are there; waits at most `wait` for the first.
    fn accept_answers(&mut self, wait: Duration) {
        let mut wait = wait;
        while let Some(finished) = self.inference.collect(wait) {
            wait = Duration::ZERO;
            self.instruments.inferred(&finished.inferred, finished.timing);
            // An answer for a round that was dropped meanwhile finds none.
            let in_hand = self.rounds.iter_mut().find(|in_hand| in_hand.number == finished.round);
            if let Some(in_hand) = in_hand {
                in_hand.round.accept(finished.inferred, finished.timing);
            }
        }
    }

    /// Commits complete rounds, oldest first, up to the first that is not complete.
    fn commit_complete(&mut self) -> Result<(), LineError> {
        while self.rounds.front().is_some_and(|in_hand| in_hand.round.is_complete()) {
            let Some(in_hand) = self.rounds.pop_front() else { break };
            fault::point("after_infer");
            let RoundInHand { number, mut deliveries, steps, polled, pipeline, round } = in_hand;
            let trace = self.spans.note(&deliveries, &steps, &round, polled);
            let _entered = trace.as_ref().map(|trace| trace.context().enter());
            round.teach(&mut self.cache);
            let mut outcomes = pipeline.conclude(round);
            self.scoring_order.keep(&mut outcomes);
            let progress = Progress::of(&deliveries);
            if let ([delivery], [outcome]) = (deliveries.as_mut_slice(), outcomes.as_mut_slice())
                && let Some(refusal) = self.alone.refusal(delivery)
            {
                // Nobody knows which part of it is too large. Its place is in the headers that are added.
                let timestamp_ms = delivery.record.timestamp_ms;
                delivery.record = Record { timestamp_ms, ..Record::default() };
                *outcome = Err(refusal);
            }
            if let Err(tripped) = self.breaker.allows(&outcomes) {
                self.stand_still(tripped);
                return Ok(());
            }
            let outbox =
                records::write(deliveries, &steps, &mut outcomes, &self.topics, clock::now());
            let (began, began_at) = (clock::monotonic(), clock::now());
            let committed = self.exchange.commit(outbox, &progress);
            self.instruments.commit_took(clock::monotonic().duration_since(began));
            if let Some(trace) = &trace {
                let model = &pipeline.model;
                let (outcomes, committed) = (&outcomes, committed.as_ref().copied());
                let ended_at = clock::now();
                let written = Written { outcomes, model, committed, began_at, ended_at };
                self.spans.tell(trace, &written);
            }
            committed.inspect_err(|error| {
                if let ExchangeError::Refused(reason) = error {
                    self.alone.note_refused(outcomes.len(), &progress, reason);
                }
            })?;
            fault::point("after_commit");
            self.alone.note_committed(outcomes.len(), &progress);
            self.breaker.count(&outcomes);
            self.attempts.reset();
            self.instruments.committed(&outcomes, &pipeline.model, clock::now());
            debug!(round = number, records = outcomes.len(), "round committed");
        }
        Ok(())
    }

    /// Writes nothing more. A process that ended instead would be started again at once, and trip again with every start.
    fn stand_still(&mut self, tripped: Tripped) {
        error!(reason = %tripped, "breaker open");
        self.instruments.breaker_opened();
        self.drop_rounds();
        self.tripped = Some(tripped);
    }

    /// What follows from an error of the exchange: drop what is in hand, and say how long to wait. A fatal one is returned.
    fn recover(
        &mut self,
        error: ExchangeError,
        check: &Check,
    ) -> Result<Option<Duration>, ExchangeError> {
        self.instruments.aborted(&error);
        let (reason, wait) = match error {
            ExchangeError::Aborted(reason) | ExchangeError::Refused(reason) => (reason, None),
            ExchangeError::Unavailable(reason) => {
                check.not_ready(format!("broker unavailable: {reason}"));
                self.broker_away = true;
                (reason, self.attempts.next())
            }
            fatal @ ExchangeError::Fatal(_) => return Err(fatal),
        };
        warn!(
            reason,
            rounds = self.rounds.len(),
            wait_ms = wait.map_or(0, |wait| wait.as_millis()),
            "rounds in hand dropped, reading them again"
        );
        self.drop_rounds();
        Ok(wait)
    }

    /// Forgets what is in hand: the exchange has gone back to what is committed, and delivers it again.
    fn drop_rounds(&mut self) {
        self.rounds.clear();
        self.inference.forget_before(self.round_next);
    }

    fn report(&mut self, check: &Check, now: Instant) {
        if self.standing_next <= now {
            self.standing_next = now + STANDING_EVERY;
            self.instruments.standing(self.exchange.standing());
            self.instruments.looked_up(self.cache.take_lookups());
        }
        if let Some(tripped) = &self.tripped {
            check.not_ready(tripped.to_string());
        } else if self.exchange.is_assigned() {
            self.broker_away = false;
            check.ready();
        } else if !self.broker_away {
            check.not_ready("waiting for partitions to be assigned");
        }
    }
}
