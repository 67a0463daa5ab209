//! Who asks, and the outermost layer: it names each request, follows its trace, measures it, and finishes its problems.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method,
        header::{CONNECTION, CONTENT_LENGTH},
    },
    middleware::Next,
    response::Response,
};
use chassis::{TraceContext, clock};
use schemas::headers;
use tracing::debug;
use uuid::Uuid;

use crate::{
    instruments::{Instruments, Measured},
    problem::Problem,
    service::Service,
    spans::{Answered, Spans},
};

const REQUEST_ID: HeaderName = HeaderName::from_static(headers::REQUEST_ID);
const TRACEPARENT: HeaderName = HeaderName::from_static(headers::TRACEPARENT);

/// Longest request id that is taken over, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Longest `tracestate` that is passed on, in bytes (W3C Trace Context, 3.3.1.5).
const TRACESTATE_BYTES_MAX: usize = 512;

/// What is known of a request before its body is read.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Names the request in its client's logs and in ours.
    pub(crate) request_id: String,
    /// The operation that this request is.
    pub(crate) trace: TraceContext,
    /// The client's operation that it is a part of.
    pub(crate) parent: Option<TraceContext>,
    /// What tracing vendors added; meaningless without the `traceparent` it came with.
    pub(crate) tracestate: Option<String>,
}

impl Caller {
    /// Takes over what the client sent, where it is valid, and makes the rest.
    fn read(headers: &HeaderMap, spans: &Spans) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let parent = text(headers::TRACEPARENT).and_then(TraceContext::parse);
        let request_id = text(headers::REQUEST_ID)
            .filter(|id| (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()))
            .filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic()))
            .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
        let tracestate = text(headers::TRACESTATE)
            .filter(|state| parent.is_some() && state.len() <= TRACESTATE_BYTES_MAX)
            .map(str::to_owned);
        let trace = spans.follow(parent.as_ref());
        Self { request_id, trace, parent, tracestate }
    }
}

/// Counts a request as active for as long as it is, even where its client goes away.
struct Active {
    instruments: Arc<Instruments>,
    method: &'static str,
}

impl Active {
    fn new(instruments: &Arc<Instruments>, method: &'static str) -> Self {
        instruments.request_began(method);
        Self { instruments: Arc::clone(instruments), method }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.instruments.request_left(self.method);
    }
}

/// The outermost layer.
pub(crate) async fn accompany(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Response {
    let (start, began_at) = (clock::monotonic(), clock::now());
    let caller = Caller::read(request.headers(), &service.spans);
    let method = name_of(request.method());
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    request.extensions_mut().insert(caller.clone());

    let active = Active::new(&service.instruments, method);
    let mut response = caller.trace.surround(next.run(request)).await;
    drop(active);

    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let finished = problem.to_response(Some(&path), Some(&caller.request_id));
        *response.body_mut() = finished.into_body();
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    let headers = response.headers_mut();
    for (name, value) in
        [(REQUEST_ID, &caller.request_id), (TRACEPARENT, &caller.trace.traceparent())]
    {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    if service.health.is_draining() || service.connections.are_many() {
        // So that the client opens its next connection, to another replica, before this one is closed: a request that is sent
        // while its connection is being closed is lost, and nobody knows whether it was done. And so that connections which are
        // not used leave room for those that are.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let status = response.status().as_u16();
    let seconds = clock::monotonic().saturating_duration_since(start).as_secs_f64();
    let route = route.as_ref().map(MatchedPath::as_str);
    let measured = Measured { method, route, status };
    service.instruments.request_answered(measured, seconds);
    let (context, parent) = (caller.trace, caller.parent);
    let (path, ended_at) = (path.as_str(), clock::now());
    service.spans.answered(&Answered { context, parent, measured, path, began_at, ended_at });
    let _entered = caller.trace.enter();
    debug!(method, route, status, seconds, request_id = caller.request_id, "answered");
    response
}

/// The method as semantic conventions want it: any word that is not HTTP's own is one and the same.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "_OTHER",
    }
}
