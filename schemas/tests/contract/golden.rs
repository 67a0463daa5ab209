//! Records of every released version, and what must come out of them for ever.
//!
//! A folder is a version. Add to the folder of the version at work; never change a file of one that was released. A test that
//! fails here says that a change breaks readers: it needs a new topic, not a new expectation.

use std::{fs, path::PathBuf};

use jiff::Timestamp;
use schemas::{
    DeathNote, DriftAlert, Feedback, Record, Review, Verdict, record::Header, review::Place,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const PLACE: Place<'static> = Place { topic: "reviews.v1", partition: 3, offset: 42 };
const KINDS: [&str; 5] = ["review", "verdict", "feedback", "dead-letter", "drift-alert"];

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Golden {
    /// What is special in it.
    #[serde(rename = "about")]
    _about: String,
    key: Option<String>,
    /// The value as JSON.
    pub(crate) value: Option<Value>,
    /// The value in hex digits, where it is not JSON alone.
    value_hex: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    timestamp_ms: Option<i64>,
    /// JSON pointers into what was read, and what is there; null also stands for absent.
    expect: Map<String, Value>,
}

/// Every file of every version: its path from the version's folder on, its kind, its content.
pub(crate) fn all() -> Vec<(String, &'static str, Golden)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut files = Vec::new();
    for version in fs::read_dir(root).unwrap() {
        for file in fs::read_dir(version.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let kind = KINDS.into_iter().find(|kind| name.starts_with(kind));
            let kind = kind.unwrap_or_else(|| panic!("{name}: no kind of record"));
            let golden = serde_json::from_str(&fs::read_to_string(&path).unwrap());
            let golden = golden.unwrap_or_else(|error| panic!("{name}: {error}"));
            let version = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
            files.push((format!("{version}/{name}"), kind, golden));
        }
    }
    files
}

impl Golden {
    fn record(&self) -> Record {
        let value = match (&self.value, &self.value_hex) {
            (Some(value), None) => value.to_string().into_bytes(),
            (None, Some(hex)) => bytes(hex),
            _ => panic!("either value or value_hex"),
        };
        Record {
            key: self.key.clone().map(String::into_bytes),
            value: Some(value),
            headers: self.headers.iter().map(|(name, value)| Header::text(name, value)).collect(),
            timestamp_ms: self.timestamp_ms,
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// What our code reads from `record`, as JSON to point into.
fn read(kind: &str, record: &Record) -> Value {
    match kind {
        "review" => {
            let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
            let review = Review::from_record(record, PLACE, now).unwrap();
            json!({
                "id": review.id,
                "review": review.text,
                "source": review.source,
                "language": review.language,
                "occurred_at": review.occurred_at,
                "received_at": review.received_at,
                "metadata": review.metadata,
            })
        }
        // By way of text, because a shorter float has more digits as a longer one.
        "verdict" => {
            let verdict = Verdict::from_record(record).unwrap();
            serde_json::from_str(&serde_json::to_string(&verdict).unwrap()).unwrap()
        }
        "feedback" => serde_json::to_value(Feedback::from_record(record).unwrap()).unwrap(),
        "drift-alert" => serde_json::to_value(DriftAlert::from_record(record).unwrap()).unwrap(),
        "dead-letter" => {
            let note = DeathNote::read(record).unwrap();
            json!({
                "topic": note.place.topic,
                "partition": note.place.partition,
                "offset": note.place.offset,
                "stage": note.stage.as_str(),
                "class": note.class,
                "message": note.message,
                "attempts": note.attempts,
                "failed_at": note.failed_at,
                "is_retryable": note.is_retryable,
            })
        }
        _ => panic!("{kind}: no kind of record"),
    }
}

#[test]
fn every_golden_record_reads_as_it_always_did() {
    for (name, kind, golden) in all() {
        let read = read(kind, &golden.record());
        assert!(!golden.expect.is_empty(), "{name} expects nothing");
        for (pointer, expected) in &golden.expect {
            let found = read.pointer(pointer).unwrap_or(&Value::Null);
            assert_eq!(found, expected, "{name} at {pointer}");
        }
    }
}

#[test]
fn every_kind_of_record_has_golden_ones() {
    for kind in KINDS {
        assert!(all().iter().any(|(_, found, _)| *found == kind), "{kind}");
    }
}

#[test]
fn what_was_read_reads_the_same_once_written_again() {
    for (name, kind, golden) in all() {
        let record = golden.record();
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let written = match kind {
            "review" => {
                Review::from_record(&record, PLACE, now).unwrap().to_record(vec![]).unwrap()
            }
            "verdict" => Verdict::from_record(&record).unwrap().to_record(vec![]).unwrap(),
            "feedback" => Feedback::from_record(&record).unwrap().to_record(vec![], now).unwrap(),
            "drift-alert" => DriftAlert::from_record(&record).unwrap().to_record().unwrap(),
            _ => continue,
        };
        assert_eq!(read(kind, &record), read(kind, &written), "{name}");
    }
}
