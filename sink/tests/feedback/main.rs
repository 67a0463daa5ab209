//! The feedback loop on a broker in memory: what becomes of each label, and that each counts once.

#![expect(clippy::unwrap_used, reason = "a test")]

mod crashes;
mod outage;
mod outcomes;
mod world;
