//! Drift from outside: against other tools' numbers and against properties that must hold.

#![expect(clippy::unwrap_used, reason = "a test")]

mod golden;
mod golden_models;
mod properties;
