//! Records to and from librdkafka's messages, byte for byte.

use std::sync::Arc;

use rdkafka::{
    message::{
        BorrowedMessage, Header as KafkaHeader, Headers as _, Message as _, OwnedHeaders, Timestamp,
    },
    producer::BaseRecord,
    util::IntoOpaque,
};
use schemas::{Record, record::Header};

use crate::delivery::{Delivery, Outgoing};

/// What a record batch of one record has besides key, value and headers, in bytes (61 for the batch, then varints), generously:
/// librdkafka's `message.max.bytes` counts it, our limits do not.
pub(super) const FRAME_BYTES_MAX: usize = 1_000;

/// A message as a delivery. `topics` are the names subscribed to, so that a name is shared and not copied for each record.
pub(super) fn delivery(message: &BorrowedMessage<'_>, topics: &[Arc<str>]) -> Delivery {
    let topic = topics.iter().find(|topic| topic.as_ref() == message.topic());
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers
            .iter()
            .map(|header| Header {
                name: header.key.to_owned(),
                value: header.value.map(<[u8]>::to_vec),
            })
            .collect()
    });
    Delivery {
        topic: topic.map_or_else(|| Arc::from(message.topic()), Arc::clone),
        partition: message.partition(),
        offset: message.offset(),
        record: Record {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
            timestamp_ms: match message.timestamp() {
                Timestamp::NotAvailable => None,
                Timestamp::CreateTime(at) | Timestamp::LogAppendTime(at) => Some(at),
            },
        },
    }
}

/// A record as librdkafka takes it. The timestamp 0 means "now" to librdkafka, so the first millisecond of 1970 cannot be
/// written.
pub(super) fn unsent<D: IntoOpaque>(
    outgoing: &Outgoing,
    opaque: D,
) -> BaseRecord<'_, [u8], [u8], D> {
    let Outgoing { topic, record } = outgoing;
    let mut unsent = BaseRecord::with_opaque_to(topic, opaque);
    unsent.key = record.key.as_deref();
    unsent.payload = record.value.as_deref();
    unsent.timestamp = record.timestamp_ms;
    if !record.headers.is_empty() {
        let none = OwnedHeaders::new_with_capacity(record.headers.len());
        unsent.headers = Some(record.headers.iter().fold(none, |headers, header| {
            headers.insert(KafkaHeader { key: &header.name, value: header.value.as_deref() })
        }));
    }
    unsent
}
