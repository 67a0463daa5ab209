//! From the bytes of a body to a review that may be published, or to the reason why not. Pure.

use jiff::Timestamp;
use schemas::{Review, ReviewId, ReviewText, text::InvalidText};
use serde_json::{Map, Value};

use crate::problem::{FieldError, Kind, Problem};

/// Longest `source`, in characters.
const SOURCE_CHARACTERS_MAX: usize = 200;

/// Longest `language`, in bytes. RFC 5646 (4.4.1) asks for room for 35.
const LANGUAGE_BYTES_MAX: usize = 35;

/// Largest `metadata`, in bytes of JSON.
const METADATA_BYTES_MAX: usize = 16 * 1024;

/// What an empty body should have been.
pub(crate) const EXAMPLE: &str = "{\"review\": \"...\"}";

/// A review as it was sent, valid but perhaps still without an id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Submission {
    /// The id that the client gave.
    pub(crate) id: Option<ReviewId>,
    /// The text.
    pub(crate) text: ReviewText,
    source: Option<String>,
    language: Option<String>,
    occurred_at: Option<Timestamp>,
    metadata: Option<Map<String, Value>>,
}

impl Submission {
    /// Reads one body, or one line of a batch.
    pub(crate) fn read(json: &[u8]) -> Result<Self, Problem> {
        Self::from_json(parse(json, EXAMPLE)?)
    }

    /// Checks every field, so that one answer names all that is wrong. Fields that we do not know are left out.
    pub(crate) fn from_json(json: Value) -> Result<Self, Problem> {
        let Value::Object(fields) = json else {
            let message =
                format!("send an object such as {{\"review\": \"...\"}}, not {}", kind_of(&json));
            return Err(Problem::of_fields(vec![wrong_type("", message)]));
        };
        let mut fields = Fields { fields, errors: Vec::new() };
        let id = fields.text("id").and_then(|id| {
            ReviewId::new(id)
                .map_err(|error| fields.refuse("id", "id_invalid", error.to_string()))
                .ok()
        });
        let text = fields.review();
        let source = fields.text("source").and_then(|source| fields.source(source));
        let language = fields.text("language").and_then(|language| fields.language(language));
        let occurred_at = fields
            .text("occurred_at")
            .and_then(|time| fields.time("occurred_at", "occurred_at_invalid", &time));
        let metadata = fields.metadata();
        match (text, fields.errors) {
            (Some(text), errors) if errors.is_empty() => {
                Ok(Self { id, text, source, language, occurred_at, metadata })
            }
            (_, errors) => Err(Problem::of_fields(errors)),
        }
    }

    /// The review that is published.
    pub(crate) fn into_review(self, id: ReviewId, received_at: Timestamp) -> Review {
        Review {
            id,
            text: self.text,
            source: self.source,
            language: self.language,
            occurred_at: self.occurred_at.unwrap_or(received_at),
            received_at,
            metadata: self.metadata,
        }
    }
}

/// JSON, or where it stops being JSON. Nesting is limited by `serde_json` (128 levels), so a hostile body cannot exhaust the
/// stack. `example` is what an empty body should have been.
pub(crate) fn parse(json: &[u8], example: &str) -> Result<Value, Problem> {
    if json.trim_ascii().is_empty() {
        return Err(Problem::new(Kind::BodyEmpty, format!("send {example}")));
    }
    let json = std::str::from_utf8(json).map_err(|error| {
        let detail = format!("not UTF-8 from byte {} on", error.valid_up_to());
        Problem::new(Kind::BodyNotUtf8, detail)
    })?;
    // RFC 8259 (8.1) lets a reader skip a byte order mark.
    let json = json.strip_prefix('\u{feff}').unwrap_or(json);
    // The message ends in "at line L column C".
    serde_json::from_str(json).map_err(|error| Problem::new(Kind::BodyNotJson, error.to_string()))
}

/// The fields that are left, and what was wrong with those that were taken.
pub(crate) struct Fields {
    pub(crate) fields: Map<String, Value>,
    pub(crate) errors: Vec<FieldError>,
}

impl Fields {
    pub(crate) fn refuse(
        &mut self,
        field: &'static str,
        error: &'static str,
        message: impl Into<String>,
    ) {
        self.errors.push(FieldError { field, error, message: message.into() });
    }

    /// An optional text; null is absent.
    pub(crate) fn text(&mut self, field: &'static str) -> Option<String> {
        match self.fields.remove(field)? {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => {
                let message = format!("must be a string, not {}", kind_of(&other));
                self.errors.push(wrong_type(field, message));
                None
            }
        }
    }

    fn review(&mut self) -> Option<ReviewText> {
        if !self.fields.contains_key("review") {
            self.refuse("review", "review_missing", "is required: the text to judge");
            return None;
        }
        if self.fields.get("review").is_some_and(Value::is_null) {
            self.errors.push(wrong_type("review", "must be a string, not null".to_owned()));
            return None;
        }
        let raw = self.text("review")?;
        ReviewText::new(&raw)
            .map_err(|error| {
                let name = match error {
                    InvalidText::Empty => "review_empty",
                    InvalidText::TooLong { .. } => "review_too_long",
                    InvalidText::TooManyBytes { .. } => "review_too_many_bytes",
                };
                self.refuse("review", name, error.to_string());
            })
            .ok()
    }

    fn source(&mut self, source: String) -> Option<String> {
        let characters = source.chars().count();
        if characters == 0 || SOURCE_CHARACTERS_MAX < characters {
            let message =
                format!("has {characters} characters, 1 to {SOURCE_CHARACTERS_MAX} are accepted");
            self.refuse("source", "source_invalid", message);
            return None;
        }
        if source.chars().any(char::is_control) {
            self.refuse("source", "source_invalid", "contains control characters");
            return None;
        }
        Some(source)
    }

    /// The shape of a BCP 47 tag. Whether it is registered is not for the door to judge.
    fn language(&mut self, language: String) -> Option<String> {
        let is_tag = language.len() <= LANGUAGE_BYTES_MAX
            && language.split('-').all(|subtag| {
                (1..=8).contains(&subtag.len())
                    && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
            });
        if !is_tag {
            self.refuse("language", "language_invalid", "must be a BCP 47 tag such as en or pt-BR");
            return None;
        }
        Some(language)
    }

    /// A time in the future is accepted: clocks differ, and whose is wrong cannot be known here.
    pub(crate) fn time(
        &mut self,
        field: &'static str,
        error: &'static str,
        time: &str,
    ) -> Option<Timestamp> {
        time.parse()
            .map_err(|_error| {
                let message = "must be an RFC 3339 time such as 2026-01-31T12:00:00Z";
                self.refuse(field, error, message);
            })
            .ok()
    }

    fn metadata(&mut self) -> Option<Map<String, Value>> {
        let metadata = match self.fields.remove("metadata")? {
            Value::Null => return None,
            Value::Object(metadata) => metadata,
            other => {
                let message = format!("must be an object, not {}", kind_of(&other));
                self.errors.push(wrong_type("metadata", message));
                return None;
            }
        };
        let bytes = serde_json::to_vec(&metadata).map_or(usize::MAX, |json| json.len());
        if METADATA_BYTES_MAX < bytes {
            let message = format!("has {bytes} bytes, at most {METADATA_BYTES_MAX} are accepted");
            self.refuse("metadata", "metadata_too_large", message);
            return None;
        }
        Some(metadata)
    }
}

pub(crate) fn wrong_type(field: &'static str, message: String) -> FieldError {
    FieldError { field, error: "wrong_type", message }
}

pub(crate) fn kind_of(json: &Value) -> &'static str {
    match json {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
