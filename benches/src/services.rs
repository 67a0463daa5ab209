//! The programs of this build as processes of their own: started, asked for, looked at, ended.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use chassis::clock;

/// Longest wait until a program takes work.
const READY_WAIT_MAX: Duration = Duration::from_secs(30);
/// Between two questions whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How often Linux counts in a second, on every machine that we build for.
const TICKS: f64 = 100.0;

/// A process, killed when dropped.
pub(crate) struct Service {
    name: String,
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    started: Instant,
}

/// Memory of a process, in MB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: f64,
    /// Resident at its most.
    pub(crate) peak: f64,
}

impl Service {
    /// Starts `name`, which serves its health at `address`, on these cores, or on all where none is named. Its log is in `folder`.
    pub(crate) fn start(
        folder: &Path,
        name: &str,
        address: SocketAddr,
        cores: &[usize],
        settings: &[String],
    ) -> anyhow::Result<Self> {
        let mut command = program(name, cores)?;
        if name == "verdict" {
            command.arg("up");
        }
        for setting in settings {
            command.args(["--set", setting]);
        }
        let log = folder.join(format!("{name}-{}.log", address.port()));
        let file = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let started = clock::monotonic();
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, address, log, started })
    }

    /// Waits until it takes work; how long that took from its start.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<Duration> {
        let url = format!("http://{}/readyz", self.address);
        loop {
            let answer = reqwest::get(&url).await;
            let took = self.started.elapsed();
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(took);
            }
            self.check_runs()?;
            let said = || fs::read_to_string(&self.log).unwrap_or_default();
            ensure!(took < READY_WAIT_MAX, "{} is not ready after {took:?}: {}", self.name, said());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Fails if it has ended.
    pub(crate) fn check_runs(&mut self) -> anyhow::Result<()> {
        if let Some(ended) = self.child.try_wait().context("looking at a process")? {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            bail!("{} ended by itself ({ended}): {said}", self.name);
        }
        Ok(())
    }

    /// Processor time that it has taken, in seconds.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu_seconds(&self.child.id().to_string())
    }

    /// Its memory.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .with_context(|| format!("reading the memory of {}", self.name))?;
        let mb = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(kib * 1_024.0 / 1e6)
        };
        let found = mb("VmRSS:").zip(mb("VmHWM:"));
        let (resident, peak) = found.with_context(|| format!("{} has ended", self.name))?;
        Ok(Memory { resident, peak })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Whatever it had in hand is thrown away with its folder.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The program `name` beside this one, without settings from the environment, on these cores or on all.
pub(crate) fn program(name: &str, cores: &[usize]) -> anyhow::Result<Command> {
    let path = std::env::current_exe().context("finding this program")?.with_file_name(name);
    ensure!(
        path.is_file(),
        "{} is not there: build all programs first (cargo build --release --workspace --locked --bins)",
        path.display()
    );
    let mut command = Command::new(&path);
    if !cores.is_empty() {
        let list: Vec<String> = cores.iter().map(usize::to_string).collect();
        command = Command::new("taskset");
        command.args(["--cpu-list", &list.join(",")]).arg(&path);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("VERDICT_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// An address on this machine where nobody listens.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Processor time of the process `pid` (or `self`) so far, in seconds.
pub(crate) fn cpu_seconds(pid: &str) -> anyhow::Result<f64> {
    let text =
        fs::read_to_string(format!("/proc/{pid}/stat")).context("reading the processor time")?;
    // The name of the process may hold anything, and ends at the last bracket.
    let (_, fields) = text.rsplit_once(')').context("reading the processor time")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS)
}
