//! Which spans a round makes, and how they hang together.

use std::collections::HashSet;

use chassis::telemetry::outbox::Outbox;
use chassis::trace::sampling::Sampling;
use schemas::{headers, record::Header};

use super::*;
use crate::pipeline::{
    Pipeline, Timing, records,
    tests::{delivery, pipeline},
};

const EARLY: Timestamp = Timestamp::constant(1_700_000_000, 0);
const LATE: Timestamp = Timestamp::constant(1_700_000_009, 0);

/// What is told of a round of `texts`, each in a trace of its own with these flags, and the steps of each.
fn told(
    texts: &[(&str, &str)],
    committed: Result<(), &ExchangeError>,
    tracer: impl Fn(Arc<Outbox<Span>>) -> Tracer,
) -> (Vec<Span>, Vec<Steps>) {
    let outbox = Arc::new(Outbox::new(1_000));
    let spans = Spans::new(tracer(Arc::clone(&outbox)));
    let deliveries: Vec<Delivery> = (0..)
        .zip(texts)
        .map(|(offset, (text, flags))| {
            let value = serde_json::json!({ "review": text }).to_string();
            let mut delivery = delivery(offset, value);
            let parent =
                format!("00-0af7651916cd43dd8448eb211c80{offset:04x}-b7ad6b7169203331-{flags}");
            delivery.record.headers = vec![Header::text(headers::TRACEPARENT, parent)];
            delivery
        })
        .collect();
    let steps = Steps::of_all(&deliveries, &spans.tracer);
    let pipeline: Pipeline = pipeline();
    let (mut round, batches) = pipeline.prepare(records::read(&deliveries, EARLY));
    for batch in &batches {
        round.accept(pipeline.infer(batch), Timing { started_at: EARLY, ..Timing::default() });
    }
    let polled = Polled { began_at: EARLY, ended_at: EARLY };
    let trace = spans.note(&deliveries, &steps, &round, polled);
    let outcomes = pipeline.conclude(round);
    if let Some(trace) = trace {
        let model = &pipeline.model;
        let (began_at, ended_at) = (LATE, LATE);
        let written = Written { outcomes: &outcomes, model, committed, began_at, ended_at };
        spans.tell(&trace, &written);
    }
    (outbox.take(), steps)
}

fn recording(outbox: Arc<Outbox<Span>>) -> Tracer {
    Tracer::new(Some(outbox), Sampling::default())
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.operation.name == name).collect()
}

#[test]
fn each_recorded_review_is_processed_and_sent_in_its_own_trace() {
    let texts = [("good", "01"), ("bad", "00"), (" ", "01")];
    let (spans, steps) = told(&texts, Ok(()), recording);
    let processed = named(&spans, "process reviews.v1");
    assert_eq!(processed.len(), 2, "the one that is not recorded has none");
    for (span, position) in processed.iter().zip([0, 2]) {
        let steps = steps[position];
        assert_eq!(span.context, steps.process);
        assert_eq!(span.parent, steps.received.map(Parent::remote));
        assert_eq!((span.started_at, span.ended_at), (EARLY, LATE));
    }
    assert_eq!(processed[0].error, None);
    assert_eq!(processed[1].error.as_deref(), Some("InvalidText"));
    for (name, position) in [("send verdicts.v1", 0), ("send reviews.v1.dlq", 2)] {
        let [sent] = named(&spans, name)[..] else { panic!("{name}") };
        assert_eq!(sent.context, steps[position].send);
        assert_eq!(sent.parent, Some(Parent::local(steps[position].process)));
    }
}

#[test]
fn a_call_of_the_model_is_linked_to_each_of_its_recorded_reviews_and_they_to_it() {
    let texts = ["good", "bad", "good bad", "other", "good good", "good"].map(|it| (it, "01"));
    let (spans, steps) = told(&texts, Ok(()), recording);
    let calls = named(&spans, "infer");
    assert!(1 < calls.len(), "four rows are a batch");
    let linked: Vec<TraceContext> = calls.iter().flat_map(|it| it.links.clone()).collect();
    let expected: HashSet<_> = steps.iter().map(|steps| steps.process).collect();
    assert_eq!(linked.len(), texts.len(), "equal texts are one row and two links");
    assert_eq!(linked.into_iter().collect::<HashSet<_>>(), expected);
    for review in named(&spans, "process reviews.v1") {
        let [call] = review.links[..] else { panic!("{:?}", review.links) };
        let call = calls.iter().find(|it| it.context == call).unwrap();
        assert!(call.links.contains(&review.context));
    }
    let [round] = named(&spans, "round")[..] else { panic!("one round") };
    for name in ["poll reviews.v1", "commit reviews.v1"] {
        assert_eq!(named(&spans, name)[0].parent, Some(Parent::local(round.context)), "{name}");
    }
    assert!(calls.iter().all(|it| it.parent == Some(Parent::local(round.context))));
}

#[test]
fn a_round_that_was_not_committed_tells_nothing_of_its_reviews() {
    let error = ExchangeError::Aborted("rebalance".to_owned());
    let (spans, _) = told(&[("good", "01")], Err(&error), recording);
    let names: Vec<_> = spans.iter().map(|span| span.operation.name.as_ref()).collect();
    assert_eq!(names, ["round", "poll reviews.v1", "commit reviews.v1", "infer"]);
    assert_eq!(spans[2].error.as_deref(), Some("aborted"));
}

#[test]
fn a_round_in_which_nothing_is_recorded_makes_no_span() {
    let (spans, steps) = told(&[("good", "00"), ("bad", "00")], Ok(()), recording);
    assert!(spans.is_empty(), "{spans:?}");
    assert!(steps.iter().all(|steps| steps.send == steps.process));
    let off = |_| Tracer::default();
    assert!(told(&[("good", "01")], Ok(()), off).0.is_empty());
}
