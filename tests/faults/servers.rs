//! Real servers, by way of `dev/services`, in a folder of their own.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use broker::kafka::{KafkaSettings, TopicSpec, ensure_topics};
use schemas::topics;

/// Partitions of the topics that carry reviews and verdicts: enough for four replicas with one and a half each.
const PARTITIONS: u16 = 6;

/// Longest wait for the topics to have leaders.
const TOPICS_WAIT_MAX: Duration = Duration::from_mins(1);

/// Ports of the proofs lie below those that the system gives to clients, so that a server finds its own again after a crash.
const PORTS: std::ops::Range<u16> = 26_000..27_000;

/// Which servers.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Kafka,
    Cassandra,
}

/// Nodes of one kind. Dropped, they are stopped and their data removed; a proof that fails leaves their folder.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: PathBuf,
    address: String,
}

impl Cluster {
    /// Kafka of `nodes` nodes with the line's topics. Of three nodes two must have a record before it is acknowledged.
    pub(crate) async fn kafka(folder: &Path, nodes: u16) -> Self {
        Self::kafka_with(folder, nodes, &[]).await
    }

    /// As [`Cluster::kafka`], with more arguments for `dev/services start`.
    pub(crate) async fn kafka_with(folder: &Path, nodes: u16, more: &[&str]) -> Self {
        // As many as the most that `dev/services` takes, for a controller apart.
        let port = free_ports(4 * (nodes + 1));
        let (port, count) = (port.to_string(), nodes.to_string());
        let options = ["--port", &port, "--nodes", &count];
        let cluster = Self::start(Kind::Kafka, &folder.join("kafka"), &[&options, more].concat());
        let specs: Vec<_> = topics::ALL.map(|name| topic(name, nodes)).into();
        ensure_topics(&cluster.settings(), &specs, TOPICS_WAIT_MAX).await.unwrap();
        cluster
    }

    /// Kafka of one broker, node 1, whose controller outlives it: so that a broker that comes back learns at once that it has led
    /// nothing meanwhile. It is given up after `session_timeout`, and cannot come back before.
    pub(crate) async fn broker(folder: &Path, session_timeout: Duration) -> Self {
        let session = format!("broker.session.timeout.ms={}", session_timeout.as_millis());
        Self::kafka_with(folder, 1, &["--controller-apart", "--prop", &session]).await
    }

    /// One node of Cassandra that keeps what it acknowledged when it is killed.
    pub(crate) fn cassandra(folder: &Path) -> Self {
        let port = free_ports(1).to_string();
        Self::start(Kind::Cassandra, &folder.join("cassandra"), &["--port", &port])
    }

    fn start(kind: Kind, folder: &Path, options: &[&str]) -> Self {
        fs::create_dir_all(folder).unwrap();
        let kind = match kind {
            Kind::Kafka => "kafka",
            Kind::Cassandra => "cassandra",
        };
        let pid = std::process::id().to_string();
        let begin = ["start", kind, "--dir", text(folder), "--with", &pid];
        let printed = services(&[&begin, options].concat()).unwrap();
        let address = printed.lines().last().unwrap_or_default().trim().to_owned();
        assert!(address.contains(':'), "dev/services printed no address: {printed}");
        Self { folder: folder.to_owned(), address }
    }

    /// `host:port`, with commas between where there are several nodes.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Settings that reach this Kafka.
    pub(crate) fn settings(&self) -> KafkaSettings {
        KafkaSettings::at(&self.address)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// SIGKILL to one node, counted from 1.
    pub(crate) fn kill(&self, node: u16) {
        self.act("kill", &["--node", &node.to_string()]);
    }

    /// Starts a killed node on its data and waits until it is ready.
    pub(crate) async fn restart(&self, node: u16) {
        let (folder, node) = (text(&self.folder).to_owned(), node.to_string());
        let restarting = move || services(&["restart", "--dir", &folder, "--node", &node]);
        tokio::task::spawn_blocking(restarting).await.unwrap().unwrap();
    }

    /// SIGSTOP to one node: connections stay, and nothing answers.
    pub(crate) fn pause(&self, node: u16) {
        self.act("pause", &["--node", &node.to_string()]);
    }

    /// SIGCONT to one node.
    pub(crate) fn resume(&self, node: u16) {
        self.act("resume", &["--node", &node.to_string()]);
    }

    fn act(&self, action: &str, options: &[&str]) {
        let begin = [action, "--dir", text(&self.folder)];
        services(&[&begin, options].concat()).unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let action = if std::thread::panicking() { "stop" } else { "wipe" };
        if let Err(reason) = services(&[action, "--dir", text(&self.folder)]) {
            eprintln!("{reason}");
        }
    }
}

/// Runs `dev/services` and gives what it printed.
fn services(arguments: &[&str]) -> Result<String, String> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("dev/services");
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("dev/services: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("dev/services {}: {}\n{said}", arguments.join(" "), output.status))
}

fn topic(name: &str, nodes: u16) -> TopicSpec {
    let mut spec = TopicSpec::new(name, PARTITIONS);
    spec.config.insert("retention.ms".to_owned(), "-1".to_owned());
    if 3 <= nodes {
        spec.config.insert("min.insync.replicas".to_owned(), "2".to_owned());
    }
    spec
}

/// The first of `count` ports in a row that nobody listens on.
pub(crate) fn free_ports(count: u16) -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let span = PORTS.end - PORTS.start;
    // Another run at the same time begins elsewhere, well away although its number is the next one.
    let salt = u16::try_from(std::process::id().wrapping_mul(61) % u32::from(span)).unwrap_or(0);
    for _attempt in 0..span {
        let begin = salt.wrapping_add(TAKEN.fetch_add(count, Ordering::Relaxed)) % (span - count);
        let ports = PORTS.start + begin..PORTS.start + begin + count;
        if ports.clone().all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return ports.start;
        }
    }
    panic!("no {count} free ports in {PORTS:?}");
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
