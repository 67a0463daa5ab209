//! `verdict model reference`: a bundle gets another reference, and serves it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::line::verdict;

const FILES: [&str; 5] =
    ["model.toml", "model.onnx", "tokenizer.json", "reference.json", "golden.jsonl"];

/// A copy of tiny@1 in a repository of its own, beside some labelled sentences.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/tiny/1");
        let world = Self { folder };
        fs::create_dir_all(world.bundle()).unwrap();
        for file in FILES {
            fs::copy(tiny.join(file), world.bundle().join(file)).unwrap();
        }
        let sentences = [
            ("This film was a waste of a perfectly good evening and of my money.", 0),
            ("A wonderful film that everybody in the whole country should go and see.", 1),
            ("Dull.", 0),
            ("Funny and warm, with a great cast and a clever story.", 1),
        ];
        let lines: Vec<String> = sentences
            .iter()
            .map(|(text, label)| json!({ "text": text, "label": label }).to_string())
            .collect();
        fs::write(world.data(), lines.join("\n")).unwrap();
        world
    }

    fn bundle(&self) -> PathBuf {
        self.folder.path().join("models/tiny/1")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("held-out.jsonl")
    }

    fn make(&self, name: &str, flags: &[&str]) -> Output {
        let data = format!("{name}={}", self.data().display());
        let mut command = verdict();
        command.args(["model", "reference"]).arg(self.bundle()).args(["--data", &data]);
        command.args(["--vocabulary"]).arg(self.data()).args(flags).output().unwrap()
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.bundle().join(file)).unwrap()
    }

    /// The features of one verdict of the bundle.
    fn features(&self) -> Value {
        let models = self.folder.path().join("models");
        let mut command = verdict();
        command.arg("score").arg(self.data()).args(["--model", "tiny@1", "--models"]).arg(models);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap()["drift"].clone()
    }
}

#[test]
fn a_reference_is_made_twice_the_same_and_verdicts_have_what_it_asks_for() {
    let world = World::new();
    let output = world.make("sst2", &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("tiny@1 sha256:") && said.contains("of 4 right"), "{said}");
    let made = ["reference.json", "model.toml"].map(|file| world.read(file));
    assert!(world.make("sst2", &[]).status.success());
    assert_eq!(made, ["reference.json", "model.toml"].map(|file| world.read(file)));

    let reference: Value = serde_json::from_str(&made[0]).unwrap();
    let whole = &reference["profiles"][1];
    assert_eq!((&whole["name"], &whole["n"]), (&json!("all"), &json!(4)));
    assert!(1 <= whole["languages"]["en"].as_u64().unwrap(), "{whole}");
    assert_eq!(whole["cross_entropy"]["n"], 4);
    assert_eq!((&whole["words"]["n"], &whole["embedding"]["n"]), (&json!(4), &json!(4)));

    let features = world.features();
    assert_eq!((&features["special_tokens"], &features["language"]), (&json!(2), &json!("en")));
    assert!(features["cross_entropy"].is_f64(), "{features}");
    assert_eq!(features["projection"].as_array().map(Vec::len), Some(16));
    let words = features["words"].as_array().unwrap();
    assert!((1..=16).contains(&words.len()), "{features}");
}

#[test]
fn what_is_switched_off_is_not_computed() {
    let world = World::new();
    let output = world.make("sst2", &["--no-languages", "--no-words", "--no-embedding"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let features = world.features();
    for silent in ["language", "words", "projection"] {
        assert_eq!(features[silent], Value::Null);
    }
}

#[test]
fn a_data_set_that_the_manifest_does_not_know_changes_nothing() {
    let world = World::new();
    let before = FILES.map(|file| fs::read(world.bundle().join(file)).unwrap());
    let output = world.make("hotels", &[]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(message.contains("`hotels`") && message.contains("sst2"), "{message}");
    assert_eq!(before, FILES.map(|file| fs::read(world.bundle().join(file)).unwrap()));
}
