//! A collector: it takes what is sent by OTLP over HTTP and decodes it by the published protocol, not by our code.

use std::{
    collections::HashMap,
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{Span, status::StatusCode},
};
use prost::Message;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

/// A collector on a free port; gone when dropped.
pub(crate) struct Collector {
    address: SocketAddr,
    received: Arc<Received>,
    _server: JoinSet<()>,
}

/// What a collector does with a request.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    /// Takes it.
    Takes,
    /// Takes it after a while.
    Dawdles(Duration),
    /// Reads it and never answers.
    Hangs,
}

/// What came so far.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) spans: Mutex<Vec<Told>>,
    pub(crate) logs: Mutex<Vec<Line>>,
    /// Names of the metrics, each with the service that it is of.
    pub(crate) metrics: Mutex<Vec<(String, String)>>,
    pub(crate) requests: Mutex<usize>,
}

/// A span that came.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty where it has none.
    pub(crate) parent: String,
    pub(crate) links: Vec<String>,
    pub(crate) attributes: HashMap<String, String>,
    pub(crate) is_error: bool,
}

/// A line of the log that came.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) service: String,
    pub(crate) trace: String,
    pub(crate) text: String,
}

impl Collector {
    pub(crate) async fn start(manner: Manner) -> Self {
        let received = Arc::new(Received::default());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = (manner, Arc::clone(&received));
        let routes = Router::new()
            .route("/v1/traces", post(take::<ExportTraceServiceRequest>))
            .route("/v1/metrics", post(take::<ExportMetricsServiceRequest>))
            .route("/v1/logs", post(take::<ExportLogsServiceRequest>))
            .with_state(state);
        let mut server = JoinSet::new();
        server.spawn(async { axum::serve(listener, routes).await.unwrap() });
        Self { address, received, _server: server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn received(&self) -> &Received {
        &self.received
    }

    pub(crate) fn spans(&self) -> Vec<Told> {
        self.received.spans.lock().unwrap().clone()
    }
}

/// One of the three requests.
trait Note: Message + Default {
    fn note(self, received: &Received);
}

async fn take<T: Note>(State((manner, received)): State<(Manner, Arc<Received>)>, body: Bytes) {
    *received.requests.lock().unwrap() += 1;
    match manner {
        Manner::Takes => {}
        Manner::Dawdles(time) => sleep(time).await,
        Manner::Hangs => pending().await,
    }
    T::decode(body).unwrap().note(&received);
}

impl Note for ExportTraceServiceRequest {
    fn note(self, received: &Received) {
        for of_resource in self.resource_spans {
            let service = service(of_resource.resource.as_ref());
            let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let told = spans.map(|span| Told::new(&service, span));
            received.spans.lock().unwrap().extend(told);
        }
    }
}

impl Note for ExportMetricsServiceRequest {
    fn note(self, received: &Received) {
        for of_resource in self.resource_metrics {
            let service = service(of_resource.resource.as_ref());
            let metrics = of_resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            let named = metrics.map(|metric| (service.clone(), metric.name));
            received.metrics.lock().unwrap().extend(named);
        }
    }
}

impl Note for ExportLogsServiceRequest {
    fn note(self, received: &Received) {
        for of_resource in self.resource_logs {
            let service = service(of_resource.resource.as_ref());
            let records = of_resource.scope_logs.into_iter().flat_map(|scope| scope.log_records);
            let lines = records.map(|record| Line {
                service: service.clone(),
                trace: hex(&record.trace_id),
                text: record.body.and_then(|body| body.value).map(text).unwrap_or_default(),
            });
            received.logs.lock().unwrap().extend(lines);
        }
    }
}

impl Told {
    fn new(service: &str, span: Span) -> Self {
        Self {
            service: service.to_owned(),
            name: span.name,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
            attributes: span.attributes.into_iter().map(pair).collect(),
            is_error: span.status.is_some_and(|status| status.code() == StatusCode::Error),
        }
    }
}

fn service(resource: Option<&Resource>) -> String {
    let attributes = resource.map(|it| it.attributes.clone()).unwrap_or_default();
    let pairs: HashMap<_, _> = attributes.into_iter().map(pair).collect();
    pairs.get("service.name").cloned().unwrap_or_default()
}

fn pair(attribute: KeyValue) -> (String, String) {
    let value = attribute.value.and_then(|value| value.value);
    (attribute.key, value.map(text).unwrap_or_default())
}

fn text(value: Value) -> String {
    match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}
