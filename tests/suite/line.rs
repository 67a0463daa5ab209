//! A running `verdict up` on free ports and a folder of its own.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use broker::kafka::KafkaSettings;
use tempfile::TempDir;

/// Longest wait for the line to be ready, on a machine that is busy with other tests.
const READY_WAIT_MAX: Duration = Duration::from_mins(2);

/// Between two looks at something that is not there yet.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A process of the whole line; killed when dropped.
pub(crate) struct Line {
    folder: TempDir,
    http: SocketAddr,
    kafka: SocketAddr,
    /// Flags of `up` beyond addresses and folder.
    flags: Vec<String>,
    /// Variables of its environment.
    variables: Vec<(&'static str, String)>,
    child: Option<Child>,
}

impl Line {
    /// Starts a line on an empty folder and waits until it is ready.
    pub(crate) async fn start() -> Self {
        Self::start_with(Vec::new(), &[]).await
    }

    /// The same with a model that takes no time.
    pub(crate) async fn start_tiny() -> Self {
        Self::start_tiny_with(Vec::new(), &[]).await
    }

    /// The same with more flags and variables.
    pub(crate) async fn start_tiny_with(
        mut flags: Vec<String>,
        variables: &[(&'static str, &str)],
    ) -> Self {
        let tiny = ["--models", "tests/fixtures/models", "--model", "tiny@1"];
        flags.extend(tiny.map(str::to_owned));
        Self::start_with(flags, variables).await
    }

    async fn start_with(flags: Vec<String>, variables: &[(&'static str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let mut line = Self {
            folder: tempfile::tempdir().unwrap(),
            http: free_address(),
            kafka: free_address(),
            flags,
            variables: variables.collect(),
            child: None,
        };
        line.start_again();
        line.ready().await;
        line
    }

    /// Starts the program on the same folder and ports. It may not be ready yet.
    pub(crate) fn start_again(&mut self) {
        let child = verdict()
            .arg("up")
            .args(["--http", &self.http.to_string(), "--kafka-listen", &self.kafka.to_string()])
            .arg("--data")
            .arg(self.data())
            .args(&self.flags)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
    }

    /// The same without what was put into its environment: a fault that was armed there is not any more.
    pub(crate) fn start_again_without_variables(&mut self) {
        self.variables.clear();
        self.start_again();
    }

    /// Waits until the program has ended by itself.
    pub(crate) async fn exited(&mut self, wait_max: Duration) {
        let deadline = now() + wait_max;
        while now() < deadline {
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                self.child = None;
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        panic!("the line still runs after {wait_max:?}");
    }

    /// Waits until the line says that it is ready.
    pub(crate) async fn ready(&mut self) {
        let deadline = now() + READY_WAIT_MAX;
        while now() < deadline {
            let exited = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(exited.is_none(), "the line exited while starting: {exited:?}");
            let answer = reqwest::get(self.url("/readyz")).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        panic!("the line is not ready after {READY_WAIT_MAX:?}");
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and how the program ended.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        child.wait().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    pub(crate) fn kafka(&self) -> KafkaSettings {
        KafkaSettings::at(self.kafka.to_string())
    }

    pub(crate) fn kafka_address(&self) -> String {
        self.kafka.to_string()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn store_path(&self) -> PathBuf {
        self.data().join("verdicts.db")
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The program under test, in the folder of the workspace, without settings from this shell.
pub(crate) fn verdict() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verdict"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    command
}

#[expect(clippy::disallowed_methods, reason = "a test waits for another process")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A port that was free a moment ago. The program must find the same one again after a restart, so it cannot choose itself.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
