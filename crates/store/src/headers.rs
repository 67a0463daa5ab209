//! Headers of a record as JSON: as text where they are text, so that a reader of the table can read them.

use schemas::record::Header;
use serde::{Deserialize, Serialize};

use crate::hex;

#[derive(Serialize, Deserialize)]
struct HeaderColumn {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

/// Why a column holds no headers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidHeaders {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Hex(#[from] hex::InvalidHex),
}

/// `headers` as JSON: a list of `name` with `text`, or `hex`, or neither for null.
pub(crate) fn to_json(headers: &[Header]) -> serde_json::Result<String> {
    let columns: Vec<_> = headers.iter().map(HeaderColumn::of).collect();
    serde_json::to_string(&columns)
}

/// The headers of [`to_json`].
pub(crate) fn from_json(json: &str) -> Result<Vec<Header>, InvalidHeaders> {
    let columns: Vec<HeaderColumn> = serde_json::from_str(json)?;
    let headers = columns.into_iter().map(HeaderColumn::into_header);
    Ok(headers.collect::<Result<_, _>>()?)
}

impl HeaderColumn {
    fn of(header: &Header) -> Self {
        let name = header.name.clone();
        match header.value.as_deref().map(|value| (value, std::str::from_utf8(value))) {
            None => Self { name, text: None, hex: None },
            Some((_, Ok(text))) => Self { name, text: Some(text.to_owned()), hex: None },
            Some((value, Err(_not_text))) => {
                Self { name, text: None, hex: Some(hex::encode(value)) }
            }
        }
    }

    fn into_header(self) -> Result<Header, hex::InvalidHex> {
        let value = match (self.text, self.hex) {
            (Some(text), _) => Some(text.into_bytes()),
            (None, Some(hex)) => Some(hex::decode(&hex)?),
            (None, None) => None,
        };
        Ok(Header { name: self.name, value })
    }
}
