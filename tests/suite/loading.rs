//! `verdict load` on a running line.

use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::line::{Line, verdict};

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_load_says_what_came_of_it_and_what_the_model_has_no_part_in() {
    let mut line = Line::start_tiny().await;
    let told = load(line.url(""), &["--json"]).await;
    let summary: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&summary["sent"], &summary["verdicts"]), (&Value::from(40), &Value::from(40)));
    let milliseconds = |of: &str, at: &str| summary[of][at].as_f64().unwrap();
    for at in ["p50", "p90", "p99", "p99.9", "max"] {
        let beside = milliseconds("latency_beside_model_ms", at);
        assert!(0.0 < beside && beside <= milliseconds("latency_ms", at), "{summary}");
    }

    // Whoever does not wait gets no verdict, which would say what the model took.
    let told = load(line.url(""), &["--respond-async"]).await;
    assert!(told.contains("40 taken (202)") && told.contains("latency   p50"), "{told}");
    assert!(!told.contains("beside"), "{told}");
    assert!(line.terminate().success());
}

/// Two seconds of twenty requests each; what is printed.
async fn load(url: String, more: &'static [&'static str]) -> String {
    let mut command = verdict();
    command.args(["load", "--rate", "20", "--duration", "2s", "--url", &url]).args(more);
    let output = spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
