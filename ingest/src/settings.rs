//! Everything that ingest can be told, and nothing else.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use chassis::settings::duration;
use serde::{Deserialize, Serialize};

/// The settings of ingest. The defaults suit one small replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address to listen on. In a container: `0.0.0.0:8080`.
    pub listen: SocketAddr,

    /// How long `POST /analyze` waits for the verdict where the client states no `Prefer: wait=N`.
    #[serde(with = "duration")]
    pub wait_default: Duration,
    /// Longest wait that a client may ask for.
    #[serde(with = "duration")]
    pub wait_max: Duration,

    /// Largest body of `POST /analyze`, in bytes. Checked before anything is parsed.
    pub body_bytes_max: usize,
    /// Largest body of `POST /analyze/batch`, in bytes.
    pub batch_bytes_max: usize,
    /// Most reviews in one batch.
    pub batch_rows_max: usize,
    /// Longest time that a body may take to arrive.
    #[serde(with = "duration")]
    pub body_wait_max: Duration,

    /// Most connections, at some 30 KB each. Past half of them each answer closes its own; past all of them new ones wait until others
    /// are closed.
    pub connections_max: NonZeroUsize,
    /// Most reviews that are being published or waited for. Past it new ones are answered 429.
    pub in_flight_max: NonZeroUsize,
    /// Longest wait for the broker to make a review durable. Past it the answer is 503.
    #[serde(with = "duration")]
    pub publish_wait_max: Duration,
    /// Longest wait for the store to find a verdict.
    #[serde(with = "duration")]
    pub store_wait_max: Duration,
    /// Memory for the reviews and verdicts seen last, in bytes, roughly.
    pub recent_bytes_max: usize,

    /// Most readers of `GET /verdicts/stream`.
    pub streams_max: usize,
    /// Most verdicts that a slow reader of the stream may lag behind before it loses some.
    pub stream_lag_max: NonZeroUsize,
    /// Silence on the stream after which a comment keeps the connection open.
    #[serde(with = "duration")]
    pub stream_keep_alive: Duration,

    /// How long new work is still taken after readiness is withdrawn, so that load balancers can notice.
    #[serde(with = "duration")]
    pub stop_delay: Duration,
    /// How long requests in flight may take to end after that.
    #[serde(with = "duration")]
    pub stop_grace: Duration,
}

impl Settings {
    /// Longest time that [`serve`](crate::serve()) takes to stop, with some to spare.
    pub fn stopping_max(&self) -> Duration {
        self.stop_delay.saturating_add(self.stop_grace).saturating_add(Duration::from_secs(5))
    }
}

/// A number that cannot be zero, checked when it is compiled.
const fn nonzero(number: usize) -> NonZeroUsize {
    match NonZeroUsize::new(number) {
        Some(number) => number,
        None => NonZeroUsize::MIN,
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            wait_default: Duration::from_secs(2),
            wait_max: Duration::from_secs(30),
            body_bytes_max: 256 * 1024,
            batch_bytes_max: 8 * 1024 * 1024,
            batch_rows_max: 1_000,
            body_wait_max: Duration::from_secs(10),
            connections_max: const { nonzero(4_096) },
            in_flight_max: const { nonzero(4_096) },
            publish_wait_max: Duration::from_secs(5),
            store_wait_max: Duration::from_secs(1),
            recent_bytes_max: 64 * 1024 * 1024,
            streams_max: 64,
            stream_lag_max: const { nonzero(1_024) },
            stream_keep_alive: Duration::from_secs(15),
            stop_delay: Duration::from_secs(2),
            stop_grace: Duration::from_secs(30),
        }
    }
}
