//! Three processes apart, and a real OpenTelemetry collector with the configuration that is shipped: one trace leads through all.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use broker::kafka::{KafkaSettings, TopicSpec, ensure_topics};
use embedded_kafka::{EmbeddedKafka, Settings};
use schemas::{headers, topics};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    collector::Told,
    line::{LOOK_EVERY, free_address},
    telemetry::{LOOKS_MAX, SENDER, check_chain, publish, record, review, trace},
};

/// Names the collector's program, where it is not on the path as one of [`PROGRAMS`].
const OTELCOL: &str = "VERDICT_TEST_OTELCOL";
const PROGRAMS: [&str; 2] = ["otelcol-contrib", "otelcol"];

/// Longest wait for the broker to answer.
const TOPICS_WAIT_MAX: Duration = Duration::from_mins(1);

/// Processes, killed when dropped.
struct Processes {
    folder: TempDir,
    children: Vec<(&'static str, Child)>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_real_collector_is_told_one_trace_by_three_processes() {
    #[expect(clippy::print_stderr, reason = "says what was left out")]
    let Some(program) = program() else {
        eprintln!("skipped: {OTELCOL} names no collector, and there is none on the path");
        return;
    };
    let mut processes = Processes { folder: tempfile::tempdir().unwrap(), children: Vec::new() };
    let folder = processes.folder.path().to_owned();
    let broker = Settings::new(folder.join("kafka"), ([127, 0, 0, 1], 0).into());
    let broker = EmbeddedKafka::start(broker).await.unwrap();
    let kafka = KafkaSettings::at(broker.local_addr().to_string());
    let specs = topics::ALL.map(|topic| TopicSpec::new(topic, 2));
    ensure_topics(&kafka, &specs, TOPICS_WAIT_MAX).await.unwrap();
    let otlp = processes.start_collector(&program).await;
    let ingest = processes.start_line(&kafka, otlp).await;

    // Over HTTP, by a foreign producer, and by one whose record is no review.
    let answer = reqwest::Client::new()
        .post(format!("http://{ingest}/analyze"))
        .header(headers::TRACEPARENT, format!("00-{}-{SENDER}-01", trace(9_999)))
        .header("prefer", "wait=60")
        .json(&json!({ "id": "over-http", "review": "The room was clean." }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    publish(&kafka, [record(7, &review(7), "01"), record(8_888, "no JSON", "01")]).await;

    let after = ["process reviews.v1", "send verdicts.v1", "process verdicts.v1"];
    let over_http = [&["POST /analyze", "send reviews.v1"], &after[..]].concat();
    let refused = ["process reviews.v1", "send reviews.v1.dlq"];
    let expected = over_http.len() + after.len() + refused.len();
    let traces = [9_999, 7, 8_888].map(trace);
    let mut spans = Vec::new();
    for _look in 0..LOOKS_MAX {
        spans = told(&folder.join("traces.jsonl"));
        if spans.iter().filter(|span| traces.contains(&span.trace)).count() == expected {
            break;
        }
        processes.assert_run();
        tokio::time::sleep(LOOK_EVERY).await;
    }
    check_chain(&spans, &traces[0], SENDER, &over_http);
    check_chain(&spans, &traces[1], SENDER, &after);
    check_chain(&spans, &traces[2], SENDER, &refused);
    let mut services: Vec<_> =
        spans.iter().filter(|it| it.trace == traces[0]).map(|it| it.service.as_str()).collect();
    services.dedup();
    assert_eq!(services.len(), 3, "{services:?}");
    for (name, service) in [
        ("POST /analyze", "ingest"),
        ("process reviews.v1", "processor"),
        ("process verdicts.v1", "sink"),
    ] {
        let of_it = spans.iter().filter(|span| span.name == name);
        assert!(of_it.clone().count() > 0 && of_it.clone().all(|span| span.service == service));
    }
    drop(processes);
    broker.stop().await;
}

/// The collector's program.
fn program() -> Option<PathBuf> {
    let named = env::var_os(OTELCOL).filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| {
        let folders = env::var_os("PATH")?;
        let all = env::split_paths(&folders).flat_map(|folder| PROGRAMS.map(|it| folder.join(it)));
        all.into_iter().find(|path| path.is_file())
    })
}

impl Processes {
    fn start(&mut self, name: &'static str, command: &mut Command) {
        let log = fs::File::create(self.folder.path().join(format!("{name}.log"))).unwrap();
        let (out, err) = (log.try_clone().unwrap(), log);
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap();
        self.children.push((name, child));
    }

    /// Starts the collector on the configuration that is shipped, but for addresses, and with a file in the place of Jaeger.
    async fn start_collector(&mut self, program: &Path) -> SocketAddr {
        let [grpc, http, metrics, health] = [(); 4].map(|()| free_address());
        // JSON is YAML.
        let here = json!({
            "receivers": { "otlp": { "protocols": {
                "grpc": { "endpoint": grpc.to_string() }, "http": { "endpoint": http.to_string() },
            } } },
            "exporters": {
                "prometheus": { "endpoint": metrics.to_string() },
                "file": { "path": self.folder.path().join("traces.jsonl"), "flush_interval": "100ms", "rotation": null },
            },
            "extensions": { "health_check": { "endpoint": health.to_string() } },
            "service": {
                "telemetry": { "metrics": { "level": "none" } },
                "pipelines": { "traces": { "exporters": ["file", "span_metrics", "debug"] } },
            },
        });
        let changes = self.folder.path().join("here.yml");
        fs::write(&changes, here.to_string()).unwrap();
        let mut command = Command::new(program);
        command.args(["--config", "observability/collector/collector.yml", "--config"]);
        self.start("otelcol", command.arg(&changes));
        self.ready(&format!("http://{health}/")).await;
        http
    }

    /// Starts ingest, processor and sink, and answers where ingest is.
    async fn start_line(&mut self, kafka: &KafkaSettings, otlp: SocketAddr) -> SocketAddr {
        let [ingest, processor, sink] = [(); 3].map(|()| free_address());
        let store =
            format!("store.url=sqlite:{}", self.folder.path().join("verdicts.db").display());
        let shared = [
            format!("kafka.bootstrap_servers={}", kafka.bootstrap_servers),
            format!("telemetry.otlp_endpoint=http://{otlp}"),
        ];
        let sink_own = [
            store.clone(),
            format!("sink.listen={sink}"),
            "feedback.transactional_id=apart-feedback".to_owned(),
            "drift.enabled=false".to_owned(),
        ];
        let processor_own = [
            format!("replica.listen={processor}"),
            "replica.transactional_id=apart-processor".to_owned(),
            "model.repository=tests/fixtures/models".to_owned(),
            "model.name=tiny@1".to_owned(),
        ];
        let ingest_own = [store, format!("ingest.listen={ingest}")];
        // The sink first: it makes the tables.
        for (name, address, own) in [
            ("sink", sink, &sink_own[..]),
            ("processor", processor, &processor_own[..]),
            ("ingest", ingest, &ingest_own[..]),
        ] {
            let mut command = Command::new(beside(name));
            for setting in shared.iter().chain(own) {
                command.args(["--set", setting]);
            }
            self.start(name, &mut command);
            self.ready(&format!("http://{address}/readyz")).await;
        }
        ingest
    }

    async fn ready(&mut self, url: &str) {
        for _look in 0..LOOKS_MAX {
            let answer = reqwest::get(url).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            self.assert_run();
            tokio::time::sleep(LOOK_EVERY).await;
        }
        panic!("{url} is not ready; logs are in {}", self.folder.path().display());
    }

    fn assert_run(&mut self) {
        for (name, child) in &mut self.children {
            let Some(ended) = child.try_wait().unwrap() else { continue };
            let log = fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap();
            panic!("{name} ended by itself ({ended}): {log}");
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// A program of this build: the tests' own lies in `deps`.
fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_verdict")).with_file_name(name)
}

/// The spans in a file of the collector, in the JSON of OTLP. A line that is being written counts later.
fn told(path: &Path) -> Vec<Told> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let requests = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut spans = Vec::new();
    for request in requests {
        for of_resource in array(&request["resourceSpans"]) {
            let attributes = array(&of_resource["resource"]["attributes"]);
            let service = attributes.iter().find(|it| it["key"] == "service.name");
            let service = service.map_or("", |it| text_of(&it["value"]["stringValue"]));
            for scope in array(&of_resource["scopeSpans"]) {
                spans.extend(array(&scope["spans"]).iter().map(|span| of_json(service, span)));
            }
        }
    }
    spans
}

fn of_json(service: &str, span: &Value) -> Told {
    let text = |name: &str| text_of(&span[name]).to_owned();
    Told {
        service: service.to_owned(),
        name: text("name"),
        trace: text("traceId"),
        id: text("spanId"),
        parent: text("parentSpanId"),
        links: array(&span["links"]).iter().map(|it| text_of(&it["spanId"]).to_owned()).collect(),
        attributes: std::collections::HashMap::new(),
        is_error: span["status"]["code"] == 2,
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
