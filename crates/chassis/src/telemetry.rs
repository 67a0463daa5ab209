//! Logs to a stream and metrics to `/metrics`, set up once for the process.
//!
//! Instruments are made from [`opentelemetry::global::meter`]; whatever else reads the same meters, such as a push to a
//! collector, is one more reader of the provider that is built here.

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
use opentelemetry::global;
use opentelemetry_sdk::{
    Resource,
    metrics::{Aggregation, Instrument, InstrumentKind, SdkMeterProvider, Stream},
};
use prometheus::{Registry, TextEncoder};
use serde::{Deserialize, Serialize};
use tracing::warn;
use tracing_subscriber::{
    EnvFilter, Layer, fmt, fmt::writer::BoxMakeWriter, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
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

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// What to log, as in `RUST_LOG`: `info`, or `info,processor=debug`.
    pub filter: String,
    /// How a line of the log looks.
    pub format: LogFormat,
    /// Where the log goes.
    pub output: LogOutput,
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
        }
    }
}

/// The running telemetry. What it still holds is given out when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
}

/// The one meter provider of the process and what reads it.
#[derive(Debug)]
struct Metrics {
    provider: SdkMeterProvider,
    registry: Registry,
}

/// The metrics of the process while anybody holds them: a second start, as in tests and where all services share a process,
/// joins the first.
static RUNNING: Mutex<Weak<Metrics>> = Mutex::new(Weak::new());

/// Starts logs and metrics under the name `service`. Where they run already, their settings stay as they are.
pub fn start(service: &'static str, settings: &TelemetrySettings) -> anyhow::Result<Telemetry> {
    start_log(settings)?;
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let metrics = match running.upgrade() {
        Some(metrics) => metrics,
        None => Arc::new(Metrics::new(service)?),
    };
    *running = Arc::downgrade(&metrics);
    global::set_meter_provider(metrics.provider.clone());
    Ok(Telemetry { metrics })
}

impl Telemetry {
    /// `/metrics`, in the text format of Prometheus.
    pub fn router(&self) -> Router {
        let telemetry = self.clone();
        Router::new().route("/metrics", get(async move || telemetry.answer()))
    }

    /// All metrics in the text format of Prometheus.
    pub fn text(&self) -> anyhow::Result<String> {
        let families = self.metrics.registry.gather();
        TextEncoder::new().encode_to_string(&families).context("encoding metrics")
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

impl Metrics {
    fn new(service: &'static str) -> anyhow::Result<Self> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            // The scope would be a label on every sample that tells nothing the name does not.
            .scope_info_enabled(false)
            .build()
            .context("registering the metrics")?;
        let provider = SdkMeterProvider::builder()
            .with_resource(Resource::builder().with_service_name(service).build())
            .with_reader(exporter)
            .with_view(seconds)
            .build();
        Ok(Self { provider, registry })
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown() {
            warn!(%error, "metrics did not shut down cleanly");
        }
    }
}

/// Gives every histogram of durations the same [`SECONDS`], so that they can be compared and added.
fn seconds(instrument: &Instrument) -> Option<Stream> {
    if instrument.kind() != InstrumentKind::Histogram || instrument.unit() != "s" {
        return None;
    }
    let aggregation =
        Aggregation::ExplicitBucketHistogram { boundaries: SECONDS.to_vec(), record_min_max: true };
    Stream::builder().with_aggregation(aggregation).build().ok()
}

fn start_log(settings: &TelemetrySettings) -> anyhow::Result<()> {
    let writer = match settings.output {
        LogOutput::Stdout => BoxMakeWriter::new(io::stdout),
        LogOutput::Stderr => BoxMakeWriter::new(io::stderr),
    };
    let line = fmt::layer().with_writer(writer);
    let line = match settings.format {
        LogFormat::Json => line.json().flatten_event(true).with_span_list(false).boxed(),
        LogFormat::Human => line.boxed(),
    };
    let started =
        tracing_subscriber::registry().with(filter(&settings.filter)?).with(line).try_init();
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
