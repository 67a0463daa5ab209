//! The suites that run against a running broker: an embedded one, started once, or the one that `VERDICT_TEST_KAFKA` names.

#![allow(clippy::unwrap_used, reason = "a test")]

mod brokers;
mod conformance;
mod contract;
mod scanning;
