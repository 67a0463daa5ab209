//! What every process needs: settings, logs, metrics, trace context, shutdown, health, retry.
//!
//! Knows nothing of reviews. Decisions are functions of their arguments, time and chance included; what reads the world is
//! in [`clock`], [`fault`], [`hostname`](mod@hostname), [`readiness`], [`stop`], [`settings`] and [`telemetry`], and only there.
//!
//! # Layout
//! - [`settings`]: defaults < file < environment < command line, with every mistake refused and its place named
//! - [`telemetry`]: logs to a stream, metrics to `/metrics`, all of it to a collector
//! - [`trace`]: the W3C `traceparent` that travels with each record, and what is recorded of it
//! - [`health`]: `/livez`, `/readyz`, `/startupz`
//! - [`readiness`]: asks another process for its `/readyz`
//! - [`exit`]: one line and a code for why a process ended
//! - [`stop`]: signals, supervision, named threads
//! - [`retry`]: how long to wait before the next attempt
//! - [`clock`]: the only reader of the clocks
//! - [`fault`]: where a test lets the process die
//! - [`hostname`](mod@hostname): what the machine is called

pub mod clock;
pub mod exit;
pub mod fault;
pub mod health;
pub mod hostname;
pub mod readiness;
pub mod retry;
pub mod settings;
pub mod stop;
pub mod telemetry;
pub mod trace;

pub use health::Health;
pub use hostname::hostname;
pub use retry::Backoff;
pub use settings::Secret;
pub use trace::{TraceContext, span::Tracer};
