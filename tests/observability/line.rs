//! A line that can be broken: `verdict up`, and an ingest beside it on the same Kafka, which goes on when the line is killed and then
//! has nothing but 5xx to say.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use broker::{Outgoing, Publish as _, kafka::KafkaPublish, kafka::KafkaSettings};
use drift::{Features, Model, Reference, Window};
use models::Repository;
use reqwest::{Client, StatusCode};
use schemas::{Record, topics};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::form::{Process, free_address, until};

/// Between two reviews of one client.
const REVIEW_EVERY: Duration = Duration::from_millis(50);
/// Between two records that are no reviews: a seventh of all, more than the alert allows and less than the breaker does.
const POISON_EVERY: Duration = Duration::from_millis(150);
/// Labels that come at once, and how often.
const LABELS: u64 = 40;
const LABELS_EVERY: Duration = Duration::from_millis(500);
/// Where the model lies, seen from the workspace.
const MODELS: &str = "tests/fixtures/models";
/// Of so many requests one breaks a rule and is answered with 4xx.
const MISTAKEN_EVERY: u64 = 10;
/// Longest wait of a client for its answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Line {
    folder: TempDir,
    /// Where `verdict up` serves HTTP.
    pub(crate) whole: SocketAddr,
    /// Where ingest does.
    pub(crate) ingest: SocketAddr,
    kafka: SocketAddr,
    whole_process: Process,
    ingest_process: Process,
}

impl Line {
    /// Starts both and waits until they are ready.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (whole, ingest, kafka) = (free_address(), free_address(), free_address());
        let whole_process = start_whole(folder.path(), whole, kafka);
        ready(whole).await;
        let ingest_process = start_ingest(folder.path(), ingest, kafka);
        ready(ingest).await;
        Self { folder, whole, ingest, kafka, whole_process, ingest_process }
    }

    /// SIGKILL to `verdict up`, and with it to Kafka.
    pub(crate) fn kill(&mut self) {
        self.ingest_process.assert_runs("ingest");
        self.whole_process.kill();
    }

    pub(crate) async fn start_again(&mut self) {
        self.whole_process = start_whole(self.folder.path(), self.whole, self.kafka);
        ready(self.whole).await;
    }

    /// Clients of both that post reviews, and one that reads the stream, for as long as the answer is kept.
    pub(crate) fn load(&self) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        for address in [self.whole, self.ingest] {
            clients.spawn(post(address));
        }
        let stream = format!("http://{}/verdicts/stream", self.whole);
        clients.spawn(async move {
            let mut answer = reqwest::get(stream).await.unwrap();
            while let Ok(Some(_bytes)) = answer.chunk().await {}
        });
        clients
    }

    /// People who contradict most verdicts, as sums of what they say.
    pub(crate) fn contradiction(&self) -> JoinSet<()> {
        let kafka = KafkaPublish::connect(&KafkaSettings::at(self.kafka.to_string()), 100).unwrap();
        let value = serde_json::to_vec(&contradicted()).unwrap();
        let mut people = JoinSet::new();
        people.spawn(async move {
            loop {
                let record = Record { value: Some(value.clone()), ..Record::default() };
                let topic = topics::DRIFT_WINDOWS.into();
                kafka.publish(Outgoing { topic, record }).await.unwrap();
                tokio::time::sleep(LABELS_EVERY).await;
            }
        });
        people
    }

    /// Records that are no reviews, and one that is no verdict.
    pub(crate) fn poison(&self) -> JoinSet<()> {
        let kafka = KafkaPublish::connect(&KafkaSettings::at(self.kafka.to_string()), 100).unwrap();
        let mut poison = JoinSet::new();
        poison.spawn(async move {
            let garbage = |topic: &str| {
                let record = Record { value: Some(b"no review".to_vec()), ..Record::default() };
                Outgoing { topic: topic.into(), record }
            };
            kafka.publish(garbage(topics::VERDICTS)).await.unwrap();
            loop {
                kafka.publish(garbage(topics::REVIEWS)).await.unwrap();
                tokio::time::sleep(POISON_EVERY).await;
            }
        });
        poison
    }
}

/// A window of verdicts of which people say that most are wrong.
fn contradicted() -> Window {
    let name = "tiny@1".parse().unwrap();
    let (digest, json) = Repository::directory(MODELS).reference(&name).unwrap();
    let reference = Reference::from_json(&json, drift::reference::WHOLE).unwrap();
    let [name, version] = ["tiny", "1"].map(str::to_owned);
    let model = Model { name, version, digest: digest.to_string() };
    let mut window = Window::empty(model, &reference).unwrap();
    let (positive, negative) = (("positive".to_owned(), 0.9), ("negative".to_owned(), 0.1));
    let features = Features {
        label: "positive".to_owned(),
        confidence: 0.9,
        probabilities: [positive, negative].into(),
        tokens: 8,
        special_tokens: 2,
        unknown_tokens: 0,
        truncated: false,
        cross_entropy: None,
        projection: None,
        language: None,
        words: None,
    };
    let now_ms = chassis::clock::now().as_millisecond();
    for number in 0..LABELS {
        window.record(&reference, now_ms, &features).unwrap();
        window.record_label(&reference, now_ms, 0.9, number % 4 == 0).unwrap();
    }
    window
}

async fn post(address: SocketAddr) {
    let client = Client::builder().timeout(ANSWER_WAIT_MAX).build().unwrap();
    for number in 0_u64.. {
        let body = match number % MISTAKEN_EVERY {
            0 => json!({ "text": "No review." }),
            _ => json!({ "review": format!("Room {number} was clean.") }),
        };
        // What becomes of it is for the metrics to say.
        client.post(format!("http://{address}/analyze")).json(&body).send().await.ok();
        tokio::time::sleep(REVIEW_EVERY).await;
    }
}

async fn ready(address: SocketAddr) {
    until(&format!("readiness of {address}"), async || {
        let answer = reqwest::get(format!("http://{address}/readyz")).await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK).then_some(())
    })
    .await;
}

fn start_whole(folder: &Path, http: SocketAddr, kafka: SocketAddr) -> Process {
    let mut command = program(Path::new(env!("CARGO_BIN_EXE_verdict")));
    command.args(["up", "--models", MODELS, "--model", "tiny@1", "--data"]);
    command.arg(folder.join("data"));
    command.args(["--http", &http.to_string(), "--kafka-listen", &kafka.to_string()]);
    // Windows that fill within seconds.
    for setting in [
        "drift.partial_every=200ms",
        "drift.window_reviews=50",
        "drift.decisions.reviews_min=50",
        "drift.decisions.labels_min=20",
        // For its expiry alone: the store is a file.
        "store.tls.ca=tests/fixtures/certificates/two.pem",
    ] {
        command.args(["--set", setting]);
    }
    Process::start(&mut command)
}

fn start_ingest(folder: &Path, http: SocketAddr, kafka: SocketAddr) -> Process {
    let mut command = program(&beside("ingest"));
    let store = folder.join("data/verdicts.db");
    for setting in [
        format!("ingest.listen={http}"),
        format!("kafka.bootstrap_servers={kafka}"),
        format!("store.url=sqlite:{}", store.display()),
        // So that a client is told soon that Kafka is away.
        "ingest.publish_wait_max=500ms".to_owned(),
    ] {
        command.args(["--set", &setting]);
    }
    Process::start(&mut command)
}

/// A binary of the same build.
fn beside(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_verdict")).with_file_name(name);
    assert!(path.is_file(), "{} is missing: build with --workspace --bins", path.display());
    path
}

/// In the folder of the workspace, without settings from this shell.
fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    for (name, _value) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("VERDICT_")) {
            command.env_remove(name);
        }
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
