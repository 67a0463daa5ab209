//! The note that a dead letter was sent again, so that it is not sent a second time.
//!
//! It is written in the transaction that sends the review, and to a topic of its own: the dead letters' own topic holds dead
//! letters only.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    headers,
    json::{self, InvalidJson},
    record::{Header, Record},
};

/// Where a dead letter lies in [`crate::topics::DEAD_LETTERS`], written `partition:offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LetterPlace {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// A text that is no [`LetterPlace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as PARTITION:OFFSET, for instance 0:42")]
pub struct InvalidPlace;

/// One record of [`crate::topics::REDRIVES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// The dead letter, also the record's key.
    pub letter: LetterPlace,
    /// What is known of it.
    pub note: RedriveNote,
}

/// The value of a [`Redrive`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "the note of a redrive as a JSON object")]
pub struct RedriveNote {
    /// When the letter was sent again.
    pub redriven_at: Timestamp,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How often the record had been tried before.
    pub attempts: u32,
    /// When the letter was refused. Offsets begin anew in a topic that is made anew: another letter there has another time.
    pub failed_at: Timestamp,
}

/// Why a record is not a redrive.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRedrive {
    /// Its key is no place.
    #[error("the key names no dead letter: {0}")]
    Key(#[from] InvalidPlace),
    /// Its value is no note.
    #[error("not a redrive: {0}")]
    Json(#[from] InvalidJson),
}

impl FromStr for LetterPlace {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let (partition, offset) = text.split_once(':').ok_or(InvalidPlace)?;
        let partition = partition.parse().map_err(|_error| InvalidPlace)?;
        let offset = offset.parse().map_err(|_error| InvalidPlace)?;
        if partition < 0 || offset < 0 {
            return Err(InvalidPlace);
        }
        Ok(Self { partition, offset })
    }
}

impl fmt::Display for LetterPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.partition, self.offset)
    }
}

impl Redrive {
    /// The record for [`crate::topics::REDRIVES`].
    pub fn to_record(&self) -> Result<Record, serde_json::Error> {
        Ok(Record {
            key: Some(self.letter.to_string().into_bytes()),
            value: Some(serde_json::to_vec(&self.note)?),
            headers: vec![Header::text(headers::CONTENT_TYPE, headers::JSON)],
            timestamp_ms: Some(self.note.redriven_at.as_millisecond()),
        })
    }

    /// Reads a record of [`crate::topics::REDRIVES`].
    pub fn from_record(record: &Record) -> Result<Self, InvalidRedrive> {
        let key = record.key.as_deref().and_then(|key| str::from_utf8(key).ok());
        let letter = key.ok_or(InvalidPlace)?.parse()?;
        Ok(Self { letter, note: json::read(record.value.as_deref())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_it_is_read() {
        let place = LetterPlace { partition: 3, offset: 42 };
        assert_eq!("3:42".parse(), Ok(place));
        assert_eq!(place.to_string(), "3:42");
        for text in ["", "3", "3:", ":42", "3:-1", "-3:42", "a:b", "3:4:2"] {
            assert_eq!(text.parse::<LetterPlace>(), Err(InvalidPlace), "{text}");
        }
    }

    #[test]
    fn a_redrive_comes_back_as_it_was_written() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let redrive = Redrive {
            letter: LetterPlace { partition: 3, offset: 42 },
            note: RedriveNote {
                redriven_at: at(1_700_000_100),
                by: Some("ada".to_owned()),
                attempts: 2,
                failed_at: at(1_700_000_000),
            },
        };
        let record = redrive.to_record().unwrap();
        assert_eq!(record.key.as_deref(), Some(b"3:42".as_slice()));
        assert_eq!(Redrive::from_record(&record).unwrap(), redrive);
    }

    #[test]
    fn what_is_no_redrive_is_refused() {
        let record = |key: &[u8], value: &[u8]| Record {
            key: Some(key.to_vec()),
            value: Some(value.to_vec()),
            ..Record::default()
        };
        let refused = |record: Record| Redrive::from_record(&record).unwrap_err().to_string();
        assert!(refused(record(b"first", b"{}")).contains("PARTITION:OFFSET"));
        assert!(refused(record(b"0:1", b"{}")).contains("redriven_at"));
        assert!(refused(Record::default()).contains("names no dead letter"));
    }
}
