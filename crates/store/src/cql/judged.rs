//! A judged window as a row of `judged_windows`, and back.

use jiff::{Timestamp, tz::Offset};
use schemas::ModelRef;
use scylla::{
    DeserializeRow, SerializeRow,
    value::{CqlDate, CqlTimestamp, MaybeUnset},
};

use super::{
    columns::{date, time},
    trouble,
};
use crate::{JudgedWindow, StoreError};

/// What is written into `judged_windows`. What a window does not have is not written: a null is a tombstone.
#[derive(SerializeRow)]
pub(super) struct Columns<'a> {
    day: CqlDate,
    last_at: CqlTimestamp,
    model_digest: &'a str,
    window: i64,
    model_name: &'a str,
    model_version: &'a str,
    first_at: CqlTimestamp,
    n: i64,
    alerting: &'a [String],
    estimated_accuracy: MaybeUnset<f64>,
    realised_accuracy: MaybeUnset<f64>,
    judged_at: String,
    judgement: &'a str,
    written: i64,
    ttl: i32,
}

/// A row of `judged_windows`.
#[derive(DeserializeRow)]
pub(super) struct Kept {
    last_at: CqlTimestamp,
    model_digest: String,
    window: i64,
    model_name: Option<String>,
    model_version: Option<String>,
    first_at: Option<CqlTimestamp>,
    n: Option<i64>,
    alerting: Option<Vec<String>>,
    estimated_accuracy: Option<f64>,
    realised_accuracy: Option<f64>,
    judged_at: Option<String>,
    judgement: Option<String>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(judged: &'a JudgedWindow, ttl: i32) -> Self {
        let set = |value: Option<f64>| value.map_or(MaybeUnset::Unset, MaybeUnset::Set);
        Self {
            day: date(Offset::UTC.to_datetime(judged.last_at).date()),
            last_at: time(judged.last_at),
            model_digest: &judged.model.digest,
            window: judged.window,
            model_name: &judged.model.name,
            model_version: &judged.model.version,
            first_at: time(judged.first_at),
            n: judged.n_signed(),
            alerting: &judged.alerting,
            estimated_accuracy: set(judged.estimated_accuracy),
            realised_accuracy: set(judged.realised_accuracy),
            judged_at: format!("{:.9}", judged.judged_at),
            judgement: &judged.judgement,
            written: judged.judged_at.as_microsecond(),
            ttl,
        }
    }
}

impl Kept {
    /// None where a row has expired but for its key.
    pub(super) fn into_judged(self) -> Result<Option<JudgedWindow>, StoreError> {
        let of_ms = |at: CqlTimestamp| {
            Timestamp::from_millisecond(at.0).map_err(|error| trouble::of_answer(&error))
        };
        let (Some(judged_at), Some(judgement)) = (self.judged_at, self.judgement) else {
            return Ok(None);
        };
        Ok(Some(JudgedWindow {
            model: ModelRef {
                name: self.model_name.unwrap_or_default(),
                version: self.model_version.unwrap_or_default(),
                digest: self.model_digest,
            },
            window: self.window,
            first_at: of_ms(self.first_at.unwrap_or(self.last_at))?,
            last_at: of_ms(self.last_at)?,
            n: u64::try_from(self.n.unwrap_or_default()).unwrap_or_default(),
            // An empty collection is null in CQL.
            alerting: self.alerting.unwrap_or_default(),
            estimated_accuracy: self.estimated_accuracy,
            realised_accuracy: self.realised_accuracy,
            judged_at: judged_at
                .parse()
                .map_err(|error: jiff::Error| trouble::of_answer(&error))?,
            judgement,
        }))
    }
}
