//! Where a topic ends once the transactions that are open now have ended. Blocking.
//!
//! A group's offsets become visible before the last record of their transaction does: each partition has a marker of its own.
//! Whoever compares the two has to wait for the markers, or takes a record for lost that is a moment away.

use std::{
    collections::BTreeMap,
    ops::Range,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{consumer::BaseConsumer, error::KafkaResult};

use super::{
    client::{ConnectError, Logged, creation_error},
    consumer::{ends, partitions_of, reader_config},
    diagnosis::diagnosed,
    settings::KafkaSettings,
};

/// How long one question to the cluster may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// How far a topic reaches for a reader at `read_committed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// By partition, from the first offset that is kept to the last stable one.
    pub spans: BTreeMap<i32, Range<i64>>,
    /// Partitions in which a transaction was still open at the end of the wait: what lies behind it is not seen.
    pub open: Vec<i32>,
}

impl Settled {
    /// Whether `offset` lies before the end that was found.
    pub fn holds(&self, partition: i32, offset: i64) -> bool {
        self.spans.get(&partition).is_some_and(|span| offset < span.end)
    }
}

/// Waits, at most `wait`, until every record that is in `topic` now is committed or aborted.
pub fn settled(
    settings: &KafkaSettings,
    topic: &str,
    wait: Duration,
) -> Result<Settled, ConnectError> {
    let connect = |isolation: &str| {
        // librdkafka wants a group id; no group of that name is joined.
        let mut config = reader_config(settings, &format!("{}-settled", settings.client_id()))?;
        config.set("isolation.level", isolation);
        config.create_with_context(Logged).map_err(creation_error)
    };
    let (all, stable) = (connect("read_uncommitted")?, connect("read_committed")?);
    let ask = || -> KafkaResult<Settled> {
        let written = spans(&all, topic)?;
        let began = now();
        loop {
            let spans = spans(&stable, topic)?;
            let is_open = |(partition, written): (&i32, &Range<i64>)| {
                let seen = spans.get(partition).is_some_and(|span| written.end <= span.end);
                (!seen).then_some(*partition)
            };
            let open: Vec<i32> = written.iter().filter_map(is_open).collect();
            if open.is_empty() || wait <= began.elapsed() {
                return Ok(Settled { spans, open });
            }
            thread::sleep(LOOK_PAUSE);
        }
    };
    ask().map_err(|error| diagnosed(settings, &error))
}

fn spans(consumer: &BaseConsumer<Logged>, topic: &str) -> KafkaResult<BTreeMap<i32, Range<i64>>> {
    let partitions = partitions_of(consumer, topic, ASK_TIMEOUT)?;
    let span = |partition| {
        let (low, high) = ends(consumer, topic, partition, ASK_TIMEOUT)?;
        Ok((partition, low..high))
    };
    partitions.into_iter().map(span).collect()
}

#[expect(clippy::disallowed_methods, reason = "a wait for the cluster, at the edge")]
fn now() -> Instant {
    Instant::now()
}
