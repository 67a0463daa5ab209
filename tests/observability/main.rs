//! What watches the line: the files of `observability/` and `docs/runbooks/`, held to each other, to Prometheus and Alertmanager, and to
//! the metrics of a line that runs.
//!
//! Prometheus and Alertmanager are the real ones. Where they are not installed, what needs them is skipped, and says so.
//!
//! # Layout
//! - `form`: waiting, ports, processes; `shelf`: the files, and the same with a minute made a second
//! - `pages`: alerts, runbooks and dashboards belong together; `rules`: promtool and amtool, and whether the tests of rules can fail
//! - `expressions`: what metrics an expression needs
//! - `line`, `watch`, `post`: a line, who watches it, and where its alerts arrive; `journey`: from a cause to its message

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod expressions;
mod form;
mod journey;
mod line;
mod pages;
mod post;
mod rules;
mod shelf;
mod watch;
