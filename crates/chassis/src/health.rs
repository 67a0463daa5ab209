//! Whether the process started, lives and takes work: three questions that Kubernetes asks apart.
//!
//! *Ready* is false while anything it depends on is away: traffic goes elsewhere, and nothing is restarted. *Alive* is false
//! only when a loop of its own has stood still: a restart helps against that, and against nothing that is wrong elsewhere.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Json, Router, http::StatusCode, response::IntoResponse, routing::get};
use serde::Serialize;

use crate::clock;

/// Longest silence of a loop before it counts as stuck, unless [`Health::register_beating`] says otherwise.
pub const BEAT_WAIT_MAX: Duration = Duration::from_secs(30);

/// What the process knows of itself. Clones share it.
#[derive(Clone, Default)]
pub struct Health {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    checks: Mutex<Vec<Entry>>,
    started: AtomicBool,
    draining: AtomicBool,
}

struct Entry {
    name: String,
    /// Why it is not ready, `None` when it is.
    obstacle: Option<String>,
    beat_wait_max: Duration,
    /// `None` until the first beat: what has never moved cannot have stopped.
    beaten_at: Option<Instant>,
}

/// One part's side of [`Health`]: it says how it fares. Clones speak for the same part.
#[derive(Clone)]
pub struct Check {
    health: Health,
    index: usize,
}

/// The answer to one of the three questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether the answer is yes.
    pub ok: bool,
    /// The answer of each part.
    pub checks: Vec<CheckReport>,
}

/// What one part contributes to a [`Report`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The part's name.
    pub name: String,
    /// Whether it says yes.
    pub ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Health {
    /// Nothing registered, not draining.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part, not ready until it says so. If it beats at all, it has to beat every [`BEAT_WAIT_MAX`].
    pub fn register(&self, name: impl Into<String>) -> Check {
        self.register_beating(name, BEAT_WAIT_MAX)
    }

    /// Adds a part that, from its first beat on, has to beat at least every `beat_wait_max`.
    pub fn register_beating(&self, name: impl Into<String>, beat_wait_max: Duration) -> Check {
        let mut checks = self.checks();
        let index = checks.len();
        checks.push(Entry {
            name: name.into(),
            obstacle: Some("starting".to_owned()),
            beat_wait_max,
            beaten_at: None,
        });
        Check { health: self.clone(), index }
    }

    /// Withdraws readiness for good: no new work comes while the process finishes what it has.
    pub fn drain(&self) {
        self.state.draining.store(true, Ordering::Release);
    }

    /// Whether the process is stopping.
    pub fn is_draining(&self) -> bool {
        self.state.draining.load(Ordering::Acquire)
    }

    /// Whether work may come: all parts are ready and the process is not draining.
    pub fn readiness(&self) -> Report {
        let mut checks: Vec<_> = self.checks().iter().map(Entry::readiness).collect();
        if self.is_draining() {
            checks.push(CheckReport::new("drain", Some("the process is stopping".to_owned())));
        }
        Report::of(checks)
    }

    /// Whether every loop still moves at `now`.
    pub fn liveness(&self, now: Instant) -> Report {
        Report::of(self.checks().iter().filter_map(|entry| entry.liveness(now)).collect())
    }

    /// Whether all parts have been ready at the same time once.
    pub fn startup(&self) -> Report {
        let mut report = Report::of(self.checks().iter().map(Entry::readiness).collect());
        report.ok |= self.state.started.load(Ordering::Acquire);
        report
    }

    /// `/livez`, `/readyz` and `/startupz`: 200 or 503, with a [`Report`] in JSON.
    pub fn router(&self) -> Router {
        let (live, ready, started) = (self.clone(), self.clone(), self.clone());
        Router::new()
            .route("/livez", get(async move || live.liveness(clock::monotonic())))
            .route("/readyz", get(async move || ready.readiness()))
            .route("/startupz", get(async move || started.startup()))
    }

    /// A part that panicked while it spoke left nothing half written.
    fn checks(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.state.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Check {
    /// This part can do its work.
    pub fn ready(&self) {
        let mut checks = self.health.checks();
        if let Some(entry) = checks.get_mut(self.index) {
            entry.obstacle = None;
        }
        if checks.iter().all(|entry| entry.obstacle.is_none()) {
            self.health.state.started.store(true, Ordering::Release);
        }
    }

    /// This part cannot do its work, and why. Say what an operator can act on.
    pub fn not_ready(&self, reason: impl Into<String>) {
        if let Some(entry) = self.health.checks().get_mut(self.index) {
            entry.obstacle = Some(reason.into());
        }
    }

    /// This part's loop came round at `now`.
    pub fn beat(&self, now: Instant) {
        if let Some(entry) = self.health.checks().get_mut(self.index) {
            entry.beaten_at = Some(now);
        }
    }
}

impl Entry {
    fn readiness(&self) -> CheckReport {
        CheckReport::new(&self.name, self.obstacle.clone())
    }

    /// `None` for a part that does not beat.
    fn liveness(&self, now: Instant) -> Option<CheckReport> {
        let silence = now.saturating_duration_since(self.beaten_at?);
        let stuck = self.beat_wait_max < silence;
        let reason = stuck.then(|| {
            format!(
                "no beat for {} s, at most {} s",
                silence.as_secs(),
                self.beat_wait_max.as_secs()
            )
        });
        Some(CheckReport::new(&self.name, reason))
    }
}

impl CheckReport {
    fn new(name: &str, reason: Option<String>) -> Self {
        Self { name: name.to_owned(), ok: reason.is_none(), reason }
    }
}

impl Report {
    fn of(checks: Vec<CheckReport>) -> Self {
        Self { ok: checks.iter().all(|check| check.ok), checks }
    }
}

impl IntoResponse for Report {
    fn into_response(self) -> axum::response::Response {
        let status = if self.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(self)).into_response()
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Health").field(&self.readiness()).finish()
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks = self.health.checks();
        let readiness = checks.get(self.index).map(Entry::readiness);
        formatter.debug_tuple("Check").field(&readiness).finish()
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use tower::ServiceExt as _;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn reason(report: &Report, name: &str) -> Option<String> {
        report.checks.iter().find(|check| check.name == name)?.reason.clone()
    }

    #[test]
    fn a_process_is_ready_when_all_its_parts_are() {
        let health = Health::new();
        let (model, broker) = (health.register("model"), health.register("broker"));
        model.ready();
        assert!(!health.readiness().ok);
        assert_eq!(reason(&health.readiness(), "broker").as_deref(), Some("starting"));
        broker.ready();
        assert!(health.readiness().ok);
        broker.not_ready("connection refused");
        assert_eq!(reason(&health.readiness(), "broker").as_deref(), Some("connection refused"));
        assert_eq!(reason(&health.readiness(), "model"), None);
    }

    #[test]
    fn a_draining_process_takes_no_work_and_lives() {
        let health = Health::new();
        health.register("model").ready();
        health.drain();
        assert!(!health.readiness().ok);
        assert_eq!(
            reason(&health.readiness(), "drain").as_deref(),
            Some("the process is stopping")
        );
        assert!(health.liveness(clock::monotonic()).ok);
        assert!(health.startup().ok);
    }

    #[test]
    fn a_loop_that_stands_still_is_not_alive_until_it_moves_again() {
        let health = Health::new();
        let poll = health.register_beating("poll", LIMIT);
        let start = clock::monotonic();
        assert!(health.liveness(start).ok, "it has not begun to beat");
        poll.beat(start);
        assert!(health.liveness(start + LIMIT).ok, "the limit itself is in time");
        let late = start + LIMIT + Duration::from_secs(1);
        assert_eq!(
            reason(&health.liveness(late), "poll").as_deref(),
            Some("no beat for 11 s, at most 10 s")
        );
        poll.beat(late);
        assert!(health.liveness(late).ok);
    }

    #[test]
    fn what_is_wrong_elsewhere_does_not_make_a_process_dead() {
        let health = Health::new();
        let broker = health.register("broker");
        broker.not_ready("connection refused");
        let report = health.liveness(clock::monotonic());
        assert!(report.ok);
        assert_eq!(report.checks, [], "a part that does not beat has no say in liveness");
    }

    #[test]
    fn a_start_stays_a_start() {
        let health = Health::new();
        let (model, broker) = (health.register("model"), health.register("broker"));
        model.ready();
        model.not_ready("reloading");
        broker.ready();
        assert!(!health.startup().ok, "they were never ready at the same time");
        model.ready();
        model.not_ready("reloading");
        assert!(health.startup().ok);
        assert!(!health.readiness().ok);
    }

    async fn ask(health: &Health, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = health.router().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_answer_names_each_part_and_its_reason() {
        let health = Health::new();
        let broker = health.register("broker");
        let refused = r#"{"ok":false,"checks":[{"name":"broker","ok":false,"reason":"starting"}]}"#;
        let expected = (StatusCode::SERVICE_UNAVAILABLE, refused.to_owned());
        assert_eq!(ask(&health, "/readyz").await, expected);
        assert_eq!(ask(&health, "/startupz").await, expected);
        assert_eq!(ask(&health, "/livez").await.0, StatusCode::OK);
        broker.ready();
        let accepted = r#"{"ok":true,"checks":[{"name":"broker","ok":true}]}"#;
        assert_eq!(ask(&health, "/readyz").await, (StatusCode::OK, accepted.to_owned()));
    }
}
