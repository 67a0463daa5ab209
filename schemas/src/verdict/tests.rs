//! Verdicts written, read, and refused.

use super::*;

fn verdict() -> Verdict {
    Verdict {
        schema_version: SCHEMA_VERSION,
        id: ReviewId::new("order-4711").unwrap(),
        review: Some("The room was clean.".to_owned()),
        review_sha256: "0".repeat(64),
        label: "positive".to_owned(),
        confidence: 0.97,
        probabilities: BTreeMap::from([
            ("negative".to_owned(), 0.03),
            ("positive".to_owned(), 0.97),
        ]),
        model: ModelRef {
            name: "sentiment".to_owned(),
            version: "1".to_owned(),
            digest: "sha256:00".to_owned(),
        },
        precision: Some("int8".to_owned()),
        tokens: 7,
        truncated: false,
        drift: None,
        source: Some("web".to_owned()),
        language: Some("en".to_owned()),
        metadata: serde_json::from_str(r#"{"stars": 4}"#).unwrap(),
        origin: Some(Origin { topic: "reviews.v1".to_owned(), partition: 3, offset: 42 }),
        occurred_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        received_at: "2026-01-01T00:00:01Z".parse().unwrap(),
        scored_at: "2026-01-01T00:00:02.5Z".parse().unwrap(),
        queue_ms: 1_500.0,
        inference_ms: 3.25,
        batch_size: 8,
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
    }
}

#[test]
fn a_verdict_comes_back_as_it_was_written() {
    let full = verdict();
    let least = Verdict {
        review: None,
        precision: None,
        source: None,
        language: None,
        metadata: None,
        origin: None,
        trace_id: None,
        ..verdict()
    };
    for verdict in [full, least] {
        let record = verdict.to_record(vec![]).unwrap();
        assert_eq!(record.key.as_deref(), Some(b"order-4711".as_slice()));
        assert_eq!(record.timestamp_ms, Some(verdict.occurred_at.as_millisecond()));
        assert_eq!(Verdict::from_record(&record).unwrap(), verdict);
    }
}

#[test]
fn a_field_that_nobody_set_is_not_written() {
    let least = Verdict { review: None, origin: None, ..verdict() };
    let value = least.to_record(vec![]).unwrap().value.unwrap();
    let fields: Map<String, Value> = serde_json::from_slice(&value).unwrap();
    assert!(!fields.contains_key("review") && !fields.contains_key("origin"));
}

#[test]
fn the_verdicts_event_replaces_the_reviews_and_the_rest_travels_through() {
    let came = [
        ("content-type", "text/plain"),
        ("tenant", "a"),
        ("ce_specversion", "1.0"),
        ("ce_id", "theirs"),
        ("ce_source", "/shop"),
        ("ce_type", "review.written"),
        ("ce_time", "2025-12-24T00:00:00Z"),
        ("ce_subject", "theirs"),
        ("ce_dataschema", "https://example.com/review"),
        ("ce_tenant", "extension"),
        ("tenant", "b"),
    ];
    let headers = came.map(|(name, value)| Header::text(name, value)).to_vec();
    let written = verdict().to_record(headers).unwrap().headers;
    let expected = [
        ("tenant", "a"),
        ("ce_tenant", "extension"),
        ("tenant", "b"),
        ("content-type", "application/json"),
        ("ce_specversion", "1.0"),
        ("ce_id", "order-4711/sentiment/1"),
        ("ce_source", "/verdict/processor"),
        ("ce_type", "verdict.scored.v1"),
        ("ce_subject", "order-4711"),
        ("ce_time", "2026-01-01T00:00:02.5Z"),
    ];
    assert_eq!(written, expected.map(|(name, value)| Header::text(name, value)));
}

#[test]
fn what_is_no_verdict_says_why() {
    let check = |value: Option<&str>, words: &str| {
        let record = Record { value: value.map(Into::into), ..Record::default() };
        let error = Verdict::from_record(&record).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    check(None, "is null");
    check(Some(""), "it is empty");
    check(Some("garbage"), "it is not JSON");
    check(Some("[]"), "it is a list");
    check(Some("{}"), "missing field `schema_version`");
    let text = serde_json::to_string(&verdict()).unwrap();
    check(Some(&text.replace("\"order-4711\"", "\"a b\"")), "`id`: the id contains white space");
    check(Some(&text.replace("\"partition\":3", "\"partition\":\"3\"")), "`origin.partition`: ");
}
