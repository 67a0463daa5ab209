//! Our bytes against what OpenTelemetry's own conversion makes of the same spans.

use std::{borrow::Cow, sync::Arc};

use opentelemetry::{
    InstrumentationScope,
    trace::{Link, SpanId, Status},
};
use opentelemetry_proto::{
    tonic::collector::trace::v1::ExportTraceServiceRequest,
    transform::{
        common::tonic::ResourceAttributesWithSchema,
        trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use prost::Message as _;

use super::*;
use crate::trace::span::Parent;

const LATER: Timestamp = Timestamp::constant(1_767_225_600, 123_456_789);

fn to_data(span: Span) -> SpanData {
    let Span { operation, context, parent, links, error, .. } = span;
    let mut attributes = Vec::with_capacity(operation.attributes.len() + span.attributes.len() + 1);
    attributes.extend_from_slice(&operation.attributes);
    attributes.extend(span.attributes);
    let status = match error {
        None => Status::Unset,
        Some(error) => {
            attributes.push(KeyValue::new(ERROR_TYPE, error));
            Status::error("")
        }
    };
    SpanData {
        span_context: context.span_context(false),
        parent_span_id: parent
            .map_or(SpanId::INVALID, |it| SpanId::from_bytes(it.context.parent_id_bytes())),
        parent_span_is_remote: parent.is_some_and(|parent| parent.is_remote),
        span_kind: operation.kind.clone(),
        name: Cow::Owned(operation.name.clone().into_owned()),
        start_time: SystemTime::from(span.started_at),
        // Clocks may be set back meanwhile.
        end_time: SystemTime::from(span.ended_at.max(span.started_at)),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: to_links(&links),
        status,
        instrumentation_scope: InstrumentationScope::builder(operation.scope).build(),
    }
}

fn to_links(contexts: &[TraceContext]) -> SpanLinks {
    let mut links = SpanLinks::default();
    let kept = contexts.iter().take(LINKS_MAX);
    links.links = kept.map(|it| Link::new(it.span_context(true), Vec::new(), 0)).collect();
    links.dropped_count =
        u32::try_from(contexts.len().saturating_sub(LINKS_MAX)).unwrap_or(u32::MAX);
    links
}

fn span(scope: &'static str) -> Span {
    let attributes =
        vec![KeyValue::new("messaging.system", "kafka"), KeyValue::new("long", "x".repeat(300))];
    let name = "process reviews.v1";
    Span {
        operation: Arc::new(Operation::new(scope, name, SpanKind::Consumer, attributes)),
        context: TraceContext::begin(),
        parent: None,
        started_at: Timestamp::UNIX_EPOCH,
        ended_at: LATER,
        attributes: Vec::new(),
        links: Vec::new(),
        error: None,
    }
}

/// Checks that a collector reads of `spans` what it would read from OpenTelemetry's exporter.
#[track_caller]
fn check(spans: &[Span]) {
    let attributes = [KeyValue::new("service.name", "sink")];
    let of = Resource::builder_empty().with_attributes(attributes).build();
    let read =
        ExportTraceServiceRequest::decode(request(&resource(&of), spans).as_slice()).unwrap();
    let data = spans.iter().cloned().map(to_data).collect();
    let expected =
        group_spans_by_resource_and_scope(data, &ResourceAttributesWithSchema::from(&of));
    assert_eq!(read.resource_spans, expected);
}

#[test]
fn a_span_is_read_as_open_telemetry_would_have_sent_it() {
    let parent = TraceContext::begin();
    let of_every_type = vec![
        KeyValue::new("messaging.kafka.offset", 7),
        KeyValue::new("negative", -1),
        KeyValue::new("largest", i64::MAX),
        KeyValue::new("share", 0.25),
        KeyValue::new("is_one", true),
        KeyValue::new("text", "\u{e9}"),
        KeyValue::new("empty", ""),
    ];
    check(&[]);
    check(&[span("processor")]);
    check(&[Span { attributes: of_every_type, ..span("processor") }]);
    check(&[Span { parent: Some(Parent::remote(parent)), ..span("processor") }]);
    check(&[Span { parent: Some(Parent::local(parent)), error: Some("late".into()), ..span("a") }]);
    check(&[span("ingest"), span("ingest"), span("sink")]);
    for kind in [SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer] {
        let operation = Arc::new(Operation::new("sink", "round", kind, Vec::new()));
        check(&[Span { operation, ..span("sink") }]);
    }
}

#[test]
fn a_span_ends_no_sooner_than_it_began() {
    check(&[Span { started_at: LATER, ended_at: Timestamp::UNIX_EPOCH, ..span("sink") }]);
}

#[test]
fn links_are_kept_up_to_their_limit_and_the_rest_is_counted() {
    for count in [1, LINKS_MAX, LINKS_MAX + 3] {
        check(&[Span { links: vec![TraceContext::begin(); count], ..span("processor") }]);
    }
}
