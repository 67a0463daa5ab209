//! That a signal of a model's verdicts began to drift, or ceased to.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    headers,
    json::{self, InvalidJson},
    record::Record,
    verdict::ModelRef,
};

/// Version of the alert's shape. Additive changes keep it; readers ignore fields that they do not know.
pub const SCHEMA_VERSION: u16 = 1;

/// One record of `drift-alerts.v1`. Key: the model's name and the signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(expecting = "a drift alert as a JSON object")]
pub struct DriftAlert {
    /// Version of this shape.
    pub schema_version: u16,
    /// Whose verdicts.
    pub model: ModelRef,
    /// What of them: `labels`, `confidence`, `uncertainty`, `tokens`, `truncation`, `unknown_tokens`, `languages`,
    /// `cross_entropy`, `words`, `embedding` or `accuracy_gap`.
    pub signal: String,
    /// Whether it began or ceased.
    pub change: DriftChange,
    /// The test statistic of the window that decided.
    pub score: f64,
    /// The score that a clean window exceeds with the probability that the settings allow.
    pub threshold: f64,
    /// Probability that a clean window scores at least this.
    pub p: f64,
    /// Size of the difference, on the signal's own scale.
    pub effect: f64,
    /// The smallest effect that counts.
    pub effect_min: f64,
    /// Observations that the score rests on.
    pub n: u64,
    /// The window that decided.
    pub window: i64,
    /// The first window that drifted.
    pub since: i64,
    /// When the first review of the window was written (RFC 3339).
    pub first_at: Timestamp,
    /// When the last one was.
    pub last_at: Timestamp,
    /// All of it for people.
    pub sentence: String,
    /// When it was decided (RFC 3339).
    pub at: Timestamp,
}

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftChange {
    /// Drift is confirmed.
    Began,
    /// It has ended.
    Ceased,
}

impl DriftAlert {
    /// The record for [`crate::topics::DRIFT_ALERTS`].
    pub fn to_record(&self) -> Result<Record, serde_json::Error> {
        let mut headers = Vec::new();
        headers::set(&mut headers, headers::CONTENT_TYPE, headers::JSON);
        Ok(Record {
            key: Some(format!("{}/{}", self.model.name, self.signal).into_bytes()),
            value: Some(serde_json::to_vec(self)?),
            headers,
            // Of deciding, not of the reviews, which may be years old.
            timestamp_ms: Some(self.at.as_millisecond()),
        })
    }

    /// Reads a record of [`crate::topics::DRIFT_ALERTS`].
    pub fn from_record(record: &Record) -> Result<Self, InvalidJson> {
        json::read(record.value.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_comes_back_as_it_was_written() {
        let at: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let model = ModelRef {
            name: "sentiment".to_owned(),
            version: "1".to_owned(),
            digest: "sha256:00".to_owned(),
        };
        let alert = DriftAlert {
            schema_version: SCHEMA_VERSION,
            model,
            signal: "labels".to_owned(),
            change: DriftChange::Began,
            score: 0.1 + 0.2,
            threshold: 10.8,
            p: 1e-300,
            effect: 1.0 / 3.0,
            effect_min: 0.05,
            n: 500,
            window: 8,
            since: 7,
            first_at: at,
            last_at: at,
            sentence: "negative: 60 % of verdicts, 50 % in the reference".to_owned(),
            at,
        };
        let record = alert.to_record().unwrap();
        assert_eq!(record.key.as_deref(), Some(b"sentiment/labels".as_slice()));
        assert_eq!(record.timestamp_ms, Some(at.as_millisecond()));
        assert_eq!(DriftAlert::from_record(&record).unwrap(), alert);
    }
}
