//! One label after the other, and what becomes of each.

use std::{iter, sync::Arc, time::Duration};

use jiff::Timestamp;
use schemas::{ModelRef, Record, Verdict, topics::FEEDBACK};
use sink::feedback::Settings;
use store::MemoryStore;

use crate::world::{GROUP, Sum, World, feedback, verdict};

fn world() -> World {
    World::new(Arc::new(MemoryStore::default()))
}

fn level(world: &World) {
    world.live(iter::empty()).unwrap();
    assert_eq!(world.broker.lag(GROUP, FEEDBACK), 0);
}

#[test]
fn a_first_label_is_kept_and_counted_at_the_time_it_was_given() {
    let world = world();
    world.judge(&[verdict("a", "positive"), verdict("b", "positive")]);
    world.say(&feedback("a", "positive", Some("anna"), 1));
    world.say(&feedback("b", "negative", None, 2));
    level(&world);
    assert_eq!(world.kept("a").len(), 1);
    assert_eq!(world.counted(), Sum { labelled: 2, correct: 1 });
    let mut spans: Vec<_> =
        world.windows().iter().map(|window| window.sums().span.unwrap()).collect();
    spans.sort_by_key(|span| span.first_ms);
    let given = [1, 2].map(|hours| feedback("a", "x", None, hours).given_at.unwrap());
    let expected = given.map(Timestamp::as_millisecond);
    assert_eq!(spans.iter().map(|span| span.first_ms).collect::<Vec<_>>(), expected);
    assert!(spans.iter().all(|span| span.first_ms == span.last_ms), "never over two windows");
}

#[test]
fn the_same_by_the_same_is_kept_once_and_counted_once() {
    let world = world();
    world.judge(&[verdict("a", "positive")]);
    for hours in [1, 2, 2] {
        world.say(&feedback("a", "positive", Some("anna"), hours));
    }
    level(&world);
    assert_eq!(world.kept("a"), [("positive".to_owned(), Some("anna".to_owned()), 0)]);
    assert_eq!(world.counted(), Sum { labelled: 1, correct: 1 });
}

#[test]
fn what_others_say_is_kept_and_the_first_label_counts() {
    let world = world();
    world.judge(&[verdict("a", "positive")]);
    world.say(&feedback("a", "negative", Some("anna"), 1));
    world.say(&feedback("a", "negative", Some("ben"), 2));
    world.say(&feedback("a", "positive", Some("cleo"), 3));
    world.say(&feedback("a", "positive", Some("anna"), 4));
    level(&world);
    assert_eq!(world.kept("a").len(), 4);
    assert_eq!(world.counted(), Sum { labelled: 1, correct: 0 });
}

#[test]
fn a_late_label_is_kept_and_not_counted() {
    let world = world();
    world.judge(&[verdict("a", "positive"), verdict("b", "positive")]);
    world.say(&feedback("a", "positive", None, 24 * 30));
    world.say(&feedback("b", "positive", None, 24 * 30 + 1));
    level(&world);
    assert_eq!((world.kept("a").len(), world.kept("b").len()), (1, 1));
    assert_eq!(world.counted(), Sum { labelled: 1, correct: 1 });
}

#[test]
fn a_label_that_the_model_does_not_know_is_kept_and_is_nobodys_first() {
    let world = world();
    world.judge(&[verdict("a", "positive")]);
    world.say(&feedback("a", "sarcastic", Some("anna"), 1));
    world.say(&feedback("a", "positive", Some("ben"), 2));
    level(&world);
    assert_eq!(world.kept("a").len(), 2);
    assert_eq!(world.counted(), Sum { labelled: 1, correct: 1 });
}

#[test]
fn a_label_without_a_verdict_is_kept_and_holds_up_nobody() {
    let world = world();
    world.judge(&[verdict("b", "positive")]);
    world.say(&feedback("a", "positive", None, 1));
    world.say(&feedback("b", "positive", None, 1));
    level(&world);
    assert_eq!(world.kept("a").len(), 1);
    assert_eq!(world.counted(), Sum { labelled: 1, correct: 1 });
}

/// The wait is an hour: only the verdict can end it.
#[test]
fn a_label_that_overtook_its_verdict_waits_for_it() {
    let mut world = world();
    world.settings = Settings { unknown_wait: Duration::from_hours(1), ..world.settings };
    let given_at = Some(chassis::clock::now());
    world.say(&schemas::Feedback { given_at, ..feedback("a", "positive", None, 0) });
    let is_waiting = || world.health.readiness().ok;
    std::thread::scope(|scope| {
        let running = scope.spawn(|| level(&world));
        while !is_waiting() {
            std::thread::yield_now();
        }
        assert_eq!(world.broker.lag(GROUP, FEEDBACK), 1);
        world.judge(&[Verdict { scored_at: chassis::clock::now(), ..verdict("a", "negative") }]);
        running.join().unwrap();
    });
    assert_eq!(world.counted(), Sum { labelled: 1, correct: 0 });
}

/// Were the waits to add up, this would take a day.
#[test]
fn a_backlog_of_labels_without_verdicts_does_not_wait_again() {
    let mut world = world();
    world.settings =
        Settings { unknown_wait: Duration::from_hours(1), rows_max: 1, ..world.settings };
    for number in 0..24 {
        world.say(&feedback(&format!("gone-{number}"), "positive", None, 1));
    }
    level(&world);
    assert_eq!(world.kept("gone-23").len(), 1);
}

#[test]
fn a_label_for_a_model_that_is_not_at_hand_is_kept_and_not_counted() {
    let world = world();
    let model = ModelRef { digest: "sha256:other".to_owned(), ..verdict("a", "positive").model };
    world.judge(&[Verdict { model, ..verdict("a", "positive") }]);
    world.say(&feedback("a", "positive", None, 1));
    level(&world);
    assert_eq!(world.kept("a").len(), 1);
    assert_eq!(world.counted(), Sum::default());
}

#[test]
fn what_is_no_feedback_is_kept_as_refused_and_holds_up_nobody() {
    let world = world();
    world.judge(&[verdict("a", "positive")]);
    let record = |value: Option<&str>, timestamp_ms| Record {
        key: Some(b"a".to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        timestamp_ms,
        ..Record::default()
    };
    world.publish(record(None, Some(1)));
    world.publish(record(Some("{"), Some(1)));
    world.publish(record(Some(r#"{"id":"a","label":""}"#), Some(1)));
    world.publish(record(Some(r#"{"id":"a","label":"positive"}"#), None));
    world.say(&feedback("a", "positive", None, 1));
    level(&world);
    let refused = world.runtime.block_on(world.store.refused(10)).unwrap();
    let classes: Vec<_> = refused.iter().rev().map(|record| record.class.as_str()).collect();
    let invalid = "InvalidFeedback";
    assert_eq!(classes, ["NullValue", invalid, invalid, invalid]);
    assert!(refused.iter().all(|record| record.topic == FEEDBACK));
    assert_eq!(world.counted(), Sum { labelled: 1, correct: 1 });
}
