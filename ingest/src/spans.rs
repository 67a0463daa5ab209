//! The spans of ingest: the request, and each review or label that it publishes. Names and attributes are those of OpenTelemetry's
//! conventions for HTTP and messaging.

use std::{borrow::Cow, sync::Arc};

use broker::PublishError;
use chassis::{
    TraceContext, Tracer,
    trace::span::{Attribute, Operation, Parent, Span, SpanKind},
};
use jiff::Timestamp;
use schemas::topics;

use crate::{instruments::Measured, publish::Destination};

/// Who tells.
const SCOPE: &str = "ingest";

/// Routes that are asked every few seconds by machines; each would be a trace that nobody looks at.
const UNTOLD: [&str; 4] = ["/livez", "/readyz", "/startupz", "/metrics"];

/// Where the spans of ingest go.
#[derive(Debug)]
pub(crate) struct Spans {
    tracer: Tracer,
    send_review: Arc<Operation>,
    send_feedback: Arc<Operation>,
}

/// A record that was sent, or was not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) destination: Destination,
    /// The request that it is a part of.
    pub(crate) request: TraceContext,
    pub(crate) context: TraceContext,
    pub(crate) began_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    pub(crate) error: Option<&'a PublishError>,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered<'a> {
    pub(crate) context: TraceContext,
    /// The client's operation, if it says.
    pub(crate) parent: Option<TraceContext>,
    pub(crate) measured: Measured<'a>,
    pub(crate) path: &'a str,
    pub(crate) began_at: Timestamp,
    pub(crate) ended_at: Timestamp,
}

impl Spans {
    /// Told to `tracer`.
    pub(crate) fn new(tracer: Tracer) -> Self {
        let [send_review, send_feedback] = [topics::REVIEWS, topics::FEEDBACK].map(|topic| {
            let attributes = vec![
                Attribute::new("messaging.system", "kafka"),
                Attribute::new("messaging.operation.name", "send"),
                Attribute::new("messaging.operation.type", "send"),
                Attribute::new("messaging.destination.name", topic),
            ];
            let name = format!("send {topic}");
            Arc::new(Operation::new(SCOPE, name, SpanKind::Producer, attributes))
        });
        Self { tracer, send_review, send_feedback }
    }

    /// Where a request stands in its trace, or in a new one.
    pub(crate) fn follow(&self, parent: Option<&TraceContext>) -> TraceContext {
        self.tracer.follow(parent)
    }

    /// Where the writing of a record stands that a request asked for: where the request does, if no span is made of it.
    pub(crate) fn sending(&self, request: TraceContext) -> TraceContext {
        if self.tracer.records(&request) { request.child() } else { request }
    }

    /// A record was sent, or was not.
    pub(crate) fn sent(&self, sent: &Sent<'_>) {
        let Sent { destination, request, context, began_at, ended_at, error } = *sent;
        if !self.tracer.records(&context) {
            return;
        }
        let operation = match destination {
            Destination::Reviews => &self.send_review,
            Destination::Feedback => &self.send_feedback,
        };
        let error = error.map(|error| match error {
            PublishError::Full => "full",
            PublishError::Unavailable(_) => "unavailable",
            PublishError::Refused(_) => "refused",
        });
        self.tracer.record([Span {
            operation: Arc::clone(operation),
            context,
            parent: Some(Parent::local(request)),
            started_at: began_at,
            ended_at,
            attributes: Vec::new(),
            links: Vec::new(),
            error: error.map(Cow::Borrowed),
        }]);
    }

    /// A request was answered.
    pub(crate) fn answered(&self, answered: &Answered<'_>) {
        let Measured { method, route, status } = answered.measured;
        let is_untold = route.is_some_and(|route| UNTOLD.contains(&route));
        if is_untold || !self.tracer.records(&answered.context) {
            return;
        }
        let mut attributes = vec![
            Attribute::new("http.request.method", method),
            Attribute::new("http.response.status_code", i64::from(status)),
            Attribute::new("url.scheme", "http"),
            Attribute::new("url.path", answered.path.to_owned()),
        ];
        attributes.extend(route.map(|route| Attribute::new("http.route", route.to_owned())));
        let name = route.map_or(Cow::Borrowed(method), |route| format!("{method} {route}").into());
        let operation = Operation::new(SCOPE, name, SpanKind::Server, Vec::new());
        self.tracer.record([Span {
            operation: Arc::new(operation),
            context: answered.context,
            parent: answered.parent.map(Parent::remote),
            started_at: answered.began_at,
            ended_at: answered.ended_at,
            attributes,
            links: Vec::new(),
            // What a client did wrong is no error of the server.
            error: (500 <= status).then(|| status.to_string().into()),
        }]);
    }
}

#[cfg(test)]
mod tests {
    use chassis::{telemetry::outbox::Outbox, trace::sampling::Sampling};

    use super::*;

    fn told(tell: impl Fn(&Spans)) -> Vec<Span> {
        let outbox = Arc::new(Outbox::new(10));
        tell(&Spans::new(Tracer::new(Some(Arc::clone(&outbox)), Sampling::default())));
        outbox.take()
    }

    fn answered(route: Option<&str>, status: u16, context: TraceContext) -> Vec<Span> {
        let measured = Measured { method: "POST", route, status };
        let (began_at, ended_at) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        let (parent, path) = (None, "/analyze");
        let answered = Answered { context, parent, measured, path, began_at, ended_at };
        told(|spans| spans.answered(&answered))
    }

    #[test]
    fn a_request_is_named_by_its_route_and_fails_by_our_fault_only() {
        let check = |route: Option<&str>, status: u16, name: &str, error: Option<&str>| {
            let [span] = &answered(route, status, TraceContext::begin())[..] else {
                panic!("{route:?} {status}")
            };
            assert_eq!((span.operation.name.as_ref(), span.error.as_deref()), (name, error));
        };
        check(Some("/analyze"), 200, "POST /analyze", None);
        check(Some("/verdicts/{id}"), 404, "POST /verdicts/{id}", None);
        check(None, 503, "POST", Some("503"));
    }

    #[test]
    fn probes_and_what_is_not_sampled_are_not_told() {
        for route in UNTOLD {
            assert!(answered(Some(route), 200, TraceContext::begin()).is_empty(), "{route}");
        }
        let unsampled = TraceContext::begin().sampled(false);
        assert!(answered(Some("/analyze"), 200, unsampled).is_empty());
        let sent = told(|spans| {
            let context = spans.sending(unsampled);
            assert_eq!(context, unsampled);
            spans.sent(&sent_at(Destination::Reviews, unsampled, context, None));
        });
        assert!(sent.is_empty());
    }

    fn sent_at(
        destination: Destination,
        request: TraceContext,
        context: TraceContext,
        error: Option<&PublishError>,
    ) -> Sent<'_> {
        let (began_at, ended_at) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        Sent { destination, request, context, began_at, ended_at, error }
    }

    #[test]
    fn what_a_request_sent_is_a_part_of_it() {
        for (destination, name) in
            [(Destination::Reviews, "send reviews.v1"), (Destination::Feedback, "send feedback.v1")]
        {
            let request = TraceContext::begin();
            let spans = told(|spans| {
                let context = spans.sending(request);
                spans.sent(&sent_at(destination, request, context, Some(&PublishError::Full)));
            });
            let [span] = &spans[..] else { panic!("{spans:?}") };
            assert_eq!(span.operation.name, name);
            assert_eq!(span.parent, Some(Parent::local(request)));
            assert_ne!(span.context, request);
            assert_eq!(span.error.as_deref(), Some("full"));
        }
    }
}
