//! All that can be set of the feedback loop: the section `[feedback]`.

use std::time::Duration;

use chassis::{Backoff, hostname::Nameless};
use serde::{Deserialize, Serialize};

/// The section `[feedback]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Consumer group. Its replicas share the partitions of the feedback's topic.
    pub group: String,
    /// Names this replica to the transaction coordinator. Must differ between live replicas, and be the same after a restart.
    /// Empty: `<group>-<host name>`.
    pub transactional_id: String,
    /// How long after its last sign of life a replica is given up, and its partitions go to others: 6 seconds at least.
    #[serde(with = "chassis::settings::duration")]
    pub session_timeout: Duration,
    /// Most labels that are read and written together, in one transaction.
    pub rows_max: usize,
    /// Longest wait for a first label, which bounds how late the loop notices that it is to stop. Adds no latency.
    #[serde(with = "chassis::settings::duration")]
    pub wait_max: Duration,
    /// A label that is given later than this after its verdict is kept and not counted: it says what the model was like then.
    #[serde(with = "chassis::settings::duration")]
    pub late_after: Duration,
    /// How long a label waits for its verdict's row, counted from the label's own time, so that waits of a backlog do not add up.
    /// Labels behind it wait as well.
    #[serde(with = "chassis::settings::duration")]
    pub unknown_wait: Duration,
    /// How long to wait before the store or the broker is tried again. Nothing is read meanwhile, nothing is dropped.
    pub backoff: Backoff,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            group: "feedback".to_owned(),
            transactional_id: String::new(),
            session_timeout: Duration::from_secs(15),
            rows_max: 500,
            wait_max: Duration::from_millis(100),
            late_after: Duration::from_hours(24 * 30),
            unknown_wait: Duration::from_secs(10),
            backoff: Backoff { max: Duration::from_secs(5), ..Backoff::default() },
        }
    }
}

impl Settings {
    /// The transactional id, as set or made of the group and the name of the host.
    pub fn transactional_id(
        &self,
        hostname: impl FnOnce() -> Result<String, Nameless>,
    ) -> Result<String, Unnamed> {
        if !self.transactional_id.trim().is_empty() {
            return Ok(self.transactional_id.clone());
        }
        Ok(format!("{}-{}", self.group, hostname()?))
    }
}

/// A replica without a name that it would have again after a restart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}: set feedback.transactional_id, different for each live replica and the same after a restart"
)]
pub struct Unnamed(#[from] Nameless);
