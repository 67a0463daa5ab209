//! A dead letter as an operator sees it: what it says of itself, of its review, and whether it was sent again.

use broker::Delivery;
use schemas::{
    DeathNote, Record, ReviewId, cloudevents,
    redrive::{LetterPlace, RedriveNote},
};
use serde_json::Value;

use super::redriven::Redriven;

/// A record of the dead letters' topic.
#[derive(Debug)]
pub(super) struct Letter<'a> {
    pub(super) place: LetterPlace,
    pub(super) record: &'a Record,
    /// The reason; `None` where somebody else wrote the record.
    pub(super) note: Option<DeathNote<'a>>,
    /// The id that its review has or would have.
    pub(super) id: Option<String>,
    /// Where the review was written, if it says so.
    pub(super) source: Option<String>,
    /// That it was sent again, if so.
    pub(super) redriven: Option<&'a RedriveNote>,
}

impl<'a> Letter<'a> {
    /// Reads what can be read.
    pub(super) fn read(delivery: &'a Delivery, redriven: &'a Redriven) -> Self {
        let record = &delivery.record;
        let place = LetterPlace { partition: delivery.partition, offset: delivery.offset };
        let note = DeathNote::read(record);
        let value = json(record);
        let field = |name| Some(value.as_ref()?.get(name)?.as_str()?.to_owned());
        let id = field("id")
            .or_else(|| ReviewId::beside_value(record).map(String::from))
            .or_else(|| Some(ReviewId::of_place(note?.place).to_string()));
        let source = field("source")
            .or_else(|| cloudevents::read(&record.headers).source.map(str::to_owned));
        let redriven = note.and_then(|note| redriven.note_of(place, note.failed_at));
        Self { place, record, note, id, source, redriven }
    }

    /// The kind of error, for people.
    pub(super) fn class(&self) -> &'a str {
        self.note.map_or("(no reason)", |note| note.class)
    }

    /// Where it was refused, for people.
    pub(super) fn stage(&self) -> &'static str {
        self.note.map_or("-", |note| note.stage.as_str())
    }

    /// The error in words.
    pub(super) fn message(&self) -> &'a str {
        self.note.map_or("it has no headers that say why it is here", |note| note.message)
    }
}

/// The value as JSON, bare or behind Confluent's frame, whatever it says.
pub(super) fn json(record: &Record) -> Option<Value> {
    let json = match record.value.as_deref()? {
        [0, _, _, _, _, json @ ..] => json,
        value => value,
    };
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use schemas::{Refusal, Stage, headers, record::Header, review::Place};

    use super::*;

    pub(in crate::dlq) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A letter at offset `second` of partition 0 that was refused at `second`.
    pub(in crate::dlq) fn delivery(
        stage: Stage,
        class: &'static str,
        second: i64,
        value: &str,
    ) -> Delivery {
        let value = Some(value.as_bytes().to_vec());
        let record = Record { value, ..Record::default() };
        let place = Place { topic: "reviews.v1", partition: 3, offset: 42 };
        let record =
            Refusal::new(stage, class, "told to").to_dead_letter(&record, place, at(second));
        Delivery { topic: Arc::from("reviews.v1.dlq"), partition: 0, offset: second, record }
    }

    #[track_caller]
    fn check(delivery: &Delivery, id: &str, source: Option<&str>) {
        let none = Redriven::default();
        let letter = Letter::read(delivery, &none);
        assert_eq!((letter.id.as_deref(), letter.source.as_deref()), (Some(id), source));
    }

    #[test]
    fn id_and_source_are_found_where_the_line_looks_for_them() {
        let place = Place { topic: "reviews.v1", partition: 3, offset: 42 };
        let of_place = ReviewId::of_place(place).to_string();
        let letter = |value: &str| delivery(Stage::Validate, "InvalidText", 7, value);
        check(&letter(r#"{"id":"a","source":"web","review":7}"#), "a", Some("web"));
        check(&letter("\u{0}\u{0}\u{0}\u{0}\u{0}{\"id\":\"framed\"}"), "framed", None);
        check(&letter("garbage"), &of_place, None);
        check(&letter(r#"["id"]"#), &of_place, None);
        let mut keyed = letter("garbage");
        keyed.record.key = Some(b"order-1".to_vec());
        keyed.record.headers.push(Header::text(cloudevents::SPECVERSION, "1.0"));
        keyed.record.headers.push(Header::text(cloudevents::SOURCE, "/shop"));
        check(&keyed, "order-1", Some("/shop"));
    }

    #[test]
    fn a_record_that_is_no_dead_letter_is_shown_as_such() {
        let mut stray = delivery(Stage::Infer, "ModelFailed", 7, "{}");
        stray.record.headers = vec![Header::text(headers::REQUEST_ID, "r")];
        let none = Redriven::default();
        let letter = Letter::read(&stray, &none);
        assert_eq!((letter.note, letter.id.as_deref()), (None, None));
        assert_eq!((letter.class(), letter.stage()), ("(no reason)", "-"));
    }
}
