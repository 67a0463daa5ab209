//! Bad records among good ones: each bad one becomes one dead letter, each good one a verdict.

use std::{collections::HashMap, sync::Arc};

use broker::{
    Delivery, Outgoing, Publish as _, Subscribe as _, TailFrom,
    kafka::{KafkaPublish, KafkaSettings, KafkaSubscribe},
};
use schemas::{
    Record, dead_letter, headers,
    record::Header,
    topics::{DEAD_LETTERS, REVIEWS, VERDICTS},
};

use crate::{
    exactly_once::read_until_complete,
    line::{LOOK_EVERY, Line, now},
};

/// A record's name, its value, and the class of its refusal; `None` if it is to be scored.
type Case = (&'static str, Option<Vec<u8>>, Option<&'static str>);

fn cases() -> Vec<Case> {
    let json = |text: &str| Some(text.as_bytes().to_vec());
    let review = |text: &str| json(&format!("{{\"review\":\"{text}\"}}"));
    let framed = [&[0, 0, 0, 0, 7][..], br#"{"review":"Framed, and fine."}"#].concat();
    vec![
        ("good-1", review("The room was clean."), None),
        ("garbage", Some(vec![0xde, 0xad, 0xbe, 0xef, 0xff]), Some("InvalidUtf8")),
        ("empty", Some(Vec::new()), Some("EmptyValue")),
        ("tombstone", None, Some("NullValue")),
        ("good-2", review("The staff were rude."), None),
        ("confluent-frame", Some(framed), None),
        ("900-kilobytes", review(&"x".repeat(900_000)), Some("InvalidText")),
        (
            "from-the-future",
            json(r#"{"review":"Fine.","occurred_at":"2199-01-01T00:00:00Z"}"#),
            None,
        ),
        ("lone-surrogate", json(r#"{"review":"\ud800"}"#), Some("InvalidJson")),
        ("nested", Some(nested(200)), Some("InvalidJson")),
        ("wrong-type", json(r#"{"review":7}"#), Some("InvalidField")),
        ("blank", review(" \\n\\t "), Some("InvalidText")),
        ("10001-characters", review(&"y".repeat(10_001)), Some("InvalidText")),
        ("emoji", review(&"😀".repeat(5_000)), None),
        ("unknown-fields", json(r#"{"review":"Fine.","stars":5}"#), None),
        ("good-3", review("Would come again."), None),
    ]
}

/// A review whose metadata holds `depth` arrays, one in the other.
fn nested(depth: usize) -> Vec<u8> {
    let (open, close) = ("[".repeat(depth), "]".repeat(depth));
    format!(r#"{{"review":"Fine.","metadata":{{"a":{open}{close}}}}}"#).into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_record_goes_to_the_dead_letters_once_and_its_neighbours_are_scored() {
    let line = Line::start().await;
    let publish = KafkaPublish::connect(&line.kafka(), 100).unwrap();
    let mut sent = HashMap::new();
    for (name, value, _class) in cases() {
        let record = Record {
            key: Some(name.into()),
            value,
            headers: vec![
                Header::text("made-by", "upstream"),
                Header { name: "null".to_owned(), value: None },
            ],
            timestamp_ms: Some(1_700_000_000_000),
        };
        publish
            .publish(Outgoing { topic: Arc::from(REVIEWS), record: record.clone() })
            .await
            .unwrap();
        sent.insert(name.to_owned(), record);
    }

    let kafka = line.kafka();
    let good = cases().iter().filter(|case| case.2.is_none()).count();
    let bad = cases().len() - good;
    let (verdicts, letters) = tokio::task::spawn_blocking(move || {
        (read_until_complete(&kafka, VERDICTS, good), read_all(&kafka, DEAD_LETTERS, bad))
    })
    .await
    .unwrap();

    assert!(verdicts.values().all(|&times| times == 1), "{verdicts:?}");
    for (name, _value, class) in cases() {
        let letters: Vec<&Delivery> = letters
            .iter()
            .filter(|letter| letter.record.key.as_deref() == Some(name.as_bytes()))
            .collect();
        let Some(class) = class else {
            assert!(verdicts.contains_key(name) && letters.is_empty(), "{name} is to be scored");
            continue;
        };
        assert_eq!(letters.len(), 1, "{name} is to be one dead letter");
        let letter = &letters[0].record;
        let original = &sent[name];
        assert_eq!(
            (&letter.value, letter.timestamp_ms),
            (&original.value, original.timestamp_ms),
            "{name}"
        );
        assert_eq!(letter.headers[..2], original.headers[..], "{name}");
        assert_eq!(headers::text(&letter.headers, dead_letter::CLASS), Some(class), "{name}");
        assert_eq!(headers::text(&letter.headers, dead_letter::TOPIC), Some(REVIEWS), "{name}");
    }
}

fn read_all(kafka: &KafkaSettings, topic: &str, expected: usize) -> Vec<Delivery> {
    let mut subscription = KafkaSubscribe::tail(kafka, &[topic], TailFrom::Beginning).unwrap();
    let mut all = Vec::new();
    let deadline = now() + std::time::Duration::from_mins(1);
    while all.len() < expected && now() < deadline {
        all.extend(subscription.poll(1_000, LOOK_EVERY).unwrap());
    }
    // One look more, for a letter too many.
    all.extend(subscription.poll(1_000, LOOK_EVERY * 10).unwrap());
    all
}
