//! Starting and stopping, the same way in every service.

use std::{mem, thread, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Exit status of a process that SIGINT ended, by the shells' convention of 128 plus the signal's number.
const INTERRUPTED: i32 = 130;
/// Exit status of a process that SIGTERM ended.
const TERMINATED: i32 = 143;

/// Completes on SIGTERM, which Kubernetes sends, or SIGINT, which a developer types. A second signal ends the process at
/// once: whoever asks twice does not want to wait for the grace.
pub async fn signalled() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => info!("received SIGTERM"),
        _ = interrupt.recv() => info!("received SIGINT"),
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "ends with the process, and has nothing to drain"
    )]
    #[expect(clippy::exit, reason = "asked for twice")]
    tokio::spawn(async move {
        let status = tokio::select! {
            _ = terminate.recv() => TERMINATED,
            _ = interrupt.recv() => INTERRUPTED,
        };
        warn!("received a second signal, not waiting any longer");
        std::process::exit(status)
    });
    Ok(())
}

/// Runs `tasks` until `until` completes or one of them ends; then asks the rest to stop, and waits for them no longer than
/// `grace`. The first failure, if any, is the outcome; later ones are logged.
pub async fn supervise(
    mut tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
    until: impl Future<Output = anyhow::Result<()>>,
    grace: Duration,
) -> anyhow::Result<()> {
    let mut outcome = tokio::select! {
        asked = until => asked,
        Some(ended) = tasks.join_next() => flatten(ended),
    };
    stop.cancel();

    let rest = timeout(grace, async {
        while let Some(ended) = tasks.join_next().await {
            outcome = first_failure(mem::replace(&mut outcome, Ok(())), flatten(ended));
        }
    });
    if rest.await.is_err() {
        let late = Err(anyhow!("{} tasks still running after {grace:?}", tasks.len()));
        outcome = first_failure(outcome, late);
    }
    outcome
}

/// Runs `work` on an operating system thread of its own, from now on, and completes with its result; a panic is an error.
/// For loops that block.
///
/// The thread outlives the future when that is dropped: `work` watches a [`CancellationToken`] itself.
pub fn thread(
    name: impl Into<String>,
    work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> impl Future<Output = anyhow::Result<()>> + Send + 'static {
    let name = name.into();
    let (report, reported) = oneshot::channel();
    let spawned = thread::Builder::new().name(name.clone()).spawn(move || {
        // Nobody listens once the supervisor has given up on this thread.
        drop(report.send(work()));
    });
    async move {
        let handle = spawned.with_context(|| format!("starting thread {name}"))?;
        match reported.await {
            Ok(result) => result,
            // The thread is unwinding, so `join` returns soon.
            Err(_dropped) => Err(anyhow!("thread {name} panicked{}", reason(handle.join()))),
        }
    }
}

/// `outcome`, unless it is a success and `later` is not; a failure that is not returned is logged.
fn first_failure(outcome: anyhow::Result<()>, later: anyhow::Result<()>) -> anyhow::Result<()> {
    match (outcome, later) {
        (Ok(()), later) => later,
        (first, Ok(())) => first,
        (first, Err(later)) => {
            warn!(error = format!("{later:#}"), "another task failed while stopping");
            first
        }
    }
}

/// A panic in a task is an error of the service.
fn flatten(ended: Result<anyhow::Result<()>, JoinError>) -> anyhow::Result<()> {
    ended.context("task panicked")?
}

/// What the panic said, where it said something.
fn reason(joined: thread::Result<()>) -> String {
    let Err(panic) = joined else { return String::new() };
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.map(|text| format!(": {text}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    async fn until_stopped(stop: CancellationToken) -> anyhow::Result<()> {
        stop.cancelled().await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_stops_every_task() {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(until_stopped(stop.clone()));
        tasks.spawn(until_stopped(stop.clone()));
        supervise(tasks, stop, async { Ok(()) }, GRACE).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_task_stops_the_others_and_is_the_outcome() {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(until_stopped(stop.clone()));
        tasks.spawn(async { Err(anyhow!("fenced")) });
        let error = supervise(tasks, stop, pending(), GRACE).await.unwrap_err();
        assert_eq!(error.to_string(), "fenced");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_while_stopping_is_the_outcome_of_an_orderly_stop() {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let asked = stop.clone();
        tasks.spawn(async move {
            asked.cancelled().await;
            Err(anyhow!("could not drain"))
        });
        let error = supervise(tasks, stop, async { Ok(()) }, GRACE).await.unwrap_err();
        assert_eq!(error.to_string(), "could not drain");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ignores_stop_is_abandoned_after_the_grace() {
        let mut tasks = JoinSet::new();
        tasks.spawn(pending());
        let stop = CancellationToken::new();
        let error = supervise(tasks, stop, async { Ok(()) }, GRACE).await.unwrap_err();
        assert_eq!(error.to_string(), "1 tasks still running after 10s");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_failure_survives_a_task_that_ignores_stop() {
        let mut tasks = JoinSet::new();
        tasks.spawn(pending());
        tasks.spawn(async { Err(anyhow!("fenced")) });
        let stop = CancellationToken::new();
        let error = supervise(tasks, stop, pending(), GRACE).await.unwrap_err();
        assert_eq!(error.to_string(), "fenced");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panicking_task_is_a_failure() {
        let mut tasks = JoinSet::new();
        tasks.spawn(async { panic!("out of range") });
        let stop = CancellationToken::new();
        let error = supervise(tasks, stop, pending(), GRACE).await.unwrap_err();
        assert_eq!(error.to_string(), "task panicked");
    }

    #[tokio::test]
    async fn a_thread_carries_its_name_and_its_result() {
        let named = thread("poll", || {
            let here = thread::current();
            anyhow::ensure!(here.name() == Some("poll"), "wrong name");
            Err(anyhow!("fenced"))
        });
        assert_eq!(named.await.unwrap_err().to_string(), "fenced");
    }

    #[tokio::test]
    async fn a_panicking_thread_is_a_failure_that_says_why() {
        let error = thread("poll", || panic!("out of range")).await.unwrap_err();
        assert_eq!(error.to_string(), "thread poll panicked: out of range");
    }

    #[tokio::test]
    async fn a_thread_runs_although_nobody_awaits_it_yet() {
        let (sender, receiver) = oneshot::channel();
        let running =
            thread("eager", move || sender.send(()).map_err(|()| anyhow!("nobody there")));
        receiver.await.unwrap();
        running.await.unwrap();
    }
}
