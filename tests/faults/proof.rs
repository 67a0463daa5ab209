//! What every proof has: its form, a folder, the replicas in it, and the figures that it prints at its end.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use broker::kafka::{KafkaSettings, Lag};
use schemas::topics;
use tempfile::TempDir;
use tokio::sync::MutexGuard;

use crate::{
    form::{Form, LOOK_EVERY, alone, now, stuck_after, until_none_is_left},
    replica::{Replica, Service},
    servers::Cluster,
    stream::Stream,
};

/// The consumer group of the processors.
pub(crate) const GROUP: &str = "processor";

/// The consumer group of the sinks.
pub(crate) const SINK_GROUP: &str = "sink";

/// The small model that most proofs score with: the faults and not the model are to take the time.
pub(crate) const MODEL: &str = "tiny@1";

/// After this long without a sign of life a replica is given up: the shortest that brokers allow.
pub(crate) const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

/// Nothing more comes when nothing has come for this long, and nothing is waiting.
const QUIET: Duration = Duration::from_secs(1);

/// Most offsets at the end of a topic that are markers, and how long nothing may change before that is what they are taken for.
const MARKERS_MAX: u64 = 100;
const SETTLED: Duration = Duration::from_secs(2);

/// How long one question for the lag may take.
const LAG_WAIT: Duration = Duration::from_secs(5);

/// A proof that runs, alone on the machine. Its folder is removed at the end, unless it fails.
pub(crate) struct Proof {
    /// `P1` and so on.
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) begun: Instant,
    folder: Option<TempDir>,
    _alone: MutexGuard<'static, ()>,
}

impl Proof {
    /// Waits for its turn.
    pub(crate) async fn begin(name: &'static str) -> Self {
        let alone = alone().await;
        let within = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(within).unwrap();
        let folder = tempfile::Builder::new().prefix(name).tempdir_in(within).unwrap();
        Self { name, form: Form::asked(), begun: now(), folder: Some(folder), _alone: alone }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// A processor of `kafka`, not yet started, that scores with a small model, in many small rounds.
    pub(crate) fn processor(&self, kafka: &Cluster, number: usize) -> Replica {
        let settings = [
            ("model.repository", "tests/fixtures/models"),
            ("model.name", MODEL),
            ("processor.inference_threads", "1"),
            ("processor.pin_threads", "false"),
            ("processor.max_round_records", "200"),
            ("replica.group", GROUP),
        ];
        let mut replica = self.replica(Service::Processor, kafka, number, &settings);
        replica.set("replica.transactional_id", format!("processor-{number}"));
        replica.set("replica.session_timeout", format!("{}s", SESSION_TIMEOUT.as_secs()));
        replica
    }

    /// A sink of `kafka` into the store at `url`, not yet started, that writes in many small rounds.
    pub(crate) fn sink(&self, kafka: &Cluster, url: &str) -> Replica {
        self.sink_of(kafka, url, 0)
    }

    /// The `number`-th of such sinks.
    pub(crate) fn sink_of(&self, kafka: &Cluster, url: &str, number: usize) -> Replica {
        let settings = [("store.url", url), ("sink.group", SINK_GROUP), ("sink.rows_max", "100")];
        let mut replica = self.replica(Service::Sink, kafka, number, &settings);
        replica.set("sink.session_timeout", format!("{}s", SESSION_TIMEOUT.as_secs()));
        replica
    }

    /// A replica of `service` on `kafka`, not yet started.
    pub(crate) fn replica(
        &self,
        service: Service,
        kafka: &Cluster,
        number: usize,
        settings: &[(&str, &str)],
    ) -> Replica {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let mut replica =
            Replica::new(self.folder(), service, number, settings.iter().map(own).collect());
        replica.set("kafka.bootstrap_servers", kafka.address());
        if matches!(service, Service::Sink) {
            // All of them have the name of this host, and each would shut the other out.
            replica.set("feedback.transactional_id", format!("feedback-{number}"));
        }
        replica
    }

    /// `count` processors, started and ready.
    pub(crate) async fn processors(&self, kafka: &Cluster, count: usize) -> Vec<Replica> {
        let mut replicas: Vec<_> = (0..count).map(|number| self.processor(kafka, number)).collect();
        for replica in &mut replicas {
            replica.start();
        }
        for replica in &mut replicas {
            replica.ready().await;
        }
        replicas
    }
}

impl Drop for Proof {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            let kept: PathBuf = folder.keep();
            eprintln!("{} failed; its logs are in {}", self.name, kept.display());
        }
    }
}

/// Waits until the processors have committed every review and nothing more comes. Replicas that exited are started again.
pub(crate) async fn caught_up(kafka: &KafkaSettings, stream: &Stream, replicas: &mut [Replica]) {
    let mut progressed = now();
    let mut best = u64::MAX;
    loop {
        for replica in &mut *replicas {
            replica.tend();
        }
        let lag = lag(kafka, GROUP, topics::REVIEWS).await;
        if lag == Some(0) && QUIET <= stream.quiet() {
            return;
        }
        if lag.is_some_and(|lag| lag < best) {
            best = lag.unwrap_or(best);
            progressed = now();
        }
        let quiet = progressed.elapsed();
        assert!(
            quiet < stuck_after(),
            "stuck: {best} reviews are waiting, and no fewer for {quiet:?}"
        );
        tokio::time::sleep(LOOK_EVERY * 4).await;
    }
}

/// Records of `topic` that `group` has not committed, markers of transactions included; `None` while the broker does not say.
pub(crate) async fn lag(kafka: &KafkaSettings, group: &str, topic: &'static str) -> Option<u64> {
    let (kafka, group) = (kafka.clone(), group.to_owned());
    let asking = move || Lag::connect(&kafka, &group, topic)?.read(LAG_WAIT);
    tokio::task::spawn_blocking(asking).await.unwrap().ok()
}

/// Waits until `group` has committed all of `topic`, which nobody writes to any more. The last offsets of a partition that was
/// written in transactions are their markers, so that what is left is not zero but small and stays the same.
pub(crate) async fn settled(
    kafka: &KafkaSettings,
    group: &str,
    topic: &'static str,
    replica: &mut Replica,
) {
    let (mut last, mut since) = (None, now());
    until_none_is_left(&format!("{group} at the end of {topic}"), async || {
        replica.tend();
        let lag = lag(kafka, group, topic).await;
        if lag != last || lag.is_none_or(|lag| MARKERS_MAX < lag) {
            (last, since) = (lag, now());
        }
        if SETTLED <= since.elapsed() { Ok(()) } else { Err(lag) }
    })
    .await;
}

/// Asks every replica to stop.
pub(crate) async fn terminate(replicas: &mut [Replica]) {
    for replica in replicas {
        replica.terminate().await;
    }
}
