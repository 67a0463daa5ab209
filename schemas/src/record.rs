//! A Kafka record, free of any Kafka client's types.

use jiff::Timestamp;

/// One record header. Names may repeat and values may be null, as in Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The header's name.
    pub name: String,
    /// Its value; `None` is Kafka's null.
    pub value: Option<Vec<u8>>,
}

/// What is written to or read from a topic. All parts are kept as they came, so that a dead letter is byte for byte the
/// record that was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The key, which picks the partition; `None` is Kafka's null.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is Kafka's null, a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<Header>,
    /// Milliseconds since the Unix epoch; `None` lets the writer's clock decide.
    pub timestamp_ms: Option<i64>,
}

impl Header {
    /// A header with a text value.
    pub fn text(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Some(value.into().into_bytes()) }
    }
}

impl Record {
    /// The record's timestamp; `None` also for one before 1970, which Kafka uses to say that there is none.
    pub fn written_at(&self) -> Option<Timestamp> {
        let ms = self.timestamp_ms.filter(|ms| 0 <= *ms)?;
        Timestamp::from_millisecond(ms).ok()
    }
}

/// The timestamp of a record about what happened at `occurred_at`, written at `now`.
///
/// Not after `now`, whatever a client claims: brokers refuse records from the future (`message.timestamp.after.max.ms`, an hour
/// by default), and one refused record fails its whole transaction. Not before 1970 either, which Kafka cannot express.
pub(crate) fn event_time_ms(occurred_at: Timestamp, now: Timestamp) -> Option<i64> {
    Some(occurred_at.min(now).as_millisecond()).filter(|ms| 0 <= *ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_record_never_claims_to_be_from_the_future_nor_from_before_1970() {
        assert_eq!(event_time_ms(at(5), at(9)), Some(5_000));
        assert_eq!(event_time_ms(at(99), at(9)), Some(9_000));
        assert_eq!(event_time_ms(at(-1), at(9)), None);
    }

    #[test]
    fn kafkas_sign_for_no_timestamp_is_none() {
        let written_at = |timestamp_ms| Record { timestamp_ms, ..Record::default() }.written_at();
        assert_eq!(written_at(Some(5_000)), Some(at(5)));
        assert_eq!(written_at(Some(-1)), None);
        assert_eq!(written_at(Some(i64::MAX)), None);
        assert_eq!(written_at(None), None);
    }
}
