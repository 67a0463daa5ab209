//! Ids, and every way in which a record may be or fail to be a review.

use proptest::prelude::*;

use super::*;

const PLACE: Place<'static> = Place { topic: "reviews.v1", partition: 3, offset: 42 };

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn record(value: &[u8]) -> Record {
    Record { value: Some(value.to_vec()), ..Record::default() }
}

fn read(value: &[u8]) -> Result<Review, Refusal> {
    Review::from_record(&record(value), PLACE, now())
}

/// Refused with `class`, and the message holds `words`.
fn refused(value: &[u8], class: &str, words: &str) {
    let refusal = read(value).unwrap_err();
    assert_eq!(refusal.class, class, "{refusal}");
    assert!(refusal.message.contains(words), "{refusal}");
}

#[test]
fn ids_are_held_to_their_rule() {
    let longest = "x".repeat(REVIEW_ID_BYTES_MAX);
    for id in ["a", "order-4711", "\u{e9}\u{1f468}", longest.as_str()] {
        assert_eq!(ReviewId::new(id).unwrap().as_str(), id);
    }
    assert_eq!(ReviewId::new(""), Err(InvalidId::Empty));
    assert_eq!(ReviewId::new("\u{e9}".repeat(101)), Err(InvalidId::TooLong { bytes: 202 }));
    for id in ["a b", "a\n", "\u{0}", "a\u{a0}", "a\u{2028}b", "\u{7f}"] {
        assert_eq!(ReviewId::new(id), Err(InvalidId::Unprintable), "{id:?}");
    }
}

#[test]
fn derived_ids_are_stable() {
    // Written down, because a change would score every review again.
    assert_eq!(ReviewId::of_place(PLACE).as_str(), "d4e65e1c-79dc-54f8-8def-ca9431baf8fe");
    assert_eq!(
        ReviewId::of_idempotency_key("tenant", "key").as_str(),
        "df355ea5-270c-5d76-b2e6-57a9137a350a"
    );
    assert_ne!(ReviewId::of_idempotency_key("ab", "c"), ReviewId::of_idempotency_key("a", "bc"));
    assert_ne!(ReviewId::of_place(Place { offset: 43, ..PLACE }), ReviewId::of_place(PLACE));
}

#[test]
fn a_value_with_only_a_text_is_a_review() {
    let review = read(br#"{"review": " fine\n"}"#).unwrap();
    let expected = Review {
        id: ReviewId::of_place(PLACE),
        text: ReviewText::new("fine").unwrap(),
        source: None,
        language: None,
        occurred_at: now(),
        received_at: now(),
        metadata: None,
    };
    assert_eq!(review, expected);
}

#[test]
fn a_review_comes_back_as_it_was_written() {
    let review = Review {
        id: ReviewId::new("order-4711").unwrap(),
        text: ReviewText::new("The room was \"clean\" \u{1f468}").unwrap(),
        source: Some("web".to_owned()),
        language: Some("en-GB".to_owned()),
        occurred_at: "2026-01-01T00:00:00.123456789Z".parse().unwrap(),
        received_at: now(),
        metadata: serde_json::from_str(r#"{"stars": 4, "deep": {"a": [1, null]}}"#).unwrap(),
    };
    let stale = Header::text(headers::CONTENT_TYPE, "text/plain");
    let written = review.to_record(vec![Header::text("tenant", "a"), stale]).unwrap();
    assert_eq!(written.key.as_deref(), Some(b"order-4711".as_slice()));
    assert_eq!(written.timestamp_ms, Some(review.occurred_at.as_millisecond()));
    let expected =
        [Header::text("tenant", "a"), Header::text(headers::CONTENT_TYPE, "application/json")];
    assert_eq!(written.headers, expected);
    assert_eq!(Review::from_record(&written, PLACE, Timestamp::UNIX_EPOCH).unwrap(), review);
}

#[test]
fn the_id_is_the_values_else_the_events_else_the_keys_else_the_places() {
    let event =
        [Header::text(cloudevents::SPECVERSION, "1.0"), Header::text(cloudevents::ID, "event")];
    let id = |value: &str, headers: &[Header], key: &[u8]| {
        let key = (!key.is_empty()).then(|| key.to_vec());
        let record = Record { key, headers: headers.to_vec(), ..record(value.as_bytes()) };
        Review::from_record(&record, PLACE, now()).unwrap().id.to_string()
    };
    assert_eq!(id(r#"{"id":"value","review":"a"}"#, &event, b"key"), "value");
    assert_eq!(id(r#"{"id":null,"review":"a"}"#, &event, b"key"), "event");
    assert_eq!(id(r#"{"review":"a"}"#, &[], b"key"), "key");
    let of_place = ReviewId::of_place(PLACE).to_string();
    for unusable in [b"".as_slice(), b"a b", &[0xff], &[b'x'; 201]] {
        assert_eq!(id(r#"{"review":"a"}"#, &[], unusable), of_place, "{unusable:?}");
    }
}

#[test]
fn an_events_source_and_time_stand_in_for_those_of_the_value() {
    let headers = vec![
        Header::text(cloudevents::SPECVERSION, "1.0"),
        Header::text(cloudevents::SOURCE, "/shop"),
        Header::text(cloudevents::TIME, "2025-12-24T00:00:00Z"),
    ];
    let read = |value: &[u8]| {
        let record =
            Record { headers: headers.clone(), timestamp_ms: Some(7_000), ..record(value) };
        Review::from_record(&record, PLACE, now()).unwrap()
    };
    let review = read(br#"{"review":"a"}"#);
    assert_eq!(review.source.as_deref(), Some("/shop"));
    assert_eq!(review.occurred_at.to_string(), "2025-12-24T00:00:00Z");
    assert_eq!(review.received_at, Timestamp::from_second(7).unwrap());
    let review = read(br#"{"review":"a","source":"web","occurred_at":"2025-01-01T00:00:00Z"}"#);
    assert_eq!(review.source.as_deref(), Some("web"));
    assert_eq!(review.occurred_at.to_string(), "2025-01-01T00:00:00Z");
}

#[test]
fn confluents_frame_and_a_byte_order_mark_are_taken_off() {
    for value in [
        b"\x00\x00\x00\x01\x02{\"review\":\"a\"}".as_slice(),
        b"\xef\xbb\xbf{\"review\":\"a\"}",
        b"\x00\x00\x00\x01\x02\xef\xbb\xbf {\"review\":\"a\"}\n",
    ] {
        assert_eq!(read(value).unwrap().text.as_str(), "a");
    }
    refused(b"\x00\x00\x00\x01\x02", "EmptyValue", "it is empty");
    refused(b"\x00\x00\x00\x01", "InvalidJson", "it is not JSON");
    refused(b"\x00\x00\x00\x01\x02\x0a\x05avro!", "InvalidJson", "it is not JSON");
}

#[test]
fn fields_that_are_not_ours_are_ignored() {
    let review = read(br#"{"review":"a","stars":5,"nested":{"review":[1]},"Review":3}"#).unwrap();
    assert_eq!(review.text.as_str(), "a");
}

#[test]
fn bytes_that_are_no_json_are_refused() {
    let null = Record::default();
    assert_eq!(Review::from_record(&null, PLACE, now()).unwrap_err().class, "NullValue");
    refused(b"", "EmptyValue", "it is empty");
    refused(b" \n", "EmptyValue", "it is empty");
    refused(b"\xef\xbb\xbf", "EmptyValue", "it is empty");
    refused(b"garbage", "InvalidJson", "line 1 column 1");
    refused(b"{\"review\":\"a\"", "InvalidJson", "EOF");
    refused(b"{\"review\":\"a\"} {}", "InvalidJson", "trailing characters");
    refused(b"{'review':'a'}", "InvalidJson", "line 1 column 2");
    refused(b"{\"review\":\"\xff\xfe\"}", "InvalidUtf8", "index 11");
    refused(b"\xff\xfe{\x00\"\x00", "InvalidUtf8", "index 0");
    refused(br#"{"review":"\ud800"}"#, "InvalidJson", "hex escape");
    refused(br#"{"review":"\udc00 a"}"#, "InvalidJson", "hex escape");
    refused(b"{\"review\":\"a\nb\"}", "InvalidJson", "control character");
    refused(br#"{"review":NaN}"#, "InvalidJson", "line 1");
}

#[test]
fn nesting_without_end_is_refused_and_does_not_exhaust_the_stack() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let value = |field, depth| format!(r#"{{"review":"a","{field}":{{"a":{}}}}}"#, nested(depth));
    refused(value("metadata", 200).as_bytes(), "InvalidJson", "recursion limit");
    refused(value("metadata", 100_000).as_bytes(), "InvalidJson", "recursion limit");
    assert!(read(value("metadata", 50).as_bytes()).is_ok());
    // What is kept out is skipped without recursion.
    assert!(read(value("unknown", 100_000).as_bytes()).is_ok());
    refused(nested(200).as_bytes(), "InvalidField", "it is a list");
}

#[test]
fn a_surrogate_pair_is_one_character() {
    assert_eq!(read(br#"{"review":"\ud83d\udc68"}"#).unwrap().text.as_str(), "\u{1f468}");
}

#[test]
fn a_field_that_is_wrong_is_named() {
    for (value, words) in [
        ("{}", "missing field `review`"),
        (r#"{"text":"a"}"#, "missing field `review`"),
        (r#"{"review":null}"#, "`review`: invalid type: null, expected a string"),
        (r#"{"review":5}"#, "`review`: invalid type: integer `5`, expected a string"),
        (r#"{"review":["a"]}"#, "`review`: invalid type: sequence, expected a string"),
        (r#"{"review":"a","id":7}"#, "`id`: invalid type: integer `7`, expected a string"),
        (r#"{"review":"a","source":{}}"#, "`source`: invalid type: map, expected a string"),
        (r#"{"review":"a","language":true}"#, "`language`: invalid type: boolean `true`"),
        (r#"{"review":"a","occurred_at":"yesterday"}"#, "`occurred_at`: "),
        (r#"{"review":"a","occurred_at":1700000000}"#, "`occurred_at`: "),
        (r#"{"review":"a","received_at":"2026-13-01T00:00:00Z"}"#, "`received_at`: "),
        (
            r#"{"review":"a","metadata":"x"}"#,
            "`metadata`: invalid type: string \"x\", expected a map",
        ),
        (r#"{"review":"a","review":"b"}"#, "duplicate field `review`"),
        (r#"["id","a"]"#, "it is a list, expected a JSON object"),
        (r#""a""#, "expected a JSON object with the field `review`"),
        ("7", "expected a JSON object with the field `review`"),
        ("null", "expected a JSON object with the field `review`"),
    ] {
        refused(value.as_bytes(), "InvalidField", words);
    }
}

#[test]
fn a_review_that_breaks_a_rule_is_refused_with_the_rule() {
    let check = |value: &str, class: &str, words: &str| {
        refused(value.as_bytes(), class, words);
        assert_eq!(read(value.as_bytes()).unwrap_err().stage, Stage::Validate);
    };
    check(r#"{"review":" \u0000 "}"#, "InvalidText", "the review is empty");
    check(&format!(r#"{{"review":"{}"}}"#, "a".repeat(10_001)), "InvalidText", "10001 characters");
    check(r#"{"id":"","review":"a"}"#, "InvalidId", "the id is empty");
    check(r#"{"id":"a b","review":"a"}"#, "InvalidId", "white space");
    let long = "x".repeat(201);
    check(
        &format!(r#"{{"review":"a","source":"{long}"}}"#),
        "InvalidField",
        "`source` has 201 bytes",
    );
    check(
        &format!(r#"{{"review":"a","language":"{long}"}}"#),
        "InvalidField",
        "`language` has 201",
    );
}

#[test]
fn the_last_of_two_equal_keys_in_metadata_stays() {
    let review = read(br#"{"review":"a","metadata":{"k":1,"k":2}}"#).unwrap();
    assert_eq!(review.metadata.unwrap()["k"], 2);
}

proptest! {
    #[test]
    fn no_bytes_whatever_make_reading_panic(
        value in prop::collection::vec(any::<u8>(), 0..200),
        key in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        timestamp_ms in prop::option::of(any::<i64>()),
    ) {
        let record = Record { key, value: Some(value), timestamp_ms, ..Record::default() };
        drop(Review::from_record(&record, PLACE, now()));
    }

    #[test]
    fn any_text_that_is_accepted_survives_the_journey(raw in ".{1,80}", id in "[!-~]{1,40}") {
        if let Ok(text) = ReviewText::new(&raw) {
            let review = Review {
                id: ReviewId::new(id).unwrap(),
                text,
                source: None,
                language: None,
                occurred_at: now(),
                received_at: now(),
                metadata: None,
            };
            let written = review.to_record(vec![]).unwrap();
            prop_assert_eq!(Review::from_record(&written, PLACE, now()).unwrap(), review);
        }
    }
}
