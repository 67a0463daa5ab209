//! Logs to a stream and metrics to `/metrics`, and all three signals to a collector where there is one: set up once for the process.
//!
//! Instruments are made from [`opentelemetry::global::meter`]; `/metrics` and the collector are two readers of the one provider that
//! is built here. Spans are told to [`Tracer::current`].

pub mod certificates;
pub(crate) mod encoding;
mod environment;
mod line;
mod otlp;
pub mod outbox;
mod resource;

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use anyhow::Context as _;
use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use opentelemetry::{KeyValue, global, metrics::MeterProvider as _};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::{
    logs::SdkLoggerProvider,
    metrics::{Aggregation, Instrument, InstrumentKind, SdkMeterProvider, Stream},
};
use prometheus::{Registry, TextEncoder};
use serde::{Deserialize, Serialize};
use tracing_subscriber::{
    EnvFilter, Layer, fmt,
    fmt::{format::JsonFields, writer::BoxMakeWriter},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{
    telemetry::{environment::Environment, line::Traced, otlp::Otlp},
    trace::span::Tracer,
};

/// Upper bounds of histogram buckets for durations, in seconds: 100 µs to one minute, two or three a decade, so that a
/// quantile read from them is off by a factor of 2.5 at worst. Taken for every histogram with the unit `s`.
pub const SECONDS: [f64; 18] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

/// What is quiet unless the filter asks for it: these libraries tell at `info` what concerns only themselves.
const QUIET: &str = "h2=warn,hyper=warn,opentelemetry=warn,reqwest=warn,rustls=warn,tower=warn,tract=warn,\
                     rdkafka=warn,librdkafka=warn,tokenizers=warn";

/// What is logged and how, and what is sent to a collector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// What to log, as in `RUST_LOG`: `info`, or `info,processor=debug`.
    pub filter: String,
    /// How a line of the log looks.
    pub format: LogFormat,
    /// Where the log goes.
    pub output: LogOutput,
    /// Where traces, metrics and logs are sent by OTLP: `http://HOST:4318`, a collector's. Empty: where the variable
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` says, else nowhere.
    pub otlp_endpoint: String,
    /// Share of the traces, 0 to 1, that are recorded of those that begin here; whoever sends a `traceparent` has decided for
    /// himself. Absent: what `OTEL_TRACES_SAMPLER` says, else all.
    pub sample_ratio: Option<f64>,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// Text, for people.
    Human,
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogOutput {
    /// Standard output: what containers are expected to use.
    #[default]
    Stdout,
    /// Standard error: for commands whose output is a result.
    Stderr,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::default(),
            output: LogOutput::default(),
            otlp_endpoint: String::new(),
            sample_ratio: None,
        }
    }
}

/// The running telemetry. What it still holds is given out by [`finish`](Self::finish), at the latest when the last one is
/// dropped.
#[derive(Clone, Debug)]
pub struct Telemetry {
    running: Arc<Running>,
}

/// The one meter provider of the process, what reads it, and what is sent besides.
#[derive(Debug)]
struct Running {
    provider: SdkMeterProvider,
    registry: Registry,
    otlp: Option<Arc<Otlp>>,
}

/// The telemetry of the process while anybody holds it: a second start, as in tests and where all services share a process,
/// joins the first.
static RUNNING: Mutex<Weak<Running>> = Mutex::new(Weak::new());

/// Starts logs, metrics and traces under the name `service`. Where they run already, their settings stay as they are.
pub fn start(service: &'static str, settings: &TelemetrySettings) -> anyhow::Result<Telemetry> {
    let mut current = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let running = match current.upgrade() {
        Some(running) => running,
        None => Arc::new(Running::start(service, settings)?),
    };
    start_log(settings, running.otlp.as_ref().and_then(|otlp| otlp.logs.as_ref()))?;
    *current = Arc::downgrade(&running);
    Ok(Telemetry { running })
}

impl Telemetry {
    /// `/metrics`, in the text format of Prometheus.
    pub fn router(&self) -> Router {
        let telemetry = self.clone();
        Router::new().route("/metrics", get(async move || telemetry.answer()))
    }

    /// All metrics in the text format of Prometheus.
    pub fn text(&self) -> anyhow::Result<String> {
        let families = self.running.registry.gather();
        TextEncoder::new().encode_to_string(&families).context("encoding metrics")
    }

    /// Sends what is left to the collector, for two seconds at most: what is told afterwards goes nowhere. Blocks.
    pub fn finish(&self) {
        self.running.finish();
    }

    fn answer(&self) -> Response {
        match self.text() {
            Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
            Err(error) => {
                (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response()
            }
        }
    }
}

impl Running {
    fn start(service: &'static str, settings: &TelemetrySettings) -> anyhow::Result<Self> {
        let environment = Environment::read();
        let sampling = environment
            .sampling(settings.sample_ratio)
            .context("reading the share of traces to record")?;
        let resource = resource::of(service);
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            // The scope would be a label on every sample that tells nothing the name does not.
            .scope_info_enabled(false)
            .build()
            .context("registering the metrics")?;
        let builder = SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_reader(exporter)
            .with_view(seconds);
        let started = Otlp::start(&settings.otlp_endpoint, &environment, &resource)?;
        let (otlp, builder) = match started {
            None => (None, builder),
            Some((otlp, None)) => (Some(Arc::new(otlp)), builder),
            Some((otlp, Some(reader))) => (Some(Arc::new(otlp)), builder.with_reader(reader)),
        };
        let provider = builder.build();
        global::set_meter_provider(provider.clone());
        if let Some(otlp) = &otlp {
            count(&provider, otlp);
        }
        let spans = otlp.as_ref().and_then(|otlp| otlp.spans.clone());
        Tracer::set_current(Tracer::new(spans, sampling));
        Ok(Self { provider, registry, otlp })
    }

    fn finish(&self) {
        let Some(otlp) = &self.otlp else { return };
        otlp.stop();
        // It reads the meters a last time. A second time it says that it was shut down, which is no news.
        drop(self.provider.shutdown());
        otlp.join();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.finish();
    }
}

/// What became of what was to be sent, as metrics. They are read when they are asked for and cost nothing before.
fn count(provider: &SdkMeterProvider, otlp: &Arc<Otlp>) {
    let meter = provider.meter("telemetry");
    let signal = |signal: environment::Signal| KeyValue::new("signal", signal.name());
    let counted = Arc::downgrade(otlp);
    let sent = meter
        .u64_observable_counter("telemetry.sent")
        .with_unit("{item}")
        .with_description("Spans, lines of the log and reports of metrics that the collector took.")
        .with_callback(move |observer| {
            let Some(otlp) = counted.upgrade() else { return };
            for (name, [sent, ..]) in otlp.counts() {
                observer.observe(sent, &[signal(name)]);
            }
        });
    let _registered = sent.build();
    let counted = Arc::downgrade(otlp);
    let dropped = meter
        .u64_observable_counter("telemetry.dropped")
        .with_unit("{item}")
        .with_description(
            "Spans, lines of the log and reports of metrics that the collector did not get, by reason.",
        )
        .with_callback(move |observer| {
            let Some(otlp) = counted.upgrade() else { return };
            for (name, [_, no_room, not_taken]) in otlp.counts() {
                let reason = |reason: &'static str| KeyValue::new("reason", reason);
                observer.observe(no_room, &[signal(name), reason("queue_full")]);
                observer.observe(not_taken, &[signal(name), reason("export_failed")]);
            }
        });
    let _registered = dropped.build();
}

/// Gives every histogram of durations the same [`SECONDS`], so that they can be compared and added. Delays are not machines' but
/// people's, who take days: what is called so keeps the bounds that it was made with.
fn seconds(instrument: &Instrument) -> Option<Stream> {
    let is_duration = instrument.kind() == InstrumentKind::Histogram && instrument.unit() == "s";
    let is_of_people = instrument.name().rsplit('.').next() == Some("delay");
    if !is_duration || is_of_people {
        return None;
    }
    let aggregation =
        Aggregation::ExplicitBucketHistogram { boundaries: SECONDS.to_vec(), record_min_max: true };
    Stream::builder().with_aggregation(aggregation).build().ok()
}

fn start_log(
    settings: &TelemetrySettings,
    collector: Option<&SdkLoggerProvider>,
) -> anyhow::Result<()> {
    let writer = match settings.output {
        LogOutput::Stdout => BoxMakeWriter::new(io::stdout),
        LogOutput::Stderr => BoxMakeWriter::new(io::stderr),
    };
    let line = fmt::layer().with_writer(writer);
    let line = match settings.format {
        LogFormat::Json => line.fmt_fields(JsonFields::new()).event_format(Traced::new()).boxed(),
        LogFormat::Human => line.boxed(),
    };
    let started = tracing_subscriber::registry()
        .with(filter(&settings.filter)?)
        .with(line)
        .with(collector.map(OpenTelemetryTracingBridge::new))
        .try_init();
    // Only one log can be: the first stays.
    drop(started);
    Ok(())
}

/// [`QUIET`], and over it what was asked for.
fn filter(asked: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::builder()
        .parse(format!("{QUIET},{asked}"))
        .with_context(|| format!("reading the log filter {asked:?}"))
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn the_settings_are_read_and_written() {
        let settings: TelemetrySettings =
            toml::from_str("filter = 'debug'\nformat = 'human'\noutput = 'stderr'").unwrap();
        assert_eq!(settings.format, LogFormat::Human);
        assert_eq!(settings.output, LogOutput::Stderr);
        assert_eq!(toml::from_str::<TelemetrySettings>("").unwrap(), TelemetrySettings::default());
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let settings =
            TelemetrySettings { filter: "a=b=c".to_owned(), ..TelemetrySettings::default() };
        let error = start("test", &settings).unwrap_err();
        assert_eq!(error.to_string(), "reading the log filter \"a=b=c\"");
    }

    #[test]
    fn what_is_asked_for_goes_over_what_is_quiet() {
        let shown = filter("info,rdkafka=debug").unwrap().to_string();
        assert!(shown.contains("hyper=warn"), "{shown}");
        assert!(shown.contains("rdkafka=debug"), "{shown}");
        assert!(!shown.contains(",rdkafka=warn"), "{shown}");
    }

    #[tokio::test]
    async fn a_second_start_joins_the_first_and_metrics_are_served() {
        let first = start("test", &TelemetrySettings::default()).unwrap();
        let second = start("other", &TelemetrySettings::default()).unwrap();
        let meter = global::meter("chassis");
        meter.u64_counter("dlq.messages").build().add(2, &[]);
        meter.f64_histogram("inference.duration").with_unit("s").build().record(0.003, &[]);
        drop(first);
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = second.router().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], prometheus::TEXT_FORMAT);
        let body = to_bytes(response.into_body(), 100_000).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("dlq_messages_total 2"), "{text}");
        assert!(text.contains("inference_duration_seconds_bucket{le=\"0.0025\"} 0"), "{text}");
        assert!(text.contains("inference_duration_seconds_bucket{le=\"0.005\"} 1"), "{text}");
        assert!(text.contains("service_name=\"test\""), "{text}");
    }
}
