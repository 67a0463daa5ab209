//! Waiting, ports and processes.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command},
    time::{Duration, Instant},
};

/// Without an answer for this long, something is stuck. Far above what anything here takes on a busy machine.
const STUCK_AFTER: Duration = Duration::from_mins(3);

/// Between two looks at something that is not there yet.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A process, killed when dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Fails if it has ended by itself.
    pub(crate) fn assert_runs(&mut self, name: &str) {
        let ended = self.0.try_wait().unwrap();
        assert!(ended.is_none(), "{name} ended by itself: {ended:?}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

pub(crate) fn now() -> Instant {
    chassis::clock::monotonic()
}

/// A port that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Looks until there is an answer; where none comes, fails and says what it was.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = now() + STUCK_AFTER;
    loop {
        if let Some(answer) = look().await {
            return answer;
        }
        assert!(now() < deadline, "stuck: {what} did not come within {STUCK_AFTER:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether all `programs` are installed. If not, says what is skipped.
pub(crate) fn are_installed(programs: &[&str], skipped: &str) -> bool {
    let is_missing = |program: &&&str| Command::new(program).arg("--version").output().is_err();
    let missing: Vec<_> = programs.iter().filter(is_missing).collect();
    if !missing.is_empty() {
        eprintln!(
            "skipped: {skipped}, for these are not installed: {missing:?} (Debian: prometheus, prometheus-alertmanager)"
        );
    }
    missing.is_empty()
}

/// Runs `command` to its end: whether it succeeded, and all that it said.
pub(crate) fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}
