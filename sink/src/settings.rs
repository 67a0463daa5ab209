//! All that can be set of the sink: the sections `[sink]` and `[drift]`.

mod drift;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use chassis::Backoff;
use serde::{Deserialize, Serialize};

pub use drift::{DriftSettings, Unnamed};

/// The section `[sink]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Consumer group. Its replicas share the partitions of the verdicts' topic.
    pub group: String,
    /// How long after its last sign of life a replica is given up, and its partitions go to others: 6 seconds at least.
    #[serde(with = "chassis::settings::duration")]
    pub session_timeout: Duration,
    /// Where health and metrics are served when the sink runs alone.
    pub listen: SocketAddr,
    /// Most verdicts that are read and written together: one transaction of the store, one sync of its disk.
    pub rows_max: usize,
    /// Longest wait for a first verdict, which bounds how late the sink notices that it is to stop. Adds no latency.
    #[serde(with = "chassis::settings::duration")]
    pub wait_max: Duration,
    /// How long to wait before the store or the broker is tried again. Nothing is read meanwhile, nothing is dropped.
    pub backoff: Backoff,
    /// Longest wait, after a signal, for the round in hand.
    #[serde(with = "chassis::settings::duration")]
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            group: "sink".to_owned(),
            session_timeout: Duration::from_secs(15),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8082)),
            rows_max: 1_000,
            wait_max: Duration::from_millis(100),
            // Below the silence after which a loop counts as stuck: it beats at each attempt.
            backoff: Backoff { max: Duration::from_secs(5), ..Backoff::default() },
            grace: Duration::from_secs(20),
        }
    }
}
