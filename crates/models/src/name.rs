//! The name of one version of one model, `NAME@VERSION`, which is also a safe relative path.

use std::{fmt, num::NonZeroU32, path::PathBuf, str::FromStr};

/// The version that a name without one means.
///
/// Fixed rather than "the newest": a bundle that is added later never changes what runs until somebody decides so.
pub const DEFAULT_VERSION: NonZeroU32 = NonZeroU32::MIN;

/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// One version of one model, as an operator writes it: `sentiment@2`, or `sentiment` for [`DEFAULT_VERSION`].
///
/// A name is made of `a-z`, `0-9`, `-` and `_` and begins with a letter or a digit; a version counts from 1. Neither can hold
/// a dot or a slash, so [`Self::path`] never leaves the repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName {
    name: String,
    version: NonZeroU32,
}

/// Why a text does not name a model.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidModelName {
    /// The part before `@` is not a name.
    #[error(
        "`{0}` is not a model's name; use 1 to {NAME_BYTES_MAX} of a-z, 0-9, - and _, beginning with a letter or a digit"
    )]
    Name(String),
    /// The part after `@` is not a version.
    #[error("`{0}` is not a model's version; use a whole number from 1, as in sentiment@1")]
    Version(String),
}

impl ModelName {
    /// Puts a name and a version together; `version` is the text of a directory or of the part after `@`.
    pub fn new(name: &str, version: &str) -> Result<Self, InvalidModelName> {
        if !is_name(name) {
            return Err(InvalidModelName::Name(name.to_owned()));
        }
        let number = version.parse::<NonZeroU32>().ok();
        // One spelling a version: `+1` and `01` would name the same numbers but other directories.
        let number = number.filter(|number| number.to_string() == version);
        match number {
            Some(version) => Ok(Self { name: name.to_owned(), version }),
            None => Err(InvalidModelName::Version(version.to_owned())),
        }
    }

    /// The name without the version.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version.
    pub fn version(&self) -> NonZeroU32 {
        self.version
    }

    /// Where the bundle lies below its repository: `name/version`.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(&self.name).join(self.version.to_string())
    }
}

/// Whether this may be the name of a model.
pub(crate) fn is_name(text: &str) -> bool {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    text.len() <= NAME_BYTES_MAX
        && text.bytes().all(allowed)
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

impl FromStr for ModelName {
    type Err = InvalidModelName;

    fn from_str(text: &str) -> Result<Self, InvalidModelName> {
        match text.split_once('@') {
            Some((name, version)) => Self::new(name, version),
            None => Self::new(text, &DEFAULT_VERSION.to_string()),
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let check = |text: &str, expected: Option<&str>| {
            let read = text.parse::<ModelName>().ok().map(|name| name.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        check("sentiment@2", Some("sentiment@2"));
        check("sentiment", Some("sentiment@1"));
        check("star-rating_v2@12", Some("star-rating_v2@12"));
        check("", None);
        check("@1", None);
        check("-x@1", None);
        check("Sentiment@1", None);
        check(&"x".repeat(NAME_BYTES_MAX + 1), None);
        check("sentiment@", None);
        check("sentiment@0", None);
        check("sentiment@01", None);
        check("sentiment@+1", None);
        check("sentiment@-1", None);
        check("sentiment@latest", None);
        check("sentiment@4294967296", None);
        check("sentiment@1@2", None);
    }

    #[test]
    fn no_name_leads_out_of_its_repository() {
        for text in [
            "..",
            "../x",
            "x/y",
            "/etc",
            ".",
            "x\\y",
            "x\0",
            "x@..",
            "x@../1",
            "x@/",
            "..@1",
            "a/../../b@1",
        ] {
            assert!(text.parse::<ModelName>().is_err(), "{text}");
        }
    }

    #[test]
    fn versions_sort_as_numbers() {
        let mut names = ["x@10", "x@9"].map(|text| text.parse::<ModelName>().unwrap());
        names.sort();
        assert_eq!(names.map(|name| name.to_string()), ["x@9", "x@10"]);
    }
}
