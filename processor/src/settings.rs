//! Everything the processor can be told, and nothing else. Names are Triton's where Triton has one.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use broker::kafka::KafkaSettings;
use chassis::{hostname::Nameless, telemetry::TelemetrySettings};
use serde::{Deserialize, Serialize};

use crate::{batcher::BatchLimits, classifier::Kernel};

/// How reviews are gathered, batched and inferred.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Most reviews in one model call.
    pub max_batch_size: NonZeroUsize,
    /// Most tokens in one model call, padding included. Bounds how long one call takes, and with it how long a review waits
    /// for a thread. A single longer review still gets a call of its own.
    pub max_batch_tokens: NonZeroUsize,
    /// How long a round waits for company once nothing more is to be read, in microseconds. 0 sends it at once: a backlog
    /// fills rounds by itself, and a lone review does not wait.
    pub max_queue_delay_microseconds: u64,
    /// Most records in one round, which is one transaction.
    pub max_round_records: NonZeroUsize,
    /// Most tokens in one round for each inference thread. Bounds how long a round is inferred, so that the group is heard
    /// of and a stop is obeyed within seconds, however long the reviews are.
    pub max_round_tokens: NonZeroUsize,
    /// Longest that a round is gathered while more records keep coming.
    #[serde(with = "chassis::settings::duration")]
    pub round_gather_max: Duration,
    /// Most rounds in hand, from polled to committed: one is inferred while the next is read and the last is committed.
    pub rounds_in_hand_max: NonZeroUsize,
    /// Most answers that are remembered for texts that come again in later rounds, some 300 bytes each; 0 remembers none. Within a
    /// round equal texts are scored once in any case.
    pub response_cache_entries: usize,
    /// Inference threads; 0 is one for each core that the process may use.
    pub inference_threads: usize,
    /// What multiplies where a bundle allows int8: `auto`, the fastest that the CPU has; `amx-int8`, `avx512-vnni`, `avx-vnni`
    /// or `avx2`, which have to be there; or `f32`, to compute in float32 all the same.
    pub kernel: Kernel,
    /// Whether each inference thread stays on a core of its own. Only done where the process has every core it sees to itself
    /// as far as the system tells: two containers that share a machine by quota would sit on the same cores.
    pub pin_threads: bool,
    /// Whether verdicts carry the text. Its hash is always there.
    pub store_text: bool,
    /// Records that are looked at together to tell whether the line would only write dead letters.
    pub breaker_window: NonZeroUsize,
    /// Largest share of them that may be dead letters. Beyond it the line stands still until it is started anew; 1.0 lets all
    /// through.
    pub breaker_share_max: f64,
    /// Longest that a stop waits for rounds in hand. What is not committed by then is judged by whoever comes next.
    #[serde(with = "chassis::settings::duration")]
    pub drain_wait_max: Duration,
    /// Waits while the broker is away.
    pub backoff: chassis::Backoff,
}

/// Settings of the stand-alone process: those of the line, and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessSettings {
    /// The line.
    pub processor: Settings,
    /// Which model.
    pub model: ModelSettings,
    /// How to reach the broker.
    pub kafka: KafkaSettings,
    /// Who this replica is.
    pub replica: ReplicaSettings,
    /// Logs and metrics.
    pub telemetry: TelemetrySettings,
}

/// Which model judges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSettings {
    /// Directory that holds `<name>/<version>/`.
    pub repository: PathBuf,
    /// `NAME@VERSION`.
    pub name: String,
}

/// Who this replica is to the brokers and to its supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplicaSettings {
    /// Consumer group: replicas of one group share the partitions.
    pub group: String,
    /// Names this replica to the transaction coordinator. Must differ between live replicas, and be the same after a restart.
    /// Empty: `<group>-<host name>`; in Kubernetes the host name is the pod's, and a `StatefulSet` keeps it over restarts.
    pub transactional_id: String,
    /// How long after its last sign of life a replica is given up, and its partitions go to others: 6 seconds at least. Four
    /// fifths of it is how long a transaction may take.
    #[serde(with = "chassis::settings::duration")]
    pub session_timeout: Duration,
    /// Where `/livez`, `/readyz`, `/startupz` and `/metrics` are served.
    pub listen: std::net::SocketAddr,
    /// Longest wait for everything to end once a stop was asked for.
    #[serde(with = "chassis::settings::duration")]
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_batch_size: const { NonZeroUsize::new(32).unwrap() },
            max_batch_tokens: const { NonZeroUsize::new(1_024).unwrap() },
            max_queue_delay_microseconds: 0,
            max_round_records: const { NonZeroUsize::new(1_024).unwrap() },
            max_round_tokens: const { NonZeroUsize::new(16_384).unwrap() },
            round_gather_max: Duration::from_millis(25),
            rounds_in_hand_max: const { NonZeroUsize::new(3).unwrap() },
            response_cache_entries: 0,
            inference_threads: 0,
            kernel: Kernel::Auto,
            pin_threads: true,
            store_text: true,
            breaker_window: const { NonZeroUsize::new(1_000).unwrap() },
            breaker_share_max: 0.5,
            drain_wait_max: Duration::from_secs(10),
            backoff: chassis::Backoff {
                min: Duration::from_millis(50),
                max: Duration::from_secs(5),
                ..chassis::Backoff::default()
            },
        }
    }
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self { repository: PathBuf::from("models"), name: "sentiment@1".to_owned() }
    }
}

impl Default for ReplicaSettings {
    fn default() -> Self {
        Self {
            group: "processor".to_owned(),
            transactional_id: String::new(),
            session_timeout: Duration::from_secs(15),
            listen: std::net::SocketAddr::from(([0, 0, 0, 0], 9_100)),
            grace: Duration::from_secs(25),
        }
    }
}

impl ReplicaSettings {
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
    "{0}: set replica.transactional_id, different for each live replica and the same after a restart"
)]
pub struct Unnamed(#[from] Nameless);

impl Settings {
    /// What bounds one batch.
    pub fn batch_limits(&self) -> BatchLimits {
        BatchLimits { rows_max: self.max_batch_size, tokens_max: self.max_batch_tokens }
    }

    /// How many inference threads to start.
    pub fn threads(&self) -> NonZeroUsize {
        let asked = NonZeroUsize::new(self.inference_threads);
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        asked.unwrap_or_else(cores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_defaults() {
        let settings: ProcessSettings = serde_json::from_str("{}").unwrap();
        assert_eq!(settings, ProcessSettings::default());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let written = serde_json::to_string(&ProcessSettings::default()).unwrap();
        assert_eq!(
            serde_json::from_str::<ProcessSettings>(&written).unwrap(),
            ProcessSettings::default()
        );
    }

    #[test]
    fn a_replica_is_named_as_set_or_after_its_host() {
        let check = |set: &str, hostname: Result<&str, Nameless>, expected: Option<&str>| {
            let settings =
                ReplicaSettings { transactional_id: set.to_owned(), ..ReplicaSettings::default() };
            let id = settings.transactional_id(|| hostname.map(str::to_owned));
            assert_eq!(id.ok().as_deref(), expected);
        };
        check("mine", Err(Nameless), Some("mine"));
        check("", Ok("pod-1"), Some("processor-pod-1"));
        check("  ", Ok("pod-1"), Some("processor-pod-1"));
        check("", Err(Nameless), None);
    }

    #[test]
    fn misspelt_settings_and_limits_of_zero_are_refused_at_the_door() {
        for text in
            [r#"{"max_batch_sizes": 8}"#, r#"{"max_batch_size": 0}"#, r#"{"max_round_records": 0}"#]
        {
            assert!(serde_json::from_str::<Settings>(text).is_err(), "{text}");
        }
    }
}
