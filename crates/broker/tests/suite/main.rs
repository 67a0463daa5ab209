//! The suites that run against running brokers: an embedded one, started once, and the Kafka that `VERDICT_TEST_KAFKA` names.

#![allow(clippy::unwrap_used, reason = "a test")]

/// Two tests for each check: on the embedded broker, and on the one outside. `$of` makes of its address what the check takes.
macro_rules! on_kafka {
    ($of:path: $($check:ident),* $(,)?) => {
        mod on_embedded {
            $(#[test] fn $check() { super::$check(&$of(crate::brokers::embedded())); })*
        }
        mod on_kafka {
            $(#[test] fn $check() {
                if let Some(address) = crate::brokers::outside() {
                    super::$check(&$of(&address));
                }
            })*
        }
    };
}

mod brokers;
mod conformance;
mod contract;
mod scanning;
mod secure;
