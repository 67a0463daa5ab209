//! Bundles on disk: the shipped ones open, and a bundle with anything wrong is refused with the place named.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a failure is a failed test")]

use std::{fs, path::Path};

use models::{Bundle, BundleError, Digest, ModelName, Repository};
use tempfile::TempDir;

const GOLDEN: &str = r#"{"name":"seed","text":"Fine.","tokens":4,"unknown":0,"truncated":false,"label":"positive","logits":[-1.0,1.0],"probabilities":[0.12,0.88]}
"#;

const REFERENCE: &str = r#"{"format":1,"model":{"name":"tiny","version":3},"temperature":1.5,"profiles":[{
    "name":"all","source":"invented","n":2,"labels":{"negative":1,"positive":1},"true_labels":{"negative":1,"positive":1},
    "correct":2,"confidence_sum":1.8,"truncated":0,"text_tokens":9,"unknown_tokens":0,"histograms":{
    "confidence":{"edges":[0.5,0.9,1.0],"counts":[1,1],"correct":[1,1]},"tokens":{"edges":[0,8,256],"counts":[2,0]}}}]}"#;

fn manifest() -> String {
    let digests = [
        ("model.onnx", Digest::of(b"weights")),
        ("tokenizer.json", Digest::of(b"{}")),
        ("reference.json", Digest::of(REFERENCE.as_bytes())),
        ("golden.jsonl", Digest::of(GOLDEN.as_bytes())),
    ];
    let digests = digests.map(|(file, digest)| format!("\"{file}\" = \"{digest}\"\n")).concat();
    format!(
        r#"bundle_format = 1
name = "tiny"
version = 3
description = "A bundle for tests."
labels = ["negative", "positive"]
max_tokens = 256
truncation = "first-and-last"
accuracy = []
inputs = {{ token_ids = "input_ids", attention_mask = "attention_mask" }}
outputs = {{ logits = "logits", embedding = "embedding", embedding_size = 384 }}
format = {{ kind = "onnx", opset = 17, weights = "none", arithmetic = "float32", layers = 1 }}
tokenizer = {{ special_tokens = 2, unknown = "[UNK]", padding = "[PAD]" }}
golden = {{ cases = 1, tolerance = 0.001 }}
calibration = {{ method = "", temperature = 1.5, fitted_on = "", fitted_n = 0, reported_on = "", reports = [] }}
training = {{ base = "", data = [], recipe = "", training_tokens_max = 128, caveats = [] }}
licence = {{ spdx = "Apache-2.0", attribution = [] }}
[digests]
{digests}"#
    )
}

/// A repository with one sound bundle, `tiny@3`.
fn repository() -> TempDir {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("tiny/3");
    fs::create_dir_all(&directory).unwrap();
    for (file, content) in [
        ("model.toml", manifest().as_str()),
        ("model.onnx", "weights"),
        ("tokenizer.json", "{}"),
        ("reference.json", REFERENCE),
        ("golden.jsonl", GOLDEN),
    ] {
        fs::write(directory.join(file), content).unwrap();
    }
    root
}

fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

/// The message for a bundle whose manifest reads so.
fn refusal(manifest: &str) -> String {
    let root = repository();
    let directory = root.path().join("tiny/3");
    fs::write(directory.join("model.toml"), manifest).unwrap();
    Bundle::open(&directory).unwrap_err().to_string()
}

#[test]
fn a_sound_bundle_opens_and_its_digest_is_the_manifests() {
    let root = repository();
    let bundle = Repository::directory(root.path()).open(&name("tiny@3")).unwrap();
    assert_eq!(bundle.model(), b"weights");
    assert_eq!(bundle.golden().len(), 1);
    let model = bundle.model_ref();
    assert_eq!((model.name.as_str(), model.version.as_str()), ("tiny", "3"));
    assert_eq!(model.digest, Digest::of(manifest().as_bytes()).to_string());
}

#[test]
fn a_changed_byte_names_the_file_and_both_digests() {
    for (file, original) in [
        ("model.onnx", "weights"),
        ("tokenizer.json", "{}"),
        ("reference.json", REFERENCE),
        ("golden.jsonl", GOLDEN),
    ] {
        let root = repository();
        let path = root.path().join("tiny/3").join(file);
        let mut bytes = original.as_bytes().to_vec();
        bytes[0] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let error = Bundle::open(&root.path().join("tiny/3")).unwrap_err();
        assert!(
            matches!(&error, BundleError::Altered { path: named, .. } if *named == path),
            "{error}"
        );
        let message = error.to_string();
        for part in [file, Digest::of(&bytes).as_str(), Digest::of(original.as_bytes()).as_str()] {
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    for file in ["model.toml", "model.onnx", "tokenizer.json", "reference.json", "golden.jsonl"] {
        let root = repository();
        let path = root.path().join("tiny/3").join(file);
        fs::remove_file(&path).unwrap();
        let error = Bundle::open(&root.path().join("tiny/3")).unwrap_err();
        assert!(
            matches!(&error, BundleError::Missing { path: named } if *named == path),
            "{error}"
        );
    }
}

#[test]
fn an_oversized_manifest_is_not_read_to_its_end() {
    let message = refusal(&"#".repeat(70_000));
    assert!(message.contains("more than 65536 bytes"), "{message}");
}

#[test]
fn a_manifest_is_refused_with_the_place_named() {
    let check = |from: &str, to: &str, expected: &[&str]| {
        let manifest = manifest();
        assert!(manifest.contains(from), "{from}");
        let message = refusal(&manifest.replace(from, to));
        for part in expected.iter().chain(&["model.toml"]) {
            assert!(message.contains(part), "{message}");
        }
    };
    check(
        "max_tokens = 256",
        "max_tokens = 256\nmax_toknes = 9",
        &["line 7", "unknown field `max_toknes`"],
    );
    check("opset = 17", "opset = 17, colour = 1", &["line 11", "unknown field `colour`"]);
    check("cases = 1", "case = 1", &["line 13", "unknown field `case`"]);
    check("bundle_format = 1", "bundle_format = 2", &["bundle_format is 2", "reads 1"]);
    check("[\"negative\", \"positive\"]", "[\"positive\"]", &["labels has 1 entries"]);
    check("[\"negative\", \"positive\"]", "[\"positive\", \"positive\"]", &["must be distinct"]);
    check("\"tiny\"", "\"../tiny\"", &["`../tiny` is not a model's name"]);
    check("version = 3", "version = 0", &["`0` is not a model's version"]);
    check("max_tokens = 256", "max_tokens = 1", &["max_tokens is 1"]);
    check("kind = \"onnx\"", "kind = \"pickle\"", &["format.kind is `pickle`"]);
    check("temperature = 1.5", "temperature = 0.0", &["calibration.temperature is 0"]);
    check("temperature = 1.5", "temperature = nan", &["calibration.temperature is NaN"]);
    check("tolerance = 0.001", "tolerance = 0.9", &["golden.tolerance is 0.9"]);
    check("first-and-last", "middle", &["unknown variant `middle`"]);
    check("sha256:", "md5:", &["is not a digest"]);
}

#[test]
fn labels_reference_and_golden_cases_agree_with_the_manifest() {
    let check = |from: &str, to: &str, expected: &str| {
        let message = refusal(&manifest().replace(from, to));
        assert!(message.contains(expected), "{message}");
    };
    check("\"positive\"]", "\"positive\", \"mixed\"]", "reference.json: profile `all`: labels are");
    check("temperature = 1.5", "temperature = 2.0", "scored at temperature 1.5");
    check("version = 3", "version = 4", "scored by tiny@3");
    check("cases = 1", "cases = 2", "golden.jsonl: has 1 cases, the manifest says 2");
}

#[test]
fn a_repository_lists_what_is_named_like_a_bundle_and_has_a_manifest() {
    let root = repository();
    for directory in ["tiny/10", "tiny/latest", "tiny/4", "Other/1", ".git/1"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    for with_manifest in ["tiny/10", "Other/1", ".git/1"] {
        fs::write(root.path().join(with_manifest).join("model.toml"), "").unwrap();
    }
    fs::write(root.path().join("README.md"), "").unwrap();
    let found = Repository::directory(root.path()).list().unwrap();
    assert_eq!(found, [name("tiny@3"), name("tiny@10")]);
}

#[test]
fn an_unknown_version_is_answered_with_what_is_there() {
    let root = repository();
    let error = Repository::directory(root.path()).open(&name("tiny")).unwrap_err();
    assert!(matches!(error, BundleError::Unknown { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("no tiny@1") && message.contains("it holds tiny@3"), "{message}");
    let nowhere = Repository::directory(root.path().join("absent")).open(&name("tiny"));
    assert!(matches!(nowhere, Err(BundleError::Missing { .. })));
}

#[test]
fn a_bundle_in_another_models_directory_is_refused() {
    let root = repository();
    fs::rename(root.path().join("tiny/3"), root.path().join("tiny/5")).unwrap();
    let message = Repository::directory(root.path()).open(&name("tiny@5")).unwrap_err().to_string();
    assert!(message.contains("tiny@3") && message.contains("tiny@5"), "{message}");
}

#[test]
fn every_shipped_bundle_is_what_its_manifest_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let repository = Repository::directory(root);
    let found = repository.list().unwrap();
    assert_eq!(found, [name("sentiment@1"), name("sentiment@2")]);
    for model in &found {
        let bundle = repository.open(model).unwrap();
        let calibration = &bundle.manifest().calibration;
        for case in bundle.golden() {
            let probabilities = calibration.probabilities(&case.logits);
            for (computed, stated) in probabilities.iter().zip(&case.probabilities) {
                assert!((computed - stated).abs() < 1e-4, "{model}: {}", case.name);
            }
            let largest = usize::from(case.probabilities[0] < case.probabilities[1]);
            assert_eq!(case.label, bundle.manifest().labels[largest], "{model}: {}", case.name);
        }
        assert!(bundle.golden().iter().any(|case| case.truncated), "{model} has no truncated case");
        assert!(bundle.reference().profile("sst2").is_some_and(|sst2| sst2.n == 872), "{model}");
    }
}
