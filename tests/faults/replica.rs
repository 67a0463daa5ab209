//! One replica of a service: the real binary, started, killed, stopped and started again under the same name.

use std::{
    env,
    fs::{self, File, OpenOptions},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use crate::{
    form::{now, until, variable},
    servers::free_ports,
};

const SIGKILL: i32 = 9;

/// What a processor says that may not write any more, before it exits with status 1.
const SHUT_OUT: &str = "exchange unusable";

/// How often a replica may learn while it stops that it was shut out, and how much of its log is shown where it ends otherwise.
const SHUT_OUT_MAX: usize = 3;
const LINES_SHOWN: usize = 20;

/// A service of the line, by its binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Ingest,
    Processor,
    Sink,
}

/// A replica, running or not; killed when dropped.
#[derive(Debug)]
pub(crate) struct Replica {
    service: Service,
    name: String,
    settings: Vec<(String, String)>,
    port: u16,
    log: PathBuf,
    /// Where its binary is, if not where those of this build are.
    build: Option<PathBuf>,
    child: Option<Child>,
    peak_rss_kib: u64,
    /// How often it ended without being told to.
    pub(crate) exits: usize,
}

/// How a replica ended that was told to, by a supervisor that waits for no longer than its grace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) took: Duration,
    /// It did not end within the grace.
    pub(crate) is_killed: bool,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Processor => "processor",
            Self::Sink => "sink",
        }
    }

    /// The setting that says where it serves health.
    fn listen(self) -> &'static str {
        match self {
            Self::Ingest => "ingest.listen",
            Self::Processor => "replica.listen",
            Self::Sink => "sink.listen",
        }
    }
}

impl Replica {
    /// The `number`-th replica of `service`, not yet started. Its log is in `folder`.
    pub(crate) fn new(
        folder: &Path,
        service: Service,
        number: usize,
        settings: Vec<(String, String)>,
    ) -> Self {
        let name = format!("{}-{number}", service.name());
        let log = folder.join(format!("{name}.log"));
        let port = free_ports(1);
        let (build, child) = (None, None);
        Self { service, name, settings, port, log, build, child, peak_rss_kib: 0, exits: 0 }
    }

    /// Starts it. It may not be ready yet.
    pub(crate) fn start(&mut self) {
        self.start_with_fault(None);
    }

    /// Starts it so that it meets `fault`, as `chassis::fault` reads it.
    pub(crate) fn start_with_fault(&mut self, fault: Option<&str>) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let mut command = Command::new(self.binary());
        command.stdin(Stdio::null());
        without_settings(&mut command);
        if let Some(fault) = fault {
            command.env("VERDICT_TEST_FAULT", fault);
        }
        command.arg("--set").arg(format!("{}=127.0.0.1:{}", self.service.listen(), self.port));
        let asks_for_drift = self.settings.iter().any(|(key, _value)| key == "drift.enabled");
        if self.service == Service::Sink && !asks_for_drift {
            // Most proofs are of rows, and do not make the topics of drift.
            command.args(["--set", "drift.enabled=false"]);
        }
        for (key, value) in &self.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let log = open_log(&self.log);
        command.stderr(log.try_clone().unwrap()).stdout(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// A setting for the next start.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.settings.retain(|(known, _value)| known != key);
        self.settings.push((key.to_owned(), value.into()));
    }

    /// The folder of binaries that it is started from next; `None` is this build's.
    pub(crate) fn set_build(&mut self, build: Option<&Path>) {
        self.build = build.map(Path::to_owned);
    }

    /// Waits until it says that it is ready. One that exits meanwhile is started again, as a supervisor would.
    pub(crate) async fn ready(&mut self) {
        let url = self.url("/readyz");
        until(&format!("readiness of {}", self.place()), async || {
            self.tend();
            let answer = reqwest::get(&url).await;
            answer.is_ok_and(|answer| answer.status().is_success()).then_some(())
        })
        .await;
    }

    /// Starts it again if it has exited by itself. Being told that it may not write any more is a reason to: its successor
    /// reads what it did not commit.
    pub(crate) fn tend(&mut self) {
        self.look_at_memory();
        if let Some(status) = self.exited() {
            self.exits += 1;
            self.note(&format!("exited by itself: {status}; started again"));
            self.start();
        }
    }

    /// How it ended, if it has since it was started. It is then to be started again.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        Some(status)
    }

    /// Waits until it was killed by the fault that it was started with.
    pub(crate) async fn dies(&mut self, fault: &str) {
        until(&format!("death of {} by {fault}", self.place()), async || {
            self.look_at_memory();
            let status = self.exited()?;
            if status.signal() == Some(SIGKILL) {
                return Some(());
            }
            self.exits += 1;
            self.note(&format!("exited by itself: {status}; started again"));
            self.start_with_fault(Some(fault));
            None
        })
        .await;
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    pub(crate) fn kill(&mut self) {
        self.look_at_memory();
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGCONT: it goes on as if nothing had happened.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// SIGTERM, which is to be a clean end. A replica that learns only then that it has been shut out (its commit was under way
    /// for longer than a transaction may take, for instance) says so with its status, as at any other time: its successor is
    /// asked in turn.
    pub(crate) async fn terminate(&mut self) {
        self.tend();
        for _attempt in 0..SHUT_OUT_MAX {
            let mark = self.logged().len();
            self.signal("-TERM");
            let status = until(&format!("end of {}", self.place()), async || self.exited()).await;
            if status.success() {
                return;
            }
            self.assert_shut_out(status, mark);
            self.note(&format!("shut out while it stopped: {status}; started again"));
            self.start();
            self.ready().await;
        }
        panic!("{} was shut out {SHUT_OUT_MAX} times while it stopped", self.place());
    }

    /// As Kubernetes ends a pod: SIGTERM, and SIGKILL if it is there still after `grace`. It is not started again, whatever its
    /// status; that must be a success nevertheless, unless it was shut out while it stopped.
    pub(crate) async fn end(&mut self, grace: Duration) -> Ending {
        self.tend();
        let (mark, begun) = (self.logged().len(), now());
        self.signal("-TERM");
        let status = until(&format!("end of {}", self.place()), async || {
            self.look_at_memory();
            if grace <= begun.elapsed() {
                return Some(None);
            }
            self.exited().map(Some)
        })
        .await;
        match status {
            None => self.kill(),
            Some(status) if status.success() => {}
            Some(status) => self.assert_shut_out(status, mark),
        }
        Ending { took: begun.elapsed(), is_killed: status.is_none() }
    }

    /// SIGSTOP: it hangs, and hears nothing.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Whether it stands still by SIGSTOP, its own included.
    pub(crate) fn is_frozen(&self) -> bool {
        let Some(child) = &self.child else { return false };
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && line.contains("T (stopped)"))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Largest memory of any of its lives, in bytes.
    pub(crate) fn peak_rss(&mut self) -> u64 {
        self.look_at_memory();
        self.peak_rss_kib * 1024
    }

    /// Memory that it has now, in bytes.
    pub(crate) fn rss(&self) -> Option<u64> {
        self.status_kib("VmRSS:").map(|kib| kib * 1024)
    }

    /// What it has logged so far, in all its lives.
    pub(crate) fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// It ended by `status` because it had been shut out: so it has said since `mark` in its log. Anything else is a fault.
    fn assert_shut_out(&mut self, status: ExitStatus, mark: usize) {
        let logged = self.logged();
        let since = logged.get(mark..).unwrap_or_default();
        let lines: Vec<_> = since.lines().rev().take(LINES_SHOWN).collect();
        let shown = || lines.iter().rev().copied().collect::<Vec<_>>().join("\n");
        assert!(since.contains(SHUT_OUT), "{} ended by {status}:\n{}", self.place(), shown());
        self.exits += 1;
    }

    fn binary(&self) -> PathBuf {
        let name = self.service.name();
        self.build.as_ref().map_or_else(|| binary(name), |folder| folder.join(name))
    }

    fn look_at_memory(&mut self) {
        let peak = self.status_kib("VmHWM:").unwrap_or(0);
        self.peak_rss_kib = self.peak_rss_kib.max(peak);
    }

    fn status_kib(&self, field: &str) -> Option<u64> {
        let pid = self.child.as_ref()?.id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with(field))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    fn signal(&self, signal: &str) {
        let Some(child) = &self.child else { return };
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill {signal} {}", self.name);
    }

    /// A line in its log that is ours.
    fn note(&self, text: &str) {
        use std::io::Write as _;
        writeln!(open_log(&self.log), "--- {text}").unwrap();
    }

    /// Its name and where its log is.
    fn place(&self) -> String {
        format!("{} (log: {})", self.name, self.log.display())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Keeps what the proofs are told from `command`, to which it would be a setting.
pub(crate) fn without_settings(command: &mut Command) {
    for (name, _value) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("VERDICT_")) {
            command.env_remove(name);
        }
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
}

fn open_log(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// A binary of the build under test: beside the program, or where `VERDICT_TEST_BINARIES` says, for a build with a fault.
pub(crate) fn binary(name: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_verdict")).parent().unwrap();
    let other = variable("VERDICT_TEST_BINARIES").map(|folder| Path::new(&folder).join(name));
    let path = match other {
        Some(path) if path.is_file() => path,
        _ => beside.join(name),
    };
    assert!(
        path.is_file(),
        "{} is missing: `cargo build --release --workspace --bins` first",
        path.display()
    );
    path
}
