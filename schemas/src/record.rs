//! A Kafka record, free of any Kafka client's types.

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
