//! What an operator does with dead letters, on a running line.

use std::{collections::HashMap, process::Stdio, sync::Arc};

use broker::{
    Outgoing, Publish as _, TailFrom,
    kafka::{KafkaPublish, KafkaScan},
};
use schemas::{
    Record, Refusal, ReviewId, Stage,
    review::Place,
    topics::{DEAD_LETTERS, REDRIVES, REVIEWS, VERDICTS},
};
use serde_json::Value;

use crate::{
    exactly_once::read_until_complete,
    line::{LOOK_EVERY, Line, verdict},
};

/// Looks at something that is not there yet; a minute in all.
const LOOKS_MAX: usize = 1_200;

/// `verdict dlq ARGS` on the line: whether it succeeded, and what it printed on either stream.
fn dlq(line: &Line, args: &[&str]) -> (bool, String) {
    let output =
        verdict().arg("dlq").args(args).args(["--kafka", &line.kafka_address()]).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(printed).unwrap())
}

#[track_caller]
fn succeeds(line: &Line, args: &[&str]) -> String {
    let (success, printed) = dlq(line, args);
    assert!(success, "{args:?}: {printed}");
    printed
}

#[track_caller]
fn fails(line: &Line, args: &[&str]) -> String {
    let (success, printed) = dlq(line, args);
    assert!(!success, "{args:?}: {printed}");
    printed
}

/// The letters that `args` select, each as an object.
#[track_caller]
fn listed(line: &Line, args: &[&str]) -> Vec<Value> {
    let printed = succeeds(line, &[&["list", "--json"], args].concat());
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn publish(line: &Line, topic: &str, records: Vec<Record>) {
    let publish = KafkaPublish::connect(&line.kafka(), 100).unwrap();
    for record in records {
        publish.publish(Outgoing { topic: Arc::from(topic), record }).await.unwrap();
    }
}

/// Waits until `args` select `count` letters.
async fn until_listed(line: &Line, args: &[&str], count: usize) -> Vec<Value> {
    let mut letters = Vec::new();
    for _look in 0..LOOKS_MAX {
        letters = listed(line, args);
        if letters.len() == count {
            return letters;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    panic!("{args:?} are to be {count} letters: {letters:?}");
}

fn keyed(key: &str, value: &str) -> Record {
    Record { key: Some(key.into()), value: Some(value.into()), ..Record::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_listed_by_what_an_operator_knows_of_them() {
    let line = Line::start().await;
    assert!(succeeds(&line, &["list"]).starts_with("0 dead letters in reviews.v1.dlq"));
    let poison = [
        keyed("garbage", "no JSON \u{1b}[31m"),
        keyed("wrong-type", r#"{"review":7,"source":"web"}"#),
        keyed("blank", r#"{"id":"order-1","review":" ","source":"app"}"#),
    ];
    publish(&line, REVIEWS, poison.into()).await;
    until_listed(&line, &[], 3).await;

    let check = |args: &[&str], expected: &[&str]| {
        let mut ids: Vec<String> =
            listed(&line, args).iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
        ids.sort_unstable();
        assert_eq!(ids, expected, "{args:?}");
    };
    check(&[], &["garbage", "order-1", "wrong-type"]);
    check(&["--class", "InvalidJson"], &["garbage"]);
    check(&["--stage", "decode"], &["garbage", "wrong-type"]);
    check(&["--source", "web", "--source", "app"], &["order-1", "wrong-type"]);
    check(&["--id", "order-1", "--since", "1h"], &["order-1"]);
    check(&["--until", "1h"], &[]);

    let printed = succeeds(&line, &["list"]);
    assert!(printed.contains("3 dead letters") && printed.contains("InvalidText"), "{printed}");
    let letter = &listed(&line, &["--id", "garbage"])[0];
    let at = format!("{}:{}", letter["partition"], letter["offset"]);
    let shown = succeeds(&line, &["show", &at]);
    assert!(shown.contains("InvalidJson at DECODE") && shown.contains("no JSON"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "what came from outside does not reach the terminal");
    assert!(fails(&line, &["show"]).contains("PARTITION:OFFSET"));
    assert!(fails(&line, &["show", "0:999"]).contains(DEAD_LETTERS));
}

/// A letter of a review on which a model failed that is no longer there.
fn letter(record: &Record, offset: i64) -> Record {
    let place = Place { topic: REVIEWS, partition: 0, offset };
    Refusal::new(Stage::Infer, "ModelFailed", "the model of last week failed").to_dead_letter(
        record,
        place,
        chassis::clock::now(),
    )
}

/// How often each key stands in `topic`.
fn keys(line: &Line, topic: &str) -> HashMap<String, usize> {
    let mut scan = KafkaScan::open(&line.kafka(), topic, TailFrom::Beginning).unwrap().unwrap();
    let mut keys = HashMap::new();
    loop {
        let records = scan.read(1_000).unwrap();
        if records.is_empty() {
            return keys;
        }
        for delivery in records {
            let key = String::from_utf8(delivery.record.key.unwrap_or_default()).unwrap();
            *keys.entry(key).or_default() += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_is_sent_again_once_with_its_id_and_a_purge_takes_what_it_says() {
    let line = Line::start().await;
    publish(&line, REVIEWS, vec![keyed("blank", r#"{"review":" "}"#)]).await;
    until_listed(&line, &[], 1).await;
    // Without a name in it and without a key: its id came from its place.
    let nameless = Record { key: None, ..keyed("", r#"{"review":"Lovely."}"#) };
    publish(&line, DEAD_LETTERS, vec![letter(&nameless, 7)]).await;
    let id = ReviewId::of_place(Place { topic: REVIEWS, partition: 0, offset: 7 }).to_string();

    let dry = succeeds(&line, &["redrive"]);
    assert!(dry.contains("1 records would be sent") && dry.contains("dry run"), "{dry}");
    assert!(dry.contains("1 left: the same line would refuse them again"), "{dry}");
    assert_eq!(listed(&line, &[]).len(), 2);

    let sent = succeeds(&line, &["redrive", "--execute", "--by", "ada"]);
    assert!(sent.contains("1 records sent to reviews.v1"), "{sent}");
    let kafka = line.kafka();
    let verdicts = tokio::task::spawn_blocking(move || read_until_complete(&kafka, VERDICTS, 1));
    assert_eq!(verdicts.await.unwrap(), HashMap::from([(id.clone(), 1)]));
    let again = succeeds(&line, &["redrive", "--execute"]);
    assert!(again.contains("0 records sent") && again.contains("1 left: sent already"), "{again}");
    assert!(listed(&line, &["--id", &id]).is_empty(), "out of sight");
    assert_eq!(listed(&line, &["--id", &id, "--all"])[0]["redriven"]["by"], "ada");

    // What the line refuses a second time is a second letter.
    succeeds(&line, &["redrive", "--execute", "--force"]);
    let letters = until_listed(&line, &["--id", "blank", "--all"], 2).await;
    let mut attempts: Vec<_> = letters.iter().map(|it| it["attempts"].as_u64().unwrap()).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 2]);
    let tired = succeeds(&line, &["redrive", "--force", "--attempts-limit", "2"]);
    assert!(tired.contains("1 left: tried 2 times or more"), "{tired}");

    // One key, one partition: the second lies behind the first.
    publish(&line, DEAD_LETTERS, vec![letter(&keyed("blank", "{}"), 8)]).await;
    publish(&line, REVIEWS, vec![keyed("blank", r#"{"review":7}"#)]).await;
    until_listed(&line, &["--class", "InvalidField"], 1).await;
    assert!(fails(&line, &["purge"]).contains("--until"));
    let refused = fails(&line, &["purge", "--class", "InvalidField", "--execute"]);
    assert!(refused.contains("2 letters that were neither selected nor sent again"), "{refused}");
    assert_eq!(listed(&line, &["--id", "blank", "--all"]).len(), 4);
    assert!(succeeds(&line, &["purge", "--all"]).contains("dry run"));
    assert_eq!(listed(&line, &["--id", "blank", "--all"]).len(), 4);
    assert!(succeeds(&line, &["purge", "--all", "--execute"]).contains("Deleted"));
    assert!(listed(&line, &["--all"]).is_empty());
    // Each note, and the null that takes it back.
    assert!(keys(&line, REDRIVES).values().all(|&records| records == 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_letter_is_sent_twice_though_redrives_are_killed_and_overtaken() {
    const LETTERS: usize = 300;
    let line = Line::start().await;
    let review = |number| keyed(&format!("review-{number}"), r#"{"review":"Lovely."}"#);
    let letters = (0..LETTERS).map(|number| letter(&review(number), 0)).collect();
    publish(&line, DEAD_LETTERS, letters).await;
    let start = || {
        let args = ["dlq", "redrive", "--execute", "--rate", "20", "--kafka"];
        let mut command = verdict();
        command.args(args).arg(line.kafka_address()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // More notes than `before`, so that the redrive is at work.
    let notes = |line: &Line| keys(line, REDRIVES).len();
    let more_than = async |before: usize| {
        for _look in 0..LOOKS_MAX {
            if succeeds(&line, &["list", "--all", "--json"]).matches("redriven_at").count() > before
            {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        panic!("no more notes than {before}");
    };

    let mut killed = start();
    more_than(0).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let before = notes(&line);
    let overtaken = start();
    more_than(before).await;
    succeeds(&line, &["redrive", "--execute"]);
    let overtaken = overtaken.wait_with_output().unwrap();
    let said = String::from_utf8(overtaken.stderr).unwrap();
    assert!(!overtaken.status.success() && said.contains("has taken over"), "{said}");

    let sent = keys(&line, REVIEWS);
    assert_eq!(sent.len(), LETTERS);
    assert!(sent.values().all(|&times| times == 1), "{sent:?}");
    assert_eq!(notes(&line), LETTERS);
}
