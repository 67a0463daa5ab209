//! What is sent to a collector, and the one thread that sends it.
//!
//! The thread has a runtime of its own, so that neither side can hold up the other: a service that is busy still sends, and a
//! collector that hangs takes no thread from a service. While it sends, nothing that it logs is sent in turn.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::Ordering,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    logs::{LogBatch, LogExporter as _, LogProcessor, SdkLogRecord, SdkLoggerProvider},
    metrics::{PeriodicReader, Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::SpanExporter as _,
};
use tokio::{
    runtime::{Builder, Handle},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    telemetry::{
        encoding,
        environment::{Destination, Environment, Signal},
        outbox::{Counts, Outbox, note_change},
    },
    trace::span::Span,
};

/// Most spans that wait: some four megabytes, and a second of what a busy line records.
const SPANS_MAX: usize = 16_384;
/// Most lines of the log that wait.
const LOGS_MAX: usize = 4_096;
/// Between two requests of one signal.
const INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait at the end for what is still there. Whoever stops the process waits for that long at most.
const FLUSH_MAX: Duration = Duration::from_secs(2);

type Log = (SdkLogRecord, InstrumentationScope);

/// What is sent, and the thread that sends it.
#[derive(Debug)]
pub(crate) struct Otlp {
    pub(crate) spans: Option<Arc<Outbox<Span>>>,
    pub(crate) logs: Option<SdkLoggerProvider>,
    log_outbox: Option<Arc<Outbox<Log>>>,
    metrics: Option<Arc<Counts>>,
    stop: CancellationToken,
    /// Nothing is left but what is on its way: the thread may end.
    leave: CancellationToken,
    /// Closed when all is sent that will be.
    ended: Mutex<mpsc::Receiver<()>>,
}

/// The reader of the meters that pushes.
pub(crate) type PushReader = PeriodicReader<MetricPost>;

impl Otlp {
    /// Starts to send what `endpoint` or the variables say; `None` where they say nothing.
    pub(crate) fn start(
        endpoint: &str,
        environment: &Environment,
        resource: &Resource,
    ) -> anyhow::Result<Option<(Self, Option<PushReader>)>> {
        let [traces, metrics, logs] = [Signal::Traces, Signal::Metrics, Signal::Logs]
            .map(|signal| environment.destination(signal, endpoint));
        for destination in [&traces, &metrics, &logs] {
            check(destination)?;
        }
        let traces = span_post(&traces, environment.traces_timeout(), resource)?;
        let logs = log_exporter(&logs, resource)?;
        let metrics = metric_exporter(&metrics)?;
        if traces.is_none() && metrics.is_none() && logs.is_none() {
            return Ok(None);
        }
        let (stop, leave) = (CancellationToken::new(), CancellationToken::new());
        let spans = traces.map(|exporter| (Arc::new(Outbox::new(SPANS_MAX)), exporter));
        let logs = logs.map(|exporter| (Arc::new(Outbox::new(LOGS_MAX)), exporter));
        let (span_outbox, log_outbox) = (
            spans.as_ref().map(|(outbox, _)| Arc::clone(outbox)),
            logs.as_ref().map(|(outbox, _)| Arc::clone(outbox)),
        );
        let (handle, ended) = send_on_a_thread(spans, logs, (stop.clone(), leave.clone()))?;
        let metrics = metrics.map(|exporter| MetricPost {
            exporter,
            handle,
            stop: stop.clone(),
            counts: Arc::default(),
            is_taken: Mutex::new(true),
        });
        let log_provider = log_outbox.as_ref().map(|outbox| {
            let processor = LogPost(Arc::clone(outbox));
            SdkLoggerProvider::builder().with_log_processor(processor).build()
        });
        let otlp = Self {
            spans: span_outbox,
            logs: log_provider,
            log_outbox,
            metrics: metrics.as_ref().map(|post| Arc::clone(&post.counts)),
            stop,
            leave,
            ended: Mutex::new(ended),
        };
        Ok(Some((otlp, metrics.map(|post| PeriodicReader::builder(post).build()))))
    }

    /// What became of each signal's items.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Signal, [u64; 3])> + '_ {
        let traces = self.spans.as_deref().map(|outbox| (Signal::Traces, &outbox.counts));
        let metrics = self.metrics.as_deref().map(|counts| (Signal::Metrics, counts));
        let logs = self.log_outbox.as_deref().map(|outbox| (Signal::Logs, &outbox.counts));
        let read = |counts: &Counts| {
            [&counts.sent, &counts.no_room, &counts.not_taken]
                .map(|count| count.load(Ordering::Relaxed))
        };
        [traces, metrics, logs].into_iter().flatten().map(move |(signal, it)| (signal, read(it)))
    }

    /// Asks to send what is left in the [`FLUSH_MAX`] that follow, and does not wait. Metrics may still be sent meanwhile.
    pub(crate) fn stop(&self) {
        if let Some(spans) = &self.spans {
            spans.close();
        }
        self.stop.cancel();
    }

    /// Waits until all is sent after a [`stop`](Self::stop), or its time is over.
    pub(crate) fn join(&self) {
        self.leave.cancel();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // The thread bounds itself; what is added here is for a machine that is busy. Nothing is ever told but the end.
        if ended.recv_timeout(FLUSH_MAX + INTERVAL) == Err(RecvTimeoutError::Timeout) {
            warn!("the thread of telemetry does not end");
        }
    }
}

/// Refuses what cannot be sent to before it is tried, once and for all.
fn check(destination: &Destination) -> anyhow::Result<()> {
    let (Destination::Named(address) | Destination::OfEnvironment(address)) = destination else {
        return Ok(());
    };
    ensure!(
        address.starts_with("http://"),
        "telemetry goes to http://HOST:PORT, that of a collector beside the process, and not to {address:?}"
    );
    Ok(())
}

fn span_post(
    to: &Destination,
    timeout: Duration,
    resource: &Resource,
) -> anyhow::Result<Option<SpanPost>> {
    let client = reqwest::Client::builder().timeout(timeout).build()?;
    let body = Arc::default();
    let carrier = Carrier { client, body: Arc::clone(&body) };
    let builder = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
    let builder = match to {
        Destination::Nowhere => return Ok(None),
        Destination::Named(address) => builder.with_endpoint(address),
        Destination::OfEnvironment(_) => builder,
    };
    let exporter = builder.with_http_client(carrier).build().context("preparing to send traces")?;
    Ok(Some(SpanPost { exporter, body, resource: encoding::resource(resource) }))
}

fn log_exporter(to: &Destination, resource: &Resource) -> anyhow::Result<Option<LogExporter>> {
    let builder = LogExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
    let builder = match to {
        Destination::Nowhere => return Ok(None),
        Destination::Named(address) => builder.with_endpoint(address),
        Destination::OfEnvironment(_) => builder,
    };
    let mut exporter = builder.build().context("preparing to send logs")?;
    exporter.set_resource(resource);
    Ok(Some(exporter))
}

fn metric_exporter(to: &Destination) -> anyhow::Result<Option<MetricExporter>> {
    let builder = MetricExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
    let builder = match to {
        Destination::Nowhere => return Ok(None),
        Destination::Named(address) => builder.with_endpoint(address),
        Destination::OfEnvironment(_) => builder,
    };
    builder.build().map(Some).context("preparing to send metrics")
}

/// The handle of the thread's runtime, and where it tells that it has ended.
fn send_on_a_thread(
    spans: Option<(Arc<Outbox<Span>>, SpanPost)>,
    logs: Option<(Arc<Outbox<Log>>, LogExporter)>,
    (stop, leave): (CancellationToken, CancellationToken),
) -> anyhow::Result<(Handle, mpsc::Receiver<()>)> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime of telemetry")?;
    let handle = runtime.handle().clone();
    let (tell_end, ended) = mpsc::sync_channel(0);
    let work = move || {
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        runtime.block_on(send(spans, logs, &stop, &leave));
        // A name that is being looked up would hold up the end.
        runtime.shutdown_background();
        drop(tell_end);
    };
    thread::Builder::new()
        .name("telemetry".to_owned())
        .spawn(work)
        .context("starting the thread of telemetry")?;
    Ok((handle, ended))
}

/// Until `stop`, and then until all is sent or the time for it is over.
async fn send(
    spans: Option<(Arc<Outbox<Span>>, SpanPost)>,
    logs: Option<(Arc<Outbox<Log>>, LogExporter)>,
    stop: &CancellationToken,
    leave: &CancellationToken,
) {
    let spans = async {
        let Some((outbox, post)) = spans else { return };
        let send = async |spans: Vec<Span>| post.send(&spans).await;
        outbox.deliver(Signal::Traces.name(), INTERVAL, stop, send).await;
    };
    let logs = async {
        let Some((outbox, exporter)) = logs else { return };
        let send = async |logs: Vec<Log>| {
            let logs: Vec<_> = logs.iter().map(|(record, scope)| (record, scope)).collect();
            exporter.export(LogBatch::new(&logs)).await.map_err(|error| error.to_string())
        };
        outbox.deliver(Signal::Logs.name(), INTERVAL, stop, send).await;
    };
    tokio::select! {
        _ = async { tokio::join!(spans, logs) } => {}
        () = time_over(stop) => warn!("the rest of the telemetry was not taken in time"),
    }
    // The metrics are sent from another thread, which needs this one to be moved.
    drop(timeout(INTERVAL, leave.cancelled()).await);
}

/// Completes [`FLUSH_MAX`] after `stop`.
async fn time_over(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(FLUSH_MAX).await;
}

/// Sends spans. OpenTelemetry's exporter brings address, headers and a few tries; what it carries is encoded by us.
#[derive(Debug)]
struct SpanPost {
    exporter: SpanExporter,
    /// What goes with the next request.
    body: Arc<Mutex<Bytes>>,
    resource: Vec<u8>,
}

/// Puts our body in the place of the exporter's.
#[derive(Debug)]
struct Carrier {
    client: reqwest::Client,
    body: Arc<Mutex<Bytes>>,
}

impl SpanPost {
    async fn send(&self, spans: &[Span]) -> Result<(), String> {
        let body = encoding::request(&self.resource, spans).into();
        *self.body.lock().unwrap_or_else(PoisonError::into_inner) = body;
        self.exporter.export(Vec::new()).await.map_err(|error| error.to_string())
    }
}

#[async_trait]
impl HttpClient for Carrier {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.client.send_bytes(request.map(|_| body)).await
    }
}

/// Hands the lines of the log to their outbox.
#[derive(Debug)]
struct LogPost(Arc<Outbox<Log>>);

impl LogProcessor for LogPost {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.0.push([(record.clone(), scope.clone())]);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        self.0.close();
        Ok(())
    }
}

/// Sends the metrics from the thread that reads them, on the runtime of the one that sends the rest.
#[derive(Debug)]
pub(crate) struct MetricPost {
    exporter: MetricExporter,
    handle: Handle,
    stop: CancellationToken,
    counts: Arc<Counts>,
    is_taken: Mutex<bool>,
}

impl MetricPost {
    fn send(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let sent = self.handle.block_on(async {
            tokio::select! {
                sent = self.exporter.export(metrics) => sent,
                () = time_over(&self.stop) => Err(OTelSdkError::Timeout(FLUSH_MAX)),
            }
        });
        let counter = if sent.is_ok() { &self.counts.sent } else { &self.counts.not_taken };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut is_taken = self.is_taken.lock().unwrap_or_else(PoisonError::into_inner);
        let told = sent.as_ref().map(drop).map_err(ToString::to_string);
        note_change(Signal::Metrics.name(), &mut is_taken, told);
        sent
    }
}

impl PushMetricExporter for MetricPost {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        // The reader's thread does nothing else, so it may be blocked.
        self.send(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
