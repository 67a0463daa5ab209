//! A setting that must not be shown.

use std::{fmt, fs};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap as _};

/// What is shown instead.
const MASK: &str = "***";

/// A password or token: shown as `***` by `Debug`, by serialisation and in error messages.
///
/// Written as a text, or as `{ file = "/run/secrets/password" }`, whose content without the white space at its ends it then is.
/// Such a one is shown as it was written.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret {
    text: String,
    file: Option<String>,
}

impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), file: None }
    }

    /// The secret itself, for the one who needs it.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The file that it was read from.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Whether nothing was set.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

#[expect(clippy::missing_fields_in_debug, reason = "what is left out is the secret")]
impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => formatter.debug_struct("Secret").field("file", file).finish(),
            None => formatter.write_str(if self.is_empty() { "" } else { MASK }),
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(file) = &self.file else {
            return serializer.serialize_str(if self.is_empty() { "" } else { MASK });
        };
        let mut table = serializer.serialize_map(Some(1))?;
        table.serialize_entry("file", file)?;
        table.end()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Secret;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string, or a table with `file` and nothing else")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut table: A) -> Result<Secret, A::Error> {
        let only_file = || de::Error::custom("expected a table with `file` and nothing else");
        let Some((key, path)) = table.next_entry::<String, String>()? else {
            return Err(only_file());
        };
        if key != "file" || table.next_key::<String>()?.is_some() {
            return Err(only_file());
        }
        let text = fs::read_to_string(&path)
            .map_err(|error| de::Error::custom(format!("reading the secret in {path}: {error}")))?;
        Ok(Secret { text: text.trim().to_owned(), file: Some(path) })
    }

    // The default texts of serde repeat the value, which here is the secret.
    fn visit_i64<E: de::Error>(self, _secret: i64) -> Result<Secret, E> {
        Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
    }

    fn visit_u64<E: de::Error>(self, _secret: u64) -> Result<Secret, E> {
        Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
    }

    fn visit_f64<E: de::Error>(self, _secret: f64) -> Result<Secret, E> {
        Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
    }
}
