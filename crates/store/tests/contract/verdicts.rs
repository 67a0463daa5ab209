//! What the tests write.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use schemas::{
    DriftFeatures, ModelRef, Origin, Record, ReviewId, Verdict, record::Header,
    verdict::SCHEMA_VERSION,
};
use store::{RefusedRecord, Row};

pub(crate) fn id(id: &str) -> ReviewId {
    ReviewId::new(id).unwrap()
}

/// A verdict with every field, none of them round.
pub(crate) fn verdict(name: &str) -> Verdict {
    let metadata = serde_json::json!({
        "tenant": "blue", "stars": 4, "ratio": 0.1, "tiny": 5e-324, "large": u64::MAX, "deep": [{"a": null}, -1.5e300]
    });
    Verdict {
        schema_version: SCHEMA_VERSION,
        id: id(name),
        review: Some("The room was clean and affordable.".to_owned()),
        review_sha256: "0f".repeat(32),
        label: "positive".to_owned(),
        confidence: 0.987_654_3,
        probabilities: BTreeMap::from([
            ("negative".to_owned(), 0.012_345_7),
            ("positive".to_owned(), 0.987_654_3),
        ]),
        model: ModelRef {
            name: "sentiment".to_owned(),
            version: "1".to_owned(),
            digest: "sha256:abc".to_owned(),
        },
        precision: Some("int8".to_owned()),
        tokens: 9,
        truncated: false,
        drift: Some(DriftFeatures {
            special_tokens: 2,
            unknown_tokens: 1,
            // One bit more than 9.7: a float that takes all its digits to be read back.
            cross_entropy: Some(f32::from_bits(9.7_f32.to_bits() + 1)),
            projection: Some([-128, -77, -1, 0, 1, 5, 42, 127, 9, -9, 33, -33, 64, -64, 100, -100]),
            language: Some("en".to_owned()),
            words: Some(vec![0, 99, 2_047]),
        }),
        source: Some("web".to_owned()),
        language: Some("en-GB".to_owned()),
        metadata: metadata.as_object().cloned(),
        origin: Some(Origin {
            topic: "reviews.v1".to_owned(),
            partition: 3,
            offset: 9_007_199_254_740_993,
        }),
        occurred_at: time("2025-03-01T23:59:59.999999999Z"),
        received_at: time("2025-03-02T00:00:00Z"),
        scored_at: time("2025-03-02T00:00:00.012345678Z"),
        queue_ms: 0.1 + 0.2,
        inference_ms: 1.0 / 3.0,
        batch_size: 17,
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
    }
}

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A row of review `name`, written at `written_at_us`, which says `label`.
pub(crate) fn row(name: &str, written_at_us: i64, label: &str) -> Row {
    Row { verdict: Verdict { label: label.to_owned(), ..verdict(name) }, written_at_us }
}

/// A record that was refused at `offset`, the later the larger that is; its bytes are no text.
pub(crate) fn refused(offset: i64) -> RefusedRecord {
    RefusedRecord {
        topic: "verdicts.v1".to_owned(),
        partition: 2,
        offset,
        record: Record {
            key: Some(vec![0xff, 0x00]),
            value: Some(b"{\"id\": \xc3\x28".to_vec()),
            headers: vec![
                Header::text("traceparent", "00-abc"),
                Header { name: "null".to_owned(), value: None },
                Header { name: "bytes".to_owned(), value: Some(vec![0x00, 0xfe, 0x10]) },
                Header::text("traceparent", "a name may repeat"),
            ],
            timestamp_ms: Some(1_700_000_000_123),
        },
        class: "InvalidVerdict".to_owned(),
        message: "not JSON: 'quoted' \"twice\"".to_owned(),
        refused_at: time("2025-03-02T00:00:00.5Z") + SignedDuration::from_millis(offset),
    }
}
