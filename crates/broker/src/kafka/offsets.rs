//! How far topics reach and groups have read, asked from outside any group. Blocking.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaResult,
};

use super::{
    client::{ConnectError, Logged, creation_error},
    consumer::{ends, partitions_of, reader_config, shared},
    diagnosis::diagnosed,
    settings::KafkaSettings,
};
use crate::delivery::Progress;

/// How long one question to the cluster may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// What `group` has committed of `topics`: the next offset that it reads. A partition of which it has committed nothing is left
/// out. Offsets of a transaction that is still open are waited for.
pub fn committed(
    settings: &KafkaSettings,
    group: &str,
    topics: &[&str],
) -> Result<Progress, ConnectError> {
    let consumer = consumer(settings, group)?;
    let ask = || -> KafkaResult<Progress> {
        let mut progress = Progress::default();
        for topic in shared(topics) {
            let mut asked = TopicPartitionList::new();
            for partition in partitions_of(&consumer, &topic, ASK_TIMEOUT)? {
                asked.add_partition(&topic, partition);
            }
            for element in consumer.committed_offsets(asked, ASK_TIMEOUT)?.elements() {
                element.error()?;
                if let Offset::Offset(next) = element.offset() {
                    progress.0.insert((Arc::clone(&topic), element.partition()), next);
                }
            }
        }
        Ok(progress)
    };
    ask().map_err(|error| diagnosed(settings, &error))
}

/// The offsets of `topic` that a reader at `read_committed` can see, by partition: from the first that is kept to the last stable
/// one, before the first open transaction. Some of them are transaction markers or aborted records, which no reader gets.
pub fn watermarks(
    settings: &KafkaSettings,
    topic: &str,
) -> Result<BTreeMap<i32, Range<i64>>, ConnectError> {
    // librdkafka wants a group id; no group of that name is joined.
    let consumer = consumer(settings, &format!("{}-watermarks", settings.client_id()))?;
    let ask = || -> KafkaResult<BTreeMap<i32, Range<i64>>> {
        let partitions = partitions_of(&consumer, topic, ASK_TIMEOUT)?;
        let marks = partitions.into_iter().map(|partition| {
            let (low, high) = ends(&consumer, topic, partition, ASK_TIMEOUT)?;
            Ok((partition, low..high))
        });
        marks.collect()
    };
    ask().map_err(|error| diagnosed(settings, &error))
}

fn consumer(settings: &KafkaSettings, group: &str) -> Result<BaseConsumer<Logged>, ConnectError> {
    reader_config(settings, group)?.create_with_context(Logged).map_err(creation_error)
}
