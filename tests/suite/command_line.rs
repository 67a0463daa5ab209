//! `verdict score`, `config` and the rest, as a person types them.

use std::{
    fs,
    io::Write as _,
    process::{Output, Stdio},
};

use serde_json::Value;

use crate::line::verdict;

#[test]
fn score_keeps_the_order_of_its_input_and_says_which_lines_it_refused() {
    let output = score(&[], "A joy from start to end.\n\u{7}\nTerrible, a waste of money.\n");
    let lines = ndjson(&output);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["label"], "positive");
    assert_eq!(lines[2]["label"], "negative");
    for verdict in [&lines[0], &lines[2]] {
        assert!(verdict["confidence"].is_f64() && verdict["probabilities"]["positive"].is_f64());
        assert_eq!(verdict["model"]["name"], "sentiment");
    }
    assert_eq!(lines[1]["line"], 2);
    assert!(lines[1]["error"].as_str().unwrap().contains("empty"), "{}", lines[1]);
    assert_eq!(output.status.code(), Some(1), "a refused line is not silent");
    assert!(stderr(&output).contains("1 of 3"));
}

#[test]
fn score_reads_ndjson_and_csv_and_prints_the_accuracy() {
    let ndjson_input = "{\"body\":\"Loved it.\",\"y\":1,\"id\":\"a\"}\n{\"body\":\"Hated it.\",\"y\":\"negative\"}\n";
    let output =
        score(&["--format", "ndjson", "--text-field", "body", "--label-field", "y"], ndjson_input);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(ndjson(&output)[0]["id"], "a");
    assert!(stderr(&output).contains("accuracy 100.0 %"), "{}", stderr(&output));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reviews.csv");
    fs::write(&path, "stars,review\n5,\"Wonderful, quiet, clean.\"\n1,Never again.\n").unwrap();
    let output =
        verdict().arg("score").arg(&path).args(["--model", "sentiment@2"]).output().unwrap();
    let lines = ndjson(&output);
    assert_eq!((&lines[0]["label"], &lines[1]["label"]), (&"positive".into(), &"negative".into()));
    assert_eq!(lines[0]["model"]["version"], "2");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let check = |arguments: &[&str], expected: &[&str]| {
        let output = verdict().args(arguments).output().unwrap();
        let message = stderr(&output);
        assert!(!output.status.success(), "{arguments:?}");
        for part in expected {
            assert!(message.contains(part), "{arguments:?} says: {message}");
        }
    };
    check(&["score", "--model", "sentiment@9", "-"], &["sentiment@9"]);
    check(&["score", "--model", "../etc@1", "-"], &["../etc"]);
    check(&["score", "no-such-file"], &["no-such-file"]);
    check(&["config", "check", "--set", "sink.rows=1"], &["sink.rows"]);
    check(&["up", "--kafka-listen", "0.0.0.0:0"], &["loopback"]);
    check(&["load", "--url", "http://127.0.0.1:9"], &["nothing answers", "verdict"]);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    fs::write(&file, "[processor]\nworkerz = 1\n").unwrap();
    let path = file.to_str().unwrap();
    check(&["config", "check", "--config", path], &["workerz", path]);
}

#[test]
fn printed_settings_can_be_read_again() {
    let printed = verdict().args(["config", "print"]).output().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("verdict.toml");
    fs::write(&path, &printed.stdout).unwrap();
    let again = verdict().args(["config", "print", "--config"]).arg(&path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&printed.stdout), String::from_utf8_lossy(&again.stdout));
    assert!(!printed.stdout.is_empty());
}

#[test]
fn secrets_are_not_printed() {
    let secret = "kafka.properties={\"sasl.username\" = \"ann\", \"sasl.password\" = \"hunter2\"}";
    let output = verdict().args(["config", "print", "--set", secret]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        printed.contains("ann") && !printed.contains("hunter2"),
        "{printed}{}",
        stderr(&output)
    );
}

#[test]
fn completions_and_manual_pages_are_made() {
    let completions = verdict().args(["completions", "bash"]).output().unwrap();
    assert!(String::from_utf8_lossy(&completions.stdout).contains("verdict"));
    let folder = tempfile::tempdir().unwrap();
    assert!(verdict().arg("man").arg(folder.path()).status().unwrap().success());
    for page in ["verdict.1", "verdict-score.1", "verdict-config-print.1"] {
        assert!(folder.path().join(page).is_file(), "{page}");
    }
}

fn score(arguments: &[&str], input: &str) -> Output {
    let mut child = verdict()
        .arg("score")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn ndjson(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
