//! Records of every kind through the pipeline with a stub for the model.

use std::num::NonZeroUsize;

use broker::{Delivery, Outgoing};
use jiff::ToSpan as _;
use proptest::prelude::*;
use schemas::{Record, ReviewId, ReviewText, dead_letter, headers, record::Header, text, topics};

use super::*;
use crate::{classifier::stub::Stub, pipeline::records::ScoringOrder, tokenizer::tests::small};

const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Words: 4 good, 5 bad, 6 fails the batch, 7 panics, 8 gives no numbers. At most 64 tokens.
pub(crate) fn pipeline() -> Pipeline {
    let stub =
        Stub { fails_on: Some(6), panics_on: Some(7), not_a_number_on: Some(8), ..Stub::default() };
    let calibration = serde_json::json!({
        "method": "", "temperature": 1.5, "fitted_on": "", "fitted_n": 0, "reported_on": "", "reports": [],
    });
    Pipeline {
        tokenizer: small(64),
        classifier: Arc::new(stub),
        calibration: serde_json::from_value(calibration).unwrap(),
        labels: vec!["negative".to_owned(), "positive".to_owned()],
        model: ModelRef {
            name: "stub".to_owned(),
            version: "1".to_owned(),
            digest: "sha256:0".to_owned(),
        },
        precision: Precision::F32,
        limits: BatchLimits {
            rows_max: NonZeroUsize::new(4).unwrap(),
            tokens_max: NonZeroUsize::new(128).unwrap(),
        },
        extractor: Extractor { special_tokens: 2, ..Extractor::default() },
        store_text: true,
    }
}

pub(crate) fn review(text: &str) -> Review {
    Review {
        id: ReviewId::new("id").unwrap(),
        text: ReviewText::new(text).unwrap(),
        source: None,
        language: None,
        occurred_at: NOW,
        received_at: NOW,
        metadata: None,
    }
}

pub(crate) fn delivery(offset: i64, value: impl Into<Vec<u8>>) -> Delivery {
    let record = Record { value: Some(value.into()), ..Record::default() };
    Delivery { topic: topics::REVIEWS.into(), partition: 0, offset, record }
}

fn json(review: &str) -> Vec<u8> {
    serde_json::json!({ "review": review }).to_string().into_bytes()
}

/// The verdict, or stage and class of the refusal.
fn read_back(outgoing: &Outgoing) -> Result<Verdict, (String, String)> {
    if &*outgoing.topic == topics::VERDICTS {
        return Ok(Verdict::from_record(&outgoing.record).unwrap());
    }
    assert_eq!(&*outgoing.topic, topics::DEAD_LETTERS);
    let header = |name| headers::text(&outgoing.record.headers, name).unwrap().to_owned();
    Err((header(dead_letter::STAGE), header(dead_letter::CLASS)))
}

/// Sends `value` between two good records, which must not suffer, and expects a verdict or the refusal `expected`.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "so that a case is a line")]
fn check(value: Option<Vec<u8>>, expected: Result<(), (&str, &str)>) {
    let mut deliveries = [delivery(0, json("good")), delivery(1, []), delivery(2, json("bad bad"))];
    deliveries[1].record.value.clone_from(&value);
    deliveries[1].record.key = Some(b"key".to_vec());
    let outgoing = pipeline().process(&deliveries, NOW);
    assert_eq!(outgoing.len(), 3);
    assert_eq!(read_back(&outgoing[0]).unwrap().review.as_deref(), Some("good"));
    assert_eq!(read_back(&outgoing[2]).unwrap().review.as_deref(), Some("bad bad"));
    match (read_back(&outgoing[1]), expected) {
        (Ok(_), Ok(())) => {}
        (Err((stage, class)), Err(expected)) => {
            assert_eq!((stage.as_str(), class.as_str()), expected);
            assert_eq!(outgoing[1].record.value, value, "the dead letter is the record as it came");
            assert_eq!(outgoing[1].record.key.as_deref(), Some(b"key".as_slice()));
        }
        (found, expected) => panic!("found {found:?}, expected {expected:?}"),
    }
}

#[test]
fn bytes_that_are_no_review_become_dead_letters() {
    check(Some(vec![0xff, 0xfe, 0x00, 0x9f]), Err(("DECODE", "InvalidUtf8")));
    check(Some(b"\x80garbage".to_vec()), Err(("DECODE", "InvalidUtf8")));
    check(Some(b"garbage".to_vec()), Err(("DECODE", "InvalidJson")));
    check(Some(Vec::new()), Err(("DECODE", "EmptyValue")));
    check(None, Err(("DECODE", "NullValue")));
    check(Some(br#"{"review": "\ud800 good"}"#.to_vec()), Err(("DECODE", "InvalidJson")));
    check(Some(br#"{"review": "good \udc00"}"#.to_vec()), Err(("DECODE", "InvalidJson")));
    check(
        Some([b"{\"review\": \"", b"\xc3\x28".as_slice(), b"\"}"].concat()),
        Err(("DECODE", "InvalidUtf8")),
    );
    let nested = format!(
        r#"{{"review": "good", "metadata": {{"a": {}{}}}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    check(Some(nested.into_bytes()), Err(("DECODE", "InvalidJson")));
}

#[test]
fn wrong_types_are_refused_and_unknown_fields_are_not() {
    for wrong in [
        r#"{"review": 5}"#,
        r#"{"review": null}"#,
        r#"{"review": ["good"]}"#,
        r#"{"review": "good", "id": 7}"#,
        r#"{"review": "good", "metadata": "x"}"#,
        r#"{"review": "good", "occurred_at": "yesterday"}"#,
        r#"{"text": "good"}"#,
        r#"["good"]"#,
        "7",
    ] {
        check(Some(wrong.into()), Err(("DECODE", "InvalidField")));
    }
    check(Some(br#"{"review": "good", "stars": 5, "more": {"a": [1]}}"#.to_vec()), Ok(()));
}

#[test]
fn texts_that_break_a_rule_are_refused_and_odd_ones_are_not() {
    check(Some(json("")), Err(("VALIDATE", "InvalidText")));
    check(Some(json(" \u{7}\n ")), Err(("VALIDATE", "InvalidText")));
    check(Some(json(&"good ".repeat(180_000))), Err(("VALIDATE", "InvalidText")));
    check(
        Some(json(&"x".repeat(text::REVIEW_CHARACTERS_MAX + 1))),
        Err(("VALIDATE", "InvalidText")),
    );
    check(Some(br#"{"review": "good", "id": "a b"}"#.to_vec()), Err(("VALIDATE", "InvalidId")));
    check(Some(json(&"\u{1f600}".repeat(5_000))), Ok(()));
    check(Some(json("go\u{0}od\u{1b}[31m \u{85} bad")), Ok(()));
    check(Some([b"\x00\x00\x00\x00\x07".as_slice(), &json("good")].concat()), Ok(()));
}

#[test]
fn a_dead_letter_fits_the_broker_whatever_it_holds() {
    let dropped = |outgoing: &Outgoing| {
        headers::text(&outgoing.record.headers, dead_letter::BYTES_DROPPED).is_some()
    };
    let wrong_type =
        serde_json::json!({"review": "good", "metadata": "x".repeat(900_000)}).to_string();
    let kept = &pipeline().process(&[delivery(0, wrong_type.clone())], NOW)[0];
    assert_eq!(kept.record.value.as_deref(), Some(wrong_type.as_bytes()));
    assert!(headers::text(&kept.record.headers, dead_letter::MESSAGE).unwrap().len() < 2_000);
    assert!(!dropped(kept));

    let too_large = &pipeline().process(&[delivery(0, vec![b'x'; 1_100_000])], NOW)[0];
    assert_eq!(too_large.record.value, None);
    assert!(dropped(too_large));

    let mut headed = delivery(7, vec![b'x'; 10]);
    headed.record.headers = vec![Header::text("large", "x".repeat(1_100_000))];
    let too_large = &pipeline().process(&[headed], NOW)[0];
    assert_eq!(headers::text(&too_large.record.headers, "large"), None);
    assert_eq!(headers::text(&too_large.record.headers, dead_letter::OFFSET), Some("7"));
}

#[test]
fn a_verdict_that_outgrows_the_broker_is_refused() {
    // Five bytes each as they come, eighteen as they are written.
    let metadata = vec!["1e15"; 150_000].join(",");
    let value = format!(r#"{{"review": "good", "metadata": {{"a": [{metadata}]}}}}"#);
    check(Some(value.into_bytes()), Err(("VALIDATE", "VerdictTooLarge")));
}

#[test]
fn a_text_that_breaks_the_model_is_refused_alone() {
    check(Some(json("fail bad")), Err(("INFER", "ModelFailed")));
    check(Some(json("panic bad")), Err(("INFER", "ModelFailed")));
    check(Some(json("nan bad")), Err(("INFER", "NotANumber")));
}

#[test]
fn a_failing_batch_is_halved_until_the_text_at_fault_is_alone() {
    for at in 0..4 {
        let mut texts = ["good good", "good bad", "bad good", "bad bad"];
        texts[at] = "fail good";
        let outcomes = pipeline().judge(texts.map(|text| Ok(review(text))), NOW);
        let refused: Vec<usize> = (0..4).filter(|&position| outcomes[position].is_err()).collect();
        assert_eq!(refused, [at]);
    }
}

#[test]
fn equal_texts_are_inferred_once_and_judged_each() {
    let (round, batches) =
        pipeline().prepare(["good", "bad", "good", " good "].map(|text| Ok(review(text))));
    let rows: usize = batches.iter().map(|batch| batch.rows.len()).sum();
    assert_eq!((round.len(), rows), (4, 2));

    let twice = br#"{"id": "twice", "review": "good"}"#;
    let outgoing = pipeline().process(&[delivery(0, *twice), delivery(1, *twice)], NOW);
    let verdicts: Vec<Verdict> =
        outgoing.iter().map(|outgoing| read_back(outgoing).unwrap()).collect();
    assert_eq!([0, 1].map(|n| verdicts[n].id.as_str()), ["twice", "twice"]);
    assert_eq!([0, 1].map(|n| verdicts[n].origin.as_ref().unwrap().offset), [0, 1]);
    assert_eq!(verdicts[0].probabilities, verdicts[1].probabilities);
}

#[test]
fn a_verdict_has_what_drift_needs_and_so_has_each_of_equal_texts() {
    let projection = drift::Projection::seeded(1, 4);
    let vocabulary = drift::Vocabulary::from_counts(vec![0; 8]).unwrap();
    let extractor = Extractor {
        special_tokens: 2,
        vocabulary: Some(vocabulary),
        projection: Some(projection.clone()),
        tells_languages: true,
        words: Some(drift::WordPieces::default()),
    };
    let pipeline = Pipeline { extractor, ..pipeline() };
    let text = "good, and everybody in the whole country should go and see it at once";
    let [first, second] = [0, 1].map(|offset| delivery(offset, json(text)));
    let verdicts: Vec<Verdict> = pipeline
        .process(&[first, second], NOW)
        .iter()
        .map(|outgoing| read_back(outgoing).unwrap())
        .collect();
    let features = verdicts[0].drift.as_ref().unwrap();
    assert_eq!(verdicts[1].drift.as_ref(), Some(features));
    // All but one word and none of the special tokens.
    assert_eq!((features.special_tokens, features.unknown_tokens), (2, verdicts[0].tokens - 3));
    assert_eq!(features.cross_entropy, Some(3.0), "eight tokens of even odds");
    assert_eq!(features.language.as_deref(), Some("en"));
    // `good`, and what the vocabulary does not know.
    assert_eq!(features.words.as_ref().map(Vec::len), Some(2));
    // The stub's embedding is one number four times, so its size does not matter.
    assert_eq!(features.projection, projection.project(&[0.5; 4]));
}

#[test]
fn a_record_from_the_future_is_scored_and_waited_not_at_all() {
    let future = "2033-01-01T00:00:00Z";
    let value = serde_json::json!({"review": "good", "occurred_at": future, "received_at": future});
    let outgoing = pipeline().process(&[delivery(0, value.to_string())], NOW);
    let verdict = read_back(&outgoing[0]).unwrap();
    assert_eq!(verdict.occurred_at.to_string(), future);
    assert!(verdict.queue_ms.abs() < f64::EPSILON);
    assert_eq!(verdict.scored_at, NOW);

    let value = serde_json::json!({"review": "good", "received_at": (NOW - Duration::from_millis(1_500)).to_string()});
    let outgoing = pipeline().process(&[delivery(0, value.to_string())], NOW);
    assert!((read_back(&outgoing[0]).unwrap().queue_ms - 1_500.0).abs() < 1e-6);
}

#[test]
fn headers_travel_and_the_trace_goes_on() {
    let mut given = delivery(0, json("good"));
    given.record.headers = vec![
        Header::text("tenant", "a"),
        Header::text(headers::TRACEPARENT, TRACE),
        Header::text(headers::TRACESTATE, "vendor=1"),
        Header { name: "null".to_owned(), value: None },
        Header::text("tenant", "b"),
    ];
    let outgoing = pipeline().process(&[given.clone()], NOW).remove(0);
    let written = &outgoing.record.headers;
    let tenants: Vec<_> = written.iter().filter(|header| header.name == "tenant").collect();
    assert_eq!(tenants.len(), 2);
    assert!(written.iter().any(|header| header.name == "null" && header.value.is_none()));
    assert_eq!(headers::text(written, headers::TRACESTATE), Some("vendor=1"));
    let trace = headers::text(written, headers::TRACEPARENT).unwrap();
    assert_eq!(trace[..35], TRACE[..35], "the same trace");
    assert_ne!(trace[36..52], TRACE[36..52], "another span");
    let verdict = read_back(&outgoing).unwrap();
    assert_eq!(verdict.trace_id.as_deref(), Some(&TRACE[3..35]));

    for absent in [None, Some("00-nonsense")] {
        given.record.headers =
            absent.map(|text| Header::text(headers::TRACEPARENT, text)).into_iter().collect();
        let outgoing = pipeline().process(&[given.clone()], NOW).remove(0);
        let begun = headers::text(&outgoing.record.headers, headers::TRACEPARENT).unwrap();
        assert_eq!(read_back(&outgoing).unwrap().trace_id.as_deref(), Some(&begun[3..35]));
        assert_eq!(
            outgoing.record.headers.iter().filter(|h| h.name == headers::TRACEPARENT).count(),
            1
        );
    }
}

#[test]
fn a_verdict_says_what_was_judged_and_by_whom() {
    let pipeline = Pipeline { store_text: false, ..pipeline() };
    let verdict = pipeline.judge([Ok(review("good bad"))], NOW).remove(0).unwrap();
    assert_eq!(verdict.review, None);
    let expected = "8bed02316bb50157ab13ce820844210da1ab82064404a7677c0547ffabbc1167";
    assert_eq!(verdict.review_sha256, expected);
    assert_eq!((verdict.tokens, verdict.truncated, verdict.batch_size), (4, false, 1));
    assert_eq!(verdict.model, pipeline.model);
    assert!((verdict.confidence - verdict.probabilities[&verdict.label]).abs() < f32::EPSILON);
    let long = pipeline.judge([Ok(review(&"good ".repeat(100)))], NOW).remove(0).unwrap();
    assert_eq!((long.tokens, long.truncated), (64, true));
}

proptest! {
    #[test]
    fn probabilities_sum_to_one_and_order_is_kept(
        texts in prop::collection::vec("(good|bad|other|fail|panic|nan| )( good| bad| other){0,80}", 0..60),
    ) {
        let values: Vec<Vec<u8>> = texts.iter().map(|text| json(text)).collect();
        let deliveries: Vec<Delivery> =
            (0..).zip(values).map(|(offset, value)| delivery(offset, value)).collect();
        let outgoing = pipeline().process(&deliveries, NOW);
        prop_assert_eq!(outgoing.len(), texts.len());
        for ((outgoing, text), offset) in outgoing.iter().zip(&texts).zip(0..) {
            let fine = ["fail", "panic", "nan"].iter().all(|word| !text.contains(word)) && !text.trim().is_empty();
            match read_back(outgoing) {
                Ok(verdict) => {
                    prop_assert!(fine);
                    prop_assert_eq!(verdict.origin.unwrap().offset, offset);
                    prop_assert_eq!(verdict.review.as_deref(), Some(text.trim()));
                    let sum: f32 = verdict.probabilities.values().sum();
                    prop_assert!((sum - 1.0).abs() < 1e-5);
                    prop_assert!(verdict.probabilities.values().all(|p| (0.0..=1.0).contains(p)));
                }
                Err(_) => prop_assert!(!fine, "{}", text),
            }
        }
    }
}

#[test]
fn times_of_scoring_keep_the_order_of_the_reviews() {
    let mut outcomes = pipeline().judge((0..4).map(|_| Ok(review("good"))), NOW);
    let us = |us: i64| NOW + us.microseconds();
    let times = |outcomes: &[Result<Verdict, Refusal>]| -> Vec<Timestamp> {
        outcomes.iter().flatten().map(|verdict| verdict.scored_at).collect()
    };
    let set = |outcomes: &mut [Result<Verdict, Refusal>], offsets: [i64; 4]| {
        for (outcome, offset) in outcomes.iter_mut().zip(offsets) {
            outcome.as_mut().unwrap().scored_at = us(offset);
        }
    };
    let mut order = ScoringOrder::default();
    set(&mut outcomes, [0, 0, 9, 3]);
    order.keep(&mut outcomes);
    assert_eq!(times(&outcomes), [us(0), us(1), us(9), us(10)]);
    // The next round goes on from there, and what is later by itself stays as it is.
    set(&mut outcomes, [10, 11, 50, 51]);
    order.keep(&mut outcomes);
    assert_eq!(times(&outcomes), [us(11), us(12), us(50), us(51)]);
}

#[test]
fn what_is_remembered_is_not_asked_again_and_reads_the_same() {
    let (pipeline, mut cache) = (pipeline(), ResponseCache::new(8));
    let mut judged = Vec::new();
    for texts in [&["good", "fail", "good bad"][..], &["good bad", "bad", "good", "fail"]] {
        let reviews = texts.iter().map(|text| Ok(review(text)));
        let (mut round, batches) = pipeline.prepare_with(reviews, &mut cache, NOW);
        let asked: usize = batches.iter().map(|batch| batch.rows().len()).sum();
        for batch in &batches {
            let timing = Timing { started_at: NOW, took: Duration::from_millis(2) };
            round.accept(pipeline.infer(batch), timing);
        }
        assert!(round.is_complete());
        round.teach(&mut cache);
        judged.push((asked, pipeline.conclude(round)));
    }
    let [(3, first), (2, second)] = judged.as_slice() else {
        panic!("asked otherwise: {judged:?}")
    };
    let [good, Err(failed), both] = first.as_slice() else { panic!("{first:?}") };
    let [both_again, Ok(_), good_again, Err(failed_again)] = second.as_slice() else {
        panic!("{second:?}")
    };
    assert_eq!(failed_again, failed, "a refusal is found anew");
    for (first, again) in [(good, good_again), (both, both_again)] {
        let (mut expected, again) = (first.clone().unwrap(), again.clone().unwrap());
        assert_eq!((again.inference_ms, again.batch_size), (0.0, 0));
        (expected.inference_ms, expected.batch_size) = (0.0, 0);
        expected.scored_at = NOW;
        assert_eq!(again, expected);
    }
}
