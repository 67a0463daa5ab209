//! The section `[drift]`: what the drift line reads, how long its windows are and when it decides.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use chassis::{Backoff, hostname::Nameless};
use drift::assembly::{AssemblySettings, Length};
use serde::{Deserialize, Serialize};

/// The section `[drift]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftSettings {
    /// Whether drift is watched at all. Rows are written in any case.
    pub enabled: bool,
    /// Whether this process sums verdicts in partial windows.
    pub watch: bool,
    /// Whether this process stands ready to decide. One of all that do decides, the others wait for it to go.
    pub aggregate: bool,
    /// The model repository, a folder of `<model>/<version>/`: verdicts are compared with the reference profile of the very bundle
    /// that they were made with. Empty: the folder `models`, or that of `[model]` in `verdict`.
    pub models: PathBuf,
    /// Which profile of a bundle's reference is compared with.
    pub profile: String,
    /// Consumer group of those that sum.
    pub watcher_group: String,
    /// Consumer group of those that decide.
    pub aggregator_group: String,
    /// Names this replica to the transaction coordinator, with `-drift-watcher` and `-drift-aggregator` after it. Must differ
    /// between live replicas, and be the same after a restart. Empty: `sink-<host name>`.
    pub transactional_id: String,
    /// How long after its last sign of life a replica is given up, and its partitions go to others: 6 seconds at least.
    #[serde(with = "chassis::settings::duration")]
    pub session_timeout: Duration,
    /// How long verdicts are summed before the sums are handed on: how late a window may be judged, and how much is read again
    /// after a crash.
    #[serde(with = "chassis::settings::duration")]
    pub partial_every: Duration,
    /// Verdicts after which the sums are handed on at once.
    pub partial_verdicts_max: NonZeroUsize,
    /// Reviews that make a window, however long they take. Sums are not split, so that a busy line's windows hold more.
    pub window_reviews: NonZeroU32,
    /// Seconds of event time that make a window; 0 for windows of so many reviews. What was written long ago and comes only now
    /// is late then, and quiet hours are not judged.
    pub window_seconds: u32,
    /// How much later than the end of a window of so many seconds the newest review must be before the window is closed.
    pub lateness_seconds: u32,
    /// Most model versions that are kept in mind. Past it the one that had no verdicts for longest is forgotten.
    pub versions_max: NonZeroUsize,
    /// When a window counts as drifted, and when that is an alert.
    pub decisions: drift::Settings,
    /// How long to wait before the broker or the store is tried again.
    pub backoff: Backoff,
}

/// A replica without a name that it would have again after a restart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}: set drift.transactional_id, different for each live replica and the same after a restart"
)]
pub struct Unnamed(#[from] Nameless);

impl Default for DriftSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            watch: true,
            aggregate: true,
            models: PathBuf::new(),
            profile: drift::reference::WHOLE.to_owned(),
            watcher_group: "drift-watcher".to_owned(),
            aggregator_group: "drift-aggregator".to_owned(),
            transactional_id: String::new(),
            session_timeout: Duration::from_secs(15),
            partial_every: Duration::from_secs(5),
            partial_verdicts_max: const { NonZeroUsize::new(10_000).unwrap() },
            // The smallest that is judged: whatever the traffic, each window is, and the first one soon.
            window_reviews: const { NonZeroU32::new(500).unwrap() },
            window_seconds: 0,
            lateness_seconds: 60,
            versions_max: const { NonZeroUsize::new(8).unwrap() },
            decisions: drift::Settings::default(),
            backoff: Backoff { max: Duration::from_secs(5), ..Backoff::default() },
        }
    }
}

impl DriftSettings {
    /// How long windows are.
    pub fn assembly(&self) -> AssemblySettings {
        let length = match NonZeroU32::new(self.window_seconds) {
            Some(seconds) => Length::Seconds(seconds),
            None => Length::Reviews(self.window_reviews),
        };
        AssemblySettings { length, lateness_seconds: self.lateness_seconds }
    }

    /// The folder with the bundles.
    pub fn repository(&self) -> PathBuf {
        let is_set = !self.models.as_os_str().is_empty();
        if is_set { self.models.clone() } else { PathBuf::from("models") }
    }

    /// The name of this replica, as set or made of the name of the host.
    pub fn replica(
        &self,
        hostname: impl FnOnce() -> Result<String, Nameless>,
    ) -> Result<String, Unnamed> {
        if !self.transactional_id.trim().is_empty() {
            return Ok(self.transactional_id.clone());
        }
        Ok(format!("sink-{}", hostname()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_of_reviews_unless_seconds_are_set() {
        let settings = DriftSettings::default();
        assert_eq!(settings.assembly().length, Length::Reviews(settings.window_reviews));
        let seconds = DriftSettings { window_seconds: 60, ..settings };
        assert_eq!(seconds.assembly().length, Length::Seconds(NonZeroU32::new(60).unwrap()));
    }

    #[test]
    fn a_replica_has_the_name_that_is_set_or_that_of_its_host() {
        let settings = DriftSettings::default();
        assert_eq!(settings.replica(|| Ok("pod-1".to_owned())).unwrap(), "sink-pod-1");
        assert!(settings.replica(|| Err(Nameless)).is_err());
        let named = DriftSettings { transactional_id: "mine".to_owned(), ..settings };
        assert_eq!(named.replica(|| Err(Nameless)).unwrap(), "mine");
    }
}
