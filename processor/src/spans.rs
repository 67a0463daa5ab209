//! The spans of the line: those of each review whose trace is recorded, and one set for each round that has such a review.
//!
//! They are made when a round has been committed, from what was noted on the way. A round without such a review costs a look at each
//! flag. The names and attributes are those of OpenTelemetry's conventions for messaging; `inference.*` and `verdict.*` are ours.

use std::{borrow::Cow, sync::Arc};

use broker::{Delivery, ExchangeError};
use chassis::{
    TraceContext, Tracer,
    trace::span::{Attribute, Operation, Parent, Span, SpanKind},
};
use jiff::Timestamp;
use schemas::{ModelRef, Refusal, Verdict, topics};

use crate::pipeline::{
    round::{Round, Run},
    steps::Steps,
};

/// Who tells.
const SCOPE: &str = "processor";

/// Where the line's spans go, and what they have in common.
#[derive(Debug)]
pub(crate) struct Spans {
    pub(crate) tracer: Tracer,
    round: Arc<Operation>,
    poll: Arc<Operation>,
    infer: Arc<Operation>,
    process: Arc<Operation>,
    send_verdict: Arc<Operation>,
    send_dead_letter: Arc<Operation>,
    commit: Arc<Operation>,
}

/// When a round was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Polled {
    pub(crate) began_at: Timestamp,
    pub(crate) ended_at: Timestamp,
}

/// What is recorded of a round, noted while its reviews are there.
#[derive(Debug)]
pub(crate) struct RoundTrace {
    /// A trace of its own, since its reviews are of many.
    context: TraceContext,
    polled: Polled,
    records: usize,
    reviews: Vec<Traced>,
    runs: Vec<Run>,
}

/// A review whose trace is recorded.
#[derive(Debug)]
struct Traced {
    /// Its position in the round.
    position: usize,
    steps: Steps,
    partition: i32,
    offset: i64,
    /// The call of the model that judged it, by its position among the round's.
    run: Option<usize>,
}

/// How a round ended, and when it was being written.
#[derive(Debug)]
pub(crate) struct Written<'a> {
    pub(crate) outcomes: &'a [Result<Verdict, Refusal>],
    pub(crate) model: &'a ModelRef,
    pub(crate) committed: Result<(), &'a ExchangeError>,
    pub(crate) began_at: Timestamp,
    pub(crate) ended_at: Timestamp,
}

impl Spans {
    /// Told to `tracer`.
    pub(crate) fn new(tracer: Tracer) -> Self {
        let internal = |name: &'static str| {
            Arc::new(Operation::new(SCOPE, name, SpanKind::Internal, Vec::new()))
        };
        Self {
            tracer,
            round: internal("round"),
            infer: internal("infer"),
            poll: messaging("poll", "receive", topics::REVIEWS, SpanKind::Client),
            process: messaging("process", "process", topics::REVIEWS, SpanKind::Consumer),
            send_verdict: messaging("send", "send", topics::VERDICTS, SpanKind::Producer),
            send_dead_letter: messaging("send", "send", topics::DEAD_LETTERS, SpanKind::Producer),
            commit: messaging("commit", "settle", topics::REVIEWS, SpanKind::Client),
        }
    }

    /// What is to be recorded of a round; nothing where no trace of its reviews is.
    pub(crate) fn note(
        &self,
        deliveries: &[Delivery],
        steps: &[Steps],
        round: &Round,
        polled: Polled,
    ) -> Option<RoundTrace> {
        if !self.tracer.is_recording() {
            return None;
        }
        let sampled = deliveries.iter().zip(steps).enumerate();
        let sampled = sampled.filter(|(_, (_, steps))| steps.process.is_sampled());
        let reviews: Vec<_> = sampled
            .map(|(position, (delivery, steps))| Traced {
                position,
                steps: *steps,
                partition: delivery.partition,
                offset: delivery.offset,
                run: round.run_of(position),
            })
            .collect();
        if reviews.is_empty() {
            return None;
        }
        let (context, records) = (TraceContext::begin(), deliveries.len());
        Some(RoundTrace { context, polled, records, reviews, runs: round.runs().to_vec() })
    }

    /// Tells of a round that was written, or was not: then its reviews are read again, and it is that which is told of them.
    pub(crate) fn tell(&self, trace: &RoundTrace, written: &Written<'_>) {
        let runs: Vec<_> = trace.runs.iter().map(|run| (trace.context.child(), run)).collect();
        let mut spans = Vec::with_capacity(3 + runs.len() + 2 * trace.reviews.len());
        spans.extend(self.of_round(trace, written));
        spans.extend(self.of_runs(trace, &runs, written.model));
        if written.committed.is_ok() {
            for review in &trace.reviews {
                let run = review.run.and_then(|run| runs.get(run)).map(|(context, _)| *context);
                spans.extend(self.of_review(review, run, trace.polled, written));
            }
        }
        self.tracer.record(spans);
    }

    fn of_round(&self, trace: &RoundTrace, written: &Written<'_>) -> [Span; 3] {
        let RoundTrace { context, polled, .. } = trace;
        let error = written.committed.err().map(|error| Cow::Borrowed(error_type(error)));
        let records = i64::try_from(trace.records).unwrap_or(i64::MAX);
        let count = || vec![Attribute::new("messaging.batch.message_count", records)];
        let part = |operation: &Arc<Operation>, from: Timestamp, to: Timestamp| Span {
            parent: Some(Parent::local(*context)),
            attributes: count(),
            ..span(operation, context.child(), from, to)
        };
        let whole = span(&self.round, *context, polled.began_at, written.ended_at);
        [
            Span { error: error.clone(), attributes: count(), ..whole },
            part(&self.poll, polled.began_at, polled.ended_at),
            Span { error, ..part(&self.commit, written.began_at, written.ended_at) },
        ]
    }

    /// One for each call of the model, with a link to each of its reviews; none for a call that has no such review.
    fn of_runs(
        &self,
        trace: &RoundTrace,
        runs: &[(TraceContext, &Run)],
        model: &ModelRef,
    ) -> Vec<Span> {
        let mut links = vec![Vec::new(); runs.len()];
        for review in &trace.reviews {
            if let Some(links) = review.run.and_then(|run| links.get_mut(run)) {
                links.push(review.steps.process);
            }
        }
        let linked = runs.iter().zip(links).filter(|(_, links)| !links.is_empty());
        linked
            .map(|((context, run), links)| {
                let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
                Span {
                    parent: Some(Parent::local(trace.context)),
                    attributes: vec![
                        Attribute::new("inference.batch.size", count(run.rows)),
                        Attribute::new("inference.batch.tokens", count(run.tokens)),
                        Attribute::new("model.name", model.name.clone()),
                        Attribute::new("model.version", model.version.clone()),
                    ],
                    links,
                    ..span(&self.infer, *context, run.timing.started_at, run.timing.ended_at())
                }
            })
            .collect()
    }

    fn of_review(
        &self,
        review: &Traced,
        run: Option<TraceContext>,
        polled: Polled,
        written: &Written<'_>,
    ) -> [Span; 2] {
        let Steps { received, process, send } = review.steps;
        let mut attributes = Vec::with_capacity(3);
        attributes.extend([
            Attribute::new("messaging.destination.partition.id", review.partition.to_string()),
            Attribute::new("messaging.kafka.offset", review.offset),
        ]);
        let (sending, error) = match written.outcomes.get(review.position) {
            Some(Err(refusal)) => (&self.send_dead_letter, Some(Cow::Borrowed(refusal.class))),
            Some(Ok(verdict)) => {
                attributes.push(Attribute::new("verdict.review.id", verdict.id.to_string()));
                (&self.send_verdict, None)
            }
            None => (&self.send_verdict, None),
        };
        let processing = Span {
            parent: received.map(Parent::remote),
            attributes,
            links: Vec::from_iter(run),
            error,
            ..span(&self.process, process, polled.began_at, written.ended_at)
        };
        let sent = Span {
            parent: Some(Parent::local(process)),
            ..span(sending, send, written.began_at, written.ended_at)
        };
        [processing, sent]
    }
}

impl RoundTrace {
    /// That of the round.
    pub(crate) fn context(&self) -> TraceContext {
        self.context
    }
}

fn messaging(
    name: &'static str,
    kind_of_operation: &'static str,
    topic: &'static str,
    kind: SpanKind,
) -> Arc<Operation> {
    let attributes = vec![
        Attribute::new("messaging.system", "kafka"),
        Attribute::new("messaging.operation.name", name),
        Attribute::new("messaging.operation.type", kind_of_operation),
        Attribute::new("messaging.destination.name", topic),
    ];
    Arc::new(Operation::new(SCOPE, format!("{name} {topic}"), kind, attributes))
}

/// A span of `operation` without a parent and with nothing of its own.
fn span(
    operation: &Arc<Operation>,
    context: TraceContext,
    started_at: Timestamp,
    ended_at: Timestamp,
) -> Span {
    Span {
        operation: Arc::clone(operation),
        context,
        parent: None,
        started_at,
        ended_at,
        attributes: Vec::new(),
        links: Vec::new(),
        error: None,
    }
}

fn error_type(error: &ExchangeError) -> &'static str {
    match error {
        ExchangeError::Aborted(_) => "aborted",
        ExchangeError::Unavailable(_) => "unavailable",
        ExchangeError::Refused(_) => "refused",
        ExchangeError::Fatal(_) => "fenced",
    }
}

#[cfg(test)]
mod tests;
