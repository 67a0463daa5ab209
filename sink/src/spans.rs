//! The spans of the sink: of each verdict whose trace is recorded its way to the row, and of each round that has such a verdict its
//! calls of the store and its commit. Names and attributes are those of OpenTelemetry's conventions for messaging and databases.

use std::{borrow::Cow, ops::Range, sync::Arc};

use broker::Delivery;
use chassis::{
    TraceContext, Tracer,
    trace::span::{Attribute, Operation, Parent, Span, SpanKind},
};
use jiff::Timestamp;
use schemas::{headers, topics};
use store::StoreError;

/// Who tells.
const SCOPE: &str = "sink";
/// What is written to. The other tables of a store follow from it.
const TABLE: &str = "verdicts_by_id";
/// Most calls of the store that are told of one round.
const CALLS_MAX: usize = 64;

/// Where the spans of the sink go, and what they have in common.
#[derive(Debug)]
pub(crate) struct Spans {
    tracer: Tracer,
    round: Arc<Operation>,
    process: Arc<Operation>,
    upsert: Arc<Operation>,
    commit: Arc<Operation>,
}

/// What is recorded of a round.
#[derive(Debug)]
pub(crate) struct RoundTrace {
    /// A trace of its own, since its verdicts are of many.
    context: TraceContext,
    began_at: Timestamp,
    records: usize,
    verdicts: Vec<Traced>,
    calls: Vec<Call>,
}

/// A verdict whose trace is recorded.
#[derive(Debug)]
struct Traced {
    /// Its position among the records.
    position: usize,
    /// The operation that wrote it.
    sent: TraceContext,
    process: TraceContext,
    partition: i32,
    offset: i64,
}

/// One call of the store.
#[derive(Debug)]
struct Call {
    context: TraceContext,
    /// Positions of its rows among the rows of the round.
    rows: Range<usize>,
    began_at: Timestamp,
    ended_at: Timestamp,
    error: Option<&'static str>,
}

impl Spans {
    /// Told to `tracer`, of a store that OpenTelemetry calls `system`.
    pub(crate) fn new(tracer: Tracer, system: &'static str) -> Self {
        let operation = |name: Cow<'static, str>, kind: SpanKind, attributes: Vec<Attribute>| {
            Arc::new(Operation::new(SCOPE, name, kind, attributes))
        };
        let messaging = |name: &'static str, kind_of_operation: &'static str, kind: SpanKind| {
            let attributes = vec![
                Attribute::new("messaging.system", "kafka"),
                Attribute::new("messaging.operation.name", name),
                Attribute::new("messaging.operation.type", kind_of_operation),
                Attribute::new("messaging.destination.name", topics::VERDICTS),
            ];
            operation(format!("{name} {}", topics::VERDICTS).into(), kind, attributes)
        };
        let upsert = vec![
            Attribute::new("db.system.name", system),
            Attribute::new("db.operation.name", "upsert"),
            Attribute::new("db.collection.name", TABLE),
        ];
        Self {
            tracer,
            round: operation("round".into(), SpanKind::Internal, Vec::new()),
            process: messaging("process", "process", SpanKind::Consumer),
            upsert: operation(format!("upsert {TABLE}").into(), SpanKind::Client, upsert),
            commit: messaging("commit", "settle", SpanKind::Client),
        }
    }

    /// What is to be recorded of a round that was read at `now`; nothing where no trace of its verdicts is.
    pub(crate) fn note(&self, deliveries: &[Delivery], now: Timestamp) -> Option<RoundTrace> {
        if !self.tracer.is_recording() {
            return None;
        }
        let verdict = |(position, delivery): (usize, &Delivery)| {
            let given = headers::text(&delivery.record.headers, headers::TRACEPARENT)?;
            let sent = TraceContext::parse(given)?;
            let process = self.tracer.follow(Some(&sent));
            let (partition, offset) = (delivery.partition, delivery.offset);
            let traced = Traced { position, sent, process, partition, offset };
            process.is_sampled().then_some(traced)
        };
        let verdicts: Vec<_> = deliveries.iter().enumerate().filter_map(verdict).collect();
        if verdicts.is_empty() {
            return None;
        }
        let (context, records) = (TraceContext::begin(), deliveries.len());
        Some(RoundTrace { context, began_at: now, records, verdicts, calls: Vec::new() })
    }

    /// Tells of a round whose records are rows or refused, durably, and which was committed from `began_at` on. `row_of` tells which row
    /// the record at a position became.
    pub(crate) fn tell(
        &self,
        trace: &RoundTrace,
        row_of: impl Fn(usize) -> Option<usize>,
        began_at: Timestamp,
        ended_at: Timestamp,
    ) {
        let mut links = vec![Vec::new(); trace.calls.len()];
        let mut spans = Vec::with_capacity(2 + trace.calls.len() + trace.verdicts.len());
        for verdict in &trace.verdicts {
            let row = row_of(verdict.position);
            let mut calls = Vec::new();
            for (call, links) in trace.calls.iter().zip(&mut links) {
                if row.is_some_and(|row| call.rows.contains(&row)) {
                    links.push(verdict.process);
                    calls.push(call.context);
                }
            }
            spans.push(self.of_verdict(verdict, calls, row, trace.began_at, began_at));
        }
        let records = i64::try_from(trace.records).unwrap_or(i64::MAX);
        let count = || vec![Attribute::new("messaging.batch.message_count", records)];
        let parent = Some(Parent::local(trace.context));
        for (call, links) in trace.calls.iter().zip(links) {
            let rows = i64::try_from(call.rows.len()).unwrap_or(i64::MAX);
            spans.push(Span {
                parent,
                attributes: vec![Attribute::new("db.operation.batch.size", rows)],
                links,
                error: call.error.map(Cow::Borrowed),
                ..span(&self.upsert, call.context, call.began_at, call.ended_at)
            });
        }
        let commit = span(&self.commit, trace.context.child(), began_at, ended_at);
        spans.push(Span { parent, attributes: count(), ..commit });
        let whole = span(&self.round, trace.context, trace.began_at, ended_at);
        spans.push(Span { attributes: count(), ..whole });
        self.tracer.record(spans);
    }

    fn of_verdict(
        &self,
        verdict: &Traced,
        calls: Vec<TraceContext>,
        row: Option<usize>,
        began_at: Timestamp,
        ended_at: Timestamp,
    ) -> Span {
        Span {
            parent: Some(Parent::remote(verdict.sent)),
            attributes: vec![
                Attribute::new("messaging.destination.partition.id", verdict.partition.to_string()),
                Attribute::new("messaging.kafka.offset", verdict.offset),
            ],
            links: calls,
            error: row.is_none().then_some(Cow::Borrowed("InvalidVerdict")),
            ..span(&self.process, verdict.process, began_at, ended_at)
        }
    }
}

impl RoundTrace {
    /// That of the round.
    pub(crate) fn context(&self) -> TraceContext {
        self.context
    }

    /// The store was called with the rows at `rows`.
    pub(crate) fn called(
        &mut self,
        rows: Range<usize>,
        began_at: Timestamp,
        ended_at: Timestamp,
        result: &Result<(), StoreError>,
    ) {
        let error = result.as_ref().err().map(|error| match error {
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Refused(_) => "refused",
            StoreError::Unusable(_) => "unusable",
        });
        // While a store is away the same call is tried again and again: its first and its last tries tell all.
        if CALLS_MAX <= self.calls.len() {
            self.calls.pop();
        }
        let context = self.context.child();
        self.calls.push(Call { context, rows, began_at, ended_at, error });
    }
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

#[cfg(test)]
mod tests {
    use chassis::{telemetry::outbox::Outbox, trace::sampling::Sampling};
    use schemas::{Record, record::Header};

    use super::*;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn deliveries(flags: &[&str]) -> Vec<Delivery> {
        let delivery = |(offset, flags): (i64, &&str)| {
            let parent =
                format!("00-0af7651916cd43dd8448eb211c80{offset:04x}-b7ad6b7169203331-{flags}");
            let headers = vec![Header::text(headers::TRACEPARENT, parent)];
            let record = Record { headers, ..Record::default() };
            Delivery { topic: topics::VERDICTS.into(), partition: 0, offset, record }
        };
        (0..).zip(flags).map(delivery).collect()
    }

    fn told(flags: &[&str], calls: &[(Range<usize>, Result<(), StoreError>)]) -> Vec<Span> {
        let outbox = Arc::new(Outbox::new(1_000));
        let tracer = Tracer::new(Some(Arc::clone(&outbox)), Sampling::default());
        let spans = Spans::new(tracer, "sqlite");
        let Some(mut trace) = spans.note(&deliveries(flags), AT) else { return Vec::new() };
        for (rows, result) in calls {
            trace.called(rows.clone(), AT, AT, result);
        }
        // The first record is no verdict.
        spans.tell(&trace, |position| position.checked_sub(1), AT, AT);
        outbox.take()
    }

    fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
        spans.iter().filter(|span| span.operation.name == name).collect()
    }

    #[test]
    fn each_recorded_verdict_is_followed_to_the_call_that_wrote_its_row() {
        let refused = Err(StoreError::Refused("no".to_owned()));
        let calls = [(0..3, refused), (0..1, Ok(())), (1..3, Ok(()))];
        let spans = told(&["01", "01", "00", "01"], &calls);
        let processed = named(&spans, "process verdicts.v1");
        let upserts = named(&spans, "upsert verdicts_by_id");
        let links = |span: &Span| span.links.clone();
        let contexts = |indexes: &[usize]| {
            indexes.iter().map(|&index| upserts[index].context).collect::<Vec<_>>()
        };
        assert_eq!(processed.len(), 3);
        assert_eq!(
            (links(processed[0]), processed[0].error.as_deref()),
            (vec![], Some("InvalidVerdict"))
        );
        assert_eq!((links(processed[1]), processed[1].error.as_deref()), (contexts(&[0, 1]), None));
        assert_eq!(links(processed[2]), contexts(&[0, 2]));
        assert_eq!(upserts[2].links, [processed[2].context]);
        assert_eq!(upserts[0].error.as_deref(), Some("refused"));
        let [round] = named(&spans, "round")[..] else { panic!("one round") };
        let commit = named(&spans, "commit verdicts.v1")[0];
        assert!(
            upserts
                .iter()
                .chain([&commit])
                .all(|it| it.parent == Some(Parent::local(round.context)))
        );
    }

    #[test]
    fn a_round_in_which_nothing_is_recorded_makes_no_span() {
        assert!(told(&["00", "00"], &[(0..1, Ok(()))]).is_empty());
        assert!(Spans::new(Tracer::default(), "sqlite").note(&deliveries(&["01"]), AT).is_none());
    }

    #[test]
    fn a_store_that_is_away_for_long_is_told_of_a_limited_number_of_times() {
        let away = || (0..1, Err(StoreError::Unavailable(String::new())));
        let mut calls: Vec<_> = std::iter::repeat_with(away).take(500).collect();
        calls.push((0..1, Ok(())));
        let spans = told(&["01", "01"], &calls);
        let upserts = named(&spans, "upsert verdicts_by_id");
        assert_eq!(upserts.len(), CALLS_MAX);
        assert_eq!(upserts.last().unwrap().error, None);
    }
}
