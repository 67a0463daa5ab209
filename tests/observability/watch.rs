//! Prometheus and Alertmanager on the files of `observability/`, with a minute made a second.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    form::{Process, free_address, until},
    line::Line,
    post::{PASSWORD, Post},
    shelf::{hastened, put_hastened_rules, read},
};

/// Programs that are needed, and under which names Alertmanager is installed.
pub(crate) const NEEDED: [&str; 3] = ["prometheus", "promtool", "amtool"];
const ALERTMANAGERS: [&str; 2] = ["prometheus-alertmanager", "alertmanager"];

#[derive(Debug)]
pub(crate) struct Watch {
    prometheus: SocketAddr,
    _processes: [Process; 2],
    _folder: TempDir,
}

impl Watch {
    /// Watches `line` and tells `post`.
    pub(crate) async fn start(line: &Line, post: &Post) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (prometheus, alertmanager) = (free_address(), free_address());
        configure_alertmanager(folder.path(), post);
        configure_prometheus(folder.path(), line, alertmanager);
        let mut second = Command::new(installed_alertmanager());
        second
            .args(["--config.file=alertmanager.yml", "--storage.path=told", "--log.level=warn"])
            .args([&format!("--web.listen-address={alertmanager}"), "--cluster.listen-address="]);
        let mut first = Command::new("prometheus");
        first
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=seen", "--log.level=warn"])
            .arg(format!("--web.listen-address={prometheus}"));
        let processes = [second, first].map(|mut command| {
            Process::start(command.current_dir(folder.path()).stdout(Stdio::null()))
        });
        for address in [alertmanager, prometheus] {
            until(&format!("readiness of {address}"), async || {
                let answer = reqwest::get(format!("http://{address}/-/ready")).await;
                answer.is_ok_and(|answer| answer.status().is_success()).then_some(())
            })
            .await;
        }
        Self { prometheus, _processes: processes, _folder: folder }
    }

    /// Whether `expression` gives anything now. An expression that Prometheus does not take is an error.
    pub(crate) async fn has_data(&self, expression: &str) -> Result<bool, String> {
        let answer = self.ask(&format!("query?query={}", encoded(expression))).await?;
        let result = answer["data"]["result"].as_array();
        Ok(result.is_some_and(|samples| !samples.is_empty()))
    }

    /// All rules as Prometheus has them.
    pub(crate) async fn rules(&self) -> Vec<Value> {
        let answer = self.ask("rules").await.unwrap();
        let groups = answer["data"]["groups"].as_array().cloned().unwrap();
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap()).collect()
    }

    async fn ask(&self, what: &str) -> Result<Value, String> {
        let url = format!("http://{}/api/v1/{what}", self.prometheus);
        let answer = reqwest::get(url).await.map_err(|error| error.to_string())?;
        let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        if answer["status"] == json!("success") { Ok(answer) } else { Err(answer.to_string()) }
    }
}

/// The files as they are but for durations, addresses and encryption, which a mail server on loopback has none of.
fn configure_alertmanager(folder: &Path, post: &Post) {
    let config = hastened(&read("observability/alertmanager/alertmanager.yml"));
    let config = replaced(&config, "smtp.example.org:587", &post.mail.to_string());
    let config = replaced(&config, "smtp_require_tls: true", "smtp_require_tls: false");
    fs::write(folder.join("alertmanager.yml"), config).unwrap();
    for name in ["templates", "secrets"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let templates = read("observability/alertmanager/templates/verdict.tmpl");
    fs::write(folder.join("templates/verdict.tmpl"), templates).unwrap();
    fs::write(folder.join("secrets/smtp-password"), PASSWORD).unwrap();
    fs::write(folder.join("secrets/slack-url"), format!("http://{}/slack", post.slack)).unwrap();
}

fn configure_prometheus(folder: &Path, line: &Line, alertmanager: SocketAddr) {
    put_hastened_rules(folder);
    let mut config = read("observability/prometheus/prometheus.yml");
    // A busy machine needs more than the sixtieth of ten seconds to answer.
    for (was, is) in [("interval: 15s", "interval: 500ms"), ("timeout: 10s", "timeout: 500ms")] {
        config = replaced(&config, was, is);
    }
    let config = replaced(&config, "127.0.0.1:9093", &alertmanager.to_string());
    fs::write(folder.join("prometheus.yml"), config).unwrap();
    let target = |address: SocketAddr, service: &str| json!({ "targets": [address.to_string()], "labels": { "service": service } });
    let targets = json!([target(line.whole, "verdict"), target(line.ingest, "ingest")]);
    fs::create_dir(folder.join("targets")).unwrap();
    // JSON is YAML.
    fs::write(folder.join("targets/verdict.yml"), targets.to_string()).unwrap();
}

#[track_caller]
fn replaced(text: &str, was: &str, is: &str) -> String {
    assert!(text.contains(was), "no `{was}` to replace");
    text.replace(was, is)
}

fn installed_alertmanager() -> &'static str {
    let is_there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    ALERTMANAGERS.into_iter().find(is_there).unwrap()
}

/// For a URL: all but letters and digits as `%XX`.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
