//! What is measured of the feedback loop. In a process of its own, since metrics are the process's.

#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(dead_code, reason = "the world is the other tests' too")]

#[path = "feedback/world.rs"]
mod world;

use std::{iter, sync::Arc};

use chassis::telemetry::{self, TelemetrySettings};
use schemas::{Record, topics::FEEDBACK};
use store::MemoryStore;

use crate::world::{GROUP, World, feedback, verdict};

#[test]
fn each_outcome_is_measured_once() {
    let telemetry = telemetry::start("test", &TelemetrySettings::default()).unwrap();
    let world = World::new(Arc::new(MemoryStore::default()));
    world.judge(&["a", "b", "c", "d"].map(|id| verdict(id, "positive")));
    for (id, label, by, hours) in [
        ("a", "positive", "anna", 1),
        ("a", "positive", "anna", 2),
        ("a", "positive", "ben", 3),
        ("a", "negative", "cleo", 4),
        ("b", "positive", "anna", 24 * 60),
        ("c", "sarcastic", "anna", 1),
        ("x", "positive", "anna", 1),
    ] {
        world.say(&feedback(id, label, Some(by), hours));
    }
    world.publish(Record { value: Some(b"{".to_vec()), ..Record::default() });
    world.live(iter::empty()).unwrap();
    assert_eq!(world.broker.lag(GROUP, FEEDBACK), 0);
    let text = telemetry.text().unwrap();
    for outcome in [
        "joined",
        "duplicate",
        "agreed",
        "contradictory",
        "late",
        "unknown_label",
        "unknown_id",
        "refused",
    ] {
        let counted = format!("feedback_labels_total{{outcome=\"{outcome}\"}} 1");
        assert!(text.contains(&counted), "{counted}: {text}");
    }
    assert!(text.contains("feedback_labels_total{outcome=\"uncounted\"} 0"), "{text}");
    assert!(text.contains("feedback_delay_seconds_bucket{le=\"2592000\"} 1"), "a month: {text}");
    assert!(text.contains("feedback_delay_seconds_count 2"), "{text}");
    assert!(text.contains("feedback_delay_seconds_sum 5187600"), "an hour and sixty days: {text}");
}
