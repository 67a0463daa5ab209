//! Reviews and verdicts as events: `CloudEvents` 1.0.2 in the binary mode of its Kafka protocol binding.
//!
//! In binary mode each attribute is a header `ce_<name>` in UTF-8, the value is the data alone and `content-type` is its media
//! type (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>, section 3.2).
//! Structured mode is not read.

use jiff::Timestamp;

use crate::{headers, record::Header, verdict::Verdict};

/// Version of the specification.
pub const SPECVERSION: &str = "ce_specversion";
/// Names the event within its source.
pub const ID: &str = "ce_id";
/// Where the event happened: a URI reference.
pub const SOURCE: &str = "ce_source";
/// What kind of event it is.
pub const TYPE: &str = "ce_type";
/// What the event is about.
pub const SUBJECT: &str = "ce_subject";
/// When it happened (RFC 3339).
pub const TIME: &str = "ce_time";

/// The [`TYPE`] of a verdict.
pub const VERDICT_TYPE: &str = "verdict.scored.v1";
/// The [`SOURCE`] of a verdict.
pub const VERDICT_SOURCE: &str = "/verdict/processor";

/// The specification's own attributes. Those of the review say something false of the verdict; extensions travel through.
const DEFINED: [&str; 8] =
    [SPECVERSION, ID, SOURCE, TYPE, SUBJECT, TIME, "ce_dataschema", "ce_datacontenttype"];

/// What a review's event says that its value may leave out. Empty for a record that is no event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReviewEvent<'a> {
    /// The event's id.
    pub id: Option<&'a str>,
    /// Its source.
    pub source: Option<&'a str>,
    /// When it happened; `None` also where that cannot be read.
    pub time: Option<Timestamp>,
}

/// Reads the event's attributes; without `ce_specversion` the record is no event.
pub fn read(headers: &[Header]) -> ReviewEvent<'_> {
    let text = |name| headers::text(headers, name).filter(|text| !text.is_empty());
    if text(SPECVERSION).is_none_or(|version| !version.starts_with("1.")) {
        return ReviewEvent::default();
    }
    ReviewEvent {
        id: text(ID),
        source: text(SOURCE),
        time: text(TIME).and_then(|time| time.parse().ok()),
    }
}

/// Replaces the attributes of the review's event by those of the verdict's.
///
/// The id names review and model version, so that a review that is scored again by another version is another event, and a
/// verdict that is written again is the same.
pub fn write(verdict: &Verdict, headers: &mut Vec<Header>) {
    let model = &verdict.model;
    headers.retain(|header| !DEFINED.contains(&header.name.as_str()));
    headers.extend([
        Header::text(SPECVERSION, "1.0"),
        Header::text(ID, format!("{}/{}/{}", verdict.id, model.name, model.version)),
        Header::text(SOURCE, VERDICT_SOURCE),
        Header::text(TYPE, VERDICT_TYPE),
        Header::text(SUBJECT, verdict.id.as_str()),
        Header::text(TIME, verdict.scored_at.to_string()),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_from_its_headers() {
        let headers = [
            Header::text(SPECVERSION, "1.0"),
            Header::text(ID, "a"),
            Header::text(SOURCE, "/shop"),
            Header::text(TYPE, "review.written"),
            Header::text(TIME, "2026-01-02T03:04:05+01:00"),
        ];
        let time = "2026-01-02T02:04:05Z".parse().unwrap();
        let expected = ReviewEvent { id: Some("a"), source: Some("/shop"), time: Some(time) };
        assert_eq!(read(&headers), expected);
    }

    #[test]
    fn what_is_no_event_or_cannot_be_read_says_nothing() {
        let nothing = ReviewEvent::default();
        assert_eq!(read(&[]), nothing);
        assert_eq!(read(&[Header::text(ID, "a")]), nothing, "no version");
        assert_eq!(read(&[Header::text(SPECVERSION, "2.0"), Header::text(ID, "a")]), nothing);
        let broken =
            [Header::text(SPECVERSION, "1.0"), Header::text(TIME, "soon"), Header::text(ID, "")];
        assert_eq!(read(&broken), nothing);
    }
}
