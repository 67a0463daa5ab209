//! What is read a page at a time.

use jiff::{Timestamp, civil::Date, tz::Offset};
use schemas::{ReviewId, Verdict};

use crate::{StoreError, hex};

/// The reviews of one source on one day.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceDay {
    /// Where they were written; empty for reviews without a source.
    pub source: String,
    /// The day on which they were written, in UTC.
    pub day: Date,
}

/// Some of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What it holds. It may be less than was asked for, or nothing, although there is more.
    pub items: Vec<T>,
    /// Where the next page begins; `None` where there is none.
    pub next: Option<PageToken>,
}

/// Where a page begins. Only the store that gave it can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(String);

/// What a page is of, so that a token of one is not taken for one of the other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    List,
    Scan,
    Refused,
    Feedback,
}

impl SourceDay {
    /// Where `verdict` is listed.
    pub fn of(verdict: &Verdict) -> Self {
        let day = Offset::UTC.to_datetime(verdict.occurred_at).date();
        Self { source: verdict.source.clone().unwrap_or_default(), day }
    }
}

impl PageToken {
    /// A token as it was given; whether it is one, the store says.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The token: ASCII letters and digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn of_bytes(kind: Kind, bytes: &[u8]) -> Self {
        Self(format!("{}{}", kind.letter(), hex::encode(bytes)))
    }

    /// `Refused` where this is no token of that kind.
    pub(crate) fn bytes(&self, kind: Kind) -> Result<Vec<u8>, StoreError> {
        let digits = self.0.strip_prefix(kind.letter());
        digits.and_then(|digits| hex::decode(digits).ok()).ok_or_else(refused)
    }

    /// After the review `id` in a scan by id.
    pub(crate) fn after_id(id: &ReviewId) -> Self {
        Self::of_bytes(Kind::Scan, id.as_str().as_bytes())
    }

    /// The review of [`Self::after_id`].
    pub(crate) fn id(&self) -> Result<ReviewId, StoreError> {
        let id = String::from_utf8(self.bytes(Kind::Scan)?).map_err(|_not_text| refused())?;
        ReviewId::new(id).map_err(|_invalid| refused())
    }

    /// After the row of that number, where those of a kind are numbered.
    pub(crate) fn after_number(kind: Kind, number: i64) -> Self {
        Self::of_bytes(kind, &number.to_be_bytes())
    }

    /// The number of [`Self::after_number`].
    pub(crate) fn number(&self, kind: Kind) -> Result<i64, StoreError> {
        let bytes = self.bytes(kind)?;
        Ok(i64::from_be_bytes(bytes.try_into().map_err(|_not_eight| refused())?))
    }

    /// After the review `id` of that time in a list by time.
    pub(crate) fn after_place(occurred_at: Timestamp, id: &ReviewId) -> Self {
        // An id has no white space, and neither has a time.
        Self::of_bytes(Kind::List, format!("{occurred_at:.9} {id}").as_bytes())
    }

    /// Time and review of [`Self::after_place`].
    pub(crate) fn place(&self) -> Result<(Timestamp, ReviewId), StoreError> {
        let text = String::from_utf8(self.bytes(Kind::List)?).map_err(|_not_text| refused())?;
        let (time, id) = text.split_once(' ').ok_or_else(refused)?;
        let time = time.parse().map_err(|_invalid| refused())?;
        Ok((time, ReviewId::new(id).map_err(|_invalid| refused())?))
    }
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Self::List => 'l',
            Self::Scan => 's',
            Self::Refused => 'r',
            Self::Feedback => 'f',
        }
    }
}

fn refused() -> StoreError {
    StoreError::Refused("the page token is none that was given out".to_owned())
}

/// The first `limit` of `items`, which are one more where there is a next page; `token` names the place after an item.
pub(crate) fn cut<T>(mut items: Vec<T>, limit: usize, token: impl Fn(&T) -> PageToken) -> Page<T> {
    if items.len() <= limit {
        return Page { items, next: None };
    }
    items.truncate(limit);
    let next = items.last().map(token);
    Page { items, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> ReviewId {
        ReviewId::new(id).unwrap()
    }

    #[test]
    fn a_token_comes_back_as_the_place_that_it_names() {
        let time: Timestamp = "2025-03-01T23:59:59.999999999Z".parse().unwrap();
        let token = PageToken::after_place(time, &id("a/👍"));
        assert!(token.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric()), "{token:?}");
        assert_eq!(PageToken::new(token.as_str()).place().unwrap(), (time, id("a/👍")));
        assert_eq!(PageToken::after_id(&id("a")).id().unwrap(), id("a"));
        assert_eq!(
            PageToken::after_number(Kind::Refused, i64::MAX).number(Kind::Refused).unwrap(),
            i64::MAX
        );
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let list = PageToken::after_place(Timestamp::UNIX_EPOCH, &id("a"));
        let scan = PageToken::after_id(&id("a"));
        for token in ["", "l", "lzz", "l0", "l00", "lé", "x00", "l61", scan.as_str()] {
            assert!(PageToken::new(token).place().is_err(), "{token}");
        }
        for token in ["", "s", "s+1", "sff", "s20", list.as_str()] {
            assert!(PageToken::new(token).id().is_err(), "{token}");
        }
        for token in ["", "r", "r00", "r000000000000000000", "r+000000000000001", list.as_str()] {
            assert!(PageToken::new(token).number(Kind::Refused).is_err(), "{token}");
        }
    }
}
