//! How far a group is behind, asked from outside the group.

use std::{fmt, sync::Arc, time::Duration};

use rdkafka::{
    Offset,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaResult,
};

use super::{
    client::{ConnectError, Logged, call_error, creation_error},
    consumer::{committed, partitions_of, reader_config},
    settings::KafkaSettings,
};
use crate::ledger::Partition;

/// Reads the lag of one group on one topic, without joining the group. Blocking: it belongs on a thread of its own.
pub struct Lag {
    consumer: BaseConsumer<Logged>,
    servers: String,
    topic: Arc<str>,
}

impl Lag {
    /// Makes a client. Does not wait for a broker.
    pub fn connect(
        settings: &KafkaSettings,
        group: &str,
        topic: &str,
    ) -> Result<Self, ConnectError> {
        let config = reader_config(settings, group)?;
        let consumer = config.create_with_context(Logged).map_err(creation_error)?;
        Ok(Self { consumer, servers: settings.bootstrap_servers.clone(), topic: Arc::from(topic) })
    }

    /// Records waiting: the ends of all partitions at `read_committed`, less what the group has committed (or less the
    /// beginning, when it has committed nothing). Offsets taken by transaction markers count as records.
    ///
    /// Each question to the cluster takes at most `wait`.
    pub fn read(&self, wait: Duration) -> Result<u64, ConnectError> {
        self.sum(wait).map_err(|error| call_error(&self.servers, &error))
    }

    fn sum(&self, wait: Duration) -> KafkaResult<u64> {
        // Serves the log queue, which nothing else does.
        drop(self.consumer.poll(Duration::ZERO));
        let numbers = partitions_of(&self.consumer, &self.topic, wait)?;
        let partitions: Vec<Partition> =
            numbers.into_iter().map(|number| (Arc::clone(&self.topic), number)).collect();
        let done = committed(&self.consumer, partitions.iter(), wait)?;
        let mut waiting = 0;
        for element in done.elements() {
            let (first, end) =
                self.consumer.fetch_watermarks(&self.topic, element.partition(), wait)?;
            let from = match element.offset() {
                Offset::Offset(offset) => offset.max(first),
                _ => first,
            };
            waiting += u64::try_from(end - from).unwrap_or(0);
        }
        Ok(waiting)
    }
}

impl fmt::Debug for Lag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lag").field("topic", &self.topic).finish_non_exhaustive()
    }
}
