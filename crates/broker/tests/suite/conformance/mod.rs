//! What a broker must do for us to trust it, said by a client that is not ours (librdkafka).
//!
//! Every check runs against the embedded broker, and against the broker named by `VERDICT_TEST_KAFKA=host:port` where there is
//! one, and describes what Apache Kafka does: where the two differ, the embedded broker is wrong. Against Kafka, two settings of
//! the broker have to be shorter than their defaults for the retention test to end in time:
//! `log.retention.check.interval.ms=1000` and `log.initial.task.delay.ms=500`.
//!
//! The tests share the brokers and run side by side, hence a topic and a group of its own for each. `--nocapture` shows what
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
