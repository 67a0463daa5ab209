//! The spans of the feedback loop: of each label whose trace is recorded its way to the row and the count. Names and attributes are
//! those of OpenTelemetry's conventions for messaging.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use broker::Delivery;
use chassis::{
    TraceContext, Tracer,
    trace::span::{Attribute, Operation, Parent, Span, SpanKind},
};
use jiff::Timestamp;
use schemas::{headers, topics};

use super::join::{Outcome, Settled};

/// Where a label was read: partition and offset.
pub(super) type Place = (i32, i64);

/// Where the spans go, and what they have in common.
#[derive(Debug)]
pub(super) struct Spans {
    tracer: Tracer,
    process: Arc<Operation>,
}

impl Spans {
    /// Told to `tracer`.
    pub(super) fn new(tracer: Tracer) -> Self {
        let attributes = vec![
            Attribute::new("messaging.system", "kafka"),
            Attribute::new("messaging.operation.name", "process"),
            Attribute::new("messaging.operation.type", "process"),
            Attribute::new("messaging.destination.name", topics::FEEDBACK),
        ];
        let name = format!("process {}", topics::FEEDBACK);
        let process = Operation::new("sink", name, SpanKind::Consumer, attributes);
        Self { tracer, process: Arc::new(process) }
    }

    /// Tells of the labels of a round, read at `began_at`, whose rows, windows and offsets are durable.
    pub(super) fn tell(
        &self,
        deliveries: &[Delivery],
        settled: &[Settled<'_>],
        began_at: Timestamp,
        ended_at: Timestamp,
    ) {
        if !self.tracer.is_recording() {
            return;
        }
        let outcomes: BTreeMap<Place, &Settled<'_>> =
            settled.iter().map(|one| (place_of(one), one)).collect();
        let span = |delivery: &Delivery| {
            let given = headers::text(&delivery.record.headers, headers::TRACEPARENT)?;
            let sent = TraceContext::parse(given)?;
            let context = self.tracer.follow(Some(&sent));
            let settled = outcomes.get(&(delivery.partition, delivery.offset));
            let outcome = settled.map_or(Outcome::Refused, |one| one.outcome);
            let mut attributes = vec![
                Attribute::new(
                    "messaging.destination.partition.id",
                    delivery.partition.to_string(),
                ),
                Attribute::new("messaging.kafka.offset", delivery.offset),
                Attribute::new("verdict.feedback.outcome", outcome.name()),
            ];
            if let Some(one) = settled {
                attributes
                    .push(Attribute::new("verdict.review.id", one.label.id.as_str().to_owned()));
            }
            context.is_sampled().then(|| Span {
                operation: Arc::clone(&self.process),
                context,
                parent: Some(Parent::remote(sent)),
                started_at: began_at,
                ended_at,
                attributes,
                links: Vec::new(),
                error: (outcome == Outcome::Refused).then_some(Cow::Borrowed("refused")),
            })
        };
        let spans: Vec<Span> = deliveries.iter().filter_map(span).collect();
        if !spans.is_empty() {
            self.tracer.record(spans);
        }
    }
}

fn place_of(settled: &Settled<'_>) -> Place {
    let origin = &settled.label.row.origin;
    (origin.partition, origin.offset)
}

#[cfg(test)]
mod tests {
    use chassis::{telemetry::outbox::Outbox, trace::sampling::Sampling};
    use schemas::{Feedback, Record, record::Header};

    use super::{super::join::Label, *};

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn delivery(offset: i64, json: &str, flags: &str) -> Delivery {
        let parent =
            format!("00-0af7651916cd43dd8448eb211c80{offset:04x}-b7ad6b7169203331-{flags}");
        let headers = vec![Header::text(headers::TRACEPARENT, parent)];
        let value = Some(json.as_bytes().to_vec());
        let record = Record { headers, value, ..Record::default() };
        Delivery { topic: topics::FEEDBACK.into(), partition: 0, offset, record }
    }

    fn told(
        deliveries: &[Delivery],
        tracer: impl FnOnce(Arc<Outbox<Span>>) -> Tracer,
    ) -> Vec<Span> {
        let outbox = Arc::new(Outbox::new(1_000));
        let labels: Vec<Label> =
            deliveries.iter().filter_map(|delivery| Label::read(delivery, AT).ok()).collect();
        let settled: Vec<Settled<'_>> = labels
            .iter()
            .map(|label| Settled { label, verdict: None, outcome: Outcome::UnknownId })
            .collect();
        Spans::new(tracer(Arc::clone(&outbox))).tell(deliveries, &settled, AT, AT);
        outbox.take()
    }

    fn some() -> Vec<Delivery> {
        let label = |id: &str| {
            let (id, label) = (id.to_owned(), "positive".to_owned());
            serde_json::to_string(&Feedback { id, label, by: None, given_at: Some(AT) }).unwrap()
        };
        vec![
            delivery(0, &label("one"), "01"),
            delivery(1, "no feedback", "01"),
            delivery(2, &label("two"), "00"),
        ]
    }

    #[test]
    fn each_recorded_label_goes_on_with_its_senders_trace_and_says_what_became_of_it() {
        let deliveries = some();
        let spans = told(&deliveries, |outbox| Tracer::new(Some(outbox), Sampling::default()));
        let sent = |delivery: &Delivery| {
            let given = headers::text(&delivery.record.headers, headers::TRACEPARENT).unwrap();
            TraceContext::parse(given).unwrap()
        };
        assert_eq!(spans.len(), 2);
        for (span, delivery) in spans.iter().zip(&deliveries) {
            assert_eq!(span.operation.name, "process feedback.v1");
            assert_eq!(span.parent, Some(Parent::remote(sent(delivery))));
        }
        let says = |span: &Span, attribute: Attribute| span.attributes.contains(&attribute);
        assert!(says(&spans[0], Attribute::new("verdict.feedback.outcome", "unknown_id")));
        assert!(says(&spans[0], Attribute::new("verdict.review.id", "one".to_owned())));
        assert!(says(&spans[1], Attribute::new("verdict.feedback.outcome", "refused")));
        assert_eq!((spans[0].error.as_deref(), spans[1].error.as_deref()), (None, Some("refused")));
    }

    #[test]
    fn nothing_is_told_where_nobody_listens() {
        assert!(told(&some(), |_outbox| Tracer::default()).is_empty());
    }
}
