//! What a broker must do for us to trust it, said by a client that is not ours (librdkafka).
//!
//! Every test runs against the embedded broker, or against the broker named by `VERDICT_TEST_KAFKA=host:port`, and describes
//! what Apache Kafka does: where the two differ, the embedded broker is wrong. Against Kafka, two settings of the broker have
//! to be shorter than their defaults for the retention test to end in time: `log.retention.check.interval.ms=1000` and
//! `log.initial.task.delay.ms=500`.
//!
//! The tests share one broker and run side by side, hence a topic and a group of its own for each. `--nocapture` shows what
//! each of them measured.
//!
//! # Layout
//! - [`clients`]: clients as the tests need them, and waiting with a deadline
//! - [`topics`], [`records`], [`groups`], [`transactions`]: the checks
//! - [`wire`]: what librdkafka does not say when all is well, such as the same batch twice
//! - [`crashes`]: `SIGKILL`, embedded broker only

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests watch the clock, print what they measured, and stop at the first surprise"
)]

mod clients;
mod crashes;
mod groups;
mod records;
mod topics;
mod transactions;
mod wire;

/// Whether the broker under test is ours, which has no KIP-848 groups.
fn is_embedded() -> bool {
    std::env::var_os("VERDICT_TEST_KAFKA").is_none()
}
