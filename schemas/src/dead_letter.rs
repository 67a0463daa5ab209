//! What a refused record becomes: itself, with the reason in headers.
//!
//! The names are those of Kafka Connect's dead letter queue (KIP-298), so that existing tools read them.

use jiff::Timestamp;

use crate::{
    headers,
    record::{Header, Record},
    review::{Place, ReviewId},
};

/// Topic that the record was read from.
pub const TOPIC: &str = "__connect.errors.topic";
/// Partition that the record was read from.
pub const PARTITION: &str = "__connect.errors.partition";
/// Offset that the record was read from.
pub const OFFSET: &str = "__connect.errors.offset";
/// Where it was refused: a [`Stage`].
pub const STAGE: &str = "__connect.errors.stage";
/// The kind of error, a stable name to filter by.
pub const CLASS: &str = "__connect.errors.exception.class.name";
/// The error in words.
pub const MESSAGE: &str = "__connect.errors.exception.message";
/// How often the record was tried, this time included.
pub const ATTEMPTS: &str = "dlq.attempts";
/// When it was refused (RFC 3339).
pub const FAILED_AT: &str = "dlq.failed-at";
/// Whether trying again may help: `true` or `false`.
pub const RETRYABLE: &str = "dlq.retryable";
/// Says on a dead letter that its value, or all of it, was too large for the broker: how many bytes it had.
pub const BYTES_DROPPED: &str = "dlq.bytes-dropped";
/// On a record that is sent again and names no id itself: the id that it had, which came from where it lay.
pub const REVIEW_ID: &str = "dlq.review-id";

/// Names of the headers that a dead letter adds; a second failure replaces them.
const ADDED: [&str; 9] =
    [TOPIC, PARTITION, OFFSET, STAGE, CLASS, MESSAGE, ATTEMPTS, FAILED_AT, RETRYABLE];

/// Where in the line a record was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Its bytes are not a review.
    Decode,
    /// It is a review, but breaks a rule.
    Validate,
    /// The tokenizer failed on its text.
    Tokenize,
    /// The model failed on it.
    Infer,
}

/// Why a record is being refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Where.
    pub stage: Stage,
    /// The kind of error: a stable name in `UpperCamelCase`.
    pub class: &'static str,
    /// What was wrong, in words.
    pub message: String,
}

/// What a dead letter says of itself, to the operator who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeathNote<'a> {
    /// Where the record was read from.
    pub place: Place<'a>,
    /// Where in the line it was refused.
    pub stage: Stage,
    /// The kind of error.
    pub class: &'a str,
    /// The error in words.
    pub message: &'a str,
    /// How often the record was tried.
    pub attempts: u32,
    /// When it was refused the last time.
    pub failed_at: Timestamp,
    /// Whether trying again may help.
    pub is_retryable: bool,
}

impl Stage {
    /// Reads the name as it stands in the header.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Decode, Self::Validate, Self::Tokenize, Self::Infer]
            .into_iter()
            .find(|stage| stage.as_str() == name)
    }

    /// The name as it stands in the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "DECODE",
            Self::Validate => "VALIDATE",
            Self::Tokenize => "TOKENIZE",
            Self::Infer => "INFER",
        }
    }

    /// Whether the same record may pass another time: only what depends on the model may.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Tokenize | Self::Infer)
    }
}

impl Refusal {
    /// A refusal at `stage`.
    #[expect(clippy::needless_pass_by_value, reason = "errors are handed over, not lent")]
    pub fn new(stage: Stage, class: &'static str, message: impl ToString) -> Self {
        Self { stage, class, message: message.to_string() }
    }

    /// The dead letter of `record`: key, value, headers and timestamp unchanged, the reason added.
    pub fn to_dead_letter(&self, record: &Record, place: Place<'_>, now: Timestamp) -> Record {
        let attempts = headers::text(&record.headers, ATTEMPTS)
            .and_then(|attempts| attempts.parse::<u32>().ok())
            .unwrap_or(0)
            .saturating_add(1);
        let mut letter = record.clone();
        letter.headers.retain(|header| !ADDED.contains(&header.name.as_str()));
        letter.headers.extend([
            Header::text(TOPIC, place.topic),
            Header::text(PARTITION, place.partition.to_string()),
            Header::text(OFFSET, place.offset.to_string()),
            Header::text(STAGE, self.stage.as_str()),
            Header::text(CLASS, self.class),
            Header::text(MESSAGE, self.message.as_str()),
            Header::text(ATTEMPTS, attempts.to_string()),
            Header::text(FAILED_AT, now.to_string()),
            Header::text(RETRYABLE, self.stage.is_retryable().to_string()),
        ]);
        letter
    }
}

impl<'a> DeathNote<'a> {
    /// Reads the headers of a dead letter; `None` where one of them is absent or malformed.
    pub fn read(letter: &'a Record) -> Option<Self> {
        let text = |name| headers::text(&letter.headers, name);
        let place = Place {
            topic: text(TOPIC)?,
            partition: text(PARTITION)?.parse().ok()?,
            offset: text(OFFSET)?.parse().ok()?,
        };
        Some(Self {
            place,
            stage: Stage::parse(text(STAGE)?)?,
            class: text(CLASS)?,
            message: text(MESSAGE)?,
            attempts: text(ATTEMPTS)?.parse().ok()?,
            failed_at: text(FAILED_AT)?.parse().ok()?,
            is_retryable: text(RETRYABLE)?.parse().ok()?,
        })
    }
}

/// The record to send for another attempt: as it came, but for the count of attempts, which goes on, and for an id where it came
/// from the record's place, which will be another.
pub fn to_retry(letter: &Record) -> Record {
    let mut record = letter.clone();
    record
        .headers
        .retain(|header| header.name == ATTEMPTS || !ADDED.contains(&header.name.as_str()));
    let place = DeathNote::read(letter).map(|note| note.place);
    if let (None, Some(place)) = (ReviewId::beside_value(&record), place) {
        record.headers.push(Header::text(REVIEW_ID, ReviewId::of_place(place).to_string()));
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Review;

    fn refused() -> Record {
        Record {
            key: Some(vec![0xff, 0x00]),
            value: Some(b"\x00\xffnot json".to_vec()),
            headers: vec![
                Header::text("tenant", "a"),
                Header { name: "tenant".to_owned(), value: None },
                Header { name: "raw".to_owned(), value: Some(vec![0xfe]) },
            ],
            timestamp_ms: Some(1_700_000_000_000),
        }
    }

    fn place() -> Place<'static> {
        Place { topic: "reviews.v1", partition: 3, offset: 42 }
    }

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    #[test]
    fn a_dead_letter_is_the_record_byte_for_byte_with_the_reason_added() {
        let refusal = Refusal::new(Stage::Decode, "InvalidUtf8", "not UTF-8");
        let letter = refusal.to_dead_letter(&refused(), place(), now());
        assert_eq!(letter.key, refused().key);
        assert_eq!(letter.value, refused().value);
        assert_eq!(letter.timestamp_ms, refused().timestamp_ms);
        assert_eq!(letter.headers[..3], refused().headers);
        assert_eq!(letter.headers.len(), 3 + ADDED.len());
        let note = DeathNote {
            place: place(),
            stage: Stage::Decode,
            class: "InvalidUtf8",
            message: "not UTF-8",
            attempts: 1,
            failed_at: now(),
            is_retryable: false,
        };
        assert_eq!(DeathNote::read(&letter), Some(note));
    }

    #[test]
    fn a_null_key_and_a_null_value_stay_null() {
        let refusal = Refusal::new(Stage::Decode, "NullValue", "null");
        let letter = refusal.to_dead_letter(&Record::default(), place(), now());
        assert_eq!((letter.key, letter.value, letter.timestamp_ms), (None, None, None));
    }

    #[test]
    fn a_second_failure_replaces_the_reason_and_counts() {
        let first = Refusal::new(Stage::Tokenize, "Panicked", "tokenizer panicked").to_dead_letter(
            &refused(),
            place(),
            now(),
        );
        let again = to_retry(&first);
        let elsewhere = Place { offset: 77, ..place() };
        let second = Refusal::new(Stage::Infer, "NotFinite", "a logit is not finite")
            .to_dead_letter(&again, elsewhere, now());
        let note = DeathNote::read(&second).unwrap();
        assert_eq!((note.stage, note.attempts, note.place.offset), (Stage::Infer, 2, 77));
        assert!(note.is_retryable);
        for name in ADDED {
            let count = second.headers.iter().filter(|header| header.name == name).count();
            assert_eq!(count, 1, "{name}");
        }
        assert_eq!(second.headers[..3], refused().headers);
    }

    #[test]
    fn a_record_to_retry_differs_from_the_one_refused_by_its_count_alone() {
        let refusal = Refusal::new(Stage::Infer, "NotFinite", "a logit is not finite");
        let mut expected = Record { key: Some(b"order-4711".to_vec()), ..refused() };
        let again = to_retry(&refusal.to_dead_letter(&expected, place(), now()));
        expected.headers.push(Header::text(ATTEMPTS, "1"));
        assert_eq!(again, expected);
    }

    #[test]
    fn an_id_that_came_from_the_place_is_kept_however_often_the_record_is_sent_again() {
        let refusal = Refusal::new(Stage::Infer, "NotFinite", "a logit is not finite");
        let value = Some(br#"{"review":"fine"}"#.to_vec());
        let mut record = Record { key: None, value, ..refused() };
        for offset in [42, 77, 99] {
            let elsewhere = Place { offset, ..place() };
            record = to_retry(&refusal.to_dead_letter(&record, elsewhere, now()));
            let read = Review::from_record(&record, Place { offset: 1_000, ..place() }, now());
            assert_eq!(read.unwrap().id, ReviewId::of_place(place()));
        }
        assert_eq!(record.headers.iter().filter(|header| header.name == REVIEW_ID).count(), 1);
    }

    #[test]
    fn a_count_that_somebody_broke_starts_over() {
        let mut record = refused();
        record.headers.push(Header::text(ATTEMPTS, "many"));
        let letter =
            Refusal::new(Stage::Infer, "NotFinite", "").to_dead_letter(&record, place(), now());
        assert_eq!(DeathNote::read(&letter).unwrap().attempts, 1);
        record.headers.push(Header::text(ATTEMPTS, u32::MAX.to_string()));
        let letter =
            Refusal::new(Stage::Infer, "NotFinite", "").to_dead_letter(&record, place(), now());
        assert_eq!(DeathNote::read(&letter).unwrap().attempts, u32::MAX);
    }

    #[test]
    fn only_what_depends_on_the_model_may_pass_another_time() {
        let retryable = [Stage::Decode, Stage::Validate, Stage::Tokenize, Stage::Infer]
            .map(Stage::is_retryable);
        assert_eq!(retryable, [false, false, true, true]);
    }

    #[test]
    fn a_record_without_the_headers_is_no_dead_letter() {
        assert_eq!(DeathNote::read(&refused()), None);
    }
}
