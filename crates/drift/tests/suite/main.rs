//! Drift from outside: against other tools' numbers, against properties that must hold, and against made-up streams.

#![expect(clippy::unwrap_used, reason = "a test")]

mod detectors;
mod golden;
mod golden_models;
mod held_out;
mod merge;
mod properties;
mod simulation;
mod synthetic;
