//! Reference profiles as bundles have them, today's and with what they may say later.

use serde_json::{Value, json};

use super::*;

/// The bundle that we ship.
const SHIPPED: &[u8] = include_bytes!("../../../../models/sentiment/1/reference.json");

fn profile() -> Value {
    json!({
        "name": "all",
        "n": 10,
        "labels": {"negative": 4, "positive": 6},
        "correct": 8,
        "confidence_sum": 8.5,
        "truncated": 1,
        "text_tokens": 200,
        "unknown_tokens": 2,
        "histograms": {
            "confidence": {"edges": [0.5, 0.8, 1.0], "counts": [5, 5], "correct": [3, 5]},
            "tokens": {"edges": [0, 16, 32, 64], "counts": [2, 5, 3]},
        },
    })
}

fn read(profile: &Value) -> Result<Reference, InvalidReference> {
    let document = json!({"format": 1, "profiles": [profile]});
    Reference::from_json(document.to_string().as_bytes(), WHOLE)
}

/// The profile with one member replaced; the path is a JSON pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut changed = profile();
    match changed.pointer_mut(pointer) {
        Some(member) => *member = value,
        None => changed[pointer.trim_start_matches('/')] = value,
    }
    changed
}

#[test]
fn the_shipped_profile_can_be_compared_with() {
    let reference = Reference::from_json(SHIPPED, WHOLE).unwrap();
    // Of 5,872 reviews the line refuses one.
    assert_eq!(reference.n(), 5871);
    assert_eq!(reference.labels().collect::<Vec<_>>(), ["negative", "positive"]);
    assert!(reference.calibration().is_some());
    assert!(reference.embedding().is_some() && reference.vocabulary().is_some());
    assert!(reference.counts_languages() && reference.counts_words());
    assert!(Reference::from_json(SHIPPED, "imdb").is_ok());
    let missing = Reference::from_json(SHIPPED, "amazon").unwrap_err();
    assert_eq!(missing.to_string(), "has no profile `amazon`");
}

#[test]
fn a_profile_is_refused_unless_it_adds_up() {
    assert!(read(&profile()).is_ok());
    for (pointer, value) in [
        ("/n", json!(11)),
        ("/labels", json!({})),
        ("/labels/negative", json!(5)),
        ("/labels/negative", json!(u64::MAX)),
        ("/correct", json!(11)),
        ("/truncated", json!(11)),
        ("/unknown_tokens", json!(201)),
        ("/uncertain", json!(11)),
        ("/histograms/confidence/edges", json!([0.5, 0.8])),
        ("/histograms/confidence/edges", json!([0.5, 0.5, 1.0])),
        ("/histograms/confidence/correct", json!([6, 5])),
        ("/histograms/confidence/correct", json!([5])),
        ("/histograms/tokens/counts", json!([2, 5, 4])),
        ("/languages", json!({"en": 11})),
        ("/words", json!({"n": 11, "counts": "11 -2047"})),
        ("/words", json!({"n": 9, "counts": "10 -2047"})),
        ("/words", json!({"n": 9, "counts": ""})),
        ("/embedding", embedding(0)),
        ("/embedding", embedding(3)),
    ] {
        assert!(read(&with(pointer, value.clone())).is_err(), "{pointer} = {value}");
    }
}

/// A map of two features with so many means.
fn embedding(means: usize) -> Value {
    json!({
        "projection_seed": 1,
        "fourier": {"seed": 2, "features": 2, "bandwidth": 60.0},
        "n": 10,
        "mean": vec![0.5; means],
        "covariance_traces": [0.5, 0.25, 0.125],
    })
}

#[test]
fn what_later_bundles_may_say_is_read() {
    let mut later = with("/languages", json!({"de": 2, "EN": 7}));
    later["uncertain"] = json!(2);
    later["cross_entropy"] = json!({"n": 10, "sum": 90.0, "squares": 820.0});
    later["words"] = json!({"n": 10, "counts": "10 -2046 3"});
    later["embedding"] = embedding(2);
    let document = json!({"profiles": [later], "vocabulary": [5, 3, 0]});
    let reference = Reference::from_json(document.to_string().as_bytes(), WHOLE).unwrap();
    assert!(reference.embedding().is_some() && reference.vocabulary().is_some());
    assert!(reference.counts_words());
    let languages = reference.languages.unwrap();
    assert_eq!(languages.counts.iter().sum::<u64>(), 10);
    let name = |tag: Option<&str>| languages.name(languages.index(tag)).to_owned();
    assert_eq!(name(Some("de-AT")), "de");
    assert_eq!(name(Some("en")), "en");
    assert_eq!(name(Some("fr")), "other languages");
    assert_eq!(name(None), "no language");
}
