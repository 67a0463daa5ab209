//! P8: one record of a hundred is poison, of twelve kinds. The line never stands still, and each is one dead letter.

use std::collections::HashMap;

use broker::Delivery;
use schemas::{
    Record, dead_letter, headers,
    record::Header,
    topics::{DEAD_LETTERS, REVIEWS},
};

use crate::{
    checker,
    feed::{Feed, NUMBER, Plan},
    proof::{Proof, caught_up, terminate},
    report::Report,
    servers::Cluster,
    stream::{Stream, read_all},
};

/// One record of so many is poison.
const POISON_EVERY: u64 = 100;

/// A kind of poison, what its value is, and the class of its refusal.
type Kind = (&'static str, fn() -> Option<Vec<u8>>, &'static str);

const KINDS: [Kind; 12] = [
    ("null value", || None, "NullValue"),
    ("empty value", || Some(Vec::new()), "EmptyValue"),
    ("not UTF-8", || Some(b"{\"review\":\"\xff\xfe\"}".to_vec()), "InvalidUtf8"),
    ("not JSON", || bytes(r#"{"review":"cut off"#), "InvalidJson"),
    ("wrong type", || bytes(r#"{"review":7}"#), "InvalidField"),
    ("no review", || bytes(r#"{"text":"Fine."}"#), "InvalidField"),
    ("empty review", || bytes(r#"{"review":" \n\t "}"#), "InvalidText"),
    ("too long", || bytes(&format!(r#"{{"review":"{}"}}"#, "y".repeat(10_001))), "InvalidText"),
    ("control characters", || bytes(r#"{"review":"\u0007\u0000\u001b"}"#), "InvalidText"),
    ("bad id", || bytes(r#"{"id":"a b","review":"Fine."}"#), "InvalidId"),
    ("oversize", || bytes(&format!(r#"{{"review":"{}"}}"#, "x".repeat(900_000))), "InvalidText"),
    ("malformed frame", || Some(b"\x00\x00\x00\x00\x07\x0a\x05avro!".to_vec()), "InvalidJson"),
];

#[expect(clippy::unnecessary_wraps, reason = "a value may be null")]
fn bytes(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

/// The `number`-th piece of poison, but for its time and the header with its number in the feed.
pub(crate) fn record(number: u64) -> Record {
    Record {
        key: Some(format!("poison-{number}").into_bytes()),
        value: (kind(number).1)(),
        headers: vec![
            Header::text("made-by", "upstream"),
            Header { name: "null".to_owned(), value: None },
            // An event without an id and with a time that is none.
            Header::text("ce_specversion", "1.0"),
            Header::text("ce_time", "yesterday"),
        ],
        timestamp_ms: None,
    }
}

fn kind(number: u64) -> Kind {
    KINDS[usize::try_from(number).unwrap() % KINDS.len()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_poison_of_twelve_kinds_is_dead_letters_and_holds_up_nobody() {
    let proof = Proof::begin("P8").await;
    let kafka = Cluster::kafka(proof.folder(), 1).await;
    let settings = kafka.settings();
    let stream = Stream::open(&settings).await;
    let mut processors = proof.processors(&kafka, 2).await;

    let plan = Plan {
        reviews: proof.form.pick(12_000, 200_000),
        rate: proof.form.pick(800, 800),
        poison_every: Some(POISON_EVERY),
    };
    let fed = Feed::start(&settings, plan).enough().await;
    caught_up(&settings, &stream, &mut processors).await;
    let stall = stream.stall();
    terminate(&mut processors).await;

    let poison = fed.records / POISON_EVERY;
    let letters = read_all(&settings, DEAD_LETTERS).await;
    let wrong = wrong_letters(&letters, poison, &plan);
    let counts = checker::check(&proof, &kafka).await;
    Report::of(&proof)
        .with("records", fed.records)
        .with("poison", poison)
        .with("kinds", KINDS.len())
        .with("letters_wrong", wrong.len())
        .counts(&counts)
        .stall(stall)
        .memory(&mut processors)
        .print();
    assert!(wrong.is_empty(), "{wrong:#?}");
    counts.assert_exact();
    assert_eq!(counts.of("reviews"), fed.records + fed.retries);
    assert_eq!(counts.of("dead_letters"), poison);
}

/// What is wrong with the dead letters: each piece of poison is to be there once, byte for byte, with its class.
fn wrong_letters(letters: &[Delivery], poison: u64, plan: &Plan) -> Vec<String> {
    let mut by_number: HashMap<u64, Vec<&Record>> = HashMap::new();
    let mut wrong = Vec::new();
    for letter in letters {
        let number = headers::text(&letter.record.headers, NUMBER).and_then(|it| it.parse().ok());
        match number {
            Some(number) => by_number.entry(number).or_default().push(&letter.record),
            None => wrong.push(format!("the dead letter at {} has no number", letter.offset)),
        }
    }
    for number in 0..poison {
        let at = (number + 1) * POISON_EVERY - 1;
        let (original, (name, _value, class)) = (plan.record(at), kind(number));
        let found = by_number.remove(&at).unwrap_or_default();
        let [letter] = found[..] else {
            wrong.push(format!("poison {number} ({name}) is not one dead letter"));
            continue;
        };
        let came_back = (&letter.key, &letter.value) == (&original.key, &original.value)
            && letter.headers.starts_with(&original.headers)
            && headers::text(&letter.headers, dead_letter::TOPIC) == Some(REVIEWS)
            && headers::text(&letter.headers, dead_letter::CLASS) == Some(class);
        if !came_back {
            wrong.push(format!("poison {number} ({name}) is not what was sent, or not {class}"));
        }
    }
    wrong.extend(by_number.keys().map(|number| format!("record {number} is no poison")));
    wrong
}
