//! Reading the JSON value of a record, with errors that tell its producer what to change.

use serde::de::DeserializeOwned;

/// Why bytes are not the JSON that was expected.
#[derive(Debug, thiserror::Error)]
pub enum InvalidJson {
    /// Kafka's null.
    #[error("it is null")]
    Null,
    /// No bytes, or white space only.
    #[error("it is empty")]
    Empty,
    /// Not UTF-8.
    #[error("it is not UTF-8: {0}")]
    NotUtf8(#[from] std::str::Utf8Error),
    /// Not JSON, or nested too deep (128 levels).
    #[error("it is not JSON: {0}")]
    Syntax(serde_json::Error),
    /// JSON, but a list.
    #[error("it is a list, expected a JSON object")]
    NotAnObject,
    /// A field is absent or of the wrong type.
    #[error("{}{source}", name(path))]
    Field {
        /// Where in the value: names joined by dots, `.` for the value itself.
        path: String,
        /// What is wrong there.
        source: serde_json::Error,
    },
}

/// Reads one JSON object. A byte order mark before it is skipped, as RFC 8259, section 8.1, allows.
pub fn read<T: DeserializeOwned>(value: Option<&[u8]>) -> Result<T, InvalidJson> {
    let text = std::str::from_utf8(value.ok_or(InvalidJson::Null)?)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.trim_ascii_start().as_bytes() {
        [] => return Err(InvalidJson::Empty),
        // serde would take the elements for the fields, in order.
        [b'[', ..] => return Err(InvalidJson::NotAnObject),
        _ => {}
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let source = error.into_inner();
        if source.is_data() {
            InvalidJson::Field { path, source }
        } else {
            InvalidJson::Syntax(source)
        }
    })?;
    deserializer.end().map_err(InvalidJson::Syntax)?;
    Ok(read)
}

fn name(path: &str) -> String {
    if path == "." { String::new() } else { format!("`{path}`: ") }
}
