//! Our spans as OpenTelemetry's exporters want them. Done on the thread that sends them, not on the one that told them.

use std::{borrow::Cow, time::SystemTime};

use opentelemetry::{
    InstrumentationScope,
    trace::{Link, SpanId, Status},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::{
    TraceContext,
    trace::span::{LINKS_MAX, Span},
};

/// Attribute of a failed operation.
const ERROR_TYPE: &str = "error.type";

pub(crate) fn to_data(span: Span) -> SpanData {
    let Span { operation, context, parent, links, error, .. } = span;
    let mut attributes = Vec::with_capacity(operation.attributes.len() + span.attributes.len() + 1);
    attributes.extend_from_slice(&operation.attributes);
    attributes.extend(span.attributes);
    let status = match error {
        None => Status::Unset,
        Some(error) => {
            attributes.push(opentelemetry::KeyValue::new(ERROR_TYPE, error));
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use opentelemetry::KeyValue;

    use super::*;
    use crate::trace::span::{Operation, Parent, SpanKind};

    fn span() -> Span {
        let operation = Operation {
            scope: "processor",
            name: "process reviews.v1".into(),
            kind: SpanKind::Consumer,
            attributes: vec![KeyValue::new("messaging.system", "kafka")],
        };
        Span {
            operation: Arc::new(operation),
            context: TraceContext::begin(),
            parent: None,
            started_at: Timestamp::UNIX_EPOCH,
            ended_at: Timestamp::UNIX_EPOCH,
            attributes: Vec::new(),
            links: Vec::new(),
            error: None,
        }
    }

    #[test]
    fn a_span_says_what_its_operation_says_and_what_is_its_own() {
        let parent = TraceContext::begin();
        let context = parent.child();
        let data = to_data(Span {
            context,
            parent: Some(Parent::remote(parent)),
            attributes: vec![KeyValue::new("messaging.kafka.offset", 7)],
            error: Some("InvalidJson".into()),
            ..span()
        });
        assert_eq!(data.span_context.trace_id().to_bytes(), context.trace_id_bytes());
        assert_eq!(data.span_context.span_id().to_bytes(), context.parent_id_bytes());
        assert_eq!(data.parent_span_id.to_bytes(), parent.parent_id_bytes());
        assert!(data.parent_span_is_remote && data.span_context.is_sampled());
        let keys: Vec<_> = data.attributes.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["messaging.system", "messaging.kafka.offset", "error.type"]);
        assert_eq!(data.status, Status::error(""));
        assert_eq!(to_data(span()).parent_span_id, SpanId::INVALID);
    }

    #[test]
    fn a_span_ends_no_sooner_than_it_began() {
        let started_at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let data = to_data(Span { started_at, ..span() });
        assert_eq!(data.end_time, data.start_time);
    }

    #[test]
    fn more_links_than_a_collector_takes_are_counted() {
        let links = vec![TraceContext::begin(); LINKS_MAX + 3];
        let data = to_data(Span { links, ..span() });
        assert_eq!((data.links.len(), data.links.dropped_count), (LINKS_MAX, 3));
    }
}
