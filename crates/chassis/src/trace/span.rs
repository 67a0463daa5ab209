//! What an operation was, when, and where in its trace: a span. It is built when the operation is over and only if its trace is
//! recorded, so that an operation that is not costs its context and nothing else.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use jiff::Timestamp;
use opentelemetry::{
    Context, ContextGuard,
    context::FutureExt as _,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};

use crate::{
    TraceContext,
    telemetry::{encoding, outbox::Outbox},
    trace::sampling::Sampling,
};

pub use opentelemetry::{KeyValue as Attribute, trace::SpanKind};

/// Most links of one span: a collector takes no request without a limit. A batch of more reviews than that has equal texts.
pub(crate) const LINKS_MAX: usize = 1_024;

/// What all spans of one operation share.
#[derive(Debug)]
pub struct Operation {
    /// Who tells it: the service, or a part of one.
    pub scope: &'static str,
    /// What is done, in words of which there are few: `process reviews.v1`.
    pub name: Cow<'static, str>,
    /// On which side of which call.
    pub kind: SpanKind,
    /// What is true of each of them.
    pub attributes: Vec<Attribute>,
    /// All but the scope as it is sent, made when it is first asked for.
    encoded: OnceLock<Vec<u8>>,
}

/// One operation that is over.
#[derive(Clone, Debug)]
pub struct Span {
    /// What it was.
    pub operation: Arc<Operation>,
    /// Where in its trace.
    pub context: TraceContext,
    /// Which operation it is a part of.
    pub parent: Option<Parent>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What is true of this one, besides what its operation says.
    pub attributes: Vec<Attribute>,
    /// Operations in other traces that it was done for.
    pub links: Vec<TraceContext>,
    /// Why it failed.
    pub error: Option<Cow<'static, str>>,
}

/// Which operation another is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Where in the trace.
    pub context: TraceContext,
    /// Whether it came from another process, or over a topic.
    pub is_remote: bool,
}

/// Where spans go, and which traces are recorded. Clones share it; the default goes nowhere.
#[derive(Clone, Debug, Default)]
pub struct Tracer {
    outbox: Option<Arc<Outbox<Span>>>,
    sampling: Sampling,
}

/// The tracer of the process.
static CURRENT: RwLock<Option<Tracer>> = RwLock::new(None);

impl Operation {
    /// One that `scope` tells.
    pub fn new(
        scope: &'static str,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        attributes: Vec<Attribute>,
    ) -> Self {
        Self { scope, name: name.into(), kind, attributes, encoded: OnceLock::new() }
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        self.encoded.get_or_init(|| encoding::operation(self))
    }
}

impl Parent {
    /// In this process.
    pub fn local(context: TraceContext) -> Self {
        Self { context, is_remote: false }
    }

    /// Beyond it.
    pub fn remote(context: TraceContext) -> Self {
        Self { context, is_remote: true }
    }
}

impl Tracer {
    /// Decides by `sampling`, and records into `outbox` if there is one.
    pub fn new(outbox: Option<Arc<Outbox<Span>>>, sampling: Sampling) -> Self {
        Self { outbox, sampling }
    }

    /// That of the process, as of now: telemetry has to be started before.
    pub fn current() -> Self {
        CURRENT.read().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    pub(crate) fn set_current(tracer: Self) {
        *CURRENT.write().unwrap_or_else(PoisonError::into_inner) = Some(tracer);
    }

    /// Whether spans go anywhere.
    pub fn is_recording(&self) -> bool {
        self.outbox.is_some()
    }

    /// Whether the span of `context` is to be built.
    pub fn records(&self, context: &TraceContext) -> bool {
        self.is_recording() && context.is_sampled()
    }

    /// The context of an operation that `parent` asked for, or that nobody asked for.
    pub fn follow(&self, parent: Option<&TraceContext>) -> TraceContext {
        let context = parent.map_or_else(TraceContext::begin, TraceContext::child);
        context.sampled(self.sampling.samples(&context, parent.is_none()))
    }

    /// Gives `spans` away. Never waits: what there is no room for is dropped and counted.
    pub fn record(&self, spans: impl IntoIterator<Item = Span>) {
        if let Some(outbox) = &self.outbox {
            outbox.push(spans);
        }
    }
}

impl TraceContext {
    /// Runs `work` as this operation: what it logs carries the ids.
    pub fn surround<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        work.with_context(self.into_context())
    }

    /// What this thread logs carries the ids, until the answer is dropped.
    pub fn enter(self) -> Entered {
        Entered { _guard: self.into_context().attach() }
    }

    fn into_context(self) -> Context {
        Context::new().with_remote_span_context(self.span_context(false))
    }

    pub(crate) fn span_context(self, is_remote: bool) -> SpanContext {
        let trace_id = TraceId::from_bytes(self.trace_id_bytes());
        let span_id = SpanId::from_bytes(self.parent_id_bytes());
        let flags = TraceFlags::default().with_sampled(self.is_sampled());
        SpanContext::new(trace_id, span_id, flags, is_remote, TraceState::NONE)
    }
}

/// A thread is at an operation, see [`TraceContext::enter`].
#[derive(Debug)]
pub struct Entered {
    _guard: ContextGuard,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

    fn parent(flags: &str) -> TraceContext {
        TraceContext::parse(&format!("{PARENT}-{flags}")).unwrap()
    }

    #[test]
    fn an_operation_stays_in_the_trace_of_its_caller_and_does_as_he_decided() {
        let tracer = Tracer::new(None, Sampling::ratio(0.0).unwrap());
        for (flags, expected) in [("01", true), ("00", false)] {
            let followed = tracer.follow(Some(&parent(flags)));
            assert_eq!(followed.trace_id_bytes(), parent(flags).trace_id_bytes());
            assert_ne!(followed.parent_id_bytes(), parent(flags).parent_id_bytes());
            assert_eq!(followed.is_sampled(), expected);
        }
    }

    #[test]
    fn what_nobody_asked_for_begins_a_trace_and_is_recorded_by_its_share() {
        for (ratio, expected) in [(0.0, false), (1.0, true)] {
            let tracer = Tracer::new(None, Sampling::ratio(ratio).unwrap());
            assert_eq!(tracer.follow(None).is_sampled(), expected);
        }
    }

    #[test]
    fn a_tracer_without_an_outbox_records_nothing() {
        let outbox = Arc::new(Outbox::new(4));
        let on = Tracer::new(Some(outbox), Sampling::default());
        let off = Tracer::default();
        let check = |tracer: &Tracer, flags: &str, expected: bool| {
            assert_eq!(tracer.records(&parent(flags)), expected, "{flags}");
        };
        check(&on, "01", true);
        check(&on, "00", false);
        check(&off, "01", false);
    }
}
